use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::Field;
use domain::snapshot::{Measured, Measurement, SnapshotKind, SnapshotRow};
use domain::{Day, Instant, Quantity};
use storage::lake::{Commit, LakeError, PartitionValues, Table, snapshot_rows};
use tempfile::TempDir;

use super::sample::{self, NOW};

fn day() -> Day {
    "2026-03-01".parse().unwrap()
}

fn row(source: &str, tenant: &str, metric: &str, measured: Measured) -> SnapshotRow {
    let note = measured.quantity().is_none().then(|| Arc::from("“ü” was not there"));
    SnapshotRow {
        source: source.into(),
        snapshot_date: day(),
        tenant: tenant.into(),
        metric: metric.into(),
        measurement: Measurement { kind: SnapshotKind::of_metric(metric), measured, note },
        taken_at: Instant::from_micros(NOW.micros() + 600_000_001),
    }
}

fn rows(source: &str) -> Vec<SnapshotRow> {
    let quantity = |atoms: i128| Quantity::from_atoms(atoms).unwrap();
    vec![
        row(source, "acme", "api_call_count_24h", Measured::Exactly(quantity(10_i128.pow(27)))),
        row(source, "acme", "storage_bytes", Measured::Degraded(quantity(0))),
        row(source, "ümlaut", "member_count", Measured::Nothing),
        row(source, "ümlaut", "temperature", Measured::Exactly(quantity(-1))),
    ]
}

#[test]
fn snapshots_come_back_as_they_went() {
    let batch = snapshot_rows::to_batch(&rows("app")).unwrap();
    assert_eq!(batch.schema(), Table::Snapshots.schema());
    assert_eq!(snapshot_rows::from_batch(&batch).unwrap(), rows("app"));
}

#[test]
fn a_quantity_that_contradicts_its_quality_was_never_written() {
    let batch = snapshot_rows::to_batch(&rows("app")).unwrap();
    let quality: ArrayRef = Arc::new(StringArray::from(vec!["missing"; 4]));
    let schema = batch.schema();
    let column = |(field, column): (&Arc<Field>, &ArrayRef)| match field.name().as_str() {
        "quality" => Arc::clone(&quality),
        _ => Arc::clone(column),
    };
    let columns = schema.fields().iter().zip(batch.columns()).map(column).collect();
    let changed = RecordBatch::try_new(batch.schema(), columns).unwrap();
    assert!(matches!(snapshot_rows::from_batch(&changed), Err(LakeError::Damaged { .. })));
}

#[tokio::test]
async fn the_rows_of_a_day_and_source_are_found_by_the_tag_of_their_file() {
    let folder = TempDir::new().unwrap();
    let lake = sample::open(folder.path()).await;
    let long = "s".repeat(100);
    let mut commit = Commit::new(NOW, "snapshot");
    for source in ["app", long.as_str()] {
        let partition = PartitionValues::from([("snapshot_date".to_owned(), Some(day().to_string()))]);
        let mut writer = lake.data_file(Table::Snapshots, partition).await.unwrap();
        writer.write(&snapshot_rows::to_batch(&rows(source)).unwrap()).await.unwrap();
        let mut file = writer.finish().await.unwrap();
        file.tags.insert(snapshot_rows::SOURCE_TAG.to_owned(), source.to_owned());
        commit.adds.push(file);
    }
    let pinned = lake.pin_table(Table::Snapshots).await.unwrap();
    lake.commit(&pinned, commit).await.unwrap();

    let pinned = sample::open(folder.path()).await.pin_table(Table::Snapshots).await.unwrap();
    for source in ["app", long.as_str()] {
        assert_eq!(snapshot_rows::rows_of_day(&pinned, source, day()).await.unwrap(), rows(source));
    }
    assert_eq!(snapshot_rows::rows_of_day(&pinned, "ap", day()).await.unwrap(), []);
    assert_eq!(snapshot_rows::rows_of_day(&pinned, "app", day().plus(1)).await.unwrap(), []);
}
