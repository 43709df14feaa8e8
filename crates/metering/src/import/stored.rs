//! Events as they are read back from their table.

use crate::content::{Content, EventKey, IdSalt, PlainTexts, StoredContent, event_key};
use crate::error::MeteringError;
use crate::event::{Event, EventDimensions};
use crate::ids::{IdContent, IdKey};
use crate::json::{Json, parse_value};
use crate::labels::Labels;
use crate::rules::PlacedEvent;
use arrow::array::{Array, AsArray, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use domain::dimension::PLAIN;
use domain::{Day, Instant, Zone};
use futures::TryStreamExt;
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable};

const COLUMNS: [&str; 14] = [
    "event_date",
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
        let stored = StoredRows::of(&batch)?;
        let id = |row| {
            let key = salt.key(stored.tenant.value(row), stored.source.value(row), stored.id.value(row));
            Ok((key, stored.content(row)?.short()))
        };
        take((0..batch.num_rows()).map(id).collect::<Result<_, MeteringError>>()?)?;
    }
    Ok(())
}

/// Stored events of one tenant, some at a time.
pub(crate) struct EventRows {
    batches: SendableRecordBatchStream,
    zone: Zone,
    batch: Option<RecordBatch>,
}

impl EventRows {
    /// Returns the next ones; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredEvent<'_>>>, MeteringError> {
        let Some(batch) = self.batches.try_next().await? else { return Ok(None) };
        let batch: &RecordBatch = self.batch.insert(batch);
        let stored = StoredRows::of(batch)?;
        (0..batch.num_rows()).map(|row| stored.event(row, &self.zone)).collect::<Result<_, _>>().map(Some)
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
    Ok(EventRows { batches, zone: zone.clone(), batch: None })
}

/// An event of the table.
pub(crate) struct StoredEvent<'b> {
    pub placed: PlacedEvent<'b>,
    pub received_at: Instant,
}

impl<'b> StoredEvent<'b> {
    /// Returns its data.
    pub fn data(&self) -> Result<Json<'b>, MeteringError> {
        data_of(self.placed.event.data_text)
    }
}

/// Stored events as their table holds them; all its columns but `labels`, which are those of `labels_key`.
pub(crate) struct StoredRows<'b> {
    day: &'b Date32Array,
    tenant: &'b StringArray,
    source: &'b StringArray,
    id: &'b StringArray,
    kind: &'b StringArray,
    labels_key: &'b StringArray,
    data: &'b StringArray,
    time: &'b TimestampMicrosecondArray,
    received_at: &'b TimestampMicrosecondArray,
    /// User, workflow, repo, task class, cluster.
    plain: Vec<&'b StringArray>,
}

impl<'b> StoredRows<'b> {
    /// Returns the rows of a batch.
    ///
    /// # Errors
    /// If it is not of `usage_events`.
    pub fn of(batch: &'b RecordBatch) -> Result<Self, MeteringError> {
        let text = |name: &str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| damaged(name, "it is no text"))
        };
        let time = |name: &str| {
            let column = batch.column_by_name(name);
            let column = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            column.ok_or_else(|| damaged(name, "it is no time"))
        };
        let day = batch.column_by_name("event_date").and_then(|column| column.as_primitive_opt::<Date32Type>());
        let plain = PLAIN.iter().skip(1).map(|dimension| text(&dimension.to_string()));
        Ok(Self {
            day: day.ok_or_else(|| damaged("event_date", "it is no date"))?,
            tenant: text("tenant")?,
            source: text("source")?,
            id: text("id")?,
            kind: text("type")?,
            labels_key: text("labels_key")?,
            data: text("data")?,
            time: time("time")?,
            received_at: time("received_at")?,
            plain: plain.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whose event it is.
    pub fn tenant(&self, row: usize) -> &'b str {
        self.tenant.value(row)
    }

    /// Returns its day.
    pub fn day(&self, row: usize) -> Day {
        Day::from_epoch_days(self.day.value(row))
    }

    /// Returns when it was received, in microseconds.
    pub fn received_at(&self, row: usize) -> i64 {
        self.received_at.value(row)
    }

    /// Returns what is unique about it.
    pub fn key(&self, row: usize) -> EventKey {
        event_key(self.tenant.value(row), self.source.value(row), self.id.value(row))
    }

    /// Returns its data.
    ///
    /// # Errors
    /// If they are not what was written.
    pub fn data(&self, row: usize) -> Result<Json<'b>, MeteringError> {
        data_of(self.data_text(row))
    }

    fn data_text(&self, row: usize) -> Option<&'b str> {
        self.data.is_valid(row).then(|| self.data.value(row))
    }

    /// Returns it as it was accepted, without the text of its data.
    ///
    /// # Errors
    /// If its labels are not what was written.
    pub fn placed(&self, row: usize, zone: &Zone) -> Result<PlacedEvent<'b>, MeteringError> {
        let labels = Labels::of_key(self.labels_key.value(row));
        let labels = labels.map_err(|error| damaged("labels_key", &error.to_string()))?;
        let mut dimensions = EventDimensions { labels, ..EventDimensions::default() };
        dimensions.plain[1..].iter_mut().zip(self.plain(row)).for_each(|(into, text)| *into = text);
        let time = Instant::from_micros(self.time.value(row));
        let event = Event {
            id: self.id.value(row).into(),
            source: self.source.value(row).into(),
            kind: self.kind.value(row).into(),
            time: Some(time),
            dimensions,
            data_text: None,
            retracts: None,
        };
        let tenant = self.tenant.value(row).into();
        Ok(PlacedEvent { event, tenant, time, day: self.day(row), hour: zone.hour_of(time) })
    }

    fn event(&self, row: usize, zone: &Zone) -> Result<StoredEvent<'b>, MeteringError> {
        let mut placed = self.placed(row, zone)?;
        placed.event.data_text = self.data_text(row);
        Ok(StoredEvent { placed, received_at: Instant::from_micros(self.received_at(row)) })
    }

    fn content(&self, row: usize) -> Result<StoredContent, MeteringError> {
        let data = self.data_text(row).map(|text| data_of(Some(text))).transpose()?;
        let (time, received_at) = (self.time.value(row), self.received_at(row));
        let (kind, labels_key) = (self.kind.value(row), self.labels_key.value(row));
        let (time, received_at) = (Instant::from_micros(time), Instant::from_micros(received_at));
        Ok(Content::of_stored(kind, &self.plain(row), labels_key, data.as_ref(), time, received_at))
    }

    fn plain(&self, row: usize) -> PlainTexts<'b> {
        std::array::from_fn(|at| self.plain[at].is_valid(row).then(|| self.plain[at].value(row).into()))
    }
}

/// The data that a text says; an event without any has null.
fn data_of(text: Option<&str>) -> Result<Json<'_>, MeteringError> {
    text.map_or(Ok(Json::Null), parse_value).map_err(|error| damaged("data", &error.to_string()))
}

fn damaged(column: &str, problem: &str) -> MeteringError {
    MeteringError::Damaged { what: format!("column {column} of usage_events"), problem: problem.to_owned() }
}
