//! deltalake-core reads the log on its own: same version, files, transactions and schema.

use std::collections::BTreeSet;

use deltalake_core::{DeltaTable, DeltaTableBuilder};
use domain::Instant;
use storage::lake::{Commit, Table};
use tempfile::TempDir;
use url::Url;

use super::sample::{self, DAY, NOW};

async fn opened(folder: &TempDir, table: Table) -> DeltaTable {
    let path = folder.path().canonicalize().unwrap().join("lake").join(table.name());
    let url = Url::from_directory_path(path).unwrap();
    DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deltalake_reads_the_same_tables() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for table in Table::ALL {
        let pinned = sample::append_newest(&lake, table, &sample::rows(table, 10, DAY)).await;
        let mut commit = Commit::new(Instant::from_micros(NOW.micros() + 1), "flush");
        commit.txn = Some(("wal-1".to_owned(), 3));
        if !table.append_only() {
            commit.removes = pinned.files().take(1).map(|file| file.path.clone()).collect();
        }
        lake.commit(&pinned, commit).await.unwrap();
    }
    for table in Table::ALL {
        let ours = lake.pin_table(table).await.unwrap();
        let theirs = opened(&folder, table).await;
        let snapshot = theirs.snapshot().unwrap();
        assert_eq!(snapshot.version(), 2, "{table}");
        let files = snapshot.log_data().iter().map(|file| file.path().into_owned()).collect::<BTreeSet<_>>();
        assert_eq!(files, ours.files().map(|file| file.path.clone()).collect(), "{table}");
        let columns: Vec<_> = snapshot.schema().fields().map(|field| field.name().clone()).collect();
        let expected: Vec<_> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(columns, expected, "{table}");
        let txn = snapshot.transaction_version(theirs.log_store().as_ref(), "wal-1").await.unwrap();
        assert_eq!(txn, Some(3), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_one_that_deltalake_opens() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let mut pinned = lake.pin_table(Table::Usage).await.unwrap();
    for number in 0..100 {
        pinned = sample::append(&lake, &pinned, &sample::rows(Table::Usage, 1, DAY + number)).await;
    }
    let log = folder.path().join("lake/usage/_delta_log");
    for version in 0..100 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let theirs = opened(&folder, Table::Usage).await;
    assert_eq!(theirs.snapshot().unwrap().log_data().num_files(), 100, "read from the checkpoint alone");
}
