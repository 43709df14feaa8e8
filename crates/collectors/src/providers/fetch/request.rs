use super::super::error::{Cause, CollectError};
use domain::Instant;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use std::fmt;
use url::Url;

/// Longest value of a place in a path.
const ARGUMENT_BYTES_MAX: usize = 300;

/// The methods that collectors use at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `GET`.
    Get,
    /// `POST`, for the few questions that providers want asked that way.
    Post,
}

impl Verb {
    /// Returns the word, as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }

    pub(super) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
        }
    }
}

/// A method and a path that a collector may ask for. Places to fill in are `{}`, one segment each: `/v2/teams/{}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The method.
    pub verb: Verb,
    /// The path below the provider's address.
    pub path: &'static str,
}

impl Allowed {
    /// Returns `GET` of a path.
    #[must_use]
    pub const fn get(path: &'static str) -> Self {
        Self { verb: Verb::Get, path }
    }

    /// Returns `POST` of a path.
    #[must_use]
    pub const fn post(path: &'static str) -> Self {
        Self { verb: Verb::Post, path }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.verb.as_str(), self.path)
    }
}

/// Headers that a provider knows the sender by, made anew for each attempt.
pub type Sign<'a> = dyn Fn(&Outgoing<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, CollectError> + Send + Sync + 'a;

/// A request as it is about to be sent, for those that sign it.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The method.
    pub verb: Verb,
    /// The whole address with its query, as it is sent.
    pub url: &'a Url,
    /// The body; empty if there is none.
    pub body: &'a [u8],
    /// The time of sending.
    pub now: Instant,
}

/// A request of a collector. What it may be is told by the collector's list.
pub struct Request<'a> {
    pub(super) allowed: Allowed,
    pub(super) arguments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Vec<u8>,
    pub(super) sign: Option<&'a Sign<'a>>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.allowed)
    }
}

impl<'a> Request<'a> {
    /// Returns a `GET` of a path of the collector's list.
    #[must_use]
    pub fn get(path: &'static str) -> Self {
        Self::new(Allowed::get(path))
    }

    /// Returns a `POST` of a path of the collector's list.
    #[must_use]
    pub fn post(path: &'static str, body: &serde_json::Value) -> Self {
        let request = Self::new(Allowed::post(path));
        let json = HeaderValue::from_static("application/json");
        Self { body: body.to_string().into_bytes(), ..request }.header(reqwest::header::CONTENT_TYPE, json)
    }

    fn new(allowed: Allowed) -> Self {
        Self { allowed, arguments: Vec::new(), query: Vec::new(), headers: Vec::new(), body: Vec::new(), sign: None }
    }

    /// Fills in the next place of the path.
    #[must_use]
    pub fn argument(mut self, value: impl Into<String>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.query.push((name.into(), value.to_string()));
        self
    }

    /// Adds a header; see [`bearer`](crate::providers::bearer) and [`secret_header`](crate::providers::secret_header).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Has the headers made that depend on the whole request, for each attempt.
    #[must_use]
    pub fn signed(mut self, sign: &'a Sign<'a>) -> Self {
        self.sign = Some(sign);
        self
    }

    /// Returns the address if the request is on the list.
    ///
    /// # Errors
    /// [`Cause::NotAllowed`]; then nothing is sent.
    pub(super) fn url(&self, base: &Url, list: &[Allowed]) -> Result<Url, CollectError> {
        let refused = |reason: &str| {
            Err(CollectError::new(Cause::NotAllowed, format!("{} is not asked: {reason}", self.allowed)))
        };
        if !list.contains(&self.allowed) {
            return refused("it is not on the collector's list");
        }
        let mut arguments = self.arguments.iter();
        let mut segments = Vec::new();
        for part in self.allowed.path.split('/').skip(1) {
            match part {
                "{}" => match arguments.next() {
                    Some(argument) if is_one_segment(argument) => segments.push(argument.as_str()),
                    Some(_) => return refused("a place of its path cannot be filled in with what was given"),
                    None => return refused("a place of its path is empty"),
                },
                part => segments.push(part),
            }
        }
        if arguments.next().is_some() {
            return refused("its path has fewer places");
        }
        let mut url = base.clone();
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(segments);
            }
            Err(()) => return refused("the address has no path"),
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// Whether the text stays one segment of a path: it is encoded, but dots would lead elsewhere.
fn is_one_segment(text: &str) -> bool {
    let is_plain = |letter: char| !letter.is_control() && !matches!(letter, '/' | '\\' | '?' | '#' | '%');
    !matches!(text, "" | "." | "..") && text.len() <= ARGUMENT_BYTES_MAX && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &Request<'_>, expected: Result<&str, Cause>) {
        let base = Url::parse("https://api.example/client/v4").expect("an address");
        let list = [Allowed::get("/teams"), Allowed::get("/teams/{}/bills/{}"), Allowed::post("/query")];
        let found = request.url(&base, &list).map(|url| url.to_string()).map_err(|error| error.cause);
        assert_eq!(found.as_deref().map_err(|cause| *cause), expected, "{request:?} {:?}", request.arguments);
    }

    #[test]
    fn what_is_on_the_list_has_an_address() {
        check(&Request::get("/teams").query("from", "a b&c"), Ok("https://api.example/client/v4/teams?from=a+b%26c"));
        let bill = Request::get("/teams/{}/bills/{}").argument("t 1").argument("ü");
        check(&bill, Ok("https://api.example/client/v4/teams/t%201/bills/%C3%BC"));
        check(&Request::post("/query", &serde_json::json!({})), Ok("https://api.example/client/v4/query"));
    }

    #[test]
    fn s6_what_is_not_on_the_list_is_refused_before_anything_is_sent() {
        check(&Request::get("/query"), Err(Cause::NotAllowed));
        check(&Request::post("/teams", &serde_json::json!({})), Err(Cause::NotAllowed));
        check(&Request::get("/teams/t/bills/b"), Err(Cause::NotAllowed));
        check(&Request::get("/teams/{}/bills/{}").argument("a"), Err(Cause::NotAllowed));
        let three = Request::get("/teams/{}/bills/{}").argument("a").argument("b").argument("c");
        check(&three, Err(Cause::NotAllowed));
        for bad in ["", ".", "..", "a/b", "..%2f", "a?b", "a#b", "a\\b", "a\nb", &"x".repeat(301)] {
            check(&Request::get("/teams/{}/bills/{}").argument("a").argument(bad), Err(Cause::NotAllowed));
        }
    }
}
