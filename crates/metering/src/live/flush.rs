//! From the log to the lake: complete segments become rows of `usage_events` and `usage`, one commit each.
//!
//! Each commit carries the last segment as its transaction number, so that it happens once however often it is tried,
//! and readers know which segments a table contains. The two commits may be apart when the process dies; each table is
//! completed by itself.

use super::record::{self, Fate, RecordError};
use super::take_back::Retraction;
use super::{EventLog, Inner};
use crate::error::MeteringError;
use crate::event::Retracted;
use crate::rows::{BATCH_ROWS, EventColumns, usage_batch};
use ahash::RandomState;
use arrow::array::RecordBatch;
use domain::{Day, Instant};
use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use storage::failpoint;
use storage::lake::{Commit, LakeError, NewFile, Table};
use tokio::sync::mpsc;

/// Batches on their way between the two sides.
const BATCHES_WAITING_MAX: usize = 4;
/// How often a commit is tried again because somebody else committed first.
const COMMITS_TRIED_MAX: u32 = 100;

/// What segments hold, beside their rows.
#[derive(Debug, Default)]
struct Found {
    days: BTreeSet<Day>,
    tenants: HashSet<String, RandomState>,
    meters: HashSet<String, RandomState>,
    retractions: Vec<Retraction>,
}

enum Rows {
    Events(RecordBatch),
    Usage(RecordBatch),
}

impl EventLog {
    /// Brings all complete segments to the lake, then lets go of them.
    ///
    /// In a task of its own, because whoever waits may go away: segments would be removed, and nobody would know.
    pub(super) async fn flush_ended(&self) -> Result<(), MeteringError> {
        let log = self.clone();
        tokio::spawn(async move { log.flush_uncancelled().await }).await?
    }

    async fn flush_uncancelled(&self) -> Result<(), MeteringError> {
        let inner = &self.inner;
        let mut flushed = inner.flushed.lock().await;
        let last = *inner.ended.borrow();
        if last <= *flushed {
            return Ok(());
        }
        self.write_tables(*flushed + 1..=last).await?;
        self.keep_ids(last).await?;
        // First this: a segment that is gone must not be looked for again when the rest fails.
        *flushed = last;
        let left = self.let_go(last).await;
        inner.flushes.send_modify(|flushes| *flushes += 1);
        left
    }

    async fn write_tables(&self, segments: RangeInclusive<u64>) -> Result<(), MeteringError> {
        let lake = &self.inner.lake;
        let in_events = lake.pin_table(Table::UsageEvents).await?.txn(&self.inner.writer);
        let in_usage = lake.pin_table(Table::Usage).await?.txn(&self.inner.writer);
        let (sender, mut receiver) = mpsc::channel(BATCHES_WAITING_MAX);
        let reading = Reading {
            inner: Arc::clone(&self.inner),
            sender,
            in_events: segment_of(in_events),
            in_usage: segment_of(in_usage),
            events: EventColumns::default(),
            found: Found::default(),
        };
        let last = *segments.end();
        let reading = tokio::task::spawn_blocking(move || reading.run(segments));
        let mut events = lake.partitioned(Table::UsageEvents);
        let mut usage = lake.partitioned(Table::Usage);
        while let Some(rows) = receiver.recv().await {
            match rows {
                Rows::Events(batch) => events.write(&batch).await?,
                Rows::Usage(batch) => usage.write(&batch).await?,
            }
        }
        let found = reading.await??;
        let (events, usage) = (events.finish().await?, usage.finish().await?);
        // Tenants and meters first: whoever sees usage finds them.
        let at = self.inner.clock.now();
        let mut tenants: Vec<String> = found.tenants.iter().cloned().collect();
        tenants.sort_unstable();
        self.inner.catalog.ensure_tenants(&tenants, at.micros()).await?;
        for meter in &found.meters {
            self.inner.catalog.mark_meter_used(meter, at.micros()).await?;
        }
        self.commit(Table::UsageEvents, last, events, &found).await?;
        self.commit(Table::Usage, last, usage, &found).await?;
        self.take_back(&found.retractions).await
    }

    /// Commits the files, unless the table has the segment.
    async fn commit(&self, table: Table, last: u64, files: Vec<NewFile>, found: &Found) -> Result<(), MeteringError> {
        let lake = &self.inner.lake;
        let segment = i64::try_from(last).expect("segments are counted from 1");
        for _ in 1..COMMITS_TRIED_MAX {
            let pinned = lake.pin_table(table).await?;
            let mut commit = Commit::new(self.inner.clock.now(), "flush");
            commit.txn = Some((self.inner.writer.clone(), segment));
            commit.adds.clone_from(&files);
            commit.metadata = serde_json::json!({
                "kind": "flush", "writer": self.inner.writer, "segment": last, "touched_days": found.days,
            });
            match lake.commit(&pinned, commit).await {
                Ok(_) | Err(LakeError::TxnReplayed { .. }) => return Ok(()),
                Err(LakeError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LakeError::Conflict { table, version: lake.pin_table(table).await?.version() + 1 }.into())
    }

    /// Makes the ids durable on their own.
    async fn keep_ids(&self, last: u64) -> Result<(), MeteringError> {
        failpoint::hit("flush-committed");
        let ids = Arc::clone(&self.inner.ids);
        tokio::task::spawn_blocking(move || ids.persist(last)).await??;
        failpoint::hit("ids-persisted");
        Ok(())
    }

    /// Removes the segments and the hot usage; what could not be removed goes with the next ones.
    async fn let_go(&self, last: u64) -> Result<(), MeteringError> {
        let inner = Arc::clone(&self.inner);
        let done = move || {
            inner.hot.drop_through(last);
            if let Some(wal) = inner.wal.get() {
                wal.remove_through(last)?;
            }
            failpoint::hit("log-truncated");
            while inner.ids.merge_step()? {}
            Ok(())
        };
        tokio::task::spawn_blocking(done).await?
    }
}

fn segment_of(txn: Option<i64>) -> u64 {
    txn.map_or(0, |segment| u64::try_from(segment).expect("segments are counted from 1"))
}

/// The side that reads the log.
struct Reading {
    inner: Arc<Inner>,
    sender: mpsc::Sender<Rows>,
    in_events: u64,
    in_usage: u64,
    events: EventColumns,
    found: Found,
}

impl Reading {
    fn run(mut self, segments: RangeInclusive<u64>) -> Result<Found, MeteringError> {
        let inner = Arc::clone(&self.inner);
        let wal = inner.wal.get().expect("a complete segment has a log");
        for segment in segments.clone() {
            let mut reader = wal.read_segment(segment)?;
            while let Some(frame) = reader.next_frame()? {
                for bytes in frame.records() {
                    self.take(segment, bytes)?;
                }
            }
        }
        self.send_events()?;
        self.send_usage(segments)?;
        Ok(self.found)
    }

    fn take(&mut self, segment: u64, bytes: &[u8]) -> Result<(), MeteringError> {
        let (record, verdict) = record::decode(bytes)?;
        let tenant = record.tenant.text().map_err(RecordError::from)?;
        insert(&mut self.found.tenants, tenant);
        let retracted = record.retracted().map_err(RecordError::from)?;
        if let Some(Retracted { source, id }) = retracted.filter(|_| verdict.fate != Fate::Repeats) {
            let retracted = Retracted { source: source.into_owned().into(), id: id.into_owned().into() };
            let (tenant, came_before) = (tenant.into(), verdict.fate == Fate::Retracts);
            self.found.retractions.push(Retraction { tenant, retracted, came_before });
        }
        if self.in_events < segment {
            let placed = record.placed().map_err(RecordError::from)?;
            self.events.push(&placed, Instant::from_micros(record.received_at))?;
        }
        if self.events.is_full() {
            self.send_events()?;
        }
        Ok(())
    }

    fn send_events(&mut self) -> Result<(), MeteringError> {
        for batch in self.events.drain_sorted()? {
            self.send(Rows::Events(batch));
        }
        Ok(())
    }

    /// Sends the usage as it was seen since the events came: it is not summed up again. Rows of one key add up.
    fn send_usage(&mut self, segments: RangeInclusive<u64>) -> Result<(), MeteringError> {
        let (first, last) = (*segments.start().max(&(self.in_usage + 1)), *segments.end());
        let rollups = if first <= last { self.inner.hot.complete(first..=last) } else { Vec::new() };
        for rollup in rollups {
            let rows = rollup.sorted();
            for (key, _) in &rows {
                self.found.days.insert(key.day);
                insert(&mut self.found.meters, &key.meter);
            }
            for rows in rows.chunks(BATCH_ROWS) {
                self.send(Rows::Usage(usage_batch(rows)?));
            }
        }
        Ok(())
    }

    fn send(&self, rows: Rows) {
        // If the writing side is gone it has failed and says so itself.
        drop(self.sender.blocking_send(rows));
    }
}

/// Adds a text to a set without making a new one if it is there.
fn insert(into: &mut HashSet<String, RandomState>, text: &str) {
    if !into.contains(text) {
        into.insert(text.to_owned());
    }
}

impl From<RecordError> for MeteringError {
    fn from(error: RecordError) -> Self {
        Self::Damaged { what: "the log of events".to_owned(), problem: error.to_string() }
    }
}
