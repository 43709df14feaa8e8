//! What went into a pool on a day.

use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Day};
use std::fmt;
use std::sync::Arc;

/// One component of a pool's amount of a day. Money and rates in atoms of 10⁻¹⁵.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolDay {
    /// Id of the run; the row counts only if a posting names it.
    pub run: Arc<str>,
    /// The day.
    pub charge_date: Day,
    /// The pool.
    pub pool: Arc<str>,
    /// How close its cost is to its cause.
    pub tier: Tier,
    /// Where its amount comes from.
    pub basis: Basis,
    /// Whether it is an estimate beside the money.
    pub memo: bool,
    /// How it is shared out.
    pub method: Method,
    /// Whether it was run.
    pub state: PoolState,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<Arc<str>>,
    /// Service, when the pool keeps it.
    pub service: Option<Arc<str>>,
    /// Provider, when the pool keeps it.
    pub provider: Option<Arc<str>>,
    /// Source of the cost lines, when the pool keeps it.
    pub source: Option<Arc<str>>,
    /// CommitmentDiscountStatus, when the pool keeps it.
    pub commitment_status: Option<Arc<str>>,
    /// InvoiceId, when the pool keeps it.
    pub invoice_id: Option<Arc<str>>,
    /// Category of the service.
    pub category: Option<Arc<str>>,
    /// The cost metric.
    pub amount: i128,
    /// BilledCost.
    pub billed_amount: i128,
    /// Currency of amount and billed_amount.
    pub currency: Currency,
    /// The cost metric in the reporting currency; none when there was no rate.
    pub amount_reporting: Option<i128>,
    /// Rate from currency to reporting currency.
    pub fx_rate: Option<i128>,
    /// Day of that rate.
    pub fx_date: Option<Day>,
    /// How many cost lines went in.
    pub lines: i64,
    /// Where it came from: import ids, content hashes and table versions, as JSON.
    pub inputs: Arc<str>,
}

/// Whether a pool was attributed on a day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolState {
    /// It was.
    Run,
    /// It could not be, for this reason (`fx_missing`, …), and keeps its entries.
    NotRun(Arc<str>),
}

impl PoolState {
    /// Returns the state of a stored text: `run`, or `not_run:` and the reason.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => (text == "run").then_some(Self::Run),
            Some((word, reason)) => (word == "not_run").then(|| Self::NotRun(reason.into())),
        }
    }
}

impl fmt::Display for PoolState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => out.write_str("run"),
            Self::NotRun(reason) => write!(out, "not_run:{reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_back() {
        for state in [PoolState::Run, PoolState::NotRun("fx_missing".into()), PoolState::NotRun("a:b".into())] {
            assert_eq!(PoolState::from_text(&state.to_string()), Some(state));
        }
        assert_eq!(PoolState::from_text("ran"), None);
    }
}
