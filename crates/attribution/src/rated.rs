//! The method `rated`: what each consumer's usage costs at the prices of a card.

use crate::cells::{Cell, Cells, Consumer, consumer_of, drivers, magnitude, measured};
use crate::day::{DayInputs, Finding, NotRun};
use crate::graduated::{add_between, tenant_of};
use crate::rating::{Rated, price_of_day};
use crate::split::split_exact;
use crate::usage::{Measure, MeterBook, UsageCell};
use domain::condition::Pattern;
use domain::meter::MeterKind;
use domain::money::MONEY_ATOMS_MAX;
use domain::policy::{Pool, Split};
use domain::rates::{AmbiguousPrice, Match, RateCard, canonical};
use num_bigint::BigUint;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Returns the cells of a rated pool: consumer × meter, each weighing what it costs.
pub(crate) fn rated(
    pool: &Pool,
    split: &Split,
    inputs: &DayInputs<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Cells, NotRun> {
    let Some(card) = inputs.rate_card else {
        return Err(NotRun::new("rate_missing", "no rate card applies to this day".to_owned()));
    };
    let meters = Meters::of(split);
    let quantities = drivers(pool, split, inputs, |meter| meters.contain(meter), findings)?;
    let priced = price_usage(pool, split, inputs, card, findings)?;
    let mut cells = BTreeMap::new();
    for ((consumer, meter), driver) in &quantities {
        let found = priced.get(&(consumer.clone(), Arc::clone(meter)));
        let amount = match found {
            Some(found) if driver.quantity >= 0 => found.amount(),
            _ => Some(0),
        };
        if amount.is_some_and(|amount| amount < 0) {
            findings.push(Finding::negative_driver(pool, consumer, "cost", amount.unwrap_or(0)));
        }
        let amount = amount.map(|amount| amount.max(0)).filter(|amount| *amount <= MONEY_ATOMS_MAX);
        let Some(amount) = amount else {
            return Err(NotRun::new("out_of_bound", format!("{meter} of {consumer:?} costs more than a row can hold")));
        };
        let cell = Cell {
            unit_price: found.and_then(|found| found.unit_price),
            rated: Some(amount),
            ..measured(driver, meter, magnitude(amount), inputs)
        };
        cells.insert((consumer.clone(), Some(Arc::clone(meter))), cell);
    }
    Ok(Cells { cells, scale: BigUint::from(domain::money::ATOMS_PER_UNIT.unsigned_abs()) })
}

/// The meters that a pool prices.
pub(crate) struct Meters(Vec<Pattern>);

impl Meters {
    pub(crate) fn of(split: &Split) -> Self {
        Self(split.meters.iter().map(|meter| Pattern::new(meter)).collect())
    }

    pub(crate) fn contain(&self, meter: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(meter))
    }
}

/// Consumer, meter, and which row of the card prices it.
type PriceKey = (Consumer, Arc<str>, usize);

/// Quantities by what prices them, in atoms, and the meters that have no price.
pub(crate) struct ByPrice {
    pub(crate) quantities: BTreeMap<PriceKey, i128>,
    unpriced: BTreeSet<Arc<str>>,
}

/// Returns the usage that the pool prices, by the row of the card.
///
/// Prices may depend on labels that consumers do not: it is folded by consumer, meter and price first, because
/// averages, smallest and largest values do not add up.
pub(crate) fn by_price(
    split: &Split,
    usage: &[UsageCell],
    card: &RateCard,
    meters: &MeterBook,
) -> Result<ByPrice, AmbiguousPrice> {
    let priced = Meters::of(split);
    let mut folded: BTreeMap<PriceKey, (Measure, MeterKind)> = BTreeMap::new();
    let mut unpriced = BTreeSet::new();
    for usage in usage.iter().filter(|usage| priced.contain(&usage.meter) && usage.fits(&split.drivers)) {
        let Some(consumer) = consumer_of(usage, split) else { continue };
        let has_label =
            |key: &str, value: &str| usage.dimensions.labels.get(key).is_some_and(|label| **label == *value);
        let Some(found) = card.price_where(&usage.meter, has_label)? else {
            unpriced.insert(Arc::clone(&usage.meter));
            continue;
        };
        let row = card.prices.iter().position(|row| std::ptr::eq(row, found.row)).expect("the price is of this card");
        let key = (consumer, Arc::clone(&usage.meter), row);
        folded.entry(key).or_insert((Measure::default(), usage.kind)).0.fold(&usage.measure);
    }
    let quantity = |(key, (measure, kind)): (PriceKey, (Measure, MeterKind))| {
        let aggregation = meters.aggregation(&key.1, kind);
        (key, measure.quantity(aggregation))
    };
    Ok(ByPrice { quantities: folded.into_iter().map(quantity).collect(), unpriced })
}

/// What a consumer's usage of one meter costs.
#[derive(Default)]
struct Priced {
    /// At one price for each unit, not rounded yet.
    rated: Rated,
    /// Its part of what the tenant's day costs at graduated prices, in atoms.
    graduated: i128,
    unit_price: Option<i128>,
    rows: usize,
}

impl Priced {
    fn amount(&self) -> Option<i128> {
        self.rated.round_half_even()?.checked_add(self.graduated)
    }
}

/// What the consumers of one tenant used at one graduated price.
type OfTenant = Vec<(Consumer, i128)>;

fn price_usage(
    pool: &Pool,
    split: &Split,
    inputs: &DayInputs<'_>,
    card: &RateCard,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<(Consumer, Arc<str>), Priced>, NotRun> {
    let ByPrice { quantities, unpriced } = by_price(split, inputs.usage, card, inputs.meters)
        .map_err(|error| NotRun::new("rate_missing", error.to_string()))?;
    if let Some(meter) = unpriced.iter().find(|meter| split.meters.iter().any(|name| **name == ***meter)) {
        let detail = format!("{meter} was used but has no price in rate card `{}`; add one", card.version);
        return Err(NotRun::new("rate_missing", detail));
    }
    findings.extend(unpriced.iter().map(|meter| Finding::unpriced(pool, meter, &card.version)));
    let mut priced: BTreeMap<(Consumer, Arc<str>), Priced> = BTreeMap::new();
    let mut graduated: BTreeMap<(Arc<str>, usize), OfTenant> = BTreeMap::new();
    for ((consumer, meter, row), quantity) in quantities {
        let found = match_of(card, row);
        let entry = priced.entry((consumer.clone(), Arc::clone(&meter))).or_default();
        entry.rows += 1;
        if !found.row.tiers.is_empty() {
            entry.unit_price = None;
            let tenant = tenant_of(&consumer);
            graduated.entry((tenant, row)).or_default().push((consumer, quantity));
            continue;
        }
        let price = price_of_day(&found, inputs.day, inputs.day_seconds)
            .ok_or_else(|| NotRun::new("out_of_bound", format!("the price of {meter} is out of bound")))?;
        entry.rated.add(quantity, price, found.divisor);
        entry.unit_price = unit_price(price, found.divisor).filter(|_| entry.rows == 1);
    }
    for ((tenant, row), cells) in graduated {
        let found = match_of(card, row);
        let meter: Arc<str> = canonical(&found.row.meter).0.into();
        let before = inputs.month_so_far.quantity(&pool.name, row, &tenant);
        for (consumer, amount) in price_graduated(&found, before, cells)? {
            let entry = priced.entry((consumer, Arc::clone(&meter))).or_default();
            entry.graduated += amount;
        }
    }
    Ok(priced)
}

fn match_of(card: &RateCard, row: usize) -> Match<'_> {
    let row = &card.prices[row];
    Match { row, divisor: canonical(&row.meter).1 }
}

/// Returns what the tenant's day costs, F(Q(d)) − F(Q(d−1)) rounded half-even once, divided over its cells by quantity.
///
/// # Source
/// Spec 2-model, section 6 (rates.toml).
fn price_graduated(
    found: &Match<'_>,
    before: i128,
    cells: Vec<(Consumer, i128)>,
) -> Result<Vec<(Consumer, i128)>, NotRun> {
    let out_of_bound = || {
        let meter = &found.row.meter;
        NotRun::new("out_of_bound", format!("{meter} costs more than a row can hold at graduated prices"))
    };
    let weights: Vec<BigUint> = cells.iter().map(|(_, quantity)| magnitude(*quantity)).collect();
    let used = cells.iter().map(|(_, quantity)| (*quantity).max(0)).try_fold(0_i128, i128::checked_add);
    let after = used.and_then(|used| before.checked_add(used)).ok_or_else(out_of_bound)?;
    let mut rated = Rated::default();
    add_between(&mut rated, found, before, after);
    // Each of several prices of a consumer may be so large: they are added up before that is looked at.
    let cost = rated.round_half_even().filter(|cost| *cost <= MONEY_ATOMS_MAX).ok_or_else(out_of_bound)?;
    let amounts = split_exact(cost, &weights).unwrap_or_else(|| vec![0; weights.len()]);
    Ok(cells.into_iter().map(|(consumer, _)| consumer).zip(amounts).collect())
}

/// What one unit of the meter costs, in atoms, where a price for `divisor` units makes that exact.
fn unit_price(price: i128, divisor: u64) -> Option<i128> {
    let divisor = i128::from(divisor);
    (price % divisor == 0).then_some(price / divisor)
}
