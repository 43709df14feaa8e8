//! Imports of usage events from files.

use crate::access::PlatformAdmin;
use crate::app::App;
use crate::body::{pieces, to_file};
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::{Request, State};
use axum::response::Response;
use collectors::under_way::{Counted, ProgressUnit};
use metering::MeteringError;
use metering::import::{EventImportContext, EventImportReport, Progress, import_events};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Name of a file that has none.
const NAME_DEFAULT: &str = "events";

/// Name of the file.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventImportParams {
    /// Name of the file, for the list of imports.
    pub name: Option<String>,
}

/// One refused event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RejectedEventBody {
    /// Its number in the file, from 0.
    pub index: u64,
    /// Its id, if it could be read.
    pub id: Option<String>,
    /// Which rule.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// What an import of events did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventImportBody {
    /// The import; null when nothing was stored.
    pub import_id: Option<String>,
    /// Events stored.
    pub accepted: u64,
    /// Events that came before with the same content.
    pub duplicates: u64,
    /// The first refused events.
    pub rejected: Vec<RejectedEventBody>,
    /// All refused events.
    pub rejected_total: u64,
    /// Accepted events in which a meter found a value.
    pub metered: u64,
    /// Accepted events without the value of a meter of their type, by meter.
    pub skipped_by_meter: BTreeMap<String, u64>,
    /// Values that had more than nine fractional digits.
    pub rounded_values: u64,
    /// Accepted events without a time; they got the time of the import.
    pub server_times: u64,
    /// Tenants that did not exist before.
    pub tenants_created: Vec<String>,
    /// Days whose usage changed.
    pub days: Vec<String>,
}

/// Imports a file of CloudEvents: NDJSON, a JSON list or one object, plain, gzip or zstd. Each event counts once.
#[utoipa::path(post, path = "/api/v1/events/imports", tag = "events", params(EventImportParams),
    request_body(content((String = "application/x-ndjson"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 200, body = EventImportBody)))]
pub async fn import_event_file(
    admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let name = params.text("name").unwrap_or_else(|| NAME_DEFAULT.to_owned());
    params.finish()?;
    // On disk first: a sender that is slow or breaks off holds nothing else up.
    let (path, _) = to_file(&app, pieces(&app, request.into_body()), app.limits.upload_bytes_max).await?;
    let file = tokio::fs::File::open(&path).await.map_err(crate::body::disk_failed)?;
    let context = context(&app).await?;
    let under_way = app.begin_import("events", &name).await?;
    let (counter, cancel) = (under_way.counter().clone(), under_way.cancel().clone());
    let progress: Progress = Arc::new(move |done| {
        counter.set(Counted { done, total: 0, unit: ProgressUnit::Event });
        if cancel.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let work = import_events(&context, &name, file, progress);
    let report = under_way.carry_out(work, |error| matches!(error, MeteringError::Cancelled)).await?;
    let body = to_api_report(&report);
    if report.import_id.is_some() {
        let facts = serde_json::json!({ "import_id": body.import_id, "accepted": body.accepted, "rejected": body.rejected_total });
        app.record(&admin, "events.import", &name, crate::audit::NOTHING, Some(&facts)).await?;
    }
    json(&body)
}

async fn context(app: &App) -> Result<EventImportContext, ApiError> {
    let (setup, now) = app.events.in_force();
    Ok(EventImportContext {
        lake: app.engine.lake().clone(),
        catalog: app.catalog().clone(),
        imports: app.imports.clone(),
        log: app.events.clone(),
        now,
        rules: Arc::new(app.event_rules(None).await?),
        meters: setup.meters,
    })
}

fn to_api_report(report: &EventImportReport) -> EventImportBody {
    let rejected = report.rejected.iter().map(|event| RejectedEventBody {
        index: event.index,
        id: event.id.clone(),
        code: event.code.as_str().to_owned(),
        detail: event.detail.clone(),
    });
    EventImportBody {
        import_id: report.import_id.clone(),
        accepted: report.accepted,
        duplicates: report.duplicates,
        rejected: rejected.collect(),
        rejected_total: report.rejected_total,
        metered: report.metered,
        skipped_by_meter: report.skipped_by_meter.clone(),
        rounded_values: report.rounded_values,
        server_times: report.server_times,
        tenants_created: report.tenants_created.clone(),
        days: report.days.iter().map(ToString::to_string).collect(),
    }
}
