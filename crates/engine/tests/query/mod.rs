//! Questions about ledgers that were built by hand.

/// Bills, a run, and every answer about it.
mod bills;
/// Shared clusters (S2), with the worked example of the method.
mod clusters;
/// Whatever is grouped, filtered, sorted and paged: the totals stay (C2).
mod conservation;
/// Cost by any key: scope, memo, currencies, pages, states.
mod costs;
/// The same inputs give the same ledger (C7).
mod determinism;
/// Where an amount comes from, and what a tenant is not told (T8).
mod explain;
/// Building ledgers.
mod given;
/// Bills and usage in the lake.
mod lake;
/// Entries, postings, proof, verify.
mod lists;
/// Every method at work: explained, compared, tried.
mod methods;
/// Lines that no posting tells of yet, and states that repeat.
mod not_posted;
/// Closed months: corrections, materiality, what stands against a close.
mod periods;
/// Versions of policies and rate cards.
mod publishing;
/// Runs: which days, what ends them, what they say.
mod runs;
/// Statements of closed months, and reconciliation.
mod statements;
/// Unit costs: cohorts, modes, caps, what came of workflows (S3).
mod unit_costs;
