//! Writes that may be repeated: the same `Idempotency-Key` gets the first answer again.

use crate::app::App;
use crate::auth::Caller;
use crate::body::{MULTIPART, Spooled, broken_part, content_type, multipart, spool};
use crate::limits::BodySize;
use crate::problem::ApiError;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::catalog::{IdempotencyStart, StoredResponse};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 255;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Returns the key of a write, if it has one.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len()));
    let refuse =
        || ApiError::parameter("Idempotency-Key", format!("the key has 1 to {KEY_BYTES_MAX} visible ASCII characters"));
    text.map(|text| Some(text.to_owned())).ok_or_else(refuse)
}

/// Returns 16 hexadecimal digits that name what is asked under a key: the same request gives the same ones, so that a
/// repeat finds what the first one did even where its answer was never kept.
pub(crate) fn digest_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())[..16].to_owned()
}

/// Runs the write once and keeps its answer; a repeat gets that answer.
///
/// Only answers of success are kept: after an error nothing happened, so a repeat may try again.
pub(crate) async fn once(
    app: &App,
    caller: &Caller,
    key: String,
    size: BodySize,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let spooled = spool(app, body, size).await?;
    let sha256 = hash_of(app, &parts, &spooled).await?;
    let now = app.now().micros();
    app.catalog().forget_idempotency_keys(now - app.limits.idempotency_seconds * MICROS_PER_SECOND).await?;
    let stale_before = now - app.limits.idempotency_stale_seconds * MICROS_PER_SECOND;
    match app.catalog().begin_idempotent(&caller.actor, &key, &sha256, now, stale_before).await? {
        IdempotencyStart::Finished(stored) => return replay(&stored),
        IdempotencyStart::InProgress => return Err(ApiError::IdempotencyInProgress),
        IdempotencyStart::New => {}
    }
    let path = parts.uri.path().to_owned();
    let body = match spooled.body().await {
        Ok(body) => body,
        Err(error) => {
            app.catalog().abandon_idempotent(&caller.actor, &key).await?;
            return Err(error);
        }
    };
    drop(spooled);
    let response = next.run(Request::from_parts(parts, body)).await;
    if !response.status().is_success() {
        app.catalog().abandon_idempotent(&caller.actor, &key).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let broken = |error| ApiError::Internal(format!("an answer broke off: {error}"));
    let bytes = body.collect().await.map_err(broken)?.to_bytes();
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let stored = StoredResponse {
        status: i64::from(parts.status.as_u16()),
        headers: json!({ "content-type": header(header::CONTENT_TYPE), "location": header(header::LOCATION) })
            .to_string(),
        body: kept_body(&path, &bytes),
    };
    app.catalog().finish_idempotent(&caller.actor, &key, &stored).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// What two requests that are the same have in common. Of a multipart body these are its parts: the boundary between
/// them is another one each time.
async fn hash_of(app: &App, parts: &Parts, spooled: &Spooled) -> Result<String, ApiError> {
    let mut hash = Sha256::new();
    hash.update(format!("{} {}\n", parts.method, parts.uri));
    if content_type(&parts.headers) != MULTIPART {
        hash.update(parts.headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes));
        hash.update(b"\n");
        hash.update(spooled.sha256.as_bytes());
        return Ok(hex::encode(hash.finalize()));
    }
    let mut multipart = multipart(app, Request::from_parts(parts.clone(), spooled.body().await?)).await?;
    while let Some(mut field) = multipart.next_field().await.map_err(broken_part)? {
        let names = format!("{:?} {:?}", field.name(), field.file_name());
        let mut content = Sha256::new();
        while let Some(piece) = field.chunk().await.map_err(broken_part)? {
            content.update(&piece);
        }
        hash.update(format!("{names} {}\n", hex::encode(content.finalize())));
    }
    Ok(hex::encode(hash.finalize()))
}

/// A new token is shown once and never stored: a repeat gets everything but the token.
fn kept_body(path: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if !path.ends_with("/tokens") {
        return text;
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(mut object)) => {
            object.insert("token".to_owned(), Value::Null);
            Value::Object(object).to_string()
        }
        _ => String::new(),
    }
}

fn replay(stored: &StoredResponse) -> Result<Response, ApiError> {
    let unreadable = || ApiError::Internal("a kept answer is unreadable".to_owned());
    let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(Body::from(stored.body.clone()));
    *response.status_mut() = status.ok_or_else(unreadable)?;
    let headers: Value = serde_json::from_str(&stored.headers).map_err(|_| unreadable())?;
    for name in [header::CONTENT_TYPE, header::LOCATION] {
        if let Some(value) = headers[name.as_str()].as_str().and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
