//! How much was used, this second's events included.

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
    Page { rows: page.rows.iter().map(to_api_usage).collect(), next_cursor: page.next_cursor }.answer(&asked)
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
