//! Golden cases and laws of attribution.

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
