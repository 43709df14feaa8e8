//! Merging and vacuuming: rows stay, cited files stay, what nothing needs goes; killed anywhere, nothing is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use domain::Instant;
use object_store::memory::InMemory;
use storage::failpoint;
use storage::lake::{
    Commit, CompactionRule, Lake, LakeError, LeftoverKind, PinnedTable, SyncedLocalStore, Table, VacuumRule,
};
use tempfile::TempDir;

use super::sample::{self, DAY, NOW};
use super::watched::Watched;

const FOLDER: &str = "LAKE_UPKEEP_FOLDER";
const STEP: &str = "LAKE_UPKEEP_STEP";
/// How often each step is killed.
const KILLS: u32 = 5;
/// Later than any file of these tests by any clock.
const LATER: Instant = Instant::from_micros(i64::MAX / 2);

const MERGED: [Table; 2] = [Table::UsageEvents, Table::Usage];

fn rule() -> CompactionRule {
    CompactionRule { small_files_max: 3, ..CompactionRule::default() }
}

fn all() -> VacuumRule {
    VacuumRule { removed_before: LATER, orphaned_before: LATER, cited: BTreeSet::new(), dry_run: false }
}

/// Every row as text, in an order of its own.
async fn rows_of(pinned: &PinnedTable) -> Vec<String> {
    let batches = sample::query(pinned, &format!("SELECT * FROM {}", pinned.table())).await;
    let mut lines: Vec<String> =
        pretty_format_batches(&batches).unwrap().to_string().lines().map(str::to_owned).collect();
    lines.retain(|line| line.starts_with('|'));
    lines.sort();
    lines
}

/// `files` small files for each of two days.
async fn fill(lake: &Lake, table: Table, files: usize) -> PinnedTable {
    let mut pinned = lake.pin_table(table).await.unwrap();
    for file in 0..files {
        for day in [DAY, DAY + 1] {
            pinned = sample::append(lake, &pinned, &sample::rows(table, 2 + file, day)).await;
        }
    }
    pinned
}

async fn newest(lake: &Lake, table: Table) -> PinnedTable {
    lake.pin_table(table).await.unwrap()
}

#[tokio::test]
async fn merging_changes_files_and_no_row() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for table in MERGED {
        let before = fill(&lake, table, 5).await;
        let rows = rows_of(&before).await;

        let done = lake.compact(table, &rule(), NOW).await.unwrap();

        let after = newest(&lake, table).await;
        assert_eq!(
            (done.commits, done.files_before, done.files_after, done.rows),
            (1, 10, 2, before.rows()),
            "{table}"
        );
        assert_eq!((after.files().len(), after.version()), (2, before.version() + 1), "{table}");
        assert_eq!(rows_of(&after).await, rows, "{table}");
        assert_eq!(rows_of(&before).await, rows, "{table}: a reader of the version before goes on");
        let (appended, merged) = (before.head_commit().await.unwrap(), after.head_commit().await.unwrap());
        assert_eq!((appended.partitions, merged.partitions), (["2026-03-02".to_owned()].into(), [].into()), "{table}");
        assert_eq!(merged.metadata["kind"], "compact");
        let entry = folder.path().join(format!("lake/{table}/_delta_log/{:020}.json", after.version()));
        let entry = std::fs::read_to_string(entry).unwrap();
        assert_eq!(
            (entry.matches("\"dataChange\":false").count(), entry.matches("\"dataChange\":true").count()),
            (12, 0)
        );
        assert_eq!(lake.compact(table, &rule(), NOW).await.unwrap().commits, 0, "{table}: nothing is left to do");
        let reopened = newest(&sample::open(folder.path()).await, table).await;
        assert_eq!(rows_of(&reopened).await, rows, "{table}");
        let report = lake.verify_files(table, Some(&after.log_head())).await.unwrap();
        assert_eq!((report.faults, report.strays), (vec![], vec![]), "{table}");
    }
}

#[tokio::test]
async fn merged_rows_stand_in_the_order_of_the_meters() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    fill(&lake, Table::Usage, 4).await;
    lake.compact(Table::Usage, &rule(), NOW).await.unwrap();
    let after = newest(&lake, Table::Usage).await;
    let ordered = sample::query(
        &after,
        "SELECT tenant, meter, hour FROM usage WHERE usage_date = DATE '2026-03-01' ORDER BY 1, 2, 3 NULLS FIRST",
    );
    let stored = sample::query(&after, "SELECT tenant, meter, hour FROM usage WHERE usage_date = DATE '2026-03-01'");
    let text = |batches: &[_]| pretty_format_batches(batches).unwrap().to_string();
    assert_eq!(text(&stored.await), text(&ordered.await));
}

#[tokio::test]
async fn more_rows_than_memory_are_merged_by_way_of_temporary_files() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for _ in 0..6 {
        sample::append_newest(&lake, Table::Usage, &sample::rows(Table::Usage, 20_000, DAY)).await;
    }
    let rule = CompactionRule { memory_bytes_max: 0, ..rule() };
    let done = lake.compact(Table::Usage, &rule, NOW).await.unwrap();
    assert_eq!((done.files_before, done.files_after, done.rows), (6, 1, 120_000));
    let after = newest(&lake, Table::Usage).await;
    let sums = "SELECT count(*), count(DISTINCT tenant), sum(sum), sum(count), min(min), max(max) FROM usage";
    let before = lake.pin_at(&[(Table::Usage, 6)].into()).await.unwrap();
    let text = |batches: Vec<_>| pretty_format_batches(&batches).unwrap().to_string();
    assert_eq!(text(sample::query(&after, sums).await), text(sample::query(before.table(Table::Usage), sums).await));
}

#[tokio::test]
async fn tables_that_remember_are_never_merged() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for table in [Table::Snapshots, Table::CostLines, Table::PoolDays, Table::Ledger] {
        for _ in 0..5 {
            sample::append_newest(&lake, table, &sample::rows(table, 1, DAY)).await;
        }
        let error = lake.compact(table, &rule(), NOW).await.unwrap_err();
        assert!(matches!(error, LakeError::BadCommit { .. }), "{error:?}");
        assert_eq!(newest(&lake, table).await.files().len(), 5);
    }
    assert!(matches!(lake.vacuum(Table::Ledger, &all()).await, Err(LakeError::AppendOnly(Table::Ledger))));
}

#[tokio::test]
async fn a_commit_that_says_no_row_changes_is_held_to_it() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let pinned = sample::append_newest(&lake, Table::Usage, &sample::rows(Table::Usage, 3, DAY)).await;
    let removes = pinned.files().map(|file| file.path.clone()).collect();
    let commit = Commit { removes, data_change: false, ..Commit::new(NOW, "compact") };
    assert!(matches!(lake.commit(&pinned, commit).await, Err(LakeError::BadCommit { .. })));
}

/// A lake whose store can be stopped between two steps, and the same lake as another process sees it.
async fn watched(folder: &Path) -> (Watched, Lake, Lake) {
    let other = sample::open(folder).await;
    let store = Watched::new(Arc::new(SyncedLocalStore::new(&folder.join("lake")).unwrap()));
    let lake = Lake::open_store(Arc::new(store.clone()), NOW).await.unwrap();
    (store, lake, other)
}

#[tokio::test]
async fn an_append_beside_a_merge_is_no_conflict() {
    let folder = TempDir::new().unwrap();
    let (store, lake, other) = watched(folder.path()).await;
    let before = fill(&lake, Table::Usage, 5).await;
    let appending = other.clone();
    store.before_upload(async move {
        sample::append_newest(&appending, Table::Usage, &sample::rows(Table::Usage, 7, DAY)).await;
    });
    let done = lake.compact(Table::Usage, &rule(), NOW).await.unwrap();
    let after = newest(&other, Table::Usage).await;
    assert_eq!((done.files_before, after.files().len(), after.rows()), (10, 3, before.rows() + 7));
    assert_eq!(after.version(), before.version() + 2);
}

#[tokio::test]
async fn a_merge_of_a_file_that_was_removed_meanwhile_is_thrown_away() {
    let folder = TempDir::new().unwrap();
    let (store, lake, other) = watched(folder.path()).await;
    let before = fill(&lake, Table::UsageEvents, 5).await;
    let gone = before.files().find(|file| file.partition("event_date") == Some("2026-03-01")).unwrap().clone();
    let (removing, path) = (other.clone(), gone.path.clone());
    store.before_upload(async move {
        let pinned = newest(&removing, Table::UsageEvents).await;
        removing.commit(&pinned, Commit { removes: vec![path], ..Commit::new(NOW, "expire") }).await.unwrap();
    });
    let done = lake.compact(Table::UsageEvents, &rule(), NOW).await.unwrap();
    let after = newest(&other, Table::UsageEvents).await;
    assert_eq!((done.files_before, done.files_after), (5, 1), "the other day is merged");
    assert_eq!((after.files().len(), after.rows()), (4 + 1, before.rows() - gone.rows));
    let report = lake.verify_files(Table::UsageEvents, None).await.unwrap();
    assert_eq!((report.faults, report.strays), (vec![], vec![]), "what was thrown away is gone");
}

#[tokio::test]
async fn damage_is_found_and_not_merged_away() {
    let folder = TempDir::new().unwrap();
    let pinned = fill(&sample::open(folder.path()).await, Table::Usage, 5).await;
    let path = folder.path().join("lake/usage").join(&pinned.files().next().unwrap().path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let lake = sample::open(folder.path()).await;
    assert!(lake.compact(Table::Usage, &rule(), NOW).await.is_err());
    assert_eq!(newest(&lake, Table::Usage).await.version(), pinned.version());
}

#[tokio::test]
async fn vacuum_takes_what_nothing_needs_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let old = fill(&lake, Table::Usage, 5).await;
    let rows = rows_of(&old).await;
    lake.compact(Table::Usage, &rule(), NOW).await.unwrap();
    let kept = newest(&lake, Table::Usage).await.files().len();
    // A file of this process on its way into a commit, one of a killed process, and half a one.
    let mut writing = lake.partitioned(Table::Usage);
    writing.write(&sample::rows(Table::Usage, 4, DAY)).await.unwrap();
    let on_its_way = writing.finish().await.unwrap();
    let usage = folder.path().join("lake/usage/usage_date=2026-03-01");
    std::fs::write(usage.join("part-00.zstd.parquet"), b"PAR1").unwrap();
    std::fs::write(usage.join("part-01.zstd.parquet#1"), b"PA").unwrap();
    let kinds = |found: &[storage::lake::Leftover]| {
        let count = |kind| found.iter().filter(|leftover| leftover.kind == kind).count();
        [LeftoverKind::Removed, LeftoverKind::Orphan, LeftoverKind::Unfinished].map(count)
    };

    let young = VacuumRule { removed_before: NOW, orphaned_before: Instant::from_micros(0), ..all() };
    assert_eq!(lake.vacuum(Table::Usage, &young).await.unwrap(), []);
    let cited = VacuumRule { cited: BTreeSet::from([4, old.version()]), ..all() };
    let found = lake.vacuum(Table::Usage, &VacuumRule { dry_run: true, ..cited.clone() }).await.unwrap();
    assert_eq!(kinds(&found), [0, 1, 1], "a cited version keeps all of its files");
    let early = VacuumRule { cited: BTreeSet::from([4]), dry_run: true, ..all() };
    assert_eq!(kinds(&lake.vacuum(Table::Usage, &early).await.unwrap()), [6, 1, 1], "version 4 had four files");
    assert_eq!(lake.vacuum(Table::Usage, &cited).await.unwrap(), found);
    assert_eq!(rows_of(&old).await, rows, "the cited version is readable");
    assert_eq!(kinds(&lake.vacuum(Table::Usage, &all()).await.unwrap()), [10, 0, 0]);
    assert_eq!(lake.vacuum(Table::Usage, &all()).await.unwrap(), []);

    let pinned = newest(&lake, Table::Usage).await;
    assert_eq!((pinned.files().len(), rows_of(&pinned).await), (kept, rows));
    let pinned = lake.commit(&pinned, Commit { adds: on_its_way, ..Commit::new(NOW, "flush") }).await.unwrap();
    let report = lake.verify_files(Table::Usage, Some(&pinned.log_head())).await.unwrap();
    assert_eq!((report.faults, report.strays), (vec![], vec![]));
}

#[tokio::test]
async fn bills_keep_every_file_for_questions_about_the_past() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let old = sample::append_newest(&lake, Table::CostLines, &sample::rows(Table::CostLines, 5, DAY)).await;
    let removes = old.files().map(|file| file.path.clone()).collect();
    lake.commit(&old, Commit { removes, ..Commit::new(NOW, "import") }).await.unwrap();
    assert_eq!(lake.vacuum(Table::CostLines, &all()).await.unwrap(), []);
    assert_eq!(sample::count(&old).await, 5);
}

#[tokio::test]
async fn a_table_of_a_thousand_commits_opens_by_few_files() {
    let store = Watched::new(Arc::new(InMemory::new()));
    let lake = Lake::open_store(Arc::new(store.clone()), NOW).await.unwrap();
    let mut pinned = newest(&lake, Table::Ledger).await;
    for number in 1..=1_000 {
        let txn = Some(("posting".to_owned(), number));
        pinned = lake.commit(&pinned, Commit { txn, ..Commit::new(NOW, "posting") }).await.unwrap();
    }
    for number in 1_001..=1_090 {
        let txn = Some(("posting".to_owned(), number));
        pinned = lake.commit(&pinned, Commit { txn, ..Commit::new(NOW, "posting") }).await.unwrap();
    }
    store.seen("");
    let opened = Lake::open_store(Arc::new(store.clone()), NOW).await.unwrap();
    let (read, listed) = store.seen("ledger/_delta_log");
    assert_eq!(newest(&opened, Table::Ledger).await.log_head(), pinned.log_head());
    println!("1,090 commits: {} files read, {} names listed", read.len(), listed.len());
    // The hint (twice), the checkpoint and its entry, 90 entries after it; names from the checkpoint on.
    assert!(read.len() <= 95 && listed.len() <= 95, "{} read, {} listed", read.len(), listed.len());
}

/// Not a test of its own: does nothing unless a parent asks for it.
#[tokio::test]
async fn child_keeps_small_until_it_is_killed() {
    let (Ok(folder), Ok(step)) = (std::env::var(FOLDER), std::env::var(STEP)) else { return };
    let lake = sample::open(Path::new(&folder)).await;
    failpoint::arm(Some(step));
    lake.compact(Table::Usage, &rule(), NOW).await.unwrap();
    lake.vacuum(Table::Usage, &all()).await.unwrap();
}

#[tokio::test]
async fn d2_a_kill_at_any_step_of_upkeep_loses_no_row() {
    let whole = TempDir::new().unwrap();
    let lake = sample::open(whole.path()).await;
    // The 100th commit is the merge, so that a checkpoint follows.
    let mut pinned = fill(&lake, Table::Usage, 5).await;
    while pinned.version() < 99 {
        pinned = lake.commit(&pinned, Commit::new(NOW, "flush")).await.unwrap();
    }
    let rows = rows_of(&pinned).await;
    let steps = [
        "merge@2",
        "after-data-file@2",
        "before-commit",
        "mid-commit",
        "after-commit",
        "checkpoint",
        "checkpoint-unsealed",
        "vacuum",
        "vacuum@4",
    ];
    for step in steps {
        for _ in 0..KILLS {
            let folder = TempDir::new().unwrap();
            copy(whole.path(), folder.path());
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "lake::upkeep::child_keeps_small_until_it_is_killed"])
                .env(FOLDER, folder.path())
                .env(STEP, step)
                .output()
                .unwrap();
            assert!(!child.status.success(), "{step}: the child was not killed");
            let lake = sample::open(folder.path()).await;
            assert_eq!(rows_of(&newest(&lake, Table::Usage).await).await, rows, "{step}: after the kill");
            lake.compact(Table::Usage, &rule(), NOW).await.unwrap();
            lake.vacuum(Table::Usage, &all()).await.unwrap();
            let after = newest(&lake, Table::Usage).await;
            assert_eq!((after.files().len(), rows_of(&after).await), (2, rows.clone()), "{step}: after the next try");
            let report = lake.verify_files(Table::Usage, Some(&after.log_head())).await.unwrap();
            assert_eq!((report.faults, report.strays), (vec![], vec![]), "{step}");
        }
    }
    println!("D2: {} kills of upkeep at {} steps", KILLS as usize * steps.len(), steps.len());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &to) } else { std::fs::copy(&entry, to).map(|_| ()).unwrap() }
    }
}
