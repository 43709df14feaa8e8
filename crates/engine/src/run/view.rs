//! Runs as callers see them.

use crate::EngineError;
use crate::books::corrupt;
use domain::Day;
use serde::{Deserialize, Serialize};
use storage::catalog::RunRow;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Waiting.
    Queued,
    /// Computing.
    Running,
    /// Done; it may have warnings.
    Succeeded,
    /// Ended without effect.
    Failed,
    /// Ended without effect because somebody asked for it.
    Cancelled,
}

impl RunStatus {
    /// Returns the status's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];
        all.into_iter().find(|status| status.as_str() == word)
    }
}

/// Something that a person should know about a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunWarning {
    /// `fx_missing`, `negative_driver`, `driver_gap`, `widened`, `pending_correction` …
    pub code: String,
    /// The day, if one.
    pub day: Option<Day>,
    /// The pool, if one.
    pub pool: Option<String>,
    /// Names and figures.
    pub detail: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub status: RunStatus,
    /// First day.
    pub from: Day,
    /// Last day.
    pub to: Day,
    /// Only these pools were asked for.
    pub pools: Option<Vec<String>>,
    /// Whether it writes nothing.
    pub dry_run: bool,
    /// What it posted; none when nothing differed.
    pub posting: Option<i64>,
    /// Entries of the posting; of a dry run, those that would be posted.
    pub entries: i64,
    /// What a person should know.
    pub warnings: Vec<RunWarning>,
    /// Pools that could not be run keep their old entries.
    pub not_run: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was asked for, in microseconds since 1970.
    pub created_at: i64,
    /// When it began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RunBody {
    pub(super) not_run: i64,
}

impl RunView {
    /// Returns the run of a catalog row.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the row is not what the engine wrote.
    pub fn of_row(row: &RunRow) -> Result<Self, EngineError> {
        let wrong = |error: &dyn std::fmt::Display| corrupt("a run", error);
        let body: RunBody = serde_json::from_str(&row.body).map_err(|error| wrong(&error))?;
        Ok(Self {
            id: row.id.clone(),
            status: RunStatus::from_word(&row.status).ok_or_else(|| wrong(&row.status))?,
            from: row.from_day.parse().map_err(|error| wrong(&error))?,
            to: row.to_day.parse().map_err(|error| wrong(&error))?,
            pools: row
                .pools
                .as_ref()
                .map(|pools| serde_json::from_str(pools))
                .transpose()
                .map_err(|error| wrong(&error))?,
            dry_run: row.dry_run,
            posting: row.posting,
            entries: row.entries,
            warnings: serde_json::from_str(&row.warnings).map_err(|error| wrong(&error))?,
            not_run: body.not_run,
            error: row.error.clone(),
            requested_by: row.requested_by.clone(),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}
