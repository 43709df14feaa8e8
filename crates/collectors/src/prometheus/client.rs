use super::answer::{self, Answer};
use super::error::PrometheusError;
use super::hours::{HourSpan, POINTS_MAX, seconds_of};
use super::secret::Secret;
use backon::{ExponentialBuilder, Retryable as _};
use domain::time::MICROS_PER_SECOND;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use std::time::Duration;
use url::Url;

/// All that this client may ask for. Most tokens can do more; this client cannot.
const ALLOWED: (Method, &[&str]) = (Method::POST, &["api", "v1", "query_range"]);
/// Name of the header by which stores of several organisations tell them apart.
const ORG_ID: &str = "x-scope-orgid";
/// Width of a step: an hour, in seconds.
const STEP: &str = "3600";
/// Longest time between two attempts, and the longest that a server may ask for.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a connection may take.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Bytes read of an answer that is an error.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// How a server is asked.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Address below which the API is, see [`parse_base`].
    pub url: Secret,
    /// Who asks.
    pub auth: Auth,
    /// Whose series are asked for, of a store that holds those of several: the header `X-Scope-OrgID`.
    pub org_id: Option<String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How many times a failed attempt is repeated.
    pub retries: usize,
    /// Wait before the first repeat; it doubles each time and varies by chance.
    pub retry_wait: Duration,
    /// Bytes of one answer.
    pub response_bytes_max: u64,
}

/// What a request says of who asks.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Nothing.
    Nobody,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic {
        /// Name of the user.
        username: String,
        /// Its password.
        password: Secret,
    },
}

/// Asks one server for ranges of hours.
#[derive(Clone, Debug)]
pub struct PrometheusClient {
    http: reqwest::Client,
    options: ClientOptions,
}

/// Returns the address if a server can be asked below it.
///
/// # Errors
/// A sentence that says what is wrong, without the address itself.
pub fn parse_base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the address cannot be read: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("the address must begin with http:// or https:// and name a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address must not hold a user or password; use `username` and `password_file`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the address must end before `?` and `#`".to_owned());
    }
    Ok(url)
}

impl PrometheusClient {
    /// Returns a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`PrometheusError::Setup`] if the machine's certificates cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, PrometheusError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("apportion/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX)
            // A redirect would lead to something that is not allowed, a proxy is the environment's business.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| PrometheusError::Setup(innermost(&error)))?;
        Ok(Self { http, options })
    }

    /// Returns the hourly values of an expression.
    ///
    /// # Errors
    /// [`PrometheusError`], once no further attempt makes sense.
    ///
    /// # Panics
    /// If the span has more hours than a server answers: cut it into pieces of [`POINTS_MAX`].
    pub(super) async fn query_range(&self, expression: &str, span: HourSpan) -> Result<Answer, PrometheusError> {
        assert!(span.hours() <= POINTS_MAX, "{} hours are too many for one query", span.hours());
        let endpoint = self.endpoint().await?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .append_pair("start", &seconds_of(span.first_end()).to_string())
            .append_pair("end", &seconds_of(span.end()).to_string())
            .append_pair("step", STEP)
            .append_pair("timeout", &format!("{}ms", self.options.timeout.as_millis()))
            .finish();
        let waits = ExponentialBuilder::default()
            .with_min_delay(self.options.retry_wait)
            .with_max_delay(WAIT_MAX)
            .with_max_times(self.options.retries)
            .with_jitter();
        (|| self.attempt(&endpoint, &body, span))
            .retry(waits)
            .when(PrometheusError::is_passing)
            .adjust(wait_for)
            .notify(|error, wait| tracing::info!(cause = error.cause(), ?wait, "asking the Prometheus server again"))
            .await
    }

    async fn endpoint(&self) -> Result<Url, PrometheusError> {
        let text = self.options.url.read().await.map_err(PrometheusError::Secret)?;
        let mut url = parse_base(&text).map_err(PrometheusError::Secret)?;
        url.path_segments_mut().expect("http addresses have paths").pop_if_empty().extend(ALLOWED.1);
        Ok(url)
    }

    async fn attempt(&self, endpoint: &Url, body: &str, span: HourSpan) -> Result<Answer, PrometheusError> {
        let request = self
            .http
            .request(ALLOWED.0, endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .timeout(self.options.timeout)
            .body(body.to_owned());
        let request = match &self.options.org_id {
            Some(org_id) => request.header(ORG_ID, org_id.as_str()),
            None => request,
        };
        let request = self.signed(request).await?;
        let mut response = request.send().await.map_err(|error| self.not_sent(&error))?;
        match response.status().as_u16() {
            200 => {
                let bytes = self.read(&mut response, self.options.response_bytes_max).await?;
                answer::read(&bytes, span)
            }
            status => {
                let wait = asked_wait(response.headers());
                let bytes = self.read(&mut response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
                Err(refused(status, wait, &bytes))
            }
        }
    }

    async fn signed(&self, request: RequestBuilder) -> Result<RequestBuilder, PrometheusError> {
        Ok(match &self.options.auth {
            Auth::Nobody => request,
            Auth::Bearer(token) => request.bearer_auth(token.read().await.map_err(PrometheusError::Secret)?),
            Auth::Basic { username, password } => {
                let password = password.read().await.map_err(PrometheusError::Secret)?;
                request.basic_auth(username, Some(password))
            }
        })
    }

    async fn read(&self, response: &mut Response, bytes_max: u64) -> Result<Vec<u8>, PrometheusError> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken_off(&error))? {
            if bytes_max < (bytes.len() + piece.len()) as u64 {
                return Err(PrometheusError::TooLarge(bytes_max));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn not_sent(&self, error: &reqwest::Error) -> PrometheusError {
        match error {
            error if error.is_timeout() => PrometheusError::TimedOut(self.options.timeout),
            error if error.is_builder() => PrometheusError::Secret("the token cannot be sent in a header".to_owned()),
            error => PrometheusError::Unreachable(innermost(error)),
        }
    }

    fn broken_off(&self, error: &reqwest::Error) -> PrometheusError {
        match error.is_timeout() {
            true => PrometheusError::TimedOut(self.options.timeout),
            false => PrometheusError::BrokenOff(innermost(error)),
        }
    }
}

fn refused(status: u16, wait: Option<Duration>, bytes: &[u8]) -> PrometheusError {
    match status {
        401 => PrometheusError::Unauthorized,
        403 => PrometheusError::Forbidden,
        404 => PrometheusError::NotFound,
        429 => PrometheusError::Throttled { wait },
        400 | 422 => PrometheusError::BadQuery(answer::refusal(bytes)),
        500 | 502..=504 => PrometheusError::Failed { status, detail: answer::refusal(bytes), wait },
        other => PrometheusError::Status(other),
    }
}

/// The time before the next attempt, if there is one: ours or the server's, whichever is longer.
fn wait_for(error: &PrometheusError, ours: Option<Duration>) -> Option<Duration> {
    match (ours, error.wait()) {
        (Some(ours), Some(asked)) => (asked <= WAIT_MAX).then(|| asked.max(ours)),
        (ours, _) => ours,
    }
}

/// `Retry-After`: seconds, or a time that is compared with the server's own.
pub(crate) fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().as_microsecond());
    let micros = time(asked)?.saturating_sub(time(text(DATE)?)?);
    u64::try_from(micros / MICROS_PER_SECOND).ok().map(Duration::from_secs)
}

/// The innermost reason of an error, which says more than the outer ones and holds no address.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    super::error::shown(&reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http_without_secrets() {
        for good in ["http://prometheus:9090", "https://metrics.example/prometheus/", "http://[::1]:9090/a/b"] {
            assert!(parse_base(good).is_ok(), "{good}");
        }
        for bad in
            ["", "prometheus:9090", "ftp://x", "http://me:hunter2@x", "http://me@x", "http://x/?a=b", "http://x/#a"]
        {
            let refused = parse_base(bad).expect_err(bad);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_time_of_the_server() {
        let wait = |headers: &[(reqwest::header::HeaderName, &str)]| {
            let given = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header")));
            asked_wait(&given.collect()).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&[(RETRY_AFTER, "7")]), Some(7));
        let date = (DATE, "Fri, 20 Nov 2026 10:00:00 GMT");
        assert_eq!(wait(&[(RETRY_AFTER, "Fri, 20 Nov 2026 10:01:30 GMT"), date.clone()]), Some(90));
        assert_eq!(wait(&[(RETRY_AFTER, "Fri, 20 Nov 2026 09:00:00 GMT"), date]), None);
        assert_eq!(wait(&[(RETRY_AFTER, "Fri, 20 Nov 2026 10:01:30 GMT")]), None);
        assert_eq!((wait(&[(RETRY_AFTER, "soon")]), wait(&[])), (None, None));
    }

    #[test]
    fn a_server_that_asks_for_too_long_is_not_asked_again() {
        let throttled = |seconds| PrometheusError::Throttled { wait: Some(Duration::from_secs(seconds)) };
        let second = Duration::from_secs(1);
        assert_eq!(wait_for(&throttled(5), Some(second)), Some(5 * second));
        assert_eq!(wait_for(&throttled(0), Some(second)), Some(second));
        assert_eq!(wait_for(&throttled(3600), Some(second)), None);
        assert_eq!(wait_for(&throttled(5), None), None, "no attempt is left");
        assert_eq!(wait_for(&PrometheusError::NotFound, Some(second)), Some(second));
    }
}
