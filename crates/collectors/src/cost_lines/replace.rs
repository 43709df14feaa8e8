//! One commit that replaces keys.

use domain::Instant;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::catalog::ImportRow;
use storage::lake::{Commit, CommitRecord, Lake, LakeError, NewFile, PinnedTable, Table};

use super::days::DaySet;
use super::key::{ImportKey, KEY_TAG, StoredKey, key_tag};
use super::sums::KeySums;

/// What the log says about an import; the catalog's row is rebuilt from it.
pub(crate) struct ImportFacts {
    /// `focus` or `fixed`.
    pub kind: &'static str,
    pub id: String,
    pub source: String,
    /// Rows it added.
    pub rows: u64,
    /// Files, hashes, keys replaced, report.
    pub body: Value,
}

/// A key whose lines are taken out and, unless `new` is empty, put in anew.
pub(crate) struct Replacement {
    pub key: ImportKey,
    pub old: Option<StoredKey>,
    pub new: Option<(KeySums, Vec<NewFile>)>,
}

/// Commits all replacements at once. Returns the catalog's row of the import.
pub(crate) async fn replace_keys(
    lake: &Lake,
    pinned: &PinnedTable,
    at: Instant,
    facts: ImportFacts,
    replacements: Vec<Replacement>,
) -> Result<ImportRow, LakeError> {
    let mut days = DaySet::default();
    let mut content = Sha256::new();
    let mut commit = Commit::new(at, "import");
    for replacement in replacements {
        if let Some(old) = replacement.old {
            days.extend(&old.days);
            commit.removes.extend(old.files);
        }
        if let Some((sums, files)) = replacement.new {
            days.extend(&sums.days);
            content.update(sums.hash.to_hex());
            let tag = key_tag(&replacement.key, &sums, &facts.id);
            commit.adds.extend(files.into_iter().map(|mut file| {
                file.tags.insert(KEY_TAG.to_owned(), tag.clone());
                file
            }));
        }
    }
    commit.metadata = json!({
        "kind": facts.kind,
        "id": facts.id,
        "source": facts.source,
        "rows": facts.rows,
        "content_sha256": hex::encode(content.finalize()), // over the hashes of the keys' lines, in key order
        "touched_days": days.to_json(),
        "body": facts.body,
    });
    let metadata = commit.metadata.clone();
    let committed = lake.commit(pinned, commit).await?;
    Ok(import_row(committed.version(), at, &metadata).expect("the metadata was made above"))
}

/// Returns the catalog's row of an import, from what its commit to `cost_lines` says; `None` for other
/// commits. Repair at start makes the cache from this.
#[must_use]
pub fn import_row_from_commit(record: &CommitRecord) -> Option<ImportRow> {
    import_row(record.version, record.at, &record.metadata)
}

/// Returns the days whose cost lines a commit to `cost_lines` changed; attribution of these is due.
#[must_use]
pub fn touched_days_of_commit(record: &CommitRecord) -> DaySet {
    record.metadata.get("touched_days").and_then(DaySet::from_json).unwrap_or_default()
}

fn import_row(version: u64, at: Instant, metadata: &Value) -> Option<ImportRow> {
    let text = |name: &str| metadata.get(name)?.as_str().map(str::to_owned);
    Some(ImportRow {
        id: text("id")?,
        kind: text("kind")?,
        source: text("source")?,
        imported_at: at.micros(),
        table_name: Table::CostLines.name().to_owned(),
        version: i64::try_from(version).ok()?,
        row_count: metadata.get("rows")?.as_i64()?,
        body: metadata.get("body")?.to_string(),
    })
}
