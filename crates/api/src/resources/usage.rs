//! How much was used, this second's events included.

use super::costs::RangeBody;
use crate::access::CostReader;
use crate::app::App;
use crate::convert::{owned, quantity};
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use engine::query::usage::{BucketStart, UsageQuery, UsageRow};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Which usage.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageParams {
    /// `7d`, `30d` (default), `mtd`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to`.
    pub from: Option<String>,
    /// Last day.
    pub to: Option<String>,
    /// Only this meter.
    pub meter: Option<String>,
    /// Up to four of tenant, user, workflow, repo, task_class, cluster, plan, parent, label:<key>, meter, origin, category.
    pub group_by: Option<String>,
    /// `none` (default), `hour`, `day`, `week` or `month`.
    pub granularity: Option<String>,
    /// Terms such as `user:anna -origin:snapshot`.
    pub filter: Option<String>,
    /// Rows of a page.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// One quantity.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UsageRowBody {
    /// What it is of; `meter` is named unless the question names it.
    pub key: BTreeMap<String, Option<String>>,
    /// When the bucket begins: a day, or the instant of a clock hour.
    pub start: String,
    /// How much, as a decimal.
    pub quantity: String,
    /// In which unit.
    pub unit: String,
    /// Values that went in.
    pub events: u64,
}

/// Returns quantities by tenant, user, workflow or any label, with everything acknowledged so far.
///
/// Snapshots are usage with the origin `snapshot`; those of other tenants are shown to the platform's admin only.
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(UsageParams), responses((status = 200, body = Page<UsageRowBody>)))]
pub async fn list_usage(
    reader: CostReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let query = UsageQuery::from_params(query.params()?, &app.list_limits())?;
    let page = app.engine.usage(&reader.usage_scope(), &query).await?;
    if asked.is_csv() {
        let rows: Vec<Value> = page.rows.iter().map(flat).collect();
        let columns = || columns_of(&query, page.rows.first());
        return asked.answer(&json!({ "rows": rows }), columns, page.next_cursor.as_deref());
    }
    Page {
        rows: page.rows.iter().map(to_api_usage).collect(),
        range: Some(RangeBody::of(query.range, &app)),
        next_cursor: page.next_cursor,
    }
    .answer(&asked)
}

/// Columns of a table for spreadsheets: one per grouped key, one per number.
fn columns_of(query: &UsageQuery, first: Option<&UsageRow>) -> Vec<String> {
    let keys: Vec<String> = match first {
        Some(row) => row.key.iter().map(|(name, _)| name.clone()).collect(),
        None => query.group_by.iter().map(ToString::to_string).collect(),
    };
    keys.into_iter().chain(["start", "quantity", "unit", "events"].map(str::to_owned)).collect()
}

/// A row of that table.
fn flat(row: &UsageRow) -> Value {
    let UsageRowBody { key, start, quantity, unit, events } = to_api_usage(row);
    let mut flat: Map<String, Value> = key.into_iter().map(|(name, value)| (name, json!(value))).collect();
    flat.extend(
        [("start", json!(start)), ("quantity", json!(quantity)), ("unit", json!(unit)), ("events", json!(events))]
            .map(|(name, value)| (name.to_owned(), value)),
    );
    Value::Object(flat)
}

fn to_api_usage(row: &UsageRow) -> UsageRowBody {
    UsageRowBody {
        key: row.key.iter().map(|(name, value)| (name.clone(), owned(value))).collect(),
        start: match row.start {
            BucketStart::Day(day) => day.to_string(),
            BucketStart::Hour(hour) => hour.to_string(),
        },
        quantity: quantity(row.quantity),
        unit: row.unit.to_string(),
        events: u64::try_from(row.events).unwrap_or(u64::MAX),
    }
}
