//! Lives of one log after another: each starts where the last was killed, works with several tasks at
//! once and is killed in turn, by power loss or SIGKILL, at a random change to the disk.

use super::*;
use crate::wal::sim::{Failure, Operation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Instant;
use tokio::task::JoinSet;

/// The disk at the end of a life is looked at in several states that the crash may have left it in.
const OUTCOMES_PER_LIFE: u64 = 4;

type Started = (Arc<Wal<Ids>>, Arc<Mutex<Seen>>);

/// What is known about the log outside of it.
struct Model {
    disk: SimDisk,
    options: Options,
    random: StdRng,
    /// Durable numbers with their segments, in order, those flushed included.
    committed: Vec<(u64, u64)>,
    /// The one group that may have become durable without anybody having been told.
    in_flight: Vec<u64>,
    /// The last segment whose content is elsewhere.
    flushed: u64,
    next_id: u64,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    crashes: u64,
    power_cuts: u64,
    failed_starts: u64,
    answered: u64,
    kept_unanswered: u64,
}

impl Model {
    fn new(random: &mut StdRng, tally: Tally) -> Self {
        let segment_bytes = 4096 * random.random_range(2..=6);
        Self {
            disk: SimDisk::new(random.random()),
            options: Options { segment_bytes, queue_bytes_max: 4000 },
            random: StdRng::seed_from_u64(random.random()),
            committed: Vec::new(),
            in_flight: Vec::new(),
            flushed: 0,
            next_id: 1,
            tally,
        }
    }

    fn live_and_die(&mut self) {
        self.disk.power_off_after(self.random.random_range(1..80));
        if self.random.random_bool(0.1) {
            self.disk.fail(Operation::Sync, self.random.random_range(1..20), Failure::Io);
        }
        match self.start() {
            Some((wal, seen)) => self.work(wal, &seen),
            None => self.tally.failed_starts += 1,
        }
        self.tally.lives += 1;
        for _ in 1..OUTCOMES_PER_LIFE {
            let disk = self.crash();
            self.recover(&disk);
        }
        self.disk = self.crash();
    }

    /// Returns one of the disks that may be left.
    fn crash(&mut self) -> SimDisk {
        self.tally.crashes += 1;
        let is_power_cut = self.random.random_bool(0.8);
        self.tally.power_cuts += u64::from(is_power_cut);
        if is_power_cut { self.disk.power_cut(&mut self.random) } else { self.disk.kill() }
    }

    /// Reads a disk and compares; returns the log with what it holds and how much of that nobody was told.
    fn recover(&self, disk: &SimDisk) -> (Recovery, Vec<(u64, u64)>, usize) {
        let mut recovery = open(disk, self.options, Some(self.flushed + 1)).unwrap();
        let found = read(&mut recovery).unwrap();
        let flushed = self.committed.iter().take_while(|(segment, _)| *segment <= self.flushed).count();
        let (expected, behind) = (&self.committed[flushed..], found.get(self.committed.len() - flushed..));
        assert!(found.starts_with(expected), "lost, doubled or moved:\n{expected:?}\n{found:?}");
        let behind = behind.unwrap_or_default();
        assert!(behind.is_empty() || ids(behind) == self.in_flight, "{behind:?}, in flight {:?}", self.in_flight);

        let unanswered = behind.len();
        (recovery, [&self.committed[..flushed], &found].concat(), unanswered)
    }

    /// Starts the log; nothing counts as durable before that has succeeded.
    fn start(&mut self) -> Option<Started> {
        let (recovery, committed, unanswered) = self.recover(&self.disk);
        let seen = seen_of(committed.clone());
        let wal = match recovery.start(Ids::new(&seen)) {
            Ok(wal) => wal,
            Err(error @ WalError::Damaged { .. }) => panic!("{error}"),
            Err(_) => return None,
        };
        self.tally.kept_unanswered += unanswered as u64;
        (self.committed, self.in_flight) = (committed, Vec::new());
        Some((Arc::new(wal), seen))
    }

    fn work(&mut self, wal: Arc<Wal<Ids>>, seen: &Arc<Mutex<Seen>>) {
        let before = self.committed.len();
        let flushed = Arc::new(Mutex::new(self.flushed));
        run(async {
            let mut tasks = JoinSet::new();
            for first_id in (0..self.random.random_range(1..6)).map(|task| self.next_id + 100 * task) {
                let random = StdRng::seed_from_u64(self.random.random());
                tasks.spawn(client(Arc::clone(&wal), Arc::clone(seen), Arc::clone(&flushed), first_id, random));
            }
            tasks.join_all().await;
            drop(wal.close().await);
        });
        self.next_id += 1_000;
        self.flushed = *flushed.lock().unwrap();
        let mut seen = seen.lock().unwrap();
        self.committed = std::mem::take(&mut seen.committed);
        self.in_flight = std::mem::take(&mut seen.in_flight);
        self.tally.answered += (self.committed.len() - before) as u64;
    }
}

/// Appends new numbers, repeats old ones, rotates and flushes, until something fails.
async fn client(
    wal: Arc<Wal<Ids>>,
    seen: Arc<Mutex<Seen>>,
    flushed: Arc<Mutex<u64>>,
    first_id: u64,
    mut random: StdRng,
) {
    let mut next = first_id;
    while next < first_id + 100 {
        let batch = random.random_range(1..4);
        let mut request = Vec::from_iter(next..next + batch);
        next += batch;
        if random.random_bool(0.2) {
            request.extend(seen.lock().unwrap().committed.last().map(|(_, id)| *id));
        }
        match wal.append(request).await {
            Ok(position) => assert!(position.is_some(), "new numbers are always logged"),
            Err(WalError::SyncFailed { .. }) => return,
            // A disk without power makes no segments.
            Err(WalError::Io { .. }) => return,
            Err(error) => panic!("{error:?}"),
        }
        if random.random_bool(0.05) && wal.rotate().await.is_err() {
            return;
        }
        if random.random_bool(0.1) && flush(&wal, &seen, &flushed).is_err() {
            return;
        }
    }
}

/// Reads the complete segments, takes their content for stored elsewhere and removes them.
fn flush(wal: &Wal<Ids>, seen: &Mutex<Seen>, flushed: &Mutex<u64>) -> Result<(), WalError> {
    let ended = std::mem::take(&mut seen.lock().unwrap().ended);
    for segment in ended {
        let found = match read_segment(wal, segment) {
            Err(error @ WalError::Damaged { .. }) => panic!("{error}"),
            other => other?,
        };
        let expected: Vec<_> =
            seen.lock().unwrap().committed.iter().filter(|(number, _)| *number == segment).copied().collect();
        assert_eq!(found, ids(&expected));
        *flushed.lock().unwrap() = segment;
        wal.remove_through(segment)?;
    }
    Ok(())
}

#[test]
fn d4_no_answered_record_is_lost_doubled_or_moved_by_a_crash_at_any_point() {
    let (wanted, seed, started) = (cases(20_000), seed(), Instant::now());
    let (mut random, mut tally) = (StdRng::seed_from_u64(seed), Tally::default());
    while tally.crashes < wanted && started.elapsed() < TIME_MAX {
        let mut model = Model::new(&mut random, tally);
        for _ in 0..20 {
            model.live_and_die();
        }
        tally = model.tally;
    }
    println!("seed {seed}: {} of {wanted} crashes, {tally:?}, {:.1?}", tally.crashes, started.elapsed());
    assert!(wanted <= 4 * tally.crashes, "only {} of {wanted} crashes in {TIME_MAX:?}", tally.crashes);
}
