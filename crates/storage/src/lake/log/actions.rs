//! One line of a Delta log entry, as JSON.
//!
//! File actions and transactions are deltalake-core's own types. The rest is ours: `commitInfo` is
//! free-form in Delta, and `metaData` of deltalake-core cannot be made without reading the clock.
//! No type here uses `flatten` or `untagged`, which do not survive serde_json's exact numbers.

use std::collections::BTreeMap;

use deltalake_core::kernel::{Add, Remove, Transaction};
use serde::{Deserialize, Serialize};

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

/// Parses a log entry; the error names the line.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<LogLine>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(at, line)| serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", at + 1))).collect()
}

/// Writes a log entry: one action per line.
pub(crate) fn render(lines: &[LogLine]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line).expect("log lines have text keys and no floats");
        bytes.push(b'\n');
    }
    bytes
}
