//! One line of a Delta log entry, as JSON.
//!
//! File actions and transactions are deltalake-core's own types. The rest is ours: `commitInfo` is
//! free-form in Delta, and `metaData` of deltalake-core cannot be made without reading the clock.
//! No type here uses `flatten` or `untagged`, which do not survive serde_json's exact numbers.

use std::collections::BTreeMap;

use deltalake_core::kernel::{Add, Remove, Transaction};
use serde::{Deserialize, Serialize};

use crate::lake::hash::sha256_hex;

/// One action; exactly one field is set in what we write. Unknown actions are skipped.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LogLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_info: Option<CommitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<MetaData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn: Option<Transaction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Remove>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Add>,
}

/// Who committed what, when, on top of what. Our own keys carry our name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CommitInfo {
    /// Milliseconds, Delta's own key.
    pub timestamp: i64,
    pub operation: String,
    pub operation_parameters: BTreeMap<String, Option<String>>,
    pub engine_info: Option<String>,
    pub is_blind_append: Option<bool>,
    /// The caller's metadata: JSON as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apportion: Option<String>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apportion_at: Option<i64>,
    /// Random, to recognise our own commit when the answer to the write was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apportion_commit: Option<String>,
    /// SHA-256 of the bytes of the log entry before this one.
    #[serde(rename = "prev_log_sha256", skip_serializing_if = "Option::is_none")]
    pub prev_log_sha256: Option<String>,
    /// SHA-256 of the bytes of this entry, with [`NO_SEAL`] in this place.
    #[serde(rename = "entry_sha256", skip_serializing_if = "Option::is_none")]
    pub entry_sha256: Option<String>,
}

/// What a reader and a writer must understand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
}

/// Schema, partitioning and configuration of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaData {
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    pub format: Format,
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    #[serde(default)]
    pub configuration: BTreeMap<String, String>,
    #[serde(default)]
    pub created_time: Option<i64>,
}

/// Format of the data files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Format {
    pub provider: String,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// What stands for the seal while it is computed.
const NO_SEAL: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The seal's key. Inside of text the quotes would be escaped, so this occurs once in an entry.
const SEAL_KEY: &str = "\"entry_sha256\":\"";

/// Renders an entry that vouches for its own bytes: a changed bit is found without any other file.
pub(crate) fn render_sealed(mut lines: Vec<LogLine>) -> Vec<u8> {
    for info in lines.iter_mut().filter_map(|line| line.commit_info.as_mut()) {
        info.entry_sha256 = Some(NO_SEAL.to_owned());
    }
    let bytes = render(&lines);
    let seal = sha256_hex(&bytes);
    replace_seal(&bytes, &seal).expect("the seal's place was just rendered")
}

/// Whether an entry's bytes are those that its seal was made of; entries of other writers have none.
pub(crate) fn check_seal(bytes: &[u8], info: Option<&CommitInfo>) -> Result<(), String> {
    let Some(info) = info else { return Ok(()) };
    let is_ours = info.apportion_commit.is_some() || info.prev_log_sha256.is_some();
    match &info.entry_sha256 {
        Some(seal) => match replace_seal(bytes, NO_SEAL) {
            Some(unsealed) if sha256_hex(&unsealed) == *seal => Ok(()),
            _ => Err("its bytes are not those that were committed".to_owned()),
        },
        None if is_ours => Err("it has lost its seal".to_owned()),
        None => Ok(()),
    }
}

fn replace_seal(bytes: &[u8], seal: &str) -> Option<Vec<u8>> {
    let at = bytes.windows(SEAL_KEY.len()).position(|window| window == SEAL_KEY.as_bytes())? + SEAL_KEY.len();
    let mut replaced = bytes.to_vec();
    replaced.get_mut(at..at + NO_SEAL.len())?.copy_from_slice(seal.as_bytes());
    Some(replaced)
}

/// Parses a log entry; the error names the line.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<LogLine>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(at, line)| serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", at + 1))).collect()
}

/// Writes a log entry: one action per line.
fn render(lines: &[LogLine]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line).expect("log lines have text keys and no floats");
        bytes.push(b'\n');
    }
    bytes
}
