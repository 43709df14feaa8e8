//! Bills: imports and lines.

use super::costs::RangeBody;
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::body::{MULTIPART, broken_part, content_type, multipart, pieces, to_file};
use crate::convert::{day, money, quantity};
use crate::list::{ListAsked, json};
use crate::problem::ApiError;
use crate::query::{QueryPairs, flag};
use axum::extract::{Request, State};
use axum::response::Response;
use collectors::ImportError;
use collectors::focus::InputFile;
use collectors::import::{ImportProgress, ImportReport, ImportTotal, OnProgress, import_focus_unless};
use collectors::under_way::{Counted, ProgressUnit};
use domain::decimal::format_scaled;
use engine::query::Cell;
use engine::query::cost_lines::CostLineFilter;
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use tempfile::TempPath;
use utoipa::{IntoParams, ToSchema};

/// Name of a file that is the whole body.
const BODY_NAME: &str = "body";

/// Source and confirmation of an import.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ImportParams {
    /// Name of the source, e.g. `aws`.
    pub source: String,
    /// `true`: import although much less comes than what is replaced.
    pub confirm: Option<bool>,
}

/// Files of a multipart body.
#[derive(Clone, Debug, ToSchema)]
pub struct BillFiles {
    /// FOCUS files; every part of the body is one.
    #[schema(value_type = Vec<String>, format = Binary)]
    pub file: Vec<Vec<u8>>,
}

/// Sums of one currency.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportTotalBody {
    /// ISO-4217 code.
    pub currency: String,
    /// Sum of BilledCost.
    pub billed: String,
    /// Sum of EffectiveCost.
    pub effective: String,
}

/// One (billing account, billing period) of the files.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportPeriodBody {
    /// BillingAccountId.
    pub billing_account: String,
    /// `YYYY-MM`, or the day on which a period begins that does not begin with a month.
    pub billing_period: String,
    /// Rows of the files.
    pub rows: u64,
    /// Rows that were there before.
    pub replaced_rows: u64,
    /// Sums over the rows.
    pub totals: Vec<ImportTotalBody>,
    /// Whether they are the same rows.
    pub unchanged: bool,
}

/// A row of a file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportPlaceBody {
    /// Name of the file.
    pub file: String,
    /// Line of a text file, row of a Parquet file, from 1.
    pub line: u64,
}

/// Something unusual, counted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportWarningBody {
    /// Stable word.
    pub code: String,
    /// What it means.
    pub message: String,
    /// Rows concerned.
    pub count: u64,
    /// Where it was met first.
    pub first: ImportPlaceBody,
}

/// What an import did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportReportBody {
    /// The import; of unchanged files the one that brought them.
    pub import_id: String,
    /// Rows of all files.
    pub rows: u64,
    /// Values whose digits beyond the scale were rounded away.
    pub rounded_values: u64,
    /// Sums over all rows, by currency.
    pub totals: Vec<ImportTotalBody>,
    /// What the files contain and replace.
    pub billing_periods: Vec<ImportPeriodBody>,
    /// What is unusual about some rows.
    pub warnings: Vec<ImportWarningBody>,
    /// Whether every row was there already.
    pub unchanged: bool,
}

/// Imports bills: FOCUS 1.0 to 1.4 as CSV, Parquet or JSONL, plain, gzip or zstd; one body, or multipart with many files.
#[utoipa::path(post, path = "/api/v1/cost-lines/imports", tag = "cost-lines", params(ImportParams),
    request_body(content((BillFiles = "multipart/form-data"), (Vec<u8> = "application/octet-stream"), (String = "text/csv"))),
    responses((status = 200, body = ImportReportBody)))]
pub async fn import_bills(
    admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let (source, confirm) = (params.text("source"), flag(&mut params, "confirm")?);
    params.finish()?;
    let source = source.ok_or_else(|| ApiError::parameter("source", "name the source of the bill: ?source=aws"))?;
    let uploads = uploads(&app, request).await?;
    if uploads.is_empty() {
        return Err(ApiError::body("", "the body holds no file"));
    }
    let files = uploads.iter().map(|upload| InputFile { name: upload.name.clone(), path: upload.path.to_path_buf() });
    let under_way = app.begin_import("focus", &source).await?;
    let counter = under_way.counter().clone();
    let on_progress: OnProgress = Arc::new(move |at| counter.set(counted(at)));
    let context = app.import_context();
    let work = import_focus_unless(&context, &source, files.collect(), confirm, on_progress, under_way.cancel());
    let report = under_way.carry_out(work, |error| matches!(error, ImportError::Cancelled)).await?;
    let body = to_api_report(&report);
    if !report.unchanged {
        let replaced = body.billing_periods.iter().filter(|period| 0 < period.replaced_rows);
        let replaced = replaced.map(|period| {
            serde_json::json!({
                "billing_account": period.billing_account, "billing_period": period.billing_period,
                "rows": period.replaced_rows,
            })
        });
        let before = Some(replaced.collect::<Vec<_>>()).filter(|periods| !periods.is_empty());
        app.record(&admin, "cost_lines.import", &source, before.as_ref(), Some(&body)).await?;
    }
    json(&body)
}

/// Files are read several times, and each of them counts its part of their bytes.
fn counted(at: ImportProgress) -> Counted {
    let read = at.before * at.bytes_total + at.bytes_read;
    Counted { done: read / at.readings, total: at.bytes_total, unit: ProgressUnit::Byte }
}

/// A file of a request, on disk until it is dropped.
struct Upload {
    name: String,
    path: TempPath,
}

async fn uploads(app: &App, request: Request) -> Result<Vec<Upload>, ApiError> {
    if content_type(request.headers()) != MULTIPART {
        let (path, size) = to_file(app, pieces(app, request.into_body()), app.limits.upload_bytes_max).await?;
        let upload = Upload { name: BODY_NAME.to_owned(), path };
        return Ok(if size == 0 { Vec::new() } else { vec![upload] });
    }
    let mut multipart = multipart(app, request).await?;
    let (mut uploads, mut size) = (Vec::new(), 0);
    while let Some(field) = multipart.next_field().await.map_err(broken_part)? {
        if app.limits.upload_files_max <= uploads.len() {
            let limit = app.limits.upload_files_max as u64;
            return Err(ApiError::TooLarge { what: "files", limit, key: "limits.upload_files" });
        }
        let name = field.file_name().or(field.name()).unwrap_or(BODY_NAME);
        let name = name.chars().filter(|char| !char.is_control()).take(200).collect();
        let left = app.limits.upload_bytes_max.saturating_sub(size);
        let stream = Box::pin(field.map(|piece| piece.map_err(broken_part)));
        let (path, bytes) = to_file(app, stream, left).await?;
        size += bytes;
        uploads.push(Upload { name, path });
    }
    Ok(uploads)
}

fn to_api_report(report: &ImportReport) -> ImportReportBody {
    let periods = report.billing_periods.iter().map(|period| ImportPeriodBody {
        billing_account: period.billing_account.clone(),
        billing_period: period.billing_period.clone(),
        rows: period.rows,
        replaced_rows: period.replaced_rows,
        totals: period.totals.iter().map(to_api_total).collect(),
        unchanged: period.unchanged,
    });
    let warnings = report.warnings.iter().map(|warning| ImportWarningBody {
        code: warning.code.to_owned(),
        message: warning.message.to_owned(),
        count: warning.count,
        first: ImportPlaceBody { file: warning.first.file.clone(), line: warning.first.line },
    });
    ImportReportBody {
        import_id: report.import_id.clone(),
        rows: report.rows,
        rounded_values: report.rounded_values,
        totals: report.totals.iter().map(to_api_total).collect(),
        billing_periods: periods.collect(),
        warnings: warnings.collect(),
        unchanged: report.unchanged,
    }
}

pub(super) fn to_api_total(total: &ImportTotal) -> ImportTotalBody {
    ImportTotalBody {
        currency: total.currency.clone(),
        billed: total.billed.clone(),
        effective: total.effective.clone(),
    }
}

/// Which cost lines.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CostLineParams {
    /// Lines whose charge period touches these days; default `30d`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// Only this source.
    pub source: Option<String>,
    /// Only this import.
    pub import_id: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this billing account.
    pub billing_account: Option<String>,
    /// Only this charge category.
    pub charge_category: Option<String>,
    /// Only this invoice.
    pub invoice_id: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Cost lines with every column of FOCUS 1.4 in snake_case, and source, import_id, line_no, tags, x, and `estimated`:
/// whether the line's billing period is still open at its provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostLinesBody {
    /// The rows; amounts and quantities are decimal strings.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<Map<String, Value>>,
    /// The days.
    pub range: RangeBody,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns cost lines as they were imported.
#[utoipa::path(get, path = "/api/v1/cost-lines", tag = "cost-lines", params(CostLineParams), responses((status = 200, body = CostLinesBody)))]
pub async fn list_cost_lines(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let filter = CostLineFilter::parse(&query.0, &app.list_limits())?;
    let page = app.engine.cost_lines_all_tenants(&filter).await?;
    let columns = page.columns;
    let row = |cells: Vec<Cell>| columns.iter().cloned().zip(cells.iter().map(to_api_cell)).collect();
    let timezone = app.zone().name().to_owned();
    let body = CostLinesBody {
        rows: page.rows.into_iter().map(row).collect(),
        range: RangeBody { from: day(filter.range.from()), to: day(filter.range.to()), timezone },
        next_cursor: page.next_cursor,
    };
    asked.answer(&body, || columns.clone(), body.next_cursor.as_deref())
}

fn to_api_cell(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::String(text.clone()),
        Cell::Int(number) => Value::from(*number),
        Cell::Decimal { atoms, scale: 15 } => Value::String(money(*atoms)),
        Cell::Decimal { atoms, scale: 9 } => Value::String(quantity(*atoms)),
        Cell::Decimal { atoms, scale } => Value::String(format_scaled(*atoms, *scale, 0)),
        Cell::Bool(truth) => Value::Bool(*truth),
        Cell::Day(day) => Value::String(day.to_string()),
        Cell::Instant(instant) => Value::String(instant.to_string()),
        Cell::Map(pairs) => {
            Value::Object(pairs.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect())
        }
    }
}
