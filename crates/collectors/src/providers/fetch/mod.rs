//! The one way in which collectors ask providers.
//!
//! Invariants:
//! * A request that is not on the collector's list, or leads to an address that is not public, is never sent.
//! * No redirect is followed and no proxy is used. `https` only, but for a stand-in on this machine.
//! * Each attempt has a time limit from connecting to the last byte, each answer a limit of bytes, before and after
//!   decompression, each collection one of requests.
//! * No credential stands in an error.

/// Where requests may go.
mod address;
/// Bodies of answers.
mod answer;
/// Pages that repeat or never end.
mod pages;
/// Requests, and the list they must be on.
mod request;

pub use address::{is_public, parse_base};
pub use answer::Answer;
pub use pages::Pages;
pub use request::{Allowed, Outgoing, Request, Sign, Verb};

use super::collector::Spec;
use super::credentials::Credentials;
use super::error::{Cause, CollectError};
use crate::prometheus::{CONNECT_MAX, WAIT_MAX, asked_wait, innermost, shown};
use address::{PrivateAddress, PublicNames};
use backon::{ExponentialBuilder, Retryable as _};
use domain::time::MICROS_PER_SECOND;
use domain::{Clock, Instant};
use reqwest::Response;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use url::Url;

/// Answers of the largest size that are allowed that one collection may read: they are in memory together.
const LARGEST_ANSWERS_MAX: u64 = 16;
/// Bytes read of an answer that is an error.
const REFUSAL_BYTES_MAX: u64 = 16 * 1024;

/// How a provider is asked.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Address below which the provider's paths are, see [`parse_base`].
    pub base: Url,
    /// Whether the address is one on this machine that stands in for the provider.
    pub is_stand_in: bool,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How many times a failed attempt is repeated.
    pub retries: usize,
    /// Wait before the first repeat; it doubles each time and varies by chance.
    pub retry_wait: Duration,
    /// Bytes of one answer, before and after decompression.
    pub response_bytes_max: u64,
    /// Requests of one collection.
    pub requests_max: usize,
}

/// Asks one provider during one collection.
pub struct Fetch {
    http: reqwest::Client,
    spec: &'static Spec,
    options: FetchOptions,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    requests: AtomicUsize,
    /// Bytes of all answers, decompressed.
    bytes: AtomicU64,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Fetch({})", self.spec.name)
    }
}

/// Returns a client that follows no redirect, uses no proxy, and connects to public addresses only, by `https`; to a
/// stand-in as it is.
///
/// # Errors
/// [`Cause::Unreachable`] if the machine's certificates cannot be used.
pub(super) fn http_client(is_stand_in: bool) -> Result<reqwest::Client, CollectError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("apportion/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let builder = match is_stand_in {
        true => builder,
        false => builder.https_only(true).dns_resolver(PublicNames),
    };
    builder
        .build()
        .map_err(|error| CollectError::new(Cause::Unreachable, format!("cannot set up HTTP: {}", innermost(&error))))
}

impl Fetch {
    /// Returns a client for one collection. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Cause::Unreachable`] if the machine's certificates cannot be used.
    pub fn new(
        spec: &'static Spec,
        options: FetchOptions,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CollectError> {
        let http = http_client(options.is_stand_in)?;
        Ok(Self { http, spec, options, credentials, clock, requests: AtomicUsize::new(0), bytes: AtomicU64::new(0) })
    }

    /// Returns the credentials of this collection.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns the time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Returns a successful answer; what may pass is tried again.
    ///
    /// # Errors
    /// [`CollectError`], once no further attempt makes sense.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, CollectError> {
        let url = request.url(&self.options.base, self.spec.allowed)?;
        let waits = ExponentialBuilder::default()
            .with_min_delay(self.options.retry_wait)
            .with_max_delay(WAIT_MAX)
            .with_max_times(self.options.retries)
            .with_jitter();
        let collector = self.spec.name;
        let answered = (|| self.attempt(&request, &url))
            .retry(waits)
            .when(|error: &CollectError| error.cause.is_passing())
            .adjust(wait_for)
            .notify(|error, wait| {
                tracing::info!(collector, cause = error.cause.as_str(), ?wait, "asking {collector} again")
            })
            .await;
        answered.map_err(|error| {
            let place = format!("{}: {}", request.allowed, error.detail);
            CollectError { detail: self.credentials.scrub(&place), ..error }
        })
    }

    async fn attempt(&self, request: &Request<'_>, url: &Url) -> Result<Answer, CollectError> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.options.requests_max <= requests {
            return Err(CollectError::paging(format!(
                "more than {} requests in one collection",
                self.options.requests_max
            )));
        }
        let verb = request.allowed.verb;
        let mut sent = self
            .http
            .request(verb.method(), url.clone())
            .header(ACCEPT, "application/json, application/jsonl")
            .header(ACCEPT_ENCODING, "gzip")
            .timeout(self.options.timeout);
        let mut headers = request.headers.clone();
        if let Some(sign) = request.sign {
            headers.extend(sign(&Outgoing { verb, url, body: &request.body, now: self.now() })?);
        }
        for (name, value) in &headers {
            sent = sent.header(name.clone(), value.clone());
        }
        if !request.body.is_empty() {
            sent = sent.body(request.body.clone());
        }
        let mut response = sent.send().await.map_err(|error| self.not_sent(&error))?;
        let status = response.status().as_u16();
        let encoding = header_text(&response, CONTENT_ENCODING);
        if !(200..300).contains(&status) {
            return Err(self.refused(status, &mut response, &encoding, &headers).await);
        }
        let body = self.read(&mut response, self.options.response_bytes_max).await?;
        let body = answer::decoded(&encoding, body, self.options.response_bytes_max).await?;
        self.count(body.len() as u64)?;
        Ok(Answer { status, headers: response.headers().clone(), body })
    }

    /// Counts the bytes of an answer, of which a collection may have so many and no more.
    fn count(&self, bytes: u64) -> Result<(), CollectError> {
        let bytes_max = self.options.response_bytes_max.saturating_mul(LARGEST_ANSWERS_MAX);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) <= bytes_max {
            true => Ok(()),
            false => {
                let detail =
                    format!("the answers of one collection have more than {bytes_max} bytes; raise `response`");
                Err(CollectError::new(Cause::TooLarge, detail))
            }
        }
    }

    async fn refused(
        &self,
        status: u16,
        response: &mut Response,
        encoding: &str,
        sent: &[(HeaderName, HeaderValue)],
    ) -> CollectError {
        let wait = asked_wait(response.headers()).or_else(|| reset_wait(status, response.headers(), self.now()));
        let body = self.read(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let body = answer::decoded(encoding, body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let cause = (self.spec.reclassify)(status, &body).unwrap_or_else(|| cause_of(status));
        // Scrubbed before it is cut, so that no half of a credential stays.
        let text = without(sent, &String::from_utf8_lossy(&body));
        let text = shown(&self.credentials.scrub(&text));
        let said = if text.is_empty() { String::new() } else { format!(": {text}") };
        CollectError::new(cause, format!("the provider answered {status}{said}")).after(wait)
    }

    async fn read(&self, response: &mut Response, bytes_max: u64) -> Result<Vec<u8>, CollectError> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken_off(&error))? {
            if bytes_max < (bytes.len() + piece.len()) as u64 {
                return Err(answer::too_large(bytes_max));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn not_sent(&self, error: &reqwest::Error) -> CollectError {
        if is_private(error) {
            return CollectError::new(Cause::NotAllowed, PrivateAddress.to_string());
        }
        match error {
            error if error.is_timeout() => self.timed_out(),
            error if error.is_builder() => {
                CollectError::new(Cause::Secret, "the request cannot be made of what was given")
            }
            error => {
                CollectError::new(Cause::Unreachable, format!("the provider cannot be reached: {}", innermost(error)))
            }
        }
    }

    fn broken_off(&self, error: &reqwest::Error) -> CollectError {
        match error.is_timeout() {
            true => self.timed_out(),
            false => CollectError::new(Cause::Truncated, format!("the answer broke off: {}", innermost(error))),
        }
    }

    fn timed_out(&self) -> CollectError {
        CollectError::new(Cause::Timeout, format!("no whole answer within {:?}", self.options.timeout))
    }
}

/// The text without what was sent in headers that nobody prints: credentials may stand there in another spelling.
fn without(sent: &[(HeaderName, HeaderValue)], text: &str) -> String {
    let mut clean = text.to_owned();
    let secret = sent.iter().filter(|(_, value)| value.is_sensitive()).filter_map(|(_, value)| value.to_str().ok());
    for value in secret {
        let (_, behind) = value.split_once(' ').unwrap_or(("", value));
        if !behind.is_empty() {
            clean = clean.replace(behind, "(hidden)");
        }
    }
    clean
}

fn cause_of(status: u16) -> Cause {
    match status {
        401 | 403 => Cause::Auth,
        404 | 410 => Cause::NotFound,
        429 => Cause::RateLimited,
        300..=399 => Cause::Redirect,
        500..=599 => Cause::Server,
        _ => Cause::Refused,
    }
}

fn header_text(response: &Response, name: HeaderName) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

/// `X-RateLimit-Reset` of a 429: seconds, or the second since 1970 at which the provider may be asked again.
fn reset_wait(status: u16, headers: &HeaderMap, now: Instant) -> Option<Duration> {
    /// No provider has anybody wait so many seconds: what is larger is a time.
    const SECONDS_MAX: i64 = 1_000_000_000;
    let reset: i64 = headers.get("x-ratelimit-reset").filter(|_| status == 429)?.to_str().ok()?.trim().parse().ok()?;
    let seconds = if SECONDS_MAX < reset { reset - now.micros() / MICROS_PER_SECOND } else { reset };
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Whether the resolver refused the address.
pub(super) fn is_private(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut reason = Some(error);
    while let Some(one) = reason {
        if one.is::<PrivateAddress>() {
            return true;
        }
        reason = one.source();
    }
    false
}

/// The time before the next attempt, if there is one: ours or the provider's, whichever is longer.
fn wait_for(error: &CollectError, ours: Option<Duration>) -> Option<Duration> {
    match (ours, error.wait) {
        (Some(ours), Some(asked)) => (asked <= WAIT_MAX).then(|| asked.max(ours)),
        (ours, _) => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_in_secret_headers_is_hidden_in_any_spelling() {
        let secret = |text: &str| crate::providers::secret_header(text).expect("a header");
        let sent = [
            (reqwest::header::AUTHORIZATION, secret("Basic dXNlcjpjYW5hcnk=")),
            ("x-signature".parse().expect("a name"), secret("canary")),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ];
        let echoed = "Authorization: Basic dXNlcjpjYW5hcnk=, canary, application/json";
        assert_eq!(without(&sent, echoed), "Authorization: Basic (hidden), (hidden), application/json");
    }

    #[test]
    fn a_limit_says_in_seconds_or_by_a_time_when_it_ends() {
        let now: Instant = "2026-11-20T10:00:00Z".parse().expect("an instant");
        let wait = |status: u16, text: &str| {
            let headers =
                HeaderMap::from_iter([("x-ratelimit-reset".parse().expect("a name"), text.parse().expect("a value"))]);
            reset_wait(status, &headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!((wait(429, "30"), wait(429, "1795168860")), (Some(30), Some(60)));
        assert_eq!((wait(503, "30"), wait(429, "soon"), wait(429, "1795168700")), (None, None, None));
    }
}
