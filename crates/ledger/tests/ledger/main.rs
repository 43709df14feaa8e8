//! The ledger from outside: what leads to a posting, what breaks a chain, and the bytes on the page.

/// Every way in which stored postings can differ from what was written.
mod chain;
/// The page about the bytes and the code that makes them.
mod format;
/// Closed months as the chain tells them.
mod periods;
/// What must hold for any ledger.
mod properties;
/// Values that more than one test needs.
mod samples;
