//! One filter over the ids of all runs, so that a new id costs one memory access however many runs there are.
//!
//! It is made from the runs and lives in memory only. Without it, or when it lets an id pass, the
//! filters of the runs are asked.

use super::IdIndex;
use super::error::IdsError;
use super::filter::{BLOCK_BYTES, Probe, WORDS};
use super::index::lock;
use super::manifest::RunName;
use super::run::Run;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits per id when it is made, and when it is due to be made anew: one new id in 2,000, or in 30, passes.
const BITS_PER_ID: u64 = 16;
const BITS_PER_ID_MIN: u64 = 8;
/// It is never made for fewer ids. The first one, of a new index, is made for as many.
const IDS_MIN: u64 = 4096;
const BLOCK_BITS: u64 = 8 * BLOCK_BYTES as u64;

/// A filter like that of a run, but ids are added while look-ups go on. Bits are only ever set.
///
/// Invariant: once a list of runs is published, the sieve beside it has all their ids.
#[derive(Debug)]
pub struct Sieve {
    /// Without blocks, nothing is ruled out.
    blocks: Vec<SharedBlock>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct SharedBlock([AtomicU64; WORDS]);

impl Sieve {
    /// Returns an empty sieve for so many ids, if memory allows.
    pub fn new(ids: u64, bytes_max: usize) -> Self {
        let wanted = (ids.max(IDS_MIN) * BITS_PER_ID).div_ceil(BLOCK_BITS);
        let blocks = wanted.min((bytes_max / BLOCK_BYTES) as u64);
        Self { blocks: (0..blocks).map(|_| SharedBlock::default()).collect() }
    }

    /// Returns a sieve that rules out nothing.
    pub fn none() -> Self {
        Self { blocks: Vec::new() }
    }

    /// Adds a key. One thread adds at a time: it holds `publishing`, or the sieve is not yet shared.
    pub fn add(&self, key: u128) {
        let probe = Probe::new(key);
        let Some(block) = self.blocks.get(probe.block_of(self.blocks.len())) else { return };
        for (word, bit) in block.0.iter().zip(probe.bits()) {
            // Look-ups see the bits in time: they take the lock under which the run of the key is published.
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }

    /// Returns `false` only if the key was never added.
    pub fn may_contain(&self, probe: &Probe) -> bool {
        let Some(block) = self.blocks.get(probe.block_of(self.blocks.len())) else { return true };
        let words = block.0.iter().zip(probe.bits());
        words.fold(0, |missing, (word, bit)| missing | (!word.load(Ordering::Relaxed) & bit)) == 0
    }

    /// Returns a word of the block that decides about the key: of no use but to have been read.
    pub fn touch(&self, key: u128) -> u64 {
        let block = self.blocks.get(Probe::new(key).block_of(self.blocks.len()));
        block.map_or(0, |block| block.0[0].load(Ordering::Relaxed))
    }

    /// Returns the memory that it takes.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    fn is_enough_for(&self, ids: u64, bytes_max: usize) -> bool {
        let is_largest = bytes_max < self.bytes() + BLOCK_BYTES;
        is_largest || ids * BITS_PER_ID_MIN <= self.blocks.len() as u64 * BLOCK_BITS
    }

    fn add_run(&self, run: &Run) -> Result<(), IdsError> {
        run.file.entries().try_for_each(|entry| entry.map(|entry| self.add(entry.key)))
    }
}

impl IdIndex {
    /// Makes the sieve anew if it is too small, and returns whether it did. The caller holds `merging`.
    pub(super) fn renew_sieve(&self) -> Result<bool, IdsError> {
        let (runs, old) = {
            let state = self.read();
            (state.runs.clone(), Arc::clone(&state.sieve))
        };
        let ids = runs.iter().map(|run| run.name().entries).sum();
        if old.is_enough_for(ids, self.sieve_bytes_max()) {
            return Ok(false);
        }
        let new = Sieve::new(ids, self.sieve_bytes_max());
        if self.sieve_bytes_max() < old.bytes() + new.bytes() {
            self.write().sieve = Arc::new(Sieve::none());
        }
        drop(old);
        runs.iter().try_for_each(|run| new.add_run(run))?;
        (self.folder.at_step)("ids-sieve-filled");

        let _publishing = lock(&self.publishing);
        // What was persisted meanwhile. Nothing was merged, because the caller holds `merging`.
        let known: Vec<RunName> = runs.iter().map(Run::name).collect();
        let added: Vec<_> = self.read().runs.iter().filter(|run| !known.contains(&run.name())).cloned().collect();
        added.iter().try_for_each(|run| new.add_run(run))?;
        self.write().sieve = Arc::new(new);
        tracing::info!(ids, "the sieve of the id index was made anew");
        Ok(true)
    }

    fn sieve_bytes_max(&self) -> usize {
        self.filter_bytes_max / 2
    }
}
