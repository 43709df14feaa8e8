//! Prints what an event costs, step by step: `ingest_cost FOLDER [EVENTS]`.
//!
//! Nanoseconds of processors per event, of all threads: the text made an event; the same, checked, measured and made a
//! record; its id decided, logged, synced and seen; brought to the tables. One step after the other, so that each stands alone.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use domain::meter::builtin;
use domain::{FixedClock, TenantScope, Zone};
use metering::MeteringError;
use metering::event::parse_event;
use metering::live::{Decision, EventLog, EventLogOptions, Offered, PreparedEvent, Setup};
use metering::meters::MeterSet;
use metering::rules::{EventRules, KnownTenants};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::catalog::Catalog;
use storage::lake::Lake;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 1_000;
const NOW: &str = "2026-11-20T12:00:00Z";

fn main() -> Result<(), MeteringError> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder to fill"));
    let events: usize = arguments.next().map_or(300_000, |events| events.parse().expect("a number of events"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(run(&folder, events))
}

async fn run(folder: &Path, events: usize) -> Result<(), MeteringError> {
    let log = open(folder).await?;
    let texts: Vec<String> = (0..events).map(event).collect();
    let mut lap = Lap::start();
    for text in &texts {
        std::hint::black_box(parse_event(text).expect("an event"));
    }
    let parsed = lap.take();
    let (mut prepared, mut logged) = (Duration::ZERO, Duration::ZERO);
    for texts in texts.chunks(BATCH) {
        let batch = prepare(&log, texts)?;
        prepared += lap.take();
        let decisions = log.append(batch, false).await?;
        assert!(decisions.iter().all(|decision| *decision == Decision::Accepted), "the events are new");
        logged += lap.take();
    }
    log.flush_all().await?;
    for (step, took) in [("parsed", parsed), ("prepared", prepared), ("logged", logged), ("flushed", lap.take())] {
        println!("{step:8} {:6.0}", took.as_nanos() as f64 / events as f64);
    }
    log.close().await
}

fn prepare(log: &EventLog, texts: &[String]) -> Result<Vec<PreparedEvent>, MeteringError> {
    let mut preparer = log.preparer(TenantScope::All);
    let prepared = texts.iter().map(|text| match preparer.prepare(text)? {
        Ok(Offered::Prepared(event)) => Ok(event),
        other => panic!("a new event is not taken: {other:?}"),
    });
    prepared.collect()
}

async fn open(folder: &Path) -> Result<EventLog, MeteringError> {
    std::fs::create_dir_all(folder).map_err(|source| MeteringError::Folder { path: folder.to_owned(), source })?;
    let now = NOW.parse().expect("it is an instant");
    let options = EventLogOptions {
        wal: folder.join("wal"),
        ids: folder.join("ids"),
        segment_bytes: 64 << 20,
        id_memory_bytes_max: 256 << 20,
    };
    let setup = Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(builtin())?),
        tenants: Arc::new(KnownTenants::default()),
    };
    let lake = Lake::open(&folder.join("lake"), now).await?;
    let catalog = Catalog::open(&folder.join("catalog.db")).await?;
    let log = EventLog::open(options, lake, catalog, Arc::new(FixedClock::at(now)), setup.clone()).await?;
    log.setting_up().await.finish(setup).await?;
    Ok(log)
}

/// An event of the shape that J1 sends.
fn event(number: usize) -> String {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (tenant, user) = (number.wrapping_mul(485) % 1_000, number % 10);
    let (second, millis) = (number / 12 % 86_400, number * 86 % 1_000);
    format!(
        r#"{{"specversion":"1.0","id":"{mixed:016x}","source":"/bench","type":"llm.completion","time":"2026-11-19T{:02}:{:02}:{:02}.{millis:03}Z","tenant":"tenant-{tenant:05}","user":"user-{user}","data":{{"model":"model-{}","direction":"{}","tokens":{}}}}}"#,
        second / 3_600,
        second / 60 % 60,
        second % 60,
        number % 3,
        ["input", "output"][number % 2],
        mixed % 4_000,
    )
}

struct Lap(Duration);

impl Lap {
    fn start() -> Self {
        Self(cpu())
    }

    fn take(&mut self) -> Duration {
        let now = cpu();
        now - std::mem::replace(&mut self.0, now)
    }
}

/// How long this process was on processors, of all its threads.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}
