//! `POST /refresh`: every source is read now.

use super::callers::may_refresh;
use crate::app::App;
use crate::list::json;
use crate::problem::ApiError;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use collectors::sources::Asked;
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
    tracing::info!(actor = asking.actor(), "every source is read now, as {} asked", asking.actor());
    // In a task of its own: who goes away does not leave a source half read.
    let refreshed = tokio::spawn(async move { app.refresh_all().await }.in_current_span()).await;
    let sources = refreshed.map_err(|error| ApiError::Internal(format!("a refresh was stopped: {error}")))??;
    let has_failed = sources.iter().any(|source| source.error.is_some());
    let mut response = json(&RefreshAllBody { sources })?;
    if has_failed {
        *response.status_mut() = StatusCode::MULTI_STATUS;
    }
    Ok(response)
}

impl App {
    /// Reads every source one after the other, and every provider at once; one refresh at a time.
    async fn refresh_all(&self) -> Result<Vec<RefreshedBody>, ApiError> {
        let under_way = |_| ApiError::Unavailable("the sources are being read already; wait for that to end");
        let _turn = self.exporter.refreshing.try_lock().map_err(under_way)?;
        let outcome = |name: String, error: Option<String>| RefreshedBody { name, error };
        let mut refreshed = Vec::new();
        for source in self.sources.list().await? {
            let report = self.sources.refresh(&source.name, &Asked::default()).await;
            refreshed.push(outcome(source.name, report.err().map(|error| error.to_string())));
        }
        for (name, report) in self.providers.refresh_all().await {
            refreshed.push(outcome(name, report.err().map(|error| error.to_string())));
        }
        Ok(refreshed)
    }
}
