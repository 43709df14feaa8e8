//! The ids of the events in the table, for an index that does not have them.

use crate::content::{Content, IdSalt, StoredContent};
use crate::error::MeteringError;
use crate::ids::{IdContent, IdKey};
use crate::json::parse_value;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::prelude::SessionContext;
use domain::Instant;
use domain::dimension::{Dimensions, PLAIN};
use futures::TryStreamExt;
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable};

const COLUMNS: [&str; 13] = [
    "tenant",
    "source",
    "id",
    "type",
    "time",
    "received_at",
    "user",
    "workflow",
    "repo",
    "task_class",
    "cluster",
    "labels_key",
    "data",
];

/// Hands over key and content of every stored event, some at a time.
pub(crate) async fn all_ids(
    pinned: &PinnedTable,
    salt: &IdSalt,
    mut take: impl FnMut(Vec<(IdKey, IdContent)>) -> Result<(), MeteringError>,
) -> Result<(), MeteringError> {
    let table = Arc::new(LakeTable::new(pinned));
    let mut batches = SessionContext::new().read_table(table)?.select_columns(&COLUMNS)?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let column = |name| text_column(&batch, name);
        let (tenants, sources, ids) = (column("tenant")?, column("source")?, column("id")?);
        let id = |row| {
            let key = salt.key(tenants.value(row), sources.value(row), ids.value(row));
            Ok((key, content_of(&batch, row)?.short()))
        };
        take((0..batch.num_rows()).map(id).collect::<Result<_, MeteringError>>()?)?;
    }
    Ok(())
}

fn content_of(batch: &RecordBatch, row: usize) -> Result<StoredContent, MeteringError> {
    let mut dimensions = Dimensions::default();
    for (at, dimension) in PLAIN.iter().enumerate().skip(1) {
        let column = text_column(batch, &dimension.to_string())?;
        dimensions.plain[at] = column.is_valid(row).then(|| column.value(row).into());
    }
    let instant = |name: &str| {
        let column =
            batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        column.map(|column| Instant::from_micros(column.value(row))).ok_or_else(|| damaged(name, "it is no time"))
    };
    let data = text_column(batch, "data")?;
    let data = data.is_valid(row).then(|| parse_value(data.value(row))).transpose();
    let data = data.map_err(|error| damaged("data", &error.to_string()))?;
    let (kind, labels_key) = (text_column(batch, "type")?, text_column(batch, "labels_key")?);
    let (time, received_at) = (instant("time")?, instant("received_at")?);
    Ok(Content::of_stored(kind.value(row), &dimensions, labels_key.value(row), data.as_ref(), time, received_at))
}

fn text_column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, MeteringError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| damaged(name, "it is no text"))
}

fn damaged(column: &str, problem: &str) -> MeteringError {
    MeteringError::Damaged { what: format!("column {column} of usage_events"), problem: problem.to_owned() }
}
