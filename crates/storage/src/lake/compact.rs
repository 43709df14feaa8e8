//! Merging small files of a partition into few large ones. The rows stay the same; only their files change.
//!
//! One commit takes the small files out and puts the merged ones in, with `dataChange = false`, and counts only if every
//! file it takes out is still there: an append beside it is no conflict, a removal is, and then the merged file is thrown
//! away. Memory is bounded: rows pass through a sort that spills to temporary files.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use domain::Instant;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::Lake;
use super::commit::Commit;
use super::error::LakeError;
use super::log::state::LakeFile;
use super::pinned::PinnedTable;
use super::scan::LakeTable;
use super::table::Table;
use super::writer::{NewFile, PartitionValues};
use crate::failpoint;

/// Bytes of the files that become one.
const MERGED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Merged files that one commit brings at most: few commits, and not much lost if one is refused.
const MERGES_TOGETHER: usize = 32;
/// How often a commit is tried again because somebody else committed first.
const COMMITS_TRIED_MAX: u32 = 100;
/// A sort needs some room to read back what it spilled.
const MEMORY_BYTES_MIN: usize = 16 * 1024 * 1024;

/// When and how files are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionRule {
    /// A file with fewer bytes is small.
    pub small_bytes_max: u64,
    /// Small files that a partition may have; with more, they are merged.
    pub small_files_max: usize,
    /// Memory for sorting; beyond it, temporary files are used.
    pub memory_bytes_max: usize,
}

impl Default for CompactionRule {
    fn default() -> Self {
        Self { small_bytes_max: 32 * 1024 * 1024, small_files_max: 16, memory_bytes_max: 256 * 1024 * 1024 }
    }
}

/// What one compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Commits made.
    pub commits: u64,
    /// Files that were merged.
    pub files_before: u64,
    /// Files that they became.
    pub files_after: u64,
    /// Bytes of the files that were merged.
    pub bytes_before: u64,
    /// Bytes of the files that they became.
    pub bytes_after: u64,
    /// Rows in them, before and after.
    pub rows: u64,
}

/// Files of one partition that become one.
struct Merge {
    partition: PartitionValues,
    files: Vec<Arc<LakeFile>>,
}

/// A merged file and what it replaces.
struct Merged {
    replaces: Vec<Arc<LakeFile>>,
    file: NewFile,
}

impl Lake {
    /// Merges the small files of every partition that has too many, and returns what was done.
    ///
    /// Harmless at any time and by several at once; readers and writers need not wait.
    ///
    /// # Errors
    /// [`LakeError::BadCommit`] for a table whose files are never merged; [`LakeError::Damaged`] if a file is not what
    /// was written: then it is not merged, so that the damage stays where it can be found.
    pub async fn compact(&self, table: Table, rule: &CompactionRule, at: Instant) -> Result<Compacted, LakeError> {
        let pinned = self.pin_table(table).await?;
        let mut done = Compacted::default();
        for merges in plan(&pinned, rule).chunks(MERGES_TOGETHER) {
            let mut merged = Vec::with_capacity(merges.len());
            for merge in merges {
                match self.merge(&pinned, merge, rule).await {
                    Ok(file) => merged.push(Merged { replaces: merge.files.clone(), file }),
                    Err(error) => {
                        self.discard(merged).await;
                        return Err(error);
                    }
                }
            }
            done.add(self.commit_merged(table, merged, at).await?);
        }
        Ok(done)
    }

    /// Writes the rows of the files, sorted, into one.
    async fn merge(&self, pinned: &PinnedTable, merge: &Merge, rule: &CompactionRule) -> Result<NewFile, LakeError> {
        let table = pinned.table();
        let never = || LakeError::BadCommit { table, reason: "its files are never merged".to_owned() };
        let order = table.merge_order().ok_or_else(never)?;
        failpoint::hit("merge");
        let paths: HashSet<&str> = merge.files.iter().map(|file| file.path.as_str()).collect();
        let source = LakeTable::of_files(pinned, |file| paths.contains(file.path.as_str()));
        let schema = table.file_schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let order = order.iter().map(|column| ident(*column).sort(true, true)).collect();
        let rows = sorting_session(rule)?.read_table(Arc::new(source))?.select_columns(&columns)?.sort(order)?;
        let mut batches = rows.execute_stream().await?;
        let mut writer = self.data_file(table, merge.partition.clone()).await?;
        while let Some(batch) = batches.try_next().await? {
            writer.write(&batch).await?;
        }
        writer.finish().await
    }

    /// Commits the merged files whose sources are all still there.
    async fn commit_merged(&self, table: Table, merged: Vec<Merged>, at: Instant) -> Result<Compacted, LakeError> {
        let mut merged = merged;
        for _ in 0..COMMITS_TRIED_MAX {
            let pinned = self.pin_table(table).await?;
            let is_there = |file: &Arc<LakeFile>| pinned.state.files.contains_key(file.path.as_str());
            let (wanted, refused): (Vec<_>, Vec<_>) =
                merged.into_iter().partition(|merged| merged.replaces.iter().all(is_there));
            self.discard(refused).await;
            if wanted.is_empty() {
                return Ok(Compacted::default());
            }
            match self.commit(&pinned, commit_of(&wanted, at)).await {
                Ok(_) => return Ok(Compacted::of(&wanted)),
                Err(LakeError::Conflict { .. }) => merged = wanted,
                // Whether the commit counts may be unknown: the files stay.
                Err(error) => return Err(error),
            }
        }
        self.discard(merged).await;
        Err(LakeError::Conflict { table, version: self.pin_table(table).await?.version() + 1 })
    }

    /// Deletes files that no commit will name. One that stays is only a waste of space.
    async fn discard(&self, merged: Vec<Merged>) {
        for Merged { file, .. } in merged {
            let path = file.store_path();
            match self.inner.store.delete(&Path::from(path.as_str())).await {
                Ok(()) => self.inner.writing.end(&path),
                Err(error) => tracing::warn!(%path, ?error, "a data file of no commit could not be removed"),
            }
        }
    }
}

/// Which files become one. Files of other writers carry no hash and stay as they are: what is merged was checked.
fn plan(pinned: &PinnedTable, rule: &CompactionRule) -> Vec<Merge> {
    let mut small: BTreeMap<&PartitionValues, Vec<&Arc<LakeFile>>> = BTreeMap::new();
    for file in pinned.files().filter(|file| file.size < rule.small_bytes_max && file.sha256().is_some()) {
        small.entry(&file.partition_values).or_default().push(file);
    }
    let mut merges = Vec::new();
    for (partition, mut files) in small.into_iter().filter(|(_, files)| rule.small_files_max < files.len()) {
        files.sort_by_key(|file| (file.modified_ms, &file.path));
        for files in groups(&files).into_iter().filter(|files| 1 < files.len()) {
            merges.push(Merge { partition: partition.clone(), files });
        }
    }
    merges
}

/// Files in their order, as many together as one file may hold.
fn groups(files: &[&Arc<LakeFile>]) -> Vec<Vec<Arc<LakeFile>>> {
    let mut groups: Vec<Vec<Arc<LakeFile>>> = Vec::new();
    let mut bytes = u64::MAX;
    for file in files {
        bytes = bytes.saturating_add(file.size);
        match groups.last_mut() {
            Some(group) if bytes <= MERGED_BYTES_MAX => group.push(Arc::clone(file)),
            _ => {
                groups.push(vec![Arc::clone(file)]);
                bytes = file.size;
            }
        }
    }
    groups
}

fn sorting_session(rule: &CompactionRule) -> Result<SessionContext, LakeError> {
    let memory = rule.memory_bytes_max.max(MEMORY_BYTES_MIN);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory))).build_arc()?;
    let config = SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(memory / 4);
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

fn commit_of(merged: &[Merged], at: Instant) -> Commit {
    let mut commit = Commit::new(at, "compact");
    commit.data_change = false;
    commit.removes = merged.iter().flat_map(|merged| &merged.replaces).map(|file| file.path.clone()).collect();
    commit.adds = merged.iter().map(|merged| merged.file.clone()).collect();
    commit.metadata = serde_json::json!({
        "kind": "compact", "files_before": commit.removes.len(), "files_after": commit.adds.len(),
    });
    commit
}

impl Compacted {
    fn of(merged: &[Merged]) -> Self {
        let replaced = || merged.iter().flat_map(|merged| &merged.replaces);
        Self {
            commits: 1,
            files_before: replaced().count() as u64,
            files_after: merged.len() as u64,
            bytes_before: replaced().map(|file| file.size).sum(),
            bytes_after: merged.iter().map(|merged| merged.file.size).sum(),
            rows: merged.iter().map(|merged| merged.file.rows).sum(),
        }
    }

    /// Adds what another compaction did.
    fn add(&mut self, other: Self) {
        self.commits += other.commits;
        self.files_before += other.files_before;
        self.files_after += other.files_after;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.rows += other.rows;
    }
}
