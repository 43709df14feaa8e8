//! Rows that are acknowledged and not in the lake yet, as readers need them.
//!
//! `metering` has them; readers know only this. A snapshot is taken first and the lake pinned after it: what is
//! missing in the snapshot is in the pinned tables, and the pinned tables say by their own transaction numbers which
//! segments of the log they contain.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::error::LakeError;

/// Whoever holds acknowledged rows that are not in the lake yet.
#[async_trait]
pub trait HotRows: fmt::Debug + Send + Sync {
    /// Writer of the transactions by which rows come into the lake; their numbers are segments of the log.
    fn txn_writer(&self) -> &str;

    /// Brings everything acknowledged so far into the lake.
    ///
    /// # Errors
    /// If the log or the lake fails; then everything is still acknowledged, and nothing is lost.
    async fn flush(&self) -> Result<(), LakeError>;

    /// Returns the rows as they stand. Take it before the lake is pinned.
    ///
    /// # Errors
    /// If the rows cannot be made.
    fn snapshot(&self) -> Result<Arc<dyn HotSnapshot>, LakeError>;
}

/// Hot rows at one moment.
pub trait HotSnapshot: fmt::Debug + Send + Sync {
    /// Returns how often rows were added before this moment: with it and the pinned version the usage is the same.
    fn additions(&self) -> u64;

    /// Returns rows of the table `usage` from segments after this one; from all for `None`.
    ///
    /// # Errors
    /// If the rows cannot be made.
    fn usage_after(&self, segment: Option<u64>) -> Result<Vec<RecordBatch>, LakeError>;
}
