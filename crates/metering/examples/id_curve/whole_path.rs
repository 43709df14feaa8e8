//! What an event costs from its text to stable storage, with so many ids in the index.
//!
//! Two logs take the same events turn by turn, because the machine may be busy: one whose index was filled to the size, and
//! one of a million ids. Costs are medians of batches, of all threads: reading, checking, measuring, deciding about the id,
//! the record, the sync, the hot usage. Nothing is flushed meanwhile.

use crate::opened::{self, ID_MEMORY_BYTES};
use crate::{BATCH_IDS, SEGMENT_IDS, id, median, process_cpu, resident_mib};
use metering::MeteringError;
use metering::ids::{IdIndex, IdOptions};
use metering::live::{Decision, EventLog};
use std::path::Path;
use std::time::{Duration, Instant};

const BATCHES: usize = 200;
const TENANTS: u64 = 100;

/// Prints the curve. The index grows in this folder; each size gets a log, a lake and a catalog of its own.
pub fn print(folder: &Path, sizes: &[u64]) -> Result<(), MeteringError> {
    println!(
        "ids M | event cpu ns | at 1 M cpu ns | ratio | event wall ns | at 1 M wall ns | stored ids | index MiB | resident MiB"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("this system has threads");
    let (ids, reference) = (folder.join("path-ids"), folder.join("path-reference"));
    fill(&reference, 0..1)?;
    let mut filled = 0;
    for millions in sizes.iter().copied() {
        fill(&ids, filled..millions)?;
        filled = filled.max(millions);
        runtime.block_on(measure(folder, millions, [&ids, &reference]))?;
    }
    Ok(())
}

/// Adds millions of ids to an index, those of these numbers.
fn fill(folder: &Path, millions: std::ops::Range<u64>) -> Result<(), MeteringError> {
    let index = IdIndex::open(folder, IdOptions { filter_bytes_max: ID_MEMORY_BYTES, ..IdOptions::default() })?;
    for segment in millions {
        let ids: Vec<_> = (segment * SEGMENT_IDS..(segment + 1) * SEGMENT_IDS).map(id).collect();
        index.import(&ids)?;
        while index.merge_step()? {}
    }
    Ok(())
}

async fn measure(folder: &Path, millions: u64, [ids, reference]: [&Path; 2]) -> Result<(), MeteringError> {
    let mut grown = World::open(&folder.join(format!("path-{millions}")), ids).await?;
    let mut reference = World::open(&folder.join(format!("path-{millions}-reference")), reference).await?;
    let (mut costs, mut of_reference) = (Costs::default(), Costs::default());
    for _ in 0..BATCHES {
        costs.push(grown.take_batch().await?);
        of_reference.push(reference.take_batch().await?);
    }
    let stats = grown.log.stats().ids;
    let ((cpu, wall), (cpu_at_one, wall_at_one)) = (costs.medians(), of_reference.medians());
    println!(
        "{millions:5} | {cpu:12.0} | {cpu_at_one:13.0} | {:5.2} | {wall:13.0} | {wall_at_one:14.0} | {:10} | {:9.0} | {:12.0}",
        cpu / cpu_at_one,
        stats.stored_ids,
        (stats.filter_bytes + stats.page_index_bytes) as f64 / f64::from(1 << 20),
        resident_mib(),
    );
    grown.log.close().await?;
    reference.log.close().await
}

#[derive(Default)]
struct Costs {
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
}

impl Costs {
    fn push(&mut self, (cpu, wall): (Duration, Duration)) {
        self.cpu.push(cpu);
        self.wall.push(wall);
    }

    /// Nanoseconds of an event, of a processor and by the clock. The second half: in the first one, tables still grow.
    fn medians(&self) -> (f64, f64) {
        let half = self.cpu.len() / 2;
        (median(&self.cpu[half..]), median(&self.wall[half..]))
    }
}

struct World {
    log: EventLog,
    next: u64,
}

impl World {
    async fn open(folder: &Path, ids: &Path) -> Result<Self, MeteringError> {
        Ok(Self { log: opened::open(folder, ids).await?, next: 0 })
    }

    /// Takes a batch of new events; returns the time of processors and of the clock.
    async fn take_batch(&mut self) -> Result<(Duration, Duration), MeteringError> {
        let texts: Vec<String> = (self.next..self.next + BATCH_IDS).map(event).collect();
        self.next += BATCH_IDS;
        let (started, cpu) = (Instant::now(), process_cpu());
        let events = opened::prepare(&self.log, &texts)?;
        let decisions = self.log.append(events, false).await?;
        let cost = (process_cpu() - cpu, started.elapsed());
        assert!(decisions.iter().all(|decision| *decision == Decision::Accepted), "the events are new");
        Ok(cost)
    }
}

fn event(number: u64) -> String {
    let tenant = number % TENANTS;
    format!(
        r#"{{"specversion":"1.0","id":"01JD{number:016x}","source":"/llm-proxy","type":"llm.completion","tenant":"tenant-{tenant}","user":"user-{}","time":"2026-11-20T10:{:02}:00Z","data":{{"tokens":{},"model":"small-1","direction":"output"}}}}"#,
        number % 1_000,
        number % 60,
        number % 5_000,
    )
}
