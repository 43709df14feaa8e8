//! What a retraction does to usage: the sums that its event went into are made anew from the events that remain.
//!
//! Making them anew twice changes nothing, so a flush that died is simply done again. Where retention has removed the
//! events of a day, its usage stays as it is.

use super::EventLog;
use super::record::{Fate, Verdict};
use crate::content::{EventKey, IdSalt, event_key};
use crate::error::MeteringError;
use crate::event::Retracted;
use crate::ids::IdKey;
use crate::import::stored::StoredEvent;
use crate::import::{USAGE_TXN, complete_usage, discard, stored};
use crate::metered::MeterHistory;
use crate::meters::MeteredValue;
use crate::rollup::{Rollup, UsageKey, usage_key};
use crate::rows::{usage_batch, usage_keys};
use crate::rules::PlacedEvent;
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use datafusion::prelude::{SessionContext, lit};
use domain::{Day, Zone};
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use storage::catalog::RetractionRow;
use storage::failpoint;
use storage::lake::{Commit, LakeError, LakeFile, LakeTable, PinnedTable, Table};

/// How often a commit is tried again because somebody else committed first.
const COMMITS_TRIED_MAX: u32 = 100;
/// Partition column of `usage`.
const USAGE_DATE: &str = "usage_date";

/// A retraction that a flush found.
#[derive(Clone, Debug)]
pub(super) struct Retraction {
    pub tenant: Arc<str>,
    pub retracted: Retracted<'static>,
    /// Whether its event came before it, so that usage has it.
    pub came_before: bool,
}

/// Events that do not count.
type Gone = HashSet<EventKey>;

/// Retractions by the tenant of their events.
type ByTenant<'r> = BTreeMap<&'r Arc<str>, Vec<&'r Retracted<'static>>>;

/// What becomes of the usage of one day.
#[derive(Default)]
struct Anew {
    /// Sums that an event went into which is taken back, of any origin.
    touched: HashSet<UsageKey>,
    /// All that remains.
    remaining: Rollup,
    /// Values that count once a day and are among it.
    seen: HashSet<IdKey>,
}

impl Anew {
    fn touch(&mut self, placed: &PlacedEvent<'_>, values: &[MeteredValue<'_>]) {
        self.touched.extend(values.iter().map(|value| usage_key(placed, value).of_any_origin()));
    }

    fn keep(&mut self, salt: &IdSalt, placed: &PlacedEvent<'_>, mut values: Vec<MeteredValue<'_>>) {
        let firsts = salt.unique_markers(placed, &values).into_iter().map(|marker| self.seen.insert(marker)).collect();
        Verdict { fate: Fate::Counts, firsts }.retain_counted(&mut values);
        self.remaining.add(placed, &values);
    }
}

impl EventLog {
    /// Waits for the events that were taken back and have not come.
    pub(super) async fn await_retracted(&self) -> Result<(), MeteringError> {
        for row in self.inner.catalog.retractions_all_tenants(i64::MAX).await? {
            let key = self.inner.salt.key(&row.tenant, &row.source, &row.id);
            if self.inner.ids.get(&key)?.is_none() {
                self.inner.waiting.insert(key);
            }
        }
        Ok(())
    }

    /// Notes the retractions, and changes the usage that had their events.
    pub(super) async fn take_back(&self, retractions: &[Retraction]) -> Result<(), MeteringError> {
        if retractions.is_empty() {
            return Ok(());
        }
        let rows: Vec<RetractionRow> = retractions.iter().map(Retraction::to_row).collect();
        self.inner.catalog.put_retractions(&rows, self.inner.clock.now().micros()).await?;
        failpoint::hit("retraction-noted");
        let came_before = retractions.iter().filter(|retraction| retraction.came_before);
        let mut by_tenant: ByTenant<'_> = BTreeMap::new();
        for retraction in came_before {
            by_tenant.entry(&retraction.tenant).or_default().push(&retraction.retracted);
        }
        for _ in 1..COMMITS_TRIED_MAX {
            match self.take_back_once(&by_tenant).await {
                Err(MeteringError::Lake(LakeError::Conflict { .. })) => {}
                Ok(days) => return self.name_days(&days).await,
                Err(error) => return Err(error),
            }
        }
        let days = self.take_back_once(&by_tenant).await?;
        self.name_days(&days).await
    }

    /// Says in the log of `usage_events` of which days events do not count any more: their rows stay where they are,
    /// and what looks at events has to look again.
    async fn name_days(&self, days: &BTreeSet<Day>) -> Result<(), MeteringError> {
        if days.is_empty() {
            return Ok(());
        }
        let lake = &self.inner.lake;
        for _ in 1..COMMITS_TRIED_MAX {
            let pinned = lake.pin_table(Table::UsageEvents).await?;
            let mut commit = Commit::new(self.inner.clock.now(), "retraction");
            commit.metadata = serde_json::json!({ "kind": "retraction", "touched_days": days });
            match lake.commit(&pinned, commit).await {
                Ok(_) => return Ok(()),
                Err(LakeError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let version = lake.pin_table(Table::UsageEvents).await?.version() + 1;
        Err(LakeError::Conflict { table: Table::UsageEvents, version }.into())
    }

    /// Returns the days of the events that were found.
    async fn take_back_once(&self, by_tenant: &ByTenant<'_>) -> Result<BTreeSet<Day>, MeteringError> {
        let (events, mut usage) = self.pin_both().await?;
        let zone = self.zone();
        let mut meters = MeterHistory::load(&self.inner.catalog, &usage).await?;
        let mut days: BTreeMap<Day, Anew> = BTreeMap::new();
        for (tenant, retracted) in by_tenant {
            let gone = self.gone(tenant).await?;
            for day in days_of(&events, tenant, retracted, &zone).await? {
                let anew = days.entry(day).or_default();
                let mut rows = stored::events_of(&events, tenant, Some(day), None, &zone).await?;
                while let Some(found) = rows.next().await? {
                    for stored in found {
                        let meters = meters.of(day, stored.received_at.micros())?;
                        let (placed, data) = (&stored.placed, stored.data()?);
                        // It was accepted, so they refuse nothing.
                        let measured = meters.measure(&placed.event, &data);
                        let values = measured.map(|measured| measured.values).unwrap_or_default();
                        match gone.contains(&event_key(tenant, &placed.event.source, &placed.event.id)) {
                            true => anew.touch(placed, &values),
                            false => anew.keep(&self.inner.salt, placed, values),
                        }
                    }
                }
            }
        }
        let found = days.keys().copied().collect();
        for (day, anew) in days {
            usage = self.replace(&usage, day, anew).await?;
        }
        Ok(found)
    }

    /// Both tables, such that `usage` has just the imports that `usage_events` has.
    async fn pin_both(&self) -> Result<(PinnedTable, PinnedTable), MeteringError> {
        loop {
            let events = self.inner.lake.pin_table(Table::UsageEvents).await?;
            complete_usage(&self.inner.lake).await?;
            let usage = self.inner.lake.pin_table(Table::Usage).await?;
            let imported = usage.txn(USAGE_TXN).map_or(0, |version| u64::try_from(version).unwrap_or(0));
            if imported <= events.version() {
                return Ok((events, usage));
            }
        }
    }

    async fn gone(&self, tenant: &str) -> Result<Gone, MeteringError> {
        let rows = self.inner.catalog.retractions(tenant).await?;
        Ok(rows.into_iter().map(|row| event_key(tenant, &row.source, &row.id)).collect())
    }

    fn zone(&self) -> Zone {
        let setup = self.inner.setup.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        setup.rules.zone.clone()
    }

    /// Puts what remains in the place of the touched sums of a day; returns the table after it.
    async fn replace(&self, usage: &PinnedTable, day: Day, mut anew: Anew) -> Result<PinnedTable, MeteringError> {
        let lake = &self.inner.lake;
        let session = SessionContext::new();
        let mut writer = lake.partitioned(Table::Usage);
        let mut removes = Vec::new();
        for file in usage.files().filter(|file| is_of_day(file, day)) {
            let table = LakeTable::of_files(usage, |other| other.path == file.path);
            let batches: Vec<_> = session.read_table(Arc::new(table))?.execute_stream().await?.try_collect().await?;
            let mut kept = Vec::with_capacity(batches.len());
            for batch in &batches {
                let stays =
                    usage_keys(batch)?.into_iter().map(|key| key.is_none_or(|key| !anew.touched.contains(&key)));
                kept.push(filter_record_batch(batch, &stays.collect::<BooleanArray>())?);
            }
            if kept.iter().zip(&batches).any(|(kept, batch)| kept.num_rows() < batch.num_rows()) {
                removes.push(file.path.clone());
                for batch in kept.iter().filter(|batch| 0 < batch.num_rows()) {
                    writer.write(batch).await?;
                }
            }
        }
        let mut rows = anew.remaining.drain_sorted();
        rows.retain(|(key, _)| anew.touched.contains(&key.clone().of_any_origin()));
        if !rows.is_empty() {
            writer.write(&usage_batch(&rows)?).await?;
        }
        let mut commit = Commit::new(self.inner.clock.now(), "retraction");
        commit.adds = writer.finish().await?;
        if removes.is_empty() && commit.adds.is_empty() {
            return Ok(usage.clone());
        }
        commit.removes = removes;
        commit.metadata = serde_json::json!({ "kind": "retraction", "touched_days": [day] });
        let added = commit.adds.clone();
        let committed = lake.commit(usage, commit).await;
        if matches!(committed, Err(LakeError::Conflict { .. })) {
            discard(lake, added.iter()).await;
        }
        Ok(committed?)
    }
}

impl Retraction {
    fn to_row(&self) -> RetractionRow {
        let Self { tenant, retracted: Retracted { source, id }, .. } = self;
        RetractionRow { tenant: tenant.to_string(), source: source.to_string(), id: id.to_string() }
    }
}

/// The days of these events, as far as they are still stored.
async fn days_of(
    events: &PinnedTable,
    tenant: &str,
    retracted: &[&Retracted<'static>],
    zone: &Zone,
) -> Result<BTreeSet<Day>, MeteringError> {
    let wanted: HashSet<(&str, &str)> = retracted.iter().map(|one| (&*one.source, &*one.id)).collect();
    let ids = wanted.iter().map(|(_, id)| lit(*id)).collect();
    let (mut days, mut found) = (BTreeSet::new(), 0);
    let mut rows = stored::events_of(events, tenant, None, Some(ids), zone).await?;
    while let Some(stored) = rows.next().await? {
        for StoredEvent { placed, .. } in stored {
            if wanted.contains(&(&*placed.event.source, &*placed.event.id)) {
                days.insert(placed.day);
                found += 1;
            }
        }
    }
    if found < wanted.len() {
        let missing = wanted.len() - found;
        tracing::warn!(tenant, missing, "events that were taken back are no longer stored; their usage stays");
    }
    Ok(days)
}

fn is_of_day(file: &LakeFile, day: Day) -> bool {
    file.partition_values.get(USAGE_DATE).is_some_and(|value| value.as_deref() == Some(day.to_string().as_str()))
}
