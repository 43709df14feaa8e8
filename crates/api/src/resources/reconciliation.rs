//! Bills compared with invoices on one side and with the ledger on the other.

use super::costs::RangeBody;
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money};
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::{PageAsked, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use engine::reconciliation::{InvoiceKey, ReconciliationPart, ReconciliationRow};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// Which billing periods.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReconciliationParams {
    /// Billing periods that these days touch: `7d`, `30d` (default), `mtd`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// Only this source.
    pub source: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Which bill.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReconciliationPartsParams {
    /// Source of the lines.
    pub source: String,
    /// Billing period, `2026-10`.
    pub billing_period: String,
    /// ISO-4217 code.
    pub currency: String,
    /// The invoice, as `/reconciliation` names it; the row without one if left out.
    pub invoice_id: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// What a source billed in a billing period under one invoice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReconciliationBody {
    /// Source of the lines.
    pub source: String,
    /// Billing period.
    pub billing_period: String,
    /// Invoice that the lines name, or the only one entered for lines that name none; null without one.
    pub invoice_id: Option<String>,
    /// ISO-4217 code.
    pub currency: String,
    /// What the invoice says; null if none was entered.
    pub invoice_total: Option<String>,
    /// BilledCost of the lines.
    pub billed: String,
    /// What of it the ledger has attributed.
    pub attributed: String,
    /// What of it falls on days from today on, which are not attributed yet.
    pub not_yet_due: String,
    /// EffectiveCost of the lines. It never ties to an invoice.
    pub effective: String,
    /// `invoice_total` less `billed`; null without an invoice.
    pub invoice_difference: Option<String>,
    /// `billed` less `not_yet_due` less `attributed`.
    pub attribution_difference: String,
    /// Whether the provider's billing period is still open: then the amounts are estimates.
    pub estimated: bool,
    /// `reconciled`, `differs` or `no_invoice`.
    pub state: String,
    /// The same for people: `✓` only when there is an invoice and both differences are 0.
    pub mark: String,
}

/// What of a bill falls on one day and pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReconciliationPartBody {
    /// The day.
    pub day: String,
    /// The pool that takes the lines by the policy of the day; `unattributed` for those that none takes.
    pub pool: String,
    /// BilledCost of the lines.
    pub billed: String,
    /// What of it the ledger has attributed.
    pub attributed: String,
    /// What of it is not attributed yet, because the day is not over.
    pub not_yet_due: String,
    /// `billed` less `not_yet_due` less `attributed`.
    pub attribution_difference: String,
}

/// Returns what each source billed in each billing period and invoice, beside the invoice's total and the ledger.
#[utoipa::path(get, path = "/api/v1/reconciliation", tag = "periods", params(ReconciliationParams),
    responses((status = 200, body = Page<ReconciliationBody>)))]
pub async fn show_reconciliation(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let limits = app.list_limits();
    let (range, (source, page)) =
        query.days(&limits, |params| Ok((params.text("source"), PageAsked::take(params, &limits)?)))?;
    let found = app.engine.reconciliation_all_tenants(range, source.as_deref()).await?;
    let question = format!("reconciliation {range:?} {source:?}");
    Page::of_all(found.rows, &page, &question, to_api_row)?.of_days(Some(RangeBody::of(range, &app))).answer(&asked)
}

/// Returns what of a bill falls on each day and pool, so that a difference has its place; the rows add up to that of the bill.
#[utoipa::path(get, path = "/api/v1/reconciliation/parts", tag = "periods", params(ReconciliationPartsParams),
    responses((status = 200, body = Page<ReconciliationPartBody>)))]
pub async fn show_reconciliation_parts(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let (source, month, currency) =
        (params.text("source"), params.parsed("billing_period")?, params.parsed("currency")?);
    let invoice_id = params.text("invoice_id").unwrap_or_default();
    let page = PageAsked::take(&mut params, &app.list_limits())?;
    params.finish()?;
    let missing = |name| move || ApiError::parameter(name, format!("name the `{name}` of the bill"));
    let key = InvoiceKey {
        month: month.ok_or_else(missing("billing_period"))?,
        source: source.ok_or_else(missing("source"))?,
        invoice_id,
        currency: currency.ok_or_else(missing("currency"))?,
    };
    let parts = app.engine.reconciliation_parts_all_tenants(&key).await?;
    let question = format!("reconciliation parts {key:?}");
    Page::of_all(parts, &page, &question, to_api_part)?.answer(&asked)
}

fn to_api_part(part: &ReconciliationPart) -> ReconciliationPartBody {
    ReconciliationPartBody {
        day: day(part.day),
        pool: part.pool.clone(),
        billed: money(part.billed),
        attributed: money(part.attributed),
        not_yet_due: money(part.not_yet_due),
        attribution_difference: money(part.attribution_difference()),
    }
}

fn to_api_row(row: &ReconciliationRow) -> ReconciliationBody {
    let verdict = row.verdict();
    ReconciliationBody {
        source: row.key.source.clone(),
        billing_period: row.key.month.to_string(),
        invoice_id: Some(row.key.invoice_id.clone()).filter(|id| !id.is_empty()),
        currency: row.key.currency.to_string(),
        invoice_total: row.invoice_total.map(money),
        billed: money(row.billed),
        attributed: money(row.attributed),
        not_yet_due: money(row.not_yet_due),
        effective: money(row.effective),
        invoice_difference: row.invoice_difference().map(money),
        attribution_difference: money(row.attribution_difference()),
        estimated: row.estimated,
        state: verdict.as_str().to_owned(),
        mark: verdict.mark().to_owned(),
    }
}
