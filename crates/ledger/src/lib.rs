//! The ledger as values: what an entry is, what has to be posted, and how anyone can check it.
//!
//! Owns: entry, key, difference, posting, closed months, canonical bytes, hash chain, proof.
//! Never: where or how entries are stored, I/O, async, the clock, floats, prices, splits.
//! Start reading at [`mod@difference`]: a posting is what the ledger should say minus what it says.
//! The bytes that are hashed are described in `docs/ledger-format.md`.

/// That the entries of a pool and day add up to what went into it.
pub mod balance;
/// Values by entry key, in key order.
pub mod by_key;
/// The bytes of an entry that are hashed.
pub mod canonical;
/// Finding the first posting that is not as it was written.
pub mod chain;
/// What the ledger should say minus what it says.
pub mod difference;
/// One immutable line.
pub mod entry;
/// What identifies a cost: all columns by which existing and desired entries are compared.
pub mod key;
/// Which billing months are closed.
pub mod periods;
/// What went into a pool on a day.
pub mod pool_day;
/// All entries of one run, numbered, dated and sealed with a hash.
pub mod posting;
/// The checkable statement per day, pool and measure.
pub mod proof;
/// The words of the ledger's own columns: kind, status, charge class, cause.
pub mod words;

pub use balance::{Imbalance, Measures, PoolOfDay, Totals, check_totals, totals_of};
pub use by_key::ByKey;
pub use canonical::{COLUMNS, ChainHash, SCHEMA, canonical_bytes, posting_hash};
pub use chain::{Broken, Chain, ChainFault, Head, verify_chain};
pub use difference::{Desired, Difference, Existing, Sums, differences};
pub use entry::Entry;
pub use key::{EntryKey, consumer, labels_of_key};
pub use periods::{PeriodFault, Periods};
pub use pool_day::{PoolDay, PoolState};
pub use posting::{Header, Line, PeriodChange, Posting, Unsealed};
pub use proof::{ConsumerClass, LedgerSum, Measure, ProofRow, ProofState, prove};
pub use words::{Cause, ChargeClass, EntryKind, Status};
