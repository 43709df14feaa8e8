//! Totals of providers' invoices: the only thing a bill can be reconciled with.

use super::ledger::PageParams;
use crate::access::{AdminReader, FinanceWriter};
use crate::app::App;
use crate::body::Json;
use crate::convert::{instant, money};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::money::parse_atoms;
use domain::toml_text::DecimalText;
use domain::{Currency, Day, Month};
use engine::query::cursor;
use serde::{Deserialize, Serialize};
use storage::catalog::InvoiceRow;
use utoipa::ToSchema;

const INVOICES: &str = "invoices";
const TEXT_CHARS_MAX: usize = 200;
const NOTE_CHARS_MAX: usize = 2000;

/// The total of an invoice, to be entered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvoice {
    /// The source of the cost lines that it bills.
    pub source: String,
    /// Month of the billing period.
    #[schema(example = "2026-10")]
    pub billing_period: String,
    /// Its number, as the lines name it.
    pub invoice_id: String,
    /// What it adds up to, below zero for a credit note.
    #[schema(value_type = String, example = "12480.11")]
    pub total: DecimalText,
    /// ISO-4217 code.
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Day of issue.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub issued_on: Option<Day>,
    /// Day by which it must be paid.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub due_on: Option<Day>,
    /// Free text.
    #[serde(default)]
    pub note: Option<String>,
}

/// The total of an invoice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InvoiceBody {
    /// The source of the cost lines that it bills.
    pub source: String,
    /// Month of the billing period.
    pub billing_period: String,
    /// Its number.
    pub invoice_id: String,
    /// What it adds up to.
    pub total: String,
    /// ISO-4217 code.
    pub currency: String,
    /// Day of issue.
    pub issued_on: Option<String>,
    /// Day by which it must be paid.
    pub due_on: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// Who entered it.
    pub entered_by: String,
    /// When.
    pub entered_at: String,
}

/// Returns invoices by billing period, source and number.
#[utoipa::path(get, path = "/api/v1/invoices", tag = "periods", params(PageParams), responses((status = 200, body = Page<InvoiceBody>)))]
pub async fn list_invoices(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let after: Option<(String, String, String)> =
        page.cursor.as_ref().map(|text| cursor::decode(INVOICES, text)).transpose()?;
    let after = after.as_ref().map(|(month, source, id)| (month.as_str(), source.as_str(), id.as_str()));
    let rows = app.catalog().list_invoices(after, page.rows_wanted()).await?;
    let place = |row: &InvoiceRow| cursor::encode(INVOICES, &(&row.billing_month, &row.source, &row.invoice_id));
    Page::cut(rows, page.limit, place, to_api_invoice).answer(&asked)
}

/// Enters the total of an invoice, in the place of what was entered of the same source, period and number before.
#[utoipa::path(put, path = "/api/v1/invoices", tag = "periods", request_body = NewInvoice,
    responses((status = 200, body = InvoiceBody)))]
pub async fn put_invoice(
    writer: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    Json(asked): Json<NewInvoice>,
) -> Result<Response, ApiError> {
    query.none()?;
    let row = row_of(asked, &writer.actor, app.now().micros())?;
    let before = app.catalog().put_invoice(&row).await?;
    let stored = match before {
        Some(before) if before.says_the_same(&row) => before,
        before => {
            let target = format!("{} {} {}", row.source, row.billing_month, row.invoice_id);
            let before = before.as_ref().map(to_api_invoice);
            app.record(&writer, "invoice.put", &target, before.as_ref(), Some(&to_api_invoice(&row))).await?;
            row
        }
    };
    json(&to_api_invoice(&stored))
}

fn row_of(asked: NewInvoice, actor: &str, now: i64) -> Result<InvoiceRow, ApiError> {
    for (pointer, text) in [("/source", &asked.source), ("/invoice_id", &asked.invoice_id)] {
        if text.trim().is_empty() || TEXT_CHARS_MAX < text.chars().count() || text.chars().any(char::is_control) {
            return Err(ApiError::body(pointer, format!("use 1 to {TEXT_CHARS_MAX} printable characters")));
        }
    }
    if asked.note.as_ref().is_some_and(|note| NOTE_CHARS_MAX < note.chars().count()) {
        return Err(ApiError::body("/note", format!("use at most {NOTE_CHARS_MAX} characters")));
    }
    let month: Month = asked
        .billing_period
        .parse()
        .map_err(|error: domain::time::TimeError| ApiError::body("/billing_period", error.to_string()))?;
    let total = parse_atoms(&asked.total.0).map_err(|error| ApiError::body("/total", error.to_string()))?;
    if total.rounded {
        return Err(ApiError::body("/total", "an invoice has at most 15 decimals"));
    }
    Ok(InvoiceRow {
        source: asked.source,
        billing_month: month.to_string(),
        invoice_id: asked.invoice_id,
        currency: asked.currency.to_string(),
        total: money(total.atoms),
        issued_on: asked.issued_on.map(|day| day.to_string()),
        due_on: asked.due_on.map(|day| day.to_string()),
        note: asked.note,
        entered_by: actor.to_owned(),
        entered_at: now,
    })
}

fn to_api_invoice(row: &InvoiceRow) -> InvoiceBody {
    InvoiceBody {
        source: row.source.clone(),
        billing_period: row.billing_month.clone(),
        invoice_id: row.invoice_id.clone(),
        total: row.total.clone(),
        currency: row.currency.clone(),
        issued_on: row.issued_on.clone(),
        due_on: row.due_on.clone(),
        note: row.note.clone(),
        entered_by: row.entered_by.clone(),
        entered_at: instant(row.entered_at),
    }
}
