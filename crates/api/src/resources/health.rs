//! Whether the server is alive and ready, and its documentation.

use crate::app::App;
use crate::around::BasePath;
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;
use storage::catalog::MetaKey;
use storage::lake::Table;
use utoipa::ToSchema;

/// The page runs its own script and style only, and asks this server only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// How the server is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthBody {
    /// `ok`.
    pub status: String,
    /// Version of the program.
    pub version: String,
}

fn ok() -> HealthBody {
    HealthBody { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// Says that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = HealthBody)))]
pub async fn healthz(query: QueryPairs) -> Result<Response, ApiError> {
    query.none()?;
    json(&ok())
}

/// Says whether catalog and lake answer.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = HealthBody)))]
pub async fn readyz(State(app): State<App>, query: QueryPairs) -> Result<Response, ApiError> {
    query.none()?;
    let catalog = app.catalog().meta(MetaKey::LakeId).await.map(drop).map_err(ApiError::from);
    let lake = app.engine.lake().pin_table(Table::Ledger).await.map(drop).map_err(ApiError::from);
    if let Err(error) = catalog.and(lake) {
        tracing::error!(?error, "the store does not answer");
        return Err(ApiError::Unavailable("the store does not answer"));
    }
    json(&ok())
}

/// Returns this document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", responses((status = 200, body = Object)))]
pub async fn openapi_json(BasePath(base): BasePath, query: QueryPairs) -> Result<Response, ApiError> {
    query.none()?;
    let mut document = crate::openapi::openapi();
    if !base.is_empty() {
        document["servers"] = serde_json::json!([{ "url": &*base }]);
    }
    json(&document)
}

/// Leads from the base path with a slash behind it to the page there, with the same query.
pub(crate) async fn without_slash(BasePath(base): BasePath, RawQuery(query): RawQuery) -> Redirect {
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Redirect::to(&format!("{base}{query}"))
}

/// Shows this document to people.
#[utoipa::path(get, path = "/docs/api", tag = "health", responses((status = 200, content_type = "text/html", body = String)))]
pub async fn docs_page(query: QueryPairs) -> Result<Response, ApiError> {
    asset(&query, "text/html; charset=utf-8", include_str!("../../assets/docs.html"))
}

/// The script of that page.
#[utoipa::path(get, path = "/docs/api.js", tag = "health", responses((status = 200, content_type = "text/javascript", body = String)))]
pub async fn docs_script(query: QueryPairs) -> Result<Response, ApiError> {
    asset(&query, "text/javascript; charset=utf-8", include_str!("../../assets/docs.js"))
}

/// The style of that page.
#[utoipa::path(get, path = "/docs/api.css", tag = "health", responses((status = 200, content_type = "text/css", body = String)))]
pub async fn docs_style(query: QueryPairs) -> Result<Response, ApiError> {
    asset(&query, "text/css; charset=utf-8", include_str!("../../assets/docs.css"))
}

fn asset(query: &QueryPairs, content_type: &'static str, text: &'static str) -> Result<Response, ApiError> {
    query.none()?;
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((StatusCode::OK, headers, text).into_response())
}
