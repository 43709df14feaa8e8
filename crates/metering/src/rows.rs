//! Events and usage as rows of their tables.

use crate::error::MeteringError;
use crate::event::Labels;
use crate::rollup::{UsageCell, UsageKey};
use crate::rules::{Origin, PlacedEvent};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use domain::dimension::PLAIN;
use domain::{Day, Instant};
use std::sync::Arc;
use storage::lake::{Table, schemas};

/// Returns accepted events, each with when it was received, as rows of `usage_events`.
pub(crate) fn event_batch(events: &[(PlacedEvent, Instant)]) -> Result<RecordBatch, ArrowError> {
    let placed = || events.iter().map(|(placed, _)| placed);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(placed().map(|placed| placed.day.epoch_days()))),
        instants(placed().map(|placed| placed.time)),
        instants(events.iter().map(|(_, received_at)| *received_at)),
        texts(placed().map(|placed| &*placed.tenant)),
        texts(placed().map(|placed| &*placed.event.source)),
        texts(placed().map(|placed| &*placed.event.id)),
        texts(placed().map(|placed| &*placed.event.kind)),
    ];
    for at in 1..PLAIN.len() {
        columns.push(optional_texts(placed().map(|placed| placed.event.dimensions.plain[at].as_deref())));
    }
    columns.push(labels(placed().map(|placed| &placed.event.dimensions.labels))?);
    columns.push(texts(placed().map(|placed| &*placed.event.labels_key)));
    columns.push(optional_texts(placed().map(|placed| placed.event.data_text.as_deref())));
    RecordBatch::try_new(Table::UsageEvents.schema(), columns)
}

/// Returns a roll-up as rows of `usage`.
pub(crate) fn usage_batch(rows: &[(UsageKey, UsageCell)]) -> Result<RecordBatch, ArrowError> {
    let keys = || rows.iter().map(|(key, _)| key);
    let cells = || rows.iter().map(|(_, cell)| cell);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(keys().map(|key| key.day.epoch_days()))),
        optional_instants(keys().map(|key| key.hour)),
        texts(keys().map(|key| &*key.tenant)),
    ];
    for at in 0..PLAIN.len() - 1 {
        columns.push(optional_texts(keys().map(|key| key.plain[at].as_deref())));
    }
    columns.push(labels(cells().map(|cell| &*cell.labels))?);
    columns.push(texts(keys().map(|key| &*key.labels_key)));
    columns.push(texts(keys().map(|key| &*key.meter)));
    columns.push(texts(cells().map(|cell| &*cell.meter.unit)));
    columns.push(texts(cells().map(|cell| cell.meter.kind.as_str())));
    columns.push(texts(keys().map(|key| key.origin.as_str())));
    columns.push(quantities(cells().map(|cell| cell.sum))?);
    columns.push(Arc::new(Int64Array::from_iter_values(cells().map(|cell| cell.count))));
    columns.push(quantities(cells().map(|cell| cell.min))?);
    columns.push(quantities(cells().map(|cell| cell.max))?);
    columns.push(quantities(cells().map(|cell| cell.last))?);
    columns.push(instants(cells().map(|cell| cell.last_at)));
    RecordBatch::try_new(Table::Usage.schema(), columns)
}

/// Returns the keys of rows of `usage`, of whatever origin; none for usage that does not come from events.
pub(crate) fn usage_keys(batch: &RecordBatch) -> Result<Vec<Option<UsageKey>>, MeteringError> {
    let text = |name: &str| {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.ok_or_else(|| not_usage(name))
    };
    let [tenants, meters, labels, origins] = ["tenant", "meter", "labels_key", "origin"].map(text);
    let (tenants, meters, labels, origins) = (tenants?, meters?, labels?, origins?);
    let plain = PLAIN[1..].iter().map(|dimension| text(&dimension.to_string())).collect::<Result<Vec<_>, _>>()?;
    let days = batch.column_by_name("usage_date").and_then(|column| column.as_primitive_opt::<Date32Type>());
    let days = days.ok_or_else(|| not_usage("usage_date"))?;
    let hours = batch.column_by_name("hour").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let hours = hours.ok_or_else(|| not_usage("hour"))?;
    let key = |row: usize| UsageKey {
        day: Day::from_epoch_days(days.value(row)),
        tenant: tenants.value(row).into(),
        meter: meters.value(row).into(),
        hour: hours.is_valid(row).then(|| Instant::from_micros(hours.value(row))),
        plain: std::array::from_fn(|at| plain[at].is_valid(row).then(|| plain[at].value(row).into())),
        labels_key: labels.value(row).into(),
        origin: Origin::Events,
    };
    let is_of_events = |row: usize| Origin::ALL.iter().any(|origin| origin.as_str() == origins.value(row));
    Ok((0..batch.num_rows()).map(|row| is_of_events(row).then(|| key(row))).collect())
}

fn not_usage(column: &str) -> MeteringError {
    MeteringError::Damaged { what: format!("column {column} of usage"), problem: "it has another type".to_owned() }
}

fn instants(values: impl Iterator<Item = Instant>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values.map(Instant::micros)).with_timezone("UTC"))
}

fn optional_instants(values: impl Iterator<Item = Option<Instant>>) -> ArrayRef {
    let micros = values.map(|value| value.map(Instant::micros));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn texts<'v>(values: impl Iterator<Item = &'v str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn optional_texts<'v>(values: impl Iterator<Item = Option<&'v str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn quantities(atoms: impl Iterator<Item = i128>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(Decimal128Array::from_iter_values(atoms).with_precision_and_scale(38, 9)?))
}

fn labels<'v>(values: impl Iterator<Item = &'v Labels>) -> Result<ArrayRef, ArrowError> {
    let mut builder = schemas::map_builder();
    for labels in values {
        for (key, value) in labels {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}
