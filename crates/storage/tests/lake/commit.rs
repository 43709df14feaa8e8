use std::collections::BTreeMap;

use serde_json::json;
use storage::lake::{Commit, Lake, LakeError, Table};
use tempfile::TempDir;

use super::sample::{self, DAY, NOW};

#[tokio::test]
async fn the_second_of_two_commits_on_one_version_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let other = sample::open(folder.path()).await;
    let pinned = lake.pin_table(Table::Ledger).await.unwrap();
    let stale = other.pin_table(Table::Ledger).await.unwrap();
    let first = sample::append(&lake, &pinned, &sample::rows(Table::Ledger, 3, DAY)).await;

    let error = other.commit(&stale, Commit::new(NOW, "posting")).await.unwrap_err();

    assert!(matches!(error, LakeError::Conflict { table: Table::Ledger, version: 1 }), "{error:?}");
    let now = other.pin_table(Table::Ledger).await.unwrap();
    assert_eq!(now.log_head(), first.log_head());
    sample::append(&other, &now, &sample::rows(Table::Ledger, 2, DAY)).await;
    assert_eq!(sample::count(&lake.pin_table(Table::Ledger).await.unwrap()).await, 5);
    assert_eq!(sample::count(&first).await, 3, "a pinned version stays as it is");
}

#[tokio::test]
async fn a_transaction_number_counts_once() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let number = |version| Commit { txn: Some(("wal-1".to_owned(), version)), ..Commit::new(NOW, "flush") };
    let pinned = lake.pin_table(Table::Usage).await.unwrap();
    let pinned = lake.commit(&pinned, number(7)).await.unwrap();
    assert_eq!(pinned.txn("wal-1"), Some(7));

    for replayed in [7, 6, i64::MIN] {
        let error = lake.commit(&pinned, number(replayed)).await.unwrap_err();
        assert!(matches!(error, LakeError::TxnReplayed { latest: 7, .. }), "{error:?}");
    }
    let pinned = sample::open(folder.path()).await.pin_table(Table::Usage).await.unwrap();
    assert_eq!((pinned.version(), pinned.txn("wal-1"), pinned.txn("wal-2")), (1, Some(7), None));
    lake.commit(&pinned, number(8)).await.unwrap();
}

#[tokio::test]
async fn files_are_replaced_in_one_commit_but_never_in_the_ledger() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for table in [Table::CostLines, Table::Ledger] {
        sample::append_newest(&lake, table, &sample::rows(table, 5, DAY)).await;
    }
    let replace = async |table: Table| {
        let pinned = lake.pin_table(table).await.unwrap();
        let mut writer = lake.partitioned(table);
        writer.write(&sample::rows(table, 2, DAY)).await.unwrap();
        let adds = writer.finish().await.unwrap();
        let removes = pinned.files().map(|file| file.path.clone()).collect();
        lake.commit(&pinned, Commit { adds, removes, ..Commit::new(NOW, "import") }).await
    };

    assert_eq!(sample::count(&replace(Table::CostLines).await.unwrap()).await, 2);
    assert!(matches!(replace(Table::Ledger).await.unwrap_err(), LakeError::AppendOnly(Table::Ledger)));
    assert_eq!(sample::count(&lake.pin_table(Table::Ledger).await.unwrap()).await, 5);

    let pinned = lake.pin_table(Table::CostLines).await.unwrap();
    let unknown = Commit { removes: vec!["no such file".to_owned()], ..Commit::new(NOW, "import") };
    assert!(matches!(lake.commit(&pinned, unknown).await.unwrap_err(), LakeError::BadCommit { .. }));
}

#[tokio::test]
async fn tags_and_metadata_are_found_again() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let pinned = lake.pin_table(Table::CostLines).await.unwrap();
    let mut writer = lake.partitioned(Table::CostLines);
    writer.write(&sample::rows(Table::CostLines, 5, DAY)).await.unwrap();
    let mut adds = writer.finish().await.unwrap();
    adds[0].tags.insert("key".to_owned(), "aws|1234|2026-03".to_owned());
    let metadata = json!({ "import_id": "i-1", "rows": 5, "billed": "12.50", "exact": 0.1 });
    lake.commit(&pinned, Commit { adds, metadata: metadata.clone(), ..Commit::new(NOW, "import") }).await.unwrap();

    let pinned = sample::open(folder.path()).await.pin_table(Table::CostLines).await.unwrap();
    let file = pinned.files().next().unwrap();
    assert_eq!(file.tags["key"], "aws|1234|2026-03");
    assert_eq!(file.partition("source"), Some("aws / main"));
    assert_eq!(file.rows, 5);
    assert_eq!(file.sha256().unwrap().len(), 64);
    let head = pinned.head_commit().await.unwrap();
    assert_eq!((head.version, head.at, head.operation.as_str(), &head.metadata), (1, NOW, "import", &metadata));
    assert_eq!(pinned.commits_since(None).await.unwrap().len(), 2);
    assert_eq!(pinned.commits_since(Some(0)).await.unwrap(), [head]);
    assert_eq!(pinned.commits_since(Some(1)).await.unwrap(), []);
    assert_eq!(pinned.log_hash(1).await.unwrap(), pinned.log_head().sha256);
}

#[tokio::test]
async fn three_hundred_commits_open_by_a_checkpoint_to_the_same_state() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let mut pinned = lake.pin_table(Table::Ledger).await.unwrap();
    for number in 0..305 {
        let rows =
            if number % 10 == 0 { sample::rows(Table::Ledger, 3, DAY + number) } else { continue_without_rows() };
        let mut writer = lake.partitioned(Table::Ledger);
        writer.write(&rows).await.unwrap();
        let adds = writer.finish().await.unwrap();
        let txn = Some(("posting".to_owned(), i64::from(number)));
        pinned = lake.commit(&pinned, Commit { adds, txn, ..Commit::new(NOW, "posting") }).await.unwrap();
    }
    let log = folder.path().join("lake/ledger/_delta_log");
    for version in [100, 200, 300] {
        assert!(log.join(format!("{version:020}.checkpoint.parquet")).exists(), "checkpoint {version}");
    }

    let opened = sample::open(folder.path()).await.pin_table(Table::Ledger).await.unwrap();
    same(&opened, &pinned);
    assert_eq!(sample::count(&opened).await, 3 * 31);
    std::fs::remove_file(log.join("_last_checkpoint")).unwrap();
    let replayed = sample::open(folder.path()).await.pin_table(Table::Ledger).await.unwrap();
    same(&replayed, &pinned);
    let old = lake.pin_at(&BTreeMap::from([(Table::Ledger, 11)])).await.unwrap();
    assert_eq!(sample::count(old.table(Table::Ledger)).await, 6);
}

fn continue_without_rows() -> arrow::array::RecordBatch {
    arrow::array::RecordBatch::new_empty(Table::Ledger.schema())
}

fn same(left: &storage::lake::PinnedTable, right: &storage::lake::PinnedTable) {
    assert_eq!(left.log_head(), right.log_head());
    assert!(left.files().eq(right.files()));
    assert!(left.txns().eq(right.txns()));
}

#[tokio::test]
async fn another_format_version_is_refused() {
    let folder = TempDir::new().unwrap();
    let id = sample::open(folder.path()).await.id().to_owned();
    assert_eq!(sample::open(folder.path()).await.id(), id, "the id stays");
    let facts = folder.path().join("lake/lake.json");
    let text = std::fs::read_to_string(&facts).unwrap();
    std::fs::write(&facts, text.replace("\"format_version\":1", "\"format_version\":2")).unwrap();

    let error = Lake::open(&folder.path().join("lake"), NOW).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "the lake has format version 2, this program reads 1; use a matching version of apportion"
    );
}
