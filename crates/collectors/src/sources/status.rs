use super::Source;
use super::error::SourceError;
use super::refresh::RefreshReport;
use crate::under_way::RefreshProgress;
use crate::workspaces::RunState;
use domain::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::catalog::SourceRow;

/// Longest error that is kept.
pub(crate) const ERROR_LETTERS_MAX: usize = 500;

/// Whether a source can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// The last pull succeeded, not long ago.
    Ok,
    /// The last pull failed, or is long ago; what came before it stays.
    Stale,
    /// No pull succeeded yet.
    Never,
}

impl SourceState {
    /// Returns the state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Never => "never",
        }
    }
}

/// How a source fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// Whether it can be relied on.
    pub state: SourceState,
    /// How often it is read, in seconds.
    pub every_seconds: u64,
    /// How long an hour, or a file that nothing seals, rests before it is read, in seconds.
    pub settle_seconds: u64,
    /// When a pull began last.
    pub last_started_at: Option<Instant>,
    /// When a pull succeeded last.
    pub last_success_at: Option<Instant>,
    /// When one failed last.
    pub last_error_at: Option<Instant>,
    /// Why the last pull failed; none after a success.
    pub last_error: Option<String>,
    /// Points that count, of all pulls.
    pub rows: i64,
    /// When the last hour ends that was read.
    pub through: Option<Instant>,
    /// What is being read just now.
    pub progress: Option<String>,
    /// How the last refresh ended, or that it is under way; none of sources that are not refreshed one by one.
    pub refresh: Option<RunState>,
    /// How far the refresh is that is under way.
    pub refresh_progress: Option<RefreshProgress>,
    /// What all pulls counted and the last one warned of.
    pub notes: Notes,
}

/// What all pulls counted, and what the last one that succeeded warned of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Points that came again with another value; the first one stays.
    pub changed_later: u64,
    /// Points that are no usage.
    pub rejected: u64,
    /// Values that are no numbers.
    pub skipped_values: u64,
    /// Of the last pull.
    pub warnings: Vec<String>,
}

/// The catalog's `cursor_json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// When the last hour ends that was read, in microseconds since 1970.
    through: Option<i64>,
    #[serde(flatten)]
    notes: Notes,
}

fn cursor_of(row: &SourceRow) -> Cursor {
    // A text that is no cursor means a pull from the beginning, which is safe.
    row.cursor_json.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns the row of a source that is read for the first time, or the one it has, with the pull begun.
pub(super) fn begun(source: &Source, row: Option<SourceRow>, now: Instant) -> SourceRow {
    let new = || SourceRow { name: source.name.clone(), ..SourceRow::default() };
    SourceRow { kind: source.kind().to_owned(), last_started_at: Some(now.micros()), ..row.unwrap_or_else(new) }
}

/// Returns when the last hour ends that was read.
pub(super) fn through_of(row: &SourceRow) -> Option<Instant> {
    cursor_of(row).through.map(Instant::from_micros)
}

/// Notes that hours were read and their points taken. Hours that were read again do not lead back.
pub(super) fn advance(row: &mut SourceRow, end: Instant, report: &RefreshReport, before: &RefreshReport) {
    let mut cursor = cursor_of(row);
    cursor.through = cursor.through.max(Some(end.micros()));
    cursor.notes.changed_later += report.taken.changed_later - before.taken.changed_later;
    cursor.notes.rejected += report.taken.rejected - before.taken.rejected;
    cursor.notes.skipped_values += report.skipped_values() - before.skipped_values();
    row.row_count += i64::try_from(report.taken.accepted - before.taken.accepted).unwrap_or(i64::MAX);
    row.cursor_json = Some(serde_json::to_string(&cursor).expect("a cursor is plain JSON"));
}

/// Notes that a pull ended well.
pub(super) fn succeeded(row: &mut SourceRow, report: &RefreshReport, now: Instant) {
    let mut cursor = cursor_of(row);
    cursor.notes.warnings = report.warnings();
    row.cursor_json = Some(serde_json::to_string(&cursor).expect("a cursor is plain JSON"));
    row.last_success_at = Some(now.micros());
    row.last_error = None;
}

/// Notes that a pull failed.
pub(super) fn failed(row: &mut SourceRow, error: &SourceError, now: Instant) {
    row.last_error_at = Some(now.micros());
    row.last_error = Some(error.to_string().chars().take(ERROR_LETTERS_MAX).collect());
}

/// Returns how a source fared, as its row says.
pub(super) fn status_of(source: &Source, row: Option<&SourceRow>, now: Instant) -> SourceStatus {
    let cursor = row.map(cursor_of).unwrap_or_default();
    let at = |field: fn(&SourceRow) -> Option<i64>| row.and_then(field).map(Instant::from_micros);
    let last_success_at = at(|row| row.last_success_at);
    let last_error = row.and_then(|row| row.last_error.clone());
    // Two pulls may fail to come before anybody is told.
    let late = |success: Instant| success.plus_micros(micros(2 * source.every + source.settle)) < now;
    SourceStatus {
        name: source.name.clone(),
        kind: source.kind(),
        state: match last_success_at {
            None => SourceState::Never,
            Some(success) if last_error.is_some() || late(success) => SourceState::Stale,
            Some(_) => SourceState::Ok,
        },
        every_seconds: source.every.as_secs(),
        settle_seconds: source.settle.as_secs(),
        last_started_at: at(|row| row.last_started_at),
        last_success_at,
        last_error_at: at(|row| row.last_error_at),
        last_error,
        rows: row.map_or(0, |row| row.row_count),
        through: cursor.through.map(Instant::from_micros),
        progress: None,
        refresh: None,
        refresh_progress: None,
        notes: cursor.notes,
    }
}

/// Microseconds; what does not fit is longer than any wait.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
