//! Events as they were accepted, also those that no meter takes.

use super::costs::RangeBody;
use crate::access::CostReader;
use crate::app::App;
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::meter::Meter;
use engine::query::events::{EventFilter, EventRow, EventTypeRow};
use metering::event::RETRACTION_TYPE;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{IntoParams, ToSchema};

/// Which events.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventListParams {
    /// `7d`, `30d` (default), `mtd`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to`.
    pub from: Option<String>,
    /// Last day.
    pub to: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those of this type.
    pub r#type: Option<String>,
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those with this id.
    pub id: Option<String>,
    /// `true`: only those of types that no meter in force takes.
    pub unmetered: Option<bool>,
    /// Rows of a page; with much data a page ends earlier.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Of which events the types are listed.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventTypesParams {
    /// `7d`, `30d` (default), `mtd`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to`.
    pub from: Option<String>,
    /// Last day.
    pub to: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// `true`: only types that no meter in force takes.
    pub unmetered: Option<bool>,
    /// Rows of a page.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// One event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StoredEventBody {
    /// When it happened.
    pub time: String,
    /// When it was received.
    pub received_at: String,
    /// Whose it is.
    pub tenant: String,
    /// Who sent it.
    pub source: String,
    /// Its id, unique per tenant and source.
    pub id: String,
    /// Its type.
    pub r#type: String,
    /// User, workflow, repo, task_class and cluster, as far as it names them.
    pub dimensions: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its data as it was sent.
    pub data: Option<Value>,
}

/// How many events there are of one type.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventTypeBody {
    /// The type.
    pub r#type: String,
    /// Events of the range.
    pub events: i64,
    /// The meters in force that take it; none: it is kept and not metered.
    pub meters: Vec<String>,
    /// When the last one happened.
    pub last_time: String,
}

/// Returns stored events, newest first, also those that no meter takes; everything acknowledged so far is included.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventListParams), responses((status = 200, body = Page<StoredEventBody>)))]
pub async fn list_events(
    reader: CostReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let metered = metered_types(&metering::publish::meters(app.catalog()).await?);
    let filter = EventFilter::of_events(query.params()?, &app.list_limits(), metered)?;
    let page = app.engine.events(reader.scope(), &filter).await?;
    let rows = page.rows.into_iter().map(to_api_event).collect();
    Page { rows, range: Some(RangeBody::of(filter.range, &app)), next_cursor: page.next_cursor }.answer(&asked)
}

/// Returns the types of stored events, how many there are, and which meters take them.
#[utoipa::path(get, path = "/api/v1/events/types", tag = "events", params(EventTypesParams), responses((status = 200, body = Page<EventTypeBody>)))]
pub async fn list_event_types(
    reader: CostReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let meters = metering::publish::meters(app.catalog()).await?;
    let filter = EventFilter::of_types(query.params()?, &app.list_limits(), metered_types(&meters))?;
    let page = app.engine.event_types(reader.scope(), &filter).await?;
    let rows = page.rows.into_iter().map(|row| to_api_type(row, &meters)).collect();
    Page { rows, range: Some(RangeBody::of(filter.range, &app)), next_cursor: page.next_cursor }.answer(&asked)
}

/// Types that need no meter more: a retraction takes another event back.
fn metered_types(meters: &[Meter]) -> BTreeSet<String> {
    meters.iter().map(|meter| meter.event_type.clone()).chain([RETRACTION_TYPE.to_owned()]).collect()
}

fn to_api_event(event: EventRow) -> StoredEventBody {
    StoredEventBody {
        time: event.time.to_string(),
        received_at: event.received_at.to_string(),
        tenant: event.tenant.to_string(),
        source: event.source,
        id: event.id,
        r#type: event.kind,
        dimensions: event.dimensions.into_iter().collect(),
        labels: event.labels.into_iter().collect(),
        // It was read as JSON before it was accepted.
        data: event.data.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
    }
}

fn to_api_type(row: EventTypeRow, meters: &[Meter]) -> EventTypeBody {
    let takes = meters.iter().filter(|meter| meter.event_type == row.kind);
    EventTypeBody {
        meters: takes.map(|meter| meter.name.clone()).collect(),
        r#type: row.kind,
        events: row.events,
        last_time: row.last_time.to_string(),
    }
}
