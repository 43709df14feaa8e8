//! Collectors against stand-ins of their providers, which speak the documented contracts.

/// Every fault, for every collector.
pub(crate) mod faults;
/// A collector, a stand-in and a store.
pub(crate) mod given;
/// What holds for all of them.
mod runner;
/// Servers that stand in for providers.
pub(crate) mod stand_in;
/// Supabase.
mod supabase;
/// Vercel.
mod vercel;
/// Wasabi.
mod wasabi;
/// What is logged.
pub(crate) mod watched;
