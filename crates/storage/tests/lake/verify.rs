use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::lake::{Commit, FileReport, LogHead, SyncedLocalStore, Table, verify_files};
use tempfile::TempDir;

use super::sample::{self, DAY, NOW};

const TABLE: Table = Table::Ledger;

/// A ledger with three postings, a checkpoint, and its head.
async fn ledger(folder: &Path, commits: usize) -> LogHead {
    let lake = sample::open(folder).await;
    let mut pinned = lake.pin_table(TABLE).await.unwrap();
    for number in 0..3 {
        pinned = sample::append(&lake, &pinned, &sample::rows(TABLE, 4, DAY + number)).await;
    }
    while pinned.version() < commits as u64 {
        pinned = lake.commit(&pinned, Commit::new(NOW, "posting")).await.unwrap();
    }
    pinned.log_head()
}

async fn report(folder: &Path, expected: Option<&LogHead>) -> FileReport {
    let store = SyncedLocalStore::new(&folder.join("lake")).unwrap();
    verify_files(Arc::new(store), TABLE, expected).await.unwrap()
}

fn stored(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("lake/ledger")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let into = if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut found };
            into.push(entry.path());
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn an_untouched_table_has_no_faults() {
    let folder = TempDir::new().unwrap();
    let head = ledger(folder.path(), 102).await;
    let report = report(folder.path(), Some(&head)).await;
    assert_eq!(report.faults, []);
    assert_eq!(report.strays, Vec::<String>::new());
    assert_eq!((report.versions, report.data_files, report.head), (103, 3, Some(head)));
}

/// Every file of the table, each changed in many places, one bit at a time.
#[tokio::test]
async fn one_flipped_bit_anywhere_is_found_and_named() {
    let folder = TempDir::new().unwrap();
    let head = ledger(folder.path(), 101).await;
    let mut tried = 0;
    for path in stored(folder.path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let original = std::fs::read(&path).unwrap();
        let stride = (original.len() / 3).max(1);
        if name.ends_with(".json")
            && !["0000.json", "0002.json", "0050.json", "0101.json"].iter().any(|end| name.ends_with(end))
        {
            continue;
        }
        for at in (0..original.len()).step_by(stride) {
            let mut changed = original.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&path, &changed).unwrap();
            let report = report(folder.path(), Some(&head)).await;
            let named: BTreeSet<&str> =
                report.faults.iter().map(|fault| fault.file.rsplit('/').next().unwrap()).collect();
            // The hint only says where a checkpoint is: a change to it is found, or says the same.
            assert!(
                named.contains(name.as_str()) || name == "_last_checkpoint",
                "{name} byte {at}: {:?}",
                report.faults
            );
            tried += 1;
        }
        std::fs::write(&path, &original).unwrap();
    }
    assert!(20 < tried, "only {tried} bits were tried");
    assert_eq!(report(folder.path(), Some(&head)).await.faults, []);
    println!("{tried} bits flipped, {tried} found or harmless");
}

#[tokio::test]
async fn a_damaged_checkpoint_or_hint_never_changes_what_is_read() {
    let folder = TempDir::new().unwrap();
    ledger(folder.path(), 101).await;
    let log = folder.path().join("lake/ledger/_delta_log");
    for name in ["_last_checkpoint", "00000000000000000100.checkpoint.parquet"] {
        let path = log.join(name);
        let original = std::fs::read(&path).unwrap();
        for at in (0..original.len()).step_by(original.len() / 12 + 1) {
            let mut changed = original.clone();
            changed[at] ^= 0x10;
            std::fs::write(&path, &changed).unwrap();
            let pinned = sample::open(folder.path()).await.pin_table(TABLE).await.unwrap();
            assert_eq!((pinned.version(), pinned.files().len(), pinned.rows()), (101, 3, 12), "{name} byte {at}");
        }
        std::fs::write(&path, &original).unwrap();
    }
}

#[tokio::test]
async fn a_changed_data_file_is_never_read() {
    let folder = TempDir::new().unwrap();
    ledger(folder.path(), 3).await;
    let data = stored(folder.path()).into_iter().find(|path| path.extension().unwrap() == "parquet").unwrap();
    let original = std::fs::read(&data).unwrap();
    for at in (0..original.len()).step_by(original.len() / 20 + 1) {
        let mut changed = original.clone();
        changed[at] ^= 1;
        std::fs::write(&data, &changed).unwrap();
        let pinned = sample::open(folder.path()).await.pin_table(TABLE).await.unwrap();
        let error = sample::session(&pinned).sql("SELECT sum(amount) FROM ledger").await.unwrap().collect().await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("is damaged: its bytes are not those that were committed"), "byte {at}: {error}");
    }
    std::fs::write(&data, &original).unwrap();
    let pinned = sample::open(folder.path()).await.pin_table(TABLE).await.unwrap();
    assert_eq!(sample::count(&pinned).await, 12);
}

/// The newest entry has no successor that names its hash; its own seal tells.
#[tokio::test]
async fn a_flipped_bit_in_the_newest_entry_stops_the_opening() {
    let folder = TempDir::new().unwrap();
    ledger(folder.path(), 3).await;
    let path = folder.path().join("lake/ledger/_delta_log/00000000000000000003.json");
    let original = std::fs::read(&path).unwrap();
    for bit in 0..original.len() * 8 {
        let mut changed = original.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if bit % 7 != 0 {
            continue;
        }
        std::fs::write(&path, &changed).unwrap();
        let opened = storage::lake::Lake::open(&folder.path().join("lake"), NOW).await;
        assert!(opened.is_err(), "bit {bit} opened");
    }
}

#[tokio::test]
async fn missing_cut_and_foreign_files_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let head = ledger(folder.path(), 3).await;
    let data: Vec<PathBuf> =
        stored(folder.path()).into_iter().filter(|path| path.extension().unwrap() == "parquet").collect();
    let stray = data[0].with_file_name("part-left-by-a-crash.zstd.parquet");
    std::fs::write(&stray, b"half a file").unwrap();
    let found = report(folder.path(), Some(&head)).await;
    assert_eq!(found.faults, []);
    assert_eq!(found.strays.len(), 1);

    std::fs::remove_file(&data[0]).unwrap();
    std::fs::write(&data[1], b"short").unwrap();
    let found = report(folder.path(), Some(&head)).await;
    assert_eq!(found.faults.len(), 2, "{:?}", found.faults);

    // The newest entry taken away: only a head known from elsewhere tells.
    std::fs::remove_file(folder.path().join("lake/ledger/_delta_log/00000000000000000003.json")).unwrap();
    let found = report(folder.path(), Some(&head)).await;
    assert!(found.faults.iter().any(|fault| fault.version == Some(3) && fault.reason.contains("missing")), "{found:?}");
}

#[tokio::test]
async fn a_damaged_or_missing_entry_stops_the_opening_and_is_named() {
    let folder = TempDir::new().unwrap();
    ledger(folder.path(), 3).await;
    let path = folder.path().join("lake/ledger/_delta_log/00000000000000000002.json");
    let original = std::fs::read(&path).unwrap();
    let text = String::from_utf8(original.clone()).unwrap();
    std::fs::write(&path, text.replace("\"operation\":\"append\"", "\"operation\":\"appenD\"")).unwrap();
    let error = storage::lake::Lake::open(&folder.path().join("lake"), NOW).await.unwrap_err();
    assert!(error.to_string().starts_with("ledger/_delta_log/00000000000000000002.json is damaged"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = storage::lake::Lake::open(&folder.path().join("lake"), NOW).await.unwrap_err();
    assert!(
        error.to_string().starts_with("ledger/_delta_log/00000000000000000002.json is damaged: it is missing"),
        "{error}"
    );
}
