//! Snapshots as rows of their table and back, without loss.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionContext;
use domain::snapshot::{Measured, Measurement, Quality, SnapshotKind, SnapshotRow};
use domain::{Day, Quantity};

use super::columns::{self, Columns, days, instants, quantities, texts};
use super::error::LakeError;
use super::log::state::LakeFile;
use super::pinned::PinnedTable;
use super::scan::LakeTable;
use super::table::Table;

/// Tag of a data file of `snapshots` that names the source of all its rows.
pub const SOURCE_TAG: &str = "apportion.source";

/// The rows of the table `snapshots`, `snapshot_date` among their columns.
///
/// # Errors
/// If a decimal has more than 38 digits; quantities do not.
pub fn to_batch(rows: &[SnapshotRow]) -> Result<RecordBatch, LakeError> {
    let all = || rows.iter();
    let columns = vec![
        ("source", texts(all().map(|row| Some(&row.source)))),
        ("snapshot_date", days(all().map(|row| Some(row.snapshot_date)))),
        ("tenant", texts(all().map(|row| Some(&row.tenant)))),
        ("metric", texts(all().map(|row| Some(&row.metric)))),
        ("quantity", quantities(all().map(|row| row.measurement.measured.quantity().map(Quantity::atoms)))?),
        ("kind", texts(all().map(|row| Some(row.measurement.kind.as_str())))),
        ("quality", texts(all().map(|row| Some(row.measurement.measured.quality().as_str())))),
        ("note", texts(all().map(|row| row.measurement.note.as_deref()))),
        ("taken_at", instants(all().map(|row| row.taken_at))),
    ];
    columns::batch(Table::Snapshots, columns)
}

/// The snapshots of rows read from the table `snapshots`, in their order; every column must be there.
///
/// # Errors
/// [`LakeError::Damaged`] if a row holds something that was never written.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<SnapshotRow>, LakeError> {
    let columns = Columns { table: Table::Snapshots, batch };
    let source = columns.required("source", columns.texts("source")?)?;
    let snapshot_date = columns.required("snapshot_date", columns.days("snapshot_date")?)?;
    let tenant = columns.required("tenant", columns.texts("tenant")?)?;
    let metric = columns.required("metric", columns.texts("metric")?)?;
    let quantity = columns.atoms("quantity")?;
    let kind = columns.required("kind", columns.parsed("kind", SnapshotKind::from_word)?)?;
    let quality = columns.required("quality", columns.parsed("quality", Quality::from_word)?)?;
    let note = columns.texts("note")?;
    let taken_at = columns.required("taken_at", columns.instants("taken_at")?)?;
    let measured = |row: usize| {
        let contradicts = || {
            let reason = format!("the quantity of a row contradicts its quality `{}`", quality[row].as_str());
            LakeError::damaged(Table::Snapshots.name(), reason)
        };
        let atoms = quantity[row].map(|atoms| Quantity::from_atoms(atoms).ok_or_else(contradicts)).transpose()?;
        Measured::new(atoms, quality[row]).ok_or_else(contradicts)
    };
    let row = |row: usize| {
        Ok::<_, LakeError>(SnapshotRow {
            source: Arc::clone(&source[row]),
            snapshot_date: snapshot_date[row],
            tenant: Arc::clone(&tenant[row]),
            metric: Arc::clone(&metric[row]),
            measurement: Measurement { kind: kind[row], measured: measured(row)?, note: note[row].clone() },
            taken_at: taken_at[row],
        })
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The files of the pinned version with the rows of this source and day: those tagged with the source.
pub fn files_of_day<'p>(pinned: &'p PinnedTable, source: &'p str, day: Day) -> impl Iterator<Item = &'p Arc<LakeFile>> {
    let day = day.to_string();
    let is_of_source = move |file: &LakeFile| file.tags.get(SOURCE_TAG).is_some_and(|tagged| tagged == source);
    pinned.files().filter(move |file| file.partition("snapshot_date") == Some(day.as_str()) && is_of_source(file))
}

/// The rows of one source and day, by tenant and metric.
///
/// # Errors
/// If a file cannot be read, or is not what was written.
pub async fn rows_of_day(pinned: &PinnedTable, source: &str, day: Day) -> Result<Vec<SnapshotRow>, LakeError> {
    let wanted: Vec<&str> = files_of_day(pinned, source, day).map(|file| file.path.as_str()).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let table = LakeTable::of_files(pinned, |file| wanted.contains(&file.path.as_str()));
    let failed = |source: DataFusionError| LakeError::Read { table: Table::Snapshots, source };
    let read = SessionContext::new().read_table(Arc::new(table)).map_err(failed)?;
    let mut rows = Vec::new();
    for batch in read.collect().await.map_err(failed)? {
        rows.extend(from_batch(&batch)?);
    }
    rows.sort_by(|one, other| (&one.tenant, &one.metric).cmp(&(&other.tenant, &other.metric)));
    Ok(rows)
}
