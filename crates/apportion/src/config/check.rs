//! What is refused when configuration is read, beyond what types refuse.

use super::load::{Origin, leaves};
use super::schema::{Config, Server};
use crate::exit::{Exit, Failure};
use collectors::snapshots::senders;
use domain::provider_limit::check_limits;
use std::collections::BTreeMap;
use toml::Value;

/// Refuses values that nothing could work with.
///
/// # Errors
/// A failure that names the key and where its value came from.
pub(super) fn check(config: &Config, origins: &BTreeMap<String, Origin>) -> Result<(), Failure> {
    let refuse = |key: &str, problem: &str| {
        let origin = origins.get(key).unwrap_or(&Origin::Default);
        Err(Failure::new(Exit::Conflict, format!("{origin}: {key} {problem}")))
    };
    if !is_path(&config.server.base_path) {
        let problem = "is not a path; write / or /costs: one / before each part of letters, digits, -, . and _";
        return refuse("server.base_path", problem);
    }
    let Server { listen, exporter_listen, .. } = &config.server;
    if !is_address(listen) {
        return refuse("server.listen", "is not an address; write it as 127.0.0.1:8082");
    }
    if !is_address(exporter_listen) && exporter_listen != "off" {
        return refuse("server.exporter_listen", "is not an address; write it as 127.0.0.1:9210, or \"off\"");
    }
    if let Err(failure) = super::adapters::adapter_rules(config) {
        let origin = origins.get("ingest.adapter.0.kind").unwrap_or(&Origin::Default);
        return Err(Failure::new(Exit::Conflict, format!("{origin}: {}", failure.message)));
    }
    if let Err(failure) = super::prometheus::prometheus_sources(config) {
        let origin = origin_of_sources(origins);
        return Err(Failure::new(Exit::Conflict, format!("{origin}: {}", failure.message)));
    }
    if let Err(failure) = super::postgres::postgres_sources(config) {
        let origin = origin_of_sources(origins);
        return Err(Failure::new(Exit::Conflict, format!("{origin}: {}", failure.message)));
    }
    if let Err(failure) = super::providers::provider_sources(config) {
        let origin = origin_of_sources(origins);
        return Err(Failure::new(Exit::Conflict, format!("{origin}: {}", failure.message)));
    }
    if let Err(problem) = check_http_snapshots(config) {
        let origin = origin_of_sources(origins);
        return Err(Failure::new(Exit::Conflict, format!("{origin}: {problem}")));
    }
    if let Err(error) = check_limits(&config.provider_limits) {
        let origin = origins.get("limit.0.provider").unwrap_or(&Origin::Default);
        return Err(Failure::new(Exit::Conflict, format!("{origin}: {error}")));
    }
    let limits = Value::try_from(&config.limits).expect("limits can be written");
    match leaves("limits", &limits).into_iter().find(|(_, limit)| is_nothing(limit)) {
        None => Ok(()),
        Some((key, _)) => refuse(&key, "must be more than 0"),
    }
}

/// Where sources came from: the file, or the variables that make one.
fn origin_of_sources(origins: &BTreeMap<String, Origin>) -> &Origin {
    let first = || origins.iter().find(|(key, _)| key.starts_with("source.")).map(|(_, origin)| origin);
    origins.get("source.0.name").or_else(first).unwrap_or(&Origin::Default)
}

/// Refuses a source of snapshots by HTTP that has more than a usable name.
fn check_http_snapshots(config: &Config) -> Result<(), String> {
    for source in config.sources.iter().filter(|source| source.kind == senders::KIND) {
        let refused = |problem: &str| Err(format!("[[source]] \"{}\": {problem}", source.name.escape_debug()));
        if let Some(key) = source.rest.keys().next() {
            return refused(&format!("unknown key `{key}`; a source of kind {} has a name only", senders::KIND));
        }
        if let Err(error) = collectors::snapshots::check_source(&source.name) {
            return refused(&error.to_string());
        }
    }
    Ok(())
}

/// Whether the text is a host and a port.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Whether the text can stand before the routes of the API.
fn is_path(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'.' | b'_');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_letter);
    let Some(rest) = text.strip_prefix('/') else { return false };
    rest.is_empty() || rest.strip_suffix('/').unwrap_or(rest).split('/').all(is_part)
}

/// Whether a number, size or duration is 0 of whatever unit.
fn is_nothing(limit: &Value) -> bool {
    match limit {
        Value::Integer(number) => *number == 0,
        Value::String(text) => text.bytes().take_while(u8::is_ascii_digit).all(|digit| digit == b'0'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::toml_text::parse_toml;

    fn refusal(text: &str) -> String {
        let config: Config = parse_toml("t", text).expect("TOML");
        check(&config, &BTreeMap::new()).map_or_else(|failure| failure.message, |()| "ok".to_owned())
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_its_key() {
        assert_eq!(refusal(""), "ok");
        let limits = leaves("limits", &Value::try_from(super::super::Limits::default()).expect("limits"));
        for (key, default) in limits {
            let name = key.strip_prefix("limits.").expect("a limit");
            let nothing = match default {
                Value::Integer(_) => "0".to_owned(),
                other => {
                    let text = other.as_str().expect("a size or duration").to_owned();
                    format!("'00{}'", text.trim_start_matches(|letter: char| letter.is_ascii_digit()))
                }
            };
            let refused = refusal(&format!("[limits]\n{name} = {nothing}"));
            assert_eq!(refused, format!("default: {key} must be more than 0"));
        }
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_with_its_place() {
        let limit = |cap: &str| format!("[[limit]]\nprovider = 'vercel'\nresource = 'r'\nunit = 'u'\ncap = {cap}\n");
        assert_eq!(refusal(&limit("1")), "ok");
        assert_eq!(refusal(&limit("0")), "default: limit 1 (vercel r): `cap` must be more than 0");
        assert!(refusal(&(limit("1") + &limit("2"))).starts_with("default: limit 2 (vercel r): there is a limit"));
    }

    #[test]
    fn what_is_listened_on_is_a_host_and_a_port() {
        let listen = |key: &str, text: &str| refusal(&format!("[server]\n{key} = '{text}'"));
        for key in ["listen", "exporter_listen"] {
            for good in ["127.0.0.1:8082", "0.0.0.0:0", "localhost:80", "[::1]:65535"] {
                assert_eq!(listen(key, good), "ok", "{good}");
            }
            for bad in ["", "8082", ":8082", "localhost", "127.0.0.1:", "127.0.0.1:99999", "http://localhost:x"] {
                let refused = format!("default: server.{key} is not an address; write it as 127.0.0.1:");
                assert!(listen(key, bad).starts_with(&refused), "{bad}");
            }
        }
        assert_eq!(listen("exporter_listen", "off"), "ok");
        assert!(listen("listen", "off").starts_with("default: server.listen"));
    }

    #[test]
    fn a_base_path_is_a_path() {
        let path = |text: &str| refusal(&format!("[server]\nbase_path = '{text}'"));
        for good in ["/", "/costs", "/costs/", "/a/b-c.d_e"] {
            assert_eq!(path(good), "ok", "{good}");
        }
        for bad in ["", "costs", "//", "/a//b", "/a?b=c", "/a#b", "/a b", "/{x}", "/*x", "/../x", "/é"] {
            assert!(path(bad).starts_with("default: server.base_path is not a path"), "{bad}");
        }
    }
}
