//! Sample data and clocks for tests: bills and events that say only what a test is about.
//!
//! Owns: builders of FOCUS files and CloudEvents, fixed clocks, the PostgreSQL server of a test.
//! Never: assertions, stores, anything that the product itself needs at run time.
//! Start reading at [`bill::Bill`].

/// FOCUS files.
pub mod bill;
/// CloudEvents in NDJSON.
pub mod events;
/// A real PostgreSQL server.
pub mod postgres;

use domain::{FixedClock, Instant};

/// Returns a clock that stands at this time.
///
/// # Panics
/// When the text is no time: a mistake of the test.
#[must_use]
pub fn clock_at(time: &str) -> FixedClock {
    FixedClock::at(Instant::parse_lenient(time).expect("a time such as 2026-11-20T12:00:00Z"))
}
