//! Billing months: which are closed, closing and reopening them.

use super::runs::{RunBody, to_api_run};
use super::source_periods::{SourcePeriodBody, to_api_source_period};
use crate::access::FinanceWriter;
use crate::app::App;
use crate::audit::NOTHING;
use crate::body::{Json, OptionalJson};
use crate::convert::{day, instant, money};
use crate::idempotency::{digest_of, key_of};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, PageAsked, QueryPairs};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::Month;
use engine::periods::{CloseRequest, EvidenceFile, LastChange, Obstacle, PeriodChanged, PeriodRow, ReopenRequest};
use engine::run::{ConsumerCorrection, PendingCorrection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

const PERIODS: &str = "periods";
const REASON_CHARS_MAX: usize = 2000;

/// Which page of the months.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodParams {
    /// Only this month, `YYYY-MM`.
    pub month: Option<String>,
    /// `false` leaves `obstacles` and `notes` of every month empty: they take longer than all else.
    pub checklist: Option<bool>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// A reason against closing a month, or something to know before it is closed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ObstacleBody {
    /// `days_due`, `pool_not_run`, `pending`, `source_period_open`, `source_period_missing`, `driver_gap`, `unattributed` …
    pub code: String,
    /// What it is about: a day, a pool, a source.
    pub about: String,
    /// Names, figures and what to do.
    pub detail: String,
}

/// What a tenant or reserved word would be corrected by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsumerCorrectionBody {
    /// The tenant or reserved word.
    pub consumer: String,
    /// The cost metric in the reporting currency.
    pub amount_reporting: String,
    /// BilledCost by currency.
    pub billed_amount: BTreeMap<String, String>,
}

/// A difference of a closed month that is too small to be posted by itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PendingCorrectionBody {
    /// The day.
    pub date: String,
    /// The pool.
    pub pool: String,
    /// What each tenant or reserved word would be corrected by.
    pub consumers: Vec<ConsumerCorrectionBody>,
}

/// What the windows of one day looked like at a close: a file of the lake, `evidence/<sha256>.jsonl`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EvidenceBody {
    /// The day.
    pub date: String,
    /// Hash of the file, and its name.
    pub sha256: String,
    /// Cost events in it.
    pub cost_events: usize,
}

/// A billing month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BillingMonthBody {
    /// `YYYY-MM`.
    pub month: String,
    /// `open` or `closed`.
    pub state: String,
    /// How often it was closed.
    pub closes: u32,
    /// The posting of its last close or reopen.
    pub posting: Option<i64>,
    /// When that was booked.
    pub changed_at: Option<String>,
    /// Who did it.
    pub changed_by: Option<String>,
    /// Reason of a reopen or a forced close.
    pub reason: Option<String>,
    /// What stood against a close that was forced.
    pub forced: Vec<ObstacleBody>,
    /// What the windows of the month looked like when it was closed, by day.
    pub evidence: Vec<EvidenceBody>,
    /// Whether the month has ended and it is its turn to be closed.
    pub is_next: bool,
    /// What stands against closing it now; empty unless `is_next`, and with `checklist=false`.
    pub obstacles: Vec<ObstacleBody>,
    /// What should be known before it is closed.
    pub notes: Vec<ObstacleBody>,
    /// Differences that were too small to be posted while it was closed; `POST /periods/sweep` posts them.
    pub pending_corrections: Vec<PendingCorrectionBody>,
    /// Billing periods of the sources that begin with the month.
    pub sources: Vec<SourcePeriodBody>,
}

/// How a month is closed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosePeriod {
    /// Close it although reasons stand against it; needs a `reason`, and is stored with them.
    #[serde(default)]
    pub force: bool,
    /// Why it is forced.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Why a month is reopened.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReopenPeriod {
    /// Why.
    pub reason: String,
}

/// A month that was closed or reopened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeriodChangedBody {
    /// `YYYY-MM`.
    pub month: String,
    /// `open` or `closed`.
    pub state: String,
    /// The posting that did it.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: String,
    /// What stood against a close that was forced.
    pub forced: Vec<ObstacleBody>,
}

/// What a sweep posted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SweepBody {
    /// The last posting; null when nothing was noted.
    pub posting: Option<i64>,
    /// Entries of all postings.
    pub entries: i64,
    /// The runs, one per stretch of days, oldest first.
    pub runs: Vec<RunBody>,
}

/// Returns the billing months from the first with entries to the current one, newest first.
#[utoipa::path(get, path = "/api/v1/periods", tag = "periods", params(PeriodParams), responses((status = 200, body = Page<BillingMonthBody>)))]
pub async fn list_periods(
    _finance: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let page = PageAsked::take(&mut params, &app.list_limits())?;
    let only: Option<Month> = params.parsed("month")?;
    let checklist = params.word("checklist", &[("true", true), ("false", false)])?;
    params.finish()?;
    let is_wanted = |month: Month| only.is_none_or(|only| only == month);
    let mut months = app.engine.list_periods_all_tenants(|month| checklist && is_wanted(month)).await?;
    months.retain(|row| is_wanted(row.month));
    Page::of_all(months, &page, PERIODS, to_api_period)?.answer(&asked)
}

/// Closes a month: its costs are billed in the earliest open month from then on.
///
/// With an `Idempotency-Key` it is closed once, also when the server stopped before it could answer.
#[utoipa::path(post, path = "/api/v1/periods/{month}/close", tag = "periods",
    params(("month" = String, Path, description = "The month, YYYY-MM")), request_body = Option<ClosePeriod>,
    responses((status = 200, body = PeriodChangedBody)))]
pub async fn close_period(
    finance: FinanceWriter,
    State(app): State<App>,
    Id(month): Id,
    query: QueryPairs,
    headers: HeaderMap,
    OptionalJson(asked): OptionalJson<ClosePeriod>,
) -> Result<Response, ApiError> {
    query.none()?;
    let month = month_of(&month)?;
    let reason = asked.reason.as_deref().map(reason_of).transpose()?;
    app.prepare().await?;
    let how = if asked.force { "forced" } else { "close" };
    let request =
        request_id(&headers, &[&finance.actor, &month.to_string(), how, reason.as_deref().unwrap_or_default()])?;
    let request = CloseRequest { month, force: asked.force, reason, requested_by: finance.actor.clone(), request };
    let body = to_api_changed(&app.engine.close_period(&request).await?);
    let before = serde_json::json!({ "state": word_of(false) });
    let after = serde_json::json!({
        "state": body.state, "posting": body.posting, "reason": request.reason, "forced": body.forced,
    });
    app.record(&finance, "period.close", &body.month, Some(&before), Some(&after)).await?;
    json(&body)
}

/// Reopens the latest closed month.
///
/// With an `Idempotency-Key` it is reopened once, also when the server stopped before it could answer.
#[utoipa::path(post, path = "/api/v1/periods/{month}/reopen", tag = "periods",
    params(("month" = String, Path, description = "The month, YYYY-MM")), request_body = ReopenPeriod,
    responses((status = 200, body = PeriodChangedBody)))]
pub async fn reopen_period(
    finance: FinanceWriter,
    State(app): State<App>,
    Id(month): Id,
    query: QueryPairs,
    headers: HeaderMap,
    Json(asked): Json<ReopenPeriod>,
) -> Result<Response, ApiError> {
    query.none()?;
    let month = month_of(&month)?;
    let reason = reason_of(&asked.reason)?;
    let request = request_id(&headers, &[&finance.actor, &month.to_string(), "reopen", &reason])?;
    let request = ReopenRequest { month, reason, requested_by: finance.actor.clone(), request };
    let body = to_api_changed(&app.engine.reopen_period(&request).await?);
    let before = serde_json::json!({ "state": word_of(true) });
    let after = serde_json::json!({ "state": body.state, "posting": body.posting, "reason": request.reason });
    app.record(&finance, "period.reopen", &body.month, Some(&before), Some(&after)).await?;
    json(&body)
}

/// Posts the differences of closed months that were too small to be posted by themselves.
#[utoipa::path(post, path = "/api/v1/periods/sweep", tag = "periods", responses((status = 200, body = SweepBody)))]
pub async fn sweep_periods(
    finance: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    app.prepare().await?;
    let runs = app.engine.sweep_periods(&finance.actor).await?;
    let body = SweepBody {
        posting: runs.iter().filter_map(|run| run.posting).max(),
        entries: runs.iter().map(|run| run.entries).sum(),
        runs: runs.iter().map(to_api_run).collect(),
    };
    if !runs.is_empty() {
        let recorded = serde_json::json!({ "posting": body.posting, "entries": body.entries });
        app.record(&finance, "periods.sweep", PERIODS, NOTHING, Some(&recorded)).await?;
    }
    json(&body)
}

/// What names the request if it has a key, with which it may come again.
fn request_id(headers: &HeaderMap, parts: &[&str]) -> Result<Option<String>, ApiError> {
    let key = key_of(headers)?;
    Ok(key.map(|key| format!("req-{}", digest_of(&[&[key.as_str()][..], parts].concat()))))
}

fn month_of(text: &str) -> Result<Month, ApiError> {
    let shown: String = text.chars().take(20).collect();
    text.parse().map_err(|_| ApiError::parameter("month", format!("`{shown}` is not a month; write it as 2026-10")))
}

fn reason_of(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() || REASON_CHARS_MAX < text.chars().count() {
        return Err(ApiError::body("/reason", format!("say why, in 1 to {REASON_CHARS_MAX} characters")));
    }
    Ok(text.to_owned())
}

fn word_of(is_closed: bool) -> String {
    if is_closed { "closed" } else { "open" }.to_owned()
}

fn to_api_changed(changed: &PeriodChanged) -> PeriodChangedBody {
    PeriodChangedBody {
        month: changed.month.to_string(),
        state: word_of(changed.is_closed),
        posting: changed.posting,
        booked_at: changed.booked_at.to_string(),
        forced: changed.forced.iter().map(to_api_obstacle).collect(),
    }
}

fn to_api_obstacle(obstacle: &Obstacle) -> ObstacleBody {
    ObstacleBody { code: obstacle.code.clone(), about: obstacle.about.clone(), detail: obstacle.detail.clone() }
}

fn to_api_evidence(file: &EvidenceFile) -> EvidenceBody {
    EvidenceBody { date: day(file.day), sha256: file.sha256.clone(), cost_events: file.cost_events }
}

fn to_api_period(row: &PeriodRow) -> BillingMonthBody {
    let changed: Option<&LastChange> = row.changed.as_ref();
    BillingMonthBody {
        month: row.month.to_string(),
        state: row.state.as_str().to_owned(),
        closes: row.closes,
        posting: changed.map(|changed| changed.posting),
        changed_at: changed.map(|changed| instant(changed.at.micros())),
        changed_by: changed.map(|changed| changed.by.clone()),
        reason: changed.and_then(|changed| changed.reason.clone()),
        forced: changed.into_iter().flat_map(|changed| &changed.forced).map(to_api_obstacle).collect(),
        evidence: changed.into_iter().flat_map(|changed| &changed.evidence).map(to_api_evidence).collect(),
        is_next: row.is_next,
        obstacles: row.checklist.obstacles.iter().map(to_api_obstacle).collect(),
        notes: row.checklist.notes.iter().map(to_api_obstacle).collect(),
        pending_corrections: row.pending_corrections.iter().map(to_api_pending).collect(),
        sources: row.sources.iter().map(to_api_source_period).collect(),
    }
}

fn to_api_pending(pending: &PendingCorrection) -> PendingCorrectionBody {
    let consumers = pending.consumers.iter().map(to_api_correction);
    PendingCorrectionBody { date: day(pending.day), pool: pending.pool.clone(), consumers: consumers.collect() }
}

/// Returns a consumer's correction as the wire shows it.
pub(super) fn to_api_correction(correction: &ConsumerCorrection) -> ConsumerCorrectionBody {
    let billed = correction.billed_amount.iter().map(|(code, atoms)| (code.to_string(), money(*atoms)));
    ConsumerCorrectionBody {
        consumer: correction.consumer.clone(),
        amount_reporting: money(correction.amount_reporting),
        billed_amount: billed.collect(),
    }
}
