//! A set of FOCUS files replaces the keys it contains, in one commit.
//!
//! The files are read twice. The first reading writes nothing: it finds every mistake, adds up each
//! (billing account, billing period) and tells which of them changed. Only those are then written, and
//! one commit takes the old lines out and puts the new ones in. So a refused or repeated import leaves
//! no trace, and memory does not depend on the size of the files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::{Instant, Zone};
use object_store::ObjectStoreExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::catalog::{Catalog, ImportRow};
use storage::lake::{Imports, Lake, LakeError, NewFile, PinnedTable, Table};
use tokio_util::io::ReaderStream;

use crate::cancel::Cancel;
use crate::cost_lines::{ImportFacts, ImportKey, Replacement, StoredKey, replace_keys, stored_keys};
use crate::error::ImportError;
use crate::focus::InputFile;
use crate::limits::ImportLimits;

/// The first reading.
mod analysis;
/// What the sender is told.
mod report;
/// What would be lost.
mod shrink;
/// Streams to files.
mod spool;
/// The second reading.
mod write;

pub use analysis::Analysis;
pub use report::{ImportReport, ImportTotal, ImportWarning, PeriodReport, WarningPlace};
pub use spool::{SpoolRoom, SpoolWriter, SpooledFile, spool};

/// Sources whose lines come from fixed costs.
pub const RESERVED_SOURCES: [&str; 2] = ["fixed", "manual"];
/// Longest name of a source, in bytes.
const SOURCE_BYTES_MAX: usize = 100;
/// How often an import starts over because another one committed first.
const ATTEMPTS_MAX: usize = 8;

/// What an import works with.
#[derive(Clone, Debug)]
pub struct ImportContext {
    /// The lake.
    pub lake: Lake,
    /// Where imported files are kept.
    pub imports: Imports,
    /// The catalog.
    pub catalog: Catalog,
    /// The organisation's zone.
    pub zone: Zone,
    /// How much an import may use.
    pub limits: ImportLimits,
    /// The time of the import.
    pub now: Instant,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// How often the files were read before: the first reading looks for mistakes, each later one writes.
    pub before: u64,
    /// How often they will be read, as far as that is known.
    pub readings: u64,
    /// Bytes of the files that this reading has read, as they are stored.
    pub bytes_read: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
    /// Rows that this reading has read.
    pub rows: u64,
}

/// Told now and then how far an import is; must be quick.
pub type OnProgress = Arc<dyn Fn(ImportProgress) + Send + Sync>;

/// What whoever reads files tells, and heeds.
#[derive(Clone)]
struct Watch {
    on_progress: OnProgress,
    cancel: Cancel,
    /// Which reading of the files this is, from 0, and of how many.
    reading: (u64, u64),
}

impl Watch {
    /// Says how far it is.
    ///
    /// # Errors
    /// [`ImportError::Cancelled`] if it shall go no further.
    fn is_at(&self, progress: ImportProgress) -> Result<(), ImportError> {
        (self.on_progress)(progress);
        if self.cancel.is_asked() { Err(ImportError::Cancelled) } else { Ok(()) }
    }
}

/// Imports a set of FOCUS files; the lines are in the lake, durably, when this returns.
///
/// # Errors
/// [`ImportError`]; then the data is unchanged. [`ImportError::WouldShrink`] unless `confirm`.
pub async fn import_focus(
    context: &ImportContext,
    source: &str,
    files: Vec<InputFile>,
    confirm: bool,
    on_progress: OnProgress,
) -> Result<ImportReport, ImportError> {
    import_focus_unless(context, source, files, confirm, on_progress, &Cancel::default()).await
}

/// As [`import_focus`], unless somebody asks for the end before the commit, which is never broken off.
///
/// # Errors
/// As [`import_focus`]; [`ImportError::Cancelled`] if somebody asked.
pub async fn import_focus_unless(
    context: &ImportContext,
    source: &str,
    files: Vec<InputFile>,
    confirm: bool,
    on_progress: OnProgress,
    cancel: &Cancel,
) -> Result<ImportReport, ImportError> {
    check_source(source)?;
    let files: Arc<[InputFile]> = files.into();
    let watch = Watch { on_progress, cancel: cancel.clone(), reading: (0, 2) };
    let analysis = Arc::new(analysis::analyse(context, source, &files, &watch).await?);
    let import_id = import_id(source, &analysis, context.now);
    let import = Import { context, source, import_id, files, analysis, watch, confirm };
    let mut written = BTreeMap::new();
    let done = import.replace(&mut written).await;
    discard(&context.lake, written).await;
    done
}

/// An import whose files were read once.
struct Import<'a> {
    context: &'a ImportContext,
    source: &'a str,
    import_id: String,
    files: Arc<[InputFile]>,
    analysis: Arc<Analysis>,
    watch: Watch,
    /// Whether a key may lose much of what it has.
    confirm: bool,
}

impl Import<'_> {
    /// Replaces the keys of the files, again and again until nobody else changed them meanwhile. What is in `written`
    /// afterwards belongs to no commit.
    async fn replace(&self, written: &mut BTreeMap<ImportKey, Vec<NewFile>>) -> Result<ImportReport, ImportError> {
        let (context, analysis, cancel) = (self.context, &self.analysis, &self.watch.cancel);
        let mut kept: Option<Value> = None;
        for _ in 0..ATTEMPTS_MAX {
            let pinned = context.lake.pin_table(Table::CostLines).await?;
            let stored = stored_keys(&pinned, self.source);
            let changed = changed_keys(analysis, &stored);
            if changed.is_empty() {
                return Ok(report::unchanged(analysis, &stored));
            }
            if !self.confirm {
                shrink::check(analysis, &stored, &changed)?;
            }
            let kept_files = match &kept {
                Some(kept_files) => kept_files.clone(),
                None => {
                    let keeping = cancel.unless(keep(&context.imports, &self.files)).await;
                    kept.insert(keeping.ok_or(ImportError::Cancelled)??).clone()
                }
            };
            let missing = changed.iter().filter(|key| !written.contains_key(key)).cloned().collect();
            write::write_keys(context, &self.import_id, &self.files, analysis, missing, &self.watch, written).await?;
            // The last moment: what is committed is committed as a whole.
            if cancel.is_asked() {
                return Err(ImportError::Cancelled);
            }

            let report = report::imported(&self.import_id, analysis, &stored, &changed);
            let facts = facts(&self.import_id, self.source, analysis, &stored, &changed, &report, &kept_files);
            let replacements = replacements(analysis, stored, &changed, written);
            match replace_keys(&context.lake, &pinned, context.now, facts, replacements).await {
                Ok(row) => {
                    // Keys that an earlier attempt wrote and somebody else stored since stay behind.
                    written.retain(|key, _| !changed.contains(key));
                    cache(&context.catalog, &row).await;
                    return Ok(report);
                }
                Err(LakeError::Conflict { .. }) => {}
                Err(error) => {
                    // Nobody knows whether the commit names them.
                    written.clear();
                    return Err(error.into());
                }
            }
        }
        Err(ImportError::Busy)
    }
}

/// Returns the catalog's rows of all imports into `cost_lines`, as its log tells them, oldest first.
///
/// # Errors
/// If the log cannot be read.
pub async fn imports_of_lake(pinned: &PinnedTable) -> Result<Vec<ImportRow>, LakeError> {
    let records = pinned.commits_since(None).await?;
    Ok(records.iter().filter_map(crate::cost_lines::import_row_from_commit).collect())
}

/// Reads the files of a folder in the order of their names; folders inside it are left out.
///
/// # Errors
/// If the folder cannot be read.
pub fn files_of_folder(folder: &Path) -> std::io::Result<Vec<InputFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_file() {
            files.push(InputFile { name, path: entry.path() });
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Returns whether a source of anything may have this name.
pub(crate) fn is_source_name(source: &str) -> bool {
    (1..=SOURCE_BYTES_MAX).contains(&source.len())
        && !source.chars().any(char::is_control)
        && !source.starts_with("__")
        && source.trim() == source
}

fn check_source(source: &str) -> Result<(), ImportError> {
    let valid = is_source_name(source) && !RESERVED_SOURCES.contains(&source);
    if valid { Ok(()) } else { Err(ImportError::BadSource(crate::error::shorten(source))) }
}

fn import_id(source: &str, analysis: &Analysis, now: Instant) -> String {
    let mut hash = Sha256::new();
    hash.update(source);
    for (key, sums) in &analysis.keys {
        hash.update(format!("\n{}\n{}\n{}", key.billing_account, key.billing_period, sums.hash.to_hex()));
    }
    hash.update(now.micros().to_le_bytes());
    format!("imp-{}", &hex::encode(hash.finalize())[..16])
}

fn changed_keys(analysis: &Analysis, stored: &BTreeMap<ImportKey, StoredKey>) -> Vec<ImportKey> {
    let same = |key: &ImportKey, sha256: String| stored.get(key).is_some_and(|stored| stored.sha256 == sha256);
    let changed = analysis.keys.iter().filter(|(key, sums)| !same(key, sums.hash.to_hex()));
    changed.map(|(key, _)| key.clone()).collect()
}

/// Keeps the files' bytes, so that old explanations still find their rows.
async fn keep(imports: &Imports, files: &[InputFile]) -> Result<Value, ImportError> {
    let mut kept = Vec::new();
    for file in files {
        let unreadable =
            |error: std::io::Error| ImportError::Unreadable { file: file.name.clone(), reason: error.to_string() };
        let bytes = tokio::fs::File::open(&file.path).await.map_err(unreadable)?;
        let one = imports.keep(ReaderStream::with_capacity(bytes, 256 * 1024)).await?;
        kept.push(json!({ "name": file.name, "sha256": one.sha256, "size": one.size }));
    }
    Ok(Value::Array(kept))
}

fn facts(
    import_id: &str,
    source: &str,
    analysis: &Analysis,
    stored: &BTreeMap<ImportKey, StoredKey>,
    changed: &[ImportKey],
    report: &ImportReport,
    kept: &Value,
) -> ImportFacts {
    let key = |key: &ImportKey| {
        let sums = &analysis.keys[key];
        json!({
            "billing_account": key.billing_account,
            "billing_period": key.billing_period,
            "rows": sums.rows,
            "sha256": sums.hash.to_hex(),
            "replaced": stored.get(key).map(|stored| json!({ "rows": stored.rows, "import": stored.import_id })),
        })
    };
    let keys: Vec<Value> = changed.iter().map(key).collect();
    ImportFacts {
        kind: "focus",
        id: import_id.to_owned(),
        source: source.to_owned(),
        rows: changed.iter().map(|key| analysis.keys[key].rows).sum(),
        body: json!({ "report": report, "files": kept, "keys": keys }),
    }
}

fn replacements(
    analysis: &Analysis,
    mut stored: BTreeMap<ImportKey, StoredKey>,
    changed: &[ImportKey],
    written: &BTreeMap<ImportKey, Vec<NewFile>>,
) -> Vec<Replacement> {
    let one = |key: &ImportKey| Replacement {
        key: key.clone(),
        old: stored.remove(key),
        new: Some((analysis.keys[key].clone(), written.get(key).cloned().unwrap_or_default())),
    };
    changed.iter().map(one).collect()
}

/// The lake is the authority; a row that is missing here is repaired at the next start.
pub(crate) async fn cache(catalog: &Catalog, row: &ImportRow) {
    if let Err(error) = catalog.insert_import(row).await {
        tracing::error!(import.id = %row.id, ?error, "the import is committed, but the catalog has no row of it yet");
    }
}

/// Removes data files that no commit names. A failure only leaves them for the vacuum.
pub(crate) async fn discard(lake: &Lake, written: BTreeMap<ImportKey, Vec<NewFile>>) {
    for file in written.into_values().flatten() {
        let path = format!("{}/{}", Table::CostLines.name(), file.path);
        if let Err(error) = lake.store().delete(&path.as_str().into()).await {
            tracing::warn!(%path, ?error, "a data file of a refused import could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_source;

    #[test]
    fn sources_have_plain_names_and_never_those_of_fixed_costs() {
        for good in ["aws", "gcp-billing", "Ünternehmen 1"] {
            assert!(check_source(good).is_ok(), "{good}");
        }
        for bad in ["", "fixed", "manual", " aws", "a\nb", "__x", &"x".repeat(101)] {
            assert!(check_source(bad).is_err(), "{bad}");
        }
    }
}
