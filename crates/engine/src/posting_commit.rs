//! The one way to the ledger's log: a sealed posting becomes its next version, or nothing does.

use crate::books::corrupt;
use crate::periods::period_change_of;
use crate::{Engine, EngineError};
use domain::{Day, Instant, Month};
use ledger::{Head, Periods, Posting};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use storage::catalog::PostingRow;
use storage::lake::{Commit, CommitRecord, LakeError, NewFile, PinnedTable, Table, ledger_rows};

/// Key under which every commit of the ledger says which months are closed after it: null, or the first and the last.
const CLOSED: &str = "closed";

/// Where the pinned ledger ends: what the next posting follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LedgerEnd {
    /// The newest posting.
    pub(crate) head: Head,
    /// The months that are closed after it.
    pub(crate) periods: Periods,
}

impl Engine {
    /// Returns where the pinned ledger ends, for whoever posts next. The log alone decides.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the newest commit cannot be read, or the ledger ends before a posting that the
    /// catalog saw: nothing may be posted over it. [`LakeError::Conflict`] when somebody posted since it was pinned.
    pub(crate) async fn ledger_end(&self, pinned: &PinnedTable) -> Result<LedgerEnd, EngineError> {
        let end = end_of(pinned).await?;
        self.refuse_a_ledger_cut_short(pinned, &end.head).await?;
        Ok(end)
    }

    /// Returns which months are closed in the pinned ledger.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the newest commit cannot be read.
    pub(crate) async fn periods_in(&self, pinned: &PinnedTable) -> Result<Periods, EngineError> {
        periods_after(pinned, &pinned.head_commit().await?).await
    }

    /// Writes a posting of few entries and commits it; see [`Engine::commit_posting`].
    ///
    /// # Errors
    /// As [`Engine::commit_posting`].
    pub(crate) async fn append_posting(
        &self,
        pinned: &PinnedTable,
        posting: &Posting,
        periods: Periods,
        says: Map<String, Value>,
    ) -> Result<(), EngineError> {
        let mut writer = self.lake.partitioned(Table::Ledger);
        writer.write(&ledger_rows::to_batch(&posting.entries)?).await?;
        let files = writer.finish().await?;
        self.commit_posting(pinned, posting, periods, files, says).await
    }

    /// Commits the files of a posting as the version after the pinned one, or not at all, and caches its header.
    ///
    /// Headers that others died before they could cache are cached with it, so that the cache never has a gap: how often
    /// a month was closed is counted in it.
    ///
    /// `periods` are the months that are closed after it; `says` is kept in the commit beside what every posting says.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] when somebody else posted since the ledger was pinned.
    pub(crate) async fn commit_posting(
        &self,
        pinned: &PinnedTable,
        posting: &Posting,
        periods: Periods,
        files: Vec<NewFile>,
        says: Map<String, Value>,
    ) -> Result<(), EngineError> {
        let mut commit = Commit::new(posting.header.booked_at, "posting");
        commit.adds = files;
        commit.metadata = metadata_of(posting, periods, says);
        let committed = self.lake.commit(pinned, commit).await?;
        self.cache_missing_postings(&committed).await
    }

    /// Copies a posting's header into the catalog; that of a close or reopen also as what it did to its month.
    pub(crate) async fn cache_posting(&self, row: &PostingRow) -> Result<(), EngineError> {
        // Whoever looks which postings are cached finds this one only when all of it is.
        if let Some(change) = period_change_of(row)? {
            self.catalog.insert_period_change(&change).await?;
        }
        Ok(self.catalog.insert_posting(row).await?)
    }

    /// Refuses to post over postings that the catalog saw and the ledger no longer has.
    async fn refuse_a_ledger_cut_short(&self, pinned: &PinnedTable, head: &Head) -> Result<(), EngineError> {
        let newest = self.catalog.list_postings_all_tenants(None, 1).await?;
        let Some(newest) = newest.first().filter(|newest| newest.posting > head.posting) else { return Ok(()) };
        // Pinned after the catalog was read, so it has what somebody posted since the other one was pinned.
        let now = self.lake.pin_table(Table::Ledger).await?;
        if newest.posting <= head_of(&now.head_commit().await?)?.posting {
            return Err(LakeError::Conflict { table: Table::Ledger, version: pinned.version() + 1 }.into());
        }
        Err(EngineError::Corrupt {
            what: format!("posting {}", newest.posting),
            detail: "the catalog saw it, but the ledger ends before it; run `apportion ledger verify` and restore the ledger's files".to_owned(),
        })
    }
}

/// Returns where the pinned ledger ends, for whoever only reads it.
///
/// # Errors
/// [`EngineError::Corrupt`] when the newest commit cannot be read.
pub(crate) async fn end_of(pinned: &PinnedTable) -> Result<LedgerEnd, EngineError> {
    let record = pinned.head_commit().await?;
    Ok(LedgerEnd { head: head_of(&record)?, periods: periods_after(pinned, &record).await? })
}

/// The posting's header as the commit carries it, so that the catalog's cache can be rebuilt.
fn metadata_of(posting: &Posting, periods: Periods, says: Map<String, Value>) -> Value {
    let days: BTreeSet<Day> = posting.entries.iter().filter_map(|entry| entry.charge_date).collect();
    let days: Vec<String> = days.iter().map(ToString::to_string).collect();
    let closed = periods.closed().map(|(first, last)| [first.to_string(), last.to_string()]);
    let mut metadata = serde_json::json!({
        "posting": posting.header.posting,
        "run": posting.header.run.as_deref(),
        "booked_at": posting.header.booked_at.micros(),
        "entries": posting.entries.len(),
        "hash": posting.hash.to_string(),
        "prev_hash": posting.header.prev_hash.to_string(),
        "days": days,
    });
    metadata[CLOSED] = serde_json::json!(closed);
    for (key, value) in says {
        metadata[key.as_str()] = value;
    }
    metadata
}

/// Returns the head of the chain as the ledger's newest commit states it.
fn head_of(record: &CommitRecord) -> Result<Head, EngineError> {
    let says = &record.metadata;
    let Some(posting) = says.get("posting").and_then(Value::as_i64) else { return Ok(Head::EMPTY) };
    let wrong = || corrupt(&format!("the commit of posting {posting}"), &says);
    let booked_at = says.get("booked_at").and_then(Value::as_i64).ok_or_else(wrong)?;
    let hash = says.get("hash").and_then(Value::as_str).and_then(|hash| hash.parse().ok()).ok_or_else(wrong)?;
    Ok(Head { posting, booked_at: Some(Instant::from_micros(booked_at)), hash })
}

/// The months that are closed after the newest commit, `record`.
///
/// Every posting says it. Those of releases that could not close a month do not; then the newest one that does counts.
async fn periods_after(pinned: &PinnedTable, record: &CommitRecord) -> Result<Periods, EngineError> {
    if let Some(periods) = periods_said(record)? {
        return Ok(periods);
    }
    for earlier in pinned.commits_since(None).await?.iter().rev() {
        if let Some(periods) = periods_said(earlier)? {
            return Ok(periods);
        }
    }
    Ok(Periods::default())
}

/// Returns the closed months as a commit states them; `None` when it does not.
fn periods_said(record: &CommitRecord) -> Result<Option<Periods>, EngineError> {
    let Some(closed) = record.metadata.get(CLOSED) else { return Ok(None) };
    let wrong = || corrupt(&format!("the closed months in version {} of the ledger", record.version), closed);
    let month = |at: usize| closed.get(at)?.as_str()?.parse::<Month>().ok();
    match (closed.is_null(), month(0).zip(month(1))) {
        (true, _) => Ok(Some(Periods::default())),
        (false, Some((first, last))) => Periods::closed_between(first, last).map(Some).map_err(|_| wrong()),
        (false, None) => Err(wrong()),
    }
}

/// Returns the catalog's row of a posting, or none for a commit that is none.
pub(crate) fn posting_row(record: &CommitRecord, log_sha256: String) -> Result<Option<PostingRow>, EngineError> {
    let head = head_of(record)?;
    let Some(booked_at) = head.booked_at else { return Ok(None) };
    let text = |name: &str| record.metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Some(PostingRow {
        posting: head.posting,
        run: text("run"),
        booked_at: booked_at.micros(),
        version: i64::try_from(record.version).expect("versions are small"),
        entries: record.metadata.get("entries").and_then(Value::as_i64).unwrap_or(0),
        hash: head.hash.to_string(),
        prev_hash: text("prev_hash").unwrap_or_default(),
        log_sha256,
        body: record.metadata.to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adjust::NewAdjustment;

    #[tokio::test]
    async fn what_somebody_posted_meanwhile_is_a_conflict_and_what_the_ledger_lost_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let names = ["acme".to_owned(), "globex".to_owned()];
        engine.catalog.ensure_tenants(&names, engine.clock.now().micros()).await.expect("tenants");
        let before = engine.lake.pin_table(Table::Ledger).await.expect("pinned");
        let adjustment = NewAdjustment {
            id: "adj-1".to_owned(),
            may_repeat: false,
            charge_date: "2026-11-18".parse().expect("a day"),
            from_tenant: "acme".to_owned(),
            to_tenant: "globex".to_owned(),
            amount: 1,
            currency: domain::Currency::USD,
            reason: "charged twice".to_owned(),
            reference: "FIN-1".to_owned(),
            entered_by: "test".to_owned(),
        };
        engine.adjust(&adjustment).await.expect("posted");

        let raced = engine.ledger_end(&before).await.expect_err("somebody posted");
        assert!(matches!(raced, EngineError::Lake(LakeError::Conflict { .. })), "{raced:?}");
        let now = engine.lake.pin_table(Table::Ledger).await.expect("pinned");
        assert_eq!(engine.ledger_end(&now).await.expect("the end").head.posting, 1);

        let posted = engine.catalog.posting_all_tenants(1).await.expect("the catalog answers").expect("it is cached");
        let lost = PostingRow { posting: 2, version: posted.version + 1, ..posted };
        engine.catalog.insert_posting(&lost).await.expect("cached");
        let cut_short = engine.ledger_end(&now).await.expect_err("posting 2 is lost");
        assert!(matches!(cut_short, EngineError::Corrupt { .. }), "{cut_short:?}");
    }
}
