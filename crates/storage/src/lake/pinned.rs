//! One version of a table, held still while a reader works.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::checked::Checked;
use super::error::LakeError;
use super::log::TableLog;
use super::log::actions::{self, CommitInfo};
use super::log::entry_path;
use super::log::state::{LakeFile, TableState};
use super::table::Table;
use domain::Instant;
use futures::{StreamExt, TryStreamExt};

/// One version of one table. Cheap to clone; nothing that is committed later changes it.
#[derive(Clone, Debug)]
pub struct PinnedTable {
    pub(super) log: TableLog,
    pub(super) lake_id: Arc<str>,
    pub(super) state: Arc<TableState>,
    pub(super) checked: Arc<Checked>,
}

/// What the log says about one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitRecord {
    /// The version that the commit made.
    pub version: u64,
    /// When, by the committer's clock.
    pub at: Instant,
    /// One word: `import`, `posting`, `create` …
    pub operation: String,
    /// The committer's metadata; null for commits of other programs.
    pub metadata: Value,
    /// Values of the first partition column of the files with new rows; merged files have none.
    pub partitions: BTreeSet<String>,
}

/// The newest entry of a log, to be kept outside the store and compared by `verify_files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Version of the table.
    pub version: u64,
    /// SHA-256 of the bytes of its log entry, in hex.
    pub sha256: String,
}

impl PinnedTable {
    /// Which table.
    pub const fn table(&self) -> Table {
        self.log.table
    }

    /// Which version.
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// Version and hash of the log's newest entry at this version.
    pub fn log_head(&self) -> LogHead {
        LogHead { version: self.state.version, sha256: self.state.log_sha256.clone() }
    }

    /// The data files, by path.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Arc<LakeFile>> {
        self.state.files.values()
    }

    /// Rows in all data files.
    pub fn rows(&self) -> u64 {
        self.files().map(|file| file.rows).sum()
    }

    /// The newest transaction number of a writer.
    pub fn txn(&self, app_id: &str) -> Option<i64> {
        self.state.txns.get(app_id).copied()
    }

    /// The newest transaction number of every writer.
    pub fn txns(&self) -> impl Iterator<Item = (&str, i64)> {
        self.state.txns.iter().map(|(app_id, version)| (app_id.as_str(), *version))
    }

    /// What the commit of this very version says.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn head_commit(&self) -> Result<CommitRecord, LakeError> {
        self.commit_record(self.version()).await
    }

    /// What every commit after `version` up to this one says, oldest first; all of them for `None`.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn commits_since(&self, version: Option<u64>) -> Result<Vec<CommitRecord>, LakeError> {
        let first = version.map_or(0, |version| version + 1);
        let records = futures::stream::iter(first..=self.version()).map(|version| self.commit_record(version));
        records.buffered(32).try_collect().await
    }

    /// SHA-256 of the bytes of one log entry, in hex, as they stand now.
    ///
    /// # Errors
    /// If there is no such entry.
    pub async fn log_hash(&self, version: u64) -> Result<String, LakeError> {
        Ok(super::hash::sha256_hex(&self.log.expect(version).await?))
    }

    async fn commit_record(&self, version: u64) -> Result<CommitRecord, LakeError> {
        let damaged = |reason: String| LakeError::damaged(entry_path(self.table(), version), reason);
        let lines = actions::parse(&self.log.expect(version).await?).map_err(damaged)?;
        let column = self.table().partition_columns().first().copied().unwrap_or_default();
        let (mut info, mut partitions) = (CommitInfo::default(), BTreeSet::new());
        for line in lines {
            info = line.commit_info.unwrap_or(info);
            let new = line.add.filter(|add| add.data_change);
            partitions.extend(new.and_then(|mut add| add.partition_values.remove(column).flatten()));
        }
        CommitRecord::from_info(version, info, partitions).map_err(damaged)
    }
}

impl CommitRecord {
    fn from_info(version: u64, info: CommitInfo, partitions: BTreeSet<String>) -> Result<Self, String> {
        let metadata = info.apportion.as_deref().map_or(Ok(Value::Null), serde_json::from_str);
        let micros = info.apportion_at.unwrap_or(info.timestamp.saturating_mul(1000));
        Ok(Self {
            version,
            at: Instant::from_micros(micros),
            operation: info.operation,
            metadata: metadata.map_err(|error| error.to_string())?,
            partitions,
        })
    }
}
