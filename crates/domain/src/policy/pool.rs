//! Pools and how they are shared out.

use super::window::{Each, EventPath, EventSource, WindowLength};
use super::words::{Basis, CostMetric, Detail, FixedPer, Follow, Idle, Method, Normalize, PoolKind, Tier};
use crate::condition::{ChargeAttribute, Conditions, Pattern, UsageAttribute};
use crate::dimension::Dimension;
use crate::{Currency, Day, Price, Quantity, Weight};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A named cost that is shared out by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Unique name; may contain `{each}`.
    pub name: String,
    /// What it stands for.
    #[serde(default)]
    pub kind: PoolKind,
    /// How close it is to its cause.
    #[serde(default)]
    pub tier: Tier,
    /// What fills `amount`, if not the policy's metric.
    #[serde(default)]
    pub cost_metric: Option<CostMetric>,
    /// Cost lines that are shared out.
    #[serde(default)]
    pub select: Option<Conditions<ChargeAttribute>>,
    /// Cost lines that rated amounts recover.
    #[serde(default)]
    pub recovers: Option<Conditions<ChargeAttribute>>,
    /// Events that carry the cost.
    #[serde(default)]
    pub source: Option<EventSource>,
    /// A recurring cost that this pool takes.
    #[serde(default)]
    pub fixed: Option<FixedCost>,
    /// The rule.
    #[serde(default)]
    pub split: Option<Split>,
    /// Capacity per hour, or a meter that measures it, by meter.
    #[serde(default)]
    pub capacity: BTreeMap<String, Capacity>,
    /// How unused capacity is shown.
    #[serde(default)]
    pub idle: Idle,
    /// One pool per value of this dimension.
    #[serde(default)]
    pub for_each: Option<Dimension>,
    /// What components keep.
    #[serde(default)]
    pub detail: Vec<Detail>,
}

/// Capacity of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// So much per hour.
    PerHour(Quantity),
    /// What this meter measured.
    Meter(String),
}

impl<'de> Deserialize<'de> for Capacity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::toml_text::DecimalText::deserialize(deserializer)?.0;
        match text.parse::<Quantity>() {
            Ok(quantity) if quantity.atoms() >= 0 => Ok(Self::PerHour(quantity)),
            Ok(_) => Err(serde::de::Error::custom(format!("capacity `{text}` is negative"))),
            Err(_) if text.starts_with(|first: char| first.is_ascii_alphabetic()) => Ok(Self::Meter(text)),
            Err(error) => Err(serde::de::Error::custom(error)),
        }
    }
}

/// Earliest and latest day of a fixed cost, as days since 1970: 1970-01-01 to 2199-12-31.
pub const FIXED_COST_DAYS: std::ops::RangeInclusive<i32> = 0..=84_005;

/// A recurring or one-off cost that nobody sends a bill file for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedCost {
    /// Who is paid.
    pub provider: String,
    /// For what.
    #[serde(default)]
    pub service: Option<String>,
    /// How much each period costs.
    pub amount: Price,
    /// In which currency.
    pub currency: Currency,
    /// Length of a period.
    pub per: FixedPer,
    /// First day.
    pub from: Day,
    /// Last day, if it ends.
    #[serde(default)]
    pub to: Option<Day>,
}

/// One word or a list of words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One word.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl OneOrMany {
    /// Returns the words.
    #[must_use]
    pub fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}

/// The rule of a pool. Which keys a method needs is checked by [`Policy::check`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The method.
    pub method: Method,
    /// What a consumer is; starts with the tenant.
    #[serde(default)]
    pub by: Vec<Dimension>,
    /// `weighted`: weight by meter.
    #[serde(default)]
    pub weights: BTreeMap<String, Weight>,
    /// `weighted`: how resources compare.
    #[serde(default)]
    pub normalize: Normalize,
    /// `proportional`: the meter.
    #[serde(default)]
    pub meter: Option<String>,
    /// `rated`: meters by glob.
    #[serde(default)]
    pub meters: Vec<String>,
    /// `even`: active or users; `by_cost`: pools.
    #[serde(default)]
    pub of: Option<OneOrMany>,
    /// `fixed`: percent by tenant; `__idle__` takes what was paid for and not used.
    #[serde(default)]
    pub percent: BTreeMap<String, Weight>,
    /// `by_cost`: narrows each component to the cost of its own origin.
    #[serde(default)]
    pub follow: Option<Follow>,
    /// Restricts the drivers, as it is written: `{}` lets all usage through, also in a cluster.
    #[serde(default, rename = "where")]
    pub given_drivers: Option<Conditions<UsageAttribute>>,
    /// Restricts the drivers; a cluster that does not say otherwise reads its own usage.
    #[serde(skip)]
    pub drivers: Conditions<UsageAttribute>,
    /// `window`: type of the events that use the cost.
    #[serde(default)]
    pub event_type: Option<String>,
    /// `window`: where they name the cost that they use.
    #[serde(default)]
    pub key: Option<EventPath>,
    /// `window`: how long a cost may be used.
    #[serde(default)]
    pub window: Option<WindowLength>,
    /// `window`: what a use weighs; one for each consumer if left out.
    #[serde(default)]
    pub each: Option<Each>,
}

impl Pool {
    /// Returns the method by which the pool is shared out.
    #[must_use]
    pub fn method(&self) -> Method {
        self.split.as_ref().map_or(Method::None, |split| split.method)
    }

    /// Returns where the pool's amount comes from.
    #[must_use]
    pub fn basis(&self) -> Basis {
        match (&self.select, &self.fixed, &self.source) {
            (Some(_), ..) | (_, Some(_), _) => Basis::Billed,
            (None, None, Some(_)) => Basis::Event,
            (None, None, None) => Basis::Rated,
        }
    }

    /// Returns whether the pool is an internal estimate beside the money.
    #[must_use]
    pub fn is_memo(&self) -> bool {
        self.select.is_none() && self.recovers.is_none() && self.fixed.is_none()
    }

    /// Returns whether the pool is repeated and one of its repetitions can have this name.
    #[must_use]
    pub fn can_make(&self, name: &str) -> bool {
        self.for_each.is_some() && Pattern::new(&self.name.replace("{each}", "*")).matches(name)
    }

    /// Returns what a consumer of this pool is.
    #[must_use]
    pub fn by(&self) -> &[Dimension] {
        self.split.as_ref().map_or(&[], |split| &split.by)
    }

    pub(super) fn fill_defaults(&mut self) {
        if self.split.is_none() && self.tier == Tier::Overhead {
            self.split = Some(Split::none());
        }
        let kind = self.kind;
        let name = self.name.clone();
        if let Some(split) = &mut self.split {
            if !split.by.contains(&Dimension::Tenant) {
                split.by.insert(0, Dimension::Tenant);
            }
            let own_cluster =
                || Conditions::new(vec![(UsageAttribute::Dimension(Dimension::Cluster), vec![Pattern::new(&name)])]);
            split.drivers = match &split.given_drivers {
                Some(given) => given.clone(),
                None if kind == PoolKind::Cluster => own_cluster(),
                None => Conditions::default(),
            };
            if split.method == Method::Rated && split.meters.is_empty() {
                split.meters.push("*".to_owned());
            }
        }
    }

    /// Returns whether the pool is split evenly over users rather than active tenants.
    #[must_use]
    pub fn is_even_of_users(&self) -> bool {
        let of = self.split.as_ref().and_then(|split| split.of.as_ref());
        self.method() == Method::Even && of.is_some_and(|of| of.words() == ["users"])
    }
}

impl Split {
    /// Returns the rule of cost that is never divided.
    #[must_use]
    pub fn none() -> Self {
        Self {
            method: Method::None,
            by: Vec::new(),
            weights: BTreeMap::new(),
            normalize: Normalize::None,
            meter: None,
            meters: Vec::new(),
            of: None,
            percent: BTreeMap::new(),
            follow: None,
            given_drivers: None,
            drivers: Conditions::default(),
            event_type: None,
            key: None,
            window: None,
            each: None,
        }
    }
}
