//! One reading of an event file: decisions on a thread of their own, data files written beside it.

use super::reader::{EventReader, Item};
use super::report::EventImportReport;
use super::{EventImportContext, discard};
use crate::content::IdSalt;
use crate::error::MeteringError;
use crate::event::EVENT_BYTES_MAX;
use crate::ids::{IdContent, IdKey};
use crate::intake::{Intake, Outcome};
use crate::meters::MeterSet;
use crate::refusal::Refusal;
use crate::rows::{BATCH_ROWS, EventColumns, usage_batch};
use crate::rules::{KnownTenants, PlacedEvent};
use arrow::array::RecordBatch;
use domain::{Day, Instant};
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;
use storage::lake::{NewFile, Table};
use tokio::sync::mpsc;

/// Keys of the roll-up kept in memory before they are written; rows of one key add up.
const ROLLUP_KEYS_MAX: usize = 512 * 1024;
/// Batches on their way between the two sides.
const BATCHES_WAITING_MAX: usize = 4;
/// Events between two reports of progress.
const PROGRESS_EVENTS: u64 = 10_000;

/// What one reading found, and the files that it wrote.
pub(super) struct Pass {
    pub report: EventImportReport,
    /// Events of the file.
    pub read: u64,
    /// Keys of all events, refused ones included.
    pub keys: Vec<IdKey>,
    /// Keys and contents of the accepted events, for the id index.
    pub claims: Vec<(IdKey, IdContent)>,
    pub event_files: Vec<NewFile>,
    pub usage_files: Vec<NewFile>,
    /// Names of the meters that got usage.
    pub meters: BTreeSet<String>,
    /// Numbers of the events about which the log's writer decides, in order.
    pub for_log: Vec<u64>,
}

/// Told how many events were read so far; says whether to read on. Must be quick.
pub type Progress = Arc<dyn Fn(u64) -> ControlFlow<()> + Send + Sync>;

/// Reads the kept file once; `stored` is what is known of stored events.
pub(super) async fn run_pass(
    ctx: &EventImportContext,
    sha256: &str,
    tenants: KnownTenants,
    stored: Arc<HashMap<IdKey, IdContent>>,
    progress: &Progress,
) -> Result<Pass, MeteringError> {
    let input = ctx.imports.open_import(sha256).await?;
    let salt = IdSalt::of_lake(ctx.lake.id());
    let log = (salt, Arc::clone(ctx.log.waiting()));
    let intake = Intake::new(Arc::clone(&ctx.rules), Arc::clone(&ctx.meters), tenants, ctx.now, stored, log);
    let (sender, mut receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    let reading = Reading::new(intake, Arc::clone(&ctx.meters), ctx.now, sender, Arc::clone(progress));
    let reading = tokio::task::spawn_blocking(move || reading.run(input));
    let mut events = ctx.lake.partitioned(Table::UsageEvents);
    let mut usage = ctx.lake.partitioned(Table::Usage);
    while let Some(rows) = receiver.recv().await {
        match rows {
            Rows::Events(batch) => events.write(&batch).await?,
            Rows::Usage(batch) => usage.write(&batch).await?,
        }
    }
    let done = match reading.await? {
        Ok(done) => done,
        Err(error) => {
            let written = [events.into_finished(), usage.into_finished()].concat();
            discard(&ctx.lake, written.iter()).await;
            return Err(error);
        }
    };
    let (event_files, usage_files) = (events.finish().await?, usage.finish().await?);
    Ok(Pass {
        report: done.report,
        read: done.read,
        keys: done.keys,
        claims: done.claims,
        event_files,
        usage_files,
        meters: done.meters,
        for_log: done.for_log,
    })
}

enum Rows {
    Events(RecordBatch),
    Usage(RecordBatch),
}

/// The side that reads and decides.
struct Reading {
    intake: Intake,
    meters: Arc<MeterSet>,
    now: Instant,
    sender: mpsc::Sender<Rows>,
    progress: Progress,
    events: EventColumns,
    days: BTreeSet<Day>,
    used_meters: BTreeSet<String>,
}

struct Done {
    report: EventImportReport,
    read: u64,
    keys: Vec<IdKey>,
    claims: Vec<(IdKey, IdContent)>,
    meters: BTreeSet<String>,
    for_log: Vec<u64>,
}

impl Reading {
    fn new(
        intake: Intake,
        meters: Arc<MeterSet>,
        now: Instant,
        sender: mpsc::Sender<Rows>,
        progress: Progress,
    ) -> Self {
        let (events, days, used_meters) = (EventColumns::default(), BTreeSet::new(), BTreeSet::new());
        Self { intake, meters, now, sender, progress, events, days, used_meters }
    }

    fn run(mut self, input: Box<dyn Read + Send>) -> Result<Done, MeteringError> {
        let mut reader = EventReader::open(input)?;
        let is_list = reader.is_list();
        let mut report = EventImportReport::default();
        let (mut read, mut for_log) = (0, Vec::new());
        while let Some((index, item)) = reader.next_item()? {
            let outcome = match item {
                Item::Text(text) => self.intake.offer(text),
                Item::TooLong => Outcome::Refused(Refusal::invalid(format!("longer than {EVENT_BYTES_MAX} bytes"))),
                Item::NotUtf8 => Outcome::Refused(Refusal::invalid("not UTF-8")),
            };
            match outcome {
                Outcome::Accepted(placed) => self.keep(&placed)?,
                Outcome::Duplicate => {}
                Outcome::ForLog => for_log.push(index),
                Outcome::Refused(refusal) if is_list && refusal.not_json => {
                    return Err(MeteringError::BrokenList { index, detail: refusal.detail });
                }
                Outcome::Refused(refusal) => report.reject(index, refusal),
            }
            read = index + 1;
            if read % PROGRESS_EVENTS == 0 {
                self.is_at(read)?;
            }
        }
        self.is_at(read)?;
        self.flush_events()?;
        self.flush_usage()?;
        report.count(&self.intake.counts, &self.meters);
        report.tenants_created = self.intake.tenants.created();
        report.days = self.days.iter().copied().collect();
        let keys = self.intake.keys().copied().collect();
        Ok(Done { report, read, keys, claims: self.intake.claims, meters: self.used_meters, for_log })
    }

    /// Says how many events were read.
    fn is_at(&self, read: u64) -> Result<(), MeteringError> {
        if (self.progress)(read).is_break() { Err(MeteringError::Cancelled) } else { Ok(()) }
    }

    fn keep(&mut self, placed: &PlacedEvent<'_>) -> Result<(), MeteringError> {
        self.events.push(placed, self.now)?;
        if self.events.is_full() {
            self.flush_events()?;
        }
        if ROLLUP_KEYS_MAX <= self.intake.rollup.len() {
            self.flush_usage()?;
        }
        Ok(())
    }

    fn flush_events(&mut self) -> Result<(), MeteringError> {
        for batch in self.events.drain_sorted()? {
            self.send(Rows::Events(batch));
        }
        Ok(())
    }

    fn flush_usage(&mut self) -> Result<(), MeteringError> {
        let rows = self.intake.rollup.drain_sorted();
        self.days.extend(rows.iter().map(|(key, _)| key.day));
        self.used_meters.extend(rows.iter().map(|(key, _)| key.meter.to_string()));
        for rows in rows.chunks(BATCH_ROWS) {
            self.send(Rows::Usage(usage_batch(rows)?));
        }
        Ok(())
    }

    fn send(&self, rows: Rows) {
        // If the writing side is gone it has failed and says so itself.
        drop(self.sender.blocking_send(rows));
    }
}
