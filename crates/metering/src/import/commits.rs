//! Two tables, two commits, one import.
//!
//! One Delta commit cannot span two tables. The commit to `usage_events` decides that the import
//! counts, and names the usage files, which are written and synced by then. The commit to `usage`
//! only follows: it carries the version of the first as its transaction number, so it happens exactly
//! once, and whoever comes next does it if the process died in between.

use super::report::EventImportReport;
use crate::error::MeteringError;
use domain::{Day, Instant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::{Catalog, ImportRow};
use storage::lake::{Commit, CommitRecord, Lake, LakeError, NewFile, PinnedTable, Table};

/// Transaction writer of the commits to `usage` that follow commits to `usage_events`.
pub const USAGE_TXN: &str = "events-import";
/// Word by which the metadata of such commits is recognised.
const KIND: &str = "events";

/// What the commit to `usage_events` says about its import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventsCommit {
    kind: String,
    /// Name that the importer gave, usually the file's.
    pub name: String,
    /// SHA-256 of the file's bytes: the name under which it is kept.
    pub sha256: String,
    /// Length of the file.
    pub size: u64,
    /// The report; its import id is set.
    pub report: EventImportReport,
    /// Days whose usage changes: attribution looks at them again.
    pub touched_days: Vec<Day>,
    /// Meters that got usage.
    pub meters: BTreeSet<String>,
    usage_files: Vec<UsageFile>,
}

/// A data file of `usage`, as the metadata names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UsageFile {
    path: String,
    partition_values: BTreeMap<String, Option<String>>,
    size: u64,
    rows: u64,
    sha256: String,
    stats_json: String,
    tags: BTreeMap<String, String>,
}

impl EventsCommit {
    pub(super) fn new(
        name: &str,
        kept: &storage::lake::KeptImport,
        report: EventImportReport,
        meters: BTreeSet<String>,
        usage_files: &[NewFile],
    ) -> Self {
        let touched_days = report.days.clone();
        let usage_files = usage_files.iter().map(UsageFile::from_new_file).collect();
        let (name, sha256, size) = (name.to_owned(), kept.sha256.clone(), kept.size);
        Self { kind: KIND.to_owned(), name, sha256, size, report, touched_days, meters, usage_files }
    }

    /// What a commit to `usage_events` says, if it is one of an import.
    fn of_record(record: &CommitRecord) -> Result<Option<Self>, MeteringError> {
        if !is_import(record) {
            return Ok(None);
        }
        let read = serde_json::from_value(record.metadata.clone());
        read.map(Some).map_err(|error| MeteringError::Damaged {
            what: format!("commit {} of usage_events", record.version),
            problem: error.to_string(),
        })
    }

    fn to_metadata(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("the commit's metadata has text keys only")
    }

    /// The row that the catalog keeps of the import.
    fn to_import_row(&self, version: u64, at: Instant) -> ImportRow {
        let body = serde_json::json!({
            "file": self.name, "sha256": self.sha256, "size": self.size,
            "report": self.report, "touched_days": self.touched_days,
        });
        ImportRow {
            id: self.report.import_id.clone().unwrap_or_else(|| format!("events-{version}")),
            kind: KIND.to_owned(),
            source: self.name.clone(),
            imported_at: at.micros(),
            table_name: Table::UsageEvents.name().to_owned(),
            version: integer(version),
            row_count: integer(self.report.accepted),
            body: body.to_string(),
        }
    }
}

impl UsageFile {
    fn from_new_file(file: &NewFile) -> Self {
        Self {
            path: file.path.clone(),
            partition_values: file.partition_values.clone(),
            size: file.size,
            rows: file.rows,
            sha256: file.sha256.clone(),
            stats_json: file.stats_json.clone(),
            tags: file.tags.clone(),
        }
    }

    fn into_new_file(self) -> NewFile {
        NewFile {
            table: Table::Usage,
            path: self.path,
            partition_values: self.partition_values,
            size: self.size,
            rows: self.rows,
            sha256: self.sha256,
            stats_json: self.stats_json,
            tags: self.tags,
        }
    }
}

/// Whether a commit to `usage_events` is that of an import.
pub(crate) fn is_import(record: &CommitRecord) -> bool {
    record.metadata.get("kind").and_then(serde_json::Value::as_str) == Some(KIND)
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).expect("versions and row counts are far below 2^63")
}

/// Makes the commit that decides: from here on the import counts.
pub(super) async fn commit_events(
    lake: &Lake,
    pinned: &PinnedTable,
    at: Instant,
    files: &[NewFile],
    says: &EventsCommit,
) -> Result<PinnedTable, LakeError> {
    let mut commit = Commit::new(at, "import");
    commit.adds = files.to_vec();
    commit.metadata = says.to_metadata();
    lake.commit(pinned, commit).await
}

/// Commits to `usage` what commits to `usage_events` promise and is not there yet, in their order.
///
/// Harmless at any time and by several at once: each promise is kept exactly once.
///
/// # Errors
/// If the lake fails.
pub async fn complete_usage(lake: &Lake) -> Result<(), MeteringError> {
    loop {
        let mut usage = lake.pin_table(Table::Usage).await?;
        let done = usage.txn(USAGE_TXN).map(|version| u64::try_from(version).unwrap_or(0));
        let events = lake.pin_table(Table::UsageEvents).await?;
        if done.is_some_and(|done| events.version() <= done) {
            return Ok(());
        }
        let mut lost_a_race = false;
        for record in events.commits_since(done).await? {
            let Some(says) = EventsCommit::of_record(&record)?.filter(|says| !says.usage_files.is_empty()) else {
                continue;
            };
            match lake.commit(&usage, usage_commit(&record, says)).await {
                Ok(next) => usage = next,
                Err(LakeError::Conflict { .. } | LakeError::TxnReplayed { .. }) => {
                    lost_a_race = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !lost_a_race {
            return Ok(());
        }
    }
}

fn usage_commit(record: &CommitRecord, says: EventsCommit) -> Commit {
    let mut commit = Commit::new(record.at, "import");
    commit.txn = Some((USAGE_TXN.to_owned(), integer(record.version)));
    commit.metadata = serde_json::json!({
        "kind": KIND,
        "import_id": says.report.import_id,
        "usage_events_version": record.version,
        "touched_days": says.touched_days,
    });
    commit.adds = says.usage_files.into_iter().map(UsageFile::into_new_file).collect();
    commit
}

/// Returns the catalog's rows of all event imports, as the lake tells them.
///
/// # Errors
/// If the lake fails.
pub async fn import_rows(lake: &Lake) -> Result<Vec<ImportRow>, MeteringError> {
    let records = lake.pin_table(Table::UsageEvents).await?.commits_since(None).await?;
    let row = |record: &CommitRecord| {
        Ok(EventsCommit::of_record(record)?.map(|says| says.to_import_row(record.version, record.at)))
    };
    records.iter().filter_map(|record| row(record).transpose()).collect()
}

/// Completes interrupted imports and brings the catalog's notes about event imports in line with the lake.
///
/// Call it once at the start of a process, before anything reads usage.
///
/// # Errors
/// If lake or catalog fail.
pub async fn repair(lake: &Lake, catalog: &Catalog) -> Result<(), MeteringError> {
    complete_usage(lake).await?;
    for record in lake.pin_table(Table::UsageEvents).await?.commits_since(None).await? {
        if let Some(says) = EventsCommit::of_record(&record)? {
            note(catalog, &says, record.version, record.at).await?;
        }
    }
    Ok(())
}

/// Notes in the catalog what the commit says.
pub(super) async fn note(
    catalog: &Catalog,
    says: &EventsCommit,
    version: u64,
    at: Instant,
) -> Result<(), MeteringError> {
    catalog.insert_import(&says.to_import_row(version, at)).await?;
    for meter in &says.meters {
        catalog.mark_meter_used(meter, at.micros()).await?;
    }
    Ok(())
}
