//! What the index promises, tried from outside.

/// Crashes at every step of writing.
mod crash;
/// Damaged, missing and exchanged files.
mod damage;
/// Mistakes of the owner, small memory, full disks, several threads.
mod edges;
/// Random work beside a map.
mod model;

use super::{IdContent, IdIndex, IdKey, IdOptions};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// SplitMix64: the same seed gives the same cases everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A key; one in ten shares its upper half with many others, so that pages begin alike.
    fn key(&mut self) -> IdKey {
        let upper = if self.below(10) == 0 { self.next() % 3 } else { self.next() };
        (u128::from(upper) << 64 | u128::from(self.next())).to_be_bytes()
    }

    fn content(&mut self) -> IdContent {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }

    fn ids(&mut self, count: usize) -> Vec<(IdKey, IdContent)> {
        (0..count).map(|_| (self.key(), self.content())).collect()
    }
}

/// An index whose owner keeps a log, and a map that knows the right answers.
struct Owner {
    index: IdIndex,
    /// What was accepted, by segment; 0 is what was imported.
    log: BTreeMap<u64, Vec<(IdKey, IdContent)>>,
    /// The segment that is open, from 1.
    segment: u64,
}

impl Owner {
    fn open(folder: &Path, options: IdOptions) -> Self {
        let index = IdIndex::open(folder, options).unwrap();
        Self { index, log: BTreeMap::new(), segment: 1 }
    }

    /// Starts again: memory is gone, and the log is replayed.
    fn reopen(self, folder: &Path, options: IdOptions) -> Self {
        let Self { index, log, segment } = self;
        drop(index);
        let index = IdIndex::open(folder, options).unwrap();
        Self { index, log, segment }.replayed()
    }

    fn replayed(self) -> Self {
        let through = self.index.through_segment().unwrap_or_default();
        for (segment, ids) in self.log.range(through + 1..) {
            for (key, content) in ids {
                assert_eq!(self.index.insert(key, content), None);
            }
            if *segment < self.segment {
                self.index.seal(*segment);
            }
        }
        self
    }

    fn accept(&mut self, ids: Vec<(IdKey, IdContent)>) {
        for (key, content) in &ids {
            assert_eq!(self.index.get(key).unwrap(), None, "{key:?} is new");
            assert_eq!(self.index.insert(key, content), None);
        }
        self.log.entry(self.segment).or_default().extend(ids);
    }

    fn seal(&mut self) {
        self.index.seal(self.segment);
        self.log.entry(self.segment).or_default();
        self.segment += 1;
    }

    /// Accepts these as a segment of their own, and persists it.
    fn store(&mut self, ids: Vec<(IdKey, IdContent)>) {
        self.accept(ids);
        self.seal();
        self.index.persist(self.segment - 1).unwrap();
    }

    fn ids(&self) -> impl Iterator<Item = &(IdKey, IdContent)> {
        self.log.values().flatten()
    }

    /// Asks for every id that was accepted, and for as many that were not.
    fn check(&self, random: &mut Random, what: &str) {
        for (key, content) in self.ids() {
            let found = self.index.get(key).unwrap().map(|found| found.content);
            assert_eq!(found, Some(*content), "{what}: {key:?} was accepted");
            let unknown = random.key();
            assert_eq!(self.index.get(&unknown).unwrap(), None, "{what}: {unknown:?} was not accepted");
        }
    }
}

fn options(filter_bytes_max: usize) -> IdOptions {
    IdOptions { filter_bytes_max, ..IdOptions::default() }
}

/// Returns a folder in memory if there is one: what a disk may lose is simulated, so a real one would
/// only make the tests wait.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
