//! What a draft would change in the ledger: policies and rate cards alike.

use super::costs::RangeBody;
use super::runs::{RunWarningBody, to_api_warning};
use crate::app::App;
use crate::convert::{day, money};
use crate::follow::event;
use crate::list::json;
use crate::problem::ApiError;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use engine::run::{Draft, WhatIf, WhatIfQuery, WhatIfRow};
use futures::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use utoipa::{IntoParams, ToSchema};

/// Over which days a draft is tried.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhatIfParams {
    /// `7d 30d 90d mtd last_month 2026-10 2026-10-01..2026-10-31`; default `30d`, at most `limits.simulation_days`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included; not in the future.
    pub to: Option<String>,
    /// Most rows of the answer, 1 to 10000.
    pub limit: Option<u32>,
}

/// What a draft would change for one tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WhatIfRowBody {
    /// The tenant, or the word of a reserved consumer.
    pub tenant: String,
    /// What the ledger holds for the days.
    pub posted: String,
    /// What it would hold.
    pub cost: String,
    /// The cost less what is posted.
    pub change: String,
    /// The estimates beside the money that the ledger holds.
    pub posted_memo: String,
    /// Those that it would hold.
    pub cost_memo: String,
    /// The difference.
    pub change_memo: String,
}

/// Sums over all tenants and reserved consumers, those beyond `limit` too.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WhatIfTotalsBody {
    /// What the ledger holds for the days.
    pub posted: String,
    /// What it would hold.
    pub cost: String,
    /// The cost less what is posted.
    pub change: String,
    /// The estimates beside the money that the ledger holds.
    pub posted_memo: String,
    /// Those that it would hold.
    pub cost_memo: String,
    /// The difference.
    pub change_memo: String,
}

/// What a draft would change in the ledger; nothing was stored.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WhatIfBody {
    /// The tenants and reserved consumers with the largest changes first.
    pub rows: Vec<WhatIfRowBody>,
    /// How many there are.
    pub rows_total: usize,
    /// Of all of them.
    pub totals: WhatIfTotalsBody,
    /// The days.
    pub range: RangeBody,
    /// Currency of every amount: the reporting currency.
    pub currency: String,
    /// Name of the draft.
    pub version: String,
    /// What a run would warn of; pools that could not be run keep what is posted.
    pub warnings: Vec<RunWarningBody>,
    /// Pools and days that could not be run.
    pub not_run: usize,
    /// Days that must run anyway: part of their change comes from what arrived since, not from the draft.
    pub due_days: Vec<String>,
    /// The last posting that it was compared with.
    pub posting: Option<i64>,
}

/// How far it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WhatIfProgressBody {
    /// `running`.
    pub status: String,
    /// Days computed so far.
    pub days_done: i32,
    /// Days asked for.
    pub days_total: i32,
}

/// Days that are done and days that there are.
type Step = (i32, i32);

/// Tries the draft and answers what it changes: as JSON, or as server-sent events with the progress before it, when
/// `Accept` asks for these. It ends with the caller's connection and with the server.
pub(crate) async fn answer(
    app: App,
    draft: Draft,
    query: WhatIfQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let (told, steps) = unbounded_channel::<Step>();
    let seconds_max = app.limits.read_seconds_max;
    let full = |_| ApiError::TooManySimulations { simulations_max: app.limits.simulations_max };
    let mut place = app.simulations.enter().map_err(full)?;
    let work = async move {
        let progress = move |done: i32, total: i32| {
            // Nobody listening is no error.
            let _ = told.send((done, total));
        };
        let found = tokio::select! {
            found = app.engine.what_if_all_tenants(draft, &query, progress) => found?,
            () = place.stopped() => return Err(ApiError::Unavailable("the server stops; try again later")),
        };
        Ok::<_, ApiError>(to_api_what_if(found, app.zone().name()))
    };
    if wants_events(headers) {
        return Ok(Sse::new(events(Box::pin(work), steps)).keep_alive(KeepAlive::default()).into_response());
    }
    drop(steps);
    let late = |_| {
        ApiError::Unavailable(
            "the draft took too long (limits.query_time); ask for fewer days, or for text/event-stream",
        )
    };
    json(&tokio::time::timeout(Duration::from_secs(seconds_max), work).await.map_err(late)??)
}

/// Whether progress is asked for.
fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}

/// The work under way; dropping it ends it.
type Work = Pin<Box<dyn Future<Output = Result<WhatIfBody, ApiError>> + Send>>;

/// `progress` with each day, and at the end `done` with the answer, or `error`.
fn events(work: Work, steps: UnboundedReceiver<Step>) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    futures::stream::unfold(Some((work, steps)), |under_way| async move {
        let (mut work, mut steps) = under_way?;
        tokio::select! {
            biased;
            Some((days_done, days_total)) = steps.recv() => {
                let body = WhatIfProgressBody { status: "running".to_owned(), days_done, days_total };
                Some((Ok(event("progress", &body)), Some((work, steps))))
            }
            done = &mut work => Some((Ok(end_of(done)), None)),
        }
    })
}

fn end_of(done: Result<WhatIfBody, ApiError>) -> Event {
    match done {
        Ok(body) => event("done", &body),
        Err(error) => {
            let code = error.code();
            if matches!(code, "internal" | "store_damaged") {
                tracing::error!(?error, "a what-if ended");
                return event("error", &serde_json::json!({ "status": "failed", "code": code }));
            }
            event("error", &serde_json::json!({ "status": "failed", "code": code, "detail": error.to_string() }))
        }
    }
}

fn to_api_what_if(found: WhatIf, timezone: &str) -> WhatIfBody {
    let totals = &found.totals;
    WhatIfBody {
        totals: WhatIfTotalsBody {
            posted: money(totals.posted),
            cost: money(totals.cost()),
            change: money(totals.change),
            posted_memo: money(totals.posted_memo),
            cost_memo: money(totals.cost_memo()),
            change_memo: money(totals.change_memo),
        },
        rows: found.rows.iter().map(to_api_row).collect(),
        rows_total: found.rows_total,
        range: RangeBody { from: day(found.range.from()), to: day(found.range.to()), timezone: timezone.to_owned() },
        currency: found.currency.to_string(),
        version: found.version,
        warnings: found.warnings.iter().map(to_api_warning).collect(),
        not_run: found.not_run,
        due_days: found.due_days.into_iter().map(day).collect(),
        posting: found.posting,
    }
}

fn to_api_row(row: &WhatIfRow) -> WhatIfRowBody {
    WhatIfRowBody {
        tenant: row.tenant.clone(),
        posted: money(row.posted),
        cost: money(row.cost()),
        change: money(row.change),
        posted_memo: money(row.posted_memo),
        cost_memo: money(row.cost_memo()),
        change_memo: money(row.change_memo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn progress_is_told_to_who_accepts_events() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            wants_events(&headers)
        };
        assert!(wants("text/event-stream") && wants("application/json, Text/Event-Stream;q=0.5"));
        assert!(!wants("application/json") && !wants("*/*") && !wants_events(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn steps_are_told_as_they_come_and_a_failure_ends_them() {
        let (told, steps) = unbounded_channel();
        let work = async move {
            told.send((1, 2)).expect("somebody listens");
            tokio::task::yield_now().await;
            Err(ApiError::Unavailable("too late"))
        };
        let answer = Sse::new(events(Box::pin(work), steps)).into_response();
        let bytes = to_bytes(answer.into_body(), 1_000).await.expect("events");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let first = "event: progress\ndata: {\"status\":\"running\",\"days_done\":1,\"days_total\":2}\n\n";
        assert!(text.starts_with(first), "{text}");
        assert!(
            text[first.len()..].starts_with("event: error\n") && text.contains("\"code\":\"unavailable\""),
            "{text}"
        );
    }

    #[tokio::test]
    async fn who_goes_away_ends_the_work() {
        struct Noted(Arc<AtomicBool>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let ended = Arc::new(AtomicBool::new(false));
        let noted = Noted(Arc::clone(&ended));
        let (told, steps) = unbounded_channel();
        let work = async move {
            let _noted = noted;
            told.send((1, 9)).expect("somebody listens");
            std::future::pending::<Result<WhatIfBody, ApiError>>().await
        };
        let mut stream = Box::pin(events(Box::pin(work), steps));
        let step = futures::StreamExt::next(&mut stream).await;
        assert!(matches!(step, Some(Ok(_))), "a step");
        assert!(!ended.load(Ordering::SeqCst));
        drop(stream);
        assert!(ended.load(Ordering::SeqCst));
    }
}
