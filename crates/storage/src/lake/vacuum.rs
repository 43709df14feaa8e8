//! Deleting files that nothing needs: those that commits took out long ago and nothing cites, and what killed writers
//! left behind.
//!
//! Kept, whatever their age: files of the newest version, files of a version that the caller says is cited, files that
//! this process is writing, every file of a table that remembers its past, and all of the ledger. Log entries are never
//! deleted: they prove what happened. A damaged log is an error, and then nothing is deleted.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path as FsPath;
use std::time::UNIX_EPOCH;

use domain::Instant;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt};

use super::Lake;
use super::error::LakeError;
use super::log::{TableLog, actions, checkpoint, entry_path};
use super::pinned::PinnedTable;
use super::table::Table;
use crate::failpoint;

/// How many log entries are fetched at the same time.
const FETCHES_MAX: usize = 32;

/// What may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VacuumRule {
    /// Files that were taken out of the table before this may go.
    pub removed_before: Instant,
    /// Files that no commit names and that were written before this may go.
    pub orphaned_before: Instant,
    /// Versions that somebody may ask for again: their files stay.
    pub cited: BTreeSet<u64>,
    /// Say what would go, and delete nothing.
    pub dry_run: bool,
}

/// A file that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// Path below the lake's root.
    pub path: String,
    /// Why nothing needs it.
    pub kind: LeftoverKind,
    /// Bytes.
    pub bytes: u64,
}

/// Why nothing needs a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftoverKind {
    /// A commit took it out, and no cited version has it.
    Removed,
    /// No commit ever named it.
    Orphan,
    /// A writer was killed before the file was complete.
    Unfinished,
    /// A checkpoint with a newer one after it.
    OldCheckpoint,
}

impl LeftoverKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Orphan => "orphan",
            Self::Unfinished => "unfinished",
            Self::OldCheckpoint => "old_checkpoint",
        }
    }
}

/// Since when and until when a file belonged to the table.
#[derive(Clone, Copy, Debug)]
struct Life {
    added: u64,
    removed: Option<(u64, Instant)>,
}

impl Lake {
    /// Deletes what nothing needs in the folder of a table, and returns it, in order of the paths.
    ///
    /// # Errors
    /// [`LakeError::AppendOnly`] for the ledger; [`LakeError::Damaged`] if the log cannot be trusted. Otherwise if the
    /// store fails; then some of the files may be gone, and trying again is safe.
    pub async fn vacuum(&self, table: Table, rule: &VacuumRule) -> Result<Vec<Leftover>, LakeError> {
        if table.append_only() {
            return Err(LakeError::AppendOnly(table));
        }
        // In this order: a file that is committed meanwhile is either known as being written, or in the pinned version.
        let listed = self.listed(table).await?;
        let writing = self.inner.writing.snapshot();
        let pinned = self.pin_table(table).await?;
        let judge = Judge { table, rule, writing, lives: lives(&pinned).await?, hinted: self.hinted(table).await? };
        let mut found: Vec<Leftover> = listed.iter().filter_map(|object| judge.leftover(object)).collect();
        found.extend(self.unfinished(&judge).await?);
        found.sort();
        if !rule.dry_run {
            self.delete(&found).await?;
        }
        Ok(found)
    }

    async fn listed(&self, table: Table) -> Result<Vec<ObjectMeta>, LakeError> {
        let listing = self.inner.store.list(Some(&Path::from(table.name())));
        listing.try_collect().await.map_err(LakeError::store(format!("listing {table}")))
    }

    /// The version of the last checkpoint.
    async fn hinted(&self, table: Table) -> Result<Option<u64>, LakeError> {
        checkpoint::hinted_version(&TableLog { table, store: self.store() }).await
    }

    /// Files of which a killed writer had not written all; a listing of the store does not show them.
    async fn unfinished(&self, judge: &Judge<'_>) -> Result<Vec<Leftover>, LakeError> {
        let Some(root) = self.inner.local_root.clone() else { return Ok(Vec::new()) };
        let (table, before) = (judge.table, judge.rule.orphaned_before);
        let doing = || format!("listing unfinished files of {table}");
        let found = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            unfinished_below(&root.join(table.name()), table.name(), before, &mut found).map(|()| found)
        });
        let found = found.await.map_err(std::io::Error::other).flatten().map_err(LakeError::io(doing()))?;
        let is_given_up =
            |leftover: &Leftover| leftover.path.rsplit_once('#').is_some_and(|(path, _)| !judge.writing.contains(path));
        Ok(found.into_iter().filter(is_given_up).collect())
    }

    async fn delete(&self, leftovers: &[Leftover]) -> Result<(), LakeError> {
        for Leftover { path, kind, .. } in leftovers {
            failpoint::hit("vacuum");
            let doing = format!("deleting {path}");
            match (kind, &self.inner.local_root) {
                (LeftoverKind::Unfinished, Some(root)) => match std::fs::remove_file(root.join(path)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(LakeError::io(doing)(error));
                    }
                    _ => {}
                },
                _ => match self.inner.store.delete(&Path::from(path.as_str())).await {
                    Ok(()) | Err(StoreError::NotFound { .. }) => {}
                    Err(error) => return Err(LakeError::store(doing)(error)),
                },
            }
        }
        Ok(())
    }
}

/// Decides about listed files.
struct Judge<'r> {
    table: Table,
    rule: &'r VacuumRule,
    /// Paths below the lake's root.
    writing: HashSet<String>,
    /// By path below the table's folder.
    lives: HashMap<String, Life>,
    hinted: Option<u64>,
}

impl Judge<'_> {
    fn leftover(&self, object: &ObjectMeta) -> Option<Leftover> {
        let path = object.location.to_string();
        let below = path.strip_prefix(self.table.name())?.strip_prefix('/')?;
        let written = Instant::from_micros(object.last_modified.timestamp_micros());
        let kind = match below.strip_prefix("_delta_log/") {
            Some(name) => self.is_old_checkpoint(name, written).then_some(LeftoverKind::OldCheckpoint),
            None => self.of_data_file(&path, below, written),
        };
        kind.map(|kind| Leftover { path, kind, bytes: object.size })
    }

    fn of_data_file(&self, path: &str, below: &str, written: Instant) -> Option<LeftoverKind> {
        match self.lives.get(below) {
            Some(life) => self.is_forgotten(life).then_some(LeftoverKind::Removed),
            None => {
                let is_orphan =
                    below.ends_with(".parquet") && written < self.rule.orphaned_before && !self.writing.contains(path);
                is_orphan.then_some(LeftoverKind::Orphan)
            }
        }
    }

    fn is_forgotten(&self, life: &Life) -> bool {
        let Some((removed, at)) = life.removed else { return false };
        self.table.forgets_removed_files()
            && at < self.rule.removed_before
            && self.rule.cited.range(life.added..removed).next().is_none()
    }

    fn is_old_checkpoint(&self, name: &str, written: Instant) -> bool {
        let version = name.strip_suffix(".checkpoint.parquet").and_then(|digits| digits.parse::<u64>().ok());
        version.zip(self.hinted).is_some_and(|(version, newest)| version < newest) && written < self.rule.removed_before
    }
}

/// When each file that a commit ever named came and went.
async fn lives(pinned: &PinnedTable) -> Result<HashMap<String, Life>, LakeError> {
    let entries = futures::stream::iter(0..=pinned.version())
        .map(|version| async move { Ok::<_, LakeError>((version, pinned.log.expect(version).await?)) });
    let lives = HashMap::new();
    let lives = entries.buffered(FETCHES_MAX).try_fold(lives, |mut lives, (version, bytes)| async move {
        let damaged = |reason: String| LakeError::damaged(entry_path(pinned.table(), version), reason);
        live_on(&mut lives, version, &bytes).map_err(damaged)?;
        Ok(lives)
    });
    let lives = lives.await?;
    // Two readings of one log: if they differ, neither is to be trusted with deleting.
    let lasting = lives.values().filter(|life| life.removed.is_none()).count();
    if lasting != pinned.files().len() || !pinned.files().all(|file| lives.contains_key(&file.path)) {
        let reason = "its log and its newest version name different files";
        return Err(LakeError::damaged(pinned.table().name(), reason));
    }
    Ok(lives)
}

/// Applies one log entry.
fn live_on(lives: &mut HashMap<String, Life>, version: u64, bytes: &[u8]) -> Result<(), String> {
    let lines = actions::parse(bytes)?;
    let info = lines.iter().find_map(|line| line.commit_info.clone());
    actions::check_seal(bytes, info.as_ref())?;
    let committed_ms = info.map_or(i64::MAX, |info| info.timestamp);
    for line in lines {
        if let Some(remove) = line.remove
            && let Some(life) = lives.get_mut(&remove.path)
        {
            let at_ms = remove.deletion_timestamp.unwrap_or(committed_ms);
            life.removed = Some((version, Instant::from_micros(at_ms.saturating_mul(1000))));
        }
        if let Some(add) = line.add {
            let life = lives.entry(add.path).or_insert(Life { added: version, removed: None });
            life.removed = None;
        }
    }
    Ok(())
}

/// Files below the folder whose name ends with `#` and digits: the names under which writing begins.
fn unfinished_below(
    folder: &FsPath,
    below_root: &str,
    before: Instant,
    found: &mut Vec<Leftover>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{below_root}/{name}");
        // Whatever vanishes meanwhile was finished or given up.
        let Ok(facts) = entry.metadata() else { continue };
        if facts.is_dir() {
            unfinished_below(&entry.path(), &path, before, found)?;
            continue;
        }
        let is_staged = name.rsplit_once('#').is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
        let written = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = i64::try_from(written.as_micros()).unwrap_or(i64::MAX);
        if is_staged && Instant::from_micros(written) < before {
            found.push(Leftover { path, kind: LeftoverKind::Unfinished, bytes: facts.len() });
        }
    }
    Ok(())
}
