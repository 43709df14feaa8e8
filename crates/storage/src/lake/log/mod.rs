//! The Delta log of one table: replaying it, and what the folder must look like.
//!
//! State is replayed from the JSON entries, which are never deleted; a checkpoint only shortens the
//! way, and only if its bytes are the ones we wrote. A damaged entry is an error that names the file.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};

use super::error::LakeError;
use super::table::Table;
use state::TableState;

/// Lines of a log entry.
pub(crate) mod actions;
/// Shortcuts through long logs.
pub(crate) mod checkpoint;
/// What a table consists of at one version.
pub(crate) mod state;

/// How many log entries are fetched at the same time.
const FETCHES_MAX: usize = 32;

/// Reads the log of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableLog {
    pub table: Table,
    pub store: Arc<dyn ObjectStore>,
}

/// Path of the entry of one version, below the lake's root.
pub(crate) fn entry_path(table: Table, version: u64) -> Path {
    Path::from(format!("{}/_delta_log/{version:020}.json", table.name()))
}

/// The version of a log entry's file name.
pub(crate) fn entry_version(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".json")?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

impl TableLog {
    /// The bytes of one entry; `None` if this version does not exist.
    pub async fn read(&self, version: u64) -> Result<Option<Bytes>, LakeError> {
        read_if_exists(self.store.as_ref(), &entry_path(self.table, version)).await
    }

    /// The newest version in the folder; `None` if there is no table yet.
    ///
    /// Names from the last checkpoint on are listed, so that a long log is not; if there are none, all.
    pub async fn newest_version(&self) -> Result<Option<u64>, LakeError> {
        let hinted = checkpoint::hinted_version(self).await?.and_then(|version| version.checked_sub(1));
        if let Some(before) = hinted
            && let Some(newest) = self.newest_after(Some(before)).await?
        {
            return Ok(Some(newest));
        }
        self.newest_after(None).await
    }

    async fn newest_after(&self, version: Option<u64>) -> Result<Option<u64>, LakeError> {
        let prefix = Path::from(format!("{}/_delta_log", self.table.name()));
        let listing = match version {
            Some(version) => self.store.list_with_offset(Some(&prefix), &entry_path(self.table, version)),
            None => self.store.list(Some(&prefix)),
        };
        let names = listing.map_ok(|object| object.location.filename().and_then(entry_version));
        let newest = names.try_fold(None, |newest: Option<u64>, version| async move { Ok(newest.max(version)) }).await;
        newest.map_err(LakeError::store(format!("listing the log of {}", self.table)))
    }

    /// The state at `until`, by way of the newest usable checkpoint.
    pub async fn load(&self, until: u64) -> Result<TableState, LakeError> {
        let start = match checkpoint::load(self, until).await? {
            Some(state) => state,
            None => {
                let bytes = self.expect(0).await?;
                let (state, _) = TableState::first(&bytes).map_err(|reason| self.damaged(0, reason))?;
                state
            }
        };
        self.replay(start, until).await
    }

    async fn replay(&self, start: TableState, until: u64) -> Result<TableState, LakeError> {
        let entries = futures::stream::iter(start.version + 1..=until).map(|version| self.expect(version));
        let entries = entries.buffered(FETCHES_MAX);
        entries.try_fold(start, |state, bytes| async move { self.next(state, &bytes) }).await
    }

    /// The state one version later.
    pub fn next(&self, state: TableState, bytes: &[u8]) -> Result<TableState, LakeError> {
        let version = state.version + 1;
        let (state, info) = state.next(bytes).map_err(|reason| self.damaged(version, reason))?;
        let is_ours = info.is_some_and(|info| info.prev_log_sha256.is_some());
        if self.table.append_only() && !is_ours {
            return Err(self.damaged(version, "it was not written by apportion".to_owned()));
        }
        Ok(state)
    }

    /// Follows the log from `state` to its newest entry.
    pub async fn refresh(&self, state: &Arc<TableState>) -> Result<Arc<TableState>, LakeError> {
        let mut state = Arc::clone(state);
        while let Some(bytes) = self.read(state.version + 1).await? {
            state = Arc::new(self.next(Arc::unwrap_or_clone(state), &bytes)?);
        }
        Ok(state)
    }

    /// The bytes of an entry that must exist, since a later one does.
    pub async fn expect(&self, version: u64) -> Result<Bytes, LakeError> {
        self.read(version).await?.ok_or_else(|| self.damaged(version, "it is missing".to_owned()))
    }

    fn damaged(&self, version: u64, reason: String) -> LakeError {
        LakeError::damaged(entry_path(self.table, version), reason)
    }
}

/// The bytes of an object; `None` if there is no such object.
pub(crate) async fn read_if_exists(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>, LakeError> {
    let result = match store.get(path).await {
        Ok(found) => found.bytes().await.map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    result.map_err(LakeError::store(format!("reading {path}")))
}
