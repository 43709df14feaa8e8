//! Prints what an event costs, step by step: `ingest_cost FOLDER [EVENTS]`.
//!
//! Nanoseconds of processors per event, of all threads: the text made an event; the same, checked, measured and made a
//! record; its id decided, logged, synced and seen; brought to the tables. One step after the other, so that each stands alone.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use metering::MeteringError;
use metering::event::parse_event;
use metering::live::Decision;
use opened::{open, prepare};
use std::path::Path;
use std::time::Duration;

#[path = "../shared/opened.rs"]
mod opened;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 1_000;
const USUAL_EVENTS: usize = 300_000;

fn main() -> Result<(), MeteringError> {
    let arguments: Vec<String> = std::env::args().collect();
    let (folder, events) = match &arguments[..] {
        [_, folder] => (folder, USUAL_EVENTS),
        [_, folder, events] => (folder, events.parse().expect("a number of events")),
        _ => panic!("call it with a folder to fill, and how many events if not {USUAL_EVENTS}"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(run(Path::new(folder), events))
}

async fn run(folder: &Path, events: usize) -> Result<(), MeteringError> {
    let log = open(folder, &folder.join("ids")).await?;
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
