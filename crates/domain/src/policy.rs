//! Pools and rules: who pays for what. One TOML file is one version.

use crate::condition::{ChargeAttribute, Conditions, Template, UsageAttribute};
use crate::dimension::Dimension;
use crate::toml_text::{TomlError, parse_toml};
use crate::{Currency, Day, Price, Quantity, Weight};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A version of pools and rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Name of the version.
    pub version: String,
    /// First day on which it applies.
    pub valid_from: Day,
    /// What fills `amount` unless a pool says otherwise.
    #[serde(default)]
    pub cost_metric: CostMetric,
    /// To whom cost lines, usage rows and events belong; first match wins.
    #[serde(default, rename = "tenant_rule")]
    pub tenant_rules: Vec<TenantRule>,
    /// The pools in order; the first that matches a line takes it.
    #[serde(default, rename = "pool")]
    pub pools: Vec<Pool>,
}

/// Which of a line's costs is attributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostMetric {
    /// EffectiveCost: discounts and commitments amortized.
    #[default]
    Effective,
    /// BilledCost: what the invoice says.
    Billed,
    /// ContractedCost.
    Contracted,
    /// ListCost.
    List,
}

/// Maps what a line or usage row carries to a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRule {
    /// Conditions on cost lines.
    #[serde(default)]
    pub when: Option<Conditions<ChargeAttribute>>,
    /// Conditions on usage rows and events instead.
    #[serde(default)]
    pub usage: Option<Conditions<UsageAttribute>>,
    /// The tenant, with placeholders.
    pub tenant: Template,
}

/// What a pool stands for; decides where it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// A shared cluster.
    Cluster,
    /// Any other service.
    #[default]
    Service,
    /// Cost of the whole portfolio.
    Portfolio,
    /// Model usage.
    Ai,
    /// A subscription.
    Subscription,
}

impl PoolKind {
    /// Returns the kind's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Service => "service",
            Self::Portfolio => "portfolio",
            Self::Ai => "ai",
            Self::Subscription => "subscription",
        }
    }
}

/// How close a cost is to its cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Caused by the consumer.
    #[default]
    Direct,
    /// Caused once, used by many.
    Amortized,
    /// Of the portfolio; never divided.
    Overhead,
}

impl Tier {
    /// Returns the tier's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Amortized => "amortized",
            Self::Overhead => "overhead",
        }
    }

    /// Every tier.
    pub const ALL: &[Self] = &[Self::Direct, Self::Amortized, Self::Overhead];

    /// Returns the tier of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tier| tier.as_str() == word)
    }
}

/// Where a pool's amount comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// Cost lines.
    Billed,
    /// Events that carry the cost.
    Event,
    /// Usage × rate card.
    Rated,
    /// Entered by a person.
    Adjustment,
}

impl Basis {
    /// Returns the basis's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Billed => "billed",
            Self::Event => "event",
            Self::Rated => "rated",
            Self::Adjustment => "adjustment",
        }
    }

    /// Every basis.
    pub const ALL: &[Self] = &[Self::Billed, Self::Event, Self::Rated, Self::Adjustment];

    /// Returns the basis of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|basis| basis.as_str() == word)
    }
}

/// How unused capacity is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// As consumer `__idle__`.
    #[default]
    Separate,
    /// Not at all: the used share carries it.
    Spread,
    /// As consumer `__idle__` in tier overhead.
    Overhead,
}

/// What a component keeps beside currency and charge category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// ServiceName.
    Service,
    /// Provider.
    Provider,
    /// Source.
    Source,
    /// CommitmentDiscountStatus.
    CommitmentStatus,
    /// InvoiceId.
    InvoiceId,
}

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
    /// Events that carry the cost (a later release).
    #[serde(default)]
    pub source: Option<serde_json::Value>,
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

/// How often a fixed cost recurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FixedPer {
    /// One line a day.
    Day,
    /// One line for each calendar month.
    Month,
    /// One line for each calendar year.
    Year,
    /// One line over all its days.
    Once,
}

/// How a pool is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Each line goes whole to its own consumer.
    Direct,
    /// By several meters with weights.
    Weighted,
    /// By one meter.
    Proportional,
    /// The same for each.
    Even,
    /// By percents.
    Fixed,
    /// By quantity × price.
    Rated,
    /// By what other pools cost them.
    ByCost,
    /// By who read it within a window (a later release).
    Window,
    /// Not at all.
    None,
}

impl Method {
    /// Returns the method's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Weighted => "weighted",
            Self::Proportional => "proportional",
            Self::Even => "even",
            Self::Fixed => "fixed",
            Self::Rated => "rated",
            Self::ByCost => "by_cost",
            Self::Window => "window",
            Self::None => "none",
        }
    }

    /// Every method.
    pub const ALL: &[Self] = &[Self::Direct, Self::Weighted, Self::Proportional, Self::Even, Self::Fixed, Self::Rated, Self::ByCost, Self::Window, Self::None];

    /// Returns the method of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.as_str() == word)
    }
}

/// How the resources of a weighted pool compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Quantity × weight as it is.
    #[default]
    None,
    /// Each resource is first divided by its total.
    ResourceShare,
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
    /// `fixed`: percent by tenant.
    #[serde(default)]
    pub percent: BTreeMap<String, Weight>,
    /// `by_cost`: narrows each component to the cost of its own origin.
    #[serde(default)]
    pub follow: Option<Follow>,
    /// Restricts the drivers.
    #[serde(default, rename = "where")]
    pub drivers: Conditions<UsageAttribute>,
    /// `window` (a later release): the consuming events.
    #[serde(default)]
    pub event_type: Option<String>,
    /// `window`: the key.
    #[serde(default)]
    pub key: Option<String>,
    /// `window`: its length.
    #[serde(default)]
    pub window: Option<String>,
    /// `window`: what each read weighs.
    #[serde(default)]
    pub each: Option<String>,
}

/// How a `by_cost` pool narrows its bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// Same source, sub-account and service.
    Invoice,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not readable.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Readable but contradictory.
    #[error("{place}: {problem}")]
    Invalid {
        /// `pool "x"` or `policy`.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A later release brings it.
    #[error("{place}: {what} is not available yet")]
    NotAvailable {
        /// `pool "x"`.
        place: String,
        /// What is asked for.
        what: String,
    },
}

/// Name of the pool of lines that no pool takes.
pub const UNATTRIBUTED_POOL: &str = "unattributed";
/// Hundred percent in atoms of [`Weight`].
const HUNDRED_PERCENT: i128 = 100_000_000;

impl Policy {
    /// Returns the policy that the TOML text describes, checked.
    ///
    /// # Errors
    /// [`PolicyError`] with file and line, or the pool that contradicts itself.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyError> {
        parse_toml::<Self>(file, text)?.checked()
    }

    /// Returns the policy with its defaults filled in.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] or [`PolicyError::NotAvailable`] for the first pool that cannot be used.
    pub fn checked(mut self) -> Result<Self, PolicyError> {
        if self.version.is_empty() || self.version.len() > 100 {
            return Err(invalid("policy", "the version must have 1 to 100 bytes"));
        }
        for rule in &self.tenant_rules {
            check_rule(rule)?;
        }
        for pool in &mut self.pools {
            pool.fill_defaults();
        }
        let mut names = BTreeSet::new();
        for (index, pool) in self.pools.iter().enumerate() {
            if !names.insert(pool.name.as_str()) {
                return Err(pool.invalid("the name is given twice"));
            }
            pool.check()?;
            self.check_bases(index)?;
        }
        self.check_cycles()?;
        Ok(self)
    }

    /// Returns the built-in policy: one memo pool over the snapshots.
    #[must_use]
    pub fn builtin() -> Self {
        let text = "version = \"default\"\nvalid_from = 1970-01-01\n[[pool]]\nname = \"platform-usage\"\n\
                    split = { method = \"rated\", by = [\"tenant\"], meters = [\"*\"], where = { origin = \"snapshot\" } }\n";
        Self::read("built-in policy", text).expect("the built-in policy is valid")
    }

    /// Returns the positions of the pools whose cost a `by_cost` pool follows.
    #[must_use]
    pub fn bases(&self, index: usize) -> Vec<usize> {
        let pool = &self.pools[index];
        match pool.split.as_ref().and_then(|split| split.of.as_ref()) {
            Some(of) => (0..self.pools.len()).filter(|other| of.words().contains(&self.pools[*other].name)).collect(),
            None => {
                (0..index).filter(|other| matches!(self.pools[*other].tier, Tier::Direct | Tier::Amortized)).collect()
            }
        }
    }

    fn check_bases(&self, index: usize) -> Result<(), PolicyError> {
        let pool = &self.pools[index];
        let Some(split) = pool.split.as_ref().filter(|split| split.method == Method::ByCost) else { return Ok(()) };
        for name in split.of.iter().flat_map(OneOrMany::words) {
            if name == &pool.name {
                return Err(pool.invalid("`of` names the pool itself"));
            }
            if !self.pools.iter().any(|other| &other.name == name) {
                let names = self.pools.iter().map(|other| other.name.as_str());
                let hint = crate::toml_text::nearest(name, names)
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(pool.invalid(&format!("`of` names the unknown pool `{name}`{hint}")));
            }
        }
        Ok(())
    }

    fn check_cycles(&self) -> Result<(), PolicyError> {
        self.by_cost_order().map(|_| ())
    }

    /// Returns the positions of the `by_cost` pools in an order in which every pool comes after its bases.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] for a cycle.
    pub fn by_cost_order(&self) -> Result<Vec<usize>, PolicyError> {
        let is_by_cost = |index: &usize| self.pools[*index].method() == Method::ByCost;
        let mut waiting: Vec<usize> = (0..self.pools.len()).filter(is_by_cost).collect();
        let mut ordered = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|index| self.bases(*index).iter().all(|base| !waiting.contains(base)));
            let Some(ready) = ready else {
                let names: Vec<&str> = waiting.iter().map(|index| self.pools[*index].name.as_str()).collect();
                return Err(invalid(
                    "policy",
                    &format!("the by_cost pools {} follow each other in a circle", names.join(", ")),
                ));
            };
            ordered.push(waiting.remove(ready));
        }
        Ok(ordered)
    }
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
        if self.select.is_some() || self.fixed.is_some() { Basis::Billed } else { Basis::Rated }
    }

    /// Returns whether the pool is an internal estimate beside the money.
    #[must_use]
    pub fn is_memo(&self) -> bool {
        self.select.is_none() && self.recovers.is_none() && self.fixed.is_none()
    }

    /// Returns what a consumer of this pool is.
    #[must_use]
    pub fn by(&self) -> &[Dimension] {
        self.split.as_ref().map_or(&[], |split| &split.by)
    }

    fn fill_defaults(&mut self) {
        if self.split.is_none() && self.tier == Tier::Overhead {
            self.split = Some(Split::none());
        }
        let kind = self.kind;
        let name = self.name.clone();
        if let Some(split) = &mut self.split {
            if !split.by.contains(&Dimension::Tenant) {
                split.by.insert(0, Dimension::Tenant);
            }
            if kind == PoolKind::Cluster && split.drivers.is_empty() {
                split.drivers = Conditions::new(vec![(
                    UsageAttribute::Dimension(Dimension::Cluster),
                    vec![crate::condition::Pattern::new(&name)],
                )]);
            }
            if split.method == Method::Rated && split.meters.is_empty() {
                split.meters.push("*".to_owned());
            }
        }
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.name.is_empty() || self.name.len() > 200 || self.name.chars().any(char::is_control) {
            return Err(self.invalid("a pool's name has 1 to 200 printable bytes"));
        }
        if self.name == UNATTRIBUTED_POOL || self.name.starts_with("__") {
            return Err(self.invalid("the name is reserved"));
        }
        if self.source.is_some() || self.method() == Method::Window {
            return Err(PolicyError::NotAvailable {
                place: self.place(),
                what: "cost carried by events and method `window`".to_owned(),
            });
        }
        if self.name.contains("{each}") != self.for_each.is_some() {
            return Err(self.invalid("`{each}` in the name and `for_each` go together"));
        }
        let origins = [self.select.is_some(), self.recovers.is_some(), self.fixed.is_some()];
        if origins.iter().filter(|given| **given).count() > 1 {
            return Err(self.invalid("give one of `select`, `recovers` and `fixed`"));
        }
        if self.recovers.is_some() && self.method() != Method::Rated {
            return Err(self.invalid("`recovers` needs method `rated`"));
        }
        if self.is_memo() && self.method() != Method::Rated {
            return Err(self.invalid("nothing is selected: add `select`, `recovers` or `fixed`, or use method `rated` for an internal estimate"));
        }
        let Some(split) = &self.split else {
            return Err(self.invalid("`split` is missing; only a pool of tier overhead may leave it out"));
        };
        if split.by.first() != Some(&Dimension::Tenant) {
            return Err(self.invalid("`by` must start with `tenant`"));
        }
        self.check_method(split)
    }

    fn check_method(&self, split: &Split) -> Result<(), PolicyError> {
        let given = [
            ("weights", !split.weights.is_empty(), split.method == Method::Weighted),
            ("normalize", split.normalize != Normalize::None, split.method == Method::Weighted),
            ("meter", split.meter.is_some(), split.method == Method::Proportional),
            ("meters", !split.meters.is_empty(), split.method == Method::Rated),
            ("of", split.of.is_some(), matches!(split.method, Method::Even | Method::ByCost)),
            ("percent", !split.percent.is_empty(), split.method == Method::Fixed),
            ("follow", split.follow.is_some(), split.method == Method::ByCost),
            ("event_type", split.event_type.is_some(), false),
            ("key", split.key.is_some(), false),
            ("window", split.window.is_some(), false),
            ("each", split.each.is_some(), false),
        ];
        if let Some((key, ..)) = given.iter().find(|(_, given, fits)| *given && !fits) {
            return Err(self.invalid(&format!("`{key}` does not go with method `{}`", split.method.as_str())));
        }
        match split.method {
            Method::Weighted if split.weights.is_empty() => Err(self.invalid("method `weighted` needs `weights`")),
            Method::Weighted if split.weights.values().all(|weight| weight.atoms() == 0) => {
                Err(self.invalid("all `weights` are zero"))
            }
            Method::Proportional if split.meter.is_none() => Err(self.invalid("method `proportional` needs `meter`")),
            Method::Fixed if split.percent.is_empty() => Err(self.invalid("method `fixed` needs `percent`")),
            Method::Fixed if split.percent.values().map(|percent| percent.atoms()).sum::<i128>() > HUNDRED_PERCENT => {
                Err(self.invalid("the percents add up to more than 100"))
            }
            Method::Fixed if split.percent.keys().any(|tenant| tenant.parse::<crate::TenantId>().is_err()) => {
                Err(self.invalid("`percent` names something that is not a tenant id"))
            }
            Method::Fixed | Method::Even if split.by.len() > 1 && !self.is_even_of_users() => {
                Err(self.invalid(&format!("method `{}` splits by tenant only", split.method.as_str())))
            }
            Method::Even
                if !matches!(split.of.as_ref().map(OneOrMany::words), None | Some([_])) || !self.known_even() =>
            {
                Err(self.invalid("`of` of method `even` is `active` or `users`"))
            }
            Method::None if self.tier != Tier::Overhead => Err(self.invalid("method `none` is for tier overhead only")),
            _ if !self.capacity.is_empty()
                && split.method != Method::Weighted
                && split.method != Method::Proportional =>
            {
                Err(self.invalid("`capacity` goes with methods `weighted` and `proportional`"))
            }
            Method::Weighted => match self.capacity.keys().find(|meter| !split.weights.contains_key(*meter)) {
                Some(meter) => Err(self.invalid(&format!("`capacity` names `{meter}`, which has no weight"))),
                None => Ok(()),
            },
            Method::Proportional => match self.capacity.keys().find(|meter| Some(*meter) != split.meter.as_ref()) {
                Some(meter) => Err(self.invalid(&format!("`capacity` names `{meter}`, which is not the pool's meter"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Returns whether the pool is split evenly over users rather than active tenants.
    #[must_use]
    pub fn is_even_of_users(&self) -> bool {
        let of = self.split.as_ref().and_then(|split| split.of.as_ref());
        self.method() == Method::Even && of.is_some_and(|of| of.words() == ["users"])
    }

    fn known_even(&self) -> bool {
        let of = self.split.as_ref().and_then(|split| split.of.as_ref());
        of.is_none_or(|of| of.words().iter().all(|word| word == "active" || word == "users"))
    }

    fn place(&self) -> String {
        format!("pool \"{}\"", self.name)
    }

    fn invalid(&self, problem: &str) -> PolicyError {
        invalid(&self.place(), problem)
    }
}

impl Split {
    fn none() -> Self {
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
            drivers: Conditions::default(),
            event_type: None,
            key: None,
            window: None,
            each: None,
        }
    }
}

fn check_rule(rule: &TenantRule) -> Result<(), PolicyError> {
    let place = format!("tenant_rule \"{}\"", rule.tenant.as_str());
    let unknown = match (&rule.when, &rule.usage) {
        (Some(_), Some(_)) => return Err(invalid(&place, "give `when` or `usage`, not both")),
        (_, None) => rule.tenant.placeholders().find_map(|name| name.parse::<ChargeAttribute>().err()),
        (None, Some(_)) => rule.tenant.placeholders().find_map(|name| name.parse::<UsageAttribute>().err()),
    };
    unknown.map_or(Ok(()), |error| Err(invalid(&place, &error.to_string())))
}

fn invalid(place: &str, problem: &str) -> PolicyError {
    PolicyError::Invalid { place: place.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pools: &str, expected: &str) {
        let text = format!("version = 'v'\nvalid_from = 2026-01-01\n{pools}");
        let result = Policy::read("policy.toml", &text).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(result, expected, "{pools}");
    }

    #[test]
    fn every_method_is_accepted_with_its_keys() {
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='direct'}", "ok");
        check(
            "[[pool]]\nname='a'\nkind='cluster'\nselect={tags.cluster='a'}\nsplit={method='weighted',weights={cpu_core_hours='0.5'}}\ncapacity={cpu_core_hours='64'}",
            "ok",
        );
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='proportional',meter='log_queries'}", "ok");
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='even',of='users'}", "ok");
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='fixed',percent={acme='60'}}", "ok");
        check("[[pool]]\nname='a'\nrecovers={provider='X'}\nsplit={method='rated',meters=['llm_*']}", "ok");
        check("[[pool]]\nname='a'\nselect={charge_category='Tax'}\nsplit={method='by_cost',follow='invoice'}", "ok");
        check(
            "[[pool]]\nname='a'\ntier='overhead'\nfixed={provider='own',amount='310.00',currency='USD',per='month',from=2026-01-01}",
            "ok",
        );
        check(
            "[[pool]]\nname='a-{each}'\nfor_each='cluster'\nselect={tags.cluster='{each}'}\nsplit={method='even'}",
            "ok",
        );
    }

    #[test]
    fn contradictions_are_named() {
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='weighted'}",
            "pool \"a\": method `weighted` needs `weights`",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='weighted',weights={x='-1'}}",
            "policy.toml:6:37: `-1` is out of bound",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='fixed',percent={a='60',b='41'}}",
            "pool \"a\": the percents add up to more than 100",
        );
        check(
            "[[pool]]\nname='a'\nsplit={method='even'}",
            "pool \"a\": nothing is selected: add `select`, `recovers` or `fixed`, or use method `rated` for an internal estimate",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='none'}",
            "pool \"a\": method `none` is for tier overhead only",
        );
        check("[[pool]]\nname='a'\nselct={}", "policy.toml:5:1: unknown key `selct`; did you mean `select`?");
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='window',event_type='x'}",
            "pool \"a\": cost carried by events and method `window` is not available yet",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='by_cost',of=['b']}\n[[pool]]\nname='b'\nselect={}\nsplit={method='by_cost',of=['a']}",
            "policy: the by_cost pools a, b follow each other in a circle",
        );
        check(
            "[[tenant_rule]]\nwhen={}\ntenant='{subaccount}'",
            "tenant_rule \"{subaccount}\": unknown condition key `subaccount`; did you mean `sub_account`?",
        );
    }

    #[test]
    fn a_cluster_without_where_reads_its_own_usage() {
        let policy = Policy::read(
            "p",
            "version='v'\nvalid_from=2026-01-01\n[[pool]]\nname='west'\nkind='cluster'\nselect={}\nsplit={method='proportional',meter='m'}",
        );
        let drivers = policy.expect("valid").pools[0].split.clone().expect("a split").drivers;
        assert!(drivers.hold(|_| Some("west")) && !drivers.hold(|_| Some("east")));
    }
}
