//! Merging files and expiring raw events, beside imports and live events: usage and ids stay exact.

use super::*;
use crate::live::{Decision, Expired, Offered};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FsPath;
use std::process::Command;
use storage::failpoint;
use storage::lake::{CompactionRule, VacuumRule};

const FOLDER: &str = "METERING_UPKEEP_FOLDER";
const STEP: &str = "METERING_UPKEEP_STEP";
/// How often each step is killed.
const KILLS: u32 = 5;
const RULE: CompactionRule =
    CompactionRule { small_bytes_max: u64::MAX, small_files_max: 1, memory_bytes_max: 16 << 20 };

impl Store {
    /// Stops as a server does, and starts again.
    async fn stopped_and_restarted(self) -> Self {
        self.ctx.log.flush_all().await.unwrap();
        self.ctx.log.close().await.unwrap();
        self.restarted().await
    }

    async fn send(&self, text: &str) -> Decision {
        match self.ctx.log.preparer(TenantScope::All).prepare(text).unwrap().unwrap() {
            Offered::Prepared(event) => self.ctx.log.append(vec![event], false).await.unwrap()[0],
            Offered::Known(decision) => decision,
        }
    }

    async fn expire(&self, before: &str) -> Expired {
        self.ctx.log.expire_events(before.parse().unwrap(), false).await.unwrap()
    }

    async fn compact(&self) {
        for table in [Table::UsageEvents, Table::Usage] {
            self.ctx.lake.compact(table, &RULE, self.ctx.now).await.unwrap();
        }
    }

    async fn vacuum(&self) {
        let later = Instant::from_micros(i64::MAX / 2);
        let rule = VacuumRule { removed_before: later, orphaned_before: later, cited: BTreeSet::new(), dry_run: false };
        for table in [Table::UsageEvents, Table::Usage] {
            self.ctx.lake.vacuum(table, &rule).await.unwrap();
        }
    }

    /// Ids in `usage_events`, as often as they stand there.
    async fn raw_ids(&self) -> Vec<u32> {
        let pinned = self.ctx.lake.pin_table(Table::UsageEvents).await.unwrap();
        let table = SessionContext::new().read_table(Arc::new(LakeTable::new(&pinned))).unwrap();
        let batches = table.select_columns(&["id"]).unwrap().collect().await.unwrap();
        let ids = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
        let mut ids: Vec<u32> = ids.map(|id| id.parse().unwrap()).collect();
        ids.sort_unstable();
        ids
    }
}

/// One event of each of these ids, each worth 1, on day `id % 20 + 1` of October.
fn numbered(ids: impl IntoIterator<Item = u32>) -> Vec<String> {
    ids.into_iter().map(|id| event("a", id, id % 20 + 1, "1")).collect()
}

#[tokio::test]
async fn an_event_that_expired_is_a_duplicate_for_ever() {
    let store = Store::new().await;
    store.import(lines(&numbered(0..20))).await;
    assert_eq!(store.send(&numbered([20])[0]).await, Decision::Accepted);
    store.ctx.log.flush_all().await.unwrap();
    let usage = store.usage().await;
    let dry = store.ctx.log.expire_events("2026-10-11".parse().unwrap(), true).await.unwrap();
    assert_eq!((dry.events, store.events().await), (11, 21));

    assert_eq!(store.expire("2026-10-11").await, dry);

    assert_eq!((store.raw_ids().await, store.usage().await), ((10..20).collect(), usage));
    let mut store = store;
    for _ in 0..2 {
        let report = store.import(lines(&numbered(0..21))).await;
        assert_eq!((report.accepted, report.duplicates, report.import_id), (0, 21, None));
        assert_eq!(store.send(&numbered([20])[0]).await, Decision::Duplicate);
        let other = store.import(event("a", 3, 4, "2")).await;
        assert_eq!(other.rejected.first().map(|event| event.code), Some(RefusalCode::IdConflict));
        assert_eq!((store.usage().await, store.events().await), (usage, 10));
        store = store.stopped_and_restarted().await;
    }
    assert_eq!(store.expire("2026-10-11").await, Expired::default(), "nothing is left to expire");
}

#[tokio::test]
async fn a_commit_whose_ids_the_index_missed_is_read_before_its_events_expire() {
    let store = Store::new().await;
    import_half(&store, lines(&numbered(0..20))).await;
    assert_eq!(store.expire("2026-10-30").await.events, 20);
    complete_usage(&store.ctx.lake).await.unwrap();
    let report = store.import(lines(&numbered(0..20))).await;
    assert_eq!((report.accepted, report.duplicates, store.usage().await.1), (0, 20, 20));
}

#[tokio::test]
async fn an_index_that_forgot_expired_events_is_refused() {
    let store = Store::new().await;
    store.import(lines(&numbered(0..20))).await;
    let ids = store.folder.path().join("wal/ids");
    let before = store.folder.path().join("before");
    copy(&ids, &before);
    store.expire("2026-10-11").await;
    std::fs::remove_dir_all(&ids).unwrap();
    std::fs::rename(&before, &ids).unwrap();
    let error = try_open(store.folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("`wal/ids` cannot be read back") && error.contains("count twice"), "{error}");
}

/// Opens the folder's log as a new process would.
async fn try_open(folder: &FsPath) -> Result<EventLog, MeteringError> {
    let now: Instant = NOW.parse().unwrap();
    let lake = Lake::open(&folder.join("lake"), now).await.unwrap();
    let catalog = Catalog::open(&folder.join("other.db")).await.unwrap();
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
    EventLog::open(options, lake, catalog, Arc::new(FixedClock::at(now)), setup).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flushes_imports_and_merges_at_once_lose_and_double_nothing() {
    let store = Store::new().await;
    let flushing = async {
        for id in 0..60 {
            assert_eq!(store.send(&numbered([id])[0]).await, Decision::Accepted);
            store.ctx.log.flush_all().await.unwrap();
        }
    };
    let importing = async {
        for first in (60..120).step_by(10) {
            assert_eq!(store.import(lines(&numbered(first..first + 10))).await.accepted, 10);
        }
    };
    let merging = async {
        for _ in 0..20 {
            store.compact().await;
        }
    };
    let expiring = async {
        for day in 1..=9 {
            store.expire(&format!("2026-10-{day:02}")).await;
        }
    };
    futures::join!(flushing, importing, merging, expiring);
    store.compact().await;
    store.expire("2026-10-09").await;
    store.vacuum().await;
    assert_eq!((store.usage().await.1, store.usage().await.2), (120, 120));
    assert_eq!(store.raw_ids().await, (0..120).filter(|id| 8 <= id % 20).collect::<Vec<_>>());
    let pinned = store.ctx.lake.pin().await.unwrap();
    let files = [Table::Usage, Table::UsageEvents].map(|table| pinned.table(table).files().len());
    assert_eq!(files, [20, 12], "one file a day is left");
}

/// Not a test of its own: does nothing unless a parent asks for it.
#[tokio::test]
async fn child_expires_until_it_is_killed() {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else { return };
    let log = try_open(FsPath::new(&folder)).await.unwrap();
    failpoint::arm(Some(step));
    log.expire_events("2026-10-11".parse().unwrap(), false).await.unwrap();
}

#[tokio::test]
async fn d2_a_kill_at_any_step_of_an_expiry_loses_no_usage_and_no_id() {
    let whole = Store::new().await;
    for first in [0, 10, 20] {
        whole.import(lines(&numbered(first..first + 10))).await;
    }
    let usage = whole.usage().await;
    let whole = whole.stopped_and_restarted().await;
    let steps = ["expire", "before-commit", "mid-commit", "after-commit"];
    for step in steps {
        for _ in 0..KILLS {
            let folder = tempfile::tempdir().unwrap();
            copy(whole.folder.path(), folder.path());
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "import::tests::upkeep::child_expires_until_it_is_killed"])
                .env(FOLDER, folder.path())
                .env(STEP, step)
                .output()
                .unwrap();
            assert!(!child.status.success(), "{step}: the child was not killed");
            let store = Store { ctx: open(folder.path()).await, folder };
            assert_eq!(store.usage().await, usage, "{step}");
            assert!([10, 30].contains(&store.events().await), "{step}: whole or absent");
            store.expire("2026-10-11").await;
            let report = store.import(lines(&numbered(0..30))).await;
            assert_eq!((report.accepted, report.duplicates), (0, 30), "{step}");
            assert_eq!((store.usage().await, store.events().await), (usage, 10), "{step}");
        }
    }
    println!("D2: {} kills of an expiry at {} steps", KILLS as usize * steps.len(), steps.len());
}

fn copy(from: &FsPath, to: &FsPath) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &to) } else { std::fs::copy(&entry, to).map(|_| ()).unwrap() }
    }
}

/// One thing that happens to a store.
#[derive(Clone, Debug)]
enum Step {
    Import(Vec<u32>),
    Send(Vec<u32>),
    Compact,
    Expire(u32),
    Vacuum,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let ids = || proptest::collection::vec(0..80_u32, 1..12);
    prop_oneof![
        3 => ids().prop_map(Step::Import),
        3 => ids().prop_map(Step::Send),
        2 => Just(Step::Compact),
        1 => (1..21_u32).prop_map(Step::Expire),
        1 => Just(Step::Vacuum),
        1 => Just(Step::Restart),
    ]
}

/// What must be there: every event ever accepted, and those whose raw row is kept.
#[derive(Default)]
struct Model {
    accepted: BTreeMap<u32, u32>,
    raw: BTreeSet<u32>,
}

impl Model {
    fn offer(&mut self, ids: &[u32]) -> u64 {
        let mut new = 0;
        for id in ids {
            if self.accepted.insert(*id, id % 20 + 1).is_none() {
                self.raw.insert(*id);
                new += 1;
            }
        }
        new
    }
}

async fn play(steps: Vec<Step>) {
    let mut store = Store::new().await;
    let mut model = Model::default();
    for step in steps {
        match &step {
            Step::Import(ids) => {
                let report = store.import(lines(&numbered(ids.iter().copied()))).await;
                assert_eq!(report.accepted, model.offer(ids), "{step:?}");
            }
            Step::Send(ids) => {
                for id in ids {
                    let expected = if model.offer(&[*id]) == 1 { Decision::Accepted } else { Decision::Duplicate };
                    assert_eq!(store.send(&numbered([*id])[0]).await, expected, "{step:?}");
                }
                store.ctx.log.flush_all().await.unwrap();
            }
            Step::Compact => store.compact().await,
            Step::Expire(day) => {
                store.expire(&format!("2026-10-{day:02}")).await;
                model.raw.retain(|id| *day <= id % 20 + 1);
            }
            Step::Vacuum => store.vacuum().await,
            Step::Restart => store = store.stopped_and_restarted().await,
        }
        let accepted = model.accepted.len();
        let (_, sum, count) = store.usage().await;
        assert_eq!((sum, count), (accepted as i128, i64::try_from(accepted).unwrap()), "{step:?}");
        assert_eq!(store.raw_ids().await, Vec::from_iter(model.raw.iter().copied()), "{step:?}");
    }
    store.compact().await;
    let days: BTreeSet<u32> = model.accepted.values().copied().collect();
    let files = store.ctx.lake.pin_table(Table::Usage).await.unwrap().files().len();
    assert_eq!(files, days.len(), "one file a day is left");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// Whatever is merged, expired and deleted in between: usage is that of every event ever accepted, each once.
    #[test]
    fn any_order_of_upkeep_and_events_keeps_the_sums(steps in proptest::collection::vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}
