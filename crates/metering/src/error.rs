use crate::ids::IdsError;
use crate::wal::WalError;
use std::path::PathBuf;
use storage::catalog::CatalogError;
use storage::lake::LakeError;
use storage::limited::DecodedTooLarge;

/// What can go wrong in metering. Knows nothing of HTTP; a refused event is a [`Refusal`](crate::refusal::Refusal).
#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    /// The file cannot be read or decompressed.
    #[error(
        "the event file cannot be read: {0}; check that it is complete and compressed with gzip or zstd, or not at all"
    )]
    Unreadable(#[source] std::io::Error),
    /// A file that is one JSON list is not JSON, so that no item can be told from the next.
    #[error("the JSON list of events is broken at item {index}: {detail}; nothing was imported")]
    BrokenList {
        /// Number of the item, from 0.
        index: u64,
        /// What is wrong.
        detail: String,
    },
    /// A meter's definition cannot be used.
    #[error("meter `{meter}`: {problem}")]
    InvalidMeter {
        /// Its name.
        meter: String,
        /// What is wrong.
        problem: String,
    },
    /// A meter has usage, so what its numbers mean is fixed.
    #[error("meter `{meter}` has usage, so its {field} cannot change; give the new definition another name")]
    MeterInUse {
        /// Its name.
        meter: String,
        /// The first defining field that differs.
        field: &'static str,
    },
    /// Somebody asked for the end of an import before it was committed.
    #[error("the import was cancelled; nothing was imported")]
    Cancelled,
    /// Other meters apply since the events were read; nothing was stored.
    #[error("the meters changed while the events were read; nothing was stored, send them again")]
    MetersChanged,
    /// A path of `[ingest.map]` cannot be used.
    #[error("ingest.map.{dimension}: {problem}")]
    InvalidMap {
        /// The dimension it is given for.
        dimension: String,
        /// What is wrong.
        problem: String,
    },
    /// An element of `[[ingest.metric]]` cannot be used.
    #[error("ingest.metric `{metric}`: {problem}")]
    InvalidMetric {
        /// Name of the metric.
        metric: String,
        /// What is wrong.
        problem: String,
    },
    /// An element of `[[ingest.adapter]]` cannot be used.
    #[error("ingest.adapter `{adapter}`: {problem}")]
    InvalidAdapter {
        /// Its kind.
        adapter: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// What the lake or the catalog holds is not what was written.
    #[error("{what} cannot be read back: {problem}; run `apportion ledger verify` and restore the file from a backup")]
    Damaged {
        /// What it should be.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// The log of events failed.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The index of event ids failed.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// The folder of the log cannot be used.
    #[error("the folder {} cannot be used", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Reading the stored events failed.
    #[error("reading stored events failed")]
    Query(#[from] datafusion::error::DataFusionError),
    /// Shaping rows failed.
    #[error("arrow failed")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A thread of ours died.
    #[error("a working thread stopped unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl MeteringError {
    /// Returns whether an event file is refused because it grows beyond its limit when it is decompressed.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Unreadable(error) if DecodedTooLarge::is_cause_of(error))
    }
}
