//! Golden cases and laws of attribution.

use proptest::prelude::ProptestConfig;

/// Builders of a day's inputs.
mod given;
/// The golden cases of the split rule.
mod golden;
/// Prices that depend on the month's quantity.
mod graduated;
/// Conservation, order independence, zero weights, signs.
mod laws;
/// Worked examples of every method.
mod methods;
/// A slow reference that random days must equal.
mod oracle;
/// Statements in whole minor units (C8).
mod statements;
/// Costs that events carry, and who used them in time.
mod windows;

/// As many cases as the gate asks for, or the long run: `make soak` says how many those are.
pub(crate) fn cases(gate: u32) -> ProptestConfig {
    let long = std::env::var("PROPTEST_CASES").ok().map(|count| count.parse::<u32>().expect("a count"));
    ProptestConfig::with_cases(gate.max(long.unwrap_or(0)))
}
