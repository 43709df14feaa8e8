//! How a collector fared, as the catalog keeps it.

use super::ProviderSource;
use super::report::{CollectReport, PeriodReport};
use crate::sources::{ERROR_LETTERS_MAX, Notes, SourceState, SourceStatus, micros};
use domain::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use storage::catalog::SourceRow;

/// How often a collector is read unless an interval is given.
pub(super) const EVERY: Duration = Duration::from_secs(86_400);
/// Billing periods that are remembered.
const PERIODS_MAX: usize = 36;

/// The catalog's `cursor_json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// When the last day ends that was collected, in microseconds since 1970.
    through: Option<i64>,
    /// The newest billing periods, newest first.
    periods: Vec<KnownPeriod>,
    /// Of the last collection that succeeded.
    warnings: Vec<String>,
    /// Of files: which content of a period was imported.
    pub versions: BTreeMap<String, String>,
}

/// A billing period that was collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPeriod {
    name: String,
    account: String,
    is_final: bool,
    lines: u64,
    collected_at: i64,
}

impl Cursor {
    pub fn of(row: Option<&SourceRow>) -> Self {
        let text = row.and_then(|row| row.cursor_json.as_deref());
        // A text that is no cursor means that the same is collected again, which is safe.
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Whether the period was collected after the provider had stopped to correct it.
    pub fn is_final(&self, period: &str) -> bool {
        self.periods.iter().any(|known| known.name == period && known.is_final)
    }

    fn note(&mut self, report: &PeriodReport, now: Instant) {
        self.periods.retain(|known| known.name != report.period);
        self.periods.push(KnownPeriod {
            name: report.period.clone(),
            account: report.account.clone(),
            is_final: report.is_final,
            lines: report.lines,
            collected_at: now.micros(),
        });
        self.periods.sort_by(|one, other| other.name.cmp(&one.name));
        self.periods.truncate(PERIODS_MAX);
        self.through = self.through.max(report.through.map(Instant::micros));
    }
}

/// Returns the row of a source with the collection begun.
pub(super) fn begun(source: &ProviderSource, row: Option<SourceRow>, now: Instant) -> SourceRow {
    let kind = source.collector.spec().name.to_owned();
    let new = || SourceRow { name: source.name.clone(), ..SourceRow::default() };
    SourceRow { kind, last_started_at: Some(now.micros()), ..row.unwrap_or_else(new) }
}

/// Notes the periods that were stored, also if another one failed after them.
pub(super) fn stored(row: &mut SourceRow, report: &CollectReport, now: Instant) {
    let mut cursor = Cursor::of(Some(row));
    cursor.versions.extend(report.versions.clone());
    for period in &report.periods {
        cursor.note(period, now);
        if !period.unchanged {
            row.row_count = row.row_count.saturating_add(i64::try_from(period.lines).unwrap_or(i64::MAX));
        }
    }
    row.row_count = row.row_count.saturating_add(i64::try_from(report.taken.accepted).unwrap_or(i64::MAX));
    row.cursor_json = Some(serde_json::to_string(&cursor).expect("a cursor is plain JSON"));
}

/// Notes that a collection ended well.
pub(super) fn succeeded(row: &mut SourceRow, report: &CollectReport, now: Instant) {
    let cursor = Cursor { warnings: report.warnings.clone(), ..Cursor::of(Some(row)) };
    row.cursor_json = Some(serde_json::to_string(&cursor).expect("a cursor is plain JSON"));
    row.last_success_at = Some(now.micros());
    row.last_error = None;
}

/// Notes that a collection failed.
pub(super) fn failed(row: &mut SourceRow, error: &str, now: Instant) {
    row.last_error_at = Some(now.micros());
    row.last_error = Some(error.chars().take(ERROR_LETTERS_MAX).collect());
}

/// Returns how a source fared, as its row says.
pub(super) fn status_of(
    source: &ProviderSource,
    row: Option<&SourceRow>,
    progress: Option<String>,
    now: Instant,
) -> SourceStatus {
    let cursor = Cursor::of(row);
    let at = |field: fn(&SourceRow) -> Option<i64>| row.and_then(field).map(Instant::from_micros);
    let every = source.every.unwrap_or(EVERY);
    let last_success_at = at(|row| row.last_success_at);
    let last_error = row.and_then(|row| row.last_error.clone());
    // Two collections may fail to come before anybody is told.
    let late = |success: Instant| success.plus_micros(micros(2 * every)) < now;
    SourceStatus {
        name: source.name.clone(),
        kind: source.collector.spec().name,
        state: match last_success_at {
            None => SourceState::Never,
            Some(success) if last_error.is_some() || late(success) => SourceState::Stale,
            Some(_) => SourceState::Ok,
        },
        every_seconds: every.as_secs(),
        settle_seconds: if source.collector.export().is_some() { source.settle.as_secs() } else { 0 },
        last_started_at: at(|row| row.last_started_at),
        last_success_at,
        last_error_at: at(|row| row.last_error_at),
        last_error,
        rows: row.map_or(0, |row| row.row_count),
        through: cursor.through.map(Instant::from_micros),
        progress,
        refresh: None,
        refresh_progress: None,
        notes: Notes { warnings: cursor.warnings, ..Notes::default() },
    }
}
