//! Events and usage as rows of their tables.

use crate::error::MeteringError;
use crate::labels::Labels;
use crate::rollup::{UsageKey, UsageRow};
use crate::rules::{Origin, PlacedEvent};
use ahash::RandomState;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, Date32Array, Date32Builder, Decimal128Array, Int64Array, MapBuilder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use domain::dimension::PLAIN;
use domain::{Day, Instant};
use std::collections::HashMap;
use std::sync::Arc;
use storage::lake::{Table, schemas};

/// Rows handed over at a time.
pub(crate) const BATCH_ROWS: usize = 16 * 1024;
/// Accepted events kept in memory before they are sorted and written.
const EVENTS_BUFFERED_MAX: usize = 64 * 1024;
/// Bytes of their data.
const DATA_BYTES_BUFFERED_MAX: usize = 64 * 1024 * 1024;

/// Accepted events as rows of `usage_events`, until there are enough of them to be sorted and written.
pub(crate) struct EventColumns {
    days: Date32Builder,
    times: TimestampMicrosecondBuilder,
    received: TimestampMicrosecondBuilder,
    /// Tenant, source, id, type.
    texts: [StringBuilder; 4],
    /// User, workflow, repo, task class, cluster.
    plain: [StringBuilder; 5],
    labels: MapBuilder<StringBuilder, StringBuilder>,
    labels_key: StringBuilder,
    data: StringBuilder,
    data_bytes: usize,
}

impl Default for EventColumns {
    fn default() -> Self {
        Self {
            days: Date32Builder::default(),
            times: TimestampMicrosecondBuilder::default(),
            received: TimestampMicrosecondBuilder::default(),
            texts: Default::default(),
            plain: Default::default(),
            labels: schemas::map_builder(),
            labels_key: StringBuilder::default(),
            data: StringBuilder::default(),
            data_bytes: 0,
        }
    }
}

impl EventColumns {
    /// Adds an event that was received at that time.
    pub fn push(&mut self, placed: &PlacedEvent<'_>, received_at: Instant) -> Result<(), ArrowError> {
        let event = &placed.event;
        self.days.append_value(placed.day.epoch_days());
        self.times.append_value(placed.time.micros());
        self.received.append_value(received_at.micros());
        let texts: [&str; 4] = [&placed.tenant, &event.source, &event.id, &event.kind];
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.append_value(text));
        let [_, plain @ ..] = &event.dimensions.plain;
        self.plain.iter_mut().zip(plain).for_each(|(column, text)| column.append_option(text.as_deref()));
        append_labels(&mut self.labels, &event.dimensions.labels)?;
        self.labels_key.append_value(event.dimensions.labels.key());
        self.data.append_option(event.data_text);
        self.data_bytes += event.data_text.map_or(0, str::len);
        Ok(())
    }

    /// Returns whether there are so many that they should be written: memory is bounded, and so is a column.
    pub fn is_full(&self) -> bool {
        EVENTS_BUFFERED_MAX <= self.days.len() || DATA_BYTES_BUFFERED_MAX <= self.data_bytes
    }

    /// Returns all rows and forgets them: by day for few files, by tenant for short columns and files that can be
    /// skipped, then by time.
    pub fn drain_sorted(&mut self) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut rows = std::mem::take(self);
        let (days, times) = (rows.days.finish(), rows.times.finish());
        let [tenants, sources, ids, kinds] = rows.texts.each_mut().map(StringBuilder::finish);
        let order = order_of(&days, &tenants, &times);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(days.clone()),
            Arc::new(times.clone().with_timezone("UTC")),
            Arc::new(rows.received.finish().with_timezone("UTC")),
            Arc::new(tenants.clone()),
            Arc::new(sources),
            Arc::new(ids),
            Arc::new(kinds),
        ];
        columns.extend(rows.plain.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(rows.labels.finish()));
        columns.push(Arc::new(rows.labels_key.finish()));
        columns.push(Arc::new(rows.data.finish()));
        let batch = RecordBatch::try_new(Table::UsageEvents.schema(), columns)?;
        let sorted = |rows: &[u32]| take_record_batch(&batch, &UInt32Array::from(rows.to_vec()));
        order.chunks(BATCH_ROWS).map(sorted).collect()
    }
}

/// Returns the rows by day, tenant and time; of equal ones in the order in which they came.
fn order_of(days: &Date32Array, tenants: &StringArray, times: &TimestampMicrosecondArray) -> Vec<u32> {
    // Tenants are compared with each other once, and not for every row.
    let mut ranks: HashMap<&str, u32, RandomState> = tenants.iter().flatten().map(|tenant| (tenant, 0)).collect();
    let mut names: Vec<&str> = ranks.keys().copied().collect();
    names.sort_unstable();
    ranks.extend(names.into_iter().zip(0..));
    let rows = u32::try_from(days.len()).expect("rows are bounded");
    let key = |row: u32| (days.value(row as usize), ranks[tenants.value(row as usize)], times.value(row as usize), row);
    let mut order: Vec<(i32, u32, i64, u32)> = (0..rows).map(key).collect();
    order.sort_unstable();
    order.into_iter().map(|(.., row)| row).collect()
}

/// Returns a roll-up as rows of `usage`.
pub(crate) fn usage_batch(rows: &[UsageRow]) -> Result<RecordBatch, ArrowError> {
    let (keys, cells) = (|| rows.iter().map(|(key, _)| key), || rows.iter().map(|(_, cell)| cell));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(keys().map(|key| key.day.epoch_days()))),
        optional_instants(keys().map(|key| key.hour)),
        texts(keys().map(|key| &*key.tenant)),
    ];
    for at in 0..PLAIN.len() - 1 {
        columns.push(optional_texts(keys().map(|key| key.plain[at].as_deref())));
    }
    columns.push(maps(cells().map(|cell| &*cell.labels))?);
    columns.push(texts(keys().map(|key| &*key.labels_key)));
    columns.push(texts(keys().map(|key| &*key.meter)));
    columns.push(texts(cells().map(|cell| &*cell.unit)));
    columns.push(texts(cells().map(|cell| cell.kind.as_str())));
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

fn maps<'v, 'l: 'v>(values: impl Iterator<Item = &'v Labels<'l>>) -> Result<ArrayRef, ArrowError> {
    let mut builder = schemas::map_builder();
    for labels in values {
        append_labels(&mut builder, labels)?;
    }
    Ok(Arc::new(builder.finish()))
}

fn append_labels(into: &mut MapBuilder<StringBuilder, StringBuilder>, labels: &Labels<'_>) -> Result<(), ArrowError> {
    for (key, value) in labels.pairs() {
        into.keys().append_value(key);
        into.values().append_value(value);
    }
    into.append(true)
}
