//! What the clouds write beside their exports to say which files belong together.

use domain::Instant;
use serde::Deserialize;

use crate::providers::{Cause, CollectError};

/// What a manifest of AWS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AwsManifest {
    /// Names the run: `executionId` of data exports, `assemblyId` of older reports.
    pub run: String,
    /// Keys of the data files, with their bucket where the manifest names it.
    pub files: Vec<(Option<String>, String)>,
}

/// Only what is needed: the rest of a manifest is not documented.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AwsText {
    execution_id: Option<String>,
    assembly_id: Option<String>,
    data_files: Option<Vec<String>>,
    report_keys: Option<Vec<String>>,
}

/// Returns what a manifest of AWS says.
///
/// # Errors
/// [`Cause::Truncated`], [`Cause::NotJson`] or [`Cause::Schema`], naming the manifest.
pub(super) fn aws(key: &str, bytes: &[u8]) -> Result<AwsManifest, CollectError> {
    let text: AwsText = read(key, bytes)?;
    let run = text.execution_id.or(text.assembly_id).filter(|run| !run.is_empty());
    let (Some(run), Some(files)) = (run, text.data_files.or(text.report_keys)) else {
        return Err(lacks(key, "executionId and dataFiles, or assemblyId and reportKeys"));
    };
    let files = files.into_iter().map(|file| match file.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
        Some((bucket, key)) => (Some(bucket.to_owned()), key.to_owned()),
        None => (None, file.trim_start_matches('/').to_owned()),
    });
    Ok(AwsManifest { run, files: files.collect() })
}

/// What a manifest of Azure says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AzureManifest {
    /// Name of the export.
    pub export: String,
    /// `FocusCost`, `ActualCost`, …; none in old manifests.
    pub kind: Option<String>,
    /// First day of what it covers, `YYYY-MM-DD`.
    pub start: String,
    /// When the run was asked for.
    pub submitted: Instant,
    /// Names the run.
    pub run: String,
    /// Names of the files in the container; none of an empty run.
    pub files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureText {
    blob_count: Option<usize>,
    data_row_count: Option<u64>,
    export_config: AzureExport,
    run_info: AzureRun,
    #[serde(default)]
    blobs: Option<Vec<AzureBlob>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureExport {
    export_name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureRun {
    submitted_time: String,
    run_id: String,
    start_date: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureBlob {
    blob_name: String,
}

/// Returns what a manifest of Azure says.
///
/// # Errors
/// As [`aws`].
pub(super) fn azure(key: &str, bytes: &[u8]) -> Result<AzureManifest, CollectError> {
    let text: AzureText = read(key, bytes)?;
    let submitted = Instant::parse_lenient(&text.run_info.submitted_time);
    let submitted = submitted.map_err(|_| lacks(key, "a time as runInfo.submittedTime"))?;
    let start = text.run_info.start_date.get(..10).filter(|day| day.parse::<domain::Day>().is_ok());
    let start = start.ok_or_else(|| lacks(key, "a day as runInfo.startDate"))?.to_owned();
    let named = text.blobs.unwrap_or_default();
    let blobs = match (text.blob_count, text.data_row_count) {
        (_, Some(0)) => Vec::new(),
        (Some(count), _) if count != named.len() => {
            return Err(lacks(key, &format!("{count} blobs, its blobCount; it names {}", named.len())));
        }
        _ => named,
    };
    Ok(AzureManifest {
        export: text.export_config.export_name,
        kind: text.export_config.kind,
        start,
        submitted,
        run: text.run_info.run_id,
        files: blobs.into_iter().map(|blob| blob.blob_name).collect(),
    })
}

fn read<'de, T: Deserialize<'de>>(key: &str, bytes: &'de [u8]) -> Result<T, CollectError> {
    use serde_json::error::Category;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| {
        let cause = match error.classify() {
            Category::Data => Cause::Schema,
            Category::Eof => Cause::Truncated,
            Category::Syntax | Category::Io => Cause::NotJson,
        };
        let reason = crate::prometheus::shown(&error.to_string());
        CollectError::new(cause, format!("the manifest {} cannot be read: {reason}", crate::prometheus::shown(key)))
    })
}

fn lacks(key: &str, what: &str) -> CollectError {
    CollectError::schema(format!("the manifest {} lacks {what}", crate::prometheus::shown(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_aws_names_its_run_and_files() {
        let text = br#"{"executionId":"7c0a","account":"1","compression":"PARQUET","columns":[{"name":"Tags"}],
            "dataFiles":["s3://acme-billing/focus/x/data/BILLING_PERIOD=2026-11/x-00001.snappy.parquet"]}"#;
        let manifest = aws("m", text).expect("a manifest");
        let key = "focus/x/data/BILLING_PERIOD=2026-11/x-00001.snappy.parquet";
        assert_eq!(manifest.run, "7c0a");
        assert_eq!(manifest.files, [(Some("acme-billing".to_owned()), key.to_owned())]);
        let older =
            br#"{"assemblyId":"a1","bucket":"acme-billing","reportKeys":["/cur/x/20261101-20261201/a1/x-1.csv.gz"]}"#;
        let manifest = aws("m", older).expect("an older manifest");
        assert_eq!(
            (manifest.run.as_str(), manifest.files[0].1.as_str()),
            ("a1", "cur/x/20261101-20261201/a1/x-1.csv.gz")
        );
    }

    #[test]
    fn a_manifest_of_azure_names_its_run_and_files_and_an_empty_run_has_none() {
        let text = |more: &str| {
            format!(
                r#"{{"manifestVersion":"2024-04-01",{more}"exportConfig":{{"exportName":"mtd","type":"FocusCost"}},
                "runInfo":{{"submittedTime":"2026-11-20T03:12:45.1234567Z","runId":"3a9f",
                "startDate":"2026-11-01T00:00:00","endDate":"2026-11-30T00:00:00"}},
                "blobs":[{{"blobName":"focus/mtd/part_0_0001.parquet","byteCount":1}}]}}"#
            )
        };
        let manifest = azure("m", text("").as_bytes()).expect("a manifest");
        assert_eq!((manifest.export.as_str(), manifest.start.as_str()), ("mtd", "2026-11-01"));
        assert_eq!(manifest.files, ["focus/mtd/part_0_0001.parquet"]);
        let no_rows = azure("m", text(r#""dataRowCount":0,"#).as_bytes()).expect("a manifest");
        assert_eq!(no_rows.files, [""; 0]);
        let named = text(r#""blobCount":0,"#);
        let none = named.replace(r#"{"blobName":"focus/mtd/part_0_0001.parquet","byteCount":1}"#, "");
        assert_eq!(azure("m", none.as_bytes()).expect("a manifest").files, [""; 0]);
        let more = azure("m", named.as_bytes()).expect_err("none of one is meant");
        assert_eq!((more.cause, more.detail.contains("it names 1")), (Cause::Schema, true), "{more}");
        let counted = azure("m", text(r#""blobCount":1,"dataRowCount":2,"#).as_bytes()).expect("a manifest");
        assert_eq!(counted.files.len(), 1);
        let cut = azure("m", text(r#""blobCount":2,"#).as_bytes()).expect_err("one of two is not named");
        assert_eq!((cut.cause, cut.detail.contains("lacks 2 blobs")), (Cause::Schema, true), "{cut}");
    }

    #[test]
    fn what_is_no_manifest_has_a_cause() {
        for (text, cause) in [
            ("{}", Cause::Schema),
            (r#"{"executionId":"x"}"#, Cause::Schema),
            (r#"{"executionId":"x","dataFiles":["#, Cause::Truncated),
            ("<html>", Cause::NotJson),
        ] {
            assert_eq!(aws("m", text.as_bytes()).map_err(|error| error.cause), Err(cause), "{text}");
        }
        assert_eq!(azure("m", b"{}").map_err(|error| error.cause), Err(Cause::Schema));
    }
}
