//! What can go wrong with the lake.

use std::path::PathBuf;

use super::table::Table;

/// Any failure of the lake. Messages say what to do where a person can do something.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Someone committed this version first. Nothing was written; pin again and start over.
    #[error("version {version} of table {table} already exists; pin the table again and start over")]
    Conflict {
        /// The table that was to be written.
        table: Table,
        /// The version that was already taken.
        version: u64,
    },
    /// The number was already used by this writer: the same work was done before.
    #[error("table {table} already holds transaction {latest} of {app_id}; {given} is not newer")]
    TxnReplayed {
        /// The table that was to be written.
        table: Table,
        /// The writer whose numbers only grow.
        app_id: String,
        /// The number of the refused commit.
        given: i64,
        /// The newest number in the pinned version.
        latest: i64,
    },
    /// The table only ever grows, and the commit would have taken something away.
    #[error("table {0} is append-only; nothing can be removed from it")]
    AppendOnly(Table),
    /// The commit does not fit the pinned version.
    #[error("commit to table {table} refused: {reason}")]
    BadCommit {
        /// The table that was to be written.
        table: Table,
        /// What does not fit.
        reason: String,
    },
    /// The rows do not have the columns of the table.
    #[error("rows for table {table} refused: {reason}")]
    BadBatch {
        /// The table that was to be written.
        table: Table,
        /// What does not fit.
        reason: String,
    },
    /// The folder was written by another version of Apportion.
    #[error("{what} has format version {found}, this program reads {expected}; use a matching version of apportion")]
    FormatVersion {
        /// The lake or one of its tables.
        what: String,
        /// What stands in the file.
        found: String,
        /// What this program reads and writes.
        expected: u32,
    },
    /// A stored file is not what was written.
    #[error("{file} is damaged: {reason}; run `apportion ledger verify` and restore the file from a backup")]
    Damaged {
        /// Path below the lake's root.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process works on the data folder.
    #[error("another process holds the data folder {}; stop it, or use --server to talk to it", .0.display())]
    Locked(PathBuf),
    /// No kept import has this hash.
    #[error("no kept import {0}")]
    ImportMissing(String),
    /// A sync failed, so that nobody knows what is on stable storage. Never retried.
    #[error("syncing to disk failed while {doing}; stop this process, free or repair the disk, start again")]
    SyncFailed {
        /// What was going on.
        doing: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// The object store failed.
    #[error("storage failed while {doing}")]
    Store {
        /// What was going on.
        doing: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// The file system failed.
    #[error("file system failed while {doing}")]
    Io {
        /// What was going on.
        doing: String,
        /// The system's own error.
        source: std::io::Error,
    },
    /// Writing Parquet failed.
    #[error("writing parquet failed")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Shaping rows failed.
    #[error("arrow failed")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Acknowledged rows could not be read or brought into the lake; they are still acknowledged.
    #[error("acknowledged events could not be brought into the lake")]
    Hot(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Reading or sorting the rows of files that are merged failed; the table is as it was.
    #[error("merging files failed; the table is as it was")]
    Merge(#[from] datafusion::error::DataFusionError),
    /// Reading rows of a table failed.
    #[error("reading rows of {table} failed")]
    Read {
        /// The table.
        table: Table,
        /// What the query engine says.
        source: datafusion::error::DataFusionError,
    },
    /// Writing the checkpoint failed; commits are not affected.
    #[error("delta checkpoint failed")]
    Checkpoint(#[from] deltalake_core::DeltaTableError),
}

impl LakeError {
    pub(super) fn store(doing: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        let doing = doing.into();
        move |source| {
            if super::store::is_sync_failure(&source) {
                Self::SyncFailed { doing, source }
            } else {
                Self::Store { doing, source }
            }
        }
    }

    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(super) fn damaged(file: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { file: file.into(), reason: reason.to_string() }
    }
}
