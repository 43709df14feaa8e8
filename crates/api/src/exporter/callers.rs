//! Who may scrape and who may refresh: tokens as everywhere, and programs on the same machine without one.

use crate::app::App;
use crate::auth::{Caller, Role, authenticate};
use crate::problem::ApiError;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use domain::TenantScope;
use std::net::{IpAddr, SocketAddr};

/// Headers of a proxy: the caller is somebody else than the one who connects.
const FORWARDED: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Who calls the exporter.
#[derive(Clone, Debug)]
pub(super) enum Asking {
    /// A program on the same machine, without a token.
    Local,
    /// Whoever the token stands for.
    Token(Caller),
}

impl Asking {
    /// Returns who it is, for the audit log.
    pub(super) fn actor(&self) -> &str {
        match self {
            Self::Local => "loopback",
            Self::Token(caller) => &caller.actor,
        }
    }
}

/// Lets those scrape who read every tenant's costs, and the role that is for nothing else.
///
/// # Errors
/// [`ApiError::Unauthenticated`] without a usable token from elsewhere, [`ApiError::Forbidden`] for other roles and for
/// tokens of some tenants only.
pub(super) async fn may_scrape(app: &App, parts: &Parts) -> Result<Asking, ApiError> {
    let asking = asking(app, parts).await?;
    match &asking {
        Asking::Token(caller) if caller.scope != TenantScope::All => Err(ApiError::Forbidden),
        Asking::Token(caller) if !(caller.role.reads_all_tenants() || caller.role == Role::Metrics) => {
            Err(ApiError::Forbidden)
        }
        Asking::Token(_) | Asking::Local => Ok(asking),
    }
}

/// Lets the platform's admin refresh.
///
/// # Errors
/// As [`may_scrape`], [`ApiError::PlatformAdminRequired`] for other roles.
pub(super) async fn may_refresh(app: &App, parts: &Parts) -> Result<Asking, ApiError> {
    let asking = asking(app, parts).await?;
    match &asking {
        Asking::Token(caller) if caller.role != Role::PlatformAdmin => Err(ApiError::PlatformAdminRequired),
        Asking::Token(_) | Asking::Local => Ok(asking),
    }
}

/// A token that was sent always counts; without one only the same machine is let in.
async fn asking(app: &App, parts: &Parts) -> Result<Asking, ApiError> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if !parts.headers.contains_key(header::AUTHORIZATION)
        && peer.is_some_and(is_loopback)
        && is_direct(&parts.uri, &parts.headers)
    {
        return Ok(Asking::Local);
    }
    authenticate(app, parts).await.map(Asking::Token)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether the request comes from a program of this machine itself: no proxy hands it on, no page of another site sends
/// it through a browser, and it names this machine (a name of somebody's that leads here does not).
fn is_direct(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    let site = headers.get("sec-fetch-site").map_or("none", |value| value.to_str().unwrap_or("?"));
    let is_of_page = headers.contains_key(header::ORIGIN) || site != "none";
    // A request may name its host in the target, also instead of the header; each that is there must be this machine.
    let target = uri.authority().map_or("localhost", Authority::as_str);
    let host = headers.get(header::HOST).map_or("localhost", |value| value.to_str().unwrap_or("?"));
    !is_forwarded && !is_of_page && is_local_name(target) && is_local_name(host)
}

/// Whether a `Host` header names this machine: `localhost`, or an address of the loopback, with or without a port.
fn is_local_name(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok_and(|address| is_loopback(address.ip())) {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn path() -> Uri {
        Uri::from_static("/metrics")
    }

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_a_program_of_this_machine_is_direct() {
        for host in ["localhost", "LocalHost:9210", "127.0.0.1:9210", "127.9.9.9", "[::1]:9210", "[::1]", "::1"] {
            assert!(is_direct(&path(), &headers(&[("host", host)])), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:9210", "10.0.0.1:9210", "127.0.0.1.evil.example", "", "[::2]:1"]
        {
            assert!(!is_direct(&path(), &headers(&[("host", host)])), "{host}");
        }
        for sent in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("via", "1.1 proxy"),
            ("x-forwarded-host", "costs.example"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "127.0.0.1"),
        ] {
            assert!(!is_direct(&path(), &headers(&[("host", "localhost:9210"), sent])), "{sent:?}");
        }
        assert!(is_direct(&path(), &headers(&[("sec-fetch-site", "none")])), "an address typed into a browser");
        assert!(is_direct(&Uri::from_static("http://localhost:9210/metrics"), &headers(&[])));
        let elsewhere = Uri::from_static("http://evil.example/metrics");
        assert!(!is_direct(&elsewhere, &headers(&[])));
        assert!(!is_direct(&elsewhere, &headers(&[("host", "localhost:9210")])));
    }

    #[test]
    fn loopback_is_recognised_in_both_families() {
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(address.parse().expect("an address")), "{address}");
        }
        for address in ["10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "2001:db8::1"] {
            assert!(!is_loopback(address.parse().expect("an address")), "{address}");
        }
    }
}
