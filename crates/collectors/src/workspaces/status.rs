use super::error::WorkspacesError;
use super::runs::{RunFound, SnapshotRun};
use super::source::PostgresSource;
use super::{KIND, Workspaces};
use crate::snapshots::senders::{EVERY_SECONDS, state_of};
use crate::sources::{Notes, SourceStatus};
use domain::{Day, Instant};
use serde::{Deserialize, Serialize};
use storage::catalog::{CatalogError, SourceRow};

/// Longest error that is kept.
const ERROR_LETTERS_MAX: usize = 500;

/// The catalog's `cursor_json`: what the last run found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct LastRun {
    date: Option<String>,
    warnings: Vec<String>,
    failed: u64,
}

/// Notes how a run over a source ended.
pub(super) async fn ended(
    workspaces: &Workspaces,
    source: &PostgresSource,
    run: &SnapshotRun,
    found: &RunFound,
    error: Option<&str>,
) -> Result<(), CatalogError> {
    let now = workspaces.clock.now().micros();
    let before = workspaces.catalog.source(&source.name).await?;
    let mut row = before.unwrap_or_else(|| SourceRow { name: source.name.clone(), ..SourceRow::default() });
    row.kind = KIND.to_owned();
    row.last_started_at = Some(run.created_at);
    row.row_count += i64::try_from(found.tenants).unwrap_or(i64::MAX);
    row.last_error = error.map(|error| error.chars().take(ERROR_LETTERS_MAX).collect());
    match error {
        Some(_) => row.last_error_at = Some(now),
        None => row.last_success_at = Some(now),
    }
    let mut warnings = found.warnings.clone();
    if found.failed_total > 0 {
        warnings.push(format!("{} workspaces were not measured on {}", found.failed_total, run.date));
    }
    let last = LastRun { date: Some(run.date.to_string()), warnings, failed: found.failed_total as u64 };
    row.cursor_json = Some(serde_json::to_string(&last).expect("the last run is plain JSON"));
    workspaces.catalog.put_source(&row).await
}

impl Workspaces {
    /// Returns how every source fared, in the order of the configuration.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn statuses(&self) -> Result<Vec<SourceStatus>, WorkspacesError> {
        let now = self.clock.now();
        let mut statuses = Vec::with_capacity(self.sources.len());
        for source in &*self.sources {
            let row = self.catalog.source(&source.name).await?;
            statuses.push(status_of(source, row.as_ref(), now, |day| self.zone.start_of(day)));
        }
        Ok(statuses)
    }
}

fn status_of(
    source: &PostgresSource,
    row: Option<&SourceRow>,
    now: Instant,
    start_of: impl Fn(Day) -> Instant,
) -> SourceStatus {
    let at = |field: fn(&SourceRow) -> Option<i64>| row.and_then(field).map(Instant::from_micros);
    let last: LastRun = row
        .and_then(|row| row.cursor_json.as_deref())
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let last_success_at = at(|row| row.last_success_at);
    let last_error = row.and_then(|row| row.last_error.clone());
    SourceStatus {
        name: source.name.clone(),
        kind: KIND,
        state: state_of(last_success_at, last_error.is_some(), now),
        every_seconds: EVERY_SECONDS,
        settle_seconds: 0,
        last_started_at: at(|row| row.last_started_at),
        last_success_at,
        last_error_at: at(|row| row.last_error_at),
        last_error,
        rows: row.map_or(0, |row| row.row_count),
        through: last.date.and_then(|date| date.parse().ok()).map(start_of),
        progress: None,
        refresh: None,
        refresh_progress: None,
        notes: Notes { rejected: last.failed, warnings: last.warnings, ..Notes::default() },
    }
}
