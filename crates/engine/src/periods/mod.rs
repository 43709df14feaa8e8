//! Closing and reopening billing months.
//!
//! A close is a posting of one line, and the ledger's log alone decides whether a month is closed: a process that dies at
//! any step leaves it closed or open. Everything else that belongs to a close is kept or made outside that commit: what
//! cannot be made again later is stored before it, and what is a function of the ledger up to the close is made after it,
//! again and again until it is there.

/// Documents of a closed month.
mod documents;
/// Closing and reopening, and the cache of who did it.
mod posting;

pub(crate) use posting::period_change_of;
pub use posting::{CloseRequest, ClosedMonth, PeriodChanged, ReopenRequest};

use domain::Month;

/// A reason why a month is not closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Obstacle {
    /// `not_ended`, `out_of_order`, `days_due`, `pool_not_run`, `pending`, `source_period_open`, `source_period_missing`,
    /// `driver_gap`, `negative_driver` or `unattributed`.
    pub code: String,
    /// What it is about: a day, a pool, a source.
    pub about: String,
    /// Names, figures and what to do.
    pub detail: String,
}

impl Obstacle {
    pub(crate) fn new(code: &str, about: impl ToString, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), about: about.to_string(), detail: detail.into() }
    }
}

/// Returns the reasons as a sentence for people.
pub(crate) fn obstacles_text(month: &Month, obstacles: &[Obstacle]) -> String {
    let named: Vec<&str> = obstacles.iter().map(|obstacle| obstacle.detail.as_str()).collect();
    format!("{month} cannot be closed yet: {}", named.join("; "))
}
