//! Prints what a decision costs as an index grows: `id_curve FOLDER [SIZES_IN_MILLIONS…]`.
//!
//! Ids arrive in segments of a million. One thread persists them and another merges, as in the server.
//! At each size, when these are idle: the cost of a new id (`get` and `insert`), of the same in an
//! index of one million, turn by turn because the machine may be busy, and of duplicates drawn from
//! all ids. Medians of batches of a thousand, warmed but
//! for one column. Wall and CPU time are of growing to this size, with all
//! threads and merges.
//!
//! A second table is of whole events, from text to stable storage, with an index filled to each size. Without sizes it is
//! 1, 3, 10 and 30 million; `… 1 3 10 30 100` shows the last one too and takes 8 GB of disk.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use metering::MeteringError;
use metering::ids::{IdContent, IdIndex, IdKey, IdOptions, IdsError};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const SEGMENT_IDS: u64 = 1_000_000;
const BATCH_IDS: u64 = 1_000;
const WARMED_IDS: usize = 64;
/// Batches before the other index has its turn: so many that each finds the caches as it left them.
const BATCHES_PER_TURN: u64 = 20;
const DUPLICATES: u64 = 300_000;
/// Segments in memory at which the log would wait for the disk.
const SEGMENTS_WAITING_MAX: u64 = 3;

#[path = "../shared/opened.rs"]
mod opened;
/// The cost of whole events.
mod whole_path;

fn main() -> Result<(), MeteringError> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder to fill"));
    let mut sizes: Vec<u64> = arguments.map(|size| size.parse().expect("a number of millions")).collect();
    if sizes.is_empty() {
        sizes = vec![1, 3, 10, 30];
    }
    make_reference(&folder.join("reference"))?;
    let index = IdIndex::open(&folder.join("index"), IdOptions::default())?;
    let curve = Curve { index: &index, sealed: AtomicU64::new(0), done: AtomicBool::new(false) };
    println!(
        "ids M | new ns | at 1 M ns | ratio | not warmed ns | duplicate ns | wall ns/id | cpu ns/id | runs | index MiB | resident MiB"
    );
    thread::scope(|scope| {
        scope.spawn(|| curve.persist());
        scope.spawn(|| curve.merge());
        for size in &sizes {
            curve.grow(*size, &folder.join("reference"));
        }
        curve.done.store(true, Ordering::SeqCst);
    });
    drop(index);
    whole_path::print(&folder, &sizes)
}

/// Makes an index of a million ids.
fn make_reference(folder: &Path) -> Result<(), IdsError> {
    let index = IdIndex::open(folder, IdOptions::default())?;
    (0..SEGMENT_IDS).step_by(1000).for_each(|first| _ = decide_batch(&index, first, true));
    index.seal(0);
    index.persist(0)
}

struct Curve<'a> {
    index: &'a IdIndex,
    sealed: AtomicU64,
    done: AtomicBool,
}

impl Curve<'_> {
    fn grow(&self, millions: u64, reference: &Path) {
        let (started, cpu, first) = (Instant::now(), process_cpu(), self.sealed.load(Ordering::SeqCst));
        for segment in first..millions {
            self.wait_for_disk(segment);
            self.add_segment(segment, None);
        }
        self.rest();
        let grown = (millions - first).max(1) as f64 * SEGMENT_IDS as f64;
        let (wall, cpu) = (nanos(started.elapsed()) / grown, nanos(process_cpu() - cpu) / grown);
        let (duplicate, stats) = (self.ask_duplicates(millions * SEGMENT_IDS), self.index.stats());
        // What is inserted into the reference is never persisted, so that it is gone at the next size.
        let reference = IdIndex::open(reference, IdOptions::default()).expect("it was made before");
        while reference.merge_step().expect("nothing is damaged") {}
        let NewIdCost { warmed, unwarmed, of_reference } = self.add_segment(millions, Some(&reference));
        let ratio = warmed / of_reference;
        println!(
            "{millions:5} | {warmed:6.0} | {of_reference:9.0} | {ratio:5.2} | {unwarmed:13.0} | {duplicate:12.0} | {wall:10.0} | {cpu:9.0} | {:4} | {:9.0} | {:12.0}",
            stats.runs,
            (stats.filter_bytes + stats.page_index_bytes) as f64 / f64::from(1 << 20),
            resident_mib(),
        );
    }

    fn wait_for_disk(&self, segment: u64) {
        while self.index.through_segment().map_or(0, |through| through + 1) + SEGMENTS_WAITING_MAX <= segment {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Decides a million new ids, and the same in the reference.
    fn add_segment(&self, segment: u64, reference: Option<&IdIndex>) -> NewIdCost {
        let (mut warmed, mut unwarmed, mut of_reference) = (Vec::new(), Vec::new(), Vec::new());
        for turn in (0..SEGMENT_IDS).step_by((BATCH_IDS * BATCHES_PER_TURN) as usize) {
            let firsts = || (turn..turn + BATCH_IDS * BATCHES_PER_TURN).step_by(BATCH_IDS as usize);
            for (position, first) in firsts().enumerate() {
                let is_warmed = position % 2 == 0;
                let time = decide_batch(self.index, segment * SEGMENT_IDS + first, is_warmed);
                if is_warmed { warmed.push(time) } else { unwarmed.push(time) }
            }
            if let Some(reference) = reference {
                of_reference.extend(firsts().map(|first| decide_batch(reference, SEGMENT_IDS + first, true)));
            }
        }
        self.index.seal(segment);
        self.sealed.store(segment + 1, Ordering::SeqCst);
        // The second half: in the first one, the tables in memory still grow.
        let [warmed, unwarmed, of_reference] =
            [warmed, unwarmed, of_reference].map(|times| median(&times[times.len() / 2..]));
        NewIdCost { warmed, unwarmed, of_reference }
    }

    /// Returns the nanoseconds for one look-up of a known id.
    fn ask_duplicates(&self, stored: u64) -> f64 {
        let batch = |first: u64| {
            let started = Instant::now();
            for number in (first..first + BATCH_IDS).map(|index| mix(index ^ 0xd0) % stored) {
                let (key, content) = id(number);
                let found = self.index.get(&key).expect("nothing is damaged");
                assert_eq!(found.map(|found| found.content), Some(content), "id {number} is known");
            }
            started.elapsed()
        };
        let times: Vec<_> = (0..DUPLICATES).step_by(1000).map(batch).collect();
        median(&times)
    }

    /// Waits until there is nothing to persist and to merge.
    fn rest(&self) {
        while self.index.stats().waiting_ids > 0 {
            thread::sleep(Duration::from_millis(10));
        }
        while self.index.merge_step().expect("nothing is damaged") {}
    }

    fn persist(&self) {
        while !self.done.load(Ordering::SeqCst) {
            if let Some(segment) = self.sealed.load(Ordering::SeqCst).checked_sub(1) {
                self.index.persist(segment).expect("the disk takes it");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn merge(&self) {
        while !self.done.load(Ordering::SeqCst) {
            self.index.merge_step().expect("nothing is damaged");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Nanoseconds.
struct NewIdCost {
    warmed: f64,
    unwarmed: f64,
    of_reference: f64,
}

fn decide_batch(index: &IdIndex, first: u64, is_warmed: bool) -> Duration {
    let ids: Vec<_> = (first..first + BATCH_IDS).map(id).collect();
    let started = Instant::now();
    let mut batch = index.batch();
    for ids in ids.chunks(WARMED_IDS) {
        if is_warmed {
            batch.warm(ids.iter().map(|(key, _)| key));
        }
        for (key, content) in ids {
            let found = batch.get(key).expect("nothing is damaged");
            assert!(found.is_none() && batch.insert(key, content).is_none(), "the id is new");
        }
    }
    started.elapsed()
}
/// Returns the nanoseconds per id of the median batch.
fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| nanos(*time) / BATCH_IDS as f64)
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// Stands for the keyed hash.
fn id(number: u64) -> (IdKey, IdContent) {
    let half = mix(number);
    let key = u128::from(half) << 64 | u128::from(mix(half));
    (key.to_be_bytes(), u128::from(number).to_be_bytes())
}

/// SplitMix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns how long all threads of this process were on a processor, those that ended as far as they were seen.
fn process_cpu() -> Duration {
    static SEEN: Mutex<BTreeMap<OsString, u64>> = Mutex::new(BTreeMap::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").filter_map(Result::ok) {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        let of_task = seen.entry(task.file_name()).or_default();
        *of_task = nanos.max(*of_task);
    }
    Duration::from_nanos(seen.values().sum())
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1024.0
}
