use super::super::collector::ProviderUsage;
use super::super::decimal::Decimal;
use super::super::error::{Cause, CollectError};
use super::super::fetch::{Answer, Fetch, Request};
use super::super::keys::is_id;
use super::{API_COUNTS, DISK, FUNCTION_STATS, FUNCTIONS, Project, READ_ONLY, Usage, put, send};
use domain::time::MICROS_PER_SECOND;
use domain::{Day, DayRange, Instant, Zone};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Days that requests are told of, up to now.
const WINDOW_MICROS: i64 = 7 * 86_400 * MICROS_PER_SECOND;
/// Fields of requests and what they count.
const REQUESTS: [(&str, &str); 4] = [
    ("total_auth_requests", "auth_requests"),
    ("total_realtime_requests", "realtime_requests"),
    ("total_rest_requests", "rest_requests"),
    ("total_storage_requests", "storage_requests"),
];
/// The size of the database and an estimate of its rows. It reads the catalog only, by names with their schema.
const SIZES: &str = "select pg_catalog.pg_database_size(pg_catalog.current_database()) as database_bytes, \
    (select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'm') \
    and n.nspname not in ('pg_catalog', 'information_schema')) as estimated_rows";

#[derive(Deserialize)]
struct Found {
    result: Option<Vec<BTreeMap<String, Value>>>,
    #[serde(default)]
    error: Option<Value>,
}

/// Adds the requests of the days that the answer tells whole.
pub(super) async fn api_requests(
    fetch: &Fetch,
    project: &Project,
    closed: DayRange,
    usage: &mut Usage,
) -> Result<(), CollectError> {
    let request = Request::get(API_COUNTS).argument(&project.id).query("interval", "7day");
    let rows = rows_of(&send(fetch, request).await?)?;
    let window = Zone::utc().day_of(fetch.now().plus_micros(-WINDOW_MICROS)).plus(1);
    let mut sums: BTreeMap<(Day, &str), i128> = BTreeMap::new();
    for row in &rows {
        let day = day_of(row)?;
        if day < window || !closed.contains(day) {
            continue;
        }
        for (field, resource) in REQUESTS {
            *sums.entry((day, resource)).or_default() += count_of(row, field)?;
        }
    }
    for ((day, resource), count) in sums {
        put(usage, quantity(project, resource, "Requests", day, count.to_string()));
    }
    Ok(())
}

/// Adds how much of the disk is used now, as of the day.
pub(super) async fn disk(fetch: &Fetch, project: &Project, day: Day, usage: &mut Usage) -> Result<(), CollectError> {
    #[derive(Deserialize)]
    struct Disk {
        metrics: Metrics,
    }
    #[derive(Deserialize)]
    struct Metrics {
        fs_used_bytes: Decimal,
        fs_size_bytes: Decimal,
    }
    let Disk { metrics } = send(fetch, Request::get(DISK).argument(&project.id)).await?.json()?;
    for (resource, bytes) in [("disk_used_bytes", metrics.fs_used_bytes), ("disk_size_bytes", metrics.fs_size_bytes)] {
        put(usage, quantity(project, resource, "Bytes", day, bytes.into()));
    }
    Ok(())
}

/// Adds the size of the database and an estimate of its rows, as of the day.
pub(super) async fn database(
    fetch: &Fetch,
    project: &Project,
    day: Day,
    usage: &mut Usage,
) -> Result<(), CollectError> {
    #[derive(Deserialize)]
    struct Sizes {
        database_bytes: Decimal,
        estimated_rows: Decimal,
    }
    let request = Request::post(READ_ONLY, &json!({ "query": SIZES })).argument(&project.id);
    let rows: Vec<Sizes> = send(fetch, request).await?.json()?;
    let [sizes] = &rows[..] else {
        return Err(CollectError::schema(format!("the database answered {} rows, not one", rows.len())));
    };
    for (resource, unit, count) in
        [("database_bytes", "Bytes", &sizes.database_bytes), ("database_rows", "Rows", &sizes.estimated_rows)]
    {
        put(usage, quantity(project, resource, unit, day, count.to_string()));
    }
    Ok(())
}

/// Adds the invocations of each edge function in the 24 hours before now, as of the day.
pub(super) async fn functions(
    fetch: &Fetch,
    project: &Project,
    day: Day,
    usage: &mut Usage,
) -> Result<(), CollectError> {
    #[derive(Deserialize)]
    struct Function {
        id: String,
    }
    let found: Vec<Function> = send(fetch, Request::get(FUNCTIONS).argument(&project.id)).await?.json()?;
    for function in found {
        if !is_id(&function.id) {
            return Err(CollectError::schema("a function has an id that is none"));
        }
        let request = Request::get(FUNCTION_STATS)
            .argument(&project.id)
            .query("interval", "1day")
            .query("function_id", &function.id);
        let mut count = 0;
        for row in rows_of(&send(fetch, request).await?)? {
            count += count_of(&row, "requests_count")?;
        }
        let mut one = quantity(project, "function_invocations", "Requests", day, count.to_string());
        one.labels.insert("function".to_owned(), function.id);
        put(usage, one);
    }
    Ok(())
}

/// The rows of an answer of analytics; an error may stand in an answer that is a success.
fn rows_of(answer: &Answer) -> Result<Vec<BTreeMap<String, Value>>, CollectError> {
    let found: Found = answer.json()?;
    match (found.error, found.result) {
        (Some(error), _) if !error.is_null() => {
            let text = crate::prometheus::shown(&error.to_string());
            Err(CollectError::new(Cause::Refused, format!("the answer is an error: {text}")))
        }
        (_, Some(rows)) => Ok(rows),
        (_, None) => Err(CollectError::schema("the answer has no `result`")),
    }
}

/// The day of a bucket; a time without a zone is UTC.
fn day_of(row: &BTreeMap<String, Value>) -> Result<Day, CollectError> {
    let text = row.get("timestamp").and_then(Value::as_str);
    let text = text.ok_or_else(|| CollectError::schema("a bucket has no `timestamp`"))?;
    let time = Instant::parse_lenient(text).map_err(|error| CollectError::schema(error.to_string()))?;
    Ok(Zone::utc().day_of(time))
}

fn count_of(row: &BTreeMap<String, Value>, field: &str) -> Result<i128, CollectError> {
    const MAX: i128 = 10_i128.pow(18);
    let value = row.get(field).ok_or_else(|| CollectError::schema(format!("a bucket has no `{field}`")))?;
    let number = Decimal::of(value).map_err(|reason| CollectError::schema(format!("`{field}`: {reason}")))?;
    let count = number.scaled(0).filter(|count| (0..=MAX).contains(count));
    count.ok_or_else(|| CollectError::schema(format!("`{field}` = {number} is no count")))
}

fn quantity(project: &Project, resource: &str, unit: &str, day: Day, quantity: String) -> ProviderUsage {
    ProviderUsage {
        resource: resource.to_owned(),
        unit: unit.to_owned(),
        day,
        quantity,
        labels: BTreeMap::from([("project".to_owned(), project.id.clone())]),
    }
}
