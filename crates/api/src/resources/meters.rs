//! How events become quantities.

use super::ledger::PageParams;
use crate::access::AdminReader;
use crate::app::App;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use domain::meter::{Meter, builtin};
use engine::query::cursor;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const METERS: &str = "meters";

/// A meter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MeterBody {
    /// Unique name.
    pub name: String,
    /// Unit of its quantities.
    pub unit: String,
    /// compute, storage, network, ai, labor or other.
    pub category: String,
    /// counter or gauge.
    pub kind: String,
    /// CloudEvents type that it meters.
    pub event_type: String,
    /// JSONPath into the event's data; without it every event counts one.
    pub value: Option<String>,
    /// sum, count, min, max, avg, last or unique_count.
    pub aggregation: String,
    /// Labels by name, each a JSONPath into the event's data.
    pub group_by: BTreeMap<String, String>,
    /// Whether it is one that every store has.
    pub builtin: bool,
}

/// Returns the meters in force, by name.
#[utoipa::path(get, path = "/api/v1/meters", tag = "meters", params(PageParams), responses((status = 200, body = Page<MeterBody>)))]
pub async fn list_meters(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let after: Option<String> = page.cursor.as_ref().map(|text| cursor::decode(METERS, text)).transpose()?;
    let meters = metering::publish::meters(app.catalog()).await?;
    let later = meters.into_iter().filter(|meter| after.as_ref().is_none_or(|after| after < &meter.name));
    let found: Vec<Meter> = later.take(page.limit + 1).collect();
    Page::cut(found, page.limit, |meter| cursor::encode(METERS, &meter.name), to_api_meter).answer(&asked)
}

/// Returns a meter.
#[utoipa::path(get, path = "/api/v1/meters/{name}", tag = "meters", params(("name" = String, Path, description = "Name of the meter")),
    responses((status = 200, body = MeterBody)))]
pub async fn show_meter(
    _reader: AdminReader,
    State(app): State<App>,
    Id(name): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    let meters = metering::publish::meters(app.catalog()).await?;
    let found = meters.iter().find(|meter| meter.name == name);
    json(&to_api_meter(found.ok_or(ApiError::NotFound { kind: "meter", name })?))
}

fn to_api_meter(meter: &Meter) -> MeterBody {
    let word = serde_json::to_value(meter.aggregation).ok();
    MeterBody {
        name: meter.name.clone(),
        unit: meter.unit.clone(),
        category: meter.category.as_str().to_owned(),
        kind: meter.kind.as_str().to_owned(),
        event_type: meter.event_type.clone(),
        value: meter.value.clone(),
        aggregation: word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default(),
        group_by: meter.group_by.clone(),
        builtin: builtin().contains(meter),
    }
}
