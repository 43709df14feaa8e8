//! Keeps what must be kept: the lake (large, columnar, versioned) and the catalog (small, relational).
//!
//! Owns: tables, files, commits, migrations, and the promise that what was acknowledged is on disk.
//! Never: prices, splits, HTTP, the wall clock. Times and ids come in as parameters.
//! Start reading at [`lake`] and [`catalog`].

/// The small relational store: tenants, tokens, rules, rates, the record of work.
pub mod catalog;
/// Named steps at which a test may kill the process.
pub mod failpoint;
/// The large, columnar, versioned store: events, usage, bills, pools, the ledger.
pub mod lake;
/// A reader of what others sent that stops at a limit.
pub mod limited;
