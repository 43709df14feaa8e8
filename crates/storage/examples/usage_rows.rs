//! Fills the table `usage` of a new data folder with rows for benchmarks: `usage_rows FOLDER ROWS TENANTS DATE`.
//!
//! Each row is one metered event of a shared cluster. Events arrive mixed; as metering does, rows are sorted by tenant,
//! meter and hour before they are written, so many at a time; unlike a roll-up, rows of one key are not merged. Everything
//! comes from a fixed sequence, so two runs write the same rows.

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use domain::{Day, Zone};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use storage::lake::{Commit, DataFolder, Lake, Table, schemas};

const METERS: [(&str, &str); 4] = [
    ("cpu_core_hours", "Core-Hours"),
    ("memory_gib_hours", "GiB-Hours"),
    ("network_gib", "GiB"),
    ("storage_gib_hours", "GiB-Hours"),
];
/// Rows that metering sorts at a time: the keys that its roll-up holds.
const SORTED_ROWS: u64 = 512 * 1024;
const HOUR_MICROS: i64 = 3_600_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, tenants, date] = arguments.as_slice() else {
        return Err("usage: usage_rows FOLDER ROWS TENANTS DATE".into());
    };
    let (rows, tenants): (u64, u64) = (rows.parse()?, tenants.parse()?);
    let day: Day = date.parse()?;
    std::fs::create_dir_all(folder)?;
    let folder = DataFolder::lock(Path::new(folder))?;
    let now = Zone::utc().start_of(day.plus(1));
    let lake = Lake::open(&folder.lake(), now).await?;
    let mut writer = lake.partitioned(Table::Usage);
    for first in (0..rows).step_by(usize::try_from(SORTED_ROWS)?) {
        writer.write(&batch(day, first, (first + SORTED_ROWS).min(rows), rows, tenants)?).await?;
    }
    let mut commit = Commit::new(now, "import");
    commit.adds = writer.finish().await?;
    commit.metadata = serde_json::json!({ "kind": "bench", "touched_days": [day.to_string()] });
    let pinned = lake.pin_table(Table::Usage).await?;
    let committed = lake.commit(&pinned, commit).await?;
    let files = committed.files().len();
    drop(writeln_stdout(&format!("{rows} rows in {files} files")));
    Ok(())
}

fn writeln_stdout(line: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")
}

/// A well-mixed number for each row (SplitMix64), so that neighbours have nothing in common.
fn mixed(row: u64) -> u64 {
    let mut z = row.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Rows `first` up to `end`.
fn batch(day: Day, first: u64, end: u64, rows: u64, tenants: u64) -> Result<RecordBatch, Box<dyn Error>> {
    let tenant_of = |row: &u64| mixed(*row) % tenants;
    let meter_of = |row: &u64| usize::try_from((mixed(*row) >> 32) % 4).expect("below four");
    let mut numbers: Vec<u64> = (first..end).collect();
    numbers.sort_by_key(|row| (tenant_of(row), meter_of(row), *row)); // hours rise with the rows
    let count = numbers.len();
    let tenant = |row: &u64| format!("tenant-{:06}", tenant_of(row));
    let meter = |row: &u64| METERS[meter_of(row)];
    let quantity = |row: &u64| Some(i128::from(mixed(row + rows) % 100_000 + 1) * 10_i128.pow(6));
    let start = Zone::utc().start_of(day).micros();
    let hour = |row: &u64| start + i64::try_from(row * 24 / rows).expect("below 24") * HOUR_MICROS;
    let texts = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
    let same = |value: &str| texts(vec![value.to_owned(); count]);
    let decimals = || -> Result<ArrayRef, Box<dyn Error>> {
        let array: Decimal128Array = numbers.iter().map(quantity).collect();
        Ok(Arc::new(array.with_precision_and_scale(38, 9)?))
    };
    let mut labels = schemas::map_builder();
    for _ in 0..count {
        labels.append(true)?;
    }
    let mut labels: Option<ArrayRef> = Some(Arc::new(labels.finish()));
    let schema = Table::Usage.schema();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for field in schema.fields() {
        columns.push(match field.name().as_str() {
            "usage_date" => Arc::new(Date32Array::from(vec![day.epoch_days(); count])),
            "hour" | "last_at" => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(numbers.iter().map(hour)).with_timezone("UTC"))
            }
            "tenant" => texts(numbers.iter().map(tenant).collect()),
            "cluster" => same("bench"),
            "labels" => labels.take().ok_or("one column of labels")?,
            "labels_key" => same("{}"),
            "meter" => texts(numbers.iter().map(|row| meter(row).0.to_owned()).collect()),
            "unit" => texts(numbers.iter().map(|row| meter(row).1.to_owned()).collect()),
            "kind" => same("counter"),
            "origin" => same("events"),
            "sum" | "min" | "max" | "last" => decimals()?,
            "count" => Arc::new(Int64Array::from(vec![1; count])),
            _ => new_null_array(field.data_type(), count),
        });
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}
