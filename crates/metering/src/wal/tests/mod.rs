//! Tests of the log as its owner sees it. The machine here logs numbers and remembers what became of them.

/// Groups, order, rotation, limits.
mod append;
/// D4: power cuts at any point.
mod crash;
/// D9: flipped bits, missing files, torn tails.
mod damage;
/// D7, D8: failing syncs and writes, a full disk.
mod faults;
/// The bytes on disk.
mod golden;
/// The file system of this machine.
mod real;

use super::sim::SimDisk;
use super::*;
use std::collections::HashSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The most that one random test may take; below a quarter of its count it fails.
const TIME_MAX: Duration = Duration::from_secs(60);
const SMALL: Options = Options { segment_bytes: 16 << 10, queue_bytes_max: 4 << 10 };

/// What became of the numbers.
#[derive(Debug, Default)]
struct Seen {
    known: HashSet<u64>,
    /// Prepared, and not known to be durable or lost.
    in_flight: Vec<u64>,
    /// Durable, with their segments, in the order of the log.
    committed: Vec<(u64, u64)>,
    ended: Vec<u64>,
    published: usize,
}

/// Logs each number once.
#[derive(Debug, Default)]
struct Ids {
    seen: Arc<Mutex<Seen>>,
    /// One message lets one group be prepared.
    gate: Option<Receiver<()>>,
}

impl Ids {
    fn new(seen: &Arc<Mutex<Seen>>) -> Self {
        Self { seen: Arc::clone(seen), gate: None }
    }
}

impl StateMachine for Ids {
    type Request = Vec<u64>;
    type Prepared = Vec<u64>;
    type Answer = Option<Position>;

    fn bytes_max(request: &Vec<u64>) -> usize {
        request.iter().map(|id| RECORD_PREFIX_BYTES + record(*id).len()).sum()
    }

    fn prepare(&mut self, mut request: Vec<u64>, records: &mut Records<'_>) -> Vec<u64> {
        if let Some(gate) = self.gate.take_if(|gate| gate.recv().is_ok()) {
            drop(gate);
        }
        let mut seen = self.seen.lock().unwrap();
        request.retain(|id| seen.known.insert(*id));
        request.iter().for_each(|id| records.push(&record(*id)));
        seen.in_flight.extend(&request);
        request
    }

    fn commit(&mut self, prepared: Vec<u64>, position: Option<Position>) -> Option<Position> {
        let mut seen = self.seen.lock().unwrap();
        let first: Vec<u64> = seen.in_flight.drain(..prepared.len()).collect();
        assert_eq!(first, prepared, "commits come in the order of prepares");
        seen.committed.extend(prepared.iter().map(|id| (position.unwrap().segment, *id)));
        position
    }

    fn reject(&mut self, prepared: Vec<u64>, error: &WalError) {
        if matches!(error, WalError::SyncFailed { .. }) {
            return; // may come back
        }
        let mut seen = self.seen.lock().unwrap();
        let rest = seen.in_flight.len() - prepared.len();
        let last = seen.in_flight.split_off(rest);
        assert_eq!(last, prepared, "rejects come in the opposite order");
        prepared.iter().for_each(|id| assert!(seen.known.remove(id)));
    }

    fn publish(&mut self, _group: Option<Frame<'_>>) {
        self.seen.lock().unwrap().published += 1;
    }

    fn segment_ended(&mut self, segment: u64) {
        self.seen.lock().unwrap().ended.push(segment);
    }
}

/// The record of a number: its bytes and a filler that only this number has, sometimes a long one.
fn record(id: u64) -> Vec<u8> {
    let filler = if id.is_multiple_of(97) { 1_500 } else { id * 37 % 301 };
    let mut record = id.to_le_bytes().to_vec();
    record.extend((0..filler).map(|at| (id * 31 + at * 7) as u8 | 1));
    record
}

fn id_of(found: &[u8]) -> u64 {
    let id = u64::from_le_bytes(found[..8].try_into().unwrap());
    assert_eq!(found, record(id), "a record that nobody appended");
    id
}

fn dir() -> PathBuf {
    PathBuf::from("wal")
}

fn open(disk: &SimDisk, options: Options, first_expected: Option<u64>) -> Result<Recovery, WalError> {
    Recovery::open(Arc::new(disk.clone()), dir(), options, first_expected)
}

/// Reads everything: segment and number, in order.
fn read(recovery: &mut Recovery) -> Result<Vec<(u64, u64)>, WalError> {
    let (mut found, mut sequence) = (Vec::new(), None);
    while let Some(frame) = recovery.next_frame()? {
        assert!(sequence.is_none_or(|before: u64| frame.position.sequence == before + 1));
        sequence = Some(frame.position.sequence);
        found.extend(frame.records().map(|record| (frame.position.segment, id_of(record))));
    }
    Ok(found)
}

fn read_segment(wal: &Wal<Ids>, number: u64) -> Result<Vec<u64>, WalError> {
    let (mut reader, mut found) = (wal.read_segment(number)?, Vec::new());
    while let Some(frame) = reader.next_frame()? {
        found.extend(frame.records().map(id_of));
    }
    Ok(found)
}

/// Opens a log and knows what it holds, as an owner does.
fn start(disk: &SimDisk, options: Options) -> (Wal<Ids>, Arc<Mutex<Seen>>) {
    let mut recovery = open(disk, options, None).unwrap();
    let seen = seen_of(read(&mut recovery).unwrap());
    (recovery.start(Ids::new(&seen)).unwrap(), seen)
}

fn seen_of(committed: Vec<(u64, u64)>) -> Arc<Mutex<Seen>> {
    let known = committed.iter().map(|(_, id)| *id).collect();
    Arc::new(Mutex::new(Seen { known, committed, ..Seen::default() }))
}

fn ids(found: &[(u64, u64)]) -> Vec<u64> {
    found.iter().map(|(_, id)| *id).collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn cases(default: u64) -> u64 {
    setting("APPORTION_TEST_CASES", default)
}

fn seed() -> u64 {
    setting("APPORTION_TEST_SEED", 20_261_110)
}
