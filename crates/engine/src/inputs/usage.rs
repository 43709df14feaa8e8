//! Quantities by day, for the dimensions that the policies look at.

use super::rows::{Rows, literal, unexpected};
use crate::EngineError;
use crate::books::Books;
use attribution::usage::{Measure, UsageCell};
use datafusion::prelude::SessionContext;
use domain::condition::UsageAttribute;
use domain::dimension::{Dimension, Dimensions};
use domain::meter::{Aggregation, MeterKind};
use domain::policy::Policy;
use domain::{Day, DayRange, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Returns the SQL expression of a dimension of the table `usage`.
#[must_use]
pub fn column(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Label(key) => format!("labels[{}]", literal(key)),
        plain => format!("\"{plain}\""),
    }
}

/// Returns what was measured, by day; the tenant is resolved through rules, aliases and merges.
///
/// `policy_on` tells the policy of a day; `policies` are all those of the range.
///
/// # Errors
/// When a query fails.
pub async fn load(
    session: &SessionContext,
    range: DayRange,
    books: &Books,
    policies: &[&Policy],
) -> Result<BTreeMap<Day, Vec<UsageCell>>, EngineError> {
    let dimensions = needed_dimensions(policies, books);
    let mut cells: BTreeMap<Key, Measure> = BTreeMap::new();
    let mut has_last = false;
    for batch in session.sql(&sums_sql(range, &dimensions, books)).await?.collect().await? {
        let (sum, count) = (Rows(&batch).decimals("sum")?, Rows(&batch).integers("count")?);
        let (min, max) = (Rows(&batch).decimals("min")?, Rows(&batch).decimals("max")?);
        for (row, key) in keys(&batch, &dimensions)?.into_iter().enumerate() {
            has_last |= books.meters.aggregation(&key.meter, key.kind) == Aggregation::Last;
            let measure = Measure {
                sum: sum[row].unwrap_or(0),
                count: i128::from(count[row]),
                min: min[row],
                max: max[row],
                last: 0,
            };
            cells.entry(key).or_default().fold(&measure);
        }
    }
    if has_last {
        for batch in session.sql(&last_sql(range, &dimensions)).await?.collect().await? {
            let last = Rows(&batch).decimals("last")?;
            for (row, key) in keys(&batch, &dimensions)?.into_iter().enumerate() {
                cells.entry(key).or_default().last += last[row].unwrap_or(0);
            }
        }
    }
    Ok(by_day(cells, &dimensions, books))
}

/// One row of the sums: where it belongs before its tenant is resolved.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: Day,
    origin: Arc<str>,
    meter: Arc<str>,
    unit: Arc<str>,
    kind: MeterKind,
    values: Vec<Option<Arc<str>>>,
}

/// The dimensions that conditions, consumers, rules and prices look at; the tenant always.
fn needed_dimensions(policies: &[&Policy], books: &Books) -> Vec<Dimension> {
    let mut needed = BTreeSet::from([Dimension::Tenant]);
    for policy in policies {
        for pool in &policy.pools {
            needed.extend(pool.by().iter().cloned());
            needed.extend(pool.is_even_of_users().then_some(Dimension::User));
            needed.extend(
                pool.split
                    .iter()
                    .flat_map(|split| split.drivers.tests())
                    .filter_map(|(attribute, _)| dimension_of(attribute)),
            );
        }
        for rule in &policy.tenant_rules {
            let tested =
                rule.usage.iter().flat_map(|usage| usage.tests()).filter_map(|(attribute, _)| dimension_of(attribute));
            needed.extend(tested);
            if rule.usage.is_some() {
                needed.extend(rule.tenant.placeholders().filter_map(|name| name.parse().ok()));
            }
        }
    }
    let labels = books.cards().iter().flat_map(|card| &card.content.prices).flat_map(|price| price.labels.keys());
    needed.extend(labels.map(|label| Dimension::Label(label.as_str().into())));
    needed.into_iter().collect()
}

fn dimension_of(attribute: &UsageAttribute) -> Option<Dimension> {
    match attribute {
        UsageAttribute::Dimension(dimension) => Some(dimension.clone()),
        UsageAttribute::Origin => None,
    }
}

fn select_list(dimensions: &[Dimension]) -> String {
    let columns: Vec<String> =
        dimensions.iter().enumerate().map(|(at, dimension)| format!("{} AS d{at}", column(dimension))).collect();
    format!("usage_date, origin, meter, unit, kind, {}", columns.join(", "))
}

fn group_list(dimensions: &[Dimension]) -> String {
    let columns: Vec<String> = dimensions.iter().map(column).collect();
    format!("usage_date, origin, meter, unit, kind, {}", columns.join(", "))
}

fn days_sql(range: DayRange) -> String {
    format!("usage_date >= DATE '{}' AND usage_date <= DATE '{}'", range.from(), range.to())
}

/// Sums by group; what no meter asks for is neither read nor computed.
fn sums_sql(range: DayRange, dimensions: &[Dimension], books: &Books) -> String {
    let asked = |aggregations: &[Aggregation], expression: &str, otherwise: &str| {
        if books.meters.has_any(aggregations) { expression.to_owned() } else { otherwise.to_owned() }
    };
    let bounds = [Aggregation::Min, Aggregation::Max];
    let nothing = "CAST(NULL AS DECIMAL(38, 9))";
    format!(
        "SELECT {}, sum(\"sum\") AS \"sum\", {} AS \"count\", {} AS \"min\", {} AS \"max\" FROM usage WHERE {} GROUP BY {}",
        select_list(dimensions),
        asked(&[Aggregation::Avg], "sum(\"count\")", "CAST(NULL AS BIGINT)"),
        asked(&bounds, "min(\"min\")", nothing),
        asked(&bounds, "max(\"max\")", nothing),
        days_sql(range),
        group_list(dimensions)
    )
}

/// The last value of the day per full key, then summed.
fn last_sql(range: DayRange, dimensions: &[Dimension]) -> String {
    let full =
        "usage_date, origin, meter, unit, kind, tenant, \"user\", workflow, repo, task_class, cluster, labels_key";
    let inner: Vec<String> = dimensions
        .iter()
        .enumerate()
        .map(|(at, dimension)| format!("first_value({}) AS d{at}", column(dimension)))
        .collect();
    let outer: Vec<String> = (0..dimensions.len()).map(|at| format!("d{at}")).collect();
    format!(
        "SELECT usage_date, origin, meter, unit, kind, {outer}, sum(last) AS last FROM (\
         SELECT usage_date, origin, meter, unit, kind, {inner}, last_value(\"last\" ORDER BY last_at, \"last\") AS last FROM usage WHERE {days} GROUP BY {full}) \
         GROUP BY usage_date, origin, meter, unit, kind, {outer}",
        outer = outer.join(", "),
        inner = inner.join(", "),
        days = days_sql(range),
    )
}

fn keys(batch: &arrow::array::RecordBatch, dimensions: &[Dimension]) -> Result<Vec<Key>, EngineError> {
    let rows = Rows(batch);
    let days = rows.days("usage_date")?;
    let required = |name: &str| -> Result<Vec<Arc<str>>, EngineError> {
        Ok(rows.texts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    };
    let (origins, meters, units, kinds) =
        (required("origin")?, required("meter")?, required("unit")?, required("kind")?);
    let values: Vec<Vec<Option<Arc<str>>>> =
        (0..dimensions.len()).map(|at| rows.texts(&format!("d{at}"))).collect::<Result<_, _>>()?;
    let key = |row: usize| {
        let kind = match &*kinds[row] {
            "counter" => MeterKind::Counter,
            "gauge" => MeterKind::Gauge,
            other => return Err(unexpected("kind", other)),
        };
        Ok(Key {
            day: days[row],
            origin: Arc::clone(&origins[row]),
            meter: Arc::clone(&meters[row]),
            unit: Arc::clone(&units[row]),
            kind,
            values: values.iter().map(|column| column[row].clone()).collect(),
        })
    };
    (0..batch.num_rows()).map(key).collect()
}

fn by_day(cells: BTreeMap<Key, Measure>, dimensions: &[Dimension], books: &Books) -> BTreeMap<Day, Vec<UsageCell>> {
    let mut days: BTreeMap<Day, Vec<UsageCell>> = BTreeMap::new();
    for (key, measure) in cells {
        let mut placed = Dimensions::default();
        for (dimension, value) in dimensions.iter().zip(key.values) {
            placed.set(dimension, value);
        }
        let tenant = tenant_of(&placed, &key.origin, key.day, books);
        placed.set(&Dimension::Tenant, tenant);
        let cell = UsageCell {
            dimensions: placed,
            origin: key.origin,
            meter: key.meter,
            unit: key.unit,
            kind: key.kind,
            measure,
        };
        days.entry(key.day).or_default().push(cell);
    }
    days
}

/// The row's own tenant, or what the first matching rule of the day's policy makes of it.
fn tenant_of(placed: &Dimensions, origin: &Arc<str>, day: Day, books: &Books) -> Option<Arc<str>> {
    if let Some(own) = placed.get(&Dimension::Tenant) {
        return Some(books.tenants.resolve(own, day));
    }
    let value = |attribute: &UsageAttribute| match attribute {
        UsageAttribute::Origin => Some(&**origin),
        UsageAttribute::Dimension(dimension) => placed.get(dimension).map(|value| &**value),
    };
    let rules = books.policy_on(day).content.tenant_rules.iter();
    rules.filter(|rule| rule.usage.as_ref().is_some_and(|usage| usage.hold(value))).find_map(|rule| {
        let filled =
            rule.tenant.fill(|name| name.parse::<UsageAttribute>().ok().and_then(|attribute| value(&attribute)))?;
        filled.parse::<TenantId>().ok().map(|tenant| books.tenants.resolve(tenant.as_str(), day))
    })
}
