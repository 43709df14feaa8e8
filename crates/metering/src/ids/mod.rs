//! Which event ids were accepted, with which content: exactly, for ever, in bounded memory.
//!
//! Owns: ids not yet on disk, sorted runs of ids, their filters and manifest, merging.
//! Never: events, the log, hashing, the clock, threads. No answer is a guess: a filter only spares a
//! read, and what is damaged is an error.
//! Not guaranteed: one process per folder (the owner holds its lock); ids of segments that are not
//! persisted (the owner inserts them again from its log).
//! Start reading at `IdIndex`.

/// Look-ups, insertions, and what they see.
mod index;

/// Ids that are in no run yet.
mod memory;

/// The filter over the ids of all runs.
mod sieve;

/// A run as look-ups see it.
mod run;

/// What memory holds of a run: its filter and the first keys of its pages.
mod guide;

/// Blocked Bloom filters.
mod filter;

/// The file of a run's ids.
mod run_file;

/// One page of it: the unit of reading and checking.
mod page;

/// The file of a run's guide.
mod guide_file;

/// The list of runs.
mod manifest;

/// Names of files, and how they become durable.
mod folder;

/// How ids move from memory to a run.
mod persist;

/// How several runs become one.
mod merge;

/// Reading runs from end to end.
mod cursor;

/// How the list of runs changes.
mod publish;

/// What can go wrong.
mod error;

#[cfg(test)]
mod tests;

pub use error::IdsError;
pub use index::{Found, IdBatch, IdIndex, IdOptions, IdStats};

/// Keyed hash of tenant, source and id; every value is equally likely.
pub type IdKey = [u8; 16];
/// Hash of what an event says.
pub type IdContent = [u8; 16];
