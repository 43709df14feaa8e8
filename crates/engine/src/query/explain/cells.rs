//! All cells of a pool on a day, recomputed by the split rule.

use super::super::as_of::Head;
use super::super::columns::rows;
use super::super::select::{self, all_of, charged_in};
use super::super::shares::split_with_rounding;
use super::by_resource::split_by_resource_share;
use super::replay::CellShares;
use super::words::PoolId;
use crate::EngineError;
use attribution::exact::multiply_divide_half_even;
use datafusion::functions_aggregate::expr_fn::{last_value, sum};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionContext, ident};
use domain::decimal::format_scaled;
use domain::money::MONEY_SCALE;
use domain::policy::{Normalize, Pool};
use domain::quantity::QUANTITY_SCALE;
use domain::tenant::{RESERVED, VARIANCE};
use domain::{Currency, Day, DayRange};
use ledger::PoolDay;
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// A part of a pool that is split on its own, and the tenant's cells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedComponent {
    /// Currency of its amounts.
    pub currency: String,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<String>,
    /// Service, when the pool keeps it.
    pub service: Option<String>,
    /// Provider, when the pool keeps it.
    pub provider: Option<String>,
    /// Source, when the pool keeps it.
    pub source: Option<String>,
    /// CommitmentDiscountStatus, when the pool keeps it.
    pub commitment_status: Option<String>,
    /// InvoiceId, when the pool keeps it.
    pub invoice_id: Option<String>,
    /// What went in, in atoms; none when not disclosed.
    pub pool_amount: Option<i128>,
    /// What went in of the billed amount, in atoms; none when not disclosed.
    pub pool_billed_amount: Option<i128>,
    /// Sum of all weights in atoms of 10⁻¹⁵; none when not disclosed or not split by weight.
    pub total_weight: Option<i128>,
    /// The tenant's cells.
    pub cells: Vec<ExplainedCell>,
}

/// One share: of a consumer, possibly by a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCell {
    /// The `by` values joined, or a reserved word.
    pub consumer: String,
    /// By which meter.
    pub meter: Option<String>,
    /// The meter's unit.
    pub unit: Option<String>,
    /// What was measured, in atoms of 10⁻⁹.
    pub quantity: Option<i128>,
    /// Price of one unit, in atoms.
    pub unit_price: Option<i128>,
    /// Weight in the split, in atoms; none when not disclosed.
    pub weight: Option<i128>,
    /// Weight ÷ total weight as a fraction; none when not disclosed.
    pub ratio: Option<String>,
    /// Whether it got one of the atoms that rounding left over; none when not disclosed.
    pub rounding_atom: Option<bool>,
    /// What was posted, in atoms.
    pub amount: i128,
    /// What was posted of the billed amount, in atoms.
    pub billed_amount: i128,
    /// What was posted in the reporting currency, in atoms.
    pub amount_reporting: i128,
    /// What the rule gives, in atoms: of the ways in which it was computed again, one that does not give what was
    /// posted, if there is one; none where nothing can be recomputed.
    pub recomputed: Option<i128>,
    /// In which ways it was computed again.
    pub recomputed_from: Vec<RecomputedFrom>,
    /// Whether all of them give what was posted.
    pub matches: Option<bool>,
    /// Why the consumer is a reserved word.
    pub reason: Option<String>,
    /// Rate into the reporting currency, in atoms.
    pub fx_rate: Option<i128>,
    /// Day of that rate.
    pub fx_date: Option<Day>,
}

/// A way to compute a share again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecomputedFrom {
    /// Bills, usage and events are read again as the run read them, and attributed.
    Inputs,
    /// What the entries themselves say, the pool's amount and every cell's weight or quantity and price, is divided.
    Entries,
}

impl RecomputedFrom {
    /// Returns the way's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Entries => "entries",
        }
    }
}

fn recomputed_from(told: [Option<i128>; 2]) -> Vec<RecomputedFrom> {
    let ways = [RecomputedFrom::Inputs, RecomputedFrom::Entries];
    ways.into_iter().zip(told).filter(|(_, told)| told.is_some()).map(|(way, _)| way).collect()
}

impl ExplainedComponent {
    /// Leaves out whatever says something about the others in the pool.
    pub(super) fn redact(&mut self) {
        (self.pool_amount, self.pool_billed_amount, self.total_weight) = (None, None, None);
        for cell in &mut self.cells {
            (cell.weight, cell.ratio, cell.rounding_atom) = (None, None, None);
        }
    }
}

/// Currency, charge category, service, provider, source, commitment status, invoice.
pub(super) type ComponentKey = [Option<String>; 7];
const COMPONENT: [&str; 7] =
    ["currency", "charge_category", "service", "provider", "source", "commitment_status", "invoice_id"];

/// In the order in which ties of the split rule are broken: fields of the consumer, whether it is reserved, meter.
pub(super) type CellKey = (Vec<String>, bool, Option<String>);

/// How a pool is shared out.
#[derive(Clone, Copy)]
pub(super) struct Rule<'r> {
    pub(super) method: &'r str,
    pub(super) basis: &'r str,
    /// Its definition, unless that is not known any more.
    pub(super) pool: Option<&'r Pool>,
    /// In which usage is priced, if it is.
    pub(super) card_currency: Option<Currency>,
    /// What its inputs give each cell, where they can be read.
    pub(super) replayed: Option<&'r CellShares>,
}

impl Rule<'_> {
    /// Whether it has a ratio for each source, sub-account and service, which no entry tells.
    fn follows(&self) -> bool {
        self.pool.and_then(|pool| pool.split.as_ref()).is_some_and(|split| split.follow.is_some())
    }
}

/// What the rule gives a cell, and whether one of the left-over atoms is in it, where that can be told.
type Part = (i128, Option<bool>);

#[derive(Clone, Debug, Default)]
struct CellSum {
    consumer: String,
    tenant: Option<String>,
    unit: Option<String>,
    reason: Option<String>,
    quantity: Option<i128>,
    unit_price: Option<i128>,
    weight: Option<i128>,
    amount: i128,
    billed_amount: i128,
    amount_reporting: i128,
    fx_rate: Option<i128>,
    fx_date: Option<Day>,
}

/// All cells of a pool on a day, by component.
pub(super) struct PoolCells(BTreeMap<ComponentKey, BTreeMap<CellKey, CellSum>>);

impl PoolCells {
    pub(super) async fn load(
        session: &SessionContext,
        head: &Head,
        date: Day,
        pool: &PoolId,
    ) -> Result<Self, EngineError> {
        let conditions = [select::up_to_posting(head.number()), charged_in(DayRange::single(date)), pool.condition()];
        // What another rule said was taken back: it is told apart by these words, and its sums are all 0.
        let words = ["tier", "basis", "method"];
        let columns = COMPONENT.into_iter().chain(["consumer", "tenant", "meter", "category"]).chain(words).map(ident);
        let sums = ["amount", "billed_amount", "amount_reporting", "quantity"];
        let states = ["weight", "unit_price", "fx_rate", "fx_date", "unit", "reason"];
        let newest = || vec![ident("posting").sort(true, true), ident("line").sort(true, true)];
        let sums = sums.into_iter().map(|column| sum(ident(column)).alias(format!("sum_{column}")));
        let states =
            states.into_iter().map(|column| last_value(ident(column), newest()).alias(format!("last_{column}")));
        let measures: Vec<Expr> = sums.chain(states).collect();
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(conditions))?
            .aggregate(columns.collect(), measures)?
            .collect()
            .await?;
        let mut components: BTreeMap<ComponentKey, BTreeMap<CellKey, CellSum>> = BTreeMap::new();
        for row in rows(&batches) {
            if [14, 15, 16, 17].iter().all(|sum| row.atoms(*sum) == 0) {
                continue;
            }
            let text = |index| row.text(index).map(str::to_owned);
            let component = components.entry([0, 1, 2, 3, 4, 5, 6].map(text)).or_default();
            let consumer = row.text_or_empty(7);
            let cell = component.entry(cell_key(consumer, text(9))).or_default();
            // Rows that differ in category only are parts of one cell; a part that fell away states nothing.
            cell.consumer = consumer.to_owned();
            cell.tenant = text(8);
            cell.amount += row.atoms(14);
            cell.billed_amount += row.atoms(15);
            cell.amount_reporting += row.atoms(16);
            cell.quantity = match (cell.quantity, row.atoms_or_none(17)) {
                (Some(known), Some(more)) => Some(known + more),
                (known, more) => known.or(more),
            };
            cell.weight = row.atoms_or_none(18).or(cell.weight);
            cell.unit_price = row.atoms_or_none(19).or(cell.unit_price);
            cell.fx_rate = row.atoms_or_none(20).or(cell.fx_rate);
            cell.fx_date = row.day(21).or(cell.fx_date);
            cell.unit = text(22).or(cell.unit.take());
            cell.reason = text(23).or(cell.reason.take());
        }
        Ok(Self(components))
    }

    /// Returns how many tenants have a share.
    pub(super) fn tenants(&self) -> usize {
        let cells = self.0.values().flat_map(BTreeMap::values);
        cells.filter_map(|cell| cell.tenant.as_deref()).collect::<BTreeSet<_>>().len()
    }

    /// Returns whether each component that tenants share has at least so many of them: what one of them pays of it would
    /// follow from its amount otherwise.
    pub(super) fn are_of_enough(&self, tenants_min: usize) -> bool {
        let tenants = |cells: &BTreeMap<CellKey, CellSum>| {
            cells.values().filter_map(|cell| cell.tenant.as_deref()).collect::<BTreeSet<_>>().len()
        };
        self.0.values().map(tenants).all(|count| count == 0 || tenants_min <= count)
    }

    /// Returns the components in which the tenant, or the reserved consumer, has cells.
    pub(super) fn explain(&self, tenant: &str, rule: Rule<'_>, went_in: &[PoolDay]) -> Vec<ExplainedComponent> {
        let mut found = Vec::new();
        for (key, cells) in &self.0 {
            // A reserved consumer is nobody's; any other is known by its tenant, never by its joined text.
            let is_own = |cell: &CellSum| cell.tenant.as_deref().unwrap_or(&cell.consumer) == tenant;
            if !cells.values().any(is_own) {
                continue;
            }
            let (amount, billed) = went_into(key, went_in);
            let weights = self.weights(cells, key, rule);
            let parts = if rule.follows() { None } else { self.parts(key, cells, &weights, rule, amount) };
            let total_weight =
                (parts.is_some() && is_split(rule.method, rule.basis)).then(|| weights.values().sum::<i128>());
            let own = cells.iter().filter(|(_, cell)| is_own(cell)).map(|(cell_key, cell)| {
                let part = parts.as_ref().and_then(|parts| parts.get(cell_key)).copied();
                let replayed = |cells: &CellShares| cells.get(&(key.clone(), cell_key.clone())).copied();
                let of_inputs = rule.replayed.map(|cells| replayed(cells).unwrap_or_default().amount);
                let told = [of_inputs, part.map(|(share, _)| share)];
                ExplainedCell {
                    consumer: cell.consumer.clone(),
                    meter: cell_key.2.clone(),
                    unit: cell.unit.clone(),
                    quantity: cell.quantity,
                    unit_price: cell.unit_price,
                    weight: cell.weight,
                    ratio: cell.weight.zip(total_weight).map(|(weight, total)| {
                        format!("{}/{}", format_scaled(weight, MONEY_SCALE, 0), format_scaled(total, MONEY_SCALE, 0))
                    }),
                    rounding_atom: part.and_then(|(_, rounding)| rounding),
                    amount: cell.amount,
                    billed_amount: cell.billed_amount,
                    amount_reporting: cell.amount_reporting,
                    recomputed: told.into_iter().flatten().find(|share| *share != cell.amount).or(told[0]).or(told[1]),
                    recomputed_from: recomputed_from(told),
                    matches: told
                        .iter()
                        .any(Option::is_some)
                        .then(|| told.into_iter().flatten().all(|share| share == cell.amount)),
                    reason: cell.reason.clone().or_else(|| is_negative(cell).then(|| NEGATIVE_DRIVER.to_owned())),
                    fx_rate: cell.fx_rate,
                    fx_date: cell.fx_date,
                }
            });
            let [currency, charge_category, service, provider, source, commitment_status, invoice_id] = key.clone();
            found.push(ExplainedComponent {
                currency: currency.unwrap_or_default(),
                charge_category,
                service,
                provider,
                source,
                commitment_status,
                invoice_id,
                pool_amount: amount,
                pool_billed_amount: billed,
                total_weight,
                cells: own.collect(),
            });
        }
        found
    }

    /// What the rule gives every cell of a component; none where nothing can be recomputed.
    fn parts(
        &self,
        key: &ComponentKey,
        cells: &BTreeMap<CellKey, CellSum>,
        weights: &BTreeMap<&CellKey, i128>,
        rule: Rule<'_>,
        amount: Option<i128>,
    ) -> Option<BTreeMap<CellKey, Part>> {
        if is_split(rule.method, rule.basis) {
            let split = rule.pool.and_then(|pool| pool.split.as_ref());
            if split.is_some_and(|split| split.normalize == Normalize::ResourceShare) {
                // The entries hold these weights rounded; from the quantities they are exact.
                let shares = split_by_resource_share(rule.pool?, amount?, &self.quantities())?;
                return Some(shares.into_iter().map(|(key, share)| (key, (share, None))).collect());
            }
            return split_by(weights, amount?);
        }
        if rule.basis != "rated" {
            return None;
        }
        let is_priced_so = rule.card_currency.as_ref().map(Currency::code) == key[0].as_deref();
        if is_priced_so {
            let rated = cells.iter().filter_map(|(key, cell)| Some((key.clone(), (rated(cell)?, None))));
            return Some(rated.collect());
        }
        // Converted as a whole, then divided by what each was rated at; the rate is not in the entries.
        let recovered: BTreeMap<&CellKey, i128> = cells
            .iter()
            .filter(|(_, cell)| cell.consumer != VARIANCE)
            .map(|(key, cell)| Some((key, cell.weight?)))
            .collect::<Option<_>>()?;
        split_by(&recovered, recovered.keys().map(|key| cells[*key].amount).sum())
    }

    /// What was measured, by cell: it stands in one component only.
    fn quantities(&self) -> BTreeMap<&CellKey, i128> {
        let cells = self.0.values().flatten();
        cells.filter_map(|(key, cell)| cell.quantity.map(|quantity| (key, quantity))).collect()
    }

    /// The weights of a component in key order. A cell that got nothing of this component may have no entry in it; unless
    /// weights follow the component (`by_cost`), they are those of the pool's other components. What has no entry at all,
    /// for it got nothing of any, is known from the inputs only.
    fn weights<'c>(
        &'c self,
        own: &'c BTreeMap<CellKey, CellSum>,
        component: &ComponentKey,
        rule: Rule<'c>,
    ) -> BTreeMap<&'c CellKey, i128> {
        let all = self.0.values().filter(|_| rule.method != "by_cost").flatten();
        let mut weights = BTreeMap::new();
        for (key, cell) in all.chain(own) {
            if let Some(weight) = cell.weight {
                weights.insert(key, weight);
            }
        }
        for ((_, key), cell) in rule.replayed.into_iter().flatten().filter(|((of, _), _)| of == component) {
            if let Some(weight) = cell.weight {
                weights.entry(key).or_insert(weight);
            }
        }
        weights
    }
}

/// Returns what went into a component of both measures; none when no pool day tells.
fn went_into(key: &ComponentKey, went_in: &[PoolDay]) -> (Option<i128>, Option<i128>) {
    let of_key = |row: &&PoolDay| {
        let text = |value: &Option<std::sync::Arc<str>>| value.as_deref().map(str::to_owned);
        let own = [
            Some(row.currency.code().to_owned()),
            text(&row.charge_category),
            text(&row.service),
            text(&row.provider),
            text(&row.source),
            text(&row.commitment_status),
            text(&row.invoice_id),
        ];
        own == *key
    };
    let rows: Vec<&PoolDay> = went_in.iter().filter(of_key).collect();
    if rows.is_empty() {
        return (None, None);
    }
    (Some(rows.iter().map(|row| row.amount).sum()), Some(rows.iter().map(|row| row.billed_amount).sum()))
}

/// Whether amounts are split by weights, rather than each cell being its own lines or its own quantity × price.
fn is_split(method: &str, basis: &str) -> bool {
    match method {
        "weighted" | "proportional" | "even" | "fixed" | "by_cost" | "none" => true,
        "rated" => basis == "billed",
        _ => false,
    }
}

/// The amount divided by the weights; none when they weigh nothing.
fn split_by(weights: &BTreeMap<&CellKey, i128>, amount: i128) -> Option<BTreeMap<CellKey, Part>> {
    let parts = split_with_rounding(amount, &weights.values().copied().collect::<Vec<_>>())?;
    let keys = weights.keys().map(|key| (*key).clone());
    Some(keys.zip(parts).map(|(key, (share, rounding))| (key, (share, Some(rounding)))).collect())
}

/// Quantity × price, where each cell is just that; usage below 0 costs nothing.
fn rated(cell: &CellSum) -> Option<i128> {
    if cell.consumer == VARIANCE {
        return None;
    }
    let cost = multiply_divide_half_even(cell.quantity?, cell.unit_price?, 10_i128.pow(QUANTITY_SCALE))?;
    Some(cost.max(0))
}

/// Why a cell weighs nothing although something was measured.
const NEGATIVE_DRIVER: &str = "negative_driver";

fn is_negative(cell: &CellSum) -> bool {
    cell.quantity.is_some_and(|quantity| quantity < 0)
}

fn cell_key(consumer: &str, meter: Option<String>) -> CellKey {
    if RESERVED.contains(&consumer) {
        return (vec![consumer.to_owned()], true, meter);
    }
    let decode = |part: &str| part.replace("%2F", "/").replace("%25", "%");
    (consumer.split('/').map(decode).collect(), false, meter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_in_the_order_in_which_ties_are_broken() {
        let mut keys = [
            cell_key("b/x", None),
            cell_key("__idle__", Some("cpu".to_owned())),
            cell_key("a%2Fb/", None),
            cell_key("a/z", None),
            cell_key("Z/", None),
        ];
        keys.sort();
        let first: Vec<&str> = keys.iter().map(|key| key.0[0].as_str()).collect();
        assert_eq!(first, ["Z", "__idle__", "a", "a/b", "b"]);
    }
}
