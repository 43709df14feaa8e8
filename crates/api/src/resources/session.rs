//! Signing in to pages and out again.

use crate::app::App;
use crate::auth::{Caller, bearer, request_id_of, sign_in};
use crate::body::{content_type, json_of, object_of, text_of};
use crate::convert::instant;
use crate::limits::BodySize;
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use crate::sessions::{Opened, no_cookies};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::TenantScope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const JSON: &str = "application/json";

/// What a person signs in with.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The token; it may stand in the header `Authorization` instead.
    #[serde(default)]
    pub token: Option<String>,
}

/// A session that was opened. Its cookies stand in the headers of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionBody {
    /// What the caller may do.
    pub role: String,
    /// The tenants that the caller may see; null for all.
    pub tenants: Option<Vec<String>>,
    /// When the session ends by itself.
    pub expires_at: String,
    /// What a request that changes something repeats in the header `X-CSRF-Token`.
    pub csrf_token: String,
}

/// Opens a session: a cookie stands for the token from here on.
#[utoipa::path(post, path = "/api/v1/session", tag = "access", request_body = Option<SignIn>, responses((status = 200, body = SessionBody)))]
pub async fn open_session(State(app): State<App>, query: QueryPairs, request: Request) -> Result<Response, ApiError> {
    query.none()?;
    let (headers, request_id) = (request.headers().clone(), request_id_of(request.extensions()));
    let text = text_of(request, &app, BodySize::Json).await?;
    let asked = asked_in(&headers, &text)?;
    let token = asked.token.as_deref().or_else(|| bearer(&headers));
    let (caller, hash) = sign_in(&app, token, request_id).await?;
    let now = app.now().micros();
    let opened = app.sessions.open(&hash, caller.expires_at, now);
    let mut response = json(&to_api_session(&caller, &opened))?;
    for cookie in opened.cookies(now) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Ends the session of the cookie, if there is one, and makes the browser forget it.
#[utoipa::path(delete, path = "/api/v1/session", tag = "access", responses((status = 204, description = "Ended")))]
pub async fn close_session(
    State(app): State<App>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    query.none()?;
    app.sessions.close(&headers);
    let mut response = StatusCode::NO_CONTENT.into_response();
    for cookie in no_cookies() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// A page of another site cannot send this content type without asking first, so it cannot sign a visitor in as somebody else.
fn asked_in(headers: &HeaderMap, text: &str) -> Result<SignIn, ApiError> {
    if text.trim().is_empty() {
        return Ok(SignIn::default());
    }
    if content_type(headers) != JSON {
        return Err(ApiError::MediaType(format!("send the token as {JSON}")));
    }
    object_of(json_of(text)?)
}

fn to_api_session(caller: &Caller, opened: &Opened) -> SessionBody {
    let tenants = match &caller.scope {
        TenantScope::All => None,
        TenantScope::Only(tenants) => Some(tenants.iter().map(ToString::to_string).collect()),
    };
    SessionBody {
        role: caller.role.as_str().to_owned(),
        tenants,
        expires_at: instant(opened.ends_at),
        csrf_token: opened.csrf.clone(),
    }
}
