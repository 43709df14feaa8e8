//! Billing periods of the sources of cost lines: open at the provider, closed or missing.

use super::billing_periods::{read, state_of};
use crate::access::{AdminReader, FinanceWriter};
use crate::app::App;
use crate::body::{Text, json_of, typed};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{PageAsked, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use domain::{Instant, Month};
use engine::periods::{SaidBy, SaidPeriod, SourcePeriod};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const SOURCE_PERIODS: &str = "source-periods";
const TEXT_CHARS_MAX: usize = 200;
const NOTE_CHARS_MAX: usize = 2000;

/// Which billing periods.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SourcePeriodParams {
    /// Only this source.
    pub source: Option<String>,
    /// Only this month, `YYYY-MM`.
    pub month: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// A billing period of a source and account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SourcePeriodBody {
    /// The source.
    pub source: String,
    /// BillingAccountId; empty for what is said of all accounts and none has a bill.
    pub billing_account: String,
    /// The month in which the period begins.
    pub billing_period: String,
    /// `open`: its amounts are estimates; `closed`; `missing`: the month before has a bill and this one has none.
    pub state: String,
    /// What that follows from: `person`, `billing_period` (FOCUS), `collector`, `invoice`, `own` (fixed and manual costs),
    /// `import` (whether the bill came after the month had ended) or `month_before`.
    pub said_by: String,
    /// Who said it.
    pub actor: Option<String>,
    /// Free text of whoever said it.
    pub note: Option<String>,
    /// Its cost lines.
    pub lines: u64,
    /// When its bill was imported last.
    pub imported_at: Option<String>,
}

/// What is said of a billing period.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSourcePeriod {
    /// The source.
    pub source: String,
    /// BillingAccountId; all accounts of the source if left out.
    #[serde(default)]
    pub billing_account: Option<String>,
    /// `YYYY-MM`.
    #[schema(example = "2026-10")]
    pub billing_period: String,
    /// `open` or `closed`.
    #[schema(example = "closed")]
    pub state: String,
    /// Free text.
    #[serde(default)]
    pub note: Option<String>,
}

/// What is said of billing periods.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSourcePeriods {
    /// The periods.
    pub periods: Vec<NewSourcePeriod>,
}

/// What was recorded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SourcePeriodsRecorded {
    /// Periods of which something was said.
    pub recorded: usize,
    /// They as they stand now.
    pub periods: Vec<SourcePeriodBody>,
}

/// Returns the billing periods of all sources, by source, account and month.
#[utoipa::path(get, path = "/api/v1/source-periods", tag = "cost-lines", params(SourcePeriodParams),
    responses((status = 200, body = Page<SourcePeriodBody>)))]
pub async fn list_source_periods(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let (source, month) = (params.text("source"), params.parsed::<Month>("month")?);
    let page = PageAsked::take(&mut params, &app.list_limits())?;
    params.finish()?;
    let mut periods = app.engine.source_periods_all_tenants().await?;
    periods.retain(|period| {
        source.as_ref().is_none_or(|source| *source == period.source) && month.is_none_or(|month| month == period.month)
    });
    let question = format!("{SOURCE_PERIODS} {source:?} {month:?}");
    Page::of_all(periods, &page, &question, to_api_source_period)?.answer(&asked)
}

/// Says that billing periods are open or closed: JSON, or FOCUS BillingPeriod rows as CSV with `?source=`.
#[utoipa::path(put, path = "/api/v1/source-periods", tag = "cost-lines",
    params(("source" = Option<String>, Query, description = "Source of the FOCUS BillingPeriod rows; not with JSON")),
    request_body(content((NewSourcePeriods = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = SourcePeriodsRecorded)))]
pub async fn put_source_periods(
    writer: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let source = params.text("source");
    params.finish()?;
    let is_json = body.content_type.ends_with("json") || body.text.trim_start().starts_with(['{', '[']);
    let said = match (is_json, source) {
        (true, None) => from_api_periods(&body.text)?,
        (true, Some(_)) => return Err(ApiError::parameter("source", "in JSON each period names its source")),
        (false, Some(source)) => {
            check_text("source", &source)?;
            read(&source, &body.text)?
        }
        (false, None) => {
            return Err(ApiError::parameter("source", "name the source of the BillingPeriod rows: ?source=aws"));
        }
    };
    if said.is_empty() {
        return Err(ApiError::body("", "there are no periods in the body"));
    }
    let is_named =
        |period: &SourcePeriod| said.iter().any(|said| said.source == period.source && said.month == period.month);
    let shown = |periods: Vec<SourcePeriod>| -> Vec<SourcePeriodBody> {
        periods.iter().filter(|period| is_named(period)).map(to_api_source_period).collect()
    };
    let before = Some(shown(app.engine.source_periods_all_tenants().await?)).filter(|periods| !periods.is_empty());
    app.engine.say_of_source_periods(&said, &writer.actor).await?;
    let periods = shown(app.engine.source_periods_all_tenants().await?);
    let body = SourcePeriodsRecorded { recorded: said.len(), periods };
    app.record(&writer, "source_periods.put", SOURCE_PERIODS, before.as_ref(), Some(&body)).await?;
    json(&body)
}

/// An object with `periods`, or the bare list.
fn from_api_periods(text: &str) -> Result<Vec<SaidPeriod>, ApiError> {
    let value = json_of(text)?;
    let given: Vec<NewSourcePeriod> =
        if value.is_array() { typed(value)? } else { typed::<NewSourcePeriods>(value)?.periods };
    given.into_iter().enumerate().map(|(at, new)| from_api_period(at, new)).collect()
}

fn from_api_period(at: usize, new: NewSourcePeriod) -> Result<SaidPeriod, ApiError> {
    let place = |name: &str| format!("/periods/{at}/{name}");
    check_text(&place("source"), &new.source)?;
    let billing_account = new.billing_account.unwrap_or_default();
    if !billing_account.is_empty() {
        check_text(&place("billing_account"), &billing_account)?;
    }
    if new.note.as_ref().is_some_and(|note| NOTE_CHARS_MAX < note.chars().count()) {
        return Err(ApiError::body(place("note"), format!("use at most {NOTE_CHARS_MAX} characters")));
    }
    let month =
        new.billing_period.parse().map_err(|_| ApiError::body(place("billing_period"), "write it as 2026-10"))?;
    let state = state_of(&new.state).ok_or_else(|| ApiError::body(place("state"), "`state` is open or closed"))?;
    Ok(SaidPeriod { source: new.source, billing_account, month, state, said_by: SaidBy::Person, note: new.note })
}

fn check_text(pointer: &str, text: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() || TEXT_CHARS_MAX < text.chars().count() || text.chars().any(char::is_control) {
        return Err(ApiError::body(pointer, format!("use 1 to {TEXT_CHARS_MAX} printable characters")));
    }
    Ok(())
}

/// Returns a period as the wire shows it.
pub(super) fn to_api_source_period(period: &SourcePeriod) -> SourcePeriodBody {
    SourcePeriodBody {
        source: period.source.clone(),
        billing_account: period.billing_account.clone(),
        billing_period: period.month.to_string(),
        state: period.state.as_str().to_owned(),
        said_by: period.said_by.as_str().to_owned(),
        actor: period.actor.clone(),
        note: period.note.clone(),
        lines: period.lines,
        imported_at: period.imported_at.as_ref().map(Instant::to_string),
    }
}
