//! Events as they happen: durable before the answer, counted once, visible at once.
//!
//! An event is prepared by its request ([`Preparer`]), decided and logged by the log's writer, seen in the hot usage,
//! and brought to the lake later, a few large commits at a time ([`EventLog::flush`]).
//!
//! Invariants:
//! * What was answered as accepted is in the log, in the lake, or in both; a reader counts it once, because each
//!   table says by its transaction number which segments of the log it contains.
//! * The claim of an id and the event are one write: there is no moment in which one is durable without the other.
//! * A segment of the log is removed only after both tables and the id index have it.

/// Ids of events that did not pass the log.
mod adopt;
/// Raw events that were kept long enough.
mod expire;
/// From the log to the lake.
mod flush;
/// Usage that is not in the lake yet.
mod hot;
/// What the log's writer decides.
mod machine;
/// From files to a log that takes events.
mod open;
/// From text to all that the writer needs.
mod prepare;
/// An accepted event as the log keeps it.
mod record;

#[cfg(test)]
mod tests;

pub use expire::Expired;
pub use machine::Decision;
pub use open::EventLogOptions;
pub use prepare::{Offered, PreparedEvent, Preparer, Setup};
pub use record::RecordError;

use crate::content::IdSalt;
use crate::error::MeteringError;
use crate::ids::{IdIndex, IdStats};
use crate::wal::{Wal, WalError};
use async_trait::async_trait;
use domain::{Clock, TenantScope};
use hot::Hot;
use machine::{Batch, Machine};
use open::Opening;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use storage::catalog::Catalog;
use storage::lake::{HotRows, HotSnapshot, Lake, LakeError};
use tokio::sync::{Mutex, OnceCell, watch};

/// The shortest time between two flushes by the clock; large commits are what the tables are made for.
const FLUSH_WAIT_MIN: Duration = Duration::from_millis(100);

/// The log of one data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    /// Started by the first event, so that a folder without events has no log.
    wal: OnceCell<Wal<Machine>>,
    opening: Opening,
    ids: Arc<IdIndex>,
    hot: Arc<Hot>,
    salt: IdSalt,
    lake: Lake,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    setup: RwLock<Setup>,
    /// Tenants and meters that the catalog was told of by this process.
    noted: RwLock<HashSet<Arc<str>>>,
    /// `wal-<node>`.
    writer: String,
    /// The newest complete segment.
    ended: watch::Receiver<u64>,
    /// The newest segment that the lake has; held while segments go there.
    flushed: Mutex<u64>,
    /// The version of `usage_events` up to which the index has every id.
    adopted: Mutex<Option<u64>>,
    /// How often this process brought events to the lake.
    flushes: watch::Sender<u64>,
    /// Held for reading by appends, for writing by imports while they claim their ids.
    gate: tokio::sync::RwLock<()>,
}

/// Sizes of a log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStats {
    /// Events acknowledged and not in the lake yet.
    pub hot_events: u64,
    /// The id index.
    pub ids: IdStats,
}

impl EventLog {
    /// Returns what prepares the events of one caller, at this moment.
    #[must_use]
    pub fn preparer(&self, scope: TenantScope) -> Preparer {
        let setup = self.inner.setup.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (salt, ids) = (self.inner.salt.clone(), Arc::clone(&self.inner.ids));
        Preparer { setup, salt, ids, scope, now: self.inner.clock.now() }
    }

    /// Replaces rules, meters and tenants for the events that come from now on.
    pub fn set_up(&self, setup: Setup) {
        *self.inner.setup.write().unwrap_or_else(PoisonError::into_inner) = setup;
    }

    /// Returns what became of the events, in their order, once the accepted ones are on stable storage and visible.
    ///
    /// With `atomic`, one conflict refuses all of them.
    ///
    /// # Errors
    /// [`MeteringError::Log`] if the log takes nothing: the disk is full, or a sync failed;
    /// [`MeteringError::Ids`] if the ids cannot be read.
    pub async fn append(&self, events: Vec<PreparedEvent>, atomic: bool) -> Result<Vec<Decision>, MeteringError> {
        let newcomers = self.newcomers(&events);
        let _open = self.inner.gate.read().await;
        let batch = Batch { events, atomic };
        let decisions = self.wal().await?.append(batch).await??;
        self.note(newcomers.filter(&decisions)).await?;
        Ok(decisions)
    }

    /// Returns when the log has stopped for good: the process should end.
    pub async fn failed(&self) -> WalError {
        match self.inner.wal.get() {
            Some(wal) => wal.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Brings events to the lake whenever a segment is complete or the oldest has waited this long; never returns.
    pub async fn keep_flushing(&self, wait_max: Duration) {
        if let Err(error) = self.tidy_ids().await {
            tracing::error!(?error, "the index of ids could not be tidied up; look-ups are exact and slower");
        }
        let mut ended = self.inner.ended.clone();
        let mut ticks = tokio::time::interval(wait_max.max(FLUSH_WAIT_MIN));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let flushed = tokio::select! {
                changed = ended.changed() => match changed {
                    Ok(()) => self.flush_ended().await,
                    Err(_) => return,
                },
                _ = ticks.tick() => self.flush_all().await,
            };
            if let Err(error) = flushed {
                tracing::error!(?error, "acknowledged events could not be brought to the lake; they stay in the log");
            }
        }
    }

    /// Brings all acknowledged events to the lake.
    ///
    /// # Errors
    /// If the log or the lake fails; nothing is lost.
    pub async fn flush_all(&self) -> Result<(), MeteringError> {
        if let Some(wal) = self.inner.wal.get() {
            wal.rotate().await?;
        }
        self.flush_ended().await
    }

    /// Returns when everything is on stable storage and the log takes nothing more.
    ///
    /// # Errors
    /// If not everything could be brought there.
    pub async fn close(&self) -> Result<(), MeteringError> {
        match self.inner.wal.get() {
            Some(wal) => Ok(wal.close().await?),
            None => Ok(()),
        }
    }

    /// Returns the sizes at this moment.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        LogStats { hot_events: self.inner.hot.events(), ids: self.inner.ids.stats() }
    }

    /// Returns a counter that grows whenever events have come to the lake.
    #[must_use]
    pub fn flushes(&self) -> watch::Receiver<u64> {
        self.inner.flushes.subscribe()
    }

    async fn wal(&self) -> Result<&Wal<Machine>, MeteringError> {
        self.inner.wal.get_or_try_init(|| self.inner.opening.start()).await
    }

    fn newcomers(&self, events: &[PreparedEvent]) -> Newcomers {
        let noted = self.inner.noted.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for (at, event) in events.iter().enumerate() {
            if event.is_new_tenant && !noted.contains(&event.placed.tenant) {
                found.push((at, Newcomer::Tenant(Arc::clone(&event.placed.tenant))));
            }
            for value in event.values.iter().filter(|value| !noted.contains(&meter_note(&value.meter.name))) {
                found.push((at, Newcomer::Meter(Arc::clone(&value.meter.name))));
            }
        }
        Newcomers(found)
    }

    /// Tells the catalog of new tenants and of meters that have usage now.
    async fn note(&self, newcomers: HashSet<Newcomer>) -> Result<(), MeteringError> {
        if newcomers.is_empty() {
            return Ok(());
        }
        let at = self.inner.clock.now().micros();
        let tenants: Vec<String> = newcomers.iter().filter_map(Newcomer::tenant).collect();
        self.inner.catalog.ensure_tenants(&tenants, at).await?;
        for meter in newcomers.iter().filter_map(Newcomer::meter) {
            self.inner.catalog.mark_meter_used(meter, at).await?;
        }
        let mut noted = self.inner.noted.write().unwrap_or_else(PoisonError::into_inner);
        noted.extend(newcomers.into_iter().map(|newcomer| match newcomer {
            Newcomer::Tenant(tenant) => tenant,
            Newcomer::Meter(meter) => meter_note(&meter),
        }));
        Ok(())
    }
}

/// Meters are noted apart from tenants: no tenant id begins with two underscores.
fn meter_note(name: &str) -> Arc<str> {
    format!("__meter__{name}").into()
}

/// Something that the catalog may not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Newcomer {
    Tenant(Arc<str>),
    Meter(Arc<str>),
}

impl Newcomer {
    fn tenant(&self) -> Option<String> {
        match self {
            Self::Tenant(tenant) => Some(tenant.to_string()),
            Self::Meter(_) => None,
        }
    }

    fn meter(&self) -> Option<&str> {
        match self {
            Self::Meter(meter) => Some(meter),
            Self::Tenant(_) => None,
        }
    }
}

/// Newcomers by the position of the event that brings them.
struct Newcomers(Vec<(usize, Newcomer)>);

impl Newcomers {
    /// Returns those of accepted events.
    fn filter(self, decisions: &[Decision]) -> HashSet<Newcomer> {
        let accepted = |(at, _): &(usize, Newcomer)| decisions[*at] == Decision::Accepted;
        self.0.into_iter().filter(accepted).map(|(_, newcomer)| newcomer).collect()
    }
}

#[async_trait]
impl HotRows for EventLog {
    fn txn_writer(&self) -> &str {
        &self.inner.writer
    }

    async fn flush(&self) -> Result<(), LakeError> {
        self.flush_all().await.map_err(|error| LakeError::Hot(Box::new(error)))
    }

    fn snapshot(&self) -> Result<Arc<dyn HotSnapshot>, LakeError> {
        let snapshot = self.inner.hot.snapshot().map_err(|error| LakeError::Hot(Box::new(error)))?;
        Ok(Arc::new(snapshot))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventLog").field("writer", &self.writer).field("wal", &self.wal.get()).finish_non_exhaustive()
    }
}
