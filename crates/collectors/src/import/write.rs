//! The second reading: the lines of changed keys become data files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use storage::lake::NewFile;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::analysis::{KeyLookup, SetRow, interrupted, read_set};
use super::{Analysis, ImportContext, Watch};
use crate::cost_lines::{FileBatch, FileSet, ImportKey, KeySums, LineColumns};
use crate::error::ImportError;
use crate::focus::InputFile;
use crate::limits::ImportLimits;

/// Rows gathered per file before they are handed to its writer.
const BATCH_ROWS: usize = 4096;
/// Batches between the reader and the writers.
const BATCHES_MAX: usize = 4;
/// Memory that files under way may take together, by the estimate below.
const OPEN_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Memory that one file takes at least (its builders) and at most (its writer closes row groups).
const FILE_BYTES: (u64, u64) = (2 * 1024 * 1024, 40 * 1024 * 1024);
/// Encoded bytes of a row, roughly.
const ROW_BYTES: u64 = 400;

/// Writes the lines of these keys, and adds their files to `written`, also those that were complete when it failed. Many keys
/// are written in several readings, so that the number of files under way, and with it memory, stays bounded.
pub(super) async fn write_keys(
    context: &ImportContext,
    import_id: &str,
    files: &Arc<[InputFile]>,
    analysis: &Arc<Analysis>,
    keys: Vec<ImportKey>,
    watch: &Watch,
    written: &mut BTreeMap<ImportKey, Vec<NewFile>>,
) -> Result<(), ImportError> {
    let groups = groups(analysis, keys);
    let readings = 1 + groups.len() as u64;
    for (group, before) in groups.into_iter().zip(1..) {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let reader = Reader {
            context: context.clone(),
            import_id: import_id.to_owned(),
            files: Arc::clone(files),
            analysis: Arc::clone(analysis),
            watch: Watch { reading: (before, readings), ..watch.clone() },
            sender,
        };
        let reading = tokio::task::spawn_blocking(move || reader.run(&group));
        let mut file_set = FileSet::new(context.lake.clone());
        let filled = fill(&mut file_set, receiver, reading).await;
        written.extend(file_set.into_finished());
        filled?;
    }
    Ok(())
}

/// Writes what a reading sends, and completes the files once it has ended well.
async fn fill(
    file_set: &mut FileSet,
    mut batches: mpsc::Receiver<FileBatch>,
    reading: JoinHandle<Result<(), ImportError>>,
) -> Result<(), ImportError> {
    while let Some(batch) = batches.recv().await {
        file_set.write(batch).await?;
    }
    reading.await.map_err(interrupted)??;
    file_set.complete().await.map_err(ImportError::from)
}

/// Divides the keys so that each group's files fit into memory together.
fn groups(analysis: &Analysis, keys: Vec<ImportKey>) -> Vec<BTreeSet<ImportKey>> {
    let mut groups: Vec<BTreeSet<ImportKey>> = Vec::new();
    let mut bytes = OPEN_BYTES_MAX;
    for key in keys {
        let sums = &analysis.keys[&key];
        let of_file = |rows: u64| match rows {
            0 => 0,
            rows => rows.saturating_mul(ROW_BYTES).clamp(FILE_BYTES.0, FILE_BYTES.1),
        };
        let needed = of_file(sums.rows - sums.long_rows) + of_file(sums.long_rows);
        if OPEN_BYTES_MAX < bytes + needed {
            groups.push(BTreeSet::new());
            bytes = 0;
        }
        bytes += needed;
        groups.last_mut().expect("the first key begins a group").insert(key);
    }
    groups
}

/// What the blocking thread works with.
struct Reader {
    context: ImportContext,
    import_id: String,
    files: Arc<[InputFile]>,
    analysis: Arc<Analysis>,
    watch: Watch,
    sender: mpsc::Sender<FileBatch>,
}

impl Reader {
    fn run(&self, keys: &BTreeSet<ImportKey>) -> Result<(), ImportError> {
        let first = keys.first().expect("a group has at least one key");
        let mut lookup = KeyLookup::new(&first.source);
        let mut gathered: BTreeMap<(ImportKey, bool), LineColumns> = BTreeMap::new();
        let mut sums: BTreeMap<ImportKey, KeySums> = keys.iter().map(|key| (key.clone(), KeySums::default())).collect();
        let mut buffer = Vec::new();
        let limits: &ImportLimits = &self.context.limits;
        read_set(&self.files, &self.context.zone, limits, &self.watch, &mut |row: SetRow<'_>| {
            let key = lookup.key(row.line);
            let Some(sums) = sums.get_mut(key) else { return Ok(()) };
            sums.add(row.line, row.days, &mut buffer);
            let slot = (key.clone(), row.days.len() > 1);
            let columns = gathered.entry(slot).or_insert_with(LineColumns::new);
            columns.push(row.line, row.line_no, row.days)?;
            if columns.rows() < BATCH_ROWS {
                return Ok(());
            }
            let rows = columns.take(&self.import_id)?;
            self.send(FileBatch { key: key.clone(), long: row.days.len() > 1, rows })
        })?;
        for ((key, long), mut columns) in gathered {
            if columns.rows() > 0 {
                let rows = columns.take(&self.import_id)?;
                self.send(FileBatch { key, long, rows })?;
            }
        }
        self.check_same(&sums)
    }

    /// What is written must be what was checked, even if somebody wrote to the files in between.
    fn check_same(&self, sums: &BTreeMap<ImportKey, KeySums>) -> Result<(), ImportError> {
        if sums.iter().all(|(key, sums)| self.analysis.keys.get(key) == Some(sums)) {
            return Ok(());
        }
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).take(3).collect();
        let reason = "it changed while it was being imported; try again".to_owned();
        Err(ImportError::Unreadable { file: names.join(", "), reason })
    }

    /// The writer goes away only when it failed; its own error is then the one reported.
    fn send(&self, batch: FileBatch) -> Result<(), ImportError> {
        self.sender.blocking_send(batch).map_err(|_| ImportError::Interrupted)
    }
}
