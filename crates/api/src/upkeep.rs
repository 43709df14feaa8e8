//! Keeping the lake's tables small. What may go is decided here, where the parts that need it meet.

use crate::app::App;
use crate::problem::ApiError;
use domain::Day;
use domain::time::MICROS_PER_SECOND;
use metering::import::complete_usage;
use metering::live::Expired;
use storage::lake::{Compacted, CompactionRule, Leftover, Table, VacuumRule};
use tokio::sync::Mutex;

const SECONDS_PER_DAY: i64 = 86_400;

/// How the tables are kept small, and whose turn it is.
#[derive(Debug)]
pub struct Upkeep {
    /// When files are merged.
    pub compaction: CompactionRule,
    /// How many days raw events are kept.
    pub events_days: i32,
    /// How long a file stays that a commit took out.
    pub removed_seconds: i64,
    /// How long a file stays that no commit names.
    pub orphaned_seconds: i64,
    /// One job at a time, whoever asks; two would be correct and do the work twice.
    turn: Mutex<()>,
}

impl Upkeep {
    /// Returns the upkeep by these rules.
    #[must_use]
    pub fn new(compaction: CompactionRule, events_days: i32, removed_seconds: i64, orphaned_seconds: i64) -> Self {
        Self { compaction, events_days, removed_seconds, orphaned_seconds, turn: Mutex::default() }
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Self::new(CompactionRule::default(), 90, 7 * SECONDS_PER_DAY, SECONDS_PER_DAY)
    }
}

impl App {
    /// Merges small files, and returns what was done to each table that has any.
    pub(crate) async fn compact(&self) -> Result<Vec<(Table, Compacted)>, ApiError> {
        let _turn = self.upkeep.turn.lock().await;
        let mut done = Vec::new();
        for table in Table::ALL.into_iter().filter(|table| table.merge_order().is_some()) {
            done.push((table, self.engine.lake().compact(table, &self.upkeep.compaction, self.now()).await?));
        }
        Ok(done)
    }

    /// Takes raw events out that were kept long enough and that nothing needs, and forgets metric streams that were not
    /// seen for long; returns the first day kept, and what left.
    pub(crate) async fn expire_events(&self, dry_run: bool) -> Result<(Day, Expired), ApiError> {
        let _turn = self.upkeep.turn.lock().await;
        let kept_from = self.today().plus(-self.upkeep.events_days);
        if !dry_run {
            self.metric_streams.forget_unseen(self.now()).await?;
        }
        let kept_from = self.engine.events_needed_from().await?.map_or(kept_from, |needed| needed.min(kept_from));
        Ok((kept_from, self.events.expire_events(kept_from, dry_run).await?))
    }

    /// Deletes files that nothing needs, and returns them.
    pub(crate) async fn vacuum(&self, dry_run: bool) -> Result<Vec<Leftover>, ApiError> {
        let _turn = self.upkeep.turn.lock().await;
        // Or files that an interrupted import promised to `usage` would be taken for leftovers.
        complete_usage(self.engine.lake()).await?;
        let now = self.now();
        let before = |seconds: i64| now.plus_micros(-seconds.saturating_mul(MICROS_PER_SECOND));
        let mut cited = self.engine.cited_versions().await?;
        let mut gone = Vec::new();
        for table in Table::ALL.into_iter().filter(|table| !table.append_only()) {
            let rule = VacuumRule {
                removed_before: before(self.upkeep.removed_seconds),
                orphaned_before: before(self.upkeep.orphaned_seconds),
                cited: cited.remove(&table).unwrap_or_default(),
                dry_run,
            };
            gone.extend(self.engine.lake().vacuum(table, &rule).await?);
        }
        Ok(gone)
    }
}
