//! What happens around every handler.
//!
//! Outside: [`answer`] gives the request its id, catches panics, turns errors into problems, adds ETag and
//! security headers, also to paths that no route has. Around each route: [`guard`] finds out who calls and refuses
//! before the body is read.

use crate::access::Access;
use crate::app::App;
use crate::auth::{RequestId, authenticate, random_id};
use crate::idempotency;
use crate::limits::{ApiLimits, BodySize};
use crate::problem::{ApiError, ErrorForm, PROBLEM_JSON, ProblemParts};
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use sha2::{Digest, Sha256};
use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers of every answer that does not say otherwise.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Path under which everything is served, without `/` at its end. Addresses in answers begin with it.
#[derive(Clone, Debug)]
pub struct BasePath(pub(crate) Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for BasePath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self("".into())))
    }
}

/// Something that a router holds as long as it is there.
pub type Held = Arc<dyn Any + Send + Sync>;

/// What the layer around all routes needs.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) limits: Arc<ApiLimits>,
    pub(crate) base: BasePath,
    #[expect(dead_code, reason = "it is held, not used")]
    pub(crate) held: Held,
}

/// Makes an answer of whatever a handler gave back.
pub(crate) async fn answer(State(around): State<Around>, mut request: Request, next: Next) -> Response {
    let Around { limits, base, .. } = around;
    let id = RequestId(random_id("req"));
    let path = request.uri().path().to_owned();
    let asked = request.headers().get(header::IF_NONE_MATCH).cloned();
    let (is_get, is_head) = (request.method() == Method::GET, request.method() == Method::HEAD);
    let form = ErrorForm::of(path.strip_prefix(&*base.0).unwrap_or(&path), request.headers());
    let span = tracing::info_span!("request", request.id = %id.0, method = %request.method(), path = %path);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(base.clone());
    let done = if request.uri().query().is_some_and(|query| limits.query_bytes_max < query.len()) {
        let detail = format!("the query has more than {} bytes (limits.query_string)", limits.query_bytes_max);
        Ok(ApiError::parameter("query", detail).into_response())
    } else {
        AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await
    };
    let mut response = match done {
        Ok(response) => with_problem(response, &base, &path, &id, form),
        Err(panic) => ProblemParts::of_panic(text_of(&*panic)).into_answer(&base, &path, &id, form),
    };
    // The body of an answer to HEAD is dropped further out, if it was not dropped already.
    let has_body = response.body().size_hint().exact() != Some(0);
    if (is_get || is_head && has_body) && response.status() == StatusCode::OK {
        response = with_etag(response, asked.as_ref(), limits.etag_bytes_max).await;
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("accept, authorization, cookie"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// The answer itself, or the problem that its error stands for.
fn with_problem(mut response: Response, base: &BasePath, path: &str, id: &RequestId, form: ErrorForm) -> Response {
    let parts = response.extensions_mut().remove::<ProblemParts>();
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == PROBLEM_JSON);
    let parts = match parts {
        Some(parts) => parts,
        None if is_error && !is_problem => ProblemParts::of_status(response.status()),
        None => return response,
    };
    let mut problem = parts.into_answer(base, path, id, form);
    // What the error says in headers (`allow`, `retry-after` …) stays; what describes the body it had does not.
    for (name, value) in response.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

/// What a panic said, for the log.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

/// Answers of known length carry the hash of their bytes; who has them already gets 304.
async fn with_etag(response: Response, asked: Option<&HeaderValue>, bytes_max: u64) -> Response {
    let Some(length) = response.body().size_hint().exact().filter(|length| *length <= bytes_max) else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let Ok(collected) = body.collect().await else {
        return ApiError::Internal(format!("a body of {length} bytes in memory broke off")).into_response();
    };
    let bytes = collected.to_bytes();
    let etag = format!("\"{}\"", &hex::encode(Sha256::digest(&bytes))[..32]);
    let value = HeaderValue::from_str(&etag).expect("hexadecimal digits are a header");
    parts.headers.insert(header::ETAG, value);
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    let has_it = asked.and_then(|asked| asked.to_str().ok()).is_some_and(|asked| {
        asked.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
    });
    if has_it {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// What the layer around a route needs.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) app: App,
    pub(crate) access: Access,
    /// Whether the answer goes on as long as it likes, and ends when the caller goes away.
    pub(crate) is_stream: bool,
    /// How large a body may be.
    pub(crate) body: BodySize,
}

/// Finds out who calls and refuses before anything of the body is read or decompressed.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    guarded(guard, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn guarded(guard: Guard, request: Request, next: Next) -> Result<Response, ApiError> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !guard.access.needs_token() {
        let run = next.run(request);
        return if is_read { Ok(run.await) } else { to_its_end(async move { Ok(run.await) }).await };
    }
    let (mut parts, body) = request.into_parts();
    let caller = authenticate(&guard.app, &parts).await?;
    guard.access.check(caller.role)?;
    let is_local = parts.extensions.get::<crate::auth::LocalAdmin>().is_some();
    parts.extensions.insert(caller.clone());
    let key = idempotency::key_of(&parts.headers)?;
    let request = Request::from_parts(parts, body);
    // What writes nothing may end with its caller; an answer that is kept for a repeat must be whole.
    if !is_read && (!guard.is_stream || key.is_some()) {
        let write = async move {
            match key {
                // Apart, because every write would carry along the room that few need, from task to task.
                Some(key) => Box::pin(idempotency::once(&guard.app, &caller, key, guard.body, request, next)).await,
                None => Ok(next.run(request).await),
            }
        };
        return to_its_end(write).await;
    }
    let run = next.run(request);
    if guard.is_stream || is_local {
        return Ok(run.await);
    }
    let wait = Duration::from_secs(guard.app.limits.read_seconds_max);
    let late = |_| ApiError::Unavailable("the question took too long (limits.query_time); ask for fewer days or rows");
    tokio::time::timeout(wait, run).await.map_err(late)
}

/// Runs a write in a task of its own: when the caller goes away, nothing stays half done.
async fn to_its_end<F>(write: F) -> Result<Response, ApiError>
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    match tokio::spawn(write.in_current_span()).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(ApiError::Internal(format!("a write was stopped: {error}"))),
    }
}

/// Returns whether the caller wants CSV rather than JSON: it gives it the higher quality, or names it first.
pub(crate) fn wants_csv(headers: &HeaderMap) -> bool {
    let ranges = media_ranges(headers);
    // Of the ranges that fit a type, the narrowest says how much it is wanted.
    let wanted = |fitting: [&str; 3]| {
        let place = fitting.iter().find_map(|fitting| ranges.iter().position(|(range, _)| range == fitting));
        place.map_or((0.0, usize::MAX), |place| (ranges[place].1, place))
    };
    let (csv, csv_place) = wanted(["text/csv", "text/*", "*/*"]);
    let (json, json_place) = wanted(["application/json", "application/*", "*/*"]);
    csv > 0.0 && (json < csv || (json == csv && csv_place < json_place))
}

/// Returns the media ranges that the caller accepts, in lower case, each with its quality.
pub(crate) fn media_ranges(headers: &HeaderMap) -> Vec<(String, f32)> {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).map(media_range).collect()
}

/// A media range in lower case and its quality; one that cannot be read counts fully.
fn media_range(text: &str) -> (String, f32) {
    let mut pieces = text.split(';').map(str::trim);
    let range = pieces.next().unwrap_or_default().to_ascii_lowercase();
    let quality = pieces.find_map(|piece| piece.strip_prefix("q=").or(piece.strip_prefix("Q=")));
    let quality = quality.and_then(|text| text.parse().ok()).filter(|quality| (0.0..=1.0).contains(quality));
    (range, quality.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn a_panic_is_a_problem_that_says_nothing_internal() {
        async fn broken() -> &'static str {
            panic!("secret of the store")
        }
        let around = Around { limits: Arc::new(ApiLimits::default()), base: BasePath("".into()), held: Arc::new(()) };
        let router: Router = Router::new().route("/x", get(broken)).layer(from_fn_with_state(around, answer));
        let request = Request::builder().uri("/x").body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("\"code\":\"internal\"") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn csv_is_wanted_when_its_quality_is_higher_or_it_is_named_first() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            wants_csv(&headers)
        };
        for accept in [
            "text/csv",
            "Text/CSV",
            "text/csv;q=1, */*",
            "text/*",
            "application/json;q=0.5, text/csv",
            "*/*;q=0.1, text/csv; header=present; q=0.9",
        ] {
            assert!(wants(accept), "{accept}");
        }
        for accept in [
            "application/json, text/csv",
            "*/*",
            "text/html",
            "text/csv;q=0",
            "text/csv;q=0, */*;q=0",
            "text/csv;q=0.1, application/json",
            "text/csv;q=0.8, */*;q=0.9",
            "",
        ] {
            assert!(!wants(accept), "{accept}");
        }
    }
}
