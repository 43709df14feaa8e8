//! Attribution of a range of days.

use super::ledger::PageParams;
use crate::access::PlatformAdmin;
use crate::app::App;
use crate::around::BasePath;
use crate::audit::NOTHING;
use crate::auth::Caller;
use crate::body::Json;
use crate::convert::{day, instant};
use crate::follow::{event, follow, lost};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs, flag};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::response::sse::Event;
use domain::{Day, DayRange};
use engine::query::cursor;
use engine::run::{RunProgress, RunRequest, RunStatus, RunView, RunWarning};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// How often the progress of a run of another process is looked up.
const POLL: Duration = Duration::from_millis(500);
const RUNS: &str = "runs";

/// Whether the answer waits for the run.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunParams {
    /// `true`: answers when the run is done; also waits for an overlapping run.
    pub wait: Option<bool>,
}

/// What is to be attributed: `from` and `to`, or `due`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// First day.
    #[schema(value_type = Option<String>, example = "2026-10-01")]
    pub from: Option<Day>,
    /// Last day, included.
    #[schema(value_type = Option<String>, example = "2026-10-31")]
    pub to: Option<Day>,
    /// Only these pools, as long as nothing else of the days changed.
    pub pools: Option<Vec<String>>,
    /// Compute, but write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Every day that is due, oldest first, instead of a range; always waits.
    #[serde(default)]
    pub due: bool,
}

/// Something that a person should know about a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunWarningBody {
    /// `fx_missing`, `negative_driver`, `driver_gap`, `widened`, `pending_correction` …
    pub code: String,
    /// The day, if one.
    pub day: Option<String>,
    /// The pool, if one.
    pub pool: Option<String>,
    /// Names and figures.
    pub detail: String,
}

/// A run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunBody {
    /// Its id.
    pub id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// First day.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// What it posted; null when nothing differed.
    pub posting: Option<i64>,
    /// Entries of the posting; of a dry run, those that would be posted.
    pub entries: i64,
    /// What a person should know.
    pub warnings: Vec<RunWarningBody>,
    /// Pools and days that could not be run and keep their entries.
    pub not_run: i64,
    /// Only these pools were asked for.
    pub pools: Option<Vec<String>>,
    /// Whether it writes nothing.
    pub dry_run: bool,
    /// Why it failed, or who cancelled it.
    pub error: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: String,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
}

/// The runs of all due days.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DueRunsBody {
    /// Always null: there is one run per stretch of days.
    pub id: Option<String>,
    /// `succeeded`.
    pub status: String,
    /// First day that was due.
    pub from: Option<String>,
    /// Last day that was due.
    pub to: Option<String>,
    /// The last posting.
    pub posting: Option<i64>,
    /// Entries of all postings.
    pub entries: i64,
    /// Warnings of all runs.
    pub warnings: Vec<RunWarningBody>,
    /// The runs, oldest days first.
    pub runs: Vec<RunBody>,
    /// Older days whose inputs changed; run them by hand.
    pub stale_days: Vec<String>,
}

/// Starts a run: 202 with the run, or 200 when it is done with `wait=true`.
#[utoipa::path(post, path = "/api/v1/runs", tag = "runs", params(RunParams), request_body = NewRun,
    responses((status = 200, body = RunBody, description = "Done, with wait=true"),
              (status = 202, body = RunBody, description = "Under way")))]
pub async fn start_run(
    admin: PlatformAdmin,
    State(app): State<App>,
    BasePath(base): BasePath,
    query: QueryPairs,
    Json(asked): Json<NewRun>,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let wait = flag(&mut params, "wait")?;
    params.finish()?;
    if asked.due {
        return run_due(&app, &admin, &asked).await;
    }
    let request = request_of(asked, &admin.actor)?;
    app.prepare().await?;
    if wait {
        let run = app.engine.run_and_wait(request).await?;
        app.record_run(&admin, &run).await?;
        return json(&to_api_run(&run));
    }
    let run = app.engine.start_run(request).await?;
    app.record_run(&admin, &run).await?;
    let mut response = json(&to_api_run(&run))?;
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(location) = HeaderValue::from_str(&format!("{base}/api/v1/runs/{}", run.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn request_of(asked: NewRun, actor: &str) -> Result<RunRequest, ApiError> {
    let (Some(from), Some(to)) = (asked.from, asked.to) else {
        return Err(ApiError::body("/from", "say which days: `from` and `to`, or `due`"));
    };
    let backwards = || ApiError::body("/to", format!("`to` ({to}) lies before `from` ({from})"));
    let range = DayRange::new(from, to).ok_or_else(backwards)?;
    if asked.pools.as_ref().is_some_and(Vec::is_empty) {
        return Err(ApiError::body("/pools", "name at least one pool, or leave `pools` out for all"));
    }
    Ok(RunRequest { pools: asked.pools, dry_run: asked.dry_run, ..RunRequest::of(range, actor) })
}

impl App {
    /// Records who started a run; one that writes nothing is not recorded.
    pub(super) async fn record_run(&self, caller: &Caller, run: &RunView) -> Result<(), ApiError> {
        if run.dry_run {
            return Ok(());
        }
        let facts = serde_json::json!({
            "from": day(run.from), "to": day(run.to), "pools": run.pools, "status": run.status.as_str(),
            "posting": run.posting, "entries": run.entries, "not_run": run.not_run,
        });
        self.record(caller, "run.start", &run.id, NOTHING, Some(&facts)).await
    }
}

async fn run_due(app: &App, caller: &Caller, asked: &NewRun) -> Result<Response, ApiError> {
    if asked.from.is_some() || asked.to.is_some() || asked.pools.is_some() || asked.dry_run {
        return Err(ApiError::body("/due", "`due` decides the days and pools itself; send nothing else with it"));
    }
    app.prepare().await?;
    let (runs, due) = app.engine.run_due(&caller.actor).await?;
    for run in &runs {
        app.record_run(caller, run).await?;
    }
    let runs: Vec<RunBody> = runs.iter().map(to_api_run).collect();
    json(&DueRunsBody {
        id: None,
        status: RunStatus::Succeeded.as_str().to_owned(),
        from: runs.first().map(|run| run.from.clone()),
        to: runs.last().map(|run| run.to.clone()),
        posting: runs.iter().filter_map(|run| run.posting).max(),
        entries: runs.iter().map(|run| run.entries).sum(),
        warnings: runs.iter().flat_map(|run| run.warnings.clone()).collect(),
        stale_days: due.stale.iter().map(|stale| day(*stale)).collect(),
        runs,
    })
}

/// Returns a run as the wire shows it.
pub(super) fn to_api_run(run: &RunView) -> RunBody {
    RunBody {
        id: run.id.clone(),
        status: run.status.as_str().to_owned(),
        from: day(run.from),
        to: day(run.to),
        posting: run.posting,
        entries: run.entries,
        warnings: run.warnings.iter().map(to_api_warning).collect(),
        not_run: run.not_run,
        pools: run.pools.clone(),
        dry_run: run.dry_run,
        error: run.error.clone(),
        requested_by: run.requested_by.clone(),
        created_at: instant(run.created_at),
        started_at: run.started_at.map(instant),
        finished_at: run.finished_at.map(instant),
    }
}

pub(super) fn to_api_warning(warning: &RunWarning) -> RunWarningBody {
    RunWarningBody {
        code: warning.code.clone(),
        day: warning.day.map(day),
        pool: warning.pool.clone(),
        detail: warning.detail.clone(),
    }
}

/// Returns runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(PageParams), responses((status = 200, body = Page<RunBody>)))]
pub async fn list_runs(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let place: Option<(i64, String)> = page.cursor.as_ref().map(|text| cursor::decode(RUNS, text)).transpose()?;
    let before = place.as_ref().map(|(at, id)| (*at, id.as_str()));
    let runs = app.engine.runs(before, page.rows_wanted()).await?;
    Page::cut(runs, page.limit, |run| cursor::encode(RUNS, &(run.created_at, &run.id)), to_api_run).answer(&asked)
}

/// Returns a run.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = String, Path, description = "Id of the run")),
    responses((status = 200, body = RunBody)))]
pub async fn show_run(
    _admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    json(&to_api_run(&app.engine.run(&id).await?))
}

/// Cancels a run: 202 with the run as it is, which ends as `cancelled` unless it posts already; 200 when it is over.
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, description = "Id of the run")),
    responses((status = 200, body = RunBody, description = "It is over"),
              (status = 202, body = RunBody, description = "It is told")))]
pub async fn cancel_run(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    let run = app.engine.cancel_run(&id, &admin.actor).await?;
    app.told(&admin, ("run.cancel", &run.id), run.finished_at.is_none(), &to_api_run(&run)).await
}

/// How far a run is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunProgressBody {
    /// The run.
    pub id: String,
    /// `running`.
    pub status: String,
    /// Days computed so far.
    pub days_done: i32,
    /// Days asked for.
    pub days_total: i32,
}

/// Streams the progress of a run as server-sent events: `progress` with each day, at the end `done` with the run.
#[utoipa::path(get, path = "/api/v1/runs/{id}/events", tag = "runs", params(("id" = String, Path, description = "Id of the run")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub async fn follow_run(
    _admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    // Followed before it is looked up: a run that ends in between has its end told all the same.
    let follower = app.engine.follow(&id);
    let run = app.engine.run(&id).await?;
    Ok(follow(follower, |step| progress_event(&step), async move { end_of(&app, &run.id).await }))
}

fn progress_event(step: &RunProgress) -> Event {
    let body = RunProgressBody {
        id: step.run.clone(),
        status: RunStatus::Running.as_str().to_owned(),
        days_done: step.done_days,
        days_total: step.total_days,
    };
    event("progress", &body)
}

/// Waits until the run is over, wherever it runs, and tells its end.
async fn end_of(app: &App, id: &str) -> Event {
    loop {
        match app.engine.run(id).await {
            Ok(run) if run.finished_at.is_none() => tokio::time::sleep(POLL).await,
            Ok(run) => return event("done", &to_api_run(&run)),
            Err(error) => {
                tracing::error!(run.id = id, ?error, "run {id} cannot be looked up");
                return lost();
            }
        }
    }
}
