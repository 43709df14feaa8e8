//! Lines to data files of the table `cost_lines`.
//!
//! Every data file holds lines of exactly one key (source, billing account, billing period) and says
//! in its tags what the whole key holds: replacing a key is removing its files and adding others.

/// Lines as columns.
mod columns;
/// Which days a line touches, and sets of days.
mod days;
/// Several data files at once, with bounded memory.
mod files;
/// The same rows, whatever their order, have the same hash.
mod hash;
/// Keys, and what the lake holds of each.
mod key;
/// One commit that replaces keys.
mod replace;
/// What the rows of a set add up to, by key.
mod sums;

pub(crate) use columns::LineColumns;
pub use days::{DaySet, charge_days};
pub(crate) use files::{FileBatch, FileSet};
pub use hash::{RowHash, RowSetHash};
pub(crate) use key::other_sources;
pub use key::{ImportKey, StoredKey, stored_keys};
pub(crate) use replace::{ImportFacts, Replacement, replace_keys};
pub use replace::{import_row_from_commit, touched_days_of_commit};
pub use sums::{CurrencySums, KeySums};
