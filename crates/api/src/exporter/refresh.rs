//! `POST /refresh`: every source is read now.

use super::callers::may_refresh;
use crate::app::App;
use crate::audit::NOTHING;
use crate::auth::RequestId;
use crate::list::json;
use crate::problem::ApiError;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use collectors::sources::{Asked, SourceStatus};
use collectors::workspaces::RunState;
use serde::Serialize;
use tracing::Instrument as _;

/// What became of a source.
#[derive(Clone, Debug, Serialize)]
struct RefreshedBody {
    /// The source.
    name: String,
    /// Why it could not be read; null if it was.
    error: Option<String>,
}

/// What became of all sources.
#[derive(Clone, Debug, Serialize)]
struct RefreshAllBody {
    sources: Vec<RefreshedBody>,
}

/// Reads every source that is collected, and answers when all of them ended: 200, or 207 if some could not be read.
pub(super) async fn refresh(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let asking = may_refresh(&app, &parts).await?;
    let actor = asking.actor().to_owned();
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    tracing::info!(actor, "every source is read now, as {actor} asked");
    // In a task of its own: who goes away does not leave a source half read.
    let refreshed = tokio::spawn(async move { app.refresh_all((&actor, &request_id)).await }.in_current_span()).await;
    let sources = refreshed.map_err(|error| ApiError::Internal(format!("a refresh was stopped: {error}")))??;
    let has_failed = sources.iter().any(|source| source.error.is_some());
    let mut response = json(&RefreshAllBody { sources })?;
    if has_failed {
        *response.status_mut() = StatusCode::MULTI_STATUS;
    }
    Ok(response)
}

impl App {
    /// Reads every source one after the other, then every provider at once, then measures all workspaces; one refresh at a
    /// time. What changed anything is in the audit log under the actor and the request that asked, as after
    /// `POST /sources/{name}/refresh`.
    async fn refresh_all(&self, asking: (&str, &str)) -> Result<Vec<RefreshedBody>, ApiError> {
        let under_way = |_| ApiError::Unavailable("the sources are being read already; wait for that to end");
        let _turn = self.exporter.refreshing.try_lock().map_err(under_way)?;
        let outcome = |name: String, error: Option<String>| RefreshedBody { name, error };
        let mut refreshed = Vec::new();
        for source in self.sources.list().await? {
            let (report, done) = self.sources.refresh_as_far(&source.name, &Asked::default()).await;
            self.record_refresh(asking, &source.name, &[], report.taken.accepted).await?;
            refreshed.push(outcome(source.name, done.err().map(|error| error.to_string())));
        }
        for (report, done) in self.providers.refresh_all().await {
            let changed = report.periods.iter().filter(|period| !period.unchanged);
            let changed: Vec<&str> = changed.map(|period| period.period.as_str()).collect();
            self.record_refresh(asking, &report.name, &changed, report.taken.accepted).await?;
            refreshed.push(outcome(report.name, done.err().map(|error| error.to_string())));
        }
        refreshed.extend(self.measure_workspaces(asking).await?);
        Ok(refreshed)
    }

    /// Measures the workspaces of every application today, if there is one.
    async fn measure_workspaces(&self, asking: (&str, &str)) -> Result<Vec<RefreshedBody>, ApiError> {
        if self.workspaces.is_empty() {
            return Ok(Vec::new());
        }
        let run = self.run_snapshots(None, asking.0).await?;
        self.record_snapshot_run(asking, &run).await?;
        let is_cancelled = run.state == RunState::Cancelled;
        let cancelled = run.error.filter(|_| is_cancelled);
        let outcome = |status: SourceStatus| {
            let error = status.last_error.or_else(|| cancelled.clone());
            RefreshedBody { name: status.name, error }
        };
        Ok(self.workspaces.statuses().await?.into_iter().map(outcome).collect())
    }

    /// Records what a source brought, if that is anything.
    async fn record_refresh(
        &self,
        asking: (&str, &str),
        name: &str,
        periods: &[&str],
        accepted: u64,
    ) -> Result<(), ApiError> {
        if periods.is_empty() && accepted == 0 {
            return Ok(());
        }
        let facts = serde_json::json!({ "billing_periods": periods, "accepted": accepted });
        self.record_of(asking, "source.refresh", name, NOTHING, Some(&facts)).await
    }
}
