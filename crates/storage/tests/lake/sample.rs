//! Rows for any table, and the few steps that every test takes.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use datafusion::prelude::{SessionConfig, SessionContext};
use domain::Instant;
use storage::lake::{Commit, Lake, LakeTable, PinnedTable, Table, schemas};

/// 2026-03-01T00:00:00Z.
pub const NOW: Instant = Instant::from_micros(1_772_323_200_000_000);
/// 2026-03-01 in days since 1970.
pub const DAY: i32 = 20_513;

pub async fn open(folder: &Path) -> Lake {
    Lake::open(&folder.join("lake"), NOW).await.unwrap()
}

/// Rows of a table: every type, nulls wherever they may be, `day` in all day columns.
pub fn rows(table: Table, count: usize, day: i32) -> RecordBatch {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| column(field, count, day, table)).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn column(field: &Field, count: usize, day: i32, table: Table) -> ArrayRef {
    let partition = table.partition_columns().contains(&field.name().as_str());
    let present = |row: usize| partition || !field.is_nullable() || !row.is_multiple_of(3);
    let number = |row: usize| (0..count).contains(&row).then_some(row).filter(|row| present(*row));
    let each = 0..count;
    match field.data_type() {
        DataType::Utf8 if partition => Arc::new(StringArray::from(vec![partition_text(field.name()); count])),
        DataType::Utf8 => {
            let text = |row| number(row).map(|row| format!("{}-{row}", field.name()));
            Arc::new(each.map(text).collect::<StringArray>())
        }
        DataType::Date32 => Arc::new(each.map(|row| number(row).map(|_| day)).collect::<Date32Array>()),
        DataType::Int32 => Arc::new(each.map(|row| number(row).map(|row| row as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(each.map(|row| number(row).map(|row| row as i64)).collect::<Int64Array>()),
        DataType::Boolean => Arc::new(each.map(|row| number(row).map(|row| row % 2 == 0)).collect::<BooleanArray>()),
        DataType::Timestamp(..) => {
            let at = |row| number(row).map(|row| NOW.micros() + row as i64);
            Arc::new(each.map(at).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        DataType::Decimal128(precision, scale) => {
            let atoms = |row| number(row).map(|row| -(10_i128.pow(27)) + row as i128);
            let array = each.map(atoms).collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Map(..) => map(count),
        other => panic!("no sample for {other}"),
    }
}

fn map(count: usize) -> ArrayRef {
    let mut builder = schemas::map_builder();
    for row in 0..count {
        for key in ["env", "team"].iter().take(row % 3) {
            builder.keys().append_value(key);
            builder.values().append_value(format!("{key} “{row}”"));
        }
        builder.append(true).unwrap();
    }
    Arc::new(builder.finish())
}

fn partition_text(column: &str) -> &'static str {
    if column == "source" { "aws / main" } else { "2026-03" }
}

/// Commits rows in as many files as they have partitions.
pub async fn append(lake: &Lake, pinned: &PinnedTable, rows: &RecordBatch) -> PinnedTable {
    let mut writer = lake.partitioned(pinned.table());
    writer.write(rows).await.unwrap();
    let adds = writer.finish().await.unwrap();
    lake.commit(pinned, Commit { adds, ..Commit::new(NOW, "append") }).await.unwrap()
}

/// Appends rows to the newest version.
pub async fn append_newest(lake: &Lake, table: Table, rows: &RecordBatch) -> PinnedTable {
    let pinned = lake.pin_table(table).await.unwrap();
    append(lake, &pinned, rows).await
}

pub fn session(pinned: &PinnedTable) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    session.register_table(pinned.table().name(), Arc::new(LakeTable::new(pinned))).unwrap();
    session
}

pub async fn query(pinned: &PinnedTable, sql: &str) -> Vec<RecordBatch> {
    session(pinned).sql(sql).await.unwrap().collect().await.unwrap()
}

pub async fn count(pinned: &PinnedTable) -> i64 {
    let batches = query(pinned, &format!("SELECT count(*) FROM {}", pinned.table())).await;
    batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}
