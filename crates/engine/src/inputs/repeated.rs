//! Values of dimensions that `for_each` pools are repeated for.

use super::rows::{Rows, literal};
use crate::EngineError;
use datafusion::prelude::SessionContext;
use domain::Day;
use domain::dimension::Dimension;
use domain::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// For each dimension, its values and the first day on which each had usage.
#[derive(Clone, Debug, Default)]
pub struct FirstDays(BTreeMap<Dimension, BTreeMap<Arc<str>, Day>>);

impl FirstDays {
    /// Returns the values with usage on that day or any earlier one.
    #[must_use]
    pub fn up_to(&self, day: Day) -> BTreeMap<Dimension, BTreeSet<Arc<str>>> {
        let known = |values: &BTreeMap<Arc<str>, Day>| {
            values.iter().filter(|(_, first)| **first <= day).map(|(value, _)| Arc::clone(value)).collect()
        };
        self.0.iter().map(|(dimension, values)| (dimension.clone(), known(values))).collect()
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
