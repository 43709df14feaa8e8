//! Checkpoints: the state of a table in one Parquet file, so that opening stays fast.
//!
//! deltalake-core writes them from the log, so each one is also a check of our log by another
//! implementation. `_last_checkpoint` carries the SHA-256 of the file; a checkpoint without it, or with
//! other bytes, is ignored and the whole log replayed: damage costs time, never a wrong answer.

use std::io::Cursor;
use std::sync::Arc;

use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use deltalake_core::DeltaTable;
use deltalake_core::logstore::{StorageConfig, default_logstore};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use url::Url;

use super::state::{Gathered, TableState};
use super::{TableLog, actions, read_if_exists};
use crate::lake::error::LakeError;
use crate::lake::hash::sha256_hex;
use crate::lake::table::Table;

/// A checkpoint is written after every so many commits.
pub(crate) const CHECKPOINT_EVERY: u64 = 100;

const SHA256_TAG: &str = "apportion.sha256";

/// Path of the checkpoint of one version, below the lake's root.
pub(crate) fn checkpoint_path(table: Table, version: u64) -> Path {
    Path::from(format!("{}/_delta_log/{version:020}.checkpoint.parquet", table.name()))
}

/// Path of the hint that names the newest checkpoint.
pub(crate) fn hint_path(table: Table) -> Path {
    Path::from(format!("{}/_delta_log/_last_checkpoint", table.name()))
}

/// What `_last_checkpoint` says: a version and the hash of its file.
pub(crate) struct Hint {
    pub version: u64,
    pub sha256: Option<String>,
}

impl Hint {
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let hint: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let version = hint.get("version").and_then(Value::as_u64).ok_or("it names no version")?;
        let sha256 = hint.get("tags").and_then(|tags| tags.get(SHA256_TAG)).and_then(Value::as_str);
        Ok(Self { version, sha256: sha256.map(str::to_owned) })
    }
}

/// The version that the hint names, believed for no more than where to look first.
pub(crate) async fn hinted_version(log: &TableLog) -> Result<Option<u64>, LakeError> {
    let hint = read_if_exists(log.store.as_ref(), &hint_path(log.table)).await?;
    Ok(hint.and_then(|bytes| Hint::parse(&bytes).ok()).map(|hint| hint.version))
}

/// The newest state that a checkpoint gives, if it is not newer than `until` and is what we wrote.
pub(crate) async fn load(log: &TableLog, until: u64) -> Result<Option<TableState>, LakeError> {
    let store = log.store.as_ref();
    let Some(hint) = read_if_exists(store, &hint_path(log.table)).await? else { return Ok(None) };
    let Ok(hint) = Hint::parse(&hint) else {
        tracing::warn!(table = %log.table, "the hint to the last checkpoint is damaged; reading the whole log");
        return Ok(None);
    };
    if until < hint.version {
        return Ok(None);
    }
    let path = checkpoint_path(log.table, hint.version);
    let bytes = read_if_exists(store, &path).await?;
    let Some(bytes) = bytes.filter(|bytes| Some(sha256_hex(bytes)) == hint.sha256) else {
        tracing::warn!(table = %log.table, %path, "the checkpoint is not the one we wrote; reading the whole log");
        return Ok(None);
    };
    let log_sha256 = sha256_hex(&log.expect(hint.version).await?);
    let state = decode(bytes).and_then(|gathered| gathered.into_state(hint.version, log_sha256));
    state.map(Some).map_err(|reason| LakeError::damaged(path, reason))
}

/// The actions in a checkpoint. Rows pass through JSON, so that one parser reads log and checkpoint.
pub(crate) fn decode(bytes: Bytes) -> Result<Gathered, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|builder| builder.build());
    let mut gathered = Gathered::default();
    for batch in reader.map_err(|error| error.to_string())? {
        let mut writer = LineDelimitedWriter::new(Cursor::new(Vec::new()));
        let written = batch.and_then(|batch| writer.write(&batch)).and_then(|()| writer.finish());
        written.map_err(|error| error.to_string())?;
        gathered.apply(actions::parse(&writer.into_inner().into_inner())?)?;
    }
    Ok(gathered)
}

/// Writes a checkpoint if it can. The commits stand without it; the next one makes good for it.
pub(crate) async fn write_or_warn(log: &TableLog, version: u64) {
    let (table, log) = (log.table, log.clone());
    // A task of its own: neither a caller that goes away nor a panic in there harms the commit.
    let written = tokio::spawn(async move { write(&log, version).await }).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%table, version, ?error, "no checkpoint was written"),
        Err(error) => tracing::warn!(%table, version, %error, "the checkpoint was abandoned"),
    }
}

/// Writes the checkpoint of a version and then the hint that makes it count.
async fn write(log: &TableLog, version: u64) -> Result<(), LakeError> {
    crate::failpoint::hit("checkpoint");
    let name = log.table.name();
    // Any scheme but `file`, which deltalake-core would resolve by itself: the path is below our root.
    let location = Url::parse(&format!("lake:///{name}/")).expect("table names are plain words");
    let prefixed: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&log.store), name));
    let log_store = default_logstore(prefixed, Arc::clone(&log.store), &location, &StorageConfig::default());
    let mut table = DeltaTable::new(log_store);
    table.load_version(version).await?;
    deltalake_core::checkpoints::create_checkpoint(&table, None).await?;
    crate::failpoint::hit("checkpoint-unsealed");
    seal(log, version).await
}

/// Adds the hash of the checkpoint to the hint.
async fn seal(log: &TableLog, version: u64) -> Result<(), LakeError> {
    let path = checkpoint_path(log.table, version);
    let missing = || LakeError::damaged(path.clone(), "it is missing just after it was written");
    let checkpoint = read_if_exists(log.store.as_ref(), &path).await?.ok_or_else(missing)?;
    let hint_path = hint_path(log.table);
    let hint = read_if_exists(log.store.as_ref(), &hint_path).await?.unwrap_or_default();
    let mut hint: Map<String, Value> =
        serde_json::from_slice(&hint).map_err(|error| LakeError::damaged(hint_path.clone(), error))?;
    hint.insert("tags".to_owned(), serde_json::json!({ SHA256_TAG: sha256_hex(&checkpoint) }));
    let bytes = Bytes::from(Value::Object(hint).to_string());
    log.store.put(&hint_path, bytes.into()).await.map_err(LakeError::store(format!("writing {hint_path}")))?;
    Ok(())
}
