//! Which run counts for a day, told by the postings.
//!
//! What a run put into pools counts for a day only while that run belongs to the newest posting, of those
//! that the answer shows, which names the day. A pool that could not be run that time keeps its entries, so
//! what an earlier run put into it keeps counting.

use super::as_of::Head;
use crate::adjust::AdjustmentFacts;
use crate::{Engine, EngineError};
use domain::{Day, DayRange};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::PostingRow;

/// Postings read from the catalog at once.
const POSTINGS_PER_READ: i64 = 1000;

/// The runs that posted each day, newest first, and the pools that the newest runs could not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    runs: BTreeMap<Day, Vec<String>>,
    not_run: BTreeMap<(Day, String), String>,
}

/// What a posting's header says beside its own columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PostingBody {
    /// The days that the run posted.
    pub days: Vec<String>,
    /// Versions of policies that applied.
    pub policy_versions: Vec<String>,
    /// Versions of rate cards that applied.
    pub rate_card_versions: Vec<String>,
    /// What was adjusted, if the posting is an adjustment.
    pub adjustment: Option<AdjustmentFacts>,
}

impl PostingBody {
    /// Returns the body of a posting's row.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when it is not what the writer wrote.
    pub fn of(row: &PostingRow) -> Result<Self, EngineError> {
        serde_json::from_str(&row.body).map_err(|error| corrupt(row.posting, &error.to_string()))
    }

    fn parsed_days(&self, posting: i64) -> Result<Vec<Day>, EngineError> {
        self.days.iter().map(|day| day.parse().map_err(|_| corrupt(posting, day))).collect()
    }
}

fn corrupt(posting: i64, detail: &str) -> EngineError {
    EngineError::Corrupt { what: format!("the header of posting {posting}"), detail: detail.to_owned() }
}

impl History {
    /// Returns whether a posting names the day.
    #[must_use]
    pub fn was_posted(&self, day: Day) -> bool {
        self.runs.contains_key(&day)
    }

    /// Returns the newest run that posted the day.
    #[must_use]
    pub fn newest(&self, day: Day) -> Option<&str> {
        self.runs.get(&day)?.first().map(String::as_str)
    }

    /// Returns the days that postings name, in order.
    pub fn days(&self) -> impl Iterator<Item = Day> {
        self.runs.keys().copied()
    }

    /// Returns the run that counts for a pool and day.
    ///
    /// `ran` are the runs that put something into the pool, `not_run` those that could not run it.
    #[must_use]
    pub fn counted<'r>(&'r self, day: Day, ran: &BTreeSet<&str>, not_run: &BTreeSet<&str>) -> Option<&'r str> {
        let runs = self.runs.get(&day)?;
        let newest = runs.first()?;
        let older = || runs.iter().find(|run| ran.contains(run.as_str()));
        let counted = if not_run.contains(newest.as_str()) { older().unwrap_or(newest) } else { newest };
        Some(counted)
    }

    /// Returns every run that posted some day, each once.
    #[must_use]
    pub fn runs(&self) -> BTreeSet<&str> {
        self.runs.values().flatten().map(String::as_str).collect()
    }

    /// Returns day, pool and reason of everything that could not be run.
    pub fn not_run(&self) -> impl Iterator<Item = (Day, &str, &str)> {
        self.not_run.iter().map(|((day, pool), reason)| (*day, pool.as_str(), reason.as_str()))
    }
}

impl Engine {
    /// Returns which runs count for each day of the range (of all days for `None`) in this state.
    ///
    /// # Errors
    /// When the catalog fails or a header is unreadable.
    pub async fn history_all_tenants(&self, head: &Head, range: Option<DayRange>) -> Result<History, EngineError> {
        let mut history = History::default();
        let mut before = Some(head.number() + 1);
        loop {
            let page = self.catalog.list_postings_all_tenants(before, POSTINGS_PER_READ).await?;
            for row in &page {
                let Some(run) = &row.run else { continue };
                for day in PostingBody::of(row)?.parsed_days(row.posting)? {
                    if range.is_none_or(|range| range.contains(day)) {
                        history.runs.entry(day).or_default().push(run.clone());
                    }
                }
            }
            match page.last() {
                Some(last) if i64::try_from(page.len()) == Ok(POSTINGS_PER_READ) => before = Some(last.posting),
                _ => break,
            }
        }
        if head.is_now && self.head(None).await?.posting == head.posting {
            self.add_not_run(&mut history, range).await?;
        }
        Ok(history)
    }

    /// The catalog keeps the states of each day's last run only, so they belong to the newest posting.
    async fn add_not_run(&self, history: &mut History, range: Option<DayRange>) -> Result<(), EngineError> {
        let (first, last) = range.map_or_else(
            || ("0000".to_owned(), "9999".to_owned()),
            |range| (range.from().to_string(), range.to().to_string()),
        );
        for row in self.catalog.run_pool_states(&first, &last).await? {
            if row.state != "not_run" {
                continue;
            }
            let day = row
                .day
                .parse()
                .map_err(|_| EngineError::Corrupt { what: "a pool's state".to_owned(), detail: row.day.clone() })?;
            history.not_run.insert((day, row.pool), row.reason.unwrap_or_default());
        }
        Ok(())
    }
}
