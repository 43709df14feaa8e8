//! Who changed what.

use super::ledger::PageParams;
use crate::access::PlatformAdmin;
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
use storage::catalog::AuditRow;
use utoipa::ToSchema;

const AUDIT: &str = "audit";

/// One change.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditBody {
    /// Place in the log, from 1.
    pub seq: i64,
    /// When it was made.
    pub at: String,
    /// Id of the token, `local`, `admin` or `system`.
    pub actor: String,
    /// What was done, e.g. `tenant.put`.
    pub action: String,
    /// To what.
    pub target: String,
    /// What was there before; any JSON, null if nothing.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What is there now.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// The request.
    pub request_id: Option<String>,
}

/// Returns changes, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "access", params(PageParams), responses((status = 200, body = Page<AuditBody>)))]
pub async fn list_audit(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let before: Option<i64> = page.cursor.as_ref().map(|text| cursor::decode(AUDIT, text)).transpose()?;
    let rows = app.catalog().list_audit_all_tenants(before, page.rows_wanted()).await?;
    Page::cut(rows, page.limit, |row| cursor::encode(AUDIT, &row.seq), to_api_change).answer(&asked)
}

fn to_api_change(row: &AuditRow) -> AuditBody {
    let json = |text: &Option<String>| text.as_ref().and_then(|text| serde_json::from_str(text).ok());
    AuditBody {
        seq: row.seq,
        at: instant(row.at),
        actor: row.actor.clone(),
        action: row.action.clone(),
        target: row.target.clone(),
        before: json(&row.before_json),
        after: json(&row.after_json),
        request_id: row.request_id.clone(),
    }
}
