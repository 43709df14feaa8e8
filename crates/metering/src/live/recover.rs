//! What the log holds when it is opened: ids, retractions and usage, as the writer left them.
//!
//! One thread reads the files and checks each frame, one follows the ids, one sums up the usage. Each of them takes the
//! frames in the order of the log, so what comes of it is what one thread alone would make of it, and the first problem in
//! that order is the one that is told, whichever thread found it.

use super::hot::Hot;
use super::machine::MARKER;
use super::prepare::RetractedKeys;
use super::record::{self, Fate, Record, RecordError, Verdict};
use super::waiting::Waiting;
use crate::content::IdSalt;
use crate::error::MeteringError;
use crate::ids::{IdBatch, IdIndex};
use crate::wal::{Frame, Position, Recovery, WalError};
use crate::wire::Malformed;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Frames are handed on together from this size on.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait for a thread which is behind.
const CHUNKS_WAITING_MAX: usize = 2;
/// Ids that are brought near before they are inserted.
const IDS_WARMED: usize = 64;

/// What follows the log at a start.
pub(super) struct Follower<'o> {
    /// Folder of the log.
    pub folder: &'o Path,
    /// The first segment that is read.
    pub first: u64,
    /// The last segment of which the usage table has all.
    pub in_usage: Option<u64>,
    pub ids: &'o IdIndex,
    pub hot: &'o Hot,
    pub waiting: &'o Waiting,
    pub salt: IdSalt,
}

/// Where a thread stopped, and why.
struct Stopped {
    sequence: u64,
    error: Box<MeteringError>,
}

impl Stopped {
    /// Returns what says that the frame could not be followed.
    fn at<E: Into<MeteringError>>(frame: &Frame<'_>) -> impl FnOnce(E) -> Self {
        let Position { sequence, .. } = frame.position;
        move |error| Self { sequence, error: Box::new(error.into()) }
    }
}

/// Frames one behind the other, read and checked.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Where each of them stood, and where it ends among the bytes.
    frames: Vec<(Position, usize)>,
}

impl Chunk {
    fn push(&mut self, frame: &Frame<'_>) {
        if self.bytes.is_empty() {
            self.bytes.reserve(CHUNK_BYTES + frame.payload().len());
        }
        self.bytes.extend_from_slice(frame.payload());
        self.frames.push((frame.position, self.bytes.len()));
    }

    fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut start = 0;
        self.frames.iter().map(move |(position, end)| {
            let payload = &self.bytes[start..*end];
            start = *end;
            Frame::new(*position, payload)
        })
    }
}

/// Chunks that all threads are done with: their memory is filled again, which is cheaper than new memory for each.
#[derive(Debug, Default)]
struct Spares(Mutex<Vec<Chunk>>);

impl Spares {
    fn take(&self) -> Chunk {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes the chunk of a thread that is done with it; keeps it if that was the last one.
    fn put(&self, done: Arc<Chunk>) {
        if let Some(mut chunk) = Arc::into_inner(done) {
            chunk.bytes.clear();
            chunk.frames.clear();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(chunk);
        }
    }
}

impl Follower<'_> {
    /// Reads all that the log holds; returns the last segment whose ids are sealed.
    ///
    /// # Errors
    /// The first problem in the order of the log: damage, a record that cannot be read, ids that cannot be read. A text that is
    /// no UTF-8 is found by the flush of its event only.
    pub fn follow(&self, log: &mut Recovery) -> Result<u64, MeteringError> {
        let spares = &Spares::default();
        std::thread::scope(|scope| {
            let (to_ids, of_ids) = sync_channel(CHUNKS_WAITING_MAX);
            let (to_usage, of_usage) = sync_channel(CHUNKS_WAITING_MAX);
            let failed = || WalError::io("start a reader of", self.folder);
            let ids = spawn(scope, "log-ids", move || self.follow_ids(&of_ids, spares)).map_err(failed())?;
            let usage = spawn(scope, "log-usage", move || self.follow_usage(&of_usage, spares)).map_err(failed())?;
            let read = read_all(log, &[to_ids, to_usage], spares);
            let ids = ids.join().unwrap_or_else(|panic| resume_unwind(panic));
            let usage = usage.join().unwrap_or_else(|panic| resume_unwind(panic));
            match (ids, usage) {
                (Err(ids), Err(usage)) if usage.sequence < ids.sequence => Err(*usage.error),
                (Err(stopped), _) | (Ok(_), Err(stopped)) => Err(*stopped.error),
                // What was read before a problem in the files was followed without one.
                (Ok(sealed), Ok(())) => Ok(read.map(|()| sealed)?),
            }
        })
    }

    fn follow_ids(&self, chunks: &Receiver<Arc<Chunk>>, spares: &Spares) -> Result<u64, Stopped> {
        let in_ids = self.ids.through_segment().unwrap_or(0);
        let (mut current, mut sealed) = (self.first, in_ids);
        for chunk in chunks {
            for frame in chunk.frames() {
                let segment = frame.position.segment;
                if current < segment {
                    sealed = seal(self.ids, sealed, segment - 1);
                    current = segment;
                }
                self.follow_ids_of(&frame, in_ids < segment).map_err(Stopped::at(&frame))?;
            }
            spares.put(chunk);
        }
        Ok(sealed)
    }

    fn follow_usage(&self, chunks: &Receiver<Arc<Chunk>>, spares: &Spares) -> Result<(), Stopped> {
        for chunk in chunks {
            for frame in chunk.frames() {
                self.follow_usage_of(&frame).map_err(Stopped::at(&frame))?;
            }
            spares.put(chunk);
        }
        Ok(())
    }

    fn follow_usage_of(&self, frame: &Frame<'_>) -> Result<(), RecordError> {
        let segment = frame.position.segment;
        match self.in_usage.is_none_or(|through| through < segment) {
            true => self.hot.add(segment, frame.records()),
            false => Ok(()),
        }
    }

    fn follow_ids_of(&self, frame: &Frame<'_>, with_ids: bool) -> Result<(), MeteringError> {
        let records: Vec<&[u8]> = frame.records().collect();
        let mut ids = self.ids.batch();
        for records in records.chunks(IDS_WARMED) {
            ids.warm(records.iter().filter_map(|bytes| record::key_of(bytes)));
            for bytes in records {
                let (record, verdict) = record::decode(bytes)?;
                if with_ids {
                    self.insert_ids(&mut ids, &record, &verdict)?;
                }
                self.waiting.remove(&record.key);
                self.follow_retraction(&mut ids, &record, &verdict, with_ids)?;
            }
        }
        Ok(())
    }

    fn insert_ids(&self, ids: &mut IdBatch<'_>, record: &Record<'_>, verdict: &Verdict) -> Result<(), RecordError> {
        ids.insert(&record.key, &record.content);
        if verdict.firsts.contains(&true) {
            let uniques = self.salt.unique_markers(&record.placed()?, &record.measured()?);
            for (marker, _) in uniques.iter().zip(&verdict.firsts).filter(|(_, first)| **first) {
                ids.insert(marker, &MARKER);
            }
        }
        Ok(())
    }

    /// Does again what the writer did about retractions.
    fn follow_retraction(
        &self,
        ids: &mut IdBatch<'_>,
        record: &Record<'_>,
        verdict: &Verdict,
        with_ids: bool,
    ) -> Result<(), MeteringError> {
        let text = |error: Malformed| MeteringError::from(RecordError::from(error));
        let Some(retracted) = record.retracted().map_err(text)? else { return Ok(()) };
        let retracted = RetractedKeys::of(&self.salt, record.tenant.text().map_err(text)?, &retracted);
        if with_ids && matches!(verdict.fate, Fate::Retracts | Fate::Waits) {
            ids.insert(&retracted.marker, &MARKER);
        }
        if verdict.fate == Fate::Waits && ids.get(&retracted.event)?.is_none() {
            self.waiting.insert(retracted.event);
        }
        Ok(())
    }
}

/// Starts a thread that ends within the scope.
fn spawn<'s, 'e, T: Send + 's>(
    scope: &'s Scope<'s, 'e>,
    name: &str,
    work: impl FnOnce() -> T + Send + 's,
) -> std::io::Result<ScopedJoinHandle<'s, T>> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work)
}

/// Hands on what is read until there is no more, or one of the threads has stopped. What stands before a problem is handed
/// on too.
fn read_all(log: &mut Recovery, threads: &[SyncSender<Arc<Chunk>>], spares: &Spares) -> Result<(), WalError> {
    let hand_on = |chunk: Chunk| {
        let chunk = Arc::new(chunk);
        threads.iter().all(|thread| thread.send(Arc::clone(&chunk)).is_ok())
    };
    let mut chunk = spares.take();
    loop {
        let end = match log.next_frame() {
            Ok(Some(frame)) => {
                chunk.push(&frame);
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        let is_full = CHUNK_BYTES <= chunk.bytes.len();
        if end.is_none() && !is_full {
            continue;
        }
        let is_wanted = hand_on(std::mem::take(&mut chunk));
        match end {
            Some(end) => return end,
            None if !is_wanted => return Ok(()),
            None => chunk = spares.take(),
        }
    }
}

/// Gives the ids inserted so far to the segments up to this one; returns the last segment that is sealed.
fn seal(ids: &IdIndex, sealed: u64, through: u64) -> u64 {
    (sealed + 1..=through).for_each(|segment| ids.seal(segment));
    sealed.max(through)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdKey, IdOptions};
    use crate::live::machine::{Batch, Machine};
    use crate::live::prepare::{Offered, Pages, Preparer, Recent, Setup};
    use crate::meters::MeterSet;
    use crate::rules::{EventRules, KnownTenants};
    use crate::wal::sim::SimDisk;
    use crate::wal::{Options, RECORD_PREFIX_BYTES, Records, StateMachine};
    use arrow::array::RecordBatch;
    use domain::meter::read_meters;
    use domain::{TenantScope, Zone};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use storage::lake::HotSnapshot;
    use tokio::sync::watch;

    const OPTIONS: Options = Options { segment_bytes: 32 << 10, queue_bytes_max: 16 << 10 };
    const ACTORS: &str = "[[meter]]\nname = 'actors'\nunit = 'Users'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'seen'\nvalue = '$.who'\naggregation = 'unique_count'\n";

    /// What a log is followed into.
    struct Owner {
        folder: tempfile::TempDir,
        ids: Arc<IdIndex>,
        hot: Arc<Hot>,
        waiting: Arc<Waiting>,
    }

    impl Owner {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ids = Self::open_ids(folder.path());
            Self { folder, ids, hot: Arc::default(), waiting: Arc::default() }
        }

        fn open_ids(folder: &Path) -> Arc<IdIndex> {
            let options = IdOptions { filter_bytes_max: 1 << 16, ..IdOptions::default() };
            Arc::new(IdIndex::open(folder, options).unwrap())
        }

        fn follower(&self) -> Follower<'_> {
            let Self { folder, ids, hot, waiting } = self;
            let salt = IdSalt::of_lake("lake");
            Follower { folder: folder.path(), first: 1, in_usage: None, ids, hot, waiting, salt }
        }

        fn usage(&self) -> Vec<RecordBatch> {
            self.hot.snapshot().unwrap().usage_after(None).unwrap()
        }
    }

    fn event(random: &mut StdRng) -> String {
        let (id, tenant) = (random.random_range(0..600), random.random_range(0..4));
        let (kind, data) = match random.random_range(0..10) {
            0 => ("apportion.retract", format!(r#"{{"source":"/s","id":"{}"}}"#, random.random_range(0..600))),
            1..4 => ("seen", format!(r#"{{"who":"{}"}}"#, random.random_range(0..50))),
            4 => ("member_count", format!(r#"{{"value":{}}}"#, random.random_range(-9..9))),
            5 => ("other", "null".to_owned()),
            _ => {
                let (value, env) = (random.random_range(0..9), random.random_range(0..3));
                ("log_queries", format!(r#"{{"value":{value},"user":"u{env}","labels":{{"env":"{env}"}}}}"#))
            }
        };
        let minute = random.random_range(10..60);
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}","tenant":"t{tenant}","time":"2026-10-05T10:{minute}:00Z","data":{data}}}"#
        )
    }

    /// A closed log of some segments, what its writer made of it, and the keys of all events that were sent.
    fn written(seed: u64) -> (SimDisk, Owner, Vec<IdKey>) {
        let (disk, owner, mut random) = (SimDisk::new(seed), Owner::new(), StdRng::seed_from_u64(seed));
        let Owner { ids, hot, waiting, .. } = &owner;
        let machine = Machine::new(Arc::clone(ids), Arc::clone(hot), Arc::clone(waiting), watch::Sender::new(0), 0);
        let log = Recovery::open(Arc::new(disk.clone()), "wal", OPTIONS, Some(1)).unwrap();
        let wal = log.start(machine).unwrap();
        let mut preparer = Preparer {
            setup: Setup {
                rules: Arc::new(EventRules::new(Zone::utc())),
                meters: Arc::new(MeterSet::new(read_meters("meters.toml", ACTORS).unwrap()).unwrap()),
                tenants: Arc::new(KnownTenants::default()),
            },
            salt: IdSalt::of_lake("lake"),
            ids: Arc::clone(ids),
            scope: TenantScope::All,
            now: "2026-11-20T12:00:00Z".parse().unwrap(),
            recent: Recent::default(),
            recents: Arc::default(),
            pages: Pages::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut keys = Vec::new();
        for _ in 0..60 {
            let mut events = Vec::new();
            for _ in 0..random.random_range(1..20) {
                if let Offered::Prepared(event) = preparer.prepare(&event(&mut random)).unwrap().unwrap() {
                    keys.push(event.key);
                    events.push(event);
                }
            }
            runtime.block_on(wal.append(Batch { events, atomic: false })).unwrap().unwrap();
        }
        runtime.block_on(wal.close()).unwrap();
        (disk, owner, keys)
    }

    /// What one thread makes of the log.
    fn follow_alone(follower: &Follower<'_>, log: &mut Recovery) -> Result<u64, MeteringError> {
        let (mut current, mut sealed) = (1, 0);
        while let Some(frame) = log.next_frame()? {
            let segment = frame.position.segment;
            if current < segment {
                sealed = seal(follower.ids, sealed, segment - 1);
                current = segment;
            }
            follower.follow_ids_of(&frame, true)?;
            follower.follow_usage_of(&frame)?;
        }
        Ok(sealed)
    }

    /// Follows the log by several threads and by one, and compares; `None` if it is damaged.
    fn follow_both(disk: &SimDisk, keys: &[IdKey]) -> Option<Owner> {
        let (together, alone) = (Owner::new(), Owner::new());
        let open = || Recovery::open(Arc::new(disk.copy()), "wal", OPTIONS, Some(1));
        let found = open().map_err(MeteringError::from).and_then(|mut log| together.follower().follow(&mut log));
        let expected =
            open().map_err(MeteringError::from).and_then(|mut log| follow_alone(&alone.follower(), &mut log));
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found, expected);
                check_same(&together, &alone, keys);
                Some(together)
            }
            (Err(found), Err(expected)) => {
                assert_eq!(found.to_string(), expected.to_string());
                None
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    fn check_same(found: &Owner, expected: &Owner, keys: &[IdKey]) {
        assert_eq!(found.usage(), expected.usage());
        assert_eq!(found.hot.events(), expected.hot.events());
        assert_eq!(found.ids.stats().waiting_ids, expected.ids.stats().waiting_ids);
        for key in keys {
            assert_eq!(found.ids.get(key).unwrap(), expected.ids.get(key).unwrap());
            assert_eq!(found.waiting.contains(key), expected.waiting.contains(key));
        }
    }

    #[test]
    fn what_is_read_at_a_start_is_what_the_writer_published() {
        for seed in 0..8 {
            let (disk, owner, keys) = written(seed);
            assert!(3 <= owner.usage().len(), "some segments");
            let again = follow_both(&disk, &keys).expect("nothing is damaged");
            check_same(&again, &owner, &keys);
        }
    }

    #[test]
    fn what_usage_and_the_index_have_already_is_not_followed_again() {
        for seed in 20..24 {
            let (disk, owner, keys) = written(seed);
            let usage = owner.usage();
            assert!(3 <= usage.len(), "some segments");
            // The process died between the steps of a flush: each has another part of the log.
            for (in_usage, in_ids) in [(2, 1), (1, 2)] {
                owner.ids.persist(in_ids).unwrap();
                let again = Owner { ids: Owner::open_ids(owner.folder.path()), ..Owner::new() };
                assert_eq!(again.ids.through_segment(), Some(in_ids));
                let mut log = Recovery::open(Arc::new(disk.copy()), "wal", OPTIONS, Some(1)).unwrap();
                Follower { in_usage: Some(in_usage), ..again.follower() }.follow(&mut log).unwrap();
                assert_eq!(again.usage(), owner.hot.snapshot().unwrap().usage_after(Some(in_usage)).unwrap());
                assert_eq!(again.ids.stats().waiting_ids, owner.ids.stats().waiting_ids);
                for key in &keys {
                    assert_eq!(again.ids.get(key).unwrap(), owner.ids.get(key).unwrap());
                    assert_eq!(again.waiting.contains(key), owner.waiting.contains(key));
                }
            }
        }
    }

    /// Logs whatever it is given.
    struct Anything;

    impl StateMachine for Anything {
        type Request = Vec<u8>;
        type Prepared = ();
        type Answer = ();

        fn bytes_max(request: &Vec<u8>) -> usize {
            RECORD_PREFIX_BYTES + request.len()
        }

        fn prepare(&mut self, request: Vec<u8>, records: &mut Records<'_>) {
            records.push(&request);
        }

        fn commit(&mut self, (): (), _position: Option<Position>) {}

        fn reject(&mut self, (): (), _error: &WalError) {}

        fn segment_ended(&mut self, _segment: u64) {}
    }

    #[test]
    fn the_first_problem_in_the_order_of_the_log_is_told() {
        let disk = SimDisk::new(1);
        let open = |disk: &SimDisk| Recovery::open(Arc::new(disk.clone()), "wal", OPTIONS, Some(1)).unwrap();
        let wal = open(&disk).start(Anything).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for version in [9, 8, 7] {
            runtime.block_on(wal.append(vec![version])).unwrap();
        }
        runtime.block_on(wal.close()).unwrap();
        let told = |disk: &SimDisk| {
            let owner = Owner::new();
            owner.follower().follow(&mut open(disk)).unwrap_err().to_string()
        };
        assert!(told(&disk).contains("format 9"));
        let path = disk.files().into_keys().next().unwrap();
        // Of each frame: 24 bytes, the record behind its length, filled up to 32; then a seal of 24.
        let flipped = |frame: usize| {
            let damaged = disk.copy();
            damaged.flip_bit(&path, 8 * (4096 + frame * 56 + 24 + RECORD_PREFIX_BYTES));
            told(&damaged)
        };
        assert!(flipped(2).contains("format 9"), "a record that cannot be read stands before the damage");
        assert!(flipped(0).contains("damaged"), "the damage stands before it");
    }

    #[test]
    fn several_threads_find_the_damage_that_one_finds_and_nothing_else() {
        let (disk, owner, keys) = written(8);
        let files = Vec::from_iter(disk.files());
        let mut random = StdRng::seed_from_u64(8);
        let (flips, mut found) = (200, 0);
        for _ in 0..flips {
            let (path, content) = &files[random.random_range(0..files.len())];
            let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 100;
            let damaged = disk.copy();
            damaged.flip_bit(path, random.random_range(0..8 * used.min(content.len())));
            match follow_both(&damaged, &keys) {
                Some(read) => check_same(&read, &owner, &keys),
                None => found += 1,
            }
        }
        println!("{flips} flipped bits, {found} found, {} harmless", flips - found);
        assert!(flips / 4 < found);
    }
}
