//! Ids of events that came into the lake without passing the log: from files, or from a log that is gone.

use super::EventLog;
use crate::error::MeteringError;
use crate::ids::{IdContent, IdKey};
use crate::import::{is_import, stored};
use std::collections::HashMap;
use std::sync::Arc;
use storage::lake::{CommitRecord, Table};
use tokio::sync::RwLockWriteGuard;

/// Ids given to the index at a time.
const IDS_AT_ONCE: usize = 1_000_000;
/// A tenant, so to say, that no event can have: it marks commits whose ids the index has.
const COMMITS: &str = "__commit__";
/// Word by which commits that removed expired events are recognised.
pub(super) const RETENTION: &str = "retention";

impl EventLog {
    /// Returns when nothing is being appended and everything acknowledged is in the lake; holds appends up.
    pub(crate) async fn pause(&self) -> Result<RwLockWriteGuard<'_, ()>, MeteringError> {
        let paused = self.inner.gate.write().await;
        self.flush_all().await?;
        Ok(paused)
    }

    /// Tells the index of the ids that a commit brought. If the process dies before, the next start does it.
    pub(crate) async fn learn(&self, mut claims: Vec<(IdKey, IdContent)>, version: u64) -> Result<(), MeteringError> {
        claims.push(self.mark(version));
        self.add(claims).await
    }

    /// Returns those of the keys that were ever accepted, with their content.
    pub(crate) async fn find(&self, mut keys: Vec<IdKey>) -> Result<HashMap<IdKey, IdContent>, MeteringError> {
        let index = Arc::clone(&self.inner.ids);
        let find = move || {
            // In the order in which they lie on disk.
            keys.sort_unstable();
            let mut found = HashMap::new();
            for key in keys {
                if let Some(known) = index.get(&key)? {
                    found.insert(key, known.content);
                }
            }
            Ok(found)
        };
        tokio::task::spawn_blocking(find).await?
    }

    /// Reads the ids of commits that the index does not have. Nothing may be appended meanwhile.
    ///
    /// # Errors
    /// [`MeteringError::Damaged`] if ids were forgotten of events that are no longer in the table.
    pub(crate) async fn adopt(&self) -> Result<(), MeteringError> {
        let mut adopted = self.inner.adopted.lock().await;
        let pinned = self.inner.lake.pin_table(Table::UsageEvents).await?;
        let mut missing = Vec::new();
        for record in pinned.commits_since(*adopted).await? {
            self.check_expired(&record)?;
            let mark = self.mark(record.version);
            if self.came_otherwise(&record) && self.inner.ids.get(&mark.0)?.is_none() {
                missing.push(mark);
            }
        }
        if missing.is_empty() {
            *adopted = Some(pinned.version());
            return Ok(());
        }
        tracing::info!(commits = missing.len(), "reading the ids of stored events into the index");
        let mut waiting = Vec::new();
        stored::all_ids(&pinned, &self.inner.salt, |ids| {
            waiting.extend(ids);
            if IDS_AT_ONCE <= waiting.len() {
                self.inner.ids.import(&std::mem::take(&mut waiting))?;
                while self.inner.ids.merge_step()? {}
            }
            Ok(())
        })
        .await?;
        waiting.extend(missing);
        self.add(waiting).await?;
        *adopted = Some(pinned.version());
        Ok(())
    }

    /// Whether the events of a commit did not come through this log.
    fn came_otherwise(&self, record: &CommitRecord) -> bool {
        let says = |name: &str| record.metadata.get(name).and_then(serde_json::Value::as_str);
        is_import(record) || (says("kind") == Some("flush") && says("writer") != Some(self.inner.writer.as_str()))
    }

    /// Refuses an index that was made, or put back, without the ids of events that left the table since.
    fn check_expired(&self, record: &CommitRecord) -> Result<(), MeteringError> {
        let says = |name: &str| record.metadata.get(name).and_then(serde_json::Value::as_str);
        if says("kind") != Some(RETENTION) {
            return Ok(());
        }
        let mark = self.expiry_mark(says("mark").unwrap_or_default());
        match self.inner.ids.get(&mark.0)? {
            Some(_) => Ok(()),
            None => Err(MeteringError::Damaged {
                what: "the index of event ids in `wal/ids`".to_owned(),
                problem: format!(
                    "it does not know the events that left `usage_events` on {}, so that they could count twice",
                    record.at
                ),
            }),
        }
    }

    /// What the index holds of an expiry, before its commit.
    pub(super) fn expiry_mark(&self, mark: &str) -> (IdKey, IdContent) {
        (self.inner.salt.key(COMMITS, RETENTION, mark), [0; 16])
    }

    fn mark(&self, version: u64) -> (IdKey, IdContent) {
        (self.inner.salt.key(COMMITS, Table::UsageEvents.name(), &version.to_string()), [0; 16])
    }

    /// Merges runs of ids until there is nothing to do.
    pub(super) async fn tidy_ids(&self) -> Result<(), MeteringError> {
        let index = Arc::clone(&self.inner.ids);
        tokio::task::spawn_blocking(move || {
            while index.merge_step()? {}
            Ok(())
        })
        .await?
    }

    pub(super) async fn add(&self, ids: Vec<(IdKey, IdContent)>) -> Result<(), MeteringError> {
        let index = Arc::clone(&self.inner.ids);
        tokio::task::spawn_blocking(move || index.import(&ids)).await??;
        self.tidy_ids().await
    }
}
