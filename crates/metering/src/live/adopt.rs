//! Ids of events that came into the lake without passing the log: from files, or from a log that is gone.

use super::EventLog;
use crate::error::MeteringError;
use crate::ids::{IdContent, IdKey};
use crate::import::{is_import, stored};
use std::sync::Arc;
use storage::lake::{CommitRecord, Table};
use tokio::sync::RwLockWriteGuard;

/// Ids given to the index at a time.
const IDS_AT_ONCE: usize = 1_000_000;
/// A tenant, so to say, that no event can have: it marks commits whose ids the index has.
const COMMITS: &str = "__commit__";

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

    /// Reads the ids of commits that the index does not have.
    pub(super) async fn adopt(&self) -> Result<(), MeteringError> {
        let pinned = self.inner.lake.pin_table(Table::UsageEvents).await?;
        let mut missing = Vec::new();
        for record in pinned.commits_since(None).await? {
            let mark = self.mark(record.version);
            if self.came_otherwise(&record) && self.inner.ids.get(&mark.0)?.is_none() {
                missing.push(mark);
            }
        }
        if missing.is_empty() {
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
        self.add(waiting).await
    }

    /// Whether the events of a commit did not come through this log.
    fn came_otherwise(&self, record: &CommitRecord) -> bool {
        let says = |name: &str| record.metadata.get(name).and_then(serde_json::Value::as_str);
        is_import(record) || (says("kind") == Some("flush") && says("writer") != Some(self.inner.writer.as_str()))
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

    async fn add(&self, ids: Vec<(IdKey, IdContent)>) -> Result<(), MeteringError> {
        let index = Arc::clone(&self.inner.ids);
        tokio::task::spawn_blocking(move || index.import(&ids)).await??;
        self.tidy_ids().await
    }
}
