//! What was imported.

use super::ledger::PageParams;
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::convert::instant;
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use collectors::under_way::{Counted, RunningImport, UnderWay, running_imports};
use engine::EngineError;
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

/// An import that is under way.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunningImportBody {
    /// Its id while it is under way; what it stores has another.
    pub id: String,
    /// `focus` or `events`.
    pub kind: String,
    /// The source, or the name of the file of events.
    pub source: String,
    /// When it began.
    pub started_at: String,
    /// How far it is; null while that is not known.
    pub progress: Option<ImportProgressBody>,
}

/// How far an import is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportProgressBody {
    /// What is read.
    pub done: u64,
    /// What will be; 0 if that is not known.
    pub total: u64,
    /// What is counted: `byte`s of the files of a bill, or `event`s.
    pub unit: String,
}

/// Returns the imports that are under way, in the order in which they began.
#[utoipa::path(get, path = "/api/v1/imports/running", tag = "cost-lines", params(PageParams),
    responses((status = 200, body = Page<RunningImportBody>)))]
pub async fn list_running_imports(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    Page::of_all(running_imports(app.catalog()).await?, &page, "running imports", to_api_running)?.answer(&asked)
}

/// Asks for an import to end. Until its commit it ends with `run_cancelled` and has stored nothing; the commit is never broken
/// off.
#[utoipa::path(post, path = "/api/v1/imports/running/{id}/cancel", tag = "cost-lines",
    params(("id" = String, Path, description = "Its id while it is under way")),
    responses((status = 202, body = RunningImportBody)))]
pub async fn cancel_import(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    let found = running_imports(app.catalog()).await?.into_iter().find(|import| import.id == id);
    let missing = || EngineError::NotFound { kind: "import", name: id.clone() };
    let import = found.ok_or_else(missing)?;
    if !app.catalog().cancel_refresh(&id, &admin.actor, app.now().micros()).await? {
        return Err(missing().into());
    }
    app.told(&admin, ("import.cancel", &id), true, &to_api_running(&import)).await
}

impl App {
    /// Enters an import, so that others see it and may end it.
    pub(crate) async fn begin_import(&self, kind: &str, name: &str) -> Result<UnderWay<'_>, ApiError> {
        Ok(UnderWay::begin_import(self.catalog(), self.engine.clock(), (kind, name)).await?)
    }
}

fn to_api_running(import: &RunningImport) -> RunningImportBody {
    let progress = |Counted { done, total, unit }| ImportProgressBody { done, total, unit: unit.as_str().to_owned() };
    RunningImportBody {
        id: import.id.clone(),
        kind: import.kind.clone(),
        source: import.name.clone(),
        started_at: import.begun_at.to_string(),
        progress: import.counted.map(progress),
    }
}
