//! Caches of the catalog from the lake, which alone decides.

use crate::periods::period_change_of;
use crate::posting_commit::posting_row;
use crate::{Engine, EngineError};
use storage::lake::{PinnedTable, Table};

/// Postings read from the catalog at once.
const POSTINGS_PER_READ: i64 = 1000;

impl Engine {
    /// Rebuilds the catalog's postings, closes and reopens from the ledger's log, makes the documents of closed months that
    /// are missing, and ends the runs that a dead process left behind.
    ///
    /// Call it once at the start of a process, before anything reads the ledger.
    ///
    /// # Errors
    /// When lake or catalog fail.
    pub async fn repair(&self) -> Result<(), EngineError> {
        let pinned = self.lake.pin_table(Table::Ledger).await?;
        let mut rows = Vec::new();
        for record in pinned.commits_since(None).await? {
            let sha256 = pinned.log_hash(record.version).await?;
            rows.extend(posting_row(&record, sha256)?);
        }
        self.keep_recorded_hashes(&mut rows).await?;
        rows.extend(self.postings_beyond(rows.last().map_or(0, |row| row.posting)).await?);
        let changes = rows.iter().filter_map(|row| period_change_of(row).transpose()).collect::<Result<Vec<_>, _>>()?;
        // Whoever looks which postings are cached finds one only when all of it is.
        self.catalog.replace_period_changes(rows.last().map_or(0, |row| row.posting), &changes).await?;
        self.catalog.replace_all_postings(&rows).await?;
        self.end_posted_runs(&rows).await?;
        self.catalog.fail_abandoned_runs(self.clock.now().micros(), Some(&self.settings.node)).await?;
        self.make_missing_documents().await
    }

    /// Does for other processes what they cannot do any more: caches postings whose writer died before it could, and
    /// ends runs that nobody carries out. Call it now and then while the catalog is shared.
    ///
    /// # Errors
    /// When lake or catalog fail.
    pub async fn keep_up(&self) -> Result<(), EngineError> {
        self.cache_missing_postings(&self.lake.pin_table(Table::Ledger).await?).await?;
        self.make_missing_documents().await?;
        let mut posted = Vec::new();
        for run in self.catalog.abandoned_runs().await? {
            posted.extend(self.catalog.posting_of_run(&run.id).await?);
        }
        self.end_posted_runs(&posted).await?;
        let ended = self.catalog.fail_abandoned_runs(self.clock.now().micros(), None).await?;
        if 0 < ended {
            tracing::warn!(runs = ended, "ended {ended} runs that nobody carried out any more");
        }
        Ok(())
    }

    /// Caches the postings of the pinned ledger that the catalog does not know yet.
    pub(crate) async fn cache_missing_postings(&self, pinned: &PinnedTable) -> Result<(), EngineError> {
        let newest = self.catalog.list_postings_all_tenants(None, 1).await?;
        let known = newest.first().and_then(|posting| u64::try_from(posting.version).ok());
        for record in pinned.commits_since(known).await? {
            let sha256 = match record.version == pinned.version() {
                true => pinned.log_head().sha256,
                false => pinned.log_hash(record.version).await?,
            };
            if let Some(row) = posting_row(&record, sha256)? {
                self.cache_posting(&row).await?;
            }
        }
        Ok(())
    }

    /// A run that died after its posting was committed has succeeded.
    async fn end_posted_runs(&self, postings: &[storage::catalog::PostingRow]) -> Result<(), EngineError> {
        for posting in postings {
            let Some(run) = &posting.run else { continue };
            let Some(mut row) = self.catalog.run(run).await?.filter(|row| row.finished_at.is_none()) else { continue };
            row.status = super::RunStatus::Succeeded.as_str().to_owned();
            row.finished_at = Some(posting.booked_at);
            (row.posting, row.entries) = (Some(posting.posting), posting.entries);
            self.catalog.update_run(&row).await?;
        }
        Ok(())
    }

    /// Postings that the catalog saw and the log no longer has are evidence of a ledger cut short: `verify` names
    /// them, and nothing is posted over them.
    async fn postings_beyond(&self, head: i64) -> Result<Vec<storage::catalog::PostingRow>, EngineError> {
        let mut beyond = Vec::new();
        let mut before = None;
        loop {
            let page = self.catalog.list_postings_all_tenants(before, POSTINGS_PER_READ).await?;
            before = page.last().map(|row| row.posting);
            let count = page.len();
            beyond.extend(page.into_iter().filter(|row| row.posting > head));
            if count == 0 || before.is_none_or(|last| last <= head) {
                beyond.sort_by_key(|row| row.posting);
                return Ok(beyond);
            }
        }
    }

    /// A hash that the catalog recorded when it saw the posting is evidence: it is never replaced by what the
    /// store says today.
    async fn keep_recorded_hashes(&self, rows: &mut [storage::catalog::PostingRow]) -> Result<(), EngineError> {
        for row in rows {
            if let Some(known) = self.catalog.posting_all_tenants(row.posting).await? {
                *row = known;
            }
        }
        Ok(())
    }
}
