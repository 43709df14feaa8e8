//! Ctrl-C while a run is followed: the run is cancelled as well, wherever it is carried out.

use super::Context;
use crate::client::{Call, Client};
use crate::progress::spinner;
use anyhow::Result;
use serde_json::Value;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::signal::ctrl_c;

/// How often a run that is told to end is looked up.
const LOOK: Duration = Duration::from_millis(250);

/// The path of a run, as soon as it is known.
pub type Begun = OnceLock<String>;

/// Returns what the work answers, or none if Ctrl-C ended it. Then the run that it began by then is cancelled; a second
/// Ctrl-C waits for that no longer.
///
/// Nothing around it may end on Ctrl-C first.
///
/// # Errors
/// As the work, or the run cannot be cancelled.
pub async fn or_cancel<T>(
    context: &Context,
    client: &Client,
    begun: &Begun,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    tokio::select! {
        done = work => return done.map(Some),
        _ = ctrl_c() => {}
    }
    if let Some(path) = begun.get() {
        let bar = spinner(context.output.shows_progress(), "cancelling");
        let run = tokio::select! {
            run = cancel(client, path) => run?,
            _ = ctrl_c() => return Ok(None),
        };
        bar.finish_and_clear();
        context.output.note(&end_of(&run));
    }
    Ok(None)
}

/// Cancels a run and returns it when it is over.
async fn cancel(client: &Client, path: &str) -> Result<Value> {
    let mut run = client.json(Call::post(format!("{path}/cancel"))).await?;
    while is_under_way(&run) {
        tokio::time::sleep(LOOK).await;
        run = client.json(Call::get(path)).await?;
    }
    Ok(run)
}

fn is_under_way(run: &Value) -> bool {
    matches!(run.get("status").and_then(Value::as_str), Some("queued" | "running"))
}

/// Returns how a run that was told to end has ended: it may have been faster.
fn end_of(run: &Value) -> String {
    let text = |key: &str| run.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("status") {
        "cancelled" => format!("run {} is cancelled", text("id")),
        status => format!("run {} was over before it could be cancelled: {status}", text("id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_run_is_told_to_end_and_waited_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let told = asked.clone();
        let show = move || {
            let times = asked.fetch_add(1, Ordering::Relaxed);
            let status = if times == 1 { "running" } else { "cancelled" };
            async move { axum::Json(json!({ "id": "r", "status": status })) }
        };
        let cancel_it = move || {
            told.fetch_add(1, Ordering::Relaxed);
            async { axum::Json(json!({ "id": "r", "status": "running" })) }
        };
        let routes =
            axum::Router::new().route("/api/v1/runs/r", get(show)).route("/api/v1/runs/r/cancel", post(cancel_it));
        let run = cancel(&Client::Local(routes), "/runs/r").await.expect("cancelled");
        assert_eq!(end_of(&run), "run r is cancelled");
        let late = json!({ "id": "r", "status": "succeeded" });
        assert_eq!(end_of(&late), "run r was over before it could be cancelled: succeeded");
    }
}
