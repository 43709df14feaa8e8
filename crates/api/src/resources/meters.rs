//! How events become quantities.

use super::ledger::PageParams;
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::body::Json;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs, day_of};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::meter::{Aggregation, Category, Meter, MeterKind, builtin};
use engine::EngineError;
use engine::query::cursor;
use metering::backfill::{BackfillContext, BackfillReport, backfill};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

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

/// A meter as somebody defines it; the name is that of the path.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterDefinition {
    /// The name, if it is repeated here.
    #[serde(default)]
    pub name: Option<String>,
    /// Unit of its quantities.
    pub unit: String,
    /// compute, storage, network, ai, labor or other.
    #[schema(value_type = String)]
    pub category: Category,
    /// counter or gauge.
    #[schema(value_type = String)]
    pub kind: MeterKind,
    /// CloudEvents type that it meters.
    pub event_type: String,
    /// JSONPath into the event's data; without it every event counts one.
    #[serde(default)]
    pub value: Option<String>,
    /// sum, count, min, max, avg, last or unique_count.
    #[schema(value_type = String)]
    pub aggregation: Aggregation,
    /// Labels by name, each a JSONPath into the event's data.
    #[serde(default)]
    pub group_by: BTreeMap<String, String>,
}

/// Defines a meter. It takes the events that come from now on; a meter that has usage keeps its meaning.
#[utoipa::path(put, path = "/api/v1/meters/{name}", tag = "meters", params(("name" = String, Path, description = "Name of the meter")),
    request_body = MeterDefinition, responses((status = 200, body = MeterBody)))]
pub async fn put_meter(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(name): Id,
    query: QueryPairs,
    Json(given): Json<MeterDefinition>,
) -> Result<Response, ApiError> {
    query.none()?;
    if given.name.as_ref().is_some_and(|given| *given != name) {
        return Err(ApiError::body("/name", "`name` is not that of the path"));
    }
    let MeterDefinition { unit, category, kind, event_type, value, aggregation, group_by, .. } = given;
    let meter = Meter { name, unit, category, kind, event_type, value, aggregation, group_by };
    let before = metering::publish::meters(app.catalog()).await?.into_iter().find(|known| known.name == meter.name);
    let body = to_api_meter(&meter);
    // Or a meter that has usage could be given another meaning.
    app.events.tell_owed().await?;
    if metering::publish::put_meter(app.catalog(), &meter, &admin.actor, app.now()).await? {
        app.set_up_events().await?;
        app.record(&admin, "meter.put", &meter.name, before.as_ref().map(to_api_meter).as_ref(), Some(&body)).await?;
    }
    json(&body)
}

/// Hides a meter: it takes no more events, and its usage stays.
#[utoipa::path(delete, path = "/api/v1/meters/{name}", tag = "meters", params(("name" = String, Path, description = "Name of the meter")),
    responses((status = 204, description = "Hidden")))]
pub async fn delete_meter(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(name): Id,
    query: QueryPairs,
) -> Result<StatusCode, ApiError> {
    query.none()?;
    let hidden = metering::publish::hide_meter(app.catalog(), &name, &admin.actor, app.now()).await?;
    let hidden = hidden.ok_or_else(|| ApiError::NotFound { kind: "meter", name: name.clone() })?;
    app.set_up_events().await?;
    app.record(&admin, "meter.hide", &name, Some(&to_api_meter(&hidden)), crate::audit::NOTHING).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// From which day on stored events are metered.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackfillParams {
    /// First day; it must be given.
    pub from: Option<String>,
}

/// What a backfill did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BackfillBody {
    /// The meter.
    pub meter: String,
    /// First day.
    pub from: String,
    /// Last day: today.
    pub through: String,
    /// Events that count now and did not before.
    pub events: u64,
    /// Events of the meter's type without a value that it can take.
    pub skipped: u64,
    /// Rows of usage.
    pub rows: u64,
    /// Days whose usage changed: they are due.
    pub days_touched: Vec<String>,
}

/// Meters stored events from a day on that came before the meter, each once; a repeat counts nothing twice.
///
/// Answers when it is done. If the answer is lost, ask again: what was counted is not counted again.
#[utoipa::path(post, path = "/api/v1/meters/{name}/backfill", tag = "meters",
    params(("name" = String, Path, description = "Name of the meter"), BackfillParams), responses((status = 200, body = BackfillBody)))]
pub async fn backfill_meter(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(name): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let from = day_of(&mut params, "from")?;
    params.finish()?;
    let from = from.ok_or_else(|| ApiError::parameter("from", "say from which day on: `from`"))?;
    if app.today() < from {
        return Err(ApiError::parameter("from", format!("{from} lies in the future")));
    }
    let meters = metering::publish::meters(app.catalog()).await?;
    let meter = meters.into_iter().find(|meter| meter.name == name);
    let meter = meter.ok_or_else(|| ApiError::NotFound { kind: "meter", name: name.clone() })?;
    if meter.aggregation == Aggregation::UniqueCount {
        return Err(EngineError::NotAvailable("a backfill of a meter that counts distinct values".to_owned()).into());
    }
    let context = BackfillContext {
        lake: app.engine.lake().clone(),
        catalog: app.catalog().clone(),
        log: app.events.clone(),
        zone: app.zone().clone(),
        now: app.now(),
    };
    let body = to_api_backfill(backfill(&context, &meter, from).await?);
    app.record(&admin, "meter.backfill", &name, crate::audit::NOTHING, Some(&body)).await?;
    json(&body)
}

fn to_api_backfill(report: BackfillReport) -> BackfillBody {
    BackfillBody {
        meter: report.meter,
        from: report.from.to_string(),
        through: report.through.to_string(),
        events: report.events,
        skipped: report.skipped,
        rows: report.rows,
        days_touched: report.days.iter().map(ToString::to_string).collect(),
    }
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
