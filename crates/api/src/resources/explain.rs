//! Where one amount comes from.

use crate::access::CostReader;
use crate::app::App;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;

/// Explains.
#[utoipa::path(get, path = "/api/v1/explain", tag = "costs", responses((status = 200, body = Object)))]
pub async fn explain(_reader: CostReader, State(_app): State<App>, query: QueryPairs) -> Result<Response, ApiError> {
    query.none()?;
    Err(ApiError::Internal("explain".to_owned()))
}
