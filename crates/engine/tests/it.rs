//! Behaviour of the engine over real stores.

/// Questions about the ledger.
mod query;
