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
/// What the log holds when it is opened.
mod recover;
/// The moment at which other meters apply.
mod switch;
/// What a retraction does to usage.
mod take_back;
/// Events that were taken back before they came.
mod waiting;

#[cfg(test)]
mod tests;

pub use expire::Expired;
pub use machine::Decision;
pub use open::EventLogOptions;
pub use prepare::{Offered, PreparedEvent, Preparer, Setup};
pub use record::RecordError;
pub use switch::SetUp;
pub(crate) use waiting::Waiting;

use crate::content::IdSalt;
use crate::error::MeteringError;
use crate::ids::{IdIndex, IdStats};
use crate::wal::{Wal, WalError};
use ahash::RandomState;
use async_trait::async_trait;
use domain::{Clock, Instant, TenantScope};
use hot::Hot;
use machine::{Batch, Machine};
use open::Opening;
use prepare::{Pages, Recents};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use storage::catalog::Catalog;
use storage::lake::{HotRows, HotSnapshot, Lake, LakeError};
use switch::Stamps;
use tokio::sync::{Mutex, MutexGuard, OnceCell, watch};

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
    /// How the start of the log went; a failed sync is never tried again in this process.
    start: watch::Sender<Option<Result<(), WalError>>>,
    opening: Opening,
    ids: Arc<IdIndex>,
    hot: Arc<Hot>,
    waiting: Arc<Waiting>,
    salt: IdSalt,
    lake: Lake,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    setup: RwLock<Setup>,
    stamps: Stamps,
    recents: Arc<Recents>,
    /// Held while rules, meters and tenants are replaced.
    set_up_turn: Mutex<()>,
    /// Held while stored events are metered.
    backfill_turn: Mutex<()>,
    /// Tenants and meters that the catalog was told of by this process.
    noted: RwLock<Noted>,
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
        let (setup, now) = self.in_force();
        self.preparer_with(setup, scope, now)
    }

    pub(crate) fn preparer_with(&self, setup: Setup, scope: TenantScope, now: Instant) -> Preparer {
        let (ids, recents) = (Arc::clone(&self.inner.ids), Arc::clone(&self.inner.recents));
        let recent = recents.take(&setup.tenants);
        Preparer { setup, salt: self.inner.salt, ids, scope, now, recent, recents, pages: Pages::default() }
    }

    /// Events that were taken back and have not come.
    pub(crate) fn waiting(&self) -> &Arc<Waiting> {
        &self.inner.waiting
    }

    /// Returns the name under which this log's events are in the tables: `wal-` and the random name of its folder.
    #[must_use]
    pub fn writer(&self) -> &str {
        &self.inner.writer
    }

    /// Returns when no other backfill runs.
    pub(crate) async fn backfill_turn(&self) -> MutexGuard<'_, ()> {
        self.inner.backfill_turn.lock().await
    }

    /// Refuses events that were received before the meters in force applied. Call it while nothing can be set up: in an
    /// append or between [`EventLog::pause`] and its end.
    pub(crate) fn check_received(&self, received_at: Instant) -> Result<(), MeteringError> {
        self.inner.stamps.check(received_at)
    }

    /// Returns what became of the events, in their order, once the accepted ones are on stable storage and visible.
    ///
    /// With `atomic`, one conflict refuses all of them. If one of them is a retraction, the usage is without what it
    /// takes back when this returns.
    ///
    /// # Errors
    /// [`MeteringError::MetersChanged`] if other meters apply since the events were prepared: prepare them again;
    /// [`MeteringError::Log`] if the log takes nothing: the disk is full, or a sync failed;
    /// [`MeteringError::Ids`] if the ids cannot be read; what [`EventLog::flush_all`] returns, if a retraction is stored
    /// and the usage could not be changed yet: the next flush does it.
    pub async fn append(&self, events: Vec<PreparedEvent>, atomic: bool) -> Result<Vec<Decision>, MeteringError> {
        let newcomers = self.newcomers(&events);
        let takes_back = events.iter().any(|event| event.retracts.is_some());
        let open = self.inner.gate.read().await;
        if let Some(oldest) = events.iter().map(|event| event.received_at).min() {
            self.check_received(oldest)?;
        }
        let batch = Batch { events, atomic };
        let decisions = self.wal().await?.append(batch).await??;
        let newcomers = newcomers.filter(&decisions);
        if !newcomers.is_empty() {
            // Apart, because every append would carry along the room that few need.
            Box::pin(self.note_or_owe(newcomers)).await;
        }
        drop(open);
        if takes_back {
            self.flush_all().await?;
        }
        Ok(decisions)
    }

    /// Returns when the log has stopped for good: the process should end.
    pub async fn failed(&self) -> WalError {
        // The first event, which starts the log, may come long after somebody began to wait here.
        let mut start = self.inner.start.subscribe();
        let started = start.wait_for(Option::is_some).await.ok().and_then(|started| started.clone());
        match started {
            Some(Err(error)) => error,
            _ => self.inner.wal.get().expect("who says that it started has stored it").failed().await,
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
        let wal = self.inner.wal.get_or_try_init(|| self.start()).await?;
        if self.inner.start.borrow().is_none() {
            self.inner.start.send_replace(Some(Ok(())));
        }
        Ok(wal)
    }

    async fn start(&self) -> Result<Wal<Machine>, MeteringError> {
        if let Some(Err(error)) = &*self.inner.start.borrow() {
            return Err(error.clone().into());
        }
        let started = self.inner.opening.start().await;
        if let Err(MeteringError::Log(error @ WalError::SyncFailed { .. })) = &started {
            self.inner.start.send_replace(Some(Err(error.clone())));
        }
        started
    }

    fn newcomers(&self, events: &[PreparedEvent]) -> Newcomers {
        let noted = self.inner.noted.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        let mut known: Option<&Arc<[Arc<str>]>> = None;
        for (at, event) in events.iter().enumerate() {
            if event.is_new_tenant && !noted.tenants.contains(&event.tenant) {
                found.push((at, Newcomer::Tenant(Arc::clone(&event.tenant))));
            }
            // Neighbours share the names of their meters.
            if known.is_some_and(|known| Arc::ptr_eq(known, &event.meters)) {
                continue;
            }
            let before = found.len();
            for meter in event.meters.iter().filter(|meter| !noted.meters.contains(*meter)) {
                found.push((at, Newcomer::Meter(Arc::clone(meter))));
            }
            known = (found.len() == before).then_some(&event.meters);
        }
        Newcomers(found)
    }

    /// Tells the catalog what it could not be told when the events were stored.
    ///
    /// # Errors
    /// If the catalog fails again.
    pub async fn tell_owed(&self) -> Result<(), MeteringError> {
        let owed = self.inner.noted.read().unwrap_or_else(PoisonError::into_inner).owed.clone();
        self.note(&owed).await
    }

    /// The events are durable and answered as such, also when the catalog has no room: the next event, the next change of
    /// a meter or the next flush tells it.
    async fn note_or_owe(&self, newcomers: HashSet<Newcomer>) {
        if let Err(error) = self.note(&newcomers).await {
            tracing::warn!(
                ?error,
                "the catalog could not be told of new tenants or used meters; it will be told later"
            );
            self.inner.noted.write().unwrap_or_else(PoisonError::into_inner).owed.extend(newcomers);
        }
    }

    /// Tells the catalog of new tenants and of meters that have usage now.
    async fn note(&self, newcomers: &HashSet<Newcomer>) -> Result<(), MeteringError> {
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
        for newcomer in newcomers {
            noted.owed.remove(newcomer);
            match newcomer {
                Newcomer::Tenant(tenant) => noted.tenants.insert(Arc::clone(tenant)),
                Newcomer::Meter(meter) => noted.meters.insert(Arc::clone(meter)),
            };
        }
        Ok(())
    }
}

/// What the catalog was told by this process.
#[derive(Debug, Default)]
struct Noted {
    tenants: HashSet<Arc<str>, RandomState>,
    meters: HashSet<Arc<str>, RandomState>,
    /// What it has to be told yet.
    owed: HashSet<Newcomer>,
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
