//! Statements of closed months, and their journal, as they were issued.

use super::exports::plain;
use crate::access::{FinanceWriter, StatementReader};
use crate::app::App;
use crate::convert::instant;
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::{Month, TenantScope};
use engine::statements::{Issued, StatementAsked, StatementFormat, StatementSummary};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Number of the statement.
const NUMBER: HeaderName = HeaderName::from_static("apportion-statement-number");
/// SHA-256 of the body.
const SHA256: HeaderName = HeaderName::from_static("apportion-sha256");
const STATEMENTS: &str = "statements";

/// Which document of a month.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementParams {
    /// Which version; default the newest.
    pub version: Option<i64>,
    /// Whose own statement; default everybody's, or the one tenant of the token.
    pub tenant: Option<String>,
}

/// Which journal of a month.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JournalParams {
    /// Which version; default the newest.
    pub version: Option<i64>,
}

/// A statement of a month: of everybody, or a tenant's own.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementBody {
    /// Number of the statement.
    pub number: String,
    /// The billing month.
    pub month: String,
    /// From 1: a month that was reopened and closed again has another version.
    pub version: i64,
    /// Number of the version that this one replaces.
    pub replaces: Option<String>,
    /// Whose own statement; null for everybody's.
    pub tenant: Option<String>,
    /// The posting that closed the month.
    pub posting: i64,
    /// When it was booked.
    pub closed_at: String,
    /// Hash of that posting; null in a tenant's own statement.
    pub ledger_head: Option<String>,
    /// Sums by currency.
    pub totals: Vec<StatementTotalBody>,
    /// Sums by currency and consumer.
    pub consumers: Vec<StatementConsumerBody>,
    /// The lines.
    pub rows: Vec<StatementRowBody>,
    /// Lines that the version before printed otherwise; null in a first version.
    pub differences: Option<Vec<StatementDifferenceBody>>,
}

/// A currency's sum on a statement.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementTotalBody {
    /// ISO-4217 code.
    pub currency: String,
    /// Sum of the printed lines, with the digits of the currency's minor unit.
    pub amount: String,
    /// Sum of the exact ones.
    pub exact: String,
    /// What rounding added.
    pub rounding: String,
    /// The same sum in the version before.
    pub previous: Option<String>,
    /// `amount` less `previous`.
    pub difference: Option<String>,
}

/// A consumer's sum on a statement.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementConsumerBody {
    /// ISO-4217 code.
    pub currency: String,
    /// Tenant or reserved word.
    pub consumer: String,
    /// The tenant's name on the last day of the month.
    pub name: Option<String>,
    /// `showback`, `chargeback` or `central` on that day.
    pub billing_mode: Option<String>,
    /// Cost centre on that day.
    pub cost_center: Option<String>,
    /// Account on that day.
    pub gl_account: Option<String>,
    /// Sum of the printed lines.
    pub amount: String,
    /// Sum of the exact ones.
    pub exact: String,
    /// What rounding added.
    pub rounding: String,
}

/// A line of a statement.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementRowBody {
    /// ISO-4217 code.
    pub currency: String,
    /// Tenant or reserved word.
    pub consumer: String,
    /// The pool; empty for adjustments that name none.
    pub pool: String,
    /// Category of the meter or service.
    pub category: String,
    /// FOCUS ChargeCategory.
    pub charge_category: String,
    /// What is charged.
    pub amount: String,
    /// The exact amount.
    pub exact: String,
    /// What rounding added.
    pub rounding: String,
}

/// A line that the version before printed otherwise.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementDifferenceBody {
    /// ISO-4217 code.
    pub currency: String,
    /// Tenant or reserved word.
    pub consumer: String,
    /// The pool.
    pub pool: String,
    /// Category of the meter or service.
    pub category: String,
    /// FOCUS ChargeCategory.
    pub charge_category: String,
    /// What the version before printed.
    pub previous: String,
    /// What this one prints.
    pub amount: String,
    /// `amount` less `previous`.
    pub difference: String,
}

/// A statement without its lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatementSummaryBody {
    /// Number of the statement.
    pub number: String,
    /// The billing month.
    pub month: String,
    /// From 1.
    pub version: i64,
    /// The posting that closed the month.
    pub posting: i64,
    /// When it was booked.
    pub closed_at: String,
    /// Hash of that posting.
    pub ledger_head: String,
    /// SHA-256 of everybody's JSON.
    pub json_sha256: String,
    /// SHA-256 of everybody's CSV.
    pub csv_sha256: String,
    /// SHA-256 of the journal.
    pub journal_sha256: String,
}

/// Returns every statement, in the order in which months were closed.
#[utoipa::path(get, path = "/api/v1/statements", tag = "periods", params(super::ledger::PageParams),
    responses((status = 200, body = Page<StatementSummaryBody>)))]
pub async fn list_statements(
    _finance: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let all = app.engine.statements_all_tenants().await?;
    Page::of_all(all, &page, STATEMENTS, to_api_summary)?.answer(&asked)
}

/// Returns a month's statement as it was issued, the same bytes for ever: everybody's, or a tenant's own.
///
/// The last part of the path is the month with the form, `2026-10.json` or `2026-10.csv`. The headers
/// `apportion-statement-number` and `apportion-sha256` name the statement and the hash of the bytes.
#[utoipa::path(get, path = "/api/v1/statements/{month}", tag = "periods",
    params(("month" = String, Path, description = "Month and form: `2026-10.json` or `2026-10.csv`"), StatementParams),
    responses((status = 200, content((StatementBody = "application/json"), (String = "text/csv")))))]
pub async fn show_statement(
    reader: StatementReader,
    State(app): State<App>,
    Id(file): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let (version, tenant) = (params.parsed("version")?, params.text("tenant"));
    params.finish()?;
    let (month, format) = month_and_format(&file)?;
    let asked = StatementAsked { month, format, version, tenant };
    let issued = app.engine.statement(reader.scope(), &asked).await?;
    Ok(answer(&app, &asked, issued))
}

/// Returns a month's journal as it was issued: debit and credit of every tenant and reserved consumer.
///
/// Cost centre and account are those of the last day of the month; the column `missing` names what nobody entered.
#[utoipa::path(get, path = "/api/v1/statements/{month}/journal.csv", tag = "periods",
    params(("month" = String, Path, description = "The month, `2026-10`"), JournalParams),
    responses((status = 200, content_type = "text/csv", body = String)))]
pub async fn show_journal(
    _finance: FinanceWriter,
    State(app): State<App>,
    Id(month): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let version = params.parsed("version")?;
    params.finish()?;
    let month = month_of(&month)?;
    let asked = StatementAsked { month, format: StatementFormat::Journal, version, tenant: None };
    let issued = app.engine.statement(&TenantScope::All, &asked).await?;
    Ok(answer(&app, &asked, issued))
}

fn month_and_format(file: &str) -> Result<(Month, StatementFormat), ApiError> {
    match file.rsplit_once('.') {
        Some((month, "json")) => Ok((month_of(month)?, StatementFormat::Json)),
        Some((month, "csv")) => Ok((month_of(month)?, StatementFormat::Csv)),
        _ => Err(ApiError::parameter("month", "write the month with its form: 2026-10.json or 2026-10.csv")),
    }
}

fn month_of(text: &str) -> Result<Month, ApiError> {
    text.parse().map_err(|error: domain::time::TimeError| ApiError::parameter("month", error.to_string()))
}

fn answer(app: &App, asked: &StatementAsked, issued: Issued) -> Response {
    let (kind, content_type, ending) = match asked.format {
        StatementFormat::Json => ("statement", "application/json", "json"),
        StatementFormat::Csv => ("statement", "text/csv; charset=utf-8", "csv"),
        StatementFormat::Journal => ("journal", "text/csv; charset=utf-8", "csv"),
    };
    let name = format!("{}-{kind}-{}.{ending}", plain(&app.export_prefix), issued.number);
    let pairs = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (NUMBER, issued.number),
        (SHA256, issued.sha256),
    ];
    let value = |text: &str| HeaderValue::from_str(text).expect("names of files, numbers and hashes are ASCII");
    let headers: HeaderMap = pairs.into_iter().map(|(name, text)| (name, value(&text))).collect();
    (headers, Body::from(issued.text)).into_response()
}

fn to_api_summary(summary: &StatementSummary) -> StatementSummaryBody {
    let hash = |format: StatementFormat| summary.hashes.get(format.as_str()).cloned().unwrap_or_default();
    let row = &summary.row;
    StatementSummaryBody {
        number: row.number.clone(),
        month: row.month.clone(),
        version: row.version,
        posting: row.posting,
        closed_at: instant(row.booked_at),
        ledger_head: row.ledger_head.clone(),
        json_sha256: hash(StatementFormat::Json),
        csv_sha256: hash(StatementFormat::Csv),
        journal_sha256: hash(StatementFormat::Journal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_month_and_form() {
        let form = |file: &str| month_and_format(file).map(|(month, format)| format!("{month} {format}")).ok();
        assert_eq!(form("2026-10.json").as_deref(), Some("2026-10 json"));
        assert_eq!(form("2026-10.csv").as_deref(), Some("2026-10 csv"));
        for file in ["2026-10", "2026-13.csv", "2026-10.xlsx", "2026-10.journal", ".csv", ""] {
            assert_eq!(form(file), None, "{file}");
        }
    }
}
