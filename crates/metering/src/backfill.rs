//! Meters stored events that came before their meter, once.
//!
//! Which events those are is told by when they were received: not while a definition that says the same was in force
//! (`meter_spans`), and not in the range of an earlier backfill (the commits to `usage`). Nothing that was received
//! before the meter applied can still come ([`EventLog::setting_up`]), so a range that was done is done for ever.
//!
//! One commit to `usage` decides: it brings the rows, names the range, and carries the meter's own transaction number.
//! Before it nothing counts, and files that no commit names are only a waste of space; after it a repeat finds nothing.

use crate::content::{EventKey, event_key};
use crate::error::MeteringError;
use crate::event::RETRACTION_TYPE;
use crate::import::stored::StoredRows;
use crate::json::Json;
use crate::live::EventLog;
use crate::meters::MeterSet;
use crate::publish::{defining_difference, meter_of_body};
use crate::rollup::Rollup;
use crate::rows::{BATCH_ROWS, usage_batch};
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, SessionConfig, SessionContext, ident, lit};
use domain::meter::{Aggregation, Meter};
use domain::{Day, Instant, Zone};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::{Commit, Lake, LakeError, LakeTable, NewFile, PinnedTable, Table};

/// Word by which the metadata of such commits is recognised, and beginning of their transactions' writers.
const KIND: &str = "backfill";
/// Events read at a time: they bring their data.
const BATCH_EVENTS: usize = 512;
/// Keys of the roll-up kept in memory before they are written; rows of one key add up.
const ROLLUP_KEYS_MAX: usize = 256 * 1024;
/// How often a commit is tried again because somebody else committed first.
const COMMITS_TRIED_MAX: u32 = 100;

/// What a backfill works with.
#[derive(Clone, Debug)]
pub struct BackfillContext {
    /// Where events are and usage goes.
    pub lake: Lake,
    /// Where it stands when meters took events.
    pub catalog: Catalog,
    /// Events as they happen; what is acknowledged goes to the lake first.
    pub log: EventLog,
    /// Where days and hours begin.
    pub zone: Zone,
    /// The time of the backfill.
    pub now: Instant,
}

/// What a backfill did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillReport {
    /// The meter.
    pub meter: String,
    /// First day.
    pub from: Day,
    /// Last day: that of the backfill.
    pub through: Day,
    /// Events that count now and did not before.
    pub events: u64,
    /// Events of the meter's type without a value that it can take.
    pub skipped: u64,
    /// Rows of usage.
    pub rows: u64,
    /// Days whose usage changed: they are due.
    pub days: Vec<Day>,
}

/// What the commit to `usage` says: every event of the meter's type of these days, received before the instant, is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    from: Day,
    received_before: i64,
}

impl Done {
    /// Returns whether an event of that day was done.
    pub(crate) fn covers(&self, day: Day, received_at: i64) -> bool {
        self.from <= day && received_at < self.received_before
    }
}

/// Meters the stored events from a day on that came before the meter was in force, each once.
///
/// Memory holds one batch of events and a bounded roll-up. One backfill of a store runs at a time.
///
/// # Errors
/// [`MeteringError::InvalidMeter`] if the meter is not in force or counts distinct values, otherwise if log, lake or catalog fail; then nothing is
/// counted, or all of it.
pub async fn backfill(ctx: &BackfillContext, meter: &Meter, from: Day) -> Result<BackfillReport, MeteringError> {
    let _turn = ctx.log.backfill_turn().await;
    if meter.aggregation == Aggregation::UniqueCount {
        let problem = "distinct values are counted as they come; they cannot be counted afterwards".to_owned();
        return Err(MeteringError::InvalidMeter { meter: meter.name.clone(), problem });
    }
    let writer = txn_writer(&meter.name);
    ctx.log.flush_all().await?;
    for _ in 0..COMMITS_TRIED_MAX {
        let usage = ctx.lake.pin_table(Table::Usage).await?;
        let number = usage.txn(&writer).unwrap_or(0);
        let due = Due::read(ctx, meter, from, &usage, number).await?;
        let measured = measure(ctx, meter, &due).await?;
        let report = measured.report(meter, from, ctx.zone.day_of(ctx.now));
        if measured.files.is_empty() || commit(ctx, meter, &due, &measured, (writer.clone(), number + 1)).await? {
            return Ok(report);
        }
        // Somebody else did a backfill of this meter meanwhile; what is left is another question.
    }
    Err(LakeError::Conflict { table: Table::Usage, version: ctx.lake.pin_table(Table::Usage).await?.version() + 1 }
        .into())
}

/// Writer of the transactions of a meter's backfills.
pub(crate) fn txn_writer(meter: &str) -> String {
    format!("{KIND}-{meter}")
}

/// Which events are to be metered.
struct Due {
    from: Day,
    /// When the meter began to take events.
    received_before: i64,
    /// When a definition that says the same took them before.
    spans: Vec<(i64, i64)>,
    /// What was done before.
    done: Vec<Done>,
}

impl Due {
    async fn read(
        ctx: &BackfillContext,
        meter: &Meter,
        from: Day,
        usage: &PinnedTable,
        number: i64,
    ) -> Result<Self, MeteringError> {
        let (mut spans, mut received_before) = (Vec::new(), None);
        for span in ctx.catalog.meter_spans().await?.iter().filter(|span| span.name == meter.name) {
            // A definition that said something else never had usage: it could not have been replaced.
            if defining_difference(&meter_of_body(&span.name, &span.body)?, meter).is_none() {
                match span.until_at {
                    Some(until) => spans.push((span.from_at, until)),
                    None => received_before = Some(span.from_at),
                }
            }
        }
        let received_before = received_before.ok_or_else(|| MeteringError::InvalidMeter {
            meter: meter.name.clone(),
            problem: "it takes no events yet; try again".to_owned(),
        })?;
        let done = if number == 0 { Vec::new() } else { done_before(usage, &meter.name).await? };
        Ok(Self { from, received_before, spans, done })
    }

    fn takes(&self, day: Day, received_at: i64) -> bool {
        let was_metered = self.spans.iter().any(|(from, until)| (*from..*until).contains(&received_at));
        let was_done = self.done.iter().any(|done| done.covers(day, received_at));
        self.from <= day && received_at < self.received_before && !was_metered && !was_done
    }
}

/// What the commits to `usage` say was done for the meter.
pub(crate) async fn done_before(usage: &PinnedTable, meter: &str) -> Result<Vec<Done>, MeteringError> {
    let mut done = Vec::new();
    for record in usage.commits_since(None).await? {
        let says = |name: &str| record.metadata.get(name).and_then(Value::as_str);
        if says("kind") == Some(KIND) && says("meter") == Some(meter) {
            let read = serde_json::from_value(record.metadata["done"].clone());
            done.push(read.map_err(|error| MeteringError::Damaged {
                what: format!("commit {} of usage", record.version),
                problem: error.to_string(),
            })?);
        }
    }
    Ok(done)
}

/// What was measured: rows in files that no commit names yet.
#[derive(Default)]
struct Measured {
    events: u64,
    skipped: u64,
    days: BTreeSet<Day>,
    files: Vec<NewFile>,
}

impl Measured {
    fn report(&self, meter: &Meter, from: Day, through: Day) -> BackfillReport {
        BackfillReport {
            meter: meter.name.clone(),
            from,
            through,
            events: self.events,
            skipped: self.skipped,
            rows: self.files.iter().map(|file| file.rows).sum(),
            days: self.days.iter().copied().collect(),
        }
    }
}

/// Does what a backfill does before its commit; returns the rows in files that no commit names.
#[cfg(test)]
pub(crate) async fn files_without_commit(
    ctx: &BackfillContext,
    meter: &Meter,
    from: Day,
) -> Result<u64, MeteringError> {
    ctx.log.flush_all().await?;
    let usage = ctx.lake.pin_table(Table::Usage).await?;
    let due = Due::read(ctx, meter, from, &usage, 0).await?;
    let measured = measure(ctx, meter, &due).await?;
    Ok(measured.report(meter, from, from).rows)
}

async fn measure(ctx: &BackfillContext, meter: &Meter, due: &Due) -> Result<Measured, MeteringError> {
    let meters = MeterSet::new(vec![meter.clone()])?;
    let pinned = ctx.lake.pin_table(Table::UsageEvents).await?;
    let retracted = retracted(&pinned).await?;
    let before = ScalarValue::TimestampMicrosecond(Some(due.received_before), Some("UTC".into()));
    let first = ScalarValue::Date32(Some(due.from.epoch_days()));
    let wanted =
        of_type(&meter.event_type).and(ident("event_date").gt_eq(lit(first))).and(ident("received_at").lt(lit(before)));
    let (mut measured, mut rollup) = (Measured::default(), Rollup::default());
    let mut usage = ctx.lake.partitioned(Table::Usage);
    let mut batches = read(&pinned, wanted)?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let stored = StoredRows::of(&batch)?;
        for row in 0..batch.num_rows() {
            if !due.takes(stored.day(row), stored.received_at(row)) || retracted.contains(&stored.key(row)) {
                continue;
            }
            let placed = stored.placed(row, &ctx.zone)?;
            let data = stored.data(row)?;
            match meters.measure(&placed.event, &data) {
                Ok(found) if !found.values.is_empty() => {
                    measured.events += 1;
                    measured.days.insert(placed.day);
                    rollup.add(&placed, &found.values);
                }
                // The event was accepted before anybody asked for a number in it.
                Ok(_) | Err(_) => measured.skipped += 1,
            }
        }
        if ROLLUP_KEYS_MAX <= rollup.len() {
            write(&mut usage, &mut rollup).await?;
        }
        tokio::task::yield_now().await;
    }
    write(&mut usage, &mut rollup).await?;
    measured.files = usage.finish().await?;
    Ok(measured)
}

async fn write(usage: &mut storage::lake::PartitionedWriter, rollup: &mut Rollup) -> Result<(), MeteringError> {
    for rows in rollup.drain_sorted().chunks(BATCH_ROWS) {
        usage.write(&usage_batch(rows)?).await?;
    }
    Ok(())
}

/// Makes the rows count; returns false if another backfill of the meter was first.
async fn commit(
    ctx: &BackfillContext,
    meter: &Meter,
    due: &Due,
    measured: &Measured,
    txn: (String, i64),
) -> Result<bool, MeteringError> {
    ctx.catalog.mark_meter_used(&meter.name, ctx.now.micros()).await?;
    for _ in 0..COMMITS_TRIED_MAX {
        let pinned = ctx.lake.pin_table(Table::Usage).await?;
        let mut commit = Commit::new(ctx.now, KIND);
        commit.txn = Some(txn.clone());
        commit.adds.clone_from(&measured.files);
        commit.metadata = serde_json::json!({
            "kind": KIND, "meter": meter.name, "touched_days": measured.days, "events": measured.events,
            "skipped": measured.skipped, "done": Done { from: due.from, received_before: due.received_before },
        });
        match ctx.lake.commit(&pinned, commit).await {
            Ok(_) => return Ok(true),
            Err(LakeError::TxnReplayed { .. }) => return Ok(false),
            Err(LakeError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn of_type(kind: &str) -> Expr {
    ident("type").eq(lit(kind))
}

fn read(pinned: &PinnedTable, wanted: Expr) -> Result<datafusion::prelude::DataFrame, MeteringError> {
    let config = SessionConfig::new().with_batch_size(BATCH_EVENTS).with_target_partitions(1);
    let session = SessionContext::new_with_config(config);
    Ok(session.read_table(Arc::new(LakeTable::new(pinned)))?.filter(wanted)?)
}

/// Keys of events that were taken back.
async fn retracted(pinned: &PinnedTable) -> Result<HashSet<EventKey>, MeteringError> {
    let mut keys = HashSet::new();
    let mut batches = read(pinned, of_type(RETRACTION_TYPE))?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let stored = StoredRows::of(&batch)?;
        for row in 0..batch.num_rows() {
            let data = stored.data(row)?;
            let text = |name: &str| data.get(name).and_then(Json::scalar_text);
            if let (Some(source), Some(id)) = (text("source"), text("id")) {
                keys.insert(event_key(stored.tenant(row), source, id));
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_metered_or_done_is_not_due() {
        let day = |text: &str| text.parse::<Day>().unwrap();
        let due = Due {
            from: day("2026-11-01"),
            received_before: 100,
            spans: vec![(10, 20)],
            done: vec![Done { from: day("2026-11-10"), received_before: 50 }],
        };
        let check = |date: &str, received_at: i64, expected: bool| {
            assert_eq!(due.takes(day(date), received_at), expected, "{date} {received_at}");
        };
        check("2026-10-31", 1, false);
        check("2026-11-01", 1, true);
        check("2026-11-01", 9, true);
        check("2026-11-01", 10, false);
        check("2026-11-01", 19, false);
        check("2026-11-01", 20, true);
        check("2026-11-09", 49, true);
        check("2026-11-10", 49, false);
        check("2026-11-10", 50, true);
        check("2026-11-10", 99, true);
        check("2026-11-10", 100, false);
    }
}
