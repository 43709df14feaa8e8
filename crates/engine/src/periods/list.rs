//! Months as callers see them.

use super::checklist::Checklist;
use super::{EvidenceFile, Obstacle, SourcePeriod};
use crate::books::corrupt;
use crate::run::PendingCorrection;
use crate::{Engine, EngineError};
use domain::{Instant, Month};
use std::collections::BTreeMap;
use storage::catalog::PeriodChangeRow;
use storage::lake::Table;

/// Whether costs can still be billed in a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodState {
    /// They can.
    Open,
    /// They cannot: corrections go to the earliest open month.
    Closed,
}

impl PeriodState {
    /// Returns the state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// The last close or reopen of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// The posting that did it.
    pub posting: i64,
    /// When it was booked.
    pub at: Instant,
    /// Who did it.
    pub by: String,
    /// Reason of a reopen or a forced close.
    pub reason: Option<String>,
    /// What stood against a forced close.
    pub forced: Vec<Obstacle>,
    /// Files of the lake with what the windows of the month looked like at a close.
    pub evidence: Vec<EvidenceFile>,
}

/// A billing month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodRow {
    /// The month.
    pub month: Month,
    /// Open or closed.
    pub state: PeriodState,
    /// How often it was closed.
    pub closes: u32,
    /// The last close or reopen; none for a month that was never closed.
    pub changed: Option<LastChange>,
    /// What of the month is not corrected, by day and pool.
    pub pending_corrections: Vec<PendingCorrection>,
    /// Billing periods of sources that begin with the month.
    pub sources: Vec<SourcePeriod>,
    /// Whether it is the month's turn to be closed, and the month has ended.
    pub is_next: bool,
    /// What stands against closing it, and what should be known; empty unless `is_next`, and unless it was to be checked.
    pub checklist: Checklist,
}

impl Engine {
    /// Returns the billing months from the first with entries to the current one, newest first. What stands against closing
    /// the one whose turn it is takes longer than all else, so it is looked for only if that month is to be checked.
    ///
    /// # Errors
    /// When a store fails.
    pub async fn list_periods_all_tenants(
        &self,
        is_checked: impl Fn(Month) -> bool,
    ) -> Result<Vec<PeriodRow>, EngineError> {
        let pinned = self.lake.pin().await?;
        let periods = self.periods_in(pinned.table(Table::Ledger)).await?;
        let next = self.next_to_close(&pinned, periods);
        let current = self.today().month();
        let first = periods.closed().map(|(first, _)| first).or(next).unwrap_or(current);
        let mut changes = self.last_changes().await?;
        let noted = self.pending_corrections_all_tenants().await?;
        let sources = self.source_periods_in(pinned.table(Table::CostLines), |_| true).await?;
        let months = std::iter::successors(Some(first), |month| Some(month.next()));
        let mut rows = Vec::new();
        for month in months.take_while(|month| *month <= current) {
            let is_next = next == Some(month) && month < current;
            let (closes, changed) = changes.remove(&month).unwrap_or_default();
            rows.push(PeriodRow {
                month,
                state: if periods.is_closed(month) { PeriodState::Closed } else { PeriodState::Open },
                closes,
                changed,
                pending_corrections: noted.iter().filter(|one| one.day.month() == month).cloned().collect(),
                sources: sources.iter().filter(|one| one.month == month).cloned().collect(),
                is_next,
                checklist: match is_next && is_checked(month) {
                    true => self.checklist(&pinned, month).await?,
                    false => Checklist::default(),
                },
            });
        }
        rows.reverse();
        Ok(rows)
    }

    /// How often each month was closed, and its last close or reopen.
    async fn last_changes(&self) -> Result<BTreeMap<Month, (u32, Option<LastChange>)>, EngineError> {
        let mut months: BTreeMap<Month, (u32, Option<LastChange>)> = BTreeMap::new();
        for row in self.catalog.period_changes().await? {
            let month: Month = row.month.parse().map_err(|error| corrupt("a closed month", &error))?;
            let (closes, last) = months.entry(month).or_default();
            *closes += u32::from(row.kind == "close");
            *last = Some(last_change(row)?);
        }
        Ok(months)
    }
}

fn last_change(row: PeriodChangeRow) -> Result<LastChange, EngineError> {
    let wrong = |error: serde_json::Error| corrupt("a closed month", &error);
    Ok(LastChange {
        posting: row.posting,
        at: Instant::from_micros(row.at),
        by: row.actor,
        reason: row.reason,
        forced: serde_json::from_str(&row.forced).map_err(wrong)?,
        evidence: serde_json::from_str(&row.evidence).map_err(wrong)?,
    })
}
