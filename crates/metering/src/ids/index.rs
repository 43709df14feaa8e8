use super::error::IdsError;
use super::filter::Probe;
use super::folder::Folder;
use super::manifest::Manifest;
use super::memory::Memory;
use super::run::Run;
use super::sieve::Sieve;
use super::{IdContent, IdKey};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

const NOT_POISONED: &str = "no thread panics while it holds a lock of the index";

/// How an index behaves.
#[derive(Clone, Copy, Debug)]
pub struct IdOptions {
    /// Memory for filters: half for that of all ids, half for those of the runs.
    ///
    /// They want 2.5 bytes per stored id. With less they become coarser, so that more new ids cost a
    /// read; answers stay exact. On top come an index of pages, 1 byte for 16 stored ids, and the ids
    /// that are not yet persisted, about 64 bytes each.
    pub filter_bytes_max: usize,
    /// Called with the name of each step of writing: a place for tests to crash.
    pub at_step: fn(&str),
}

impl Default for IdOptions {
    fn default() -> Self {
        Self { filter_bytes_max: 256 << 20, at_step: |_| {} }
    }
}

/// An id that was inserted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The content it was inserted with.
    pub content: IdContent,
}

/// Sizes of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdStats {
    /// Ids in runs.
    pub stored_ids: u64,
    /// Ids that are in no run yet.
    pub waiting_ids: usize,
    /// Files of ids.
    pub runs: usize,
    /// Memory of the filters.
    pub filter_bytes: usize,
    /// Memory of the index of pages.
    pub page_index_bytes: usize,
}

/// The ids that were accepted, each with its content.
///
/// One thread, the owner's log writer, decides: `get`, `insert`, `seal`. `persist` and `merge_step`
/// block on the disk and belong on other threads; they hold up a decision only to swap a list. Any
/// thread may `get`.
#[derive(Debug)]
pub struct IdIndex {
    pub(super) folder: Folder,
    pub(super) filter_bytes_max: usize,
    state: RwLock<State>,
    /// Held while a manifest is made from the state and written.
    pub(super) publishing: Mutex<()>,
    pub(super) merging: Mutex<()>,
    pub(super) next_run: AtomicU64,
}

/// What look-ups see.
#[derive(Debug)]
pub struct State {
    pub memory: Memory,
    pub through_segment: Option<u64>,
    /// Oldest first.
    pub runs: Vec<Run>,
    pub sieve: Arc<Sieve>,
}

impl IdIndex {
    /// Returns the index in this folder, which is created if need be.
    ///
    /// # Errors
    /// [`IdsError`] if a file cannot be read or is not as it was written. Pages of ids are checked
    /// when they are read, guides are made anew.
    pub fn open(folder: &Path, options: IdOptions) -> Result<Self, IdsError> {
        std::fs::create_dir_all(folder).map_err(IdsError::io("creating", folder))?;
        let folder = Folder { path: folder.to_owned(), at_step: options.at_step };
        let manifest = Manifest::open(&folder)?;
        let last_run = manifest.runs.iter().map(|run| run.number).max().unwrap_or_default();
        let sieve = if manifest.runs.is_empty() { Sieve::new(0, options.filter_bytes_max / 2) } else { Sieve::none() };
        let index = Self {
            folder,
            filter_bytes_max: options.filter_bytes_max,
            state: RwLock::new(State {
                memory: Memory::default(),
                through_segment: manifest.through_segment,
                runs: Vec::new(),
                sieve: Arc::new(sieve),
            }),
            publishing: Mutex::default(),
            merging: Mutex::default(),
            next_run: AtomicU64::new(last_run + 1),
        };
        for name in &manifest.runs {
            let run = Run::open(&index.folder, *name, index.filter_bytes_left(&index.read().runs))?;
            index.write().runs.push(run);
        }
        // Not earlier: if a run is missing, an old manifest was put back, and what it does not name is precious.
        index.folder.remove_other_runs(&manifest.runs)?;
        Ok(index)
    }

    /// Returns the last segment of which all ids are durable here; later ones must be inserted again
    /// after [`IdIndex::open`].
    #[must_use]
    pub fn through_segment(&self) -> Option<u64> {
        self.read().through_segment
    }

    /// Returns whether the key was inserted before, and with which content.
    ///
    /// # Errors
    /// [`IdsError::Damaged`] if the page that may hold the key is not as it was written.
    pub fn get(&self, key: &IdKey) -> Result<Option<Found>, IdsError> {
        self.read().get(key)
    }

    /// Adds an id, for which [`IdIndex::get`] found nothing, to the segment that is open.
    ///
    /// Returns what was inserted already, if the owner did not ask first; it stays as it is. Ids in
    /// runs are not looked at here.
    pub fn insert(&self, key: &IdKey, content: &IdContent) -> Option<Found> {
        self.batch().insert(key, content)
    }

    /// Returns access for a batch of decisions, which a lock for each would slow down.
    ///
    /// Other look-ups wait until it is dropped; this thread must not ask the index itself meanwhile.
    #[must_use]
    pub fn batch(&self) -> IdBatch<'_> {
        IdBatch { state: self.write() }
    }

    /// Closes the open segment: the ids inserted since the last one belong to this number.
    ///
    /// # Panics
    /// If the number is not above those before.
    pub fn seal(&self, segment: u64) {
        let mut state = self.write();
        let last = state.memory.last_sealed().max(state.through_segment);
        assert!(last < Some(segment), "segment {segment} is sealed after {last:?}");
        state.memory.seal(segment);
    }

    /// Returns the sizes at this moment.
    #[must_use]
    pub fn stats(&self) -> IdStats {
        let state = self.read();
        IdStats {
            stored_ids: state.runs.iter().map(|run| run.name().entries).sum(),
            waiting_ids: state.memory.len(),
            runs: state.runs.len(),
            filter_bytes: state.sieve.bytes() + state.runs.iter().map(|run| run.guide.filter_bytes()).sum::<usize>(),
            page_index_bytes: state.runs.iter().map(|run| run.guide.first_keys_bytes()).sum(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect(NOT_POISONED)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect(NOT_POISONED)
    }
}

/// Returns the guard of a lock that only orders work.
pub(super) fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().expect(NOT_POISONED)
}

impl State {
    fn get(&self, key: &IdKey) -> Result<Option<Found>, IdsError> {
        let key = u128::from_be_bytes(*key);
        if let Some(content) = self.memory.get(key) {
            return Ok(Some(Found { content }));
        }
        let probe = Probe::new(key);
        if !self.sieve.may_contain(&probe) {
            return Ok(None);
        }
        let content = self.runs.iter().rev().find_map(|run| run.get(key, &probe).transpose()).transpose()?;
        Ok(content.map(|content| Found { content }))
    }
}

/// The index while no one else decides.
#[derive(Debug)]
pub struct IdBatch<'a> {
    state: RwLockWriteGuard<'a, State>,
}

impl IdBatch<'_> {
    /// Brings what decisions about these keys will read into the processor's caches.
    ///
    /// Nothing depends on it but time. A decision waits for one access to memory after the other;
    /// here none waits, so that many are under way at once. About 64 keys at a time are best.
    pub fn warm<'k>(&self, keys: impl IntoIterator<Item = &'k IdKey>) {
        let touch = |key| self.state.memory.touch(key) ^ self.state.sieve.touch(key);
        let touched = keys.into_iter().fold(0, |touched, key| touched ^ touch(u128::from_be_bytes(*key)));
        // Or else the reads would be left out.
        std::hint::black_box(touched);
    }

    /// Returns what [`IdIndex::get`] does.
    pub fn get(&self, key: &IdKey) -> Result<Option<Found>, IdsError> {
        self.state.get(key)
    }

    /// Does and returns what [`IdIndex::insert`] does.
    pub fn insert(&mut self, key: &IdKey, content: &IdContent) -> Option<Found> {
        let existing = self.state.memory.insert(u128::from_be_bytes(*key), *content);
        existing.map(|content| Found { content })
    }
}
