//! What a table consists of at one version: the replay of its log.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltalake_core::kernel::Add;
use serde::Deserialize;
use serde_json::Value;

use super::actions::{self, CommitInfo, LogLine, MetaData, Protocol};
use crate::lake::hash::sha256_hex;

/// Tag of an `add` action with the SHA-256 of the file's bytes.
pub const SHA256_TAG: &str = "sha256";
/// Tag of a file of `cost_lines` with the billing account and period of its lines, as JSON.
pub const BILL_KEY_TAG: &str = "apportion.key";
/// Tag with the CRC-32 of the file's bytes: found quickly to be damaged, where nobody would forge it.
pub(crate) const CRC32_TAG: &str = "crc32";

/// One data file of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct LakeFile {
    /// Path below the table's folder.
    pub path: String,
    /// Value of each partition column as text (`YYYY-MM-DD` for days); `None` is null.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
    /// When it was committed, in milliseconds.
    pub modified_ms: i64,
    /// Least and greatest values, if known.
    pub stats: FileStats,
    /// What the writer said about the file; [`SHA256_TAG`] is always there.
    pub tags: BTreeMap<String, String>,
}

/// Statistics of a file in Delta's JSON form, for some of its columns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileStats {
    /// Rows.
    pub num_records: u64,
    /// Least value per column.
    pub min_values: BTreeMap<String, Value>,
    /// Greatest value per column.
    pub max_values: BTreeMap<String, Value>,
    /// Nulls per column.
    pub null_count: BTreeMap<String, u64>,
}

/// A table at one version.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    pub version: u64,
    /// SHA-256 of the bytes of this version's log entry.
    pub log_sha256: String,
    pub protocol: Protocol,
    pub metadata: Arc<MetaData>,
    pub files: BTreeMap<Arc<str>, Arc<LakeFile>>,
    pub txns: BTreeMap<String, i64>,
}

/// Files, transactions and table facts gathered from actions, in log order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    pub protocol: Option<Protocol>,
    pub metadata: Option<Arc<MetaData>>,
    pub files: BTreeMap<Arc<str>, Arc<LakeFile>>,
    pub txns: BTreeMap<String, i64>,
}

impl Gathered {
    /// Applies actions in order; the reason names what is wrong.
    pub fn apply(&mut self, lines: Vec<LogLine>) -> Result<Option<CommitInfo>, String> {
        let mut info = None;
        for line in lines {
            if let Some(protocol) = line.protocol {
                self.protocol = Some(protocol);
            }
            if let Some(metadata) = line.meta_data {
                self.metadata = Some(Arc::new(metadata));
            }
            if let Some(txn) = line.txn {
                self.txns.insert(txn.app_id, txn.version);
            }
            if let Some(remove) = line.remove {
                self.files.remove(remove.path.as_str());
            }
            if let Some(add) = line.add {
                let file = LakeFile::from_add(add)?;
                self.files.insert(file.path.as_str().into(), Arc::new(file));
            }
            info = line.commit_info.or(info);
        }
        Ok(info)
    }

    /// The state at `version`, once table facts are known.
    pub fn into_state(self, version: u64, log_sha256: String) -> Result<TableState, String> {
        let protocol = self.protocol.ok_or("no protocol action")?;
        if protocol.min_reader_version > 1 || protocol.min_writer_version > 2 {
            return Err(format!(
                "needs Delta reader {} and writer {}; this program knows 1 and 2",
                protocol.min_reader_version, protocol.min_writer_version
            ));
        }
        let metadata = self.metadata.ok_or("no metaData action")?;
        Ok(TableState { version, log_sha256, protocol, metadata, files: self.files, txns: self.txns })
    }
}

impl TableState {
    /// The state one version later. The reason names what is wrong with the entry.
    ///
    /// An entry that names another predecessor than the one at hand is refused: one of the two was
    /// changed after it was written. Entries of foreign writers name none; the caller decides.
    pub fn next(self, bytes: &[u8]) -> Result<(Self, Option<CommitInfo>), String> {
        let mut gathered = Gathered {
            protocol: Some(self.protocol),
            metadata: Some(self.metadata),
            files: self.files,
            txns: self.txns,
        };
        let info = gathered.apply(actions::parse(bytes)?)?;
        actions::check_seal(bytes, info.as_ref())?;
        if let Some(named) = info.as_ref().and_then(|info| info.prev_log_sha256.as_ref())
            && *named != self.log_sha256
        {
            return Err(format!("it does not continue version {} as that stands now", self.version));
        }
        Ok((gathered.into_state(self.version + 1, sha256_hex(bytes))?, info))
    }

    /// The state at version 0.
    pub fn first(bytes: &[u8]) -> Result<(Self, Option<CommitInfo>), String> {
        let mut gathered = Gathered::default();
        let info = gathered.apply(actions::parse(bytes)?)?;
        actions::check_seal(bytes, info.as_ref())?;
        Ok((gathered.into_state(0, sha256_hex(bytes))?, info))
    }
}

impl LakeFile {
    fn from_add(add: Add) -> Result<Self, String> {
        if add.deletion_vector.is_some() {
            return Err(format!("{} has a deletion vector, which this program does not read", add.path));
        }
        let stats: FileStats = match &add.stats {
            Some(text) => serde_json::from_str(text).map_err(|error| format!("statistics of {}: {error}", add.path))?,
            None => FileStats::default(),
        };
        let tags = add.tags.unwrap_or_default();
        Ok(Self {
            size: u64::try_from(add.size).map_err(|_| format!("{} has a negative size", add.path))?,
            path: add.path,
            partition_values: add.partition_values.into_iter().collect(),
            rows: stats.num_records,
            modified_ms: add.modification_time,
            stats,
            tags: tags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        })
    }

    /// SHA-256 of the file's bytes, as recorded when it was committed.
    pub fn sha256(&self) -> Option<&str> {
        self.tags.get(SHA256_TAG).map(String::as_str)
    }

    /// CRC-32 of the file's bytes; files of older versions have none.
    pub fn crc32(&self) -> Option<&str> {
        self.tags.get(CRC32_TAG).map(String::as_str)
    }

    /// The value of a partition column; `None` if it is null or not there.
    pub fn partition(&self, column: &str) -> Option<&str> {
        self.partition_values.get(column)?.as_deref()
    }
}
