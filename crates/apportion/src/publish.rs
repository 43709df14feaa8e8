//! Publishes the files of `[files]` before anything attributes or serves.

use crate::client::{Call, Client};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use anyhow::Result;
use axum::body::Body;
use domain::policy::Policy;
use domain::rates::RateCard;
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
            let unavailable = error.ends_with("is not available yet");
            let place = if error.starts_with(&name) { String::new() } else { format!("{name}: ") };
            let code = if unavailable { "not_available: " } else { "" };
            Failure::new(Exit::Conflict, format!("{code}{place}{error}"))
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
///
/// # Errors
/// A failure of the file, or the API's refusal.
pub async fn publish_files(client: &Client, config: &Config, confirm: bool) -> Result<()> {
    let files = [(Kind::Rates, &config.files.rates), (Kind::Policy, &config.files.policy)];
    let mut checked = Vec::new();
    for (kind, file) in files.into_iter().filter(|(_, file)| file.exists()) {
        checked.push((kind, checked_text(kind, file)?));
    }
    for (kind, text) in checked {
        send(client, kind, text, confirm).await?;
    }
    Ok(())
}

/// Publishes one file and returns the API's answer.
///
/// # Errors
/// A failure of the file, or the API's refusal.
pub async fn publish(client: &Client, kind: Kind, file: &Path, confirm: bool) -> Result<serde_json::Value> {
    send(client, kind, checked_text(kind, file)?, confirm).await
}

fn checked_text(kind: Kind, file: &Path) -> Result<String> {
    let text = read_text(file)?;
    kind.check(file, &text)?;
    Ok(text)
}

async fn send(client: &Client, kind: Kind, text: String, confirm: bool) -> Result<serde_json::Value> {
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
    fn a_file_is_checked_where_its_lines_are_known() {
        let head = "version='v'\nvalid_from=2026-01-01\n";
        check(Kind::Policy, head, "ok");
        check(Kind::Policy, &format!("{head}pol=1"), "p.toml:3:1: unknown key `pol`; did you mean `pool`?");
        check(
            Kind::Policy,
            &format!("{head}[[pool]]\nname='a'\nselect={{}}\nsplit={{method='window'}}"),
            "not_available: p.toml: pool \"a\": cost carried by events and method `window` is not available yet",
        );
        check(
            Kind::Rates,
            &format!("{head}currency='USD'\n[[price]]\nmeter='m'\nprice='-1'"),
            "p.toml: rate card `v`: the price of m is negative",
        );
    }
}
