use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use collectors::cancel::Cancel;
use collectors::cost_lines::touched_days_of_commit;
use collectors::error::ImportError;
use collectors::import::{
    ImportContext, ImportProgress, ImportReport, import_focus, import_focus_unless, imports_of_lake,
};
use domain::Zone;
use storage::lake::{Lake, Table};

use super::support::{HEADER, NOON, Store, csv, row, ten_rows};

#[tokio::test]
async fn an_import_replaces_its_keys_and_nothing_else() {
    let store = Store::new().await;
    let mut rows = ten_rows();
    rows.push(row("other", 1, "7"));
    rows.push(row("acct", 1, "3").replace("2026-10-01,2026-11-01", "2026-09-01,2026-10-01"));
    let first = store.import(csv(&rows)).await.expect("an import");
    let keys: Vec<_> = first
        .billing_periods
        .iter()
        .map(|key| (key.billing_account.as_str(), key.billing_period.as_str(), key.rows))
        .collect();
    assert_eq!(keys, [("acct", "2026-09", 1), ("acct", "2026-10", 10), ("other", "2026-10", 1)]);

    let changed: Vec<String> = (1..=11).map(|day| row("acct", day, "6")).collect();
    let report = store.import(csv(&changed)).await.expect("an import");
    assert!(!report.unchanged && report.billing_periods[0].replaced_rows == 10);
    assert_eq!(store.sums("billed_cost").await["USD"], (66 + 7 + 3) * domain::money::ATOMS_PER_UNIT);
}

#[tokio::test]
async fn only_keys_that_changed_are_written() {
    let store = Store::new().await;
    let rows = [row("one", 1, "1"), row("two", 1, "2")];
    let first = store.import(csv(&rows)).await.expect("an import");
    let rows = [row("one", 1, "1"), row("two", 1, "2"), row("two", 5, "3")];
    let report = store.import(csv(&rows)).await.expect("an import");
    let unchanged: Vec<bool> = report.billing_periods.iter().map(|key| key.unchanged).collect();
    assert_eq!((unchanged, report.unchanged), (vec![true, false], false));
    assert_ne!(report.import_id, first.import_id);

    let pinned = store.context.lake.pin_table(Table::CostLines).await.expect("a table");
    let commit = pinned.head_commit().await.expect("a commit");
    let days: Vec<String> = touched_days_of_commit(&commit)
        .ranges()
        .flat_map(|range| range.days().map(|day| day.to_string()).collect::<Vec<_>>())
        .collect();
    assert_eq!(days, ["2026-10-01", "2026-10-05"], "days of the lines taken out and put in");
    assert_eq!(imports_of_lake(&pinned).await.expect("a log").len(), 2);
}

#[tokio::test]
async fn the_catalogs_rows_can_be_made_again_from_the_lake() {
    let store = Store::new().await;
    store.import(csv(&ten_rows())).await.expect("an import");
    store.import(csv(&[row("other", 1, "7")])).await.expect("an import");
    let pinned = store.context.lake.pin_table(Table::CostLines).await.expect("a table");
    let mut from_lake = imports_of_lake(&pinned).await.expect("a log");
    let mut cached = store.context.catalog.list_imports_all_tenants(None, 10).await.expect("rows");
    from_lake.sort_by(|one, other| one.id.cmp(&other.id));
    cached.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!((from_lake.len(), from_lake), (2, cached));
}

#[tokio::test]
async fn the_imported_bytes_are_kept() {
    let store = Store::new().await;
    let bill = csv(&ten_rows());
    let report = store.import(&bill).await.expect("an import");
    let row = store.context.catalog.import_all_tenants(&report.import_id).await.expect("a row").expect("the import");
    let body: serde_json::Value = serde_json::from_str(&row.body).expect("JSON");
    let sha256 = body["files"][0]["sha256"].as_str().expect("a hash");
    let mut kept = String::new();
    let mut reader = store.context.imports.open_import(sha256).await.expect("a kept file");
    std::io::Read::read_to_string(&mut reader, &mut kept).expect("text");
    assert_eq!(kept, bill);
    assert_eq!(body["report"], serde_json::to_value(&report).expect("JSON"));
}

#[tokio::test]
async fn a_bill_that_shrinks_is_refused_until_confirmed() {
    let store = Store::new().await;
    let mut rows: Vec<String> = (1..=10).map(|day| row("acct", day, "10")).collect();
    rows.push(row("acct", 11, "-10"));
    store.import(csv(&rows)).await.expect("an import");
    let stored_files = walk(store.folder.path()).len();

    let half = csv(&rows[..5]);
    let Err(ImportError::WouldShrink(lost)) = store.import(&half).await else { panic!("must be refused") };
    assert_eq!((lost.len(), lost[0].billing_account.as_str(), lost[0].billing_period.as_str()), (1, "acct", "2026-10"));
    assert_eq!((lost[0].rows_before, lost[0].rows_after), (11, 5));
    assert_eq!((lost[0].billed_before.as_str(), lost[0].billed_after.as_str()), ("110.00", "50.00"));
    assert_eq!((store.version().await, walk(store.folder.path()).len()), (1, stored_files), "nothing is left behind");

    // As many rows, but worth less.
    let cheap: Vec<String> = (1..=11).map(|day| row("acct", day, "1")).collect();
    assert!(matches!(store.import(csv(&cheap)).await, Err(ImportError::WouldShrink(_))));
    // A fifth may go.
    assert!(store.import(csv(&rows[..9])).await.is_ok());
    let file = store.file("half", &half);
    assert_eq!(store.import_set(vec![file], true).await.expect("confirmed").rows, 5);
    assert_eq!(store.sums("billed_cost").await["USD"], 50 * domain::money::ATOMS_PER_UNIT);
}

#[tokio::test]
async fn a_bill_whose_credits_grow_is_refused_by_what_is_left_to_pay() {
    let store = Store::new().await;
    store.import(csv(&[row("acct", 1, "100"), row("acct", 2, "-90")])).await.expect("an import");
    let credited = csv(&[row("acct", 1, "100"), row("acct", 2, "-95")]);
    let error = store.import(&credited).await.expect_err("must be refused");
    assert!(error.to_string().contains("net from 10.00 to 5.00"), "{error}");
    let ImportError::WouldShrink(lost) = error else { panic!("{error}") };
    let amounts = [&lost[0].billed_before, &lost[0].billed_after, &lost[0].net_after].map(String::as_str);
    assert_eq!((amounts, lost[0].net_before.as_deref()), (["190.00", "195.00", "5.00"], Some("10.00")));
    let file = store.file("credited", &credited);
    store.import_set(vec![file], true).await.expect("confirmed");
    // Where nothing is left to pay, there is nothing to lose by this measure.
    let file = store.file("owed", csv(&[row("acct", 1, "100"), row("acct", 2, "-110")]));
    store.import_set(vec![file], true).await.expect("confirmed");
    store.import(csv(&[row("acct", 1, "100"), row("acct", 2, "-120")])).await.expect("an import");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_catalog = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("catalog.db"));
        if path.is_dir() {
            files.extend(walk(&path));
        } else if !is_catalog {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn lines_longer_than_a_day_have_files_of_their_own_and_know_their_days() {
    let store = Store::in_zone("America/New_York".parse::<Zone>().expect("a zone")).await;
    let line = |billed: &str, start: &str, end: &str| {
        format!("{billed},{billed},USD,acct,2026-10-01,2026-11-01,{start},{end},Usage,Compute,,")
    };
    let rows = [
        line("1", "2026-10-02T00:00:00Z", "2026-10-02T01:00:00Z"), // still the first in New York
        line("2", "2026-10-02T00:00:00Z", "2026-10-03T00:00:00Z"), // two days there
        line("3", "2026-10-05T12:00:00Z", "2026-10-05T12:00:00Z"), // no end after its start
        line("4", "2026-10-06T12:00:00Z", ""),
        line("5", "", "2026-10-07T12:00:00Z"), // no start: the first day of the billing period
        line("6", "2026-08-30T12:00:00Z", "2026-08-30T13:00:00Z"), // before the billing period
    ];
    let report = store.import(csv(&rows)).await.expect("an import");
    let lines = store.lines().await;
    let expected = [
        ("2026-08-30", "2026-09-30", "6.00"),
        ("2026-09-30", "2026-09-30", "5.00"),
        ("2026-10-01", "2026-10-01", "1.00"),
        ("2026-10-01", "2026-10-02", "2.00"),
        ("2026-10-05", "2026-10-05", "3.00"),
        ("2026-10-06", "2026-10-06", "4.00"),
    ];
    let expected: Vec<_> =
        expected.map(|(from, to, billed)| (from.to_owned(), to.to_owned(), billed.to_owned())).into();
    assert_eq!((lines, store.files().await), (expected, 2));
    let warning = report.warnings.iter().find(|warning| warning.code == "charge_period").expect("a warning");
    assert_eq!((warning.count, warning.first.line), (3, 4));
}

#[tokio::test]
async fn null_costs_are_zero_and_counted() {
    let store = Store::new().await;
    let rows = [row("acct", 1, ""), row("acct", 2, "NULL"), row("acct", 3, "2")];
    let report = store.import(csv(&rows)).await.expect("an import");
    assert_eq!(report.totals[0].billed, "2.00");
    assert_eq!((report.warnings[0].code, report.warnings[0].count), ("null_cost", 2));
}

#[tokio::test]
async fn imports_at_the_same_time_all_count() {
    let store = Store::new().await;
    let files: Vec<_> =
        (0..6).map(|at| store.file(&format!("{at}"), csv(&[row(&format!("acct{at}"), 1, "1")]))).collect();
    let imports = files.into_iter().enumerate().map(|(at, file)| {
        let source = if at % 2 == 0 { "aws" } else { "gcp" };
        let context = store.context.clone();
        async move { import_focus(&context, source, vec![file], false, Arc::new(|_| ())).await }
    });
    for report in futures::future::join_all(imports).await {
        assert!(!report.expect("an import").unchanged);
    }
    assert_eq!(store.sums("billed_cost").await["USD"], 6 * domain::money::ATOMS_PER_UNIT);
}

#[tokio::test]
async fn many_accounts_in_one_file_are_told_apart() {
    let store = Store::new().await;
    let rows: Vec<String> = (0..700).map(|at| row(&format!("acct{}", at % 350), 1 + at % 28, "1.5")).collect();
    let report = store.import(csv(&rows)).await.expect("an import");
    assert_eq!((report.billing_periods.len(), store.files().await), (350, 350));
    assert!(report.billing_periods.iter().all(|key| key.rows == 2));
    assert_eq!(store.sums("billed_cost").await["USD"], 1050 * domain::money::ATOMS_PER_UNIT);
    assert!(HEADER.starts_with("BilledCost"));
}

#[tokio::test]
async fn an_import_that_is_cancelled_while_it_reads_or_writes_leaves_nothing() {
    for before in [0, 1] {
        let store = Store::new().await;
        let file = store.file("bill", csv(&ten_rows()));
        let cancel = Cancel::default();
        let asking = cancel.clone();
        let at = move |progress: ImportProgress| {
            if progress.before == before {
                asking.ask("ann");
            }
        };
        let files = vec![file.clone()];
        let refused = import_focus_unless(&store.context, "aws", files, false, Arc::new(at), &cancel).await;
        assert!(matches!(refused, Err(ImportError::Cancelled)), "{before}: {refused:?}");
        assert_eq!((store.version().await, store.files().await), (0, 0), "{before}");
        let again = store.import_set(vec![file], false).await.expect("an import");
        assert_eq!((again.rows, again.unchanged), (10, false), "{before}");
    }
}

/// The data files in a folder of the lake, whether a commit names them or not.
fn data_files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => data_files(&path),
        false => usize::from(path.extension().is_some_and(|extension| extension == "parquet")),
    };
    entries.map(count).sum()
}

#[tokio::test]
async fn an_import_that_is_cancelled_late_removes_the_files_that_it_had_written() {
    let store = Store::new().await;
    // So many accounts are written in two readings.
    let rows: Vec<String> = (0..350).map(|at| row(&format!("acct{at}"), 1 + at % 28, "1.5")).collect();
    let file = store.file("bill", csv(&rows));
    let lake = store.folder.path().join("lake/cost_lines");
    let (cancel, readings) = (Cancel::default(), Arc::new(AtomicUsize::new(0)));
    let (asking, seen, folder) = (cancel.clone(), Arc::clone(&readings), lake.clone());
    let at = move |progress: ImportProgress| {
        assert_eq!(progress.readings, if progress.before == 0 { 2 } else { 3 });
        if progress.before > 0 && seen.fetch_add(1, Ordering::Relaxed) == 1 {
            assert!(data_files(&folder) > 0, "the files of the first reading are complete");
            asking.ask("ann");
        }
    };
    let refused = import_focus_unless(&store.context, "aws", vec![file], false, Arc::new(at), &cancel).await;
    assert!(matches!(refused, Err(ImportError::Cancelled)), "{refused:?}");
    assert_eq!((readings.load(Ordering::Relaxed), data_files(&lake)), (2, 0));
}

/// Imports accounts `acct` and `other`, while another process imports the same of `other` first and then does `beside`.
async fn overtaken(store: &Store, beside: impl Fn() + Send + Sync + 'static) -> Result<ImportReport, ImportError> {
    let lake = Lake::open(&store.folder.path().join("lake"), NOON).await.expect("the same lake");
    let other = ImportContext { lake, ..store.context.clone() };
    let first = store.file("first", csv(&[row("other", 1, "7")]));
    let (handle, is_done) = (tokio::runtime::Handle::current(), AtomicBool::new(false));
    let at = move |progress: ImportProgress| {
        if progress.before > 0 && !is_done.swap(true, Ordering::Relaxed) {
            let import = import_focus(&other, "aws", vec![first.clone()], false, Arc::new(|_| ()));
            assert!(!handle.block_on(import).expect("an import").unchanged);
            beside();
        }
    };
    let both = store.file("both", csv(&[row("acct", 1, "1"), row("other", 1, "7")]));
    import_focus(&store.context, "aws", vec![both], false, Arc::new(at)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_stored_meanwhile_is_not_left_behind_as_a_file_of_nobody() {
    let store = Store::new().await;
    let report = overtaken(&store, || ()).await.expect("an import");
    let unchanged: Vec<bool> = report.billing_periods.iter().map(|key| key.unchanged).collect();
    assert_eq!(unchanged, [false, true], "the second attempt has one key only");
    assert_eq!((store.files().await, data_files(&store.folder.path().join("lake/cost_lines"))), (2, 2));
    assert_eq!(store.sums("billed_cost").await["USD"], 8 * domain::money::ATOMS_PER_UNIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_table_cannot_be_read_for_another_attempt_leaves_nothing() {
    let store = Store::new().await;
    let table = store.folder.path().join("lake/cost_lines");
    let entry = table.join("_delta_log/00000000000000000001.json");
    let damage = move || std::fs::write(&entry, "no log").expect("the entry of the other import");
    let refused = overtaken(&store, damage).await;
    assert!(matches!(refused, Err(ImportError::Lake(_))), "{refused:?}");
    assert_eq!(data_files(&table), 1, "that of the other import");
}

#[tokio::test]
async fn a_file_that_is_twice_in_a_set_counts_twice_and_is_told() {
    let store = Store::new().await;
    let (rows, others) = (ten_rows(), [row("acct", 20, "3"), row("other", 1, "4")]);
    let mut reversed = rows.clone();
    reversed.reverse();
    let set =
        [("a", csv(&rows)), ("b", csv(&others)), ("a (1)", csv(&reversed)), ("empty", csv(&[])), ("none", csv(&[]))];
    let files = set.iter().map(|(name, bill)| store.file(name, bill)).collect();
    let report = store.import_set(files, false).await.expect("an import");
    let told: Vec<_> = report.warnings.iter().map(|one| (one.code, one.count, one.first.file.as_str())).collect();
    assert_eq!((report.rows, told), (22, vec![("repeated_file", 10, "a (1)")]));
    let file = store.file("a", csv(&[rows, others.to_vec()].concat()));
    assert!(store.import_set(vec![file], true).await.expect("an import").warnings.is_empty());
}
