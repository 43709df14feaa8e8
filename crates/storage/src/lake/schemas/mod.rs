//! The columns of every table: the contract with everything that reads the lake.
//!
//! | kind | Arrow type |
//! |---|---|
//! | money, price, weight, rate | `Decimal128(38, 15)`, [`money`] |
//! | quantity | `Decimal128(38, 9)`, [`quantity`] |
//! | day | `Date32` |
//! | instant | `Timestamp(µs, "UTC")` |
//! | month | text `YYYY-MM` |
//! | map | `Map<Utf8, Utf8>`, sorted by key bytes, never null; build with [`map_builder`] |
//! | hash | text, lower-case hex |
//!
//! Two maps with permuted keys are not equal to the engine, so `labels` has a twin `labels_key`, its
//! canonical JSON; group, compare and hash by the twin.
//!
//! **Sums cannot wrap.** DataFusion's `SUM(Decimal128)` and `SUM(Int64)` wrap silently. Every stored
//! row is bounded instead: money by 10¹² units, quantities by 10¹⁸. 10¹² units × 10¹⁵ atoms × 10¹⁰
//! rows = 10³⁷ < 2¹²⁷ (the same for quantities: 10¹⁸ × 10⁹ × 10¹⁰). Whoever writes rows rejects
//! values outside (`out_of_bound`); nothing in the lake checks them a second time.

use std::sync::Arc;

use arrow::array::{MapBuilder, MapFieldNames, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// FOCUS columns: the names providers send and the names they have in `cost_lines`.
pub mod focus;

/// Type of money, unit prices, weights and rates: atoms of 10⁻¹⁵.
pub const fn money() -> DataType {
    DataType::Decimal128(38, 15)
}

/// Type of quantities: atoms of 10⁻⁹.
pub const fn quantity() -> DataType {
    DataType::Decimal128(38, 9)
}

/// Type of instants: microseconds, UTC.
pub fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Type of `labels`, `tags` and `x`, with the field names that Delta prescribes.
pub fn map() -> DataType {
    let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
}

/// A builder whose arrays have exactly the type [`map`]. Append the keys in byte order.
pub fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

fn required(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn optional(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn text(name: &str) -> Field {
    optional(name, DataType::Utf8)
}

fn required_text(name: &str) -> Field {
    required(name, DataType::Utf8)
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// Raw events as accepted, one row each. Partition: `event_date`.
pub fn usage_events() -> SchemaRef {
    schema(vec![
        required("event_date", DataType::Date32), // day of `time` in the organisation's zone
        required("time", instant()),
        required("received_at", instant()),
        required_text("tenant"),
        required_text("source"),
        required_text("id"), // unique per tenant and source
        required_text("type"),
        text("user"),
        text("workflow"),
        text("repo"),
        text("task_class"),
        text("cluster"),
        required("labels", map()),
        required_text("labels_key"),
        text("data"), // the event's data as JSON text
    ])
}

/// Metered usage: one row per day or hour and full key. Partition: `usage_date`.
pub fn usage() -> SchemaRef {
    schema(vec![
        required("usage_date", DataType::Date32),
        optional("hour", instant()), // begin of a clock hour; null for daily rows
        required_text("tenant"),
        text("user"),
        text("workflow"),
        text("repo"),
        text("task_class"),
        text("cluster"),
        required("labels", map()),
        required_text("labels_key"),
        required_text("meter"),
        text("unit"),
        required_text("kind"),   // counter | gauge
        required_text("origin"), // events | metrics_server | collector
        optional("sum", quantity()),
        optional("count", DataType::Int64),
        optional("min", quantity()),
        optional("max", quantity()),
        optional("last", quantity()),
        optional("last_at", instant()),
    ])
}

/// The daily measurement of every tenant: one row per source, day, tenant and metric. Partition: `snapshot_date`.
///
/// Rows are replaced per source, tenant and day.
pub fn snapshots() -> SchemaRef {
    schema(vec![
        required_text("source"),
        required("snapshot_date", DataType::Date32),
        required_text("tenant"),
        required_text("metric"),
        optional("quantity", quantity()), // null exactly where the quality is missing
        required_text("kind"),            // gauge | delta_24h
        required_text("quality"),         // ok | degraded | missing
        text("note"),
        required("taken_at", instant()),
    ])
}

/// Bills: FOCUS Cost and Usage in snake case, and where each line came from.
/// Partition: `source`, `billing_month`.
pub fn cost_lines() -> SchemaRef {
    let mut fields = vec![
        required_text("source"),
        required_text("billing_month"),
        required_text("import_id"),
        required("line_no", DataType::Int64), // line in the imported file, for explain
        // The first and last day that the line touches: lets a query of a few days skip files.
        required("charge_date_from", DataType::Date32),
        required("charge_date_to", DataType::Date32),
    ];
    fields.extend(focus::COLUMNS.iter().map(|column| optional(column.name, column.kind.data_type())));
    fields.push(required("tags", map()));
    fields.push(required("x", map())); // columns we do not know, under the provider's names
    schema(fields)
}

/// What went into each pool on a day, for proof and explain. Partition: `charge_month`.
///
/// Rows count only if a posting of the ledger names their `run`.
pub fn pool_days() -> SchemaRef {
    schema(vec![
        required_text("run"),
        required_text("charge_month"),
        required("charge_date", DataType::Date32),
        required_text("pool"),
        text("tier"),
        text("basis"),
        text("method"),
        optional("memo", DataType::Boolean),
        text("state"), // e.g. run, not_run with the reason
        // The components that a pool's cost is kept apart by:
        text("charge_category"),
        text("service"),
        text("provider"),
        text("source"),
        text("commitment_status"),
        text("invoice_id"),
        text("category"),
        optional("amount", money()),
        optional("billed_amount", money()),
        text("currency"),
        optional("amount_reporting", money()),
        optional("fx_rate", money()),
        optional("fx_date", DataType::Date32),
        optional("lines", DataType::Int64), // how many cost lines went in
        text("inputs"),                     // JSON: import ids, content hashes, versions
    ])
}

/// Entries: who pays how much, and why it changed. Append-only. Partition: `charge_month`, which is
/// null for close and reopen.
///
/// `amount`, `billed_amount`, `amount_reporting` and `quantity` are differences and may be summed;
/// `unit_price`, `weight` and `pool_amount` state the new absolute value and must not be.
pub fn ledger() -> SchemaRef {
    schema(vec![
        required("posting", DataType::Int64),
        required("line", DataType::Int32),
        required_text("kind"), // cost | adjustment | close | reopen
        required("booked_at", instant()),
        required_text("billing_month"),
        text("charge_month"),
        optional("charge_date", DataType::Date32),
        text("tier"),
        text("basis"), // billed | event | rated | adjustment
        optional("memo", DataType::Boolean),
        text("status"), // pending | final
        text("reason"), // why the consumer is a reserved word
        text("cause"),  // why this difference arose
        text("charge_category"),
        text("charge_class"), // null | correction
        text("pool"),
        text("method"),
        text("consumer"),
        text("tenant"),
        text("user"),
        text("workflow"),
        text("repo"),
        text("task_class"),
        text("cluster"),
        required("labels", map()),
        text("labels_key"),
        text("provider"),
        text("service"),
        text("source"),
        text("commitment_status"),
        text("invoice_id"),
        text("category"),
        text("meter"),
        text("unit"),
        optional("quantity", quantity()),
        optional("unit_price", money()),
        optional("weight", money()),
        optional("pool_amount", money()),
        optional("amount", money()),
        optional("billed_amount", money()),
        text("currency"),
        optional("amount_reporting", money()),
        optional("fx_rate", money()),
        optional("fx_date", DataType::Date32),
        text("policy_version"),
        text("rate_card_version"),
        text("run"),
        required_text("prev_hash"),
        required_text("hash"),
    ])
}
