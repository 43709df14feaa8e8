//! How commits and opening behave as a log grows: `commit_curve FOLDER COMMITS`.
//!
//! Makes a new lake in the folder and commits a posting of one row at a time to its ledger. After 50 commits, after 100, and
//! after each tenfold of them, it prints the median time of the last 50 commits, and the time to open the lake again. Every
//! commit is synced: the data file, the log entry and their directories.

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::DataType;
use domain::Instant;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};
use storage::lake::{Commit, DataFolder, Lake, Table, schemas};

const NOW: Instant = Instant::from_micros(1_772_323_200_000_000);
/// Commits whose times are taken together.
const TIMED: usize = 50;
/// After how many commits the times are taken again; later after each tenfold of them.
const FIRST_STEP: u64 = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, commits] = arguments.as_slice() else { return Err("usage: commit_curve FOLDER COMMITS".into()) };
    let commits: u64 = commits.parse()?;
    std::fs::create_dir_all(folder)?;
    let folder = DataFolder::lock(Path::new(folder))?;
    let lake = Lake::open(&folder.lake(), NOW).await?;
    let mut pinned = lake.pin_table(Table::Ledger).await?;
    let mut times: Vec<Duration> = Vec::new();
    let mut next = TIMED as u64;
    while pinned.version() < commits {
        let begun = Stopwatch::now();
        let mut writer = lake.partitioned(Table::Ledger);
        writer.write(&row()?).await?;
        let adds = writer.finish().await?;
        pinned = lake.commit(&pinned, Commit { adds, ..Commit::new(NOW, "posting") }).await?;
        times.push(begun.elapsed());
        if pinned.version() == next || pinned.version() == commits {
            report(&folder, pinned.version(), &times).await?;
            next = if next < FIRST_STEP { FIRST_STEP } else { next * 10 };
        }
    }
    Ok(())
}

async fn report(folder: &DataFolder, commits: u64, times: &[Duration]) -> Result<(), Box<dyn Error>> {
    let mut last = times[times.len().saturating_sub(TIMED)..].to_vec();
    last.sort_unstable();
    let begun = Stopwatch::now();
    let opened = Lake::open(&folder.lake(), NOW).await?;
    let files = opened.pin_table(Table::Ledger).await?.files().len();
    let line = format!(
        "{commits} commits: {:?} a commit, opened in {:?}, {files} files",
        last[last.len() / 2],
        begun.elapsed()
    );
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// One row with empty texts, zeros, and null wherever it may be.
fn row() -> Result<RecordBatch, Box<dyn Error>> {
    let schema = Table::Ledger.schema();
    let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
        match field.data_type() {
            kind if field.is_nullable() => new_null_array(kind, 1),
            DataType::Map(..) => {
                let mut builder = schemas::map_builder();
                builder.append(true).expect("an empty map");
                Arc::new(builder.finish())
            }
            DataType::Utf8 => Arc::new(arrow::array::StringArray::from(vec![""])),
            DataType::Int32 => Arc::new(arrow::array::Int32Array::from(vec![0])),
            DataType::Int64 => Arc::new(arrow::array::Int64Array::from(vec![0])),
            DataType::Timestamp(..) => {
                Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![NOW.micros()]).with_timezone("UTC"))
            }
            other => unreachable!("no required column of the ledger is {other}"),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}
