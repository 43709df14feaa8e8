//! Days that were corrected after they were posted.

use super::columns::rows;
use super::select::all_of;
use crate::EngineError;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::Day;
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// Most postings that are named of a restated day.
const POSTINGS_MAX: usize = 5;

/// A day that was corrected after it was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestatedDay {
    /// The day.
    pub day: Day,
    /// How many postings corrected it.
    pub times: usize,
    /// The newest of them, newest first.
    pub postings: Vec<i64>,
}

/// Returns the days of the entries in question that were corrected after they were posted, by day, each with its newest
/// postings that say so. What closes a window is no correction: until then the day was pending.
///
/// # Errors
/// When a store fails.
pub(super) async fn restated_days(session: &SessionContext, entries: Expr) -> Result<Vec<RestatedDay>, EngineError> {
    let corrected = ident("cause").in_list(vec![lit("first"), lit("window_closed")], true);
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of([entries, corrected]))?
        .aggregate(vec![ident("charge_date"), ident("posting")], vec![])?
        .collect()
        .await?;
    let mut by_day: BTreeMap<Day, BTreeSet<i64>> = BTreeMap::new();
    for row in rows(&batches) {
        if let (Some(day), Some(posting)) = (row.day(0), row.int(1)) {
            by_day.entry(day).or_default().insert(posting);
        }
    }
    let restated = |(day, postings): (Day, BTreeSet<i64>)| RestatedDay {
        day,
        times: postings.len(),
        postings: postings.into_iter().rev().take(POSTINGS_MAX).collect(),
    };
    Ok(by_day.into_iter().map(restated).collect())
}
