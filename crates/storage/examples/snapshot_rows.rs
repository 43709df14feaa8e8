//! Fills the table `snapshots` of a new data folder for benchmarks: `snapshot_rows FOLDER TENANTS DAYS LAST_DATE`.
//!
//! Each tenant has the nine built-in metrics on every day, in whole units. Everything comes from a fixed sequence, so two
//! runs write the same rows.

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use domain::snapshot::{FIELDS, SnapshotKind};
use domain::{Day, Zone};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use storage::lake::{Commit, DataFolder, Lake, Table};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, tenants, days, last] = arguments.as_slice() else {
        return Err("usage: snapshot_rows FOLDER TENANTS DAYS LAST_DATE".into());
    };
    let (tenants, days): (u64, i32) = (tenants.parse()?, days.parse()?);
    let last: Day = last.parse()?;
    std::fs::create_dir_all(folder)?;
    let folder = DataFolder::lock(Path::new(folder))?;
    let now = Zone::utc().start_of(last.plus(1));
    let lake = Lake::open(&folder.lake(), now).await?;
    let mut commit = Commit::new(now, "import");
    let first = last.plus(1 - days);
    for at in 0..days {
        let mut writer = lake.partitioned(Table::Snapshots);
        writer.write(&batch(first.plus(at), tenants)?).await?;
        commit.adds.extend(writer.finish().await?);
    }
    let touched = [[first.to_string(), last.to_string()]];
    commit.metadata = serde_json::json!({ "kind": "bench", "touched_days": touched });
    let pinned = lake.pin_table(Table::Snapshots).await?;
    lake.commit(&pinned, commit).await?;
    Ok(())
}

/// A well-mixed number for each value (SplitMix64), so that neighbours have nothing in common.
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a metric measures: bytes are many, members are few.
fn units(metric: &str, number: u64) -> u64 {
    let below = match metric {
        "storage_bytes" => 1_000_000_000_000,
        "api_call_count_24h" => 1_000_000,
        "member_count" | "monitored_host_count" => 500,
        _ => 10_000,
    };
    number % below
}

fn batch(day: Day, tenants: u64) -> Result<RecordBatch, Box<dyn Error>> {
    let cells: Vec<(u64, usize)> =
        (0..tenants).flat_map(|tenant| (0..FIELDS.len()).map(move |at| (tenant, at))).collect();
    let texts = |text: &dyn Fn(&(u64, usize)) -> String| -> ArrayRef {
        Arc::new(cells.iter().map(|cell| Some(text(cell))).collect::<StringArray>())
    };
    let day_number = u64::try_from(day.epoch_days())?;
    let quantity = |(tenant, at): &(u64, usize)| {
        let seed = (day_number * tenants + tenant) * 16 + u64::try_from(*at).expect("nine fields");
        Some(i128::from(units(FIELDS[*at].0, mixed(seed))) * 10_i128.pow(9))
    };
    let quantities: Decimal128Array = cells.iter().map(quantity).collect();
    let taken_at = Zone::utc().start_of(day).micros() + 600_000_000;
    let kind = |(_, at): &(u64, usize)| match FIELDS[*at].1 {
        SnapshotKind::Gauge => SnapshotKind::Gauge.as_str().to_owned(),
        SnapshotKind::Delta24h => SnapshotKind::Delta24h.as_str().to_owned(),
    };
    let schema = Table::Snapshots.schema();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for field in schema.fields() {
        columns.push(match field.name().as_str() {
            "source" => texts(&|_| "bench".to_owned()),
            "snapshot_date" => Arc::new(Date32Array::from(vec![day.epoch_days(); cells.len()])),
            "tenant" => texts(&|(tenant, _)| format!("tenant-{tenant:06}")),
            "metric" => texts(&|(_, at)| FIELDS[*at].0.to_owned()),
            "quantity" => Arc::new(quantities.clone().with_precision_and_scale(38, 9)?),
            "kind" => texts(&kind),
            "quality" => texts(&|_| "ok".to_owned()),
            "note" => arrow::array::new_null_array(field.data_type(), cells.len()),
            _ => {
                let instants = TimestampMicrosecondArray::from(vec![taken_at; cells.len()]);
                Arc::new(instants.with_timezone("UTC"))
            }
        });
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}
