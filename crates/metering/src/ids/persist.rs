//! How ids move from memory to the disk: a run, then a manifest that names it.

use super::error::IdsError;
use super::index::lock;
use super::memory::sorted;
use super::page::Entry;
use super::run::Run;
use super::{IdContent, IdIndex, IdKey};
use std::sync::Arc;

impl IdIndex {
    /// Makes the ids of all segments up to this one durable; does nothing if they are.
    ///
    /// # Errors
    /// [`IdsError`] if the disk refuses. The ids stay in memory, and trying again is safe.
    ///
    /// # Panics
    /// If the segment is not sealed: its ids would be forgotten after a crash.
    pub fn persist(&self, through_segment: u64) -> Result<(), IdsError> {
        let _publishing = lock(&self.publishing);
        let sealed = {
            let state = self.read();
            if Some(through_segment) <= state.through_segment {
                return Ok(());
            }
            assert!(Some(through_segment) <= state.memory.last_sealed(), "segment {through_segment} is not sealed");
            state.memory.sealed_through(through_segment)
        };
        self.add_run(Some(through_segment), sorted(&sealed))
    }

    /// Stores ids of events that are in no segment of the log, and returns how many were new.
    ///
    /// For what was accepted before there was an index: give it in chunks, such as a million ids at a
    /// time, and call [`IdIndex::merge_step`] between them. Of ids with one key the first one counts.
    /// No one may insert meanwhile.
    ///
    /// # Errors
    /// [`IdsError`] if the disk refuses or a page is damaged. Trying again is safe.
    pub fn import(&self, ids: &[(IdKey, IdContent)]) -> Result<usize, IdsError> {
        let mut entries = Vec::with_capacity(ids.len());
        let _publishing = lock(&self.publishing);
        for (key, content) in ids {
            if self.get(key)?.is_none() {
                entries.push(Entry { key: u128::from_be_bytes(*key), content: *content });
            }
        }
        entries.sort_by_key(|entry| entry.key);
        entries.dedup_by_key(|entry| entry.key);
        let new = entries.len();
        self.add_run(self.through_segment(), entries)?;
        Ok(new)
    }

    /// Publishes these entries, in order of their keys, as the newest run. The caller holds `publishing`.
    fn add_run(&self, through_segment: Option<u64>, entries: Vec<Entry>) -> Result<(), IdsError> {
        let mut runs = self.read().runs.clone();
        if entries.is_empty() {
            return self.publish(through_segment, runs);
        }
        let sieve = Arc::clone(&self.read().sieve);
        entries.iter().for_each(|entry| sieve.add(entry.key));
        drop(sieve);
        let (left, entries_max) = (self.filter_bytes_left(&runs), entries.len() as u64);
        let run = self.write_new_run(entries_max, left, entries.into_iter().map(Ok))?;
        let publish = || {
            runs.push(Run::open(&self.folder, run, left)?);
            self.publish(through_segment, runs)
        };
        publish().inspect_err(|_| self.abandon(run))
    }
}
