//! What is done once a day, when it is done next, and what became of it last.

use super::ledger::PageParams;
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::instant;
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use crate::schedule::JobState;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// A job that is done once a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScheduledJobBody {
    /// snapshot, attribute or collect.
    pub job: String,
    /// Time of day.
    pub at: String,
    /// Zone of that time.
    pub timezone: String,
    /// When it is done next; now, if a day is late.
    pub next_run_at: String,
    /// The last day on which it was done; null before the first.
    pub last_day: Option<String>,
    /// Day of the newest attempt.
    pub day: Option<String>,
    /// What became of the newest attempt: running, succeeded or failed; null before the first.
    pub status: Option<String>,
    /// How often that day was tried.
    pub attempts: i64,
    /// When the newest attempt began.
    pub started_at: Option<String>,
    /// When it ended; null while it runs.
    pub finished_at: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Returns the jobs that this server does once a day, and when each is done next.
#[utoipa::path(get, path = "/api/v1/schedule", tag = "runs", params(PageParams), responses((status = 200, body = Page<ScheduledJobBody>)))]
pub async fn show_schedule(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let timezone = app.zone().name().to_owned();
    let states = app.schedule_state().await?;
    Page::of_all(states, &page, "schedule", |state| to_api_job(state, &timezone))?.answer(&asked)
}

fn to_api_job(state: &JobState, timezone: &str) -> ScheduledJobBody {
    let newest = state.newest.as_ref();
    ScheduledJobBody {
        job: state.job.name.to_owned(),
        at: state.job.daily.to_string(),
        timezone: timezone.to_owned(),
        next_run_at: instant(state.next_run_at.micros()),
        last_day: state.last_day.clone(),
        day: newest.map(|row| row.target.clone()),
        status: newest.map(|row| row.status.clone()),
        attempts: newest.map_or(0, |row| row.attempts),
        started_at: newest.and_then(|row| row.started_at).map(instant),
        finished_at: newest.and_then(|row| row.finished_at).map(instant),
        error: newest.and_then(|row| row.error.clone()),
    }
}
