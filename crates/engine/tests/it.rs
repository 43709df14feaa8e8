//! Behaviour of the engine over real stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Questions about the ledger.
mod query;
