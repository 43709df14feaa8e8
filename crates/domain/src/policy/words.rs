//! The words of policies: what a pool, tier, basis or method can be.

use serde::Deserialize;

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
    /// By who used it within a window.
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
    pub const ALL: &[Self] = &[
        Self::Direct,
        Self::Weighted,
        Self::Proportional,
        Self::Even,
        Self::Fixed,
        Self::Rated,
        Self::ByCost,
        Self::Window,
        Self::None,
    ];

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

/// How a `by_cost` pool narrows its bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// Same source, sub-account and service.
    Invoice,
}
