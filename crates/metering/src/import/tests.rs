use super::*;
use crate::live::{EventLogOptions, Setup};
use crate::refusal::RefusalCode;
use crate::rules::UnknownTenants;
use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::prelude::SessionContext;
use domain::meter::builtin;
use domain::{FixedClock, TenantScope, Zone};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use storage::catalog::{ALWAYS, NewTenantAlias, NewTenantFact};
use storage::lake::LakeTable;

/// Merging and expiring.
mod upkeep;

const NOW: &str = "2026-11-20T12:00:00Z";

struct Store {
    folder: tempfile::TempDir,
    ctx: EventImportContext,
}

impl Store {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ctx = open(folder.path()).await;
        Self { folder, ctx }
    }

    /// What a new process finds.
    async fn restarted(mut self) -> Self {
        self.ctx.catalog.close().await;
        self.ctx = open(self.folder.path()).await;
        self
    }

    async fn import(&self, text: impl Into<Vec<u8>>) -> EventImportReport {
        self.try_import(text).await.unwrap()
    }

    async fn try_import(&self, text: impl Into<Vec<u8>>) -> Result<EventImportReport, MeteringError> {
        import_events(&self.ctx, "events.ndjson", Cursor::new(text.into()), Arc::new(|_| ControlFlow::Continue(())))
            .await
    }

    /// Rows, Σ sum in whole units and Σ count of the usage table.
    async fn usage(&self) -> (usize, i128, i64) {
        let pinned = self.ctx.lake.pin_table(Table::Usage).await.unwrap();
        let table = SessionContext::new().read_table(Arc::new(LakeTable::new(&pinned))).unwrap();
        let batches = table.select_columns(&["sum", "count"]).unwrap().collect().await.unwrap();
        let sums = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Decimal128Type>().values().to_vec());
        let counts = batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec());
        let sums: Vec<i128> = sums.collect();
        (sums.len(), sums.iter().sum::<i128>() / 1_000_000_000, counts.sum())
    }

    async fn events(&self) -> u64 {
        self.ctx.lake.pin_table(Table::UsageEvents).await.unwrap().rows()
    }

    async fn versions(&self) -> (u64, u64) {
        let version = async |table| self.ctx.lake.pin_table(table).await.unwrap().version();
        (version(Table::UsageEvents).await, version(Table::Usage).await)
    }
}

async fn open(folder: &std::path::Path) -> EventImportContext {
    let now = NOW.parse().unwrap();
    let lake = Lake::open(&folder.join("lake"), now).await.unwrap();
    let catalog = Catalog::open(&folder.join("catalog.db")).await.unwrap();
    let rules = Arc::new(EventRules::new(Zone::utc()));
    let meters = Arc::new(MeterSet::new(builtin()).unwrap());
    let options = EventLogOptions {
        wal: folder.join("wal"),
        ids: folder.join("wal/ids"),
        segment_bytes: 64 * 1024,
        id_memory_bytes_max: 1 << 20,
    };
    let tenants = Arc::new(KnownTenants::default());
    let setup = Setup { rules: Arc::clone(&rules), meters: Arc::clone(&meters), tenants };
    let clock = Arc::new(FixedClock::at(now));
    let log = EventLog::open(options, lake.clone(), catalog.clone(), clock, setup).await.unwrap();
    let imports = Imports::open(&folder.join("imports")).unwrap();
    EventImportContext { lake, catalog, imports, log, now, rules, meters }
}

fn event(tenant: &str, id: u32, day: u32, value: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"log_queries","tenant":"{tenant}","time":"2026-10-{day:02}T10:00:00Z","data":{{"value":{value}}}}}"#
    )
}

fn lines(events: &[String]) -> String {
    events.join("\n")
}

#[tokio::test]
async fn a_file_is_imported_with_a_report_of_every_event() {
    let store = Store::new().await;
    let file = lines(&[
        event("a", 1, 1, "1.5"),
        "{broken".to_owned(),
        event("a", 1, 1, "1.5"),
        event("a", 1, 1, "2"),
        event("b", 1, 2, "\"2.50000000049\""),
        event("a", 2, 1, "-1"),
        r#"{"specversion":"1.0","id":"9","source":"/s","type":"log_queries","subject":"c","data":{}}"#.to_owned(),
    ]);
    let report = store.import(file.clone()).await;
    assert_eq!((report.accepted, report.duplicates, report.rejected_total), (3, 1, 3));
    let rejected: Vec<_> = report.rejected.iter().map(|item| (item.index, item.id.as_deref(), item.code)).collect();
    let expected = [
        (1, None, RefusalCode::InvalidEvent),
        (3, Some("1"), RefusalCode::IdConflict),
        (5, Some("2"), RefusalCode::NegativeQuantity),
    ];
    assert_eq!(rejected, expected);
    assert_eq!((report.metered, report.rounded_values, report.server_times), (2, 1, 1));
    assert_eq!(report.skipped_by_meter.get("log_queries"), Some(&1));
    assert_eq!(report.tenants_created, ["a", "b", "c"]);
    assert_eq!(report.days.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2026-10-01", "2026-10-02"]);
    assert_eq!((store.usage().await, store.events().await), ((2, 4, 2), 3));

    let import = store.ctx.catalog.import_all_tenants(&report.import_id.unwrap()).await.unwrap().unwrap();
    assert_eq!((import.kind.as_str(), import.source.as_str(), import.row_count), ("events", "events.ndjson", 3));
    assert_eq!(import_rows(&store.ctx.lake).await.unwrap(), [import]);
    assert!(store.ctx.catalog.tenant(&TenantScope::All, "c").await.unwrap().is_some());
    assert!(store.ctx.catalog.meter_in_use("log_queries").await.unwrap());
}

#[tokio::test]
async fn the_same_events_again_change_nothing() {
    let store = Store::new().await;
    let unnamed_time =
        r#"{"specversion":"1.0","id":"9","source":"/s","type":"mcp_reads","subject":"a","data":{"value":1}}"#;
    let file = lines(&[event("a", 1, 1, "1"), event("b", 1, 1, "2"), unnamed_time.to_owned()]);
    store.import(file.clone()).await;
    let (before, versions) = (store.usage().await, store.versions().await);
    let mut store = store.restarted().await;
    store.ctx.now = "2026-11-21T12:00:00Z".parse().unwrap();
    let list = format!("[{},{},{}]", event("b", 1, 1, "2"), unnamed_time, event("a", 1, 1, "1"));
    for again in [file.into_bytes(), zstd::encode_all(list.as_bytes(), 1).unwrap()] {
        let report = store.import(again).await;
        assert_eq!((report.accepted, report.duplicates, report.import_id), (0, 3, None));
    }
    assert_eq!((store.usage().await, store.versions().await), (before, versions));
}

#[tokio::test]
async fn ids_are_checked_against_what_is_stored_per_tenant() {
    let store = Store::new().await;
    store.import(lines(&[event("a", 1, 1, "1"), event("a", 2, 9, "2")])).await;
    let later = lines(&[event("a", 1, 2, "1"), event("b", 1, 1, "1"), event("a", 2, 9, "2"), event("a", 3, 1, "4")]);
    let report = store.import(later).await;
    assert_eq!((report.accepted, report.duplicates, report.rejected_total), (2, 1, 1));
    assert_eq!(report.rejected[0].code, RefusalCode::IdConflict);
    assert_eq!((store.usage().await.1, store.usage().await.2, store.events().await), (8, 4, 4));
    // The first reading took stored events as new; what it wrote is gone.
    let (files, committed) = (data_files(&store), store.ctx.lake.pin().await.unwrap());
    assert_eq!(files, committed.table(Table::UsageEvents).files().len() + committed.table(Table::Usage).files().len());
}

fn data_files(store: &Store) -> usize {
    fn count(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { usize::from(is_parquet(&path)) }).sum()
    }
    fn is_parquet(path: &std::path::Path) -> bool {
        path.extension().is_some_and(|extension| extension == "parquet")
            && !path.to_string_lossy().contains("_delta_log")
    }
    count(&store.folder.path().join("lake"))
}

#[tokio::test]
async fn a_broken_list_or_a_cut_file_leaves_everything_as_it_was() {
    let store = Store::new().await;
    let versions = store.versions().await;
    let list = format!("[{},{{\"a\":}}]", event("a", 1, 1, "1"));
    assert!(matches!(store.try_import(list).await, Err(MeteringError::BrokenList { index: 1, .. })));
    let cut = zstd::encode_all(lines(&[event("a", 1, 1, "1")]).as_bytes(), 1).unwrap();
    assert!(matches!(store.try_import(&cut[..cut.len() - 3]).await, Err(MeteringError::Unreadable(_))));
    assert_eq!((store.versions().await, store.events().await), (versions, 0));
    assert!(store.ctx.catalog.tenant(&TenantScope::All, "a").await.unwrap().is_none());
}

#[tokio::test]
async fn unknown_tenants_are_refused_if_so_configured_but_aliases_are_known() {
    let mut store = Store::new().await;
    let rules = EventRules { unknown_tenants: UnknownTenants::Reject, ..EventRules::new(Zone::utc()) };
    store.ctx.rules = Arc::new(rules);
    let alias = NewTenantAlias {
        alias: "acme-inc".into(),
        tenant: Some("acme".into()),
        valid_from: ALWAYS.into(),
        valid_to: None,
    };
    store.ctx.catalog.put_tenant(&NewTenantFact::system("acme"), &[alias], 1).await.unwrap();
    let file = lines(&[event("acme", 1, 1, "1"), event("acme-inc", 1, 1, "1"), event("else", 1, 1, "1")]);
    let report = store.import(file).await;
    assert_eq!((report.accepted, report.rejected_total, report.tenants_created.len()), (2, 1, 0));
    assert_eq!(report.rejected[0].code, RefusalCode::TenantUnknown);
}

#[tokio::test]
async fn an_import_that_is_told_to_end_stores_nothing_up_to_its_commit() {
    let store = Store::new().await;
    // More days than files are open at a time, and more than are sorted at a time.
    let text: String = (0..70_000).map(|id| event("acme", id, 1 + id % 28, "1") + "\n").collect();
    // While it reads, when it has read all, at the last moment before the commit.
    for (asked_at, asks) in [(20_000, 1), (70_000, 1), (70_000, 2)] {
        let asked = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&asked);
        let progress: Progress = Arc::new(move |read| match read == asked_at {
            true if seen.fetch_add(1, Ordering::Relaxed) + 1 == asks => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        let refused = import_events(&store.ctx, "events.ndjson", Cursor::new(text.clone()), progress).await;
        assert!(matches!(refused, Err(MeteringError::Cancelled)), "{asked_at}, {asks}: {refused:?}");
        assert_eq!(asked.load(Ordering::Relaxed), asks, "it goes no further");
        assert_eq!((store.events().await, store.usage().await), (0, (0, 0, 0)));
        assert_eq!(data_files(&store), 0, "{asked_at}, {asks}");
    }
    let report = store.import(text).await;
    assert_eq!((report.accepted, report.duplicates), (70_000, 0));
}

/// Does what an import does up to the first commit, then stops as a killed process would.
async fn import_half(store: &Store, text: String) {
    let ctx = &store.ctx;
    let kept = ctx.imports.keep(ReaderStream::new(Cursor::new(text.into_bytes()))).await.unwrap();
    let progress: Progress = Arc::new(|_| ControlFlow::Continue(()));
    let mut pass = run_pass(ctx, &kept.sha256, KnownTenants::default(), Arc::default(), &progress).await.unwrap();
    let pinned = ctx.lake.pin_table(Table::UsageEvents).await.unwrap();
    pass.report.import_id = Some(import_id(&ctx.lake, pinned.version() + 1));
    let says = EventsCommit::new("half", &kept, pass.report, pass.meters, &pass.usage_files);
    commits::commit_events(&ctx.lake, &pinned, ctx.now, &pass.event_files, &says).await.unwrap();
}

#[tokio::test]
async fn a_kill_between_the_two_commits_loses_and_doubles_nothing() {
    let store = Store::new().await;
    import_half(&store, lines(&[event("a", 1, 1, "1"), event("a", 2, 2, "2")])).await;
    import_half(&store, lines(&[event("b", 1, 1, "4")])).await;
    assert_eq!(store.usage().await, (0, 0, 0));

    let store = store.restarted().await;
    for _ in 0..2 {
        repair(&store.ctx.lake, &store.ctx.catalog).await.unwrap();
        assert_eq!((store.usage().await, store.events().await), ((3, 7, 3), 3));
    }
    let cached = store.ctx.catalog.list_imports_all_tenants(None, 10).await.unwrap();
    assert_eq!(cached.len(), 2);
    assert!(store.ctx.catalog.meter_in_use("log_queries").await.unwrap());
}

#[tokio::test]
async fn the_next_import_completes_the_one_that_was_killed() {
    let store = Store::new().await;
    import_half(&store, lines(&[event("a", 1, 1, "1"), event("a", 2, 2, "2")])).await;
    let store = store.restarted().await;
    let report = store.import(lines(&[event("a", 1, 1, "1"), event("a", 3, 1, "4")])).await;
    assert_eq!((report.accepted, report.duplicates), (1, 1));
    assert_eq!((store.usage().await.1, store.events().await), (7, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn imports_at_once_count_every_event_once() {
    let store = Store::new().await;
    let range = |ids: std::ops::Range<u32>| lines(&ids.map(|id| event("a", id, id % 28 + 1, "1")).collect::<Vec<_>>());
    let imports = [range(0..60), range(30..90), range(0..90), range(80..100)].map(|file| store.try_import(file));
    let reports = futures::future::try_join_all(imports).await.unwrap();
    let accepted: u64 = reports.iter().map(|report| report.accepted).sum();
    let duplicates: u64 = reports.iter().map(|report| report.duplicates).sum();
    assert_eq!((accepted, duplicates, store.events().await), (100, 130, 100));
    assert_eq!((store.usage().await.1, store.usage().await.2), (100, 100));
    assert_eq!(store.ctx.catalog.list_imports_all_tenants(None, 10).await.unwrap(), {
        let mut rows = import_rows(&store.ctx.lake).await.unwrap();
        rows.sort_by(|left, right| (right.imported_at, &right.id).cmp(&(left.imported_at, &left.id)));
        rows
    });
}
