//! Publishes the files of `[files]` before anything attributes or serves.

use crate::client::{Call, Client};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::output::plain;
use anyhow::Result;
use axum::body::Body;
use domain::policy::Policy;
use domain::rates::RateCard;
use serde_json::Value;
use std::path::Path;

/// Content type of policies and rate cards.
pub const TOML: &str = "application/toml";

/// What a versioned TOML file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pools and rules.
    Policy,
    /// Unit prices.
    Rates,
}

impl Kind {
    /// Returns the route of its versions.
    pub fn route(self) -> &'static str {
        match self {
            Self::Policy => "/policies",
            Self::Rates => "/rate-cards",
        }
    }

    /// Checks a file's text here, where file and line are known.
    ///
    /// # Errors
    /// A failure that names file and line, or the pool that contradicts itself.
    pub fn check(self, file: &Path, text: &str) -> Result<(), Failure> {
        let name = file.display().to_string();
        let refused = |error: String| {
            let place = if error.starts_with(&name) { String::new() } else { format!("{name}: ") };
            Failure::new(Exit::Conflict, format!("{place}{error}"))
        };
        match self {
            Self::Policy => Policy::read(&name, text).map(|_| ()).map_err(|error| refused(error.to_string())),
            Self::Rates => RateCard::read(&name, text).map(|_| ()).map_err(|error| refused(error.to_string())),
        }
    }
}

/// Returns a file's text.
///
/// # Errors
/// A failure that names the file.
pub fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot read {}: {error}", file.display()))
    })
}

/// Publishes policy and rate card of the configuration, if their files exist: both, or neither if a file cannot be
/// used. A version that exists with the same content stays as it is; a used one with other content is refused.
/// Returns what is to be said of days that were attributed already and are moved.
///
/// # Errors
/// A failure of the file, or the API's refusal.
pub async fn publish_files(client: &Client, config: &Config, confirm: bool) -> Result<Vec<String>> {
    let files = [(Kind::Rates, &config.files.rates), (Kind::Policy, &config.files.policy)];
    let mut checked = Vec::new();
    for (kind, file) in files.into_iter().filter(|(_, file)| file.exists()) {
        checked.push((kind, checked_text(kind, file)?));
    }
    let mut moved = Vec::new();
    for (kind, text) in checked {
        moved.extend(moved_text(kind, &send(client, kind, text, confirm).await?));
    }
    Ok(moved)
}

/// Publishes one file and returns the API's answer.
///
/// # Errors
/// A failure of the file, or the API's refusal.
pub async fn publish(client: &Client, kind: Kind, file: &Path, confirm: bool) -> Result<Value> {
    send(client, kind, checked_text(kind, file)?, confirm).await
}

/// Most tenants that are named as moved; the API's answer has more.
const TENANTS_NAMED_MAX: usize = 5;

/// Returns what to say of a publication that moves days that were attributed already; none where it moves none.
pub fn moved_text(kind: Kind, answer: &Value) -> Option<String> {
    let list = |key: &str| answer.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let days: Vec<String> = list("affected_days").iter().map(plain).collect();
    if days.is_empty() {
        return None;
    }
    let mut tenants: Vec<String> = list("affected_tenants").iter().take(TENANTS_NAMED_MAX).map(plain).collect();
    let total = answer.get("affected_tenants_total").and_then(Value::as_u64).unwrap_or_default();
    let named = u64::try_from(tenants.len()).unwrap_or(u64::MAX);
    if named < total {
        tenants.push(format!("and {} more", total - named));
    }
    let word = match kind {
        Kind::Policy => "policy",
        Kind::Rates => "rate card",
    };
    let version = answer.get("version").map(plain).unwrap_or_default();
    let whose = if tenants.is_empty() { String::new() } else { format!(" (tenants {})", tenants.join(", ")) };
    Some(format!(
        "{word} {version} applies to days that were attributed already: {}{whose}; attribute them again",
        days.join(", ")
    ))
}

fn checked_text(kind: Kind, file: &Path) -> Result<String> {
    let text = read_text(file)?;
    kind.check(file, &text)?;
    Ok(text)
}

async fn send(client: &Client, kind: Kind, text: String, confirm: bool) -> Result<Value> {
    let call = Call::post(kind.route()).maybe("confirm", confirm.then_some("true"));
    client.json(call.body(TOML, Body::from(text))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, text: &str, expected: &str) {
        let result = kind.check(Path::new("p.toml"), text);
        assert_eq!(result.map_or_else(|failure| failure.to_string(), |()| "ok".to_owned()), expected);
    }

    #[test]
    fn what_a_publication_moves_is_said_in_one_line() {
        let answer = serde_json::json!({
            "version": "2026-11", "affected_days": ["2026-11-01..2026-11-03", "2026-11-07..2026-11-07"],
            "affected_tenants": ["a", "b", "c", "d", "e", "f"], "affected_tenants_total": 1200,
        });
        let expected = "policy 2026-11 applies to days that were attributed already: 2026-11-01..2026-11-03, \
                        2026-11-07..2026-11-07 (tenants a, b, c, d, e, and 1195 more); attribute them again";
        assert_eq!(moved_text(Kind::Policy, &answer).as_deref(), Some(expected));
        let nothing = serde_json::json!({ "version": "v", "affected_days": [], "affected_tenants_total": 0 });
        assert_eq!(moved_text(Kind::Rates, &nothing), None);
    }

    #[test]
    fn a_file_is_checked_where_its_lines_are_known() {
        let head = "version='v'\nvalid_from=2026-01-01\n";
        check(Kind::Policy, head, "ok");
        check(Kind::Policy, &format!("{head}pol=1"), "p.toml:3:1: unknown key `pol`; did you mean `pool`?");
        check(
            Kind::Policy,
            &format!("{head}[[pool]]\nname='a'\nselect={{}}\nsplit={{method='window'}}"),
            "p.toml: pool \"a\": method `window` needs `source`: the events that carry the cost",
        );
        check(
            Kind::Rates,
            &format!("{head}currency='USD'\n[[price]]\nmeter='m'\nprice='-1'"),
            "p.toml: rate card `v`: the price of m is negative",
        );
    }
}
