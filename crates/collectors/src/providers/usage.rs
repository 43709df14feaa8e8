//! Quantities of providers: their rows in the catalog, and points of usage where a meter is given.

use super::collector::{Collected, ProviderUsage, Spec};
use super::error::{Cause, CollectError};
use super::period::BillingPeriod;
use crate::sources::UsagePoint;
use domain::dimension::{Dimension, labels_key};
use domain::{Day, Instant, Quantity};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::catalog::ProviderUsageRow;

/// How the sources of events begin that are made of quantities of providers.
const SERIES: &str = "collector:";

/// Returns the quantities as rows, in order.
///
/// # Errors
/// [`Cause::Schema`] for what is no quantity, lies outside the days, or stands twice.
pub(super) fn to_rows(
    source: &str,
    spec: &Spec,
    collected: &Collected,
    period: &BillingPeriod,
    now: Instant,
) -> Result<Vec<ProviderUsageRow>, CollectError> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::with_capacity(collected.usage.len());
    for usage in &collected.usage {
        let refused = |reason: &str| {
            let ProviderUsage { resource, day, .. } = usage;
            Err(CollectError::schema(format!("the quantity of `{resource}` on {day} {reason}")))
        };
        let is_inside = |days: domain::DayRange| days.contains(usage.day);
        if !collected.usage_days.is_some_and(is_inside) || !period.closed().is_some_and(is_inside) {
            return refused("is of a day that was not asked for");
        }
        let Ok((quantity, _)) = Quantity::parse_rounding(&usage.quantity) else {
            return refused("is no decimal, or out of bound");
        };
        let labels_key = labels_key(&usage.labels);
        if !seen.insert((usage.day, usage.resource.clone(), labels_key.clone())) {
            return refused("stands twice");
        }
        rows.push(ProviderUsageRow {
            source: source.to_owned(),
            provider: spec.name.to_owned(),
            usage_date: usage.day.to_string(),
            resource: usage.resource.clone(),
            labels_key,
            unit: usage.unit.clone(),
            quantity: quantity.to_string(),
            collected_at: now.micros(),
        });
    }
    rows.sort_by(|one, other| {
        let key = |row: &ProviderUsageRow| (row.usage_date.clone(), row.resource.clone(), row.labels_key.clone());
        key(one).cmp(&key(other))
    });
    Ok(rows)
}

/// Returns the error of an answer without any quantity where this one is known: that is no zero.
pub(super) fn is_gone(known: &ProviderUsageRow) -> CollectError {
    let ProviderUsageRow { resource, usage_date, .. } = known;
    let detail =
        format!("the provider has no quantities any more, not even of `{resource}` on {usage_date}; they stay");
    CollectError::new(Cause::WouldShrink, detail)
}

/// Returns the quantities that rows hold; what cannot be read is left out.
pub(super) fn from_rows(rows: &[ProviderUsageRow]) -> Vec<ProviderUsage> {
    let usage = |row: &ProviderUsageRow| {
        Some(ProviderUsage {
            resource: row.resource.clone(),
            unit: row.unit.clone(),
            day: row.usage_date.parse().ok()?,
            quantity: row.quantity.clone(),
            labels: serde_json::from_str(&row.labels_key).ok()?,
        })
    };
    rows.iter().filter_map(usage).collect()
}

/// Returns the points of quantities that have a meter and are settled: a point counts once and for ever, so one that the
/// provider may still correct waits. A quantity of a day stands at the first hour of the day.
pub(super) fn to_points(
    source: &str,
    rows: &[ProviderUsageRow],
    meters: &BTreeMap<String, String>,
    period: &BillingPeriod,
    settled_through: Day,
) -> Vec<UsagePoint> {
    let point = |row: &ProviderUsageRow| {
        let meter = meters.get(&row.resource)?;
        let day = row.usage_date.parse::<Day>().ok().filter(|day| *day <= settled_through)?;
        let labels: BTreeMap<String, String> = serde_json::from_str(&row.labels_key).ok()?;
        let attribute =
            |(key, value): (&String, &String)| (Dimension::Label(key.as_str().into()), Arc::from(value.as_str()));
        Some(UsagePoint {
            series: format!("{SERIES}{source}/{}{}", row.resource, row.labels_key).into(),
            meter: meter.as_str().into(),
            hour: period.zone().start_of(day),
            value: row.quantity.clone(),
            tenant: None,
            cluster: None,
            attributes: labels.iter().map(attribute).collect(),
        })
    };
    rows.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::super::vercel::KIND;
    use super::*;
    use domain::{DayRange, Zone};

    fn period() -> BillingPeriod {
        let now = "2026-11-20T00:00:00Z".parse().expect("an instant");
        BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &Zone::utc(), now)
    }

    fn usage(day: &str, quantity: &str, project: &str) -> ProviderUsage {
        ProviderUsage {
            resource: "function_invocations".to_owned(),
            unit: "Requests".to_owned(),
            day: day.parse().expect("a day"),
            quantity: quantity.to_owned(),
            labels: BTreeMap::from([("project".to_owned(), project.to_owned())]),
        }
    }

    fn rows(usage: Vec<ProviderUsage>) -> Result<Vec<ProviderUsageRow>, CollectError> {
        let days = DayRange::new("2026-11-01".parse().expect("a day"), "2026-11-19".parse().expect("a day"));
        let collected = Collected { usage, usage_days: days, ..Collected::default() };
        to_rows("v", KIND.spec, &collected, &period(), Instant::from_micros(0))
    }

    #[test]
    fn quantities_are_kept_as_they_are_and_come_back() {
        let given = vec![usage("2026-11-01", "1.50", "a"), usage("2026-11-02", "2", "b")];
        let stored = rows(given).expect("rows");
        assert_eq!(stored[0].quantity, "1.5");
        assert_eq!(from_rows(&stored), [usage("2026-11-01", "1.5", "a"), usage("2026-11-02", "2", "b")]);
    }

    #[test]
    fn what_is_no_quantity_of_these_days_is_refused() {
        for bad in [
            vec![usage("2026-10-31", "1", "a")],
            vec![usage("2026-11-20", "1", "a")],
            vec![usage("2026-11-01", "NaN", "a")],
            vec![usage("2026-11-01", "1e30", "a")],
            vec![usage("2026-11-01", "1", "a"), usage("2026-11-01", "1", "a")],
        ] {
            assert_eq!(rows(bad).map_err(|error| error.cause).map(|rows| rows.len()), Err(Cause::Schema));
        }
    }

    #[test]
    fn only_settled_quantities_with_a_meter_become_points() {
        let stored = rows(vec![usage("2026-11-01", "1", "a"), usage("2026-11-02", "2", "a")]).expect("rows");
        let meters = BTreeMap::from([("function_invocations".to_owned(), "vercel_invocations".to_owned())]);
        let settled = "2026-11-01".parse().expect("a day");
        let points = to_points("v", &stored, &meters, &period(), settled);
        let shown: Vec<String> =
            points.iter().map(|point| format!("{} {} {}", point.series, point.hour, point.value)).collect();
        assert_eq!(shown, [r#"collector:v/function_invocations{"project":"a"} 2026-11-01T00:00:00Z 1"#]);
        assert!(to_points("v", &stored, &BTreeMap::new(), &period(), settled).is_empty());
    }
}
