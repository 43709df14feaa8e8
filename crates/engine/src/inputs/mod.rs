//! The data of a range of days as `attribution` wants it: DataFusion filters and sums, nothing is divided here.

/// Usage and snapshots as one table.
pub(crate) mod joint;
/// Parts of cost lines by day.
pub mod lines;
/// Values of dimensions that `for_each` pools are repeated for.
pub mod repeated;
/// Reading result columns.
pub(crate) mod rows;
/// Quantities by day.
pub mod usage;
/// Events that carry cost, and those that use it.
pub(crate) mod windows;
