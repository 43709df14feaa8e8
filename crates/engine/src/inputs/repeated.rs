//! Values of dimensions that `for_each` pools are repeated for.

use super::rows::{Rows, literal};
use crate::EngineError;
use datafusion::prelude::SessionContext;
use domain::Day;
use domain::dimension::Dimension;
use domain::policy::Policy;
use domain::tenant::TenantBook;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The values of dimensions that pools are repeated for.
pub type Values = BTreeMap<Dimension, BTreeSet<Arc<str>>>;

/// For each dimension, its values and the first day on which each had usage.
#[derive(Clone, Debug, Default)]
pub struct FirstDays(BTreeMap<Dimension, BTreeMap<Arc<str>, Day>>);

impl FirstDays {
    /// Returns the values with usage on that day or any earlier one; of tenants, whom they mean on that day.
    #[must_use]
    pub fn up_to(&self, day: Day, tenants: &TenantBook) -> Values {
        let known = |(dimension, values): (&Dimension, &BTreeMap<Arc<str>, Day>)| {
            let values = values.iter().filter(|(_, first)| **first <= day).map(|(value, _)| match dimension {
                Dimension::Tenant => tenants.resolve(value, day),
                _ => Arc::clone(value),
            });
            (dimension.clone(), values.collect())
        };
        self.0.iter().map(known).collect()
    }
}

/// Returns the values of every dimension that the policies repeat pools for, with usage up to the day.
///
/// # Errors
/// When the query fails.
pub async fn first_days(session: &SessionContext, policies: &[&Policy], to: Day) -> Result<FirstDays, EngineError> {
    let dimensions: BTreeSet<&Dimension> =
        policies.iter().flat_map(|policy| attribution::expand::repeated_dimensions(policy)).collect();
    let mut found = FirstDays::default();
    for dimension in dimensions {
        let column = super::usage::column(dimension);
        let sql = format!(
            "SELECT {column} AS value, min(usage_date) AS first FROM usage WHERE usage_date <= DATE {} AND {column} IS NOT NULL GROUP BY {column}",
            literal(&to.to_string())
        );
        let values = found.0.entry(dimension.clone()).or_default();
        for batch in session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            for (value, first) in rows.texts("value")?.into_iter().zip(rows.days("first")?) {
                values.extend(value.map(|value| (value, first)));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Instant;
    use domain::tenant::{TenantAlias, TenantFact};

    #[test]
    fn tenants_are_listed_as_whom_they_mean_on_the_day() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let alias = TenantAlias {
            alias: "acme-inc".into(),
            tenant: "acme".into(),
            valid_from: None,
            valid_to: None,
            recorded_at: Instant::from_micros(1),
        };
        let merged = TenantFact {
            tenant: "globex".into(),
            valid_from: Some(day("2026-11-10")),
            valid_to: None,
            recorded_at: Instant::from_micros(1),
            entered: true,
            active: true,
            name: None,
            slug: None,
            plan: None,
            parent: None,
            merged_into: Some("acme".into()),
        };
        let tenants = TenantBook::new(vec![merged], vec![alias]);
        let used = [("acme-inc", "2026-11-01"), ("globex", "2026-11-02"), ("later", "2026-11-30")];
        let used = used.map(|(tenant, first)| (tenant.into(), day(first))).into();
        let first_days = FirstDays(BTreeMap::from([(Dimension::Tenant, used)]));
        let on = |text: &str| first_days.up_to(day(text), &tenants)[&Dimension::Tenant].clone();
        assert_eq!(on("2026-11-09"), ["acme", "globex"].map(Into::into).into());
        assert_eq!(on("2026-11-10"), ["acme"].map(Into::into).into());
    }
}
