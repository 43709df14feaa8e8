//! The ids that are in no run yet, by the log segment that holds their events.

use super::IdContent;
use super::page::Entry;
use std::sync::Arc;

const BUCKET_ENTRIES: usize = 8;
/// With four on average, one bucket in fifty is full.
const BUCKET_ENTRIES_MEAN_MAX: usize = 4;

/// Ids in memory. A key is in at most one of the segments.
#[derive(Debug, Default)]
pub struct Memory {
    open: Ids,
    /// In order of their segments.
    sealed: Vec<Sealed>,
}

/// The ids of a finished segment; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub segment: u64,
    ids: Arc<Ids>,
}

impl Memory {
    /// Returns the content of the key.
    pub fn get(&self, key: u128) -> Option<IdContent> {
        let sealed = || self.sealed.iter().find_map(|sealed| sealed.ids.get(key));
        self.open.get(key).or_else(sealed)
    }

    /// Returns a word of the bucket that decides about the key: of no use but to have been read.
    pub fn touch(&self, key: u128) -> u64 {
        u64::from(self.open.buckets[self.open.home(key)].tags[0])
    }

    /// Adds the id to the open segment, or returns the content that the key has already.
    pub fn insert(&mut self, key: u128, content: IdContent) -> Option<IdContent> {
        let existing = self.get(key);
        if existing.is_none() {
            self.open.push(Entry { key, content });
        }
        existing
    }

    /// Closes the open segment under this number, and opens the next.
    pub fn seal(&mut self, segment: u64) {
        // The next segment is probably as large.
        let next = Ids::with_capacity(self.open.entries.len());
        let ids = Arc::new(std::mem::replace(&mut self.open, next));
        self.sealed.push(Sealed { segment, ids });
    }

    /// Returns the last segment that is sealed and still here.
    pub fn last_sealed(&self) -> Option<u64> {
        self.sealed.last().map(|sealed| sealed.segment)
    }

    /// Returns the sealed segments up to this one.
    pub fn sealed_through(&self, segment: u64) -> Vec<Sealed> {
        self.sealed.iter().filter(|sealed| sealed.segment <= segment).cloned().collect()
    }

    /// Removes and returns the sealed segments up to this one.
    pub fn take_through(&mut self, segment: Option<u64>) -> Vec<Sealed> {
        self.sealed.extract_if(.., |sealed| Some(sealed.segment) <= segment).collect()
    }

    /// Returns how many ids are here.
    pub fn len(&self) -> usize {
        self.open.entries.len() + self.sealed.iter().map(|sealed| sealed.ids.entries.len()).sum::<usize>()
    }
}

/// Returns the ids of all these segments in order of their keys.
pub fn sorted(segments: &[Sealed]) -> Vec<Entry> {
    let segments: Vec<_> = segments.iter().map(|sealed| &sealed.ids.entries[..]).collect();
    let mut entries = segments.concat();
    entries.sort_unstable_by_key(|entry| entry.key);
    entries
}

/// Ids in the order in which they came, and a table to find them by.
///
/// A standard map would hold the ids in its table, so that a new one costs a write to a distant
/// place. Here it costs one access to a bucket, the size of a cache line, and what it appends is near.
#[derive(Debug)]
struct Ids {
    entries: Vec<Entry>,
    /// A power of two.
    buckets: Vec<Bucket>,
}

impl Default for Ids {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

/// Where up to eight entries are, filled from the left; what does not fit is in a bucket that follows.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Parts of the keys; 0 is free.
    tags: [u32; BUCKET_ENTRIES],
    positions: [u32; BUCKET_ENTRIES],
}

impl Ids {
    fn with_capacity(entries: usize) -> Self {
        let buckets = entries.div_ceil(BUCKET_ENTRIES_MEAN_MAX).next_power_of_two();
        Self { entries: Vec::with_capacity(entries), buckets: vec![Bucket::default(); buckets] }
    }

    fn get(&self, key: u128) -> Option<IdContent> {
        let (mut at, tag) = (self.home(key), tag(key));
        loop {
            let bucket = &self.buckets[at];
            // Nearly never true for a new key, and nearly never full: branches the processor can foresee.
            if bucket.tags.iter().fold(false, |any, other| any | (*other == tag)) {
                let positions = bucket.positions.iter().zip(bucket.tags).filter(|(_, other)| *other == tag);
                let mut entries = positions.map(|(position, _)| &self.entries[*position as usize]);
                if let Some(entry) = entries.find(|entry| entry.key == key) {
                    return Some(entry.content);
                }
            }
            if bucket.tags[BUCKET_ENTRIES - 1] == 0 {
                return None;
            }
            at = self.wrap(at + 1);
        }
    }

    /// Adds an entry whose key is not here.
    fn push(&mut self, entry: Entry) {
        if self.buckets.len() * BUCKET_ENTRIES_MEAN_MAX <= self.entries.len() {
            self.buckets = vec![Bucket::default(); self.buckets.len() * 2];
            (0..self.entries.len()).for_each(|position| self.link(position));
        }
        self.entries.push(entry);
        self.link(self.entries.len() - 1);
    }

    fn link(&mut self, position: usize) {
        let key = self.entries[position].key;
        let mut at = self.home(key);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(free) = bucket.tags.iter().position(|tag| *tag == 0) {
                bucket.tags[free] = tag(key);
                bucket.positions[free] = u32::try_from(position).expect("a segment is far below 4 billion ids");
                return;
            }
            at = self.wrap(at + 1);
        }
    }

    /// Returns the bucket where the search for a key begins.
    fn home(&self, key: u128) -> usize {
        self.wrap(key as usize)
    }

    fn wrap(&self, at: usize) -> usize {
        at & (self.buckets.len() - 1)
    }
}

/// Returns a part of the key that does not choose the bucket, and is never 0.
fn tag(key: u128) -> u32 {
    (key >> 32) as u32 | 1
}
