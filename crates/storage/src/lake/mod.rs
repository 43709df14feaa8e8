//! The lake: Delta tables in a folder (later a bucket), and nothing but files.
//!
//! Writing: [`Lake::pin`] a version, write data files ([`Lake::data_file`], [`Lake::partitioned`]),
//! [`Lake::commit`] them on top of the pinned version. A commit either is the next version or fails
//! with [`LakeError::Conflict`]; it is never rebased and never retried.
//!
//! Reading: every reader pins one version of each table from start to end and scans it with
//! [`LakeTable`], a DataFusion table.
//!
//! Durable: data files, the log entry and their directories are synced before a commit returns.
//! Tamper-evident: each log entry names the SHA-256 of the entry before it and of every file it adds,
//! so [`verify_files`] finds any changed byte up to the last head recorded elsewhere.
//!
//! Not here: what the rows mean, who may read them, when to write.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use domain::Instant;
use object_store::ObjectStore;
use tokio::sync::Mutex;

use checked::Checked;
use log::TableLog;
use log::state::TableState;
use writing::Writing;

/// Data files whose bytes are known to be right.
mod checked;
/// Typed columns of a batch.
mod columns;
/// One put-if-absent per commit.
mod commit;
/// Few large files instead of many small ones.
mod compact;
/// Making and recognising a lake.
mod create;
/// What can go wrong.
mod error;
/// Files kept beside the tables.
mod evidence;
/// The lock on the data folder.
mod folder;
/// SHA-256 and random names.
mod hash;
/// Acknowledged rows that are not in the lake yet.
mod hot;
/// Kept imports.
mod imports;
/// Entries as rows.
pub mod ledger_rows;
/// The Delta log.
mod log;
/// One version of a table.
mod pinned;
/// What went into pools as rows.
pub mod pool_day_rows;
/// Reading with DataFusion.
mod scan;
/// Columns of every table.
pub mod schemas;
/// Snapshots as rows.
pub mod snapshot_rows;
/// Local files, synced.
mod store;
/// The tables.
mod table;
/// Deleting files that nothing needs.
mod vacuum;
/// Finding changed files.
mod verify;
/// Writing data files.
mod writer;
/// Files on their way into a commit.
mod writing;

pub use commit::Commit;
pub use compact::{Compacted, CompactionRule};
pub use error::LakeError;
pub use folder::DataFolder;
pub use hot::{HotRows, HotSnapshot};
pub use imports::{Imports, KeptImport};
pub use log::state::{BILL_KEY_TAG, FileStats, LakeFile, SHA256_TAG};
pub use pinned::{CommitRecord, LogHead, PinnedTable};
pub use scan::LakeTable;
pub use store::SyncedLocalStore;
pub use table::Table;
pub use vacuum::{Leftover, LeftoverKind, VacuumRule};
pub use verify::{FileFault, FileReport, verify_files};
pub use writer::{DataFileWriter, NewFile, PartitionValues, PartitionedWriter};

/// An open lake. Cheap to clone; all clones share what they know of the tables.
#[derive(Clone, Debug)]
pub struct Lake {
    inner: Arc<LakeInner>,
}

#[derive(Debug)]
struct LakeInner {
    id: Arc<str>,
    store: Arc<dyn ObjectStore>,
    /// The newest version known, by table, in the order of [`Table::ALL`].
    newest: [Mutex<Arc<TableState>>; Table::ALL.len()],
    checked: Arc<Checked>,
    writing: Arc<Writing>,
    /// The lake's folder, if it is a local one.
    local_root: Option<PathBuf>,
}

/// One version of every table.
#[derive(Clone, Debug)]
pub struct PinnedLake {
    tables: BTreeMap<Table, PinnedTable>,
}

impl PinnedLake {
    /// The pinned version of a table.
    pub fn table(&self, table: Table) -> &PinnedTable {
        &self.tables[&table]
    }

    /// Which version of each table.
    pub fn versions(&self) -> BTreeMap<Table, u64> {
        self.tables.iter().map(|(table, pinned)| (*table, pinned.version())).collect()
    }
}

impl Lake {
    /// Opens the lake in a local folder; a new folder becomes a new lake. `now` dates new tables.
    ///
    /// # Errors
    /// [`LakeError::FormatVersion`] if another version of the program wrote it,
    /// [`LakeError::Damaged`] if a log entry is not what was written.
    pub async fn open(root: &FsPath, now: Instant) -> Result<Self, LakeError> {
        Self::open_at(create::local_store(root)?, now, Some(root.to_owned())).await
    }

    /// Opens the lake that begins at the root of a store.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub async fn open_store(store: Arc<dyn ObjectStore>, now: Instant) -> Result<Self, LakeError> {
        Self::open_at(store, now, None).await
    }

    async fn open_at(
        store: Arc<dyn ObjectStore>,
        now: Instant,
        local_root: Option<PathBuf>,
    ) -> Result<Self, LakeError> {
        let id = create::lake_id(store.as_ref()).await?.into();
        let mut newest = Vec::new();
        for table in Table::ALL {
            let log = TableLog { table, store: Arc::clone(&store) };
            newest.push(Mutex::new(Arc::new(create::open_table(&log, now).await?)));
        }
        let newest = newest.try_into().expect("one state per table");
        let (checked, writing) = (Arc::default(), Arc::default());
        Ok(Self { inner: Arc::new(LakeInner { id, store, newest, checked, writing, local_root }) })
    }

    /// The lake's random id, fixed when it was made.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The files themselves.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// Pins the newest version of every table. What a pinned posting of the ledger names is in the
    /// other tables: they are pinned after it.
    ///
    /// # Errors
    /// If a log cannot be read or is damaged.
    pub async fn pin(&self) -> Result<PinnedLake, LakeError> {
        let mut tables = BTreeMap::new();
        for table in Table::ALL.into_iter().rev() {
            tables.insert(table, self.pin_table(table).await?);
        }
        Ok(PinnedLake { tables })
    }

    /// Pins the newest version of one table.
    ///
    /// # Errors
    /// If the log cannot be read or is damaged.
    pub async fn pin_table(&self, table: Table) -> Result<PinnedTable, LakeError> {
        let log = self.log(table);
        let mut newest = self.inner.newest[table as usize].lock().await;
        *newest = log.refresh(&newest).await?;
        Ok(self.pinned(table, Arc::clone(&newest)))
    }

    /// Pins the versions given and the newest of the tables that are not named.
    ///
    /// # Errors
    /// If a version does not exist.
    pub async fn pin_at(&self, versions: &BTreeMap<Table, u64>) -> Result<PinnedLake, LakeError> {
        let mut pinned = self.pin().await?;
        for (table, version) in versions {
            let state = self.log(*table).load(*version).await?;
            pinned.tables.insert(*table, self.pinned(*table, Arc::new(state)));
        }
        Ok(pinned)
    }

    /// Starts a data file of one partition.
    ///
    /// # Errors
    /// [`LakeError::BadBatch`] if the partition columns are not those of the table.
    pub async fn data_file(&self, table: Table, partition: PartitionValues) -> Result<DataFileWriter, LakeError> {
        DataFileWriter::create(&self.inner.store, &self.inner.writing, table, partition).await
    }

    /// Starts writing rows of any partitions.
    pub fn partitioned(&self, table: Table) -> PartitionedWriter {
        PartitionedWriter::new(self.store(), Arc::clone(&self.inner.writing), table)
    }

    /// Makes the version after `pinned`, and returns it. Durable when this returns.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] if that version exists: nothing is written; pin again, start over.
    /// [`LakeError::TxnReplayed`] if the transaction number is not newer than the pinned one.
    /// [`LakeError::AppendOnly`] if files would be taken from the ledger.
    /// [`LakeError::SyncFailed`] if nobody knows whether the commit is on stable storage.
    pub async fn commit(&self, pinned: &PinnedTable, commit: Commit) -> Result<PinnedTable, LakeError> {
        let log = self.log(pinned.table());
        let written: Vec<(String, String)> =
            commit.adds.iter().map(|file| (file.store_path(), file.sha256.clone())).collect();
        let entry = commit::prepare(pinned, commit)?;
        commit::write(&log, &entry).await?;
        for (_, sha256) in &written {
            self.inner.checked.note(sha256);
        }
        let state = Arc::new(log.next(TableState::clone(&pinned.state), &entry.bytes)?);
        {
            let mut newest = self.inner.newest[pinned.table() as usize].lock().await;
            if newest.version < state.version {
                *newest = Arc::clone(&state);
            }
        }
        // Not before the newest version names them: in between nobody would know them.
        for (path, _) in &written {
            self.inner.writing.end(path);
        }
        if state.version.is_multiple_of(log::checkpoint::CHECKPOINT_EVERY) {
            log::checkpoint::write_or_warn(&log, state.version).await;
        }
        Ok(self.pinned(log.table, state))
    }

    /// Checks every stored file of a table; see [`verify_files`].
    ///
    /// # Errors
    /// Only if the store itself fails.
    pub async fn verify_files(&self, table: Table, expected: Option<&LogHead>) -> Result<FileReport, LakeError> {
        verify_files(self.store(), table, expected).await
    }

    fn log(&self, table: Table) -> TableLog {
        TableLog { table, store: self.store() }
    }

    fn pinned(&self, table: Table, state: Arc<TableState>) -> PinnedTable {
        PinnedTable {
            log: self.log(table),
            lake_id: Arc::clone(&self.inner.id),
            state,
            checked: Arc::clone(&self.inner.checked),
        }
    }
}
