//! From quantities to amounts: each cell is a day, a tenant, the values looked at, and a meter.

use super::cells::{Meters, UsedCell, Wanted};
use crate::books::Books;
use crate::query::filter::{Filter, Term};
use crate::query::keys::{Column, GroupKey};
use crate::{Engine, EngineError};
use attribution::reprice::{Additive, Repricer, TooMuch};
use attribution::usage::Measure;
use datafusion::prelude::SessionContext;
use domain::dimension::Dimension;
use domain::meter::{Aggregation, MeterKind};
use domain::rates::{AmbiguousPrice, RateCard, RateError};
use domain::{Day, DayRange, TenantScope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Days whose cells are held at once where every day stands alone.
const DAYS_AT_ONCE: i32 = 16;

/// What a question wants to know of each cell.
pub(in crate::query) struct Asked<'a> {
    pub scope: &'a TenantScope,
    pub range: DayRange,
    pub group_by: &'a [GroupKey],
    pub filter: &'a Filter,
    /// Whether the answer tells days apart.
    pub by_day: bool,
    pub books: &'a Books,
    pub card: &'a Arc<RateCard>,
}

/// A cell with its price.
pub(in crate::query) struct PricedCell {
    /// None for a sum over the days of the range.
    pub day: Option<Day>,
    /// The values of `group_by`, in its order.
    pub key: Vec<String>,
    pub meter: Arc<str>,
    pub kind: MeterKind,
    pub measure: Measure,
    /// In atoms of the card's currency; none without a price.
    pub amount: Option<i128>,
}

/// Where a cell belongs, its tenant resolved.
struct Place<'p> {
    day: Option<Day>,
    tenant: &'p Arc<str>,
    meter: &'p Arc<str>,
    origin: &'p Arc<str>,
    values: &'p [Option<Arc<str>>],
}

/// Day, tenant, meter, origin and values: cells of one key are one.
type CellKey = (Option<Day>, Arc<str>, Arc<str>, Arc<str>, Vec<Option<Arc<str>>>);

impl Asked<'_> {
    /// The dimensions by which quantities are told apart: those looked at, and those that prices look at.
    fn dimensions(&self) -> Vec<Dimension> {
        let looked_at = self.group_by.iter().chain(self.filter.terms.iter().map(|term| &term.key));
        let own = looked_at.filter_map(|key| match key {
            GroupKey::Dimension(Dimension::Tenant) | GroupKey::Column(_) | GroupKey::Plan | GroupKey::Parent => None,
            GroupKey::Dimension(dimension) => Some(dimension.clone()),
        });
        let labels = self.card.prices.iter().flat_map(|row| row.labels.keys());
        let labels = labels.map(|label| Dimension::Label(label.as_str().into()));
        own.chain(labels).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The values of `group_by` at a place; none if the filter leaves the place out.
    fn key_of(&self, dimensions: &[Dimension], place: &Place<'_>) -> Option<Vec<String>> {
        let fact = place.day.and_then(|day| self.books.tenants.fact(place.tenant, day));
        let value = |key: &GroupKey| -> Option<Arc<str>> {
            match key {
                GroupKey::Dimension(Dimension::Tenant) => Some(Arc::clone(place.tenant)),
                GroupKey::Dimension(dimension) => {
                    let at = dimensions.iter().position(|known| known == dimension)?;
                    place.values[at].clone()
                }
                GroupKey::Plan => fact.and_then(|fact| fact.plan.clone()),
                GroupKey::Parent => fact.and_then(|fact| fact.parent.clone()),
                GroupKey::Column(Column::Meter) => Some(Arc::clone(place.meter)),
                GroupKey::Column(Column::Origin) => Some(Arc::clone(place.origin)),
                GroupKey::Column(Column::Category) => Some(self.books.meters.category(place.meter).as_str().into()),
                GroupKey::Column(_) => None,
            }
        };
        let text = |key: &GroupKey| value(key).unwrap_or_default();
        let holds = self.filter.terms.iter().all(|term| term.holds(&text(&term.key)));
        holds.then(|| self.group_by.iter().map(|key| text(key).to_string()).collect())
    }

    fn looks_at(&self, is_meant: impl Fn(&GroupKey) -> bool) -> bool {
        self.group_by.iter().any(&is_meant) || self.filter.terms.iter().any(|term| is_meant(&term.key))
    }

    fn is_by_fact(&self) -> bool {
        self.looks_at(|key| matches!(key, GroupKey::Plan | GroupKey::Parent))
    }

    /// Whether it does not matter whose usage it is.
    fn is_of_everybody(&self) -> bool {
        *self.scope == TenantScope::All && !self.is_by_fact() && !self.looks_at(|key| *key == GroupKey::TENANT)
    }
}

/// Cells of one tenant, day and graduated price: where each stands, and its quantity.
type OfTenant = Vec<(usize, i128)>;

impl Engine {
    /// Hands over every cell of the question that the caller may see, with its price.
    ///
    /// Quantities are summed over days and over tenants that the answer does not tell apart, where pricing the sum gives
    /// what pricing its parts gives; `state` names the versions of the tables in the session.
    pub(in crate::query) async fn each_priced(
        &self,
        session: &SessionContext,
        state: &str,
        asked: &Asked<'_>,
        mut take: impl FnMut(PricedCell) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut repricer = Repricer::new(Arc::clone(asked.card));
        let dimensions = asked.dimensions();
        let whole = of_additive(&repricer, Additive::WholeUnits);
        let wanted = |range, meters, by_day, by_tenant| Wanted {
            range,
            meters,
            by_day,
            by_tenant,
            whole: &whole,
            dimensions: &dimensions,
            filter: asked.filter,
            books: asked.books,
        };
        let mut alone = of_additive(&repricer, Additive::Never);
        alone.extend(not_summed(asked.books));
        let is_of_everybody = asked.is_of_everybody();
        let sums = |range| wanted(range, Meters::Except(alone.clone()), asked.by_day, !is_of_everybody);
        let mut by_day = None;
        if !asked.by_day && !asked.is_by_fact() {
            let left = self.price_sums(session, state, asked, &sums(asked.range), &mut repricer, &mut take).await?;
            if left.is_empty() {
                return Ok(());
            }
            by_day = Some(left);
        }
        let first = match repricer.card().has_tiers() {
            true => asked.range.from().month().first_day(),
            false => asked.range.from(),
        };
        let mut from = first;
        while from <= asked.range.to() {
            let to = from.plus(DAYS_AT_ONCE - 1).min(asked.range.to());
            let days = DayRange::new(from, to).expect("a piece has days");
            let meters = match &by_day {
                Some(left) => Meters::Only(left.clone()),
                None if is_of_everybody => {
                    Meters::Only(self.price_sums(session, state, asked, &sums(days), &mut repricer, &mut take).await?)
                }
                None => Meters::Except(BTreeSet::new()),
            };
            let is_none = matches!(&meters, Meters::Only(left) if left.is_empty());
            if !is_none {
                let cells = self.used_cells(session, state, &wanted(days, meters, true, true)).await?;
                self.price(asked, &dimensions, &mut repricer, cells.iter(), &mut take)?;
            }
            from = to.plus(1);
        }
        Ok(())
    }

    /// Hands over the cells of these sums where pricing them gives what pricing their parts gives; returns the meters of
    /// which it does not, those left out of the sums among them.
    async fn price_sums(
        &self,
        session: &SessionContext,
        state: &str,
        asked: &Asked<'_>,
        sums: &Wanted<'_>,
        repricer: &mut Repricer,
        take: &mut impl FnMut(PricedCell) -> Result<(), EngineError>,
    ) -> Result<BTreeSet<String>, EngineError> {
        let cells = self.used_cells(session, state, sums).await?;
        let mut alone = match &sums.meters {
            Meters::Except(alone) => alone.clone(),
            Meters::Only(_) => BTreeSet::new(),
        };
        alone.extend(cells.iter().filter(|cell| !cell.is_plain).map(|cell| cell.meter.to_string()));
        let summed = cells.iter().filter(|cell| !alone.contains(&*cell.meter));
        self.price(asked, sums.dimensions, repricer, summed, take)?;
        Ok(alone)
    }

    /// Hands over the newest value of each level in the range, with the key of its row.
    pub(in crate::query) async fn each_level(
        &self,
        session: &SessionContext,
        state: &str,
        asked: &Asked<'_>,
        levels: &BTreeSet<Arc<str>>,
        mut take: impl FnMut(Vec<String>, Arc<str>, i128),
    ) -> Result<(), EngineError> {
        let (dimensions, whole) = (asked.dimensions(), BTreeSet::new());
        let wanted = Wanted {
            range: asked.range,
            meters: Meters::Only(levels.iter().map(ToString::to_string).collect()),
            by_day: true,
            by_tenant: true,
            whole: &whole,
            dimensions: &dimensions,
            filter: asked.filter,
            books: asked.books,
        };
        for cell in self.newest_levels(session, state, &wanted).await?.iter() {
            let day = cell.day.unwrap_or(asked.range.to());
            let tenant = asked.books.tenants.resolve(&cell.tenant, day);
            let UsedCell { meter, origin, values, .. } = cell;
            let place = Place { day: Some(day), tenant: &tenant, meter, origin, values };
            let key = asked.key_of(&dimensions, &place).filter(|_| asked.scope.allows(&tenant));
            if let Some(key) = key {
                take(key, Arc::clone(meter), cell.measure.last);
            }
        }
        Ok(())
    }

    /// Folds cells by the tenant that each means, prices them, and hands over those that the filter lets through.
    fn price<'c>(
        &self,
        asked: &Asked<'_>,
        dimensions: &[Dimension],
        repricer: &mut Repricer,
        cells: impl Iterator<Item = &'c UsedCell>,
        take: &mut impl FnMut(PricedCell) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut folded: BTreeMap<CellKey, (Measure, MeterKind)> = BTreeMap::new();
        for cell in cells {
            let tenant = match cell.day {
                Some(day) => asked.books.tenants.resolve(&cell.tenant, day),
                None => Arc::clone(&cell.tenant),
            };
            let origin_holds = |term: &Term| term.key != GroupKey::Column(Column::Origin) || term.holds(&cell.origin);
            // Other conditions are tested after pricing: graduated prices go by all that a tenant uses.
            if asked.scope.allows(&tenant) && asked.filter.terms.iter().all(origin_holds) {
                let values = cell.values.clone();
                let key = (cell.day, tenant, Arc::clone(&cell.meter), Arc::clone(&cell.origin), values);
                folded.entry(key).or_insert((Measure::default(), cell.kind)).0.fold(&cell.measure);
            }
        }
        let amounts = self.amounts(asked, dimensions, repricer, &folded)?;
        for ((key, (measure, kind)), amount) in folded.iter().zip(amounts) {
            let (day, tenant, meter, origin, values) = key;
            // Days of the month before the range only say where graduated prices stand.
            if day.is_some_and(|day| day < asked.range.from()) {
                continue;
            }
            let place = Place { day: *day, tenant, meter, origin, values };
            if let Some(key) = asked.key_of(dimensions, &place) {
                take(PricedCell { day: *day, key, meter: Arc::clone(meter), kind: *kind, measure: *measure, amount })?;
            }
        }
        Ok(())
    }

    /// What each cell costs, in the order of the cells; those of a graduated price divide what their tenant's day costs.
    fn amounts(
        &self,
        asked: &Asked<'_>,
        dimensions: &[Dimension],
        repricer: &mut Repricer,
        cells: &BTreeMap<CellKey, (Measure, MeterKind)>,
    ) -> Result<Vec<Option<i128>>, EngineError> {
        let mut amounts = Vec::with_capacity(cells.len());
        let mut graduated: BTreeMap<(Day, usize, Arc<str>), OfTenant> = BTreeMap::new();
        let mut lengths: BTreeMap<Day, i64> = BTreeMap::new();
        for (at, ((day, tenant, meter, _, values), (measure, kind))) in cells.iter().enumerate() {
            let has_label = |key: &str, value: &str| {
                let is_label = |known: &Dimension| matches!(known, Dimension::Label(label) if **label == *key);
                let found = dimensions.iter().position(is_label).and_then(|at| values[at].as_deref());
                found == Some(value)
            };
            let row = repricer.row(meter, has_label).map_err(|error| ambiguous(asked.card, &error))?;
            let quantity = measure.quantity(asked.books.meters.aggregation(meter, *kind));
            let day_of_price = day.unwrap_or(asked.range.from());
            amounts.push(match row {
                None => None,
                Some(row) if repricer.is_graduated(row) => {
                    graduated.entry((day_of_price, row, Arc::clone(tenant))).or_default().push((at, quantity));
                    None
                }
                Some(row) => {
                    let seconds = || self.settings.zone.day_range(day_of_price).seconds();
                    let seconds = *lengths.entry(day_of_price).or_insert_with(seconds);
                    let amount = repricer.amount(row, quantity, day_of_price, seconds);
                    Some(amount.map_err(|error| too_much(meter, error))?)
                }
            });
        }
        for ((day, row, tenant), cells) in graduated {
            let quantities: Vec<i128> = cells.iter().map(|(_, quantity)| *quantity).collect();
            let parts = repricer.graduated(row, &tenant, day, &quantities).map_err(|error| too_much(&tenant, error))?;
            for ((at, _), part) in cells.into_iter().zip(parts) {
                amounts[at] = Some(part);
            }
        }
        Ok(amounts)
    }
}

fn of_additive(repricer: &Repricer, additive: Additive) -> BTreeSet<String> {
    repricer.meters().filter(|meter| repricer.additive_of(meter) == additive).map(str::to_owned).collect()
}

/// Meters whose days do not add up.
fn not_summed(books: &Books) -> impl Iterator<Item = String> {
    let alone = |aggregation| matches!(aggregation, Aggregation::Min | Aggregation::Max | Aggregation::Avg);
    books.meters.iter().filter(move |meter| alone(meter.aggregation)).map(|meter| meter.name.clone())
}

pub(super) fn ambiguous(card: &RateCard, error: &AmbiguousPrice) -> EngineError {
    RateError::Invalid { version: card.version.clone(), problem: error.to_string() }.into()
}

pub(super) fn too_much(what: &str, error: TooMuch) -> EngineError {
    EngineError::parameter("range", format!("{what}: {error}; ask for fewer days"))
}
