//! How the list of runs changes: first on disk, then for look-ups.

use super::IdIndex;
use super::error::IdsError;
use super::manifest::{Manifest, RunName};
use super::page::Entry;
use super::run::Run;
use super::run_file::write_run;
use std::sync::atomic::Ordering;

impl IdIndex {
    /// Writes a run that no manifest names yet, and returns its name.
    pub(super) fn write_new_run(
        &self,
        entries_max: u64,
        filter_bytes_left: usize,
        entries: impl Iterator<Item = Result<Entry, IdsError>>,
    ) -> Result<RunName, IdsError> {
        let number = self.next_run.fetch_add(1, Ordering::Relaxed);
        let entries = write_run(&self.folder, number, entries_max, filter_bytes_left, entries)?;
        Ok(RunName { number, entries })
    }

    /// Makes these the runs, and this the last segment in them. The caller holds `publishing`.
    pub(super) fn publish(&self, through_segment: Option<u64>, runs: Vec<Run>) -> Result<(), IdsError> {
        Manifest { through_segment, runs: runs.iter().map(Run::name).collect() }.write(&self.folder)?;
        self.show(through_segment, runs);
        Ok(())
    }

    /// Lets look-ups see these runs. The caller holds `publishing`.
    pub(super) fn show(&self, through_segment: Option<u64>, runs: Vec<Run>) {
        let mut state = self.write();
        state.through_segment = through_segment;
        let old_ids = state.memory.take_through(through_segment);
        let old_runs = std::mem::replace(&mut state.runs, runs);
        // Freeing tables of millions of ids takes a while; no decision waits for it.
        drop(state);
        drop((old_ids, old_runs));
    }

    /// Removes a run that could not be published, because a full disk must not fill up with attempts.
    pub(super) fn abandon(&self, run: RunName) {
        // After some errors the manifest on disk names it all the same; then it is needed.
        let is_unnamed = |manifest: Option<Manifest>| manifest.is_some_and(|manifest| !manifest.runs.contains(&run));
        if Manifest::read(&self.folder).is_ok_and(is_unnamed) {
            self.folder.remove_runs(&[run]);
        }
    }

    /// Returns the memory that the filter of a run may take beside those of these runs.
    pub(super) fn filter_bytes_left<'a>(&self, runs: impl IntoIterator<Item = &'a Run>) -> usize {
        (self.filter_bytes_max / 2).saturating_sub(runs.into_iter().map(|run| run.guide.filter_bytes()).sum())
    }
}
