//! The view at current rates: an estimate beside the ledger.

use super::super::cost_query::{Clock, CostQuery, Granularity, Measure, Sort, SortKey, View};
use super::super::current::{Asked, CurrentCard, PricedCell, days_with_rows, state_of};
use super::super::cursor;
use super::super::filter::Filter;
use super::super::keys::{Column, GroupKey};
use super::compared::{Compared, Known, Sides};
use super::fold::{Group, bucket_of};
use super::{CostMeta, CostRow, CostTable, CostTotals, ReservedTotals, page};
use crate::books::Books;
use crate::{Engine, EngineError};
use attribution::exact::multiply_divide_half_even;
use attribution::usage::Measure as Measured;
use datafusion::prelude::SessionContext;
use domain::meter::{Aggregation, MeterKind};
use domain::money::ATOMS_PER_UNIT;
use domain::snapshot::ORIGIN_SNAPSHOT;
use domain::{Currency, DayRange, TenantScope};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an answer at current rates says about itself, beside what every answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentRates {
    /// The card.
    pub card: CurrentCard,
    /// What the ledger holds for the same days, in atoms, estimates apart.
    pub posted: i128,
    /// The ledger's own estimates for the same days, in atoms.
    pub posted_memo: i128,
    /// By which factor the prices would have to change for the total to be `posted`, in atoms of 10⁻¹⁵; none when one
    /// of both is not positive.
    pub calibration: Option<i128>,
    /// How often a metric of the snapshots behind it is degraded or missing; none for tenants.
    pub gaps: Option<Vec<String>>,
}

/// Where a page begins, and the state that all pages show.
#[derive(Serialize, Deserialize)]
struct Place {
    from: i32,
    to: i32,
    state: String,
    offset: usize,
}

/// What is known of a range at the card's prices.
#[derive(Default)]
struct Estimate {
    groups: BTreeMap<Vec<String>, Group>,
    /// Quantities by row and meter, in atoms.
    usage: BTreeMap<Vec<String>, BTreeMap<Arc<str>, i128>>,
    unpriced: BTreeSet<String>,
}

/// A question with everything that answers it.
struct Estimator<'e> {
    engine: &'e Engine,
    session: &'e SessionContext,
    state: &'e str,
    scope: &'e TenantScope,
    query: &'e CostQuery,
    books: &'e Books,
    card: &'e CurrentCard,
}

impl Engine {
    /// Returns what all usage of the days costs at the card in force; no entry of the ledger changes.
    ///
    /// Rows are in the card's currency. Beside them stands what the ledger holds for the same days.
    ///
    /// # Errors
    /// For keys that usage does not have, another currency than the card's, and when a store fails.
    ///
    /// # Source
    /// Spec 3-attribution, section 6; seed X1.
    pub(super) async fn costs_at_current_rates(
        &self,
        scope: &TenantScope,
        query: &CostQuery,
    ) -> Result<CostTable, EngineError> {
        super::super::select::check_named_tenants(scope, &query.filter)?;
        check_question(query)?;
        let now = self.usage_now().await?;
        let books = self.books_now().await?;
        let card = self.current_card(&books)?;
        let currency = card.card.currency;
        if query.currency.is_some_and(|wanted| wanted != currency) {
            let detail = format!("the prices of rate card `{}` are in {currency}; leave `currency` out", card.version);
            return Err(EngineError::parameter("currency", detail));
        }
        let state = state_of(&now, &books);
        let (query, offset) = resume(scope, query, &format!("{state} {}", card.version))?;
        let session = self.session_for_prices(&now)?;
        let estimator = Estimator {
            engine: self,
            session: &session,
            state: &state,
            scope,
            query: &query,
            books: &books,
            card: &card,
        };
        let current = estimator.of(query.range, true).await?;
        let measured = days_with_rows(&now.pinned, "usage_date", query.range).last().copied();
        let through = measured.max(days_with_rows(&now.snapshots, "snapshot_date", query.range).last().copied());
        let compared = Compared::of(&query, query.range, Known { through, today: self.today(), pending: None });
        let sides = match compared {
            Some(compared) => Some(estimator.sides(compared).await?),
            None => None,
        };
        let posted = self.posted_costs(scope, &posted_beside(&query, currency)).await?;
        let shows_gaps = *scope == TenantScope::All && reads_snapshots(&query.filter);
        let gaps = match shows_gaps {
            true => Some(self.snapshot_gaps_all_tenants(&session, query.range).await?),
            false => None,
        };
        let Estimate { groups, usage, unpriced } = current;
        let cost = groups.values().map(|group| group.cost).sum();
        let reserved = (*scope == TenantScope::All).then(ReservedTotals::default);
        let totals = CostTotals { cost, reserved, memo: 0 };
        let (rows, totals) = page::shape(&query, query.range, currency, groups, sides, totals);
        let meta = CostMeta {
            range: query.range,
            currency,
            view: View::CurrentRates,
            data_through: through,
            compared,
            pending_days: 0,
            conservation: None,
            coverage: None,
            restated: Vec::new(),
            unpriced_metrics: unpriced.into_iter().collect(),
            current: Some(CurrentRates {
                posted: posted.totals.cost,
                posted_memo: posted.totals.memo,
                calibration: calibration(posted.totals.cost, cost),
                gaps,
                card,
            }),
            ..posted.meta
        };
        Ok(page_of(scope, &query, &state, rows, usage, totals, meta, offset))
    }
}

impl Estimator<'_> {
    async fn sides(&self, Compared { range, previous }: Compared) -> Result<Sides, EngineError> {
        let later = if range == self.query.range { None } else { Some(self.of(range, false).await?.groups) };
        Ok(Sides { later, previous: self.of(previous, false).await?.groups })
    }

    /// Prices a range; quantities are told only where the answer shows them.
    async fn of(&self, range: DayRange, with_usage: bool) -> Result<Estimate, EngineError> {
        let asked = Asked {
            scope: self.scope,
            range,
            group_by: &self.query.group_by,
            filter: &self.query.filter,
            by_day: with_usage && self.query.granularity != Granularity::None,
            books: self.books,
            card: &self.card.card,
        };
        let mut estimate = Estimate::default();
        let mut measured: BTreeMap<(Vec<String>, Arc<str>), (Measured, MeterKind)> = BTreeMap::new();
        let mut levels: BTreeSet<Arc<str>> = BTreeSet::new();
        let meters = &self.books.meters;
        let take = |cell: PricedCell| {
            if with_usage && meters.aggregation(&cell.meter, cell.kind) == Aggregation::Last {
                levels.insert(Arc::clone(&cell.meter));
            } else if with_usage {
                let key = (cell.key.clone(), Arc::clone(&cell.meter));
                measured.entry(key).or_insert((Measured::default(), cell.kind)).0.fold(&cell.measure);
            }
            estimate.add(self.query.granularity, cell);
            Ok(())
        };
        self.engine.each_priced(self.session, self.state, &asked, take).await?;
        for ((key, meter), (measure, kind)) in measured {
            let quantity = measure.quantity(meters.aggregation(&meter, kind));
            estimate.usage.entry(key).or_default().insert(meter, quantity);
        }
        if !levels.is_empty() {
            let take = |key: Vec<String>, meter: Arc<str>, quantity: i128| {
                *estimate.usage.entry(key).or_default().entry(meter).or_default() += quantity;
            };
            self.engine.each_level(self.session, self.state, &asked, &levels, take).await?;
        }
        Ok(estimate)
    }
}

impl Estimate {
    fn add(&mut self, granularity: Granularity, cell: PricedCell) {
        if cell.amount.is_none() {
            self.unpriced.insert(cell.meter.to_string());
        }
        let amount = cell.amount.unwrap_or(0);
        let group = self.groups.entry(cell.key).or_default();
        group.cost += amount;
        if let Some(day) = cell.day.filter(|_| granularity != Granularity::None) {
            *group.series.entry(bucket_of(granularity, day)).or_default() += amount;
        }
    }
}

/// The rows of a page, with what each used.
#[expect(clippy::too_many_arguments, reason = "the parts of one answer, put together in one place")]
fn page_of(
    scope: &TenantScope,
    query: &CostQuery,
    state: &str,
    rows: Vec<CostRow>,
    mut usage: BTreeMap<Vec<String>, BTreeMap<Arc<str>, i128>>,
    totals: CostTotals,
    meta: CostMeta,
    offset: usize,
) -> CostTable {
    let count = rows.len();
    let complete = |row: CostRow| {
        let key: Vec<String> = row.key.iter().map(|(_, value)| value.clone()).collect();
        let usage = usage.remove(&key).unwrap_or_default();
        CostRow { parts: None, usage: Some(usage), ..row }
    };
    let rows: Vec<CostRow> = rows.into_iter().skip(offset).take(query.limit).map(complete).collect();
    let end = offset + rows.len();
    let version = meta.current.as_ref().map_or("", |current| current.card.version.as_str());
    let next_cursor = (end < count).then(|| {
        let place = Place {
            from: query.range.from().epoch_days(),
            to: query.range.to().epoch_days(),
            state: format!("{state} {version}"),
            offset: end,
        };
        cursor::encode(&super::question(scope, query), &place)
    });
    CostTable { rows, totals, meta, next_cursor }
}

/// Refuses what an estimate does not have.
fn check_question(query: &CostQuery) -> Result<(), EngineError> {
    let filtered = query.filter.terms.iter().map(|term| (&term.key, "filter"));
    for (key, parameter) in query.group_by.iter().map(|key| (key, "group_by")).chain(filtered) {
        let is_of_usage = match key {
            GroupKey::Dimension(_) | GroupKey::Plan | GroupKey::Parent => true,
            GroupKey::Column(column) => matches!(column, Column::Meter | Column::Origin | Column::Category),
        };
        if !is_of_usage {
            return Err(EngineError::parameter(parameter, format!("usage at current rates has no `{key}`")));
        }
    }
    if query.clock == Clock::Billed {
        return Err(EngineError::parameter("clock", "usage at current rates is on no statement; use clock=charged"));
    }
    if query.measure == Measure::BilledAmount {
        return Err(EngineError::parameter("measure", "usage at current rates is on no bill; use measure=amount"));
    }
    if matches!(query.sort.key, SortKey::Direct | SortKey::Amortized | SortKey::Pending) {
        return Err(EngineError::parameter("sort", "usage at current rates has no tiers; sort by cost, key or change"));
    }
    Ok(())
}

/// Whether usage of snapshots passes the filter.
fn reads_snapshots(filter: &Filter) -> bool {
    let mut of_origin = filter.terms.iter().filter(|term| term.key == GroupKey::Column(Column::Origin));
    of_origin.all(|term| term.holds(ORIGIN_SNAPSHOT))
}

/// The question to the ledger whose totals stand beside the estimate: what entries do not carry is left out.
fn posted_beside(query: &CostQuery, currency: Currency) -> CostQuery {
    let carried = |key: &GroupKey| *key != GroupKey::Column(Column::Origin);
    let terms = query.filter.terms.iter().filter(|term| carried(&term.key)).cloned().collect();
    CostQuery {
        filter: Filter { terms },
        currency: Some(currency),
        limit: 1,
        sort: Sort { key: SortKey::Cost, descending: true },
        ..CostQuery::of(query.range)
    }
}

/// The factor by which the estimate would become what was posted.
fn calibration(posted: i128, estimate: i128) -> Option<i128> {
    (0 < posted && 0 < estimate).then(|| multiply_divide_half_even(posted, ATOMS_PER_UNIT, estimate)).flatten()
}

/// The query with the range and the offset that its cursor pins; the state must still be the one of the first page.
fn resume(scope: &TenantScope, query: &CostQuery, state: &str) -> Result<(CostQuery, usize), EngineError> {
    let Some(text) = &query.cursor else { return Ok((query.clone(), 0)) };
    let place: Place = cursor::decode(&super::question(scope, query), text)?;
    if place.state != state {
        let detail = "usage, tenants or prices changed since the first page; leave the cursor out to start over";
        return Err(EngineError::parameter("cursor", detail));
    }
    let range = super::pinned_range((place.from, place.to), query.range)?;
    Ok((CostQuery { range, ..query.clone() }, place.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_makes_both_totals_equal() {
        let units = |units: i128| units * ATOMS_PER_UNIT;
        assert_eq!(calibration(units(3), units(2)), Some(ATOMS_PER_UNIT * 3 / 2));
        assert_eq!(calibration(0, units(2)), None);
        assert_eq!(calibration(units(2), 0), None);
    }
}
