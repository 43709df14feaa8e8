//! Closing and reopening billing months.
//!
//! A close is a posting of one line, and the ledger's log alone decides whether a month is closed: a process that dies at
//! any step leaves it closed or open. Everything else that belongs to a close is kept or made outside that commit: what
//! cannot be made again later is stored before it, and what is a function of the ledger up to the close is made after it,
//! again and again until it is there.

/// What stands against closing a month.
mod checklist;
/// Documents of a closed month.
mod documents;
/// Who used what in the windows of a closed month.
mod evidence;
/// Months as callers see them.
mod list;
/// Closing and reopening, and the cache of who did it.
mod posting;
/// Billing periods of the sources of cost lines.
mod sources;
/// Posting the differences that were too small to be posted by themselves.
mod sweep;

pub use checklist::Checklist;
pub use evidence::EvidenceFile;
pub use list::{LastChange, PeriodRow, PeriodState};
pub(crate) use posting::period_change_of;
pub use posting::{CloseRequest, ClosedMonth, PeriodChanged, ReopenRequest};
pub use sources::{SaidBy, SaidPeriod, SourcePeriod, SourceState};

use domain::Month;

/// A reason why a month is not closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Obstacle {
    /// `not_ended`, `out_of_order`, `no_entries`, `days_due`, `pool_not_run`, `pending`, `source_period_open`,
    /// `source_period_missing`, `driver_gap`, `unattributed`, or of a note `days_stale`, `negative_driver`.
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

/// Reasons that a sentence names; the others are counted.
const NAMED_MAX: usize = 3;

/// Returns the reasons as a sentence for people.
pub(crate) fn obstacles_text(month: &Month, obstacles: &[Obstacle]) -> String {
    let mut named: Vec<String> = obstacles.iter().take(NAMED_MAX).map(|obstacle| obstacle.detail.clone()).collect();
    if let Some(more) = obstacles.len().checked_sub(NAMED_MAX).filter(|more| *more != 0) {
        named.push(format!("and {more} more reasons"));
    }
    format!("{month} cannot be closed yet: {}", named.join("; "))
}
