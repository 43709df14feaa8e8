//! Files in memory that behave as badly as the real ones may.
//!
//! Only what was synced is certain to survive [`SimDisk::power_cut`]: of the rest, each sector of 512
//! bytes keeps any of its contents since the last sync, whatever became of the others, and each name
//! is there or not. A failed sync leaves its pages looking written, as Linux does.

use super::disk::{Disk, DiskFile};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR_BYTES: usize = 512;
/// Error numbers of Linux.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

type FileId = usize;
type Sector = [u8; SECTOR_BYTES];

/// What a disk can be told to fail at, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A new file.
    Create,
    /// A write, of which the first half is done if it fails.
    Write,
    /// A sync of a file.
    Sync,
    /// A sync of a folder.
    SyncDir,
    /// A removed name.
    Remove,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, FileId>,
    synced_names: BTreeMap<PathBuf, FileId>,
    counts: BTreeMap<Operation, u64>,
    faults: Vec<(Operation, u64, Failure)>,
    /// Operations until the power goes.
    power_left: Option<u64>,
    room_bytes: usize,
    /// Decides which pages a failing sync wrote.
    random: StdRng,
}

#[derive(Clone, Debug, Default)]
struct Content {
    cached: Vec<u8>,
    synced: Vec<u8>,
    /// What each sector held since the last sync, oldest first.
    dirty: BTreeMap<usize, Vec<Sector>>,
}

impl SimDisk {
    /// Returns an empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            counts: BTreeMap::new(),
            faults: Vec::new(),
            power_left: None,
            room_bytes: usize::MAX,
            random: StdRng::seed_from_u64(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Returns what a power cut leaves of the disk. This one fails every operation from now on.
    #[must_use]
    pub fn power_cut(&self, random: &mut impl Rng) -> Self {
        let after = self.kill();
        let mut state = after.lock();
        let survival = [0.0, 0.5, 0.9, 1.0][random.random_range(0..4)];
        let paths: BTreeSet<PathBuf> = state.names.keys().chain(state.synced_names.keys()).cloned().collect();
        for path in paths {
            if !random.random_bool(survival) {
                let synced = state.synced_names.get(&path).copied();
                match synced {
                    Some(id) => state.names.insert(path, id),
                    None => state.names.remove(&path),
                };
            }
        }
        state.synced_names = state.names.clone();
        state.files.iter_mut().for_each(|file| file.lose_power(survival, random));
        drop(state);
        after
    }

    /// Returns the disk as the next process finds it. This one fails every operation from now on.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        let mut after = State { power_left: None, faults: Vec::new(), room_bytes: usize::MAX, ..state.clone() };
        state.power_left = Some(0);
        let named: BTreeSet<FileId> = after.names.values().chain(after.synced_names.values()).copied().collect();
        for id in (0..after.files.len()).filter(|id| !named.contains(id)) {
            after.files[id] = Content::default();
        }
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// Returns an independent disk with the same content.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())) }
    }

    /// Lets this many more changes happen before all fail.
    pub fn power_off_after(&self, operations: u64) {
        self.lock().power_left = Some(operations);
    }

    /// Makes the n-th operation of a kind from now on fail, counted from 1.
    pub fn fail(&self, operation: Operation, nth: u64, failure: Failure) {
        self.lock().faults.push((operation, nth, failure));
    }

    /// Lets files grow by this many more bytes; removed files give theirs back.
    pub fn set_room(&self, bytes: usize) {
        self.lock().room_bytes = bytes;
    }

    /// Returns how often this was done.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    /// Returns the files with their content as visible now.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        state.names.iter().map(|(path, id)| (path.clone(), state.files[*id].cached.clone())).collect()
    }

    /// Flips one bit of a file, as decay does.
    ///
    /// # Panics
    /// If there is no such file or bit.
    pub fn flip_bit(&self, path: &Path, bit: usize) {
        let mut state = self.lock();
        let id = state.names[path];
        let file = &mut state.files[id];
        file.cached[bit / 8] ^= 1 << (bit % 8);
        file.synced[bit / 8] ^= 1 << (bit % 8);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let now = sector_of(&self.cached, sector);
            self.dirty.entry(sector).or_default().push(now);
        }
    }

    /// Writes dirty pages only: what a failed sync has lost stays lost.
    fn sync(&mut self) {
        self.synced.resize(self.cached.len(), 0);
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let begin = sector * SECTOR_BYTES;
            let end = self.cached.len().min(begin + SECTOR_BYTES);
            self.synced[begin..end].copy_from_slice(&self.cached[begin..end]);
        }
    }

    /// Some pages reach the disk, all count as written: a later sync does not try again.
    fn fail_sync(&mut self, random: &mut StdRng) {
        let survival = [0.0, 0.5, 1.0][random.random_range(0..3)];
        self.settle(survival, random);
    }

    fn lose_power(&mut self, survival: f64, random: &mut impl Rng) {
        self.settle(survival, random);
        self.cached.clone_from(&self.synced);
    }

    fn settle(&mut self, survival: f64, random: &mut impl Rng) {
        if self.synced.len() < self.cached.len() && random.random_bool(survival) {
            self.synced.resize(self.cached.len(), 0);
        }
        for (sector, contents) in std::mem::take(&mut self.dirty) {
            let begin = sector * SECTOR_BYTES;
            if begin < self.synced.len() && random.random_bool(survival) {
                let end = self.synced.len().min(begin + SECTOR_BYTES);
                let kept = contents[random.random_range(0..contents.len())];
                self.synced[begin..end].copy_from_slice(&kept[..end - begin]);
            }
        }
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> Sector {
    let begin = sector * SECTOR_BYTES;
    let end = bytes.len().min(begin + SECTOR_BYTES);
    let mut content = [0; SECTOR_BYTES];
    content[..end - begin].copy_from_slice(&bytes[begin..end]);
    content
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.power_left == Some(0) { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts a change and fails it if its turn has come.
    fn change(&mut self, operation: Operation) -> io::Result<()> {
        self.check_power()?;
        self.power_left = self.power_left.map(|left| left - 1);
        *self.counts.entry(operation).or_default() += 1;
        self.faults.iter_mut().filter(|fault| fault.0 == operation).for_each(|fault| fault.1 -= 1);
        let Some(due) = self.faults.iter().position(|(_, left, _)| *left == 0) else { return Ok(()) };
        Err(self.faults.swap_remove(due).2.error())
    }

    fn find(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, id: FileId, bytes: &[u8], offset: usize) -> io::Result<()> {
        let changed = self.change(Operation::Write);
        let bytes = match &changed {
            Ok(()) => bytes,
            Err(error) if is_injected(error) => &bytes[..bytes.len() / 2],
            Err(_) => return changed,
        };
        let growth = (offset + bytes.len()).saturating_sub(self.files[id].cached.len());
        if self.room_bytes < growth {
            return Err(Failure::NoSpace.error());
        }
        self.room_bytes -= growth;
        self.files[id].write(bytes, offset);
        changed
    }
}

/// Whether the disk failed, rather than the power.
fn is_injected(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

impl Failure {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io => EIO,
            Self::NoSpace => ENOSPC,
        })
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.check_power()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&self, path: &Path, _bytes: usize) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.change(Operation::Create)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.len();
        state.files.push(Content::default());
        state.names.insert(path.to_owned(), id);
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.lock();
        state.check_power()?;
        Ok(Box::new(SimFile { disk: self.clone(), id: state.find(path)? }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.change(Operation::Remove)?;
        let id = state.find(path)?;
        state.names.remove(path);
        state.room_bytes = state.room_bytes.saturating_add(state.files[id].cached.len());
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.change(Operation::SyncDir)?;
        let inside = |path: &Path| path.parent() == Some(dir);
        state.synced_names.retain(|path, _| !inside(path));
        let names: Vec<_> =
            state.names.iter().filter(|(path, _)| inside(path)).map(|(p, id)| (p.clone(), *id)).collect();
        state.synced_names.extend(names);
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: FileId,
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.check_power()?;
        Ok(state.files[self.id].cached.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        let state = self.disk.lock();
        state.check_power()?;
        let content = state.files[self.id].cached.get(offset..offset + buffer.len());
        buffer.copy_from_slice(content.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: usize) -> io::Result<()> {
        self.disk.lock().write(self.id, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let synced = state.change(Operation::Sync);
        let State { files, random, .. } = &mut *state;
        match &synced {
            Ok(()) => files[self.id].sync(),
            Err(error) if is_injected(error) => files[self.id].fail_sync(random),
            Err(_) => {}
        }
        synced
    }
}
