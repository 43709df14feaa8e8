use super::super::collector::{Collected, ProviderUsage, Task};
use super::super::credentials::bearer;
use super::super::decimal::Decimal;
use super::super::error::CollectError;
use super::super::fetch::{Fetch, Request};
use super::QUERY;
use domain::{Day, DayRange, InstantRange, Quantity};
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Metric, resource and unit.
const METRICS: [(&str, &str, &str); 3] = [
    ("vercel.function_invocation.count", "function_invocations", "Requests"),
    ("vercel.request.fdt_total_bytes", "bandwidth_bytes", "Bytes"),
    ("vercel.function_invocation.function_duration_gbhr", "function_gb_hours", "GB-Hours"),
];
/// Days that are read again each time, because what happened in them may still arrive.
const DAYS_AGAIN: i32 = 3;

#[derive(Deserialize)]
struct Found {
    data: Option<Vec<Map<String, Value>>>,
}

/// Reads the days that are not known yet and the last ones again. A day at a time, in buckets of an hour: wider buckets
/// count more than was asked for.
pub(super) async fn collect(
    fetch: &Fetch,
    team: &str,
    task: &Task,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let Some(closed) = task.period.closed() else { return Ok(()) };
    let is_ours = |usage: &&ProviderUsage| {
        usage.labels.is_empty() && METRICS.iter().any(|(_, resource, _)| *resource == usage.resource)
    };
    let known: Vec<&ProviderUsage> = task.known_usage.iter().filter(is_ours).collect();
    let known_days: BTreeSet<Day> = known.iter().map(|usage| usage.day).collect();
    let is_wanted = |day: &Day| closed.to().plus(-DAYS_AGAIN) < *day || !known_days.contains(day);
    let wanted: BTreeSet<Day> = closed.days().filter(is_wanted).collect();
    for day in &wanted {
        for (metric, resource, unit) in METRICS {
            let range = task.period.zone().day_range(*day);
            let quantity = of_day(fetch, team, metric, range).await?;
            collected.usage.push(ProviderUsage {
                resource: resource.to_owned(),
                unit: unit.to_owned(),
                day: *day,
                quantity,
                labels: BTreeMap::new(),
            });
        }
    }
    let ends = wanted.first().zip(wanted.last());
    collected.usage_days = ends.and_then(|(first, last)| DayRange::new(*first, *last));
    let is_kept = |usage: &&ProviderUsage| {
        !wanted.contains(&usage.day) && collected.usage_days.is_some_and(|days| days.contains(usage.day))
    };
    let kept: Vec<ProviderUsage> = known.into_iter().filter(is_kept).cloned().collect();
    collected.usage.extend(kept);
    Ok(())
}

/// The sum of a metric over a day, as decimal text.
async fn of_day(fetch: &Fetch, team: &str, metric: &str, range: InstantRange) -> Result<String, CollectError> {
    let body = json!({
        "metric": metric,
        // Left out, the aggregation of durations would be a mean.
        "aggregation": "sum",
        "scope": { "type": "owner", "ownerId": team },
        "granularity": { "minutes": 60 },
        "startTime": range.start.to_string(),
        "endTime": range.end.to_string(),
    });
    let request = Request::post(QUERY, &body).query("teamId", team);
    let answer = fetch.send(request.header(AUTHORIZATION, bearer(fetch.credentials(), "token")?)).await?;
    let found: Found = answer.json()?;
    let rows = found.data.ok_or_else(|| CollectError::schema(format!("the answer about {metric} has no `data`")))?;
    let mut sum = 0_i128;
    for row in rows {
        let value = value_of(&row).map_err(|reason| CollectError::schema(format!("{metric}: {reason}")))?;
        sum = sum.checked_add(value).ok_or_else(|| CollectError::schema(format!("{metric} is out of bound")))?;
    }
    Ok(domain::decimal::format_scaled(sum, domain::quantity::QUANTITY_SCALE, 0))
}

/// The one number of a bucket beside its time: how the field is named is not documented.
fn value_of(row: &Map<String, Value>) -> Result<i128, String> {
    let numbers: Vec<&Value> =
        row.iter().filter(|(name, value)| *name != "timestamp" && value.is_number()).map(|(_, value)| value).collect();
    let [value] = numbers[..] else {
        return Err(format!("a bucket has {} numbers where one was expected", numbers.len()));
    };
    let (quantity, _) = Quantity::parse_rounding(Decimal::of(value)?.as_str()).map_err(|error| error.to_string())?;
    Ok(quantity.atoms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_one_number() {
        let value = |row: Value| value_of(row.as_object().expect("an object")).ok();
        assert_eq!(value(json!({ "timestamp": "2026-11-19T00:00:00Z", "value": 1.5 })), Some(1_500_000_000));
        assert_eq!(value(json!({ "timestamp": 1, "sum": 2 })), Some(2_000_000_000));
        assert_eq!(value(json!({ "timestamp": "2026-11-19T00:00:00Z" })), None);
        assert_eq!(value(json!({ "a": 1, "b": 2 })), None);
    }
}
