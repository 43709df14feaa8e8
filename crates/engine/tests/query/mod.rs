//! Questions about ledgers that were built by hand.

/// Bills, a run, and every answer about it.
mod bills;
/// Shared clusters (S2), with the worked example of the method.
mod clusters;
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
