use super::*;
use crate::backfill::{self, BackfillContext};
use crate::meters::MeterSet;
use crate::refusal::RefusalCode;
use crate::rules::{EventRules, KnownTenants};
use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use domain::meter::builtin;
use domain::{FixedClock, Instant, Zone};
use std::collections::BTreeMap;
use std::path::Path;
use storage::lake::{LakeTable, Table};

const NOW: &str = "2026-11-20T12:00:00Z";

async fn open(folder: &Path) -> EventLog {
    let now: Instant = NOW.parse().unwrap();
    let options = EventLogOptions {
        wal: folder.join("wal"),
        ids: folder.join("wal/ids"),
        segment_bytes: 64 * 1024,
        id_memory_bytes_max: 1 << 20,
    };
    let setup = Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(builtin()).unwrap()),
        tenants: Arc::new(KnownTenants::default()),
    };
    let lake = Lake::open(&folder.join("lake"), now).await.unwrap();
    let catalog = Catalog::open(&folder.join("catalog.db")).await.unwrap();
    EventLog::open(options, lake, catalog, Arc::new(FixedClock::at(now)), setup).await.unwrap()
}

fn event(id: u32, tenant: &str, value: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"log_queries","tenant":"{tenant}","time":"2026-10-05T10:00:00Z","data":{{"value":{value}}}}}"#
    )
}

async fn send(log: &EventLog, texts: &[String], atomic: bool) -> Vec<Decision> {
    let preparer = log.preparer(TenantScope::All);
    let prepared = texts.iter().map(|text| match preparer.prepare(text).unwrap().unwrap() {
        Offered::Prepared(event) => *event,
        Offered::Known(decision) => panic!("{decision:?} before the log decides"),
    });
    log.append(prepared.collect(), atomic).await.unwrap()
}

/// Σ sum in whole units and Σ count by tenant, of the lake and the hot rows together.
async fn usage(log: &EventLog) -> BTreeMap<String, (i128, i64)> {
    let hot = log.snapshot().unwrap();
    let pinned = log.inner.lake.pin_table(Table::Usage).await.unwrap();
    let through = pinned.txn(log.txn_writer()).map(|segment| u64::try_from(segment).unwrap());
    let table = SessionContext::new().read_table(Arc::new(LakeTable::new(&pinned))).unwrap();
    let mut batches: Vec<RecordBatch> = table.collect().await.unwrap();
    batches.extend(hot.usage_after(through).unwrap());
    let mut found: BTreeMap<String, (i128, i64)> = BTreeMap::new();
    for batch in batches {
        let tenants = batch.column_by_name("tenant").unwrap().as_string::<i32>().clone();
        let sums = batch.column_by_name("sum").unwrap().as_primitive::<Decimal128Type>().clone();
        let counts = batch.column_by_name("count").unwrap().as_primitive::<Int64Type>().clone();
        for row in 0..batch.num_rows() {
            let entry = found.entry(tenants.value(row).to_owned()).or_default();
            entry.0 += sums.value(row) / 1_000_000_000;
            entry.1 += counts.value(row);
        }
    }
    found
}

fn expected(of: &[(&str, i128, i64)]) -> BTreeMap<String, (i128, i64)> {
    of.iter().map(|(tenant, sum, count)| ((*tenant).to_owned(), (*sum, *count))).collect()
}

#[tokio::test]
async fn an_event_counts_once_before_and_after_it_reaches_the_lake() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let texts = [event(1, "a", 5), event(2, "b", 7), event(1, "a", 5), event(1, "a", 6)];
    let decided = send(&log, &texts, false).await;
    assert_eq!(decided, [Decision::Accepted, Decision::Accepted, Decision::Duplicate, Decision::Conflict]);
    assert_eq!(usage(&log).await, expected(&[("a", 5, 1), ("b", 7, 1)]));

    log.flush_all().await.unwrap();
    assert_eq!(log.stats().hot_events, 0);
    assert_eq!(usage(&log).await, expected(&[("a", 5, 1), ("b", 7, 1)]));
    assert_eq!(send(&log, &texts[..1], false).await, [Decision::Duplicate]);
    assert_eq!(send(&log, &[event(3, "a", 1)], false).await, [Decision::Accepted]);
    assert_eq!(usage(&log).await, expected(&[("a", 6, 2), ("b", 7, 1)]));
}

#[tokio::test]
async fn a_log_that_is_opened_again_says_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    send(&log, &[event(1, "a", 5)], false).await;
    log.flush_all().await.unwrap();
    send(&log, &[event(2, "a", 1), event(3, "b", 1)], false).await;
    let before = usage(&log).await;
    log.close().await.unwrap();
    drop(log);

    let log = open(folder.path()).await;
    assert_eq!(usage(&log).await, before);
    let preparer = log.preparer(TenantScope::All);
    let again = |id, value| preparer.prepare(&event(id, "a", value)).unwrap().unwrap();
    for (id, value) in [(1, 5), (2, 1)] {
        let Offered::Prepared(prepared) = again(id, value) else { panic!() };
        assert_eq!(log.append(vec![*prepared], false).await.unwrap(), [Decision::Duplicate]);
    }
    log.flush_all().await.unwrap();
    assert_eq!(usage(&log).await, before);
}

#[tokio::test]
async fn one_conflict_refuses_an_atomic_batch() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    send(&log, &[event(1, "a", 5)], false).await;
    let decided = send(&log, &[event(2, "a", 1), event(1, "a", 9), event(1, "a", 5)], true).await;
    assert_eq!(decided, [Decision::NotStored, Decision::Conflict, Decision::Duplicate]);
    assert_eq!(usage(&log).await, expected(&[("a", 5, 1)]));
    assert_eq!(send(&log, &[event(2, "a", 1)], true).await, [Decision::Accepted]);
}

#[tokio::test]
async fn many_segments_reach_the_lake_in_one_commit_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    for batch in 0..20_u32 {
        let texts: Vec<String> = (0..100).map(|at| event(batch * 100 + at, "a", 1)).collect();
        send(&log, &texts, false).await;
    }
    log.flush_all().await.unwrap();
    assert_eq!(usage(&log).await, expected(&[("a", 2000, 2000)]));
    let events = log.inner.lake.pin_table(Table::UsageEvents).await.unwrap();
    assert_eq!((events.rows(), events.version()), (2000, 1));
    let left = std::fs::read_dir(folder.path().join("wal")).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|found| found == "wal"));
    assert!(left.count() <= 2, "segments in the lake are removed; the open one and a spare stay");
    assert_eq!(log.inner.catalog.tenant(&TenantScope::All, "a").await.unwrap().unwrap().created_by, "system");
}

#[tokio::test]
async fn a_caller_of_one_tenant_need_not_name_it_and_may_not_name_another() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let scope = TenantScope::Only(["a".parse().unwrap()].into());
    let preparer = log.preparer(scope);
    let nobody = event(1, "a", 1).replace(r#""tenant":"a","#, "");
    let Offered::Prepared(prepared) = preparer.prepare(&nobody).unwrap().unwrap() else { panic!() };
    assert_eq!(&**prepared.tenant(), "a");
    let refused = preparer.prepare(&event(1, "b", 1)).unwrap().unwrap_err();
    assert_eq!(refused.code, RefusalCode::TenantForbidden);
}

#[tokio::test]
async fn a_backfill_that_died_before_its_commit_counts_nothing_and_a_repeat_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let setup = |meters: Vec<domain::meter::Meter>| Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(meters).unwrap()),
        tenants: Arc::new(KnownTenants::default()),
    };
    log.setting_up().await.finish(setup(vec![])).await.unwrap();
    send(&log, &[event(1, "a", 5), event(2, "b", 7)], false).await;
    // Prepared under the old meters, and appended under the new ones: neither metered nor to be backfilled.
    let preparer = log.preparer(TenantScope::All);
    let Offered::Prepared(late) = preparer.prepare(&event(3, "a", 1)).unwrap().unwrap() else { panic!() };
    let queries = builtin().into_iter().find(|meter| meter.name == "log_queries").unwrap();
    log.setting_up().await.finish(setup(vec![queries.clone()])).await.unwrap();
    let refused = log.append(vec![*late], false).await;
    assert!(matches!(refused, Err(MeteringError::MetersChanged)), "{refused:?}");
    send(&log, &[event(3, "a", 1)], false).await;
    assert_eq!(usage(&log).await, expected(&[("a", 1, 1)]));

    let ctx = BackfillContext {
        lake: log.inner.lake.clone(),
        catalog: log.inner.catalog.clone(),
        log: log.clone(),
        zone: Zone::utc(),
        now: NOW.parse().unwrap(),
    };
    let from = "2026-10-01".parse().unwrap();
    assert_eq!(backfill::files_without_commit(&ctx, &queries, from).await.unwrap(), 2);
    assert_eq!(usage(&log).await, expected(&[("a", 1, 1)]));
    let report = backfill::backfill(&ctx, &queries, from).await.unwrap();
    assert_eq!((report.events, report.skipped, report.rows), (2, 0, 2));
    assert_eq!(usage(&log).await, expected(&[("a", 6, 2), ("b", 7, 1)]));
    assert_eq!(backfill::backfill(&ctx, &queries, from).await.unwrap().events, 0);

    drop(ctx);
    log.close().await.unwrap();
    drop(log);
    let log = open(folder.path()).await;
    log.setting_up().await.finish(setup(vec![queries])).await.unwrap();
    assert_eq!(usage(&log).await, expected(&[("a", 6, 2), ("b", 7, 1)]));
}

#[tokio::test]
async fn a_folder_without_events_has_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    log.flush_all().await.unwrap();
    log.close().await.unwrap();
    let files: Vec<_> =
        std::fs::read_dir(folder.path().join("wal")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().ends_with(".wal")), "{files:?}");
}
