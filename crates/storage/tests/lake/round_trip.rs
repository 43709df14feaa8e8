use arrow::compute::concat_batches;
use storage::lake::{DataFileWriter, Lake, LakeError, PartitionValues, Table};
use tempfile::TempDir;

use super::sample::{self, DAY, NOW};

#[tokio::test]
async fn every_table_comes_back_as_it_was_written() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for table in Table::ALL {
        let written = sample::rows(table, 100, DAY);
        sample::append_newest(&lake, table, &written).await;
    }

    let lake = sample::open(folder.path()).await;
    let pinned = lake.pin().await.unwrap();
    for table in Table::ALL {
        let pinned = pinned.table(table);
        let batches = sample::query(pinned, &format!("SELECT * FROM {table}")).await;
        let read = concat_batches(&table.schema(), &batches).unwrap();
        assert_eq!(read, sample::rows(table, 100, DAY), "{table}");
        assert_eq!(pinned.version(), 1);
        assert_eq!(pinned.rows(), 100);
    }
}

#[tokio::test]
async fn an_empty_table_is_scanned_too() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let pinned = lake.pin().await.unwrap();
    for table in Table::ALL {
        assert_eq!(sample::count(pinned.table(table)).await, 0, "{table}");
        let filtered = format!("SELECT * FROM {table} WHERE {} IS NOT NULL", table.partition_columns()[0]);
        assert_eq!(
            sample::query(pinned.table(table), &filtered).await.iter().map(|batch| batch.num_rows()).sum::<usize>(),
            0
        );
    }
}

#[tokio::test]
async fn large_batches_are_cut_into_row_groups_and_days_into_files() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let mut writer = lake.partitioned(Table::Usage);
    for day in 0..40 {
        writer.write(&sample::rows(Table::Usage, 5_000, DAY + day)).await.unwrap();
    }
    let files = writer.finish().await.unwrap();
    assert_eq!(files.len(), 40, "one file per day");
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 200_000);
}

#[tokio::test]
async fn rows_go_to_the_file_of_their_day_in_whatever_order_they_come() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    // Days as they follow each other: 0 1 0 1 1 0.
    let parts =
        [(3, 0), (2, 1), (1, 0), (4, 1), (2, 1), (5, 0)].map(|(rows, day)| sample::rows(Table::Usage, rows, DAY + day));
    let mixed = concat_batches(&Table::Usage.schema(), &parts).unwrap();
    sample::append_newest(&lake, Table::Usage, &mixed).await;
    let pinned = lake.pin_table(Table::Usage).await.unwrap();
    assert_eq!(pinned.files().len(), 2);
    for (day, of_day) in [(0, [0, 2, 5]), (1, [1, 3, 4])] {
        let expected = concat_batches(&Table::Usage.schema(), of_day.map(|at| &parts[at])).unwrap();
        let date = format!("usage_date = DATE '{}'", domain::Day::from_epoch_days(DAY + day));
        let found = sample::query(&pinned, &format!("SELECT * FROM usage WHERE {date}")).await;
        assert_eq!(concat_batches(&Table::Usage.schema(), &found).unwrap(), expected, "{date}");
    }
}

#[tokio::test]
async fn a_null_partition_is_a_partition() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let rows = sample::rows(Table::Ledger, 1, DAY);
    let mut file = ledger_file(&lake, None).await;
    let without_month = rows.project(&without(&rows, "charge_month")).unwrap();
    file.write(&without_month).await.unwrap();
    let adds = vec![file.finish().await.unwrap()];
    let pinned = lake.pin_table(Table::Ledger).await.unwrap();
    let pinned =
        lake.commit(&pinned, storage::lake::Commit { adds, ..storage::lake::Commit::new(NOW, "close") }).await.unwrap();
    sample::append(&lake, &pinned, &rows).await;

    let pinned = sample::open(folder.path()).await.pin_table(Table::Ledger).await.unwrap();
    assert_eq!(sample::query(&pinned, "SELECT line FROM ledger WHERE charge_month IS NULL").await[0].num_rows(), 1);
    assert_eq!(sample::query(&pinned, "SELECT line FROM ledger WHERE charge_month = '2026-03'").await[0].num_rows(), 1);
    assert_eq!(sample::count(&pinned).await, 2);
}

#[tokio::test]
async fn rows_of_another_shape_or_partition_are_refused() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let rows = sample::rows(Table::Ledger, 2, DAY);

    let mut file = ledger_file(&lake, Some("2026-02")).await;
    assert!(matches!(file.write(&rows).await, Err(LakeError::BadBatch { .. })), "rows of March in February's file");

    let mut file = ledger_file(&lake, Some("2026-03")).await;
    let without_amount = rows.project(&without(&rows, "amount")).unwrap();
    assert!(matches!(file.write(&without_amount).await, Err(LakeError::BadBatch { .. })));

    let wrong = lake.data_file(Table::Ledger, PartitionValues::new()).await;
    assert!(matches!(wrong, Err(LakeError::BadBatch { .. })));
}

async fn ledger_file(lake: &Lake, month: Option<&str>) -> DataFileWriter {
    let partition = PartitionValues::from([("charge_month".to_owned(), month.map(str::to_owned))]);
    lake.data_file(Table::Ledger, partition).await.unwrap()
}

fn without(rows: &arrow::array::RecordBatch, column: &str) -> Vec<usize> {
    let schema = rows.schema();
    (0..rows.num_columns()).filter(|index| schema.field(*index).name() != column).collect()
}
