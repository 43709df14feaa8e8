//! A refresh under way: others see it, how far it is, and may ask for its end.

use super::{ERROR_LETTERS_MAX, SourceError, micros};
use crate::cancel::{Cancel, asked_by};
use crate::workspaces::RunState;
use domain::{Clock, Instant};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::catalog::{Catalog, CatalogError, LEASE_HELD, LEASE_TOLD_EVERY, RefreshRow};

static NAMED: AtomicU64 = AtomicU64::new(0);

/// What the progress of a refresh counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressUnit {
    /// Hours of metrics.
    Hour,
    /// Days of billing periods.
    Day,
    /// Files of whole billing periods.
    BillingPeriod,
}

impl ProgressUnit {
    /// Returns the unit's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::BillingPeriod => "billing_period",
        }
    }
}

/// How far a refresh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshProgress {
    /// When it began.
    pub begun_at: Instant,
    /// What is read, and what will be.
    pub counted: Counted,
}

/// What is counted of a refresh, as the catalog keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What is read.
    pub done: u64,
    /// What will be, as far as that is known.
    pub total: u64,
    /// What is counted.
    pub unit: ProgressUnit,
}

/// Told how far a refresh is.
pub(crate) struct Told<'a>(Option<(&'a Catalog, &'a str)>);

impl Told<'_> {
    /// Nobody is told.
    pub const NOBODY: Self = Self(None);

    /// Notes how far it is, for whoever asks in whichever process.
    pub async fn reached(&self, done: u64, total: u64, unit: ProgressUnit) {
        let Some((catalog, id)) = self.0 else { return };
        let text = serde_json::to_string(&Counted { done, total, unit }).expect("counts are plain JSON");
        if let Err(error) = catalog.note_refresh(id, &text).await {
            tracing::warn!(refresh.id = id, ?error, "how far refresh {id} is cannot be noted");
        }
    }
}

/// A refresh that this process carries out.
pub(crate) struct UnderWay<'a> {
    catalog: &'a Catalog,
    clock: &'a dyn Clock,
    row: RefreshRow,
    cancel: Cancel,
}

impl<'a> UnderWay<'a> {
    /// Enters a refresh of a source.
    ///
    /// # Errors
    /// If the catalog fails.
    pub async fn begin(catalog: &'a Catalog, clock: &'a dyn Clock, source: &str) -> Result<Self, CatalogError> {
        let now = clock.now().micros();
        let named = NAMED.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{source}|{now}|{named}|{}", std::process::id());
        let row = RefreshRow {
            id: format!("refresh-{}", &hex::encode(Sha256::digest(seed.as_bytes()))[..16]),
            source: source.to_owned(),
            status: RunState::Running.as_str().to_owned(),
            created_at: now,
            finished_at: None,
            error: None,
            progress: String::new(),
        };
        catalog.insert_refresh(&row, micros(LEASE_HELD)).await?;
        Ok(Self { catalog, clock, row, cancel: Cancel::default() })
    }

    /// Returns what tells the work to end.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns what is told how far the work is.
    pub fn told(&self) -> Told<'_> {
        Told(Some((self.catalog, &self.row.id)))
    }

    /// Does the work, says meanwhile that it is under way, and notes how it ended.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn carry_out<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let done = tokio::select! {
            done = work => done,
            never = self.look() => match never {},
        };
        let state = match &done {
            Ok(_) => RunState::Succeeded,
            Err(SourceError::Cancelled { .. }) => RunState::Cancelled,
            Err(_) => RunState::Failed,
        };
        let row = RefreshRow {
            status: state.as_str().to_owned(),
            finished_at: Some(self.clock.now().micros()),
            error: done.as_ref().err().map(|error| error.to_string().chars().take(ERROR_LETTERS_MAX).collect()),
            ..self.row.clone()
        };
        if let Err(error) = self.catalog.end_refresh(&row).await {
            // What was read is stored; it only looks as if it had been interrupted.
            tracing::warn!(refresh.id = row.id, ?error, "how refresh {} ended cannot be noted", row.id);
        }
        done
    }

    async fn look(&self) -> Infallible {
        let told = async { self.cancel.ask(&asked_by(self.catalog, &self.row.id).await) };
        let ((), never) = tokio::join!(told, self.keep_holding());
        never
    }

    async fn keep_holding(&self) -> Infallible {
        let id = self.row.id.as_str();
        loop {
            tokio::time::sleep(LEASE_TOLD_EVERY).await;
            if let Err(error) = self.catalog.hold_refresh(&self.row, micros(LEASE_HELD)).await {
                tracing::warn!(refresh.id = id, ?error, "refresh {id} goes on, but the catalog cannot be told");
            }
        }
    }
}

/// Returns how the last refresh of a source ended, or that it is under way and how far it is, as far as that is known;
/// nothing if there was none.
///
/// # Errors
/// If the catalog fails.
pub(crate) async fn last_of(
    catalog: &Catalog,
    source: &str,
) -> Result<(Option<RunState>, Option<RefreshProgress>), CatalogError> {
    let Some(row) = catalog.last_refresh(source).await? else { return Ok((None, None)) };
    let state = RunState::of_word(&row.status);
    let counted = (state == Some(RunState::Running)).then(|| serde_json::from_str(&row.progress).ok()).flatten();
    let begun_at = Instant::from_micros(row.created_at);
    Ok((state, counted.map(|counted| RefreshProgress { begun_at, counted })))
}
