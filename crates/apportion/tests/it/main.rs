//! The real binary, run as a person would.

/// From a bill and usage to a proved ledger.
mod smoke;
