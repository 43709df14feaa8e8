//! Quantities by day, for the dimensions that the policies look at.

use super::rows::{Rows, literal, unexpected};
use crate::EngineError;
use crate::books::Books;
use attribution::usage::{Measure, UsageCell};
use datafusion::prelude::SessionContext;
use domain::condition::{Pattern, UsageAttribute};
use domain::dimension::{Dimension, Dimensions};
use domain::meter::{Aggregation, Meter, MeterKind};
use domain::policy::{Capacity, Method, Policy, Pool};
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
    let shape = Shape::needed(policies, books);
    let mut cells: Vec<(Key, Measure)> = Vec::new();
    for batch in session.sql(&shape.sums_sql(range)).await?.collect().await? {
        let (sum, count) = (Rows(&batch).decimals("sum")?, Rows(&batch).integers("count")?);
        let (min, max) = (Rows(&batch).decimals("min")?, Rows(&batch).decimals("max")?);
        for (row, key) in shape.keys(&batch)?.into_iter().enumerate() {
            let sum = sum[row].unwrap_or(0);
            let measure = Measure { sum, count: i128::from(count[row]), min: min[row], max: max[row], last: 0 };
            cells.push((key, measure));
        }
    }
    let known = definitions(session, range, books, cells.iter().map(|(key, _)| &key.meter)).await?;
    let by_last =
        |(key, _): &(Key, Measure)| books.meters.aggregation(&key.meter, known[&key.meter].kind) == Aggregation::Last;
    if cells.iter().any(by_last) {
        for batch in session.sql(&shape.last_sql(range)).await?.collect().await? {
            let last = Rows(&batch).decimals("last")?;
            for (row, key) in shape.keys(&batch)?.into_iter().enumerate() {
                cells.push((key, Measure { last: last[row].unwrap_or(0), ..Measure::default() }));
            }
        }
    }
    Ok(by_day(folded(cells), &shape.dimensions, &known, books))
}

/// What of a meter stands in every row of its usage; it cannot change once there is usage (`meter_in_use`).
struct Definition {
    unit: Arc<str>,
    kind: MeterKind,
}

/// Returns unit and kind of the meters: from their definitions, or from the rows where there is none.
async fn definitions<'m>(
    session: &SessionContext,
    range: DayRange,
    books: &Books,
    meters: impl Iterator<Item = &'m Arc<str>>,
) -> Result<BTreeMap<Arc<str>, Definition>, EngineError> {
    let mut known = BTreeMap::new();
    let mut unknown: BTreeSet<String> = BTreeSet::new();
    for meter in meters {
        match books.meters.get(meter) {
            Some(defined) => {
                let definition = || Definition { unit: defined.unit.as_str().into(), kind: defined.kind };
                known.entry(Arc::clone(meter)).or_insert_with(definition);
            }
            None => drop(unknown.insert(literal(meter))),
        }
    }
    if unknown.is_empty() {
        return Ok(known);
    }
    let names: Vec<String> = unknown.into_iter().collect();
    let sql = format!(
        "SELECT meter, min(unit) AS unit, min(kind) AS kind FROM usage WHERE {} AND meter IN ({}) GROUP BY meter",
        days_sql(range),
        names.join(", ")
    );
    for batch in session.sql(&sql).await?.collect().await? {
        let rows = Rows(&batch);
        let (meters, units, kinds) = (rows.texts("meter")?, rows.texts("unit")?, rows.texts("kind")?);
        for row in 0..batch.num_rows() {
            let kind = match kinds[row].as_deref() {
                Some("counter") => MeterKind::Counter,
                Some("gauge") => MeterKind::Gauge,
                other => return Err(unexpected("kind", other.unwrap_or("null"))),
            };
            let unit = units[row].clone().unwrap_or_default();
            known.insert(meters[row].clone().unwrap_or_default(), Definition { unit, kind });
        }
    }
    Ok(known)
}

/// One row of the sums: where it belongs before its tenant is resolved. Rows of one consumer stand together in its order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: Day,
    values: Vec<Option<Arc<str>>>,
    origin: Arc<str>,
    meter: Arc<str>,
}

/// Returns one measure for each key, in key order. Sorting beats a tree: rows mostly come in order.
fn folded(mut cells: Vec<(Key, Measure)>) -> Vec<(Key, Measure)> {
    cells.sort_by(|(left, _), (right, _)| left.cmp(right));
    cells.dedup_by(|(further, measure), (key, folded)| {
        let is_same = further == key;
        if is_same {
            folded.fold(measure);
        }
        is_same
    });
    cells
}

/// By what usage is summed: only what the policies look at, for grouping is what costs time.
struct Shape {
    dimensions: Vec<Dimension>,
    has_origin: bool,
    /// How the meters that pools look at make their quantities.
    aggregations: Vec<Aggregation>,
}

/// How the meters that a pool looks at make their quantities.
fn aggregations_of<'b>(pool: &'b Pool, books: &'b Books) -> impl Iterator<Item = Aggregation> + 'b {
    let split = pool.split.iter();
    let patterns = split.flat_map(|split| split.weights.keys().chain(&split.meter).chain(&split.meters));
    let measured = pool.capacity.values().filter_map(|capacity| match capacity {
        Capacity::Meter(meter) => Some(meter),
        Capacity::PerHour(_) => None,
    });
    let patterns: Vec<Pattern> = patterns.chain(measured).map(|name| Pattern::new(name)).collect();
    let looks_at = move |meter: &&Meter| patterns.iter().any(|pattern| pattern.matches(&meter.name));
    books.meters.iter().filter(looks_at).map(|meter| meter.aggregation)
}

impl Shape {
    /// Returns the dimensions that conditions, consumers, rules and prices look at; the tenant always.
    fn needed(policies: &[&Policy], books: &Books) -> Self {
        let mut needed = BTreeSet::from([Dimension::Tenant]);
        let mut tested: Vec<&UsageAttribute> = Vec::new();
        for policy in policies {
            // Windows look at events.
            for pool in policy.pools.iter().filter(|pool| pool.method() != Method::Window) {
                needed.extend(pool.by().iter().cloned());
                needed.extend(pool.is_even_of_users().then_some(Dimension::User));
                tested
                    .extend(pool.split.iter().flat_map(|split| split.drivers.tests()).map(|(attribute, _)| attribute));
            }
            for rule in &policy.tenant_rules {
                tested.extend(rule.usage.iter().flat_map(|usage| usage.tests()).map(|(attribute, _)| attribute));
            }
        }
        let rules = policies.iter().flat_map(|policy| &policy.tenant_rules).filter(|rule| rule.usage.is_some());
        let named: Vec<UsageAttribute> =
            rules.flat_map(|rule| rule.tenant.placeholders()).filter_map(|name| name.parse().ok()).collect();
        tested.extend(&named);
        let labels = books.cards().iter().flat_map(|card| &card.content.prices).flat_map(|price| price.labels.keys());
        needed.extend(labels.map(|label| Dimension::Label(label.as_str().into())));
        needed.extend(tested.iter().filter_map(|attribute| dimension_of(attribute)));
        let has_origin = tested.iter().any(|attribute| **attribute == UsageAttribute::Origin);
        let pools = policies.iter().flat_map(|policy| &policy.pools);
        let aggregations = pools.flat_map(|pool| aggregations_of(pool, books)).collect();
        Self { dimensions: needed.into_iter().collect(), has_origin, aggregations }
    }

    /// The columns that stand between day and dimensions.
    fn fixed(&self) -> &'static str {
        if self.has_origin { "origin, meter" } else { "meter" }
    }

    /// Sums by group; what no meter asks for is neither read nor computed.
    fn sums_sql(&self, range: DayRange) -> String {
        let asked = |aggregations: &[Aggregation], expression: &str, otherwise: &str| {
            let is_asked = aggregations.iter().any(|asked| self.aggregations.contains(asked));
            if is_asked { expression.to_owned() } else { otherwise.to_owned() }
        };
        let bounds = [Aggregation::Min, Aggregation::Max];
        let nothing = "CAST(NULL AS DECIMAL(38, 9))";
        let named: Vec<String> = self
            .dimensions
            .iter()
            .enumerate()
            .map(|(at, dimension)| format!("{} AS d{at}", column(dimension)))
            .collect();
        let grouped: Vec<String> = self.dimensions.iter().map(column).collect();
        // The days of one day need no telling apart: grouping is what costs time.
        let (day, by_day) = match range.len() {
            1 => (format!("DATE '{}' AS usage_date", range.from()), ""),
            _ => ("usage_date".to_owned(), "usage_date, "),
        };
        format!(
            "SELECT {day}, {fixed}, {named}, sum(\"sum\") AS \"sum\", {} AS \"count\", {} AS \"min\", {} AS \"max\" \
             FROM usage WHERE {} GROUP BY {by_day}{fixed}, {grouped}",
            asked(&[Aggregation::Avg, Aggregation::Count], "sum(\"count\")", "CAST(NULL AS BIGINT)"),
            asked(&bounds, "min(\"min\")", nothing),
            asked(&bounds, "max(\"max\")", nothing),
            days_sql(range),
            fixed = self.fixed(),
            named = named.join(", "),
            grouped = grouped.join(", "),
        )
    }

    /// The last value of the day per full key, then summed.
    fn last_sql(&self, range: DayRange) -> String {
        let full = "usage_date, origin, meter, tenant, \"user\", workflow, repo, task_class, cluster, labels_key";
        let first = |(at, dimension): (usize, &Dimension)| format!("first_value({}) AS d{at}", column(dimension));
        let inner: Vec<String> = self.dimensions.iter().enumerate().map(first).collect();
        let outer: Vec<String> = (0..self.dimensions.len()).map(|at| format!("d{at}")).collect();
        format!(
            "SELECT usage_date, {fixed}, {outer}, sum(last) AS last FROM (\
             SELECT usage_date, origin, meter, {inner}, last_value(\"last\" ORDER BY last_at, \"last\") AS last \
             FROM usage WHERE {days} GROUP BY {full}) GROUP BY usage_date, {fixed}, {outer}",
            fixed = self.fixed(),
            outer = outer.join(", "),
            inner = inner.join(", "),
            days = days_sql(range),
        )
    }

    fn keys(&self, batch: &arrow::array::RecordBatch) -> Result<Vec<Key>, EngineError> {
        let rows = Rows(batch);
        let days = rows.days("usage_date")?;
        let meters = rows.texts("meter")?;
        let origins = if self.has_origin { rows.texts("origin")? } else { vec![None; batch.num_rows()] };
        let values: Vec<Vec<Option<Arc<str>>>> =
            (0..self.dimensions.len()).map(|at| rows.texts(&format!("d{at}"))).collect::<Result<_, _>>()?;
        let key = |row: usize| Key {
            day: days[row],
            origin: origins[row].clone().unwrap_or_default(),
            meter: meters[row].clone().unwrap_or_default(),
            values: values.iter().map(|column| column[row].clone()).collect(),
        };
        Ok((0..batch.num_rows()).map(key).collect())
    }
}

fn dimension_of(attribute: &UsageAttribute) -> Option<Dimension> {
    match attribute {
        UsageAttribute::Dimension(dimension) => Some(dimension.clone()),
        UsageAttribute::Origin => None,
    }
}

fn days_sql(range: DayRange) -> String {
    format!("usage_date >= DATE '{}' AND usage_date <= DATE '{}'", range.from(), range.to())
}

fn by_day(
    cells: Vec<(Key, Measure)>,
    dimensions: &[Dimension],
    known: &BTreeMap<Arc<str>, Definition>,
    books: &Books,
) -> BTreeMap<Day, Vec<UsageCell>> {
    let mut days: BTreeMap<Day, Vec<UsageCell>> = BTreeMap::new();
    // Cells of one tenant stand together.
    let mut last: Option<(Day, Arc<str>, Arc<str>)> = None;
    let mut resolve = |own: &Arc<str>, day: Day| match &last {
        Some((of, known, tenant)) if *of == day && known == own => Arc::clone(tenant),
        _ => {
            let tenant = books.tenants.resolve(own, day);
            Arc::clone(&last.insert((day, Arc::clone(own), tenant)).2)
        }
    };
    for (key, measure) in cells {
        let mut placed = Dimensions::default();
        for (dimension, value) in dimensions.iter().zip(key.values) {
            placed.set(dimension, value);
        }
        let tenant = match placed.get(&Dimension::Tenant) {
            Some(own) => Some(resolve(own, key.day)),
            None => tenant_by_rule(&placed, &key.origin, key.day, books),
        };
        placed.set(&Dimension::Tenant, tenant);
        let Definition { unit, kind } = &known[&key.meter];
        let cell = UsageCell {
            dimensions: placed,
            origin: key.origin,
            meter: key.meter,
            unit: Arc::clone(unit),
            kind: *kind,
            measure,
        };
        days.entry(key.day).or_default().push(cell);
    }
    days
}

/// What the first matching rule of the day's policy makes of a row without a tenant.
fn tenant_by_rule(placed: &Dimensions, origin: &Arc<str>, day: Day, books: &Books) -> Option<Arc<str>> {
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
