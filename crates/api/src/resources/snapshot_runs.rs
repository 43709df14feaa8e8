//! Measuring the workspaces of applications now.

use super::ledger::PageParams;
use crate::access::{PlatformAdmin, PlatformAdminOnly};
use crate::app::App;
use crate::around::BasePath;
use crate::audit::NOTHING;
use crate::convert::{day, instant};
use crate::follow::{event, follow, lost};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs, day_of, flag};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::response::sse::Event;
use collectors::workspaces::{Begun, RunProgress, RunState, SnapshotRun};
use domain::Day;
use engine::query::cursor;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

const RUNS: &str = "snapshot-runs";

/// What is measured.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SnapshotRunParams {
    /// Day of the snapshots, `YYYY-MM-DD`; today if it is not given. Of a past day counters are measured, levels stay.
    pub date: Option<String>,
    /// `true`: answers when the run is done.
    pub wait: Option<bool>,
    /// `true`: measures and stores nothing; always waits.
    pub dry_run: Option<bool>,
}

/// A workspace that was not measured; it keeps what was measured of it on that day before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailedTenantBody {
    /// Whose workspaces.
    pub source: String,
    /// Its id.
    pub tenant: String,
    /// Why.
    pub reason: String,
}

/// A run that measures the workspaces of every application on one day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnapshotRunBody {
    /// Its id.
    pub id: String,
    /// `running`, `succeeded`, `failed` or `cancelled`. One that succeeded may have left single workspaces out: see `failed`.
    pub status: String,
    /// Day of the snapshots.
    pub date: String,
    /// Workspaces that were measured.
    pub tenants: usize,
    /// The first workspaces that were not.
    pub failed: Vec<FailedTenantBody>,
    /// All workspaces that were not.
    pub failed_total: usize,
    /// Workspaces with a quantity that stands in for one that could not be read.
    pub degraded: usize,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// Why a source was not measured, or who cancelled the run.
    pub error: Option<String>,
    /// Whether the database of a source was not reached, or let nobody in.
    pub unreachable: bool,
    /// Who asked for it.
    pub requested_by: String,
    /// When it began.
    pub created_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
}

/// How far a run is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnapshotProgressBody {
    /// The run.
    pub id: String,
    /// `running`.
    pub status: String,
    /// Workspaces that are done.
    pub done: usize,
    /// Workspaces that are known so far.
    pub total: usize,
}

impl App {
    /// Measures every workspace on a day, today if none is given, and returns how it ended; waits for a run of that day
    /// that is under way. Repeating it is safe.
    ///
    /// # Errors
    /// The day lies in the future, there is no source, or the catalog fails. What a source says is in the run.
    pub async fn run_snapshots(&self, date: Option<Day>, requested_by: &str) -> Result<SnapshotRun, ApiError> {
        match self.workspaces.begin(date, requested_by).await? {
            Begun::Other(run) => Ok(self.workspaces.wait_for(&run.id).await?),
            Begun::Mine(run) => self.carry_out(run).await,
        }
    }

    /// Records who had workspaces measured: the actor and the request that asked.
    pub(crate) async fn record_snapshot_run(&self, asking: (&str, &str), run: &SnapshotRun) -> Result<(), ApiError> {
        let body = to_api_run(run);
        let facts = serde_json::json!({
            "status": body.status, "date": body.date, "tenants": body.tenants, "failed": body.failed_total,
        });
        self.record_of(asking, "snapshots.run", &body.id, NOTHING, Some(&facts)).await
    }

    async fn carry_out(&self, run: SnapshotRun) -> Result<SnapshotRun, ApiError> {
        let run = self.workspaces.carry_out(run).await?;
        // New workspaces are tenants that events may name from now on.
        self.set_up_events().await?;
        Ok(run)
    }
}

/// Measures the workspaces of every application: 202 with the run, or 200 when it is done with `wait=true`.
///
/// A day that is measured again is replaced. While a run of the day is under way, that one is answered.
#[utoipa::path(post, path = "/api/v1/snapshots/run", tag = "snapshots", params(SnapshotRunParams),
    responses((status = 200, body = SnapshotRunBody, description = "Done, with wait=true"),
              (status = 202, body = SnapshotRunBody, description = "Under way")))]
pub async fn start_snapshot_run(
    admin: PlatformAdmin,
    State(app): State<App>,
    BasePath(base): BasePath,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let date = day_of(&mut params, "date")?;
    let (wait, dry_run) = (flag(&mut params, "wait")?, flag(&mut params, "dry_run")?);
    params.finish()?;
    if dry_run {
        return json(&to_api_run(&app.workspaces.try_out(date, None).await?));
    }
    if wait {
        let run = app.run_snapshots(date, &admin.actor).await?;
        app.record_snapshot_run((&admin.actor, &admin.request_id), &run).await?;
        return json(&to_api_run(&run));
    }
    let run = match app.workspaces.begin(date, &admin.actor).await? {
        Begun::Other(run) => run,
        Begun::Mine(run) => {
            let (app, begun) = (app.clone(), run.clone());
            tokio::spawn(async move {
                let id = begun.id.clone();
                if let Err(error) = app.carry_out(begun).await {
                    tracing::error!(run.id = %id, ?error, "snapshot run {id} failed");
                }
            });
            run
        }
    };
    app.record_snapshot_run((&admin.actor, &admin.request_id), &run).await?;
    let mut response = json(&to_api_run(&run))?;
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&format!("{base}/api/v1/snapshots/runs/{}", run.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Returns runs that measured workspaces, newest first.
#[utoipa::path(get, path = "/api/v1/snapshots/runs", tag = "snapshots", params(PageParams),
    responses((status = 200, body = Page<SnapshotRunBody>)))]
pub async fn list_snapshot_runs(
    _admin: PlatformAdminOnly,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let place: Option<(i64, String)> = page.cursor.as_ref().map(|text| cursor::decode(RUNS, text)).transpose()?;
    let before = place.as_ref().map(|(at, id)| (*at, id.as_str()));
    let runs = app.workspaces.runs(before, page.rows_wanted()).await?;
    Page::cut(runs, page.limit, |run| cursor::encode(RUNS, &(run.created_at, &run.id)), to_api_run).answer(&asked)
}

/// Returns a run that measures workspaces.
#[utoipa::path(get, path = "/api/v1/snapshots/runs/{id}", tag = "snapshots",
    params(("id" = String, Path, description = "Id of the run")), responses((status = 200, body = SnapshotRunBody)))]
pub async fn show_snapshot_run(
    _admin: PlatformAdminOnly,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    json(&to_api_run(&app.workspaces.run(&id).await?))
}

/// Cancels a run: 202 with the run as it is, which ends as `cancelled` unless it stores its last source already; 200 when it
/// is over. The source that is being measured keeps what it had; what was stored of others stays.
#[utoipa::path(post, path = "/api/v1/snapshots/runs/{id}/cancel", tag = "snapshots",
    params(("id" = String, Path, description = "Id of the run")),
    responses((status = 200, body = SnapshotRunBody, description = "It is over"),
              (status = 202, body = SnapshotRunBody, description = "It is told")))]
pub async fn cancel_snapshot_run(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    let run = app.workspaces.cancel(&id, &admin.actor).await?;
    let is_under_way = run.state == RunState::Running;
    app.told(&admin, ("snapshots.cancel", &run.id), is_under_way, &to_api_run(&run)).await
}

/// Streams the progress of a run as server-sent events: `progress` with workspaces that are done, at the end `done` with
/// the run.
#[utoipa::path(get, path = "/api/v1/snapshots/runs/{id}/events", tag = "snapshots",
    params(("id" = String, Path, description = "Id of the run")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub async fn follow_snapshot_run(
    _admin: PlatformAdminOnly,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    // Followed before it is looked up: a run that ends in between has its end told all the same.
    let follower = app.workspaces.follow(&id);
    let run = app.workspaces.run(&id).await?;
    Ok(follow(follower, move |step| progress_event(&id, step), async move { end_of(&app, &run.id).await }))
}

fn progress_event(id: &str, step: RunProgress) -> Event {
    let status = RunState::Running.as_str().to_owned();
    event("progress", &SnapshotProgressBody { id: id.to_owned(), status, done: step.done, total: step.total })
}

/// Waits until the run is over, wherever it runs, and tells its end.
async fn end_of(app: &App, id: &str) -> Event {
    match app.workspaces.wait_for(id).await {
        Ok(run) => event("done", &to_api_run(&run)),
        Err(error) => {
            tracing::error!(run.id = id, ?error, "snapshot run {id} cannot be looked up");
            lost()
        }
    }
}

/// Returns a run as the wire shows it.
fn to_api_run(run: &SnapshotRun) -> SnapshotRunBody {
    let failed = run.found.failed.iter().map(|failed| FailedTenantBody {
        source: failed.source.clone(),
        tenant: failed.tenant.clone(),
        reason: failed.reason.clone(),
    });
    SnapshotRunBody {
        id: run.id.clone(),
        status: run.state.as_str().to_owned(),
        date: day(run.date),
        tenants: run.found.tenants,
        failed: failed.collect(),
        failed_total: run.found.failed_total,
        degraded: run.found.degraded,
        warnings: run.found.warnings.clone(),
        error: run.error.clone(),
        unreachable: run.found.unreachable,
        requested_by: run.found.requested_by.clone(),
        created_at: instant(run.created_at),
        finished_at: run.finished_at.map(instant),
    }
}
