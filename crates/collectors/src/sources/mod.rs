//! Sources of usage: each is read on request, from where it ended last time, and says how it fared.
//!
//! Invariants:
//! * An hour may be read any number of times; each point has an identity of its own, so it counts once.
//! * Where a source goes on is noted after its points were taken, never before.
//! * A pull that fails changes nothing but the status; what was taken before stays. One that is cancelled says nothing of
//!   the source.

/// What can go wrong.
mod error;
/// Reads one source: which hours, in which pieces.
mod refresh;
/// Where points of usage go.
mod sink;
/// How each source fared, as the catalog keeps it.
mod status;
#[cfg(test)]
mod tests;

pub use error::{SinkError, SourceError};
pub use refresh::{Asked, QueryReport, RefreshReport};
pub use sink::{Rejection, Taken, UsagePoint, UsageSink};
pub(crate) use status::{ERROR_LETTERS_MAX, micros};
pub use status::{Notes, SourceState, SourceStatus};

use crate::cancel::Cancel;
use crate::prometheus::PrometheusSource;
use crate::providers::{CollectorFigures, Figures};
use crate::under_way::{Told, UnderWay, last_of};
use domain::{Clock, Instant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use storage::catalog::Catalog;
use tokio::sync::Mutex;

/// One source, as it is configured.
#[derive(Clone, Debug)]
pub struct Source {
    /// Unique name.
    pub name: String,
    /// How often it is read.
    pub every: Duration,
    /// How long an hour rests after its end before it is read.
    pub settle: Duration,
    /// How many hours the first pull reaches back.
    pub backfill_hours: i64,
    /// How many hours one request asks for at most.
    pub chunk_hours: i64,
    /// What is asked.
    pub prometheus: PrometheusSource,
}

impl Source {
    /// Returns what it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        "prometheus"
    }
}

/// All sources of a store. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    entries: Arc<[Entry]>,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn UsageSink>,
    figures: Arc<Figures>,
}

struct Entry {
    source: Source,
    /// Held while it is read: two at once would only do the same work twice.
    turn: Mutex<()>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.entries.iter().map(|entry| &entry.source.name)).finish()
    }
}

impl Sources {
    /// Returns the sources, none of them read yet.
    #[must_use]
    pub fn new(sources: Vec<Source>, catalog: Catalog, clock: Arc<dyn Clock>, sink: Arc<dyn UsageSink>) -> Self {
        let figures = Arc::new(Figures::of(sources.iter().map(|source| source.name.clone())));
        let entries = sources.into_iter().map(|source| Entry { source, turn: Mutex::new(()) }).collect();
        Self { entries, catalog, clock, sink, figures }
    }

    /// Returns how every source fared, in the order of the configuration.
    ///
    /// # Errors
    /// If the catalog fails.
    pub async fn list(&self) -> Result<Vec<SourceStatus>, SourceError> {
        let now = self.clock.now();
        let mut statuses = Vec::with_capacity(self.entries.len());
        for entry in &*self.entries {
            statuses.push(self.status_of(&entry.source, now).await?);
        }
        Ok(statuses)
    }

    async fn status_of(&self, source: &Source, now: Instant) -> Result<SourceStatus, SourceError> {
        let row = self.catalog.source(&source.name).await?;
        let (refresh, refresh_progress) = last_of(&self.catalog, &source.name).await?;
        Ok(SourceStatus { refresh, refresh_progress, ..status::status_of(source, row.as_ref(), now) })
    }

    /// Asks for every refresh of a source that is under way to end, in whichever process, and returns how the source fared
    /// so far, and whether any is under way. Hours that were taken by then stay.
    ///
    /// # Errors
    /// [`SourceError::NotFound`], or the catalog fails.
    pub async fn cancel(&self, name: &str, requested_by: &str) -> Result<(SourceStatus, bool), SourceError> {
        let entry = self.entry(name)?;
        let now = self.clock.now();
        let is_under_way = self.catalog.cancel_refreshes(name, requested_by, now.micros()).await?;
        Ok((self.status_of(&entry.source, now).await?, is_under_way))
    }

    fn entry(&self, name: &str) -> Result<&Entry, SourceError> {
        let entry = self.entries.iter().find(|entry| entry.source.name == name);
        entry.ok_or_else(|| SourceError::NotFound(name.to_owned()))
    }

    /// Returns whether a source of this name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.source.name == name)
    }

    /// Reads a source up to the last hour that rests long enough, and returns what became of it.
    ///
    /// # Errors
    /// [`SourceError`]; then the status of the source says the same, and the next refresh begins where this one did. One that
    /// was cancelled leaves the status as it was.
    pub async fn refresh(&self, name: &str, asked: &Asked) -> Result<RefreshReport, SourceError> {
        let (report, done) = self.refresh_as_far(name, asked).await;
        done.map(|()| report)
    }

    /// As [`Self::refresh`], but the report also says what was taken when the refresh fails or is cancelled.
    pub async fn refresh_as_far(&self, name: &str, asked: &Asked) -> (RefreshReport, Result<(), SourceError>) {
        let mut report = RefreshReport { name: name.to_owned(), dry_run: asked.dry_run, ..RefreshReport::default() };
        let done = self.refresh_into(asked, &mut report).await;
        (report, done)
    }

    async fn refresh_into(&self, asked: &Asked, report: &mut RefreshReport) -> Result<(), SourceError> {
        let entry = self.entry(&report.name)?;
        if asked.dry_run {
            // It stores nothing, so nobody has to know of it.
            return self.in_turn(entry, asked, (&Cancel::default(), &Told::NOBODY), report).await;
        }
        let under_way = UnderWay::begin(&self.catalog, &*self.clock, &entry.source.name).await?;
        let how = (under_way.cancel(), &under_way.told());
        under_way.carry_out(self.in_turn(entry, asked, how, report), SourceError::is_cancelled).await
    }

    async fn in_turn(
        &self,
        entry: &Entry,
        asked: &Asked,
        (cancel, told): (&Cancel, &Told<'_>),
        report: &mut RefreshReport,
    ) -> Result<(), SourceError> {
        let name = &entry.source.name;
        let turn = cancel.unless(entry.turn.lock()).await;
        let _turn = turn.ok_or_else(|| SourceError::cancelled(name, cancel))?;
        let begun = self.clock.now();
        let done = refresh::refresh(self, &entry.source, asked, (cancel, told), report).await;
        let cause = done.as_ref().err().map(SourceError::cause);
        // What was asked for wrongly is no reading, and neither is a dry run.
        if !asked.dry_run && cause != Some(None) {
            self.figures.took(name, self.clock.now().micros() - begun.micros());
            if let Some(cause) = cause.flatten() {
                self.figures.failed(name, cause);
            }
        }
        done
    }

    /// Returns what the exporter shows of each source, by its name. Successes stand in [`Sources::list`].
    #[must_use]
    pub fn figures(&self) -> BTreeMap<String, CollectorFigures> {
        self.figures.now()
    }
}
