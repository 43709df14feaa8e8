//! The ids of the events in the table, for an index that does not have them.

use crate::content::{Content, IdSalt, StoredContent};
use crate::error::MeteringError;
use crate::event::Event;
use crate::ids::{IdContent, IdKey};
use crate::json::{Json, parse_value};
use crate::rules::PlacedEvent;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use domain::dimension::{Dimensions, PLAIN};
use domain::{Day, Instant, Zone};
use futures::TryStreamExt;
use std::collections::BTreeMap;
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

/// Stored events of one tenant, some at a time.
pub(crate) struct EventRows {
    batches: SendableRecordBatchStream,
    zone: Zone,
}

impl EventRows {
    /// Returns the next ones; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredEvent>>, MeteringError> {
        let Some(batch) = self.batches.try_next().await? else { return Ok(None) };
        (0..batch.num_rows()).map(|row| placed_of(&batch, row, &self.zone)).collect::<Result<_, _>>().map(Some)
    }
}

/// Returns the stored events of one tenant.
///
/// With `ids` only those that have one of them; without, all of them. `day` leaves out other days.
pub(crate) async fn events_of(
    pinned: &PinnedTable,
    tenant: &str,
    day: Option<Day>,
    ids: Option<Vec<Expr>>,
    zone: &Zone,
) -> Result<EventRows, MeteringError> {
    let mut wanted = col("tenant").eq(lit(tenant));
    if let Some(day) = day {
        wanted = wanted.and(col("event_date").eq(lit(ScalarValue::Date32(Some(day.epoch_days())))));
    }
    if let Some(ids) = ids {
        wanted = wanted.and(col("id").in_list(ids, false));
    }
    let session = SessionContext::new();
    let rows = session.read_table(Arc::new(LakeTable::new(pinned)))?.filter(wanted)?;
    let batches = rows.select_columns(&COLUMNS)?.execute_stream().await?;
    Ok(EventRows { batches, zone: zone.clone() })
}

/// An event of the table.
pub(crate) struct StoredEvent {
    pub placed: PlacedEvent,
    pub received_at: Instant,
}

impl StoredEvent {
    /// Returns its data.
    pub fn data(&self) -> Result<Json<'_>, MeteringError> {
        let text = self.placed.event.data_text.as_deref();
        text.map_or(Ok(Json::Null), parse_value).map_err(|error| damaged("data", &error.to_string()))
    }
}

fn placed_of(batch: &RecordBatch, row: usize, zone: &Zone) -> Result<StoredEvent, MeteringError> {
    let text = |name: &str| Ok::<Arc<str>, MeteringError>(text_column(batch, name)?.value(row).into());
    let tenant = text("tenant")?;
    let mut dimensions = dimensions_of(batch, row)?;
    dimensions.plain[0] = Some(Arc::clone(&tenant));
    let labels_key = text("labels_key")?;
    let labels: BTreeMap<String, String> =
        serde_json::from_str(&labels_key).map_err(|error| damaged("labels_key", &error.to_string()))?;
    dimensions.labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let (time, received_at) = (instant_of(batch, row, "time")?, instant_of(batch, row, "received_at")?);
    let event = Event {
        id: text("id")?,
        source: text("source")?,
        kind: text("type")?,
        time: Some(time),
        dimensions,
        labels_key,
        data_text: data_of(batch, row)?.map(Into::into),
        retracts: None,
    };
    let placed = PlacedEvent { event, tenant, time, day: zone.day_of(time), hour: zone.hour_of(time) };
    Ok(StoredEvent { placed, received_at })
}

fn content_of(batch: &RecordBatch, row: usize) -> Result<StoredContent, MeteringError> {
    let dimensions = dimensions_of(batch, row)?;
    let data = data_of(batch, row)?.map(parse_value).transpose();
    let data = data.map_err(|error| damaged("data", &error.to_string()))?;
    let (kind, labels_key) = (text_column(batch, "type")?, text_column(batch, "labels_key")?);
    let (time, received_at) = (instant_of(batch, row, "time")?, instant_of(batch, row, "received_at")?);
    Ok(Content::of_stored(kind.value(row), &dimensions, labels_key.value(row), data.as_ref(), time, received_at))
}

/// All dimensions but tenant and labels.
fn dimensions_of(batch: &RecordBatch, row: usize) -> Result<Dimensions, MeteringError> {
    let mut dimensions = Dimensions::default();
    for (at, dimension) in PLAIN.iter().enumerate().skip(1) {
        let column = text_column(batch, &dimension.to_string())?;
        dimensions.plain[at] = column.is_valid(row).then(|| column.value(row).into());
    }
    Ok(dimensions)
}

fn instant_of(batch: &RecordBatch, row: usize, name: &str) -> Result<Instant, MeteringError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    column.map(|column| Instant::from_micros(column.value(row))).ok_or_else(|| damaged(name, "it is no time"))
}

fn data_of(batch: &RecordBatch, row: usize) -> Result<Option<&str>, MeteringError> {
    let column = text_column(batch, "data")?;
    Ok(column.is_valid(row).then(|| column.value(row)))
}

fn text_column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, MeteringError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| damaged(name, "it is no text"))
}

fn damaged(column: &str, problem: &str) -> MeteringError {
    MeteringError::Damaged { what: format!("column {column} of usage_events"), problem: problem.to_owned() }
}
