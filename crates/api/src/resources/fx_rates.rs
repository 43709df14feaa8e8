//! Exchange rates.

use super::costs::RangeBody;
use super::fx_text::{Rate, positive, read};
use crate::access::{AdminReader, FinanceWriter};
use crate::app::App;
use crate::body::{Text, json_of, typed};
use crate::convert::instant;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::toml_text::DecimalText;
use domain::{Currency, Day};
use engine::query::cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use storage::catalog::{FxRateRow, NewFxRate};
use utoipa::{IntoParams, ToSchema};

const FX_RATES: &str = "fx-rates";
/// Most rates that the record of a change lists on either side; a table of the ECB has many thousands.
const RATES_AUDITED_MAX: usize = 1000;

/// Which rates; all days when none are named.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FxParams {
    /// `30d`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// A rate of exchange: one `from` costs `rate` `to`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FxRateBody {
    /// The day.
    pub date: String,
    /// ISO-4217 code.
    pub from: String,
    /// ISO-4217 code.
    pub to: String,
    /// Decimal with at most 15 fractional digits.
    pub rate: String,
    /// Where it comes from.
    pub source: String,
    /// When it was recorded.
    pub recorded_at: String,
}

/// A rate to be entered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRate {
    /// The day.
    #[schema(value_type = String, example = "2026-11-19")]
    pub date: Day,
    /// ISO-4217 code.
    #[schema(value_type = String, example = "EUR")]
    pub from: Currency,
    /// ISO-4217 code.
    #[schema(value_type = String, example = "USD")]
    pub to: Currency,
    /// What one `from` costs in `to`.
    #[schema(value_type = String, example = "1.0555")]
    pub rate: DecimalText,
}

/// Rates to be entered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRates {
    /// The rates.
    pub rates: Vec<NewRate>,
}

/// What entering rates did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RatesRecorded {
    /// Rates of the table, inverses included.
    pub rates: usize,
    /// Those that differ from what was known.
    pub recorded: u64,
    /// First day of the table.
    pub from: Option<String>,
    /// Last day of the table.
    pub to: Option<String>,
}

/// Returns the rates that count now, by day and pair.
#[utoipa::path(get, path = "/api/v1/fx-rates", tag = "fx-rates", params(FxParams), responses((status = 200, body = Page<FxRateBody>)))]
pub async fn list_fx_rates(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let limits = app.list_limits();
    let mut params = query.params()?;
    let (range, limit, from) = (params.range(&limits)?, params.limit(&limits)?, params.text("cursor"));
    params.finish()?;
    let question = format!("{FX_RATES} {range:?}");
    let place: Option<(String, String, String)> = from.map(|text| cursor::decode(&question, &text)).transpose()?;
    let place = place.or_else(|| range.map(|range| (range.from().to_string(), String::new(), String::new())));
    let after = place.as_ref().map(|(day, from, to)| (day.as_str(), from.as_str(), to.as_str()));
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
    let mut rows = app.catalog().list_fx_rates(after, wanted).await?;
    if let Some(last) = range.map(|range| range.to().to_string()) {
        rows.retain(|row| row.day <= last);
    }
    let place = |row: &FxRateRow| cursor::encode(&question, &(&row.day, &row.from_currency, &row.to_currency));
    let days = range.map(|range| RangeBody::of(range, &app));
    Page::cut(rows, limit, place, to_api_rate).of_days(days).answer(&asked)
}

fn to_api_rate(row: &FxRateRow) -> FxRateBody {
    FxRateBody {
        date: row.day.clone(),
        from: row.from_currency.clone(),
        to: row.to_currency.clone(),
        rate: row.rate.clone(),
        source: row.source.clone(),
        recorded_at: instant(row.recorded_at),
    }
}

/// Enters rates: JSON, CSV with date,from,to,rate, or the ECB's CSV. Earlier rates of a day stay known to what used them.
#[utoipa::path(put, path = "/api/v1/fx-rates", tag = "fx-rates",
    request_body(content((NewRates = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = RatesRecorded)))]
pub async fn put_fx_rates(
    writer: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    query.none()?;
    let is_json = body.content_type.ends_with("json") || body.text.trim_start().starts_with(['{', '[']);
    let rates = if is_json { from_api_rates(&body.text)? } else { read(&body.text)? };
    if rates.is_empty() {
        return Err(ApiError::body("", "there are no rates in the body"));
    }
    if let Some(same) = rates.iter().find(|rate| rate.from == rate.to) {
        return Err(ApiError::body("", format!("{}: {} to itself has no rate", same.date, same.from)));
    }
    let rows: Vec<NewFxRate> = rates.iter().map(to_row_rate).collect();
    let known = known_rates(&app, &rows).await?;
    let recorded = app.catalog().put_fx_rates(&rows, app.now().micros()).await?;
    let days = || rates.iter().map(|rate| rate.date);
    let body = RatesRecorded {
        rates: rates.len(),
        recorded,
        from: days().min().map(|day| day.to_string()),
        to: days().max().map(|day| day.to_string()),
    };
    if recorded > 0 {
        let now = known_rates(&app, &rows).await?;
        let changed = |of: &[FxRateRow], other: &[FxRateRow]| {
            let rows = of.iter().filter(|row| !other.contains(row)).take(RATES_AUDITED_MAX);
            rows.map(to_api_rate).collect::<Vec<_>>()
        };
        let after = serde_json::json!({ "recorded": recorded, "rates": changed(&now, &known) });
        let before = Some(changed(&known, &now)).filter(|rates| !rates.is_empty());
        app.record(&writer, "fx_rates.put", FX_RATES, before.as_ref(), Some(&after)).await?;
    }
    json(&body)
}

/// The rates that count now of the days and pairs of these rows.
async fn known_rates(app: &App, rows: &[NewFxRate]) -> Result<Vec<FxRateRow>, ApiError> {
    let asked: BTreeSet<(&str, &str, &str)> =
        rows.iter().map(|row| (row.day.as_str(), row.from_currency.as_str(), row.to_currency.as_str())).collect();
    let mut known = app.catalog().fx_rates_upto(i64::MAX).await?;
    known.retain(|row| asked.contains(&(row.day.as_str(), row.from_currency.as_str(), row.to_currency.as_str())));
    Ok(known)
}

/// An object with `rates`, or the bare list.
fn from_api_rates(text: &str) -> Result<Vec<Rate>, ApiError> {
    let value = json_of(text)?;
    let given: Vec<NewRate> = if value.is_array() { typed(value)? } else { typed::<NewRates>(value)?.rates };
    let rate = |(index, new): (usize, &NewRate)| {
        let rate = positive(&new.rate.0, &format!("/rates/{index}/rate"))?;
        Ok(Rate { date: new.date, from: new.from, to: new.to, rate, source: "manual" })
    };
    given.iter().enumerate().map(rate).collect()
}

fn to_row_rate(rate: &Rate) -> NewFxRate {
    NewFxRate {
        day: rate.date.to_string(),
        from_currency: rate.from.to_string(),
        to_currency: rate.to.to_string(),
        rate: rate.rate.to_string(),
        source: rate.source.to_owned(),
    }
}
