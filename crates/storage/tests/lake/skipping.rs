use datafusion::prelude::{Expr, SessionContext, col, lit};
use datafusion::scalar::ScalarValue;
use storage::lake::{LakeTable, PinnedTable, Table};
use tempfile::TempDir;

use super::sample::{self, DAY};

fn day(days: i32) -> Expr {
    lit(ScalarValue::Date32(Some(days)))
}

fn opened(pinned: &PinnedTable, filter: Expr) -> usize {
    LakeTable::new(pinned).files_matching(&SessionContext::new().state(), &[filter]).unwrap().len()
}

#[tokio::test]
async fn days_outside_the_filter_are_not_opened() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for number in 0..10 {
        for table in [Table::Usage, Table::CostLines, Table::Ledger] {
            sample::append_newest(&lake, table, &sample::rows(table, 20, DAY + number)).await;
        }
    }
    let pinned = lake.pin().await.unwrap();
    let usage = pinned.table(Table::Usage);
    assert_eq!(usage.files().len(), 10);
    assert_eq!(opened(usage, col("usage_date").eq(day(DAY + 3))), 1);
    assert_eq!(opened(usage, col("usage_date").between(day(DAY + 3), day(DAY + 5))), 3);
    assert_eq!(opened(usage, col("usage_date").gt(day(DAY + 99))), 0);
    assert_eq!(opened(usage, col("meter").eq(lit("meter-7"))), 10, "in the range of every file");
    assert_eq!(opened(usage, col("meter").eq(lit("zzz"))), 0);

    let lines = pinned.table(Table::CostLines);
    let touches = col("charge_date_from").lt_eq(day(DAY + 2)).and(col("charge_date_to").gt_eq(day(DAY + 2)));
    assert_eq!(opened(lines, touches), 1);
    assert_eq!(opened(lines, col("source").eq(lit("aws / main"))), 10);
    assert_eq!(opened(lines, col("source").eq(lit("gcp"))), 0);
    assert_eq!(opened(lines, col("billing_month").eq(lit("2026-04"))), 0);

    let ledger = pinned.table(Table::Ledger);
    assert_eq!(opened(ledger, col("charge_date").eq(day(DAY + 9))), 1);
    assert_eq!(opened(ledger, col("charge_month").is_null()), 0);
    assert_eq!(opened(ledger, col("posting").gt(lit(19_i64))), 0);
}

#[tokio::test]
async fn a_filter_gives_the_same_rows_whether_it_skips_or_not() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    for number in 0..4 {
        sample::append_newest(&lake, Table::Usage, &sample::rows(Table::Usage, 30, DAY + number)).await;
    }
    let pinned = lake.pin_table(Table::Usage).await.unwrap();
    let count = async |filter: &str| {
        let sql = format!("SELECT usage_date, tenant FROM usage WHERE {filter}");
        sample::query(&pinned, &sql).await.iter().map(|batch| batch.num_rows()).sum::<usize>()
    };
    assert_eq!(count("usage_date = DATE '2026-03-02'").await, 30);
    assert_eq!(count("usage_date >= '2026-03-02' AND tenant = 'tenant-3'").await, 3);
    assert_eq!(count("labels['env'] IS NOT NULL").await, 80);
    assert_eq!(count("repo IS NULL").await, 40);
    let limited = sample::query(&pinned, "SELECT tenant FROM usage WHERE tenant = 'tenant-29' LIMIT 3").await;
    assert_eq!(limited.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3, "a limit applies after the filter");
}
