//! What the policy and the rate card say, as far as it decides what the tenant pays.

use super::Asked;
use super::cells::ExplainedComponent;
use super::replay::Replay;
use domain::decimal::format_scaled;
use domain::policy::{Capacity, Follow, Idle, Normalize, OneOrMany, Pool, Split};
use domain::quantity::WEIGHT_SCALE;
use domain::rates::{Per, PriceRow, RateCard, canonical};
use std::collections::{BTreeMap, BTreeSet};

/// The rule of a pool; decimals as the policy prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExplainedRule {
    /// What a consumer is.
    pub by: Vec<String>,
    /// Weight by meter (`weighted`).
    pub weights: BTreeMap<String, String>,
    /// `none` or `resource_share` (`weighted`).
    pub normalize: Option<&'static str>,
    /// The meter (`proportional`).
    pub meter: Option<String>,
    /// The meters by glob (`rated`).
    pub meters: Vec<String>,
    /// Active tenants or users (`even`), or the pools whose cost it follows (`by_cost`).
    pub of: Vec<String>,
    /// `invoice`, when each component follows the cost of its own origin (`by_cost`).
    pub follow: Option<&'static str>,
    /// The tenant's own percent (`fixed`).
    pub percent: Option<String>,
    /// How unused capacity is shown, where there is a capacity.
    pub idle: Option<&'static str>,
    /// Capacity per hour, or the meter that measures it; none when not disclosed.
    pub capacity: Option<BTreeMap<String, String>>,
    /// The prices of the tenant's meters, where usage is priced.
    pub prices: Vec<ExplainedPrice>,
}

/// A price of the card for a meter that the tenant used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedPrice {
    /// The meter.
    pub meter: String,
    /// The key of the card.
    pub key: String,
    /// The meter's quantity is divided by this before it is priced.
    pub divisor: u64,
    /// Labels that usage must carry.
    pub labels: BTreeMap<String, String>,
    /// Price of one unit, in atoms.
    pub price: i128,
    /// `unit`, `hour`, `day` or `month`.
    pub per: &'static str,
    /// Quantities of the month above which another price applies, and that price in atoms.
    pub tiers: Vec<(String, i128)>,
    /// What the tenant used at it on the days of the month before, in atoms of the meter's unit; only where there are
    /// tiers.
    pub used_before: Option<i128>,
}

impl ExplainedRule {
    /// Leaves out whatever says something about the others.
    pub(super) fn redact(&mut self) {
        self.capacity = None;
    }
}

/// Returns the rule of a pool for the tenant that is asked.
pub(super) fn rule_of(
    asked: &Asked<'_>,
    pool: &Pool,
    card: Option<&RateCard>,
    components: &[ExplainedComponent],
    replay: Option<&Replay>,
) -> ExplainedRule {
    let Some(split) = &pool.split else { return ExplainedRule::default() };
    let capacity = |capacity: &Capacity| match capacity {
        Capacity::PerHour(quantity) => quantity.to_string(),
        Capacity::Meter(meter) => meter.clone(),
    };
    let capacities = || -> BTreeMap<String, String> {
        pool.capacity.iter().map(|(meter, given)| (meter.clone(), capacity(given))).collect()
    };
    let has_weights = !split.weights.is_empty();
    ExplainedRule {
        by: split.by.iter().map(ToString::to_string).collect(),
        weights: split.weights.iter().map(|(meter, weight)| (meter.clone(), weight.to_string())).collect(),
        normalize: has_weights.then(|| normalize_word(split.normalize)),
        meter: split.meter.clone(),
        meters: split.meters.clone(),
        of: split.of.as_ref().map(OneOrMany::words).unwrap_or_default().to_vec(),
        follow: split.follow.map(|Follow::Invoice| "invoice"),
        percent: percent_of(asked, split),
        idle: (!pool.capacity.is_empty()).then(|| idle_word(pool.idle)),
        capacity: (!pool.capacity.is_empty()).then(capacities),
        prices: card.map(|card| prices_of(asked, pool, card, components, replay)).unwrap_or_default(),
    }
}

/// The percent given to the tenant by whatever name means it on the day.
fn percent_of(asked: &Asked<'_>, split: &Split) -> Option<String> {
    let tenants = &asked.books.tenants;
    let is_own = |name: &str| *tenants.resolve(name, asked.query.date) == *asked.query.tenant;
    let own: Vec<i128> =
        split.percent.iter().filter(|(name, _)| is_own(name)).map(|(_, percent)| percent.atoms()).collect();
    (!own.is_empty()).then(|| format_scaled(own.iter().sum(), WEIGHT_SCALE, 0))
}

fn prices_of(
    asked: &Asked<'_>,
    pool: &Pool,
    card: &RateCard,
    components: &[ExplainedComponent],
    replay: Option<&Replay>,
) -> Vec<ExplainedPrice> {
    let cells = components.iter().flat_map(|component| &component.cells);
    let mut meters: BTreeSet<&str> = cells.filter_map(|cell| cell.meter.as_deref()).collect();
    meters.extend(pool.source.as_ref().and_then(|source| source.meter.as_deref()));
    let rows = card.prices.iter().enumerate().filter(|(_, row)| meters.contains(canonical(&row.meter).0));
    let price = |(at, row): (usize, &PriceRow)| {
        let (meter, divisor) = canonical(&row.meter);
        let used_before = replay.filter(|_| !row.tiers.is_empty());
        ExplainedPrice {
            meter: meter.to_owned(),
            key: row.meter.clone(),
            divisor,
            labels: row.labels.clone(),
            price: row.price.atoms(),
            per: per_word(row.per.unwrap_or_default()),
            tiers: row.tiers.iter().map(|tier| (tier.above.to_string(), tier.price.atoms())).collect(),
            used_before: used_before.map(|replay| replay.used_before(&pool.name, at, &asked.query.tenant)),
        }
    };
    rows.map(price).collect()
}

fn normalize_word(normalize: Normalize) -> &'static str {
    match normalize {
        Normalize::None => "none",
        Normalize::ResourceShare => "resource_share",
    }
}

fn idle_word(idle: Idle) -> &'static str {
    match idle {
        Idle::Separate => "separate",
        Idle::Spread => "spread",
        Idle::Overhead => "overhead",
    }
}

fn per_word(per: Per) -> &'static str {
    match per {
        Per::Unit => "unit",
        Per::Hour => "hour",
        Per::Day => "day",
        Per::Month => "month",
    }
}
