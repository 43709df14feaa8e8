//! Making a lake and its tables, and recognising what was made before.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use domain::Instant;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::commit::millis;
use super::error::LakeError;
use super::hash::random_hex;
use super::log::actions::{self, CommitInfo, Format, LogLine, MetaData, Protocol};
use super::log::state::TableState;
use super::log::{TableLog, entry_path, read_if_exists};
use super::store::SyncedLocalStore;
use super::table::Table;

/// Version of the lake's layout: folders, log conventions, kept imports.
const LAKE_FORMAT_VERSION: u32 = 1;
const TABLE_FORMAT_KEY: &str = "apportion.format_version";
const LAKE_FILE: &str = "lake.json";

/// What `lake.json` says.
#[derive(Debug, Deserialize, Serialize)]
struct LakeFacts {
    format_version: u32,
    lake_id: String,
}

/// A synced store on a local folder, which is created if needed.
pub(super) fn local_store(root: &FsPath) -> Result<Arc<dyn ObjectStore>, LakeError> {
    let doing = || format!("opening the lake in {}", root.display());
    std::fs::create_dir_all(root).map_err(LakeError::io(doing()))?;
    if let Some(parent) = std::path::absolute(root).map_err(LakeError::io(doing()))?.parent() {
        std::fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(LakeError::io(doing()))?;
    }
    Ok(Arc::new(SyncedLocalStore::new(root).map_err(LakeError::store(doing()))?))
}

/// The id of the lake, made up if the lake is new.
pub(super) async fn lake_id(store: &dyn ObjectStore) -> Result<String, LakeError> {
    let path = Path::from(LAKE_FILE);
    let new = LakeFacts { format_version: LAKE_FORMAT_VERSION, lake_id: random_hex() };
    let bytes = match read_if_exists(store, &path).await? {
        Some(bytes) => bytes,
        None => {
            let text = serde_json::to_vec(&new).expect("two plain fields");
            put_if_absent(store, &path, text).await?;
            // Another process may have been first: what stands there counts.
            read_if_exists(store, &path).await?.ok_or_else(|| LakeError::damaged(LAKE_FILE, "it vanished"))?
        }
    };
    let facts: LakeFacts = serde_json::from_slice(&bytes).map_err(|error| LakeError::damaged(LAKE_FILE, error))?;
    if facts.format_version != LAKE_FORMAT_VERSION {
        let found = facts.format_version.to_string();
        return Err(LakeError::FormatVersion { what: "the lake".to_owned(), found, expected: LAKE_FORMAT_VERSION });
    }
    Ok(facts.lake_id)
}

/// The newest state of a table, which is created if it does not exist.
pub(super) async fn open_table(log: &TableLog, now: Instant) -> Result<TableState, LakeError> {
    let newest = match log.newest_version().await? {
        Some(newest) => newest,
        None => {
            put_if_absent(log.store.as_ref(), &entry_path(log.table, 0), first_entry(log.table, now)).await?;
            0
        }
    };
    let state = log.load(newest).await?;
    check_format(log.table, &state)?;
    Ok(state)
}

async fn put_if_absent(store: &dyn ObjectStore, path: &Path, bytes: Vec<u8>) -> Result<(), LakeError> {
    match store.put_opts(path, bytes.into(), PutOptions::from(PutMode::Create)).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(LakeError::store(format!("creating {path}"))(error)),
    }
}

fn check_format(table: Table, state: &TableState) -> Result<(), LakeError> {
    let found = state.metadata.configuration.get(TABLE_FORMAT_KEY).cloned();
    if found.as_deref() == Some(table.format_version().to_string().as_str()) {
        return Ok(());
    }
    let found = found.unwrap_or_else(|| "none".to_owned());
    Err(LakeError::FormatVersion { what: format!("table {table}"), found, expected: table.format_version() })
}

fn first_entry(table: Table, now: Instant) -> Vec<u8> {
    let info = CommitInfo {
        timestamp: millis(now),
        operation: "create".to_owned(),
        engine_info: Some(concat!("apportion/", env!("CARGO_PKG_VERSION")).to_owned()),
        is_blind_append: Some(true),
        apportion: Some("null".to_owned()),
        apportion_at: Some(now.micros()),
        apportion_commit: Some(random_hex()),
        ..CommitInfo::default()
    };
    let protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
    actions::render_sealed(vec![
        LogLine { commit_info: Some(info), ..LogLine::default() },
        LogLine { protocol: Some(protocol), ..LogLine::default() },
        LogLine { meta_data: Some(metadata(table, now)), ..LogLine::default() },
    ])
}

fn metadata(table: Table, now: Instant) -> MetaData {
    let schema: StructType =
        table.schema().as_ref().try_into_kernel().expect("every column type of ours exists in Delta");
    let mut configuration = BTreeMap::from([
        (TABLE_FORMAT_KEY.to_owned(), table.format_version().to_string()),
        ("delta.dataSkippingStatsColumns".to_owned(), table.stats_columns().join(",")),
        // The log proves what happened: other writers must not expire it.
        ("delta.enableExpiredLogCleanup".to_owned(), "false".to_owned()),
    ]);
    if table.append_only() {
        configuration.insert("delta.appendOnly".to_owned(), "true".to_owned());
    }
    MetaData {
        id: uuid(),
        name: Some(table.name().to_owned()),
        format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: serde_json::to_string(&schema).expect("a schema is plain JSON"),
        partition_columns: table.partition_columns().iter().map(|name| (*name).to_owned()).collect(),
        configuration,
        created_time: Some(millis(now)),
    }
}

/// A random id in the usual 8-4-4-4-12 form.
fn uuid() -> String {
    let hex = random_hex();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
