//! Costs that are caused once and used by many: who used each of them within its window, and what each use pays.

use crate::cells::{Cell, Cells, Consumer, magnitude};
use crate::day::{Computed, DayInputs, Finding, NotRun, rate_between};
use crate::fx::convert_parts;
use crate::pool::Components;
use crate::rating::{Rated, price_of_day};
use crate::recover::{Own, currency_of, memo, recover};
use crate::share::{Converted, Parts, Share, share};
use crate::split::split_exact;
use domain::meter::Category;
use domain::money::MONEY_ATOMS_MAX;
use domain::policy::Pool;
use domain::rates::RateCard;
use domain::tenant::UNCONSUMED;
use domain::{Currency, Day, Instant, Price};
use num_bigint::BigUint;
use num_traits::Zero;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a cost stays with nobody: no use of it fell into its window.
const NO_USAGE: &str = "no_usage";

/// A cost that one event caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostEvent {
    /// When its window begins.
    pub time: Instant,
    /// What its uses name; a cost without one is used by nobody in a pool with keys.
    pub key: Option<Arc<str>>,
    /// The cost in atoms.
    pub amount: i128,
    /// What the event is called, for explanations; no share depends on it.
    pub name: Option<Arc<str>>,
}

/// A use of a cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// When.
    pub time: Instant,
    /// Which cost; none in a pool without keys.
    pub key: Option<Arc<str>>,
    /// Position of the consumer in [`Terms::consumers`].
    pub who: usize,
    /// What it weighs, where reads have weights, in atoms of 10⁻⁹.
    pub weight: i128,
}

/// Uses by key and time.
#[derive(Clone, Debug, Default)]
pub struct Reads(Vec<Read>);

impl Reads {
    /// Returns the uses, whatever their order.
    #[must_use]
    pub fn new(mut reads: Vec<Read>) -> Self {
        reads.sort_by(|left, right| (&left.key, left.time).cmp(&(&right.key, right.time)));
        Self(reads)
    }

    /// Those of the key in `[start, end)`.
    fn within(&self, key: Option<&str>, start: Instant, end: Instant) -> &[Read] {
        let before = |at: Instant| self.0.partition_point(|read| (read.key.as_deref(), read.time) < (key, at));
        let (first, after) = (before(start), before(end));
        &self.0[first..after.max(first)]
    }
}

/// When windows that end with an event end, by key.
#[derive(Clone, Debug, Default)]
pub struct Ends(BTreeMap<Option<Arc<str>>, BTreeSet<Instant>>);

impl Ends {
    /// Enters that windows of this key end at this time.
    pub fn insert(&mut self, key: Option<Arc<str>>, time: Instant) {
        self.0.entry(key).or_default().insert(time);
    }

    fn first_after(&self, key: Option<&Arc<str>>, time: Instant) -> Option<Instant> {
        let ends = self.0.get(&key.cloned())?;
        ends.range(time.plus_micros(1)..).next().copied()
    }
}

/// How long a window is, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Always so long.
    For(i64),
    /// Up to the first end after the cost, at most so long.
    Until(i64),
}

/// The rule of a pool, and what it looks at.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// Whether a use names the cost that it uses.
    pub has_keys: bool,
    /// How long a cost may be used.
    pub length: Length,
    /// How long after its end a window waits for late uses, in microseconds.
    pub grace: i64,
    /// Whether uses weigh by their own weight, rather than one for each distinct consumer.
    pub is_weighted: bool,
    /// The uses.
    pub reads: &'t Reads,
    /// What ends windows.
    pub ends: &'t Ends,
    /// The consumers that uses point to; none for one whose uses do not count here.
    pub consumers: &'t [Option<Consumer>],
}

/// A cost event with everybody who used it in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amortized {
    /// The cost.
    pub cost: CostEvent,
    /// The first instant after its window.
    pub end: Instant,
    /// When nothing is awaited any more: the end and the time that is waited for late uses.
    pub ripe_at: Instant,
    /// Whether that lies ahead.
    pub pending: bool,
    /// Who used it, and what each weighs.
    pub weights: BTreeMap<Consumer, i128>,
    /// How many uses there are.
    pub reads: u64,
}

impl Amortized {
    /// Returns whether anybody pays.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.weights.values().any(|weight| *weight > 0)
    }
}

/// Returns each cost with the consumers of its window, in the order given.
///
/// A use counts from the instant of the cost up to, but not at, the end of the window. Where windows overlap a use
/// counts in each of them: every cost has its own.
///
/// # Source
/// Spec 3-attribution, section 5; `docs/method.md`.
#[must_use]
pub fn amortize(costs: Vec<CostEvent>, terms: &Terms<'_>, now: Instant) -> Vec<Amortized> {
    costs.into_iter().map(|cost| amortized(cost, terms, now)).collect()
}

fn amortized(cost: CostEvent, terms: &Terms<'_>, now: Instant) -> Amortized {
    let names_nothing = terms.has_keys && cost.key.is_none();
    let end = match terms.length {
        Length::For(micros) => cost.time.plus_micros(micros),
        Length::Until(micros) => {
            let latest = cost.time.plus_micros(micros);
            let ended = terms.ends.first_after(cost.key.as_ref(), cost.time).filter(|_| !names_nothing);
            ended.map_or(latest, |ended| ended.min(latest))
        }
    };
    let reads: &[Read] = if names_nothing { &[] } else { terms.reads.within(cost.key.as_deref(), cost.time, end) };
    let (mut weights, mut counted) = (BTreeMap::new(), 0);
    for read in reads {
        let Some(consumer) = &terms.consumers[read.who] else { continue };
        counted += 1;
        let weight = weights.entry(consumer.clone()).or_insert(0_i128);
        *weight = if terms.is_weighted { *weight + read.weight } else { 1 };
    }
    let ripe_at = end.plus_micros(terms.grace);
    Amortized { cost, end, ripe_at, pending: now < ripe_at, weights, reads: counted }
}

/// What the events of a day say of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowPool {
    /// Currency of the costs.
    pub currency: Currency,
    /// The costs of the day in a fixed order, each with its consumers.
    pub costs: Vec<Amortized>,
    /// Why the pool cannot be run, if so: events are gone, or have no price.
    pub not_run: Option<NotRun>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

impl WindowPool {
    /// Returns a day without cost events.
    #[must_use]
    pub fn nothing(currency: Currency) -> Self {
        Self { currency, costs: Vec::new(), not_run: None, findings: Vec::new() }
    }

    /// Returns what the windows of the day look like.
    #[must_use]
    pub fn summary(&self) -> WindowSummary {
        let count = |is: fn(&Amortized) -> bool| self.costs.iter().filter(|cost| is(cost)).count();
        WindowSummary {
            cost_events: self.costs.len(),
            pending: count(|cost| cost.pending),
            unconsumed: count(|cost| !cost.is_consumed()),
            reads: self.costs.iter().map(|cost| cost.reads).sum(),
            ripens_at: self.costs.iter().filter(|cost| cost.pending).map(|cost| cost.ripe_at).min(),
        }
    }
}

/// What the windows of a pool's day look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSummary {
    /// Costs.
    pub cost_events: usize,
    /// Costs whose window, with the time that is waited for late uses, is open.
    pub pending: usize,
    /// Costs that nobody used so far.
    pub unconsumed: usize,
    /// Uses, each counted for every window that it falls into.
    pub reads: u64,
    /// When the first pending cost becomes final.
    pub ripens_at: Option<Instant>,
}

/// Returns what a quantity of a meter costs by the card, in atoms, rounded half-even once.
///
/// # Errors
/// [`NotRun`] when the card has no price for it, or one that depends on a month's quantity, or the amount is too large.
pub fn price_event(
    card: &RateCard,
    meter: &str,
    has_label: impl Fn(&str, &str) -> bool,
    quantity: i128,
    (day, day_seconds): (Day, i64),
) -> Result<i128, NotRun> {
    let missing = |detail: String| NotRun::new("rate_missing", detail);
    let found = card.price_where(meter, has_label).map_err(|error| missing(error.to_string()))?;
    let Some(found) = found else {
        return Err(missing(format!("{meter} has no price in rate card `{}`; add one", card.version)));
    };
    if !found.row.tiers.is_empty() {
        return Err(missing(format!(
            "{meter} has graduated prices in rate card `{}`: they price months",
            card.version
        )));
    }
    let out_of_bound = || NotRun::new("out_of_bound", format!("an event costs more of {meter} than a row can hold"));
    let mut rated = Rated::default();
    rated.add(quantity, price_of_day(&found, day, day_seconds).ok_or_else(out_of_bound)?, found.divisor);
    rated.round_half_even().filter(|amount| amount.abs() <= MONEY_ATOMS_MAX).ok_or_else(out_of_bound)
}

/// Returns what a pool of cost events costs each consumer.
pub(crate) fn windowed(
    inputs: &DayInputs<'_>,
    pool: &Pool,
    window: &WindowPool,
    components: Components,
    trailed: bool,
    findings: &mut Vec<Finding>,
) -> Result<Computed, NotRun> {
    if let Some(not_run) = &window.not_run {
        return Err(not_run.clone());
    }
    findings.extend(window.findings.iter().cloned());
    for (consumer, weight) in window.costs.iter().flat_map(|cost| &cost.weights) {
        if *weight < 0 {
            findings.push(Finding::negative_driver(pool, consumer, "a use", *weight));
        }
    }
    let total = window.costs.iter().map(|cost| cost.cost.amount).try_fold(0_i128, i128::checked_add);
    let total = total.filter(|total| total.abs() <= MONEY_ATOMS_MAX).ok_or_else(|| {
        NotRun::new("out_of_bound", "the cost events of the day add up to more than a row can hold".to_owned())
    });
    let into = if pool.is_memo() { window.currency } else { currency_of(&components)?.unwrap_or(window.currency) };
    // Costs may add up to nothing and still have to be converted one by one.
    let is_nothing = window.costs.iter().all(|cost| cost.cost.amount == 0);
    let rate = rate_between(inputs, window.currency, into, is_nothing)?.map(|fx| fx.rate);
    rate_between(inputs, into, inputs.reporting_currency, is_nothing)?;
    let own = Own {
        is_empty: window.costs.is_empty(),
        total,
        currency: window.currency,
        shares: &|converted, total| shares_of(converted, &window.costs, total, rate),
    };
    match pool.is_memo() {
        true => memo(inputs, &own),
        false => recover(inputs, &own, components, trailed),
    }
}

/// Each cost is split alone; what a consumer pays of all of them is one share, of what is pending and what is final
/// apart. What is converted is divided between the costs first, so that nobody's share depends on what is pending.
fn shares_of(
    converted: &Converted<'_>,
    costs: &[Amortized],
    total: i128,
    rate: Option<Price>,
) -> Result<Vec<Share>, NotRun> {
    let own: Vec<i128> = costs.iter().map(|cost| cost.cost.amount).collect();
    let amounts = convert_parts(total, &own, rate).ok_or_else(NotRun::part_out_of_bound)?;
    let reporting =
        convert_parts(converted.reporting, &amounts, converted.rate).ok_or_else(NotRun::part_out_of_bound)?;
    let mut sums: BTreeMap<(Consumer, bool), [i128; 2]> = BTreeMap::new();
    for ((cost, amount), reporting) in costs.iter().zip(amounts).zip(reporting) {
        for (consumer, parts) in split_cost(cost, amount, reporting) {
            let sum = sums.entry((consumer, cost.pending)).or_default();
            let added = [sum[0].checked_add(parts[0]), sum[1].checked_add(parts[1])];
            let [Some(amount), Some(reporting)] = added else { return Err(NotRun::part_out_of_bound()) };
            *sum = [amount, reporting];
        }
    }
    let scale = Cells { scale: BigUint::from(1_u8), ..Cells::default() };
    let share_of = |((consumer, pending), [amount, reporting]): ((Consumer, bool), [i128; 2])| {
        let is_unconsumed = matches!(consumer, Consumer::Reserved(_));
        let cell = Cell {
            category: Some(Category::Other),
            reason: is_unconsumed.then_some(NO_USAGE),
            overhead: is_unconsumed,
            ..Cell::of_weight(BigUint::zero())
        };
        let parts = Parts { amount, billed: 0, reporting };
        let whole = share(converted, &(consumer, None), &cell, parts, &scale, false);
        // A sum over windows has no weight of its own.
        Share { weight: None, pending, ..whole }
    };
    Ok(sums.into_iter().map(share_of).collect())
}

/// What each consumer pays of one cost: its amount and its reporting amount.
fn split_cost(cost: &Amortized, amount: i128, reporting: i128) -> Vec<(Consumer, [i128; 2])> {
    let weights: Vec<BigUint> = cost.weights.values().map(|weight| magnitude(*weight)).collect();
    match (split_exact(amount, &weights), split_exact(reporting, &weights)) {
        (Some(amounts), Some(reporting)) => {
            let parts = amounts.into_iter().zip(reporting).map(|(amount, reporting)| [amount, reporting]);
            cost.weights.keys().cloned().zip(parts).collect()
        }
        _ => vec![(Consumer::Reserved(UNCONSUMED), [amount, reporting])],
    }
}

/// Returns what one consumer pays of one cost, in atoms of the cost's currency; for explanations.
#[must_use]
pub fn part_of(cost: &Amortized, consumer: &Consumer) -> i128 {
    let parts = split_cost(cost, cost.cost.amount, 0);
    parts.into_iter().filter(|(other, _)| other == consumer).map(|(_, [amount, _])| amount).sum()
}
