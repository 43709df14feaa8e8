//! `[[ingest.adapter]]`: the rules and secrets of adapters.

use super::schema::{AdapterWord, Config, IngestAdapter};
use crate::exit::{Exit, Failure};
use metering::adapters::{AdapterKind, AdapterRule, Adapters};
use std::collections::{BTreeMap, BTreeSet};

/// Shortest secret of a webhook: fewer characters can be guessed.
const SECRET_CHARS_MIN: usize = 16;

/// Returns where the dimensions of each adapter's events stand.
///
/// # Errors
/// A failure that names the adapter and the key.
pub fn adapter_rules(config: &Config) -> Result<Adapters, Failure> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    for adapter in &config.ingest.adapters {
        let kind = kind_of(adapter);
        if !seen.insert(kind) {
            return Err(refused(kind, "the kind is given twice"));
        }
        check_secret(kind, adapter)?;
        let places = [
            ("tenant", &adapter.tenant),
            ("user", &adapter.user),
            ("workflow", &adapter.workflow),
            ("repo", &adapter.repo),
            ("task_class", &adapter.task_class),
        ];
        let given = places.into_iter().filter(|(_, places)| !places.is_empty());
        let given: BTreeMap<String, Vec<String>> =
            given.map(|(name, places)| (name.to_owned(), places.clone())).collect();
        let rule = AdapterRule::new(kind, &given, adapter.workflow_pattern.as_deref());
        rules.push(rule.map_err(|error| Failure::new(Exit::Conflict, error.to_string()))?);
    }
    Ok(Adapters::new(rules))
}

/// Returns the secret of each webhook, read from its file if it stands in one.
///
/// # Errors
/// A failure that names the adapter; it never holds the secret.
pub fn adapter_secrets(config: &Config) -> Result<BTreeMap<AdapterKind, String>, Failure> {
    let mut secrets = BTreeMap::new();
    for adapter in &config.ingest.adapters {
        let kind = kind_of(adapter);
        let secret = match (&adapter.secret, &adapter.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(file)) => {
                let read = std::fs::read_to_string(file);
                let read = read.map_err(|error| refused(kind, &format!("cannot read {}: {error}", file.display())))?;
                read.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, None) => continue,
        };
        check_length(kind, &secret)?;
        secrets.insert(kind, secret);
    }
    Ok(secrets)
}

fn kind_of(adapter: &IngestAdapter) -> AdapterKind {
    match adapter.kind {
        AdapterWord::Github => AdapterKind::Github,
        AdapterWord::Gitlab => AdapterKind::Gitlab,
        AdapterWord::Litellm => AdapterKind::Litellm,
        AdapterWord::Langfuse => AdapterKind::Langfuse,
    }
}

fn check_secret(kind: AdapterKind, adapter: &IngestAdapter) -> Result<(), Failure> {
    match (kind.is_webhook(), &adapter.secret, &adapter.secret_file) {
        (true, None, None) => Err(refused(kind, "a webhook needs `secret` or `secret_file`")),
        (true, Some(_), Some(_)) => Err(refused(kind, "give `secret` or `secret_file`, not both")),
        (true, Some(secret), None) => check_length(kind, secret),
        (true, None, Some(_)) | (false, None, None) => Ok(()),
        (false, ..) => Err(refused(kind, "its payloads come with a token; it has no secret")),
    }
}

fn check_length(kind: AdapterKind, secret: &str) -> Result<(), Failure> {
    match secret.chars().count() < SECRET_CHARS_MIN {
        true => Err(refused(kind, &format!("the secret has fewer than {SECRET_CHARS_MIN} characters"))),
        false => Ok(()),
    }
}

fn refused(kind: AdapterKind, problem: &str) -> Failure {
    Failure::new(Exit::Conflict, format!("ingest.adapter `{kind}`: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::toml_text::parse_toml;

    fn read(text: &str) -> Result<BTreeMap<AdapterKind, String>, String> {
        let config: Config = parse_toml("t", text).map_err(|error| error.to_string())?;
        adapter_rules(&config).and_then(|_| adapter_secrets(&config)).map_err(|failure| failure.message)
    }

    #[test]
    fn a_webhook_has_one_secret_that_cannot_be_guessed() {
        let github = "[[ingest.adapter]]\nkind = 'github'\n";
        let good = read(&format!("{github}secret = '0123456789abcdef'")).expect("valid");
        assert_eq!(good[&AdapterKind::Github], "0123456789abcdef");
        let check = |more: &str, expected: &str| {
            let problem = read(&format!("{github}{more}")).expect_err("refused");
            assert_eq!(problem, format!("ingest.adapter `github`: {expected}"));
        };
        check("", "a webhook needs `secret` or `secret_file`");
        check("secret = 'short'", "the secret has fewer than 16 characters");
        check("secret = '0123456789abcdef'\nsecret_file = 'x'", "give `secret` or `secret_file`, not both");
        check(&format!("secret = '0123456789abcdef'\n{github}secret = '0123456789abcdef'"), "the kind is given twice");
    }

    #[test]
    fn exports_have_no_secret_and_places_are_read() {
        let litellm = "[[ingest.adapter]]\nkind = 'litellm'\n";
        assert_eq!(read(&format!("{litellm}tenant = 'acme'\nworkflow = ['$.a', '$.b']")), Ok(BTreeMap::new()));
        let refused = |more: &str| read(&format!("{litellm}{more}")).expect_err("refused");
        assert!(refused("secret = '0123456789abcdef'").contains("it has no secret"));
        assert!(refused("repo = '$['").contains("repo: `$[` is not a JSONPath"));
        assert!(refused("team = 'x'").contains("unknown key `team`"));
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "0123456789abcdef\n").expect("written");
        let text =
            |file: &std::path::Path| format!("[[ingest.adapter]]\nkind = 'gitlab'\nsecret_file = '{}'", file.display());
        assert_eq!(read(&text(&file)).expect("valid")[&AdapterKind::Gitlab], "0123456789abcdef");
        assert!(read(&text(&folder.path().join("none"))).expect_err("refused").contains("cannot read"));
    }
}
