//! Committing: one put-if-absent of one log entry, never rebased, never retried.

use std::collections::HashMap;

use deltalake_core::kernel::{Add, Remove, Transaction};
use domain::Instant;
use object_store::{Error as StoreError, PutMode, PutOptions};
use serde_json::Value;

use super::error::LakeError;
use super::hash::random_hex;
use super::log::actions::{self, CommitInfo, LogLine};
use super::log::state::LakeFile;
use super::log::{TableLog, entry_path};
use super::pinned::PinnedTable;
use super::table::Table;
use super::writer::NewFile;
use crate::failpoint;

/// What one commit changes and says.
#[derive(Debug)]
pub struct Commit {
    /// When, by the caller's clock.
    pub at: Instant,
    /// One word for people who read the log: `import`, `posting`, `flush` …
    pub operation: &'static str,
    /// Files to add; written and synced already.
    pub adds: Vec<NewFile>,
    /// Paths of files of the pinned version to take out.
    pub removes: Vec<String>,
    /// A writer and its number, which must be greater than any number of this writer before.
    pub txn: Option<(String, i64)>,
    /// Anything the caller wants to find again in the log: read it with `commits_since`.
    pub metadata: Value,
    /// Whether the table holds other rows afterwards. Merging files changes none.
    pub data_change: bool,
}

impl Commit {
    /// A commit that changes nothing yet.
    pub fn new(at: Instant, operation: &'static str) -> Self {
        let (adds, removes) = (Vec::new(), Vec::new());
        Self { at, operation, adds, removes, txn: None, metadata: Value::Null, data_change: true }
    }
}

/// A log entry ready to be written.
pub(super) struct Entry {
    pub version: u64,
    pub commit_id: String,
    pub bytes: Vec<u8>,
}

/// Checks a commit against the version it builds on and renders its log entry.
pub(super) fn prepare(pinned: &PinnedTable, commit: Commit) -> Result<Entry, LakeError> {
    check(pinned, &commit)?;
    let removes = commit.removes.iter().map(|path| remove(pinned, path, &commit));
    let removes = removes.collect::<Result<Vec<_>, _>>()?;
    let commit_id = random_hex();
    let info = CommitInfo {
        timestamp: millis(commit.at),
        operation: commit.operation.to_owned(),
        engine_info: Some(concat!("apportion/", env!("CARGO_PKG_VERSION")).to_owned()),
        is_blind_append: Some(removes.is_empty()),
        apportion: Some(commit.metadata.to_string()),
        apportion_at: Some(commit.at.micros()),
        apportion_commit: Some(commit_id.clone()),
        prev_log_sha256: Some(pinned.state.log_sha256.clone()),
        ..CommitInfo::default()
    };
    let mut lines = vec![LogLine { commit_info: Some(info), ..LogLine::default() }];
    if let Some((app_id, version)) = commit.txn {
        let last_updated = Some(millis(commit.at));
        lines.push(LogLine { txn: Some(Transaction { app_id, version, last_updated }), ..LogLine::default() });
    }
    lines.extend(removes.into_iter().map(|remove| LogLine { remove: Some(remove), ..LogLine::default() }));
    let (at, data_change) = (commit.at, commit.data_change);
    let adds = commit.adds.into_iter().map(|file| add(file, at, data_change));
    lines.extend(adds.map(|add| LogLine { add: Some(add), ..LogLine::default() }));
    Ok(Entry { version: pinned.version() + 1, commit_id, bytes: actions::render_sealed(lines) })
}

/// Writes a prepared entry, if its version is still free.
pub(super) async fn write(log: &TableLog, entry: &Entry) -> Result<(), LakeError> {
    failpoint::hit("before-commit");
    let path = entry_path(log.table, entry.version);
    let options = PutOptions::from(PutMode::Create);
    let Err(error) = log.store.put_opts(&path, entry.bytes.clone().into(), options).await else {
        failpoint::hit("after-commit");
        return Ok(());
    };
    if super::store::is_sync_failure(&error) {
        return Err(LakeError::store(format!("committing {path}"))(error));
    }
    // The answer may have been lost after the write: the log itself says whose entry it is.
    match log.read(entry.version).await? {
        Some(found) if is_ours(&found, &entry.commit_id) => Ok(()),
        Some(_) => Err(LakeError::Conflict { table: log.table, version: entry.version }),
        None if matches!(error, StoreError::AlreadyExists { .. }) => {
            Err(LakeError::Conflict { table: log.table, version: entry.version })
        }
        None => Err(LakeError::store(format!("committing {path}"))(error)),
    }
}

fn is_ours(bytes: &[u8], commit_id: &str) -> bool {
    let lines = actions::parse(bytes).unwrap_or_default();
    lines
        .iter()
        .filter_map(|line| line.commit_info.as_ref())
        .any(|info| info.apportion_commit.as_deref() == Some(commit_id))
}

fn check(pinned: &PinnedTable, commit: &Commit) -> Result<(), LakeError> {
    let table = pinned.table();
    if table.append_only() && !commit.removes.is_empty() {
        return Err(LakeError::AppendOnly(table));
    }
    if let Some((app_id, given)) = &commit.txn
        && let Some(latest) = pinned.txn(app_id)
        && *given <= latest
    {
        return Err(LakeError::TxnReplayed { table, app_id: app_id.clone(), given: *given, latest });
    }
    let rows_in = commit.removes.iter().filter_map(|path| pinned.state.files.get(path.as_str()));
    let (rows_in, rows_out) =
        (rows_in.map(|file| file.rows).sum::<u64>(), commit.adds.iter().map(|file| file.rows).sum::<u64>());
    if !commit.data_change && rows_in != rows_out {
        return Err(bad(table, format!("it says that no rows change, but {rows_in} rows would become {rows_out}")));
    }
    if let Some(foreign) = commit.adds.iter().find(|file| file.table != table) {
        return Err(bad(table, format!("{} was written for table {}", foreign.path, foreign.table)));
    }
    Ok(())
}

fn bad(table: Table, reason: String) -> LakeError {
    LakeError::BadCommit { table, reason }
}

fn add(file: NewFile, at: Instant, data_change: bool) -> Add {
    let mut tags = file.tags;
    tags.insert(super::log::state::SHA256_TAG.to_owned(), file.sha256);
    Add {
        path: file.path,
        partition_values: file.partition_values.into_iter().collect(),
        size: size(file.size),
        modification_time: millis(at),
        data_change,
        stats: Some(file.stats_json),
        tags: Some(tags.into_iter().map(|(key, value)| (key, Some(value))).collect()),
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

fn remove(pinned: &PinnedTable, path: &str, commit: &Commit) -> Result<Remove, LakeError> {
    let missing = || bad(pinned.table(), format!("{path} is not a file of version {}", pinned.version()));
    let file: &LakeFile = pinned.state.files.get(path).ok_or_else(missing)?;
    let partition_values: HashMap<_, _> = file.partition_values.clone().into_iter().collect();
    Ok(Remove {
        path: path.to_owned(),
        data_change: commit.data_change,
        deletion_timestamp: Some(millis(commit.at)),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_values),
        size: Some(size(file.size)),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
    })
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("no file is longer than 2^63 bytes")
}

pub(super) const fn millis(at: Instant) -> i64 {
    at.micros().div_euclid(1000)
}
