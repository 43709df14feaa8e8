//! Logins of browsers: a cookie stands for a token, so that no script of a page has to keep one.
//!
//! A session knows its token by the hash only, and is looked up anew with each request: whatever ends the token ends the
//! session. Sessions are kept in memory. They end with the process, and another server of the same catalog knows none of them.

use crate::auth::hash_of;
use crate::problem::ApiError;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use rand::TryRngCore as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The cookie that opens a session. Its prefix makes browsers keep it to this host, and to HTTPS.
pub(crate) const COOKIE: &str = "__Host-apportion-session";
/// The cookie that scripts of this host may read, to repeat it in [`CSRF_HEADER`].
const CSRF_COOKIE: &str = "__Host-apportion-csrf";
/// The header in which a change repeats the second secret of its session: a page of another site cannot know it.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
const SECRET_BYTES: usize = 32;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// The sessions of one process. Cheap to clone; all clones share them.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// By hash of what the cookie holds.
    open: Arc<Mutex<HashMap<String, Session>>>,
    sessions_max: usize,
    seconds_max: i64,
}

#[derive(Clone, Debug)]
struct Session {
    token_hash: String,
    csrf_hash: String,
    ends_at: i64,
}

/// A session that was opened; its secrets are told once.
pub(crate) struct Opened {
    secret: String,
    /// What a change repeats.
    pub(crate) csrf: String,
    /// When it ends by itself.
    pub(crate) ends_at: i64,
}

impl Opened {
    /// Returns what makes a browser keep the session.
    pub(crate) fn cookies(&self, now: i64) -> [HeaderValue; 2] {
        cookies(&self.secret, &self.csrf, self.ends_at.saturating_sub(now) / MICROS_PER_SECOND)
    }
}

impl Sessions {
    /// Returns room for so many sessions, each of which ends after so many seconds.
    #[must_use]
    pub fn new(sessions_max: usize, seconds_max: i64) -> Self {
        Self { open: Arc::default(), sessions_max, seconds_max }
    }

    /// Opens a session of the token with this hash. It does not outlive the token.
    ///
    /// If there is no room, the session that would end first is ended: whoever it was signs in again.
    pub(crate) fn open(&self, token_hash: &str, token_ends_at: Option<i64>, now: i64) -> Opened {
        let last = now.saturating_add(self.seconds_max.saturating_mul(MICROS_PER_SECOND));
        let ends_at = token_ends_at.map_or(last, |end| end.min(last));
        let opened = Opened { secret: secret(), csrf: secret(), ends_at };
        let session = Session { token_hash: token_hash.to_owned(), csrf_hash: hash_of(&opened.csrf), ends_at };
        self.with(|open| {
            if self.sessions_max <= open.len() {
                open.retain(|_, session| now < session.ends_at);
            }
            if self.sessions_max <= open.len() {
                let first = open.iter().min_by_key(|(_, session)| session.ends_at).map(|(key, _)| key.clone());
                if let Some(key) = first {
                    open.remove(&key);
                }
            }
            open.insert(hash_of(&opened.secret), session);
        });
        opened
    }

    /// Returns the hash of the token for which the request's cookie stands.
    ///
    /// # Errors
    /// [`ApiError::Unauthenticated`] without a cookie of an open session, [`ApiError::CsrfTokenRequired`] if the request
    /// would change something and does not repeat the second secret.
    pub(crate) fn token_hash(&self, headers: &HeaderMap, method: &Method, now: i64) -> Result<String, ApiError> {
        let key = hash_of(secret_of(headers).ok_or(ApiError::Unauthenticated)?);
        let session = self.with(|open| open.get(&key).cloned());
        let session = session.filter(|session| now < session.ends_at).ok_or(ApiError::Unauthenticated)?;
        // Hashes are compared, so the time it takes tells nothing about the secret.
        let given = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).map(hash_of);
        let only_reads = matches!(*method, Method::GET | Method::HEAD);
        if only_reads || given.is_some_and(|given| given == session.csrf_hash) {
            Ok(session.token_hash)
        } else {
            Err(ApiError::CsrfTokenRequired)
        }
    }

    /// Ends the session of the request's cookie, if there is one.
    pub(crate) fn close(&self, headers: &HeaderMap) {
        if let Some(secret) = secret_of(headers) {
            self.with(|open| drop(open.remove(&hash_of(secret))));
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Session>) -> T) -> T {
        work(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns what makes a browser forget its session.
pub(crate) fn no_cookies() -> [HeaderValue; 2] {
    cookies("", "", 0)
}

fn cookies(secret: &str, csrf: &str, seconds: i64) -> [HeaderValue; 2] {
    let cookie = |name: &str, value: &str, more: &str| {
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; {more}SameSite=Lax");
        HeaderValue::from_str(&text).expect("hexadecimal digits are a header")
    };
    [cookie(COOKIE, secret, "HttpOnly; "), cookie(CSRF_COOKIE, csrf, "")]
}

/// What the request's cookie holds.
fn secret_of(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn secret() -> String {
    let mut bits = [0_u8; SECRET_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut bits).expect("the operating system gives random bytes");
    hex::encode(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(secret: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let cookie = format!("theme=dark; {COOKIE}={secret}");
        headers.insert(header::COOKIE, HeaderValue::from_str(&cookie).expect("a header"));
        headers
    }

    #[test]
    fn a_full_house_ends_what_is_over_and_then_what_ends_first() {
        let sessions = Sessions::new(2, 100);
        let opens = |opened: &Opened, now: i64| sessions.token_hash(&asked(&opened.secret), &Method::GET, now).is_ok();
        let short = sessions.open("a", Some(10), 0);
        let long = sessions.open("b", None, 0);
        assert!(opens(&short, 9) && opens(&long, 9));
        let next = sessions.open("c", None, 10);
        assert!(!opens(&short, 10) && opens(&long, 10) && opens(&next, 10));
        let last = sessions.open("d", None, 11);
        assert!(!opens(&long, 11) && opens(&next, 11) && opens(&last, 11));
        assert_eq!(long.ends_at, 100 * MICROS_PER_SECOND);
    }

    #[test]
    fn a_cookie_is_kept_to_this_host_and_away_from_scripts() {
        let [session, csrf] = Sessions::new(1, 90).open("a", None, 0).cookies(0);
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        assert!(text(&session).starts_with("__Host-apportion-session="));
        assert!(text(&session).ends_with("; Path=/; Max-Age=90; Secure; HttpOnly; SameSite=Lax"));
        assert!(text(&csrf).ends_with("; Path=/; Max-Age=90; Secure; SameSite=Lax"));
    }
}
