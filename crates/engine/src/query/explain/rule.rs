//! What the policy and the rate card say, as far as it decides what the tenant pays.

use super::Asked;
use domain::decimal::format_scaled;
use domain::policy::{Capacity, Follow, Idle, Normalize, OneOrMany, Pool, Split};
use domain::quantity::WEIGHT_SCALE;
use std::collections::BTreeMap;

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
    /// The tenant's own percent (`fixed`); none when not disclosed.
    pub percent: Option<String>,
    /// How unused capacity is shown, where there is a capacity.
    pub idle: Option<&'static str>,
    /// Capacity per hour, or the meter that measures it; none when not disclosed.
    pub capacity: Option<BTreeMap<String, String>>,
}

impl ExplainedRule {
    /// Leaves out whatever says something about the others: an amount and its percent give the pool's amount.
    pub(super) fn redact(&mut self) {
        (self.capacity, self.percent) = (None, None);
    }
}

/// Returns the rule of a pool for the tenant that is asked.
pub(super) fn rule_of(asked: &Asked<'_>, pool: &Pool) -> ExplainedRule {
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
