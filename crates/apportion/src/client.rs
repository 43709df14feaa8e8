//! One REST API, reached over HTTP or in process. Both ways take and give the same bytes.

use crate::exit::{Exit, Failure};
use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use futures::TryStreamExt;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// Path under which the API's routes are.
pub const API: &str = "/api/v1";
/// Rows asked for per page when every row is wanted.
const PAGE_ROWS: &str = "1000";
/// How the refusal of so many rows begins.
const LIMIT_REFUSED: &str = "invalid_parameter: `limit`";
/// How the problem begins of work that somebody cancelled.
const CANCELLED: &str = "run_cancelled";

/// Who answers.
pub enum Client {
    /// A server.
    Remote {
        /// Its HTTP connections.
        http: reqwest::Client,
        /// Its address with the path of the API.
        base: String,
        /// Who asks.
        token: Option<String>,
    },
    /// The routes of the local store, in this process.
    Local(axum::Router),
}

/// One request, without the path of the API.
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Body,
}

/// An answer that is not an error.
pub struct Answer {
    /// HTTP status, below 400.
    pub status: u16,
    /// What it says about its body.
    pub headers: HeaderMap,
    body: Body,
}

impl Call {
    /// Returns a request that reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Returns a request that creates or starts something.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// Returns a request that replaces something.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Returns a request that removes something.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), headers: HeaderMap::new(), body: Body::empty() }
    }

    /// Adds a query parameter if there is a value.
    pub fn maybe(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Adds a query parameter.
    pub fn query(self, name: &'static str, value: impl ToString) -> Self {
        self.maybe(name, Some(value))
    }

    /// Adds query parameters.
    pub fn queries(mut self, pairs: Vec<(&'static str, String)>) -> Self {
        self.query.extend(pairs);
        self
    }

    /// Asks for a content type.
    pub fn accept(mut self, content_type: &'static str) -> Self {
        self.headers.insert(header::ACCEPT, HeaderValue::from_static(content_type));
        self
    }

    /// Sends a key under which the request counts once, if there is one.
    ///
    /// # Errors
    /// A key that no header can hold.
    pub fn idempotency_key(mut self, key: Option<&str>) -> Result<Self> {
        if let Some(key) = key {
            let refused = || Failure::new(Exit::Usage, "an idempotency key has visible ASCII characters only");
            self.headers.insert("idempotency-key", HeaderValue::from_str(key).map_err(|_| refused())?);
        }
        Ok(self)
    }

    /// Sends JSON.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", Body::from(body.to_string()))
    }

    /// Sends a body of some content type.
    pub fn body(mut self, content_type: &str, body: Body) -> Self {
        let content_type = HeaderValue::from_str(content_type).expect("content types are ASCII");
        self.headers.insert(header::CONTENT_TYPE, content_type);
        self.body = body;
        self
    }

    fn target(&self, base: &str) -> String {
        let mut target = format!("{base}{}", self.path);
        for (index, (name, value)) in self.query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            target.push_str(&percent_encode(value));
        }
        target
    }
}

/// Returns whether the server says that somebody cancelled what was asked for, which is no failure of it.
pub fn is_cancelled(error: &anyhow::Error) -> bool {
    error.to_string().starts_with(CANCELLED)
}

/// Returns the text with every byte that means something in a URL escaped.
pub fn percent_encode(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

impl Client {
    /// Returns a client of a server.
    ///
    /// # Errors
    /// An address or token that cannot be sent.
    pub fn remote(server: &str, token: Option<String>) -> Result<Self> {
        let server = server.trim_end_matches('/');
        if !server.starts_with("http://") && !server.starts_with("https://") {
            let message = format!("`{server}` is not a server address; write it as http://127.0.0.1:8082");
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let base = if server.ends_with(API) { server.to_owned() } else { format!("{server}{API}") };
        let http = reqwest::Client::builder()
            .user_agent(concat!("apportion/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(std::time::Duration::from_secs(10))
            .build()
            .context("cannot set up HTTP")?;
        Ok(Self::Remote { http, base, token })
    }

    /// Returns the answer to a request.
    ///
    /// # Errors
    /// [`Failure`] with the exit code of the API's problem, or unreachable.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        let answer = match self {
            Self::Remote { http, base, token } => send_remote(http, base, token.as_deref(), call).await?,
            Self::Local(router) => send_local(router, call).await?,
        };
        if answer.status < 400 {
            return Ok(answer);
        }
        let status = answer.status;
        let body = answer.bytes().await?;
        Err(Failure::from_problem(status, &body).into())
    }

    /// Returns the JSON that answers a request.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn json(&self, call: Call) -> Result<Value> {
        self.send(call).await?.json().await
    }

    /// Returns one page of a list, a long one if the server gives such: its limit may be lower.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn page(&self, path: &str, query: &[(&'static str, String)], cursor: Option<&str>) -> Result<Value> {
        let call =
            |rows: Option<&str>| Call::get(path).queries(query.to_vec()).maybe("limit", rows).maybe("cursor", cursor);
        match self.json(call(Some(PAGE_ROWS))).await {
            Err(error) if error.to_string().starts_with(LIMIT_REFUSED) => self.json(call(None)).await,
            done => done,
        }
    }

    /// Returns the rows of all pages that answer a list request.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn all_rows(&self, path: &str, query: &[(&'static str, String)]) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = self.page(path, query, cursor.as_deref()).await?;
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            rows.append(&mut crate::output::take_rows(&mut page));
            if cursor.is_none() {
                return Ok(rows);
            }
        }
    }
}

#[cfg(test)]
impl Client {
    /// Returns a client of a server whose only source, `bill`, refuses to be read, by this code.
    pub fn refusing_a_source(code: &str) -> Self {
        use axum::http::StatusCode;
        use axum::routing::{get, post};
        use serde_json::json;

        let page = json!({ "rows": [{ "name": "bill", "kind": "vercel" }], "next_cursor": null }).to_string();
        let problem = json!({ "code": code, "detail": "it was not read" }).to_string();
        let page = ([(header::CONTENT_TYPE, "application/json")], page);
        let refusal = (StatusCode::CONFLICT, [(header::CONTENT_TYPE, "application/problem+json")], problem);
        let sources = get(move || std::future::ready(page));
        let refresh = post(move || std::future::ready(refusal));
        let api = axum::Router::new().route("/sources", sources).route("/sources/bill/refresh", refresh);
        Self::Local(axum::Router::new().nest(API, api))
    }
}

async fn send_remote(http: &reqwest::Client, base: &str, token: Option<&str>, call: Call) -> Result<Answer> {
    let target = call.target(base);
    let mut request = http.request(call.method, &target).headers(call.headers);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let has_body = axum::body::HttpBody::size_hint(&call.body).exact() != Some(0);
    if has_body {
        request = request.body(reqwest::Body::wrap_stream(call.body.into_data_stream()));
    }
    let response = request.send().await.map_err(|error| {
        let reason = source_of(&error);
        Failure::new(Exit::Unreachable, format!("cannot reach {base}: {reason}; is the server running there?"))
    })?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = Body::from_stream(response.bytes_stream().map_err(std::io::Error::other));
    Ok(Answer { status, headers, body })
}

/// Returns the innermost reason of an error, which says more than the outer ones.
fn source_of(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

async fn send_local(router: &axum::Router, call: Call) -> Result<Answer> {
    let mut request = Request::builder().method(call.method.clone()).uri(call.target(API));
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let mut request = request.body(call.body).context("the request cannot be formed")?;
    crate::wiring::mark_local(&mut request);
    let response = match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.into_body() })
}

impl Answer {
    /// Returns the whole body.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn bytes(self) -> Result<Bytes> {
        let broken = |error: axum::Error| Failure::new(Exit::Unreachable, format!("the answer broke off: {error}"));
        Ok(self.body.collect().await.map_err(broken)?.to_bytes())
    }

    /// Returns the body as JSON; an empty one is null.
    ///
    /// # Errors
    /// The connection broke, or the body is not JSON.
    pub async fn json(self) -> Result<Value> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("the server's answer is not JSON; is this an Apportion server?")
    }

    /// Returns the body piece by piece.
    pub fn stream(self) -> impl futures::Stream<Item = Result<Bytes>> + Unpin {
        let broken = |error: axum::Error| {
            anyhow::Error::from(Failure::new(Exit::Unreachable, format!("the answer broke off: {error}")))
        };
        Box::pin(TryStreamExt::map_err(self.body.into_data_stream(), broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_escape_what_means_something_in_a_url() {
        let call = Call::get("/costs").query("filter", "label:a&b -tier:x").maybe("top", None::<u32>).query("limit", 5);
        assert_eq!(call.target(API), "/api/v1/costs?filter=label%3Aa%26b%20-tier%3Ax&limit=5");
    }

    #[tokio::test]
    async fn an_error_answer_becomes_a_failure_with_its_exit_code() {
        let problem = || async {
            (axum::http::StatusCode::CONFLICT, r#"{"detail":"run 7 covers these days","code":"run_in_progress"}"#)
        };
        let client = Client::Local(axum::Router::new().route("/api/v1/runs", axum::routing::get(problem)));
        let error = client.json(Call::get("/runs")).await.expect_err("a conflict");
        assert_eq!(
            (error.to_string().as_str(), crate::exit::exit_of_error(&error)),
            ("run_in_progress: run 7 covers these days", Exit::Conflict)
        );
    }

    #[tokio::test]
    async fn all_rows_follows_the_cursor() {
        let page = |uri: axum::http::Uri| async move {
            let second = uri.query().is_some_and(|query| query.contains("cursor=n2"));
            if second { r#"{"rows":[{"a":2}],"next_cursor":null}"# } else { r#"{"rows":[{"a":1}],"next_cursor":"n2"}"# }
        };
        let client = Client::Local(axum::Router::new().route("/api/v1/x", axum::routing::get(page)));
        let rows = client.all_rows("/x", &[]).await.expect("rows");
        assert_eq!(Value::Array(rows).to_string(), r#"[{"a":1},{"a":2}]"#);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let client = Client::remote("http://127.0.0.1:9", None).expect("a client");
        let error = client.json(Call::get("/runs")).await.expect_err("nobody listens");
        assert_eq!(crate::exit::exit_of_error(&error), Exit::Unreachable);
        assert!(Client::remote("localhost:8082", None).is_err());
    }
}
