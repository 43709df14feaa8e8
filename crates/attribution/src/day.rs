//! One day, all pools: a pure function of the day's pinned inputs.

use crate::by_cost::{base_costs, cells_by_cost, share_by_trail};
use crate::cells::{Cells, Consumer, cells_of};
use crate::fx::{FxRate, FxTable, convert_half_even, convert_parts};
use crate::graduated::MonthSoFar;
use crate::line::LinePart;
use crate::mapping::{Mapped, tenant_by_rules};
use crate::pool::{Amounts, Component, ComponentKey, Components, Taken, Trail, take_lines};
use crate::recover::{Own, exactly_rated, memo, rated_total, recover};
use crate::share::{Converted, Parts, Share, share, share_out};
use crate::unattributed::unattributed;
use crate::usage::{MeterBook, UsageCell};
use crate::window::{WindowPool, WindowSummary, windowed};
use domain::meter::Category;
use domain::money::MONEY_ATOMS_MAX;
use domain::policy::{Basis, Follow, Method, Policy, Pool, Tier};
use domain::rates::RateCard;
use domain::tenant::UNATTRIBUTED;
use domain::{Currency, Day};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Largest quantity that a row may hold, in atoms.
const QUANTITY_ATOMS_MAX: i128 = 10_i128.pow(18 + domain::quantity::QUANTITY_SCALE);

/// Everything that the result of a day depends on.
#[derive(Clone, Copy)]
pub struct DayInputs<'a> {
    /// The day.
    pub day: Day,
    /// How long it lasts in the organisation's zone.
    pub day_seconds: i64,
    /// The policy that applies, with `for_each` pools expanded.
    pub policy: &'a Policy,
    /// The parts of cost lines that fall on the day.
    pub lines: &'a [LinePart],
    /// What was measured on the day.
    pub usage: &'a [UsageCell],
    /// The cost events of the day and who used them, by the pool whose cost they carry.
    pub windows: &'a BTreeMap<String, WindowPool>,
    /// Tenants that a person entered and that are active on the day.
    pub active_tenants: &'a BTreeSet<Arc<str>>,
    /// The rate card that applies.
    pub rate_card: Option<&'a RateCard>,
    /// What was used at its graduated prices on the days of the month before this one.
    pub month_so_far: &'a MonthSoFar,
    /// The meters.
    pub meters: &'a MeterBook,
    /// Into which every amount is converted.
    pub reporting_currency: Currency,
    /// Exchange rates.
    pub fx: &'a FxTable,
    /// Maps what a rule yields to a tenant on the day; `None` when it is refused.
    pub resolve: &'a dyn Fn(&str) -> Option<Arc<str>>,
}

/// Why a pool keeps its old entries today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRun {
    /// `fx_missing`, `rate_missing`, `out_of_bound` …
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
}

impl NotRun {
    pub(crate) fn new(code: &'static str, detail: String) -> Self {
        Self { code, detail }
    }

    pub(crate) fn part_out_of_bound() -> Self {
        Self::new(
            "out_of_bound",
            "a share of the lines is more than a row can hold, though their sum is not".to_owned(),
        )
    }
}

/// Something that a person should know about a pool's day, though it could be computed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `negative_driver`, `over_capacity`, `unpriced` …
    pub code: &'static str,
    /// The pool.
    pub pool: String,
    /// Figures and names.
    pub detail: String,
}

impl Finding {
    /// A use or a cost event says nothing where a number is looked for.
    pub fn unreadable_event(pool: &Pool, event: &str, what: &str) -> Self {
        let detail = format!("event {event} has no readable {what}; it counts as 0");
        Self { code: "unreadable_event", pool: pool.name.clone(), detail }
    }

    pub(crate) fn negative_driver(pool: &Pool, consumer: &Consumer, meter: &str, value: i128) -> Self {
        let scale = if meter == "cost" { domain::money::MONEY_SCALE } else { domain::quantity::QUANTITY_SCALE };
        let value = domain::decimal::format_scaled(value, scale, 0);
        let detail = format!("{meter} of {} is {value}; it weighs nothing", consumer_text(consumer));
        Self { code: "negative_driver", pool: pool.name.clone(), detail }
    }

    pub(crate) fn over_capacity(pool: &Pool, meter: &str, used: i128, capacity: i128) -> Self {
        let text = |atoms| domain::decimal::format_scaled(atoms, domain::quantity::QUANTITY_SCALE, 0);
        let detail = format!("{meter}: {} used of a capacity of {}", text(used), text(capacity));
        Self { code: "over_capacity", pool: pool.name.clone(), detail }
    }

    pub(crate) fn unpriced(pool: &Pool, meter: &str, card: &str) -> Self {
        let detail = format!("{meter} has no price in rate card `{card}` and counts as 0");
        Self { code: "unpriced", pool: pool.name.clone(), detail }
    }
}

fn consumer_text(consumer: &Consumer) -> String {
    match consumer {
        Consumer::Reserved(word) => (*word).to_owned(),
        Consumer::Values(values) => {
            values.iter().map(|value| value.as_deref().unwrap_or_default()).collect::<Vec<_>>().join("/")
        }
    }
}

/// What became of one pool on the day.
#[derive(Clone, Debug)]
pub struct PoolOutcome {
    /// The pool's name.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// Where its amount came from.
    pub basis: Basis,
    /// Whether it is an internal estimate.
    pub memo: bool,
    /// How it was shared out.
    pub method: Method,
    /// What went in; not converted when it was not run.
    pub components: Vec<PoolComponent>,
    /// What came out; adds up to what went in, for each component and measure.
    pub shares: Vec<Share>,
    /// The same by trail, only when a later pool follows it.
    pub trailed: Vec<(Share, Trail)>,
    /// What its windows look like, if it has any and was run.
    pub window: Option<WindowSummary>,
    /// Why it was not run, if so; then there are no shares.
    pub not_run: Option<NotRun>,
}

/// What went into a pool under one key.
#[derive(Clone, Debug)]
pub struct PoolComponent {
    /// The key.
    pub key: ComponentKey,
    /// Both measures.
    pub amounts: Amounts,
    /// The cost metric in the reporting currency.
    pub reporting: i128,
    /// The rate, unless the currency is the reporting currency.
    pub fx: Option<FxRate>,
    /// How many lines contributed.
    pub lines: u64,
}

/// What became of the day.
#[derive(Clone, Debug, Default)]
pub struct DayOutcome {
    /// Every pool of the policy in order, then the lines that no pool takes.
    pub pools: Vec<PoolOutcome>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

/// Returns what every pool costs every consumer on the day.
///
/// # Source
/// Spec 3-attribution, sections 1 to 3.
#[must_use]
pub fn attribute_day(inputs: &DayInputs<'_>) -> DayOutcome {
    let active = active_tenants(inputs);
    let inputs = &DayInputs { active_tenants: &active, ..*inputs };
    let taken = take_lines(inputs.policy, inputs.lines, |line| tenant_of_line(inputs, line));
    let mut findings = Vec::new();
    let mut outcomes: BTreeMap<usize, PoolOutcome> = BTreeMap::new();
    let by_cost = inputs.policy.by_cost_order().expect("a checked policy has no circle");
    let trailed = inputs
        .policy
        .pools
        .iter()
        .any(|pool| pool.split.as_ref().is_some_and(|split| split.follow == Some(Follow::Invoice)));
    let plain = (0..inputs.policy.pools.len()).filter(|at| !by_cost.contains(at));
    for at in plain.chain(by_cost.iter().copied()) {
        let outcome = Runner { inputs, at, taken: &taken, done: &outcomes, trailed }.run(&mut findings);
        outcomes.insert(at, outcome);
    }
    let mut pools: Vec<PoolOutcome> = outcomes.into_values().collect();
    pools.extend(unattributed(inputs, &taken));
    findings.sort();
    findings.dedup();
    for outcome in &pools {
        assert_conserved(outcome);
    }
    DayOutcome { pools, findings }
}

/// Tenants that count for `even` pools even without usage: those entered and active, and those with a line of their own.
fn active_tenants(inputs: &DayInputs<'_>) -> BTreeSet<Arc<str>> {
    let mut active = inputs.active_tenants.clone();
    if inputs.policy.pools.iter().any(|pool| pool.method() == Method::Even) {
        active.extend(inputs.lines.iter().filter_map(|line| tenant_of_line(inputs, line)));
    }
    active
}

/// The tenant that the policy's rules map the line to.
fn tenant_of_line(inputs: &DayInputs<'_>, line: &LinePart) -> Option<Arc<str>> {
    match tenant_by_rules(inputs.policy, line, inputs.resolve) {
        Mapped::Tenant(tenant) => Some(tenant),
        Mapped::Refused | Mapped::Nobody => None,
    }
}

struct Runner<'r, 'a> {
    inputs: &'r DayInputs<'a>,
    at: usize,
    taken: &'r Taken,
    done: &'r BTreeMap<usize, PoolOutcome>,
    trailed: bool,
}

impl Runner<'_, '_> {
    fn run(&self, findings: &mut Vec<Finding>) -> PoolOutcome {
        let pool = &self.inputs.policy.pools[self.at];
        let mut outcome = PoolOutcome {
            name: pool.name.clone(),
            tier: pool.tier,
            basis: pool.basis(),
            memo: pool.is_memo(),
            method: pool.method(),
            components: Vec::new(),
            shares: Vec::new(),
            trailed: Vec::new(),
            window: None,
            not_run: None,
        };
        let computed = match pool.basis() {
            Basis::Rated => self.rated(pool, findings),
            Basis::Event => self.windowed(pool, findings),
            Basis::Billed | Basis::Adjustment => self.billed(pool, findings),
        };
        match computed.and_then(within_bounds) {
            Ok((components, shares, trailed)) => {
                (outcome.components, outcome.shares, outcome.trailed) = (components, shares, trailed);
                outcome.window = self.inputs.windows.get(&pool.name).map(WindowPool::summary);
            }
            Err(not_run) => {
                outcome.not_run = Some(not_run);
                outcome.components = unconverted(&self.components());
            }
        }
        outcome
    }

    fn components(&self) -> Components {
        self.taken.pools.get(&self.at).cloned().unwrap_or_default()
    }

    fn billed(&self, pool: &Pool, findings: &mut Vec<Finding>) -> Result<Computed, NotRun> {
        let components = self.components();
        if components.is_empty() {
            return Ok(Computed::default());
        }
        let pool_components = convert_all(self.inputs, &components)?;
        let bases = self.bases(pool)?;
        let follows = pool.split.as_ref().is_some_and(|split| split.follow == Some(Follow::Invoice));
        let cells = match pool.method() {
            Method::ByCost if !follows => cells_by_cost(pool, bases.iter(), findings),
            _ => cells_of(pool, self.inputs, findings)?,
        };
        // Quantities stand once, with usage if there is any: whatever is credited later does not move them.
        let measured = components.keys().position(ComponentKey::is_usage).unwrap_or(0);
        let (mut shares, mut trailed) = (Vec::new(), Vec::new());
        for (at, (entry, (key, component))) in pool_components.iter().zip(&components).enumerate() {
            let converted = Converted { key, component, reporting: entry.reporting, rate: entry.fx.map(|fx| fx.rate) };
            match pool.method() {
                Method::Direct => trailed.extend(direct(pool, &converted)?),
                Method::ByCost if follows => trailed.extend(share_by_trail(pool, &converted, &bases, findings)?),
                _ => {
                    shares.extend(share_out(&converted, &cells, at == measured));
                    if self.trailed {
                        trailed.extend(by_trail(&converted, &cells)?);
                    }
                }
            }
        }
        if pool.method() == Method::Direct || follows {
            shares = trailed.iter().map(|(share, _)| share.clone()).collect();
        }
        Ok((pool_components, shares, trailed))
    }

    fn bases(&self, pool: &Pool) -> Result<Vec<crate::by_cost::BaseCost>, NotRun> {
        if pool.method() != Method::ByCost {
            return Ok(Vec::new());
        }
        let follows = pool.split.as_ref().is_some_and(|split| split.follow == Some(Follow::Invoice));
        let bases: Vec<(&Pool, &PoolOutcome)> = self
            .inputs
            .policy
            .bases(self.at)
            .into_iter()
            .map(|at| (&self.inputs.policy.pools[at], &self.done[&at]))
            .collect();
        match bases.iter().find_map(|(pool, outcome)| outcome.not_run.as_ref().map(|not_run| (pool, not_run))) {
            Some((base, not_run)) => {
                Err(NotRun::new(not_run.code, format!("pool `{}`, which it follows, was not run", base.name)))
            }
            None => Ok(base_costs(&bases, follows)),
        }
    }

    fn rated(&self, pool: &Pool, findings: &mut Vec<Finding>) -> Result<Computed, NotRun> {
        let cells = cells_of(pool, self.inputs, findings)?;
        let card = self.inputs.rate_card.expect("a rated pool without a card is not run");
        let own = Own {
            is_empty: cells.cells.is_empty(),
            total: rated_total(&cells),
            currency: card.currency,
            shares: &|converted, total| Ok(exactly_rated(converted, &cells, total)),
        };
        match pool.is_memo() {
            true => memo(self.inputs, &own),
            false => recover(self.inputs, &own, self.components(), self.trailed),
        }
    }

    fn windowed(&self, pool: &Pool, findings: &mut Vec<Finding>) -> Result<Computed, NotRun> {
        let none = WindowPool::nothing(self.inputs.reporting_currency);
        let window = self.inputs.windows.get(&pool.name).unwrap_or(&none);
        windowed(self.inputs, pool, window, self.components(), self.trailed, findings)
    }
}

/// Refuses shares that a row cannot hold; parts of both signs may be larger than what they add up to.
pub(crate) fn within_bounds(computed: Computed) -> Result<Computed, NotRun> {
    let fits = |share: &Share| {
        let money = [Some(share.amount), Some(share.billed), Some(share.reporting), share.unit_price];
        money.into_iter().flatten().all(|atoms| atoms.abs() <= MONEY_ATOMS_MAX)
    };
    if !computed.1.iter().all(fits) {
        return Err(NotRun::part_out_of_bound());
    }
    let measured = |share: &Share| share.quantity.is_none_or(|atoms| atoms.abs() <= QUANTITY_ATOMS_MAX);
    match computed.1.iter().find(|share| !measured(share)) {
        Some(share) => {
            let meter = share.meter.as_deref().unwrap_or("a quantity");
            Err(NotRun::new("out_of_bound", format!("{meter} of a consumer is more than a row can hold")))
        }
        None => Ok(computed),
    }
}

/// What went into a pool that was not run.
pub(crate) fn unconverted(components: &Components) -> Vec<PoolComponent> {
    let entry = |(key, component): (&ComponentKey, &Component)| PoolComponent {
        key: key.clone(),
        amounts: component.amounts,
        reporting: 0,
        fx: None,
        lines: component.lines,
    };
    components.iter().map(entry).collect()
}

/// What went in, what came out, and the same by trail.
pub(crate) type Computed = (Vec<PoolComponent>, Vec<Share>, Vec<(Share, Trail)>);

pub(crate) fn convert_all(inputs: &DayInputs<'_>, components: &Components) -> Result<Vec<PoolComponent>, NotRun> {
    let to = inputs.reporting_currency;
    let convert_one = |(key, component): (&ComponentKey, &Component)| {
        let bounded = |amount: i128| amount.abs() <= MONEY_ATOMS_MAX;
        if !bounded(component.amounts.amount) || !bounded(component.amounts.billed) {
            return Err(NotRun::new(
                "out_of_bound",
                format!("the {} lines of a day add up to more than a row can hold", key.currency),
            ));
        }
        let fx = rate_between(inputs, key.currency, to, component.costs_nothing())?;
        let reporting = at_rate(component.amounts.amount, fx, to)?;
        Ok(PoolComponent { key: key.clone(), amounts: component.amounts, reporting, fx, lines: component.lines })
    };
    components.iter().map(convert_one).collect()
}

/// Returns the amount in the other currency; nothing is nothing in every currency and needs no rate.
pub(crate) fn convert(inputs: &DayInputs<'_>, amount: i128, from: Currency, to: Currency) -> Result<i128, NotRun> {
    at_rate(amount, rate_between(inputs, from, to, amount == 0)?, to)
}

/// The rate of the day; none between equal currencies, nor where it is missing and there is nothing to convert.
pub(crate) fn rate_between(
    inputs: &DayInputs<'_>,
    from: Currency,
    to: Currency,
    is_nothing: bool,
) -> Result<Option<FxRate>, NotRun> {
    if from == to {
        return Ok(None);
    }
    let day = inputs.day;
    match inputs.fx.rate(from, to, day) {
        None if !is_nothing => Err(NotRun::new(
            "fx_missing",
            format!("no rate {from}→{to} within 7 days before {day}; enter one with `apportion fx import`"),
        )),
        found => Ok(found),
    }
}

fn at_rate(amount: i128, fx: Option<FxRate>, to: Currency) -> Result<i128, NotRun> {
    let Some(fx) = fx else { return Ok(amount) };
    let converted = convert_half_even(amount, fx.rate).filter(|amount| amount.abs() <= MONEY_ATOMS_MAX);
    converted.ok_or_else(|| NotRun::new("out_of_bound", format!("the amount in {to} is more than a row can hold")))
}

/// Each line goes whole to its own consumer. What is converted is shared by consumer first, then by trail and
/// category within it, so that nobody's share depends on how many categories the lines have.
fn direct(pool: &Pool, converted: &Converted<'_>) -> Result<Vec<(Share, Trail)>, NotRun> {
    let cells = Cells::whole(UNATTRIBUTED, Some("no_mapping"));
    let unmapped = cells.cells.values().next().expect("one cell");
    let mut owned: BTreeMap<Consumer, BTreeMap<Trail, BTreeMap<Category, Amounts>>> = BTreeMap::new();
    for ((tenant, category, trail), amounts) in &converted.component.by_tenant {
        let trails = owned.entry(owner(pool, tenant.as_ref())).or_default();
        trails.entry(trail.clone()).or_default().insert(*category, *amounts);
    }
    let of_trail = |categories: &BTreeMap<Category, Amounts>| categories.values().map(|amounts| amounts.amount).sum();
    let of_consumer = |trails: &BTreeMap<Trail, _>| trails.values().map(of_trail).sum();
    let by_consumer = converted_parts(converted.reporting, owned.values().map(of_consumer), converted.rate)?;
    let mut shares = Vec::new();
    for ((consumer, trails), reporting) in owned.into_iter().zip(by_consumer) {
        let by_trail = converted_parts(reporting, trails.values().map(of_trail), converted.rate)?;
        for ((trail, categories), reporting) in trails.into_iter().zip(by_trail) {
            let amounts = categories.values().map(|amounts| amounts.amount);
            let by_category = converted_parts(reporting, amounts, converted.rate)?;
            for ((category, amounts), reporting) in categories.into_iter().zip(by_category) {
                let reason = matches!(consumer, Consumer::Reserved(_)).then_some("no_mapping");
                let parts = Parts { amount: amounts.amount, billed: amounts.billed, reporting };
                let cell = crate::cells::Cell { category: Some(category), reason, ..unmapped.clone() };
                let whole = share(converted, &(consumer.clone(), None), &cell, parts, &cells, false);
                shares.push((Share { weight: None, ..whole }, trail.clone()));
            }
        }
    }
    Ok(shares)
}

fn owner(pool: &Pool, tenant: Option<&Arc<str>>) -> Consumer {
    match tenant {
        Some(tenant) => {
            let others = std::iter::repeat_n(None, pool.by().len() - 1);
            Consumer::Values(std::iter::once(Some(Arc::clone(tenant))).chain(others).collect())
        }
        None => Consumer::Reserved(UNATTRIBUTED),
    }
}

pub(crate) fn converted_parts(
    total: i128,
    parts: impl Iterator<Item = i128>,
    rate: Option<domain::Price>,
) -> Result<Vec<i128>, NotRun> {
    convert_parts(total, &parts.collect::<Vec<_>>(), rate).ok_or_else(NotRun::part_out_of_bound)
}

/// The shares of each trail of a component on its own, as weights for pools that follow them.
fn by_trail(converted: &Converted<'_>, cells: &Cells) -> Result<Vec<(Share, Trail)>, NotRun> {
    let trails: Vec<_> = converted.component.by_trail.iter().collect();
    let amounts = trails.iter().map(|(_, amounts)| amounts.amount);
    let reporting = converted_parts(converted.reporting, amounts, converted.rate)?;
    let mut shares = Vec::new();
    for ((trail, amounts), reporting) in trails.into_iter().zip(reporting) {
        let by_category = BTreeMap::from([(Category::Other, *amounts)]);
        let part = Component { amounts: *amounts, by_category, ..Component::default() };
        let out = share_out(&Converted { component: &part, reporting, ..*converted }, cells, false);
        shares.extend(out.into_iter().map(|share| (share, trail.clone())));
    }
    Ok(shares)
}

/// What went in is what came out, for each key and measure: a wrong bill is worse than a crash.
fn assert_conserved(outcome: &PoolOutcome) {
    if outcome.not_run.is_some() {
        return;
    }
    let mut left: BTreeMap<&ComponentKey, [i128; 3]> = BTreeMap::new();
    for entry in &outcome.components {
        let sums = left.entry(&entry.key).or_default();
        *sums = [sums[0] + entry.amounts.amount, sums[1] + entry.amounts.billed, sums[2] + entry.reporting];
    }
    for share in &outcome.shares {
        let sums = left.entry(&share.component).or_default();
        *sums = [sums[0] - share.amount, sums[1] - share.billed, sums[2] - share.reporting];
    }
    assert!(left.values().all(|sums| *sums == [0; 3]), "pool {} is conserved: {left:?}", outcome.name);
}
