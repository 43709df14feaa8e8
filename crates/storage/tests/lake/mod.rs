//! The lake keeps what it was given, refuses what would harm it, and notices what was changed.

/// Commits: conflicts, repeated numbers, removals, long logs.
mod commit;
/// A process killed at each step.
mod crash;
/// Another implementation reads what we wrote.
mod interop;
/// Kept imports and the lock on the data folder.
mod keeping;
/// Entries and pool days come back as they were.
mod ledger_rows;
/// Every table comes back as it was written.
mod round_trip;
/// Sample rows and helpers.
mod sample;
/// Filters skip files.
mod skipping;
/// Snapshots come back as they were, by day and source.
mod snapshot_rows;
/// Merging files, deleting what nothing needs.
mod upkeep;
/// One changed byte anywhere is found.
mod verify;
/// A store that notes what is read.
mod watched;
