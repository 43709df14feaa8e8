//! Questions about ledgers that were built by hand.

/// Whatever is grouped, filtered, sorted and paged: the totals stay (C2).
mod conservation;
/// Cost by any key: scope, memo, currencies, pages, states.
mod costs;
/// Where an amount comes from, and what a tenant is not told (T8).
mod explain;
/// Building ledgers.
mod given;
/// Entries, postings, proof, verify.
mod lists;
