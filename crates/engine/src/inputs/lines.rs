//! Parts of cost lines by day.

use super::rows::{Rows, literal};
use crate::EngineError;
use attribution::line::{AttributeSet, Cost, LinePart};
use attribution::spread::{LineTimes, billed_days, cost_days, spread};
use datafusion::prelude::SessionContext;
use domain::condition::ChargeAttribute;
use domain::{Currency, Day, DayRange, Zone};
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The lines of a range of days.
#[derive(Debug, Default)]
pub struct Lines {
    /// Parts by day, lines of equal attributes summed.
    pub days: BTreeMap<Day, Vec<LinePart>>,
    /// Which imports the lines of a day came from.
    pub imports: BTreeMap<Day, BTreeSet<Arc<str>>>,
}

/// What lines are summed by within a day.
type PartKey = (Day, Currency, Vec<Option<Arc<str>>>);
/// Sums by key, and how many lines they hold.
type Parts = BTreeMap<PartKey, (Cost, u64)>;

/// Returns the parts of all cost lines that fall on days of the range.
///
/// Lines that lie on one day are summed by the query engine. Longer ones are spread one by one, because the
/// parts of a sum are not the sum of the parts.
///
/// # Errors
/// When a query fails or a stored currency is none.
pub async fn load(
    session: &SessionContext,
    range: DayRange,
    zone: &Zone,
    attributes: &AttributeSet,
) -> Result<Lines, EngineError> {
    let mut parts = Parts::new();
    add_single_days(session, range, attributes, &mut parts).await?;
    add_spread(session, range, zone, attributes, &mut parts).await?;
    let mut lines = Lines { imports: imports(session, range).await?, ..Lines::default() };
    for ((day, currency, values), (cost, count)) in parts {
        let part = LinePart { attributes: attributes.clone(), values, currency, cost, lines: count };
        lines.days.entry(day).or_default().push(part);
    }
    Ok(lines)
}

/// Returns the SQL expression of an attribute of the table `cost_lines`.
#[must_use]
pub fn column(attribute: &ChargeAttribute) -> String {
    let name = match attribute {
        ChargeAttribute::Source => "source",
        ChargeAttribute::Provider => "service_provider_name",
        ChargeAttribute::Service => "service_name",
        ChargeAttribute::ServiceCategory => "service_category",
        ChargeAttribute::SubAccount => "sub_account_id",
        ChargeAttribute::BillingAccount => "billing_account_id",
        ChargeAttribute::Region => "region_id",
        ChargeAttribute::ChargeCategory => "charge_category",
        ChargeAttribute::ChargeClass => "charge_class",
        ChargeAttribute::CommitmentStatus => "commitment_discount_status",
        ChargeAttribute::CommitmentId => "commitment_discount_id",
        ChargeAttribute::PricingCategory => "pricing_category",
        ChargeAttribute::InvoiceId => "invoice_id",
        ChargeAttribute::Resource => "resource_id",
        ChargeAttribute::Tag(key) => return format!("tags[{}]", literal(key)),
    };
    name.to_owned()
}

const COSTS: [&str; 4] = ["billed_cost", "effective_cost", "contracted_cost", "list_cost"];

/// The condition that lines touch days of the range.
pub(crate) fn overlap(range: DayRange) -> String {
    format!("charge_date_from <= DATE '{}' AND charge_date_to >= DATE '{}'", range.to(), range.from())
}

fn selected(attributes: &AttributeSet) -> Vec<String> {
    attributes.attributes().iter().map(column).collect()
}

/// The columns of the attributes, each by its place: `a0`, `a1` …
pub(crate) fn named(attributes: &AttributeSet) -> String {
    let columns = selected(attributes);
    columns.iter().enumerate().map(|(at, column)| format!("{column} AS a{at}")).collect::<Vec<_>>().join(", ")
}

async fn add_single_days(
    session: &SessionContext,
    range: DayRange,
    attributes: &AttributeSet,
    parts: &mut Parts,
) -> Result<(), EngineError> {
    let sums: Vec<String> = COSTS.iter().map(|cost| format!("sum(coalesce({cost}, 0)) AS {cost}")).collect();
    let sql = format!(
        "SELECT charge_date_from, billing_currency, {named}, {sums}, count(*) AS lines FROM cost_lines \
         WHERE charge_date_from = charge_date_to AND {overlap} GROUP BY charge_date_from, billing_currency, {group}",
        named = named(attributes),
        sums = sums.join(", "),
        overlap = overlap(range),
        group = selected(attributes).join(", "),
    );
    let mut batches = session.sql(&sql).await?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let rows = Rows(&batch);
        let (days, lines) = (rows.days("charge_date_from")?, rows.integers("lines")?);
        let facts = Facts::read(&rows, attributes)?;
        for row in 0..batch.num_rows() {
            let count = u64::try_from(lines[row]).unwrap_or(0);
            add(parts, (days[row], facts.currency(row)?, facts.values(row)), facts.cost(row), count);
        }
    }
    Ok(())
}

async fn add_spread(
    session: &SessionContext,
    range: DayRange,
    zone: &Zone,
    attributes: &AttributeSet,
    parts: &mut Parts,
) -> Result<(), EngineError> {
    let sql = format!(
        "SELECT charge_period_start, charge_period_end, billing_period_start, billing_period_end, billing_currency, {}, {} FROM cost_lines \
         WHERE charge_date_from <> charge_date_to AND {}",
        named(attributes),
        COSTS.join(", "),
        overlap(range),
    );
    let mut batches = session.sql(&sql).await?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let rows = Rows(&batch);
        let (start, end) = (rows.instants("charge_period_start")?, rows.instants("charge_period_end")?);
        let (billing_start, billing_end) =
            (rows.instants("billing_period_start")?, rows.instants("billing_period_end")?);
        let facts = Facts::read(&rows, attributes)?;
        for row in 0..batch.num_rows() {
            let billing_start = billing_start[row].or(start[row]).unwrap_or(domain::Instant::from_micros(0));
            let times = LineTimes {
                charge_start: start[row],
                charge_end: end[row],
                billing_start,
                billing_end: billing_end[row],
            };
            for (day, cost) in cost_by_day(facts.cost(row), &times, zone) {
                if range.contains(day) {
                    add(parts, (day, facts.currency(row)?, facts.values(row)), cost, 1);
                }
            }
        }
    }
    Ok(())
}

/// Returns the four costs of a line on each day that it touches.
#[must_use]
pub fn cost_by_day(cost: Cost, times: &LineTimes, zone: &Zone) -> BTreeMap<Day, Cost> {
    let mut days: BTreeMap<Day, Cost> = BTreeMap::new();
    let cost_days = cost_days(times, zone);
    let (effective, contracted, list) =
        (spread(cost.effective, &cost_days), spread(cost.contracted, &cost_days), spread(cost.list, &cost_days));
    for (at, (day, _)) in cost_days.iter().enumerate() {
        let of_day = days.entry(*day).or_default();
        (of_day.effective, of_day.contracted, of_day.list) = (effective[at], contracted[at], list[at]);
    }
    let billed_days = billed_days(times, zone);
    for ((day, _), billed) in billed_days.iter().zip(spread(cost.billed, &billed_days)) {
        days.entry(*day).or_default().billed = billed;
    }
    days
}

fn add(parts: &mut Parts, key: PartKey, cost: Cost, lines: u64) {
    let (sum, count) = parts.entry(key).or_default();
    sum.billed += cost.billed;
    sum.effective += cost.effective;
    sum.contracted += cost.contracted;
    sum.list += cost.list;
    *count += lines;
}

/// The columns that both queries have.
struct Facts {
    currencies: Vec<Option<Arc<str>>>,
    attributes: Vec<Vec<Option<Arc<str>>>>,
    costs: [Vec<Option<i128>>; 4],
}

impl Facts {
    fn read(rows: &Rows<'_>, attributes: &AttributeSet) -> Result<Self, EngineError> {
        let count = attributes.attributes().len();
        Ok(Self {
            currencies: rows.texts("billing_currency")?,
            attributes: (0..count).map(|at| rows.texts(&format!("a{at}"))).collect::<Result<_, _>>()?,
            costs: [
                rows.decimals(COSTS[0])?,
                rows.decimals(COSTS[1])?,
                rows.decimals(COSTS[2])?,
                rows.decimals(COSTS[3])?,
            ],
        })
    }

    fn currency(&self, row: usize) -> Result<Currency, EngineError> {
        let code = self.currencies[row].as_deref().unwrap_or_default();
        code.parse().map_err(|error| super::rows::unexpected("billing_currency", error))
    }

    fn values(&self, row: usize) -> Vec<Option<Arc<str>>> {
        self.attributes.iter().map(|column| column[row].clone()).collect()
    }

    fn cost(&self, row: usize) -> Cost {
        let [billed, effective, contracted, list] = [0, 1, 2, 3].map(|at: usize| self.costs[at][row].unwrap_or(0));
        Cost { billed, effective, contracted, list }
    }
}

async fn imports(session: &SessionContext, range: DayRange) -> Result<BTreeMap<Day, BTreeSet<Arc<str>>>, EngineError> {
    let sql =
        format!("SELECT DISTINCT charge_date_from, charge_date_to, import_id FROM cost_lines WHERE {}", overlap(range));
    let mut days: BTreeMap<Day, BTreeSet<Arc<str>>> = BTreeMap::new();
    for batch in session.sql(&sql).await?.collect().await? {
        let rows = Rows(&batch);
        let (from, to, imports) =
            (rows.days("charge_date_from")?, rows.days("charge_date_to")?, rows.texts("import_id")?);
        for row in 0..batch.num_rows() {
            let touched = DayRange::new(from[row].max(range.from()), to[row].min(range.to()));
            for day in touched.into_iter().flat_map(|touched| touched.days()) {
                days.entry(day).or_default().extend(imports[row].clone());
            }
        }
    }
    Ok(days)
}
