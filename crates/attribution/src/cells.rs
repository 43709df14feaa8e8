//! Who consumes a pool and with which weight, by method.

use crate::day::{DayInputs, Finding, NotRun};
use crate::rated::rated;
use crate::usage::{Measure, UsageCell};
use domain::condition::UsageAttribute;
use domain::dimension::Dimension;
use domain::meter::{Category, MeterKind};
use domain::policy::{Capacity, Idle, Method, Normalize, Pool, Split};
use domain::tenant::{IDLE, UNATTRIBUTED};
use num_bigint::BigUint;
use num_traits::Zero;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a policy hands cost to `__idle__`: it was committed to and nobody used it.
const UNUSED_COMMITMENT: &str = "unused_commitment";

/// Who gets a share: the values of the pool's `by`, or a reserved word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// One of the reserved words.
    Reserved(&'static str),
    /// A value, or none, for each dimension of `by`, in its order.
    Values(Vec<Option<Arc<str>>>),
}

impl Consumer {
    /// Returns the fields by which ties are broken: a null is the empty string, a reserved consumer its word.
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let (word, values) = match self {
            Self::Reserved(word) => (Some(word.as_bytes()), &[][..]),
            Self::Values(values) => (None, values.as_slice()),
        };
        word.into_iter().chain(values.iter().map(|value| value.as_ref().map_or(&b""[..], |value| value.as_bytes())))
    }
}

impl Ord for Consumer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let is_reserved = |consumer: &Self| matches!(consumer, Self::Reserved(_));
        self.fields().cmp(other.fields()).then(is_reserved(self).cmp(&is_reserved(other)))
    }
}

impl PartialOrd for Consumer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What orders cells: the consumer, then the meter.
pub type CellKey = (Consumer, Option<Arc<str>>);

/// The weight of one consumer, possibly for one meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The weight, in whole units of the pool's own scale.
    pub weight: BigUint,
    /// The measured quantity, in atoms of 10⁻⁹.
    pub quantity: Option<i128>,
    /// The meter's unit.
    pub unit: Option<Arc<str>>,
    /// Price of one unit, in atoms of 10⁻¹⁵, where one price applied.
    pub unit_price: Option<i128>,
    /// The rated amount in atoms of the card's currency.
    pub rated: Option<i128>,
    /// The meter's category.
    pub category: Option<Category>,
    /// Why the consumer is a reserved word.
    pub reason: Option<&'static str>,
    /// Whether the cell moves to tier overhead.
    pub overhead: bool,
}

impl Cell {
    pub(crate) fn of_weight(weight: BigUint) -> Self {
        Self {
            weight,
            quantity: None,
            unit: None,
            unit_price: None,
            rated: None,
            category: None,
            reason: None,
            overhead: false,
        }
    }
}

/// All cells of a pool on a day, in the order in which ties are broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// The cells by key.
    pub cells: BTreeMap<CellKey, Cell>,
    /// How many weight units make a weight of one, to show weights as decimals.
    pub scale: BigUint,
}

impl Cells {
    /// Returns whether every weight is zero.
    #[must_use]
    pub fn weigh_nothing(&self) -> bool {
        self.cells.values().all(|cell| cell.weight.is_zero())
    }

    /// Returns the weights in the order of the keys.
    #[must_use]
    pub fn weights(&self) -> Vec<BigUint> {
        self.cells.values().map(|cell| cell.weight.clone()).collect()
    }

    /// Returns one cell that takes everything.
    #[must_use]
    pub fn whole(word: &'static str, reason: Option<&'static str>) -> Self {
        let cell = Cell { reason, ..Cell::of_weight(BigUint::from(1_u8)) };
        Self { cells: BTreeMap::from([((Consumer::Reserved(word), None), cell)]), scale: BigUint::from(1_u8) }
    }
}

/// Returns the cells of a pool by its method; `direct` and `by_cost` pools have none of their own.
///
/// # Errors
/// [`NotRun`] when the pool cannot be computed today.
pub fn cells_of(pool: &Pool, inputs: &DayInputs<'_>, findings: &mut Vec<Finding>) -> Result<Cells, NotRun> {
    let split = pool.split.as_ref().expect("a checked pool has a split");
    let cells = match split.method {
        Method::Weighted => weighted(pool, split, inputs, findings)?,
        Method::Proportional => proportional(pool, split, inputs, findings)?,
        Method::Even if pool.is_even_of_users() => even_users(split, inputs),
        Method::Even => even(split, inputs),
        Method::Fixed => fixed(split, inputs),
        Method::Rated => rated(pool, split, inputs, findings)?,
        Method::None => Cells::whole(domain::tenant::OVERHEAD, None),
        Method::Direct | Method::ByCost | Method::Window => Cells::default(),
    };
    Ok(cells)
}

/// Quantities by consumer and meter, of the usage that the pool's conditions let through.
pub(crate) struct Driver {
    pub(crate) quantity: i128,
    pub(crate) unit: Arc<str>,
}

/// Drivers by consumer and meter, in their order.
type Drivers = Vec<((Consumer, Arc<str>), Driver)>;

/// Measurements of one consumer and meter, with the meter's unit and kind.
type Folded = (Measure, Arc<str>, MeterKind);

pub(crate) fn drivers(
    pool: &Pool,
    split: &Split,
    inputs: &DayInputs<'_>,
    wanted: impl Fn(&str) -> bool,
    findings: &mut Vec<Finding>,
) -> Result<Drivers, NotRun> {
    let mut measured: Vec<((Consumer, Arc<str>), Folded)> = Vec::new();
    let mut units: BTreeMap<&str, &str> = BTreeMap::new();
    for usage in inputs.usage.iter().filter(|usage| wanted(&usage.meter) && usage.fits(&split.drivers)) {
        let Some(consumer) = consumer_of(usage, split) else { continue };
        let unit = units.entry(&usage.meter).or_insert(&usage.unit);
        if **unit != *usage.unit {
            return Err(NotRun::new(
                "unit_mismatch",
                format!("{} is measured in {unit} and in {}", usage.meter, usage.unit),
            ));
        }
        measured.push(((consumer, Arc::clone(&usage.meter)), (usage.measure, Arc::clone(&usage.unit), usage.kind)));
    }
    let mut drivers = Vec::new();
    for ((consumer, meter), (measure, unit, kind)) in folded(measured) {
        let quantity = measure.quantity(inputs.meters.aggregation(&meter, kind));
        if quantity < 0 {
            findings.push(Finding::negative_driver(pool, &consumer, &meter, quantity));
        }
        drivers.push(((consumer, meter), Driver { quantity, unit }));
    }
    Ok(drivers)
}

/// Returns one measure for each consumer and meter, in their order. Sorting beats a tree: usage mostly comes in order.
fn folded(mut measured: Vec<((Consumer, Arc<str>), Folded)>) -> Vec<((Consumer, Arc<str>), Folded)> {
    measured.sort_by(|(left, _), (right, _)| left.cmp(right));
    measured.dedup_by(|(further, (measure, ..)), (key, (folded, ..))| {
        let is_same = further.cmp(&key).is_eq();
        if is_same {
            folded.fold(measure);
        }
        is_same
    });
    measured
}

/// Who used it; `None` for usage of no tenant.
pub(crate) fn consumer_of(usage: &UsageCell, split: &Split) -> Option<Consumer> {
    usage.dimensions.get(&Dimension::Tenant)?;
    Some(Consumer::Values(split.by.iter().map(|dimension| usage.dimensions.get(dimension).cloned()).collect()))
}

/// A negative cell weighs nothing; it was already listed.
pub(crate) fn magnitude(quantity: i128) -> BigUint {
    BigUint::from(u128::try_from(quantity).unwrap_or(0))
}

fn weighted(pool: &Pool, split: &Split, inputs: &DayInputs<'_>, findings: &mut Vec<Finding>) -> Result<Cells, NotRun> {
    let used = drivers(pool, split, inputs, |meter| split.weights.contains_key(meter), findings)?;
    let idle = idle_quantities(pool, split, &used, inputs, findings);
    let weighs_nothing = |((_, meter), driver): &((Consumer, Arc<str>), Driver)| {
        driver.quantity <= 0 || split.weights[&**meter].atoms() == 0
    };
    let keeps_idle = pool.idle != Idle::Spread || used.iter().all(weighs_nothing);
    let mut totals: BTreeMap<&str, BigUint> = BTreeMap::new();
    for ((_, meter), driver) in &used {
        *totals.entry(meter).or_default() += magnitude(driver.quantity);
    }
    if keeps_idle {
        for (meter, quantity) in &idle {
            *totals.entry(meter).or_default() += magnitude(*quantity);
        }
    }
    let resources = Resources::new(split, &totals);
    let cell = |((consumer, meter), driver): ((Consumer, Arc<str>), Driver)| {
        let weight = resources.weight(&meter, magnitude(driver.quantity));
        let cell = measured(&driver, &meter, weight, inputs);
        ((consumer, Some(meter)), cell)
    };
    let mut cells: BTreeMap<CellKey, Cell> = used.into_iter().map(cell).collect();
    if keeps_idle {
        for (meter, quantity) in &idle {
            let weight = resources.weight(meter, magnitude(*quantity));
            cells.insert(
                (Consumer::Reserved(IDLE), Some(Arc::from(*meter))),
                idle_cell(pool, meter, *quantity, weight, inputs),
            );
        }
    }
    Ok(or_all_idle(pool, Cells { cells, scale: resources.scale }))
}

/// How quantities of several resources become comparable weights.
struct Resources {
    factors: BTreeMap<String, BigUint>,
    scale: BigUint,
}

impl Resources {
    fn new(split: &Split, totals: &BTreeMap<&str, BigUint>) -> Self {
        let weight_of = |meter: &str| BigUint::from(split.weights[meter].atoms().unsigned_abs());
        let weight_scale = BigUint::from(10_u64.pow(domain::quantity::WEIGHT_SCALE));
        let quantity_scale = BigUint::from(10_u64.pow(domain::quantity::QUANTITY_SCALE));
        if split.normalize == Normalize::None {
            let factors = totals.keys().map(|meter| ((*meter).to_owned(), weight_of(meter))).collect();
            return Self { factors, scale: weight_scale * quantity_scale };
        }
        // w × q ÷ total for each resource, over the common denominator Π totals.
        let used: Vec<(&str, &BigUint)> =
            totals.iter().filter(|(_, total)| !total.is_zero()).map(|(meter, total)| (*meter, total)).collect();
        let product: BigUint = used.iter().map(|(_, total)| *total).product();
        let factors =
            used.iter().map(|(meter, total)| ((*meter).to_owned(), weight_of(meter) * (&product / *total))).collect();
        Self { factors, scale: weight_scale * product }
    }

    fn weight(&self, meter: &str, quantity: BigUint) -> BigUint {
        self.factors.get(meter).map_or_else(BigUint::default, |factor| factor * quantity)
    }
}

fn proportional(
    pool: &Pool,
    split: &Split,
    inputs: &DayInputs<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Cells, NotRun> {
    let wanted = split.meter.as_deref().expect("a checked proportional pool has a meter");
    let used = drivers(pool, split, inputs, |meter| meter == wanted, findings)?;
    let idle = idle_quantities(pool, split, &used, inputs, findings);
    let keeps_idle = pool.idle != Idle::Spread || used.iter().all(|(_, driver)| driver.quantity <= 0);
    let cell = |((consumer, meter), driver): ((Consumer, Arc<str>), Driver)| {
        let cell = measured(&driver, &meter, magnitude(driver.quantity), inputs);
        ((consumer, Some(meter)), cell)
    };
    let mut cells: BTreeMap<CellKey, Cell> = used.into_iter().map(cell).collect();
    for (meter, quantity) in idle.into_iter().filter(|_| keeps_idle) {
        let cell = idle_cell(pool, meter, quantity, magnitude(quantity), inputs);
        cells.insert((Consumer::Reserved(IDLE), Some(Arc::from(meter))), cell);
    }
    Ok(or_all_idle(pool, Cells { cells, scale: BigUint::from(10_u64.pow(domain::quantity::QUANTITY_SCALE)) }))
}

/// A pool with a capacity that weighs nothing is all idle.
fn or_all_idle(pool: &Pool, cells: Cells) -> Cells {
    if pool.capacity.is_empty() || !cells.weigh_nothing() {
        return cells;
    }
    let mut whole = Cells::whole(IDLE, None);
    whole.cells.values_mut().for_each(|cell| cell.overhead = pool.idle == Idle::Overhead);
    whole
}

pub(crate) fn measured(driver: &Driver, meter: &str, weight: BigUint, inputs: &DayInputs<'_>) -> Cell {
    Cell {
        quantity: Some(driver.quantity),
        unit: Some(Arc::clone(&driver.unit)),
        category: Some(inputs.meters.category(meter)),
        ..Cell::of_weight(weight)
    }
}

fn idle_cell(pool: &Pool, meter: &str, quantity: i128, weight: BigUint, inputs: &DayInputs<'_>) -> Cell {
    Cell {
        quantity: Some(quantity.max(0)),
        unit: inputs.meters.get(meter).map(|meter| Arc::from(meter.unit.as_str())),
        category: Some(inputs.meters.category(meter)),
        overhead: pool.idle == Idle::Overhead,
        ..Cell::of_weight(weight)
    }
}

/// Capacity minus use by meter, in atoms; negative when more was used than there is.
fn idle_quantities<'p>(
    pool: &'p Pool,
    split: &Split,
    used: &Drivers,
    inputs: &DayInputs<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<&'p str, i128> {
    let mut idle = BTreeMap::new();
    for (meter, capacity) in &pool.capacity {
        let capacity = match capacity {
            Capacity::PerHour(quantity) => {
                crate::exact::multiply_divide_half_even(quantity.atoms(), i128::from(inputs.day_seconds), 3600)
                    .unwrap_or(i128::MAX / 2)
            }
            Capacity::Meter(measured) => measured_capacity(measured, split, inputs),
        };
        let total: i128 =
            used.iter().filter(|((_, used), _)| **used == **meter).map(|(_, driver)| driver.quantity.max(0)).sum();
        if total > capacity {
            findings.push(Finding::over_capacity(pool, meter, total, capacity));
        }
        idle.insert(meter.as_str(), capacity - total);
    }
    idle
}

fn measured_capacity(meter: &str, split: &Split, inputs: &DayInputs<'_>) -> i128 {
    let mut measure = Measure::default();
    let mut kind = MeterKind::Counter;
    for usage in inputs.usage.iter().filter(|usage| *usage.meter == *meter && usage.fits(&split.drivers)) {
        measure.fold(&usage.measure);
        kind = usage.kind;
    }
    measure.quantity(inputs.meters.aggregation(meter, kind))
}

fn even(split: &Split, inputs: &DayInputs<'_>) -> Cells {
    let mut tenants: BTreeSet<Arc<str>> = BTreeSet::new();
    let with_usage = inputs.usage.iter().filter(|usage| usage.fits(&split.drivers));
    tenants.extend(with_usage.filter_map(|usage| usage.dimensions.get(&Dimension::Tenant).cloned()));
    // Tenants without usage can be told apart by their id only.
    let by_tenant_only =
        split.drivers.tests().all(|(attribute, _)| *attribute == UsageAttribute::Dimension(Dimension::Tenant));
    if by_tenant_only {
        let allowed = |tenant: &Arc<str>| split.drivers.hold(|_| Some(&**tenant));
        tenants.extend(inputs.active_tenants.iter().filter(|tenant| allowed(tenant)).cloned());
    }
    equal_cells(tenants.into_iter().map(|tenant| Consumer::Values(vec![Some(tenant)])))
}

fn even_users(split: &Split, inputs: &DayInputs<'_>) -> Cells {
    let mut users: BTreeMap<Consumer, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for usage in inputs.usage.iter().filter(|usage| usage.fits(&split.drivers)) {
        if let (Some(consumer), Some(user)) = (consumer_of(usage, split), usage.dimensions.get(&Dimension::User)) {
            users.entry(consumer).or_default().insert(user);
        }
    }
    let cell =
        |(consumer, users): (Consumer, BTreeSet<_>)| ((consumer, None), Cell::of_weight(BigUint::from(users.len())));
    Cells { cells: users.into_iter().map(cell).collect(), scale: BigUint::from(1_u8) }
}

fn equal_cells(consumers: impl Iterator<Item = Consumer>) -> Cells {
    let cells = consumers.map(|consumer| ((consumer, None), Cell::of_weight(BigUint::from(1_u8)))).collect();
    Cells { cells, scale: BigUint::from(1_u8) }
}

fn fixed(split: &Split, inputs: &DayInputs<'_>) -> Cells {
    let mut cells: BTreeMap<CellKey, Cell> = BTreeMap::new();
    let mut given = 0_u128;
    for (tenant, percent) in &split.percent {
        let percent = percent.atoms().unsigned_abs();
        given += percent;
        if tenant == IDLE {
            let idle = Cell { reason: Some(UNUSED_COMMITMENT), ..Cell::of_weight(BigUint::from(percent)) };
            cells.insert((Consumer::Reserved(IDLE), None), idle);
            continue;
        }
        let tenant = (inputs.resolve)(tenant).unwrap_or_else(|| Arc::from(tenant.as_str()));
        let key = (Consumer::Values(vec![Some(tenant)]), None);
        cells.entry(key).or_insert_with(|| Cell::of_weight(BigUint::default())).weight += percent;
    }
    let hundred = 100 * 10_u128.pow(domain::quantity::WEIGHT_SCALE);
    if given < hundred {
        let rest = Cell { reason: Some("remainder"), ..Cell::of_weight(BigUint::from(hundred - given)) };
        cells.insert((Consumer::Reserved(UNATTRIBUTED), None), rest);
    }
    Cells { cells, scale: BigUint::from(10_u64.pow(domain::quantity::WEIGHT_SCALE)) }
}
