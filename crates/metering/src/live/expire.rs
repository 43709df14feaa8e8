//! Raw events that were kept long enough leave `usage_events`; their usage and their ids stay for ever.
//!
//! Whole partitions go, so nothing is rewritten. The commit is a real deletion and says so. Before it, the index of ids
//! has every event of the table, and a mark: an index without the mark is one that forgot, and is refused.

use super::EventLog;
use super::adopt::RETENTION;
use crate::error::MeteringError;
use domain::Day;
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::failpoint;
use storage::lake::{Commit, LakeError, LakeFile, PinnedTable, Table};

/// How often the commit is tried again because somebody else committed first.
const COMMITS_TRIED_MAX: u32 = 100;

/// What left the table, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Days whose events left.
    pub days: BTreeSet<Day>,
    /// Their files.
    pub files: u64,
    /// Their events.
    pub events: u64,
}

impl EventLog {
    /// Takes the raw events of the days before this one out of the table, and returns what left.
    ///
    /// Files stay on disk until a vacuum. With `dry_run` nothing leaves.
    ///
    /// # Errors
    /// [`MeteringError::Damaged`] if the index of ids lost some: then nothing leaves. Otherwise if the lake fails.
    pub async fn expire_events(&self, before: Day, dry_run: bool) -> Result<Expired, MeteringError> {
        let lake = &self.inner.lake;
        let found = expired(&lake.pin_table(Table::UsageEvents).await?, before);
        if dry_run || found.files == 0 {
            return Ok(found);
        }
        let _paused = self.inner.gate.write().await;
        let mark = hex::encode(rand::random::<[u8; 16]>());
        self.add(vec![self.expiry_mark(&mark)]).await?;
        failpoint::hit("expire");
        for _ in 1..COMMITS_TRIED_MAX {
            let pinned = lake.pin_table(Table::UsageEvents).await?;
            // After the pin: the index knows whatever leaves with the pinned version's files.
            self.adopt().await?;
            let found = expired(&pinned, before);
            if found.files == 0 {
                return Ok(found);
            }
            let mut commit = Commit::new(self.inner.clock.now(), "expire");
            commit.removes = files(&pinned, before).map(|(_, file)| file.path.clone()).collect();
            commit.metadata = serde_json::json!({
                "kind": RETENTION, "before": before, "mark": mark, "days": found.days, "events": found.events,
            });
            match lake.commit(&pinned, commit).await {
                Ok(_) => return Ok(found),
                Err(LakeError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let version = lake.pin_table(Table::UsageEvents).await?.version() + 1;
        Err(LakeError::Conflict { table: Table::UsageEvents, version }.into())
    }
}

fn expired(pinned: &PinnedTable, before: Day) -> Expired {
    let mut expired = Expired::default();
    for (day, file) in files(pinned, before) {
        expired.days.insert(day);
        expired.files += 1;
        expired.events += file.rows;
    }
    expired
}

/// The files of the days before this one. A file without a day that can be read stays.
fn files(pinned: &PinnedTable, before: Day) -> impl Iterator<Item = (Day, &Arc<LakeFile>)> {
    let files = pinned.files().filter_map(|file| Some((file.partition("event_date")?.parse().ok()?, file)));
    files.filter(move |(day, _): &(Day, _)| *day < before)
}
