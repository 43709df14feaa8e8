//! What was imported.

use super::ledger::PageParams;
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::instant;
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use engine::query::cursor;
use serde::Serialize;
use serde_json::Value;
use storage::catalog::ImportRow;
use utoipa::ToSchema;

const IMPORTS: &str = "imports";

/// An import.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportBody {
    /// Its id.
    pub import_id: String,
    /// `focus`, `events` or `fixed`.
    pub kind: String,
    /// The source.
    pub source: String,
    /// When it was committed.
    pub imported_at: String,
    /// Rows it added.
    pub rows: i64,
    /// Table of the lake.
    pub table: String,
    /// Version of that table which the import made.
    pub version: i64,
    /// Files, hashes, what was replaced, totals, warnings.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// Returns imports, newest first.
#[utoipa::path(get, path = "/api/v1/imports", tag = "cost-lines", params(PageParams), responses((status = 200, body = Page<ImportBody>)))]
pub async fn list_imports(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let place: Option<(i64, String)> = page.cursor.as_ref().map(|text| cursor::decode(IMPORTS, text)).transpose()?;
    let before = place.as_ref().map(|(at, id)| (*at, id.as_str()));
    let rows = app.catalog().list_imports_all_tenants(before, page.rows_wanted()).await?;
    Page::cut(rows, page.limit, |row| cursor::encode(IMPORTS, &(row.imported_at, &row.id)), to_api_import)
        .answer(&asked)
}

fn to_api_import(row: &ImportRow) -> ImportBody {
    ImportBody {
        import_id: row.id.clone(),
        kind: row.kind.clone(),
        source: row.source.clone(),
        imported_at: instant(row.imported_at),
        rows: row.row_count,
        table: row.table_name.clone(),
        version: row.version,
        detail: serde_json::from_str(&row.body).unwrap_or_else(|_| Value::Object(serde_json::Map::new())),
    }
}
