use super::*;
use crate::backfill::{self, BackfillContext};
use crate::meters::MeterSet;
use crate::refusal::RefusalCode;
use crate::rules::{EventRules, KnownTenants};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use domain::meter::{Meter, builtin, read_meters};
use domain::{FixedClock, Instant, Zone};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use storage::lake::{LakeTable, Table};

const NOW: &str = "2026-11-20T12:00:00Z";

async fn open(folder: &Path) -> EventLog {
    open_with(folder, builtin()).await
}

async fn open_with(folder: &Path, meters: Vec<Meter>) -> EventLog {
    let now: Instant = NOW.parse().unwrap();
    let options = EventLogOptions {
        wal: folder.join("wal"),
        ids: folder.join("wal/ids"),
        segment_bytes: 64 * 1024,
        id_memory_bytes_max: 1 << 20,
    };
    let setup = Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(meters).unwrap()),
        tenants: Arc::new(KnownTenants::default()),
    };
    let lake = Lake::open(&folder.join("lake"), now).await.unwrap();
    let catalog = Catalog::open(&folder.join("catalog.db")).await.unwrap();
    let clock = Arc::new(FixedClock::at(now));
    let log = EventLog::open(options, lake, catalog, clock, setup.clone()).await.unwrap();
    log.setting_up().await.finish(setup).await.unwrap();
    log
}

fn event(id: u32, tenant: &str, value: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"log_queries","tenant":"{tenant}","time":"2026-10-05T10:00:00Z","data":{{"value":{value}}}}}"#
    )
}

async fn send(log: &EventLog, texts: &[String], atomic: bool) -> Vec<Decision> {
    let mut preparer = log.preparer(TenantScope::All);
    let prepared = texts.iter().map(|text| match preparer.prepare(text).unwrap().unwrap() {
        Offered::Prepared(event) => event,
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
    let mut preparer = log.preparer(TenantScope::All);
    let mut again = |id, value| preparer.prepare(&event(id, "a", value)).unwrap().unwrap();
    for (id, value) in [(1, 5), (2, 1)] {
        let Offered::Prepared(prepared) = again(id, value) else { panic!() };
        assert_eq!(log.append(vec![prepared], false).await.unwrap(), [Decision::Duplicate]);
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
    let mut preparer = log.preparer(scope);
    let nobody = event(1, "a", 1).replace(r#""tenant":"a","#, "");
    let Offered::Prepared(prepared) = preparer.prepare(&nobody).unwrap().unwrap() else { panic!() };
    assert_eq!(&**prepared.tenant(), "a");
    let refused = preparer.prepare(&event(1, "b", 1)).unwrap().unwrap_err();
    assert_eq!(refused.code, RefusalCode::TenantForbidden);
}

#[tokio::test]
async fn a_tenant_that_was_entered_meanwhile_is_known_to_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let is_new = || match log.preparer(TenantScope::All).prepare(&event(1, "a", 1)).unwrap().unwrap() {
        Offered::Prepared(event) => event.is_new_tenant,
        Offered::Known(decision) => panic!("{decision:?} before the log decides"),
    };
    assert!(is_new() && is_new(), "also when it was asked for before");
    let mut tenants = KnownTenants::default();
    tenants.create("a");
    let setup = Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(builtin()).unwrap()),
        tenants: Arc::new(tenants),
    };
    log.setting_up().await.finish(setup).await.unwrap();
    assert!(!is_new() && !is_new());
}

#[tokio::test]
async fn a_backfill_that_died_before_its_commit_counts_nothing_and_a_repeat_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let setup = |meters: Vec<Meter>| Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(meters).unwrap()),
        tenants: Arc::new(KnownTenants::default()),
    };
    log.setting_up().await.finish(setup(vec![])).await.unwrap();
    send(&log, &[event(1, "a", 5), event(2, "b", 7)], false).await;
    // Prepared under the old meters, and appended under the new ones: neither metered nor to be backfilled.
    let mut preparer = log.preparer(TenantScope::All);
    let Offered::Prepared(late) = preparer.prepare(&event(3, "a", 1)).unwrap().unwrap() else { panic!() };
    let queries = builtin().into_iter().find(|meter| meter.name == "log_queries").unwrap();
    log.setting_up().await.finish(setup(vec![queries.clone()])).await.unwrap();
    let refused = log.append(vec![late], false).await;
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

const ACTORS: &str = "[[meter]]\nname = 'actors'\nunit = 'Users'\ncategory = 'other'\nkind = 'counter'\nevent_type = 'seen'\nvalue = '$.who'\naggregation = 'unique_count'\ngroup_by = { app = '$.app' }\n";

fn seen(id: u32, tenant: &str, day: u8, who: &str, app: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"seen","tenant":"{tenant}","user":"{id}","time":"2026-10-{day:02}T10:00:00Z","data":{{"who":"{who}","app":"{app}"}}}}"#
    )
}

fn retraction(id: u32, tenant: &str, of: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"r{id}","source":"/s","type":"apportion.retract","tenant":"{tenant}","data":{{"source":"/s","id":"{of}"}}}}"#
    )
}

async fn deliver(log: &EventLog, text: String) -> Decision {
    match log.preparer(TenantScope::All).prepare(&text).unwrap().unwrap() {
        Offered::Prepared(event) => log.append(vec![event], false).await.unwrap()[0],
        Offered::Known(decision) => decision,
    }
}

#[tokio::test]
async fn a_value_counts_once_per_tenant_labels_and_day() {
    let folder = tempfile::tempdir().unwrap();
    let meters = read_meters("meters.toml", ACTORS).unwrap();
    let log = open_with(folder.path(), meters.clone()).await;
    let texts = [
        seen(1, "a", 5, "anna", "x"),
        seen(2, "a", 5, "anna", "x"),
        seen(3, "a", 5, "ben", "x"),
        seen(4, "a", 5, "anna", "y"),
        seen(5, "a", 6, "anna", "x"),
        seen(6, "b", 5, "anna", "x"),
    ];
    assert_eq!(send(&log, &texts, false).await, [Decision::Accepted; 6]);
    let once = expected(&[("a", 4, 4), ("b", 1, 1)]);
    assert_eq!(usage(&log).await, once);
    drop(log);
    let log = open_with(folder.path(), meters.clone()).await;
    assert_eq!(usage(&log).await, once, "the log knows which of them counted");
    send(&log, &[seen(7, "a", 5, "ben", "x")], false).await;
    log.flush_all().await.unwrap();
    drop(log);
    let log = open_with(folder.path(), meters).await;
    send(&log, &[seen(8, "a", 5, "ben", "x"), seen(9, "b", 5, "ben", "x")], false).await;
    assert_eq!(usage(&log).await, expected(&[("a", 4, 4), ("b", 2, 2)]));
    let pinned = log.inner.lake.pin_table(Table::Usage).await.unwrap();
    let table = SessionContext::new().read_table(Arc::new(LakeTable::new(&pinned))).unwrap();
    let batches = table.select_columns(&["hour", "user", "labels_key"]).unwrap().collect().await.unwrap();
    let labels = batches[0].column(2).as_string::<i32>();
    assert_eq!((batches[0].column(0).null_count(), batches[0].column(1).null_count()), (labels.len(), labels.len()));
    assert!(labels.iter().all(|labels| matches!(labels, Some(r#"{"app":"x"}"# | r#"{"app":"y"}"#))));
}

#[tokio::test]
async fn a_retraction_takes_its_event_back_wherever_it_is_and_whenever_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    send(&log, &[event(1, "a", 5), event(2, "a", 7), event(1, "b", 1)], false).await;
    log.flush_all().await.unwrap();
    send(&log, &[event(3, "a", 11)], false).await;

    assert_eq!(deliver(&log, retraction(1, "a", 1)).await, Decision::Accepted);
    assert_eq!(
        usage(&log).await,
        expected(&[("a", 18, 2), ("b", 1, 1)]),
        "one that the lake has; not that of another tenant"
    );
    deliver(&log, retraction(2, "a", 3)).await;
    assert_eq!(usage(&log).await, expected(&[("a", 7, 1), ("b", 1, 1)]), "one that only the log had");
    assert_eq!(deliver(&log, retraction(2, "a", 3)).await, Decision::Duplicate);
    assert_eq!(deliver(&log, retraction(3, "a", 3)).await, Decision::Accepted);
    assert_eq!(usage(&log).await, expected(&[("a", 7, 1), ("b", 1, 1)]), "once is enough");
    assert_eq!(deliver(&log, event(1, "a", 5)).await, Decision::Duplicate, "it came before, and stays taken back");

    deliver(&log, retraction(4, "a", 4)).await;
    drop(log);
    let log = open(folder.path()).await;
    send(&log, &[event(4, "a", 100), event(5, "a", 1)], false).await;
    assert_eq!(usage(&log).await, expected(&[("a", 8, 2), ("b", 1, 1)]), "one that came later");
    log.flush_all().await.unwrap();
    send(&log, &[retraction(5, "a", 6), event(6, "a", 50), event(7, "a", 60), retraction(6, "a", 7)], false).await;
    assert_eq!(usage(&log).await, expected(&[("a", 8, 2), ("b", 1, 1)]), "within one request");
}

#[tokio::test]
async fn usage_of_a_metrics_server_is_taken_back_and_that_of_events_stays() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let pushed = |text: String| text.replace(r#""source":"/s""#, r#""source":"otlp:{}""#);
    send(&log, &[event(1, "a", 5), pushed(event(2, "a", 7)), pushed(event(3, "a", 11))], false).await;
    log.flush_all().await.unwrap();
    deliver(&log, pushed(retraction(1, "a", 2))).await;
    assert_eq!(usage(&log).await, expected(&[("a", 16, 2)]));
    let pinned = log.inner.lake.pin_table(Table::Usage).await.unwrap();
    let table = SessionContext::new().read_table(Arc::new(LakeTable::new(&pinned))).unwrap();
    let batches = table.select_columns(&["origin"]).unwrap().collect().await.unwrap();
    let mut origins: Vec<&str> =
        batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
    origins.sort_unstable();
    assert_eq!(origins, ["events", "metrics_server"]);
}

#[tokio::test]
async fn the_level_before_counts_again_when_the_last_one_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let level = |id: u32, minute: u8, value: u32| {
        event(id, "a", value).replace("log_queries", "member_count").replace("10:00:00", &format!("10:{minute:02}:00"))
    };
    send(&log, &[level(1, 10, 5), level(2, 20, 9), level(3, 30, 2)], false).await;
    deliver(&log, retraction(1, "a", 3)).await;
    let pinned = log.inner.lake.pin_table(Table::Usage).await.unwrap();
    let table = SessionContext::new().read_table(Arc::new(LakeTable::new(&pinned))).unwrap();
    let batches = table.select_columns(&["last", "min", "max"]).unwrap().collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let units = |at: usize| batches[0].column(at).as_primitive::<Decimal128Type>().value(0) / 1_000_000_000;
    assert_eq!([units(0), units(1), units(2)], [9, 5, 9]);
}

#[derive(Clone, Debug)]
enum Step {
    Send { id: u32, value: u32 },
    See { id: u32, who: u8 },
    Retract { of: u32 },
    Flush,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12_u32, 1..100_u32).prop_map(|(id, value)| Step::Send { id, value }),
        4 => (20..32_u32, 0..3_u8).prop_map(|(id, who)| Step::See { id, who }),
        3 => (0..12_u32).prop_map(|of| Step::Retract { of }),
        2 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the order of events, retractions, flushes and restarts: usage is what remains.
    #[test]
    fn usage_is_that_of_the_events_that_remain(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let meters = read_meters("meters.toml", ACTORS).unwrap();
            let mut log = open_with(folder.path(), meters.clone()).await;
            let (mut sent, mut gone) = (BTreeMap::new(), std::collections::BTreeSet::new());
            let (mut who_said, mut retractions) = (std::collections::BTreeSet::new(), 0);
            for step in steps {
                match step {
                    Step::Send { id, value } => {
                        let first = deliver(&log, event(id, "a", value)).await == Decision::Accepted;
                        prop_assert_eq!(first, !sent.contains_key(&id));
                        sent.entry(id).or_insert(value);
                    }
                    Step::See { id, who } => {
                        if deliver(&log, seen(id, "a", 5, &who.to_string(), "x")).await == Decision::Accepted {
                            who_said.insert(who);
                        }
                    }
                    Step::Retract { of } => {
                        retractions += 1;
                        deliver(&log, retraction(retractions, "a", of)).await;
                        gone.insert(of);
                    }
                    Step::Flush => log.flush_all().await.unwrap(),
                    Step::Restart => {
                        drop(log);
                        log = open_with(folder.path(), meters.clone()).await;
                    }
                }
                let remain: Vec<u32> = sent.iter().filter(|(id, _)| !gone.contains(*id)).map(|(_, value)| *value).collect();
                let sum = i128::from(remain.iter().sum::<u32>()) + who_said.len() as i128;
                let count = (remain.len() + who_said.len()) as i64;
                let found = usage(&log).await.get("a").copied().unwrap_or_default();
                prop_assert_eq!(found, (sum, count));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn who_waits_for_the_end_of_the_log_since_before_its_first_event_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.failed().await }
    });
    tokio::task::yield_now().await;
    send(&log, &[event(1, "a", 5)], false).await;
    log.close().await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(matches!(told, Ok(Ok(WalError::Closed))), "{told:?}");
}

#[tokio::test]
async fn who_stops_waiting_for_a_flush_does_not_break_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).await;
    for round in 1..=60 {
        send(&log, &[event(round, "a", 1)], false).await;
        let patience = Duration::from_micros(u64::from(round) * 500);
        drop(tokio::time::timeout(patience, log.flush_all()).await);
        log.flush_all().await.unwrap();
        assert_eq!(usage(&log).await, expected(&[("a", i128::from(round), i64::from(round))]));
    }
}
