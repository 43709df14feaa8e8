//! Reads file, environment and flags into one configuration, remembering where each value came from.

use super::check::check;
use super::schema::Config;
use crate::exit::{Exit, Failure};
use anyhow::Result;
use domain::toml_text::{nearest, parse_toml, with_nearest_key};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Start of the variables that set keys.
const PREFIX: &str = "APPORTION__";
/// Name of the file that is read without `--config`.
const FILE_NAME: &str = "apportion.toml";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(name) => write!(out, "environment {name}"),
        }
    }
}

/// A configuration with the origin of each value.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where those that are not defaults came from, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
}

/// A key with its value and origin, secrets hidden.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// `section.key`.
    pub key: String,
    /// As it would be written.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

/// Returns the configuration of `--config`, else of the current folder, else the defaults, with the
/// environment applied. Paths of `[files]` become relative to the file's folder.
///
/// # Errors
/// A failure that names file, line and nearest key, or the variable.
pub fn load(explicit: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Loaded> {
    let path = match explicit {
        Some(path) => Some(path.to_owned()),
        None => Some(PathBuf::from(FILE_NAME)).filter(|path| path.exists()),
    };
    let mut origins = BTreeMap::new();
    let mut table = Table::new();
    if let Some(path) = &path {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Exit::NotFound, format!("cannot read the configuration {}: {error}", path.display()))
        })?;
        let checked: Result<Config, _> = parse_toml(&path.display().to_string(), &text);
        checked.map_err(|error| Failure::new(Exit::Conflict, error.to_string()))?;
        table = text.parse().expect("the text was just parsed");
        for key in leaves("", &Value::Table(table.clone())).into_keys() {
            origins.insert(key, Origin::File(path.clone()));
        }
    }
    for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let key = set_from_environment(&mut table, name, text)
            .map_err(|message| Failure::new(Exit::Conflict, format!("environment variable {name}: {message}")))?;
        origins.insert(key, Origin::Environment(name.clone()));
    }
    let mut config: Config = Value::Table(table).try_into().expect("every change of the table was checked");
    super::providers::add_from_environment(&mut config, environment, &mut origins)?;
    check(&config, &origins)?;
    if let Some(folder) = path.as_deref().and_then(Path::parent) {
        for file in [&mut config.files.meters, &mut config.files.rates, &mut config.files.policy] {
            *file = folder.join(&*file);
        }
    }
    Ok(Loaded { config, origins })
}

/// Sets the key that a variable names and returns it as `section.key`.
fn set_from_environment(table: &mut Table, name: &str, text: &str) -> Result<String, String> {
    let known = known_keys();
    let written = name[PREFIX.len()..].to_lowercase().replace("__", ".");
    let (key, text) = match (known.contains_key(&written), written.strip_suffix("_file")) {
        (true, _) => (written, text.to_owned()),
        (false, Some(stem)) if known.contains_key(stem) => {
            let secret = std::fs::read_to_string(text).map_err(|error| format!("cannot read {text}: {error}"))?;
            (stem.to_owned(), secret.trim_end().to_owned())
        }
        _ => {
            let near = nearest(&written, known.keys().map(String::as_str));
            let near = near.map(|near| near.replace('.', "__").to_uppercase());
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {PREFIX}{near}?"));
            return Err(format!("there is no key `{written}`{hint}"));
        }
    };
    let value = match &known[&key] {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| format!("`{text}` is not a whole number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| format!("`{text}` is not true or false"))?),
        _ => Value::String(text),
    };
    let (section, field) = key.split_once('.').expect("every known key has a section");
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().expect("a section is a table").insert(field.to_owned(), value);
    let checked: Result<Config, toml::de::Error> = Value::Table(table.clone()).try_into();
    checked.map_err(|error| with_nearest_key(error.message()))?;
    Ok(key)
}

/// Returns every key that a variable can set, with a value of its type.
fn known_keys() -> BTreeMap<String, Value> {
    let defaults = Value::try_from(Config::default()).expect("the defaults can be written");
    let mut known = leaves("", &defaults);
    for optional in ["storage.lake", "storage.catalog"] {
        known.insert(optional.to_owned(), Value::String(String::new()));
    }
    known
}

/// Returns the values below `prefix` by their dotted path; an element of a list has its number in the path.
pub(super) fn leaves(prefix: &str, value: &Value) -> BTreeMap<String, Value> {
    let below = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        Value::Table(table) => table.iter().flat_map(|(key, value)| leaves(&below(key), value)).collect(),
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.flat_map(|(index, item)| leaves(&below(&index.to_string()), item)).collect()
        }
        leaf => BTreeMap::from([(prefix.to_owned(), leaf.clone())]),
    }
}

impl Loaded {
    /// Returns every key with its value and origin; secrets are hidden.
    pub fn shown(&self) -> Vec<Shown> {
        let values = Value::try_from(&self.config).expect("a configuration can be written");
        let show = |(key, value): (String, Value)| {
            let origin = self.origins.get(&key).unwrap_or(&Origin::Default).to_string();
            Shown { value: hide_secret(&key, &value), origin, key }
        };
        leaves("", &values).into_iter().map(show).collect()
    }
}

/// Words in a key's name that make its value a secret.
const SECRET_WORDS: [&str; 5] = ["token", "password", "secret", "api_key", "key"];

fn hide_secret(key: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let last = key.rsplit('.').next().unwrap_or(key);
    let is_query = key.starts_with("source.") && key.contains(".metrics.");
    let named = SECRET_WORDS.iter().any(|word| last.split('_').any(|part| part == *word)) && !last.ends_with("_file");
    let is_credential = key.starts_with("source.") && is_credential(last);
    if (named || is_credential) && !is_query {
        return "(hidden)".to_owned();
    }
    match text.split_once("://").and_then(|(scheme, rest)| hide_in_address(scheme, rest)) {
        Some(hidden) => hidden,
        None if last == "url" && key.starts_with("source.") => "(hidden)".to_owned(),
        None => text,
    }
}

/// Whether a collector of any kind is let in by what stands under this key.
fn is_credential(key: &str) -> bool {
    collectors::providers::KINDS.iter().any(|kind| kind.spec.credentials.iter().any(|spec| spec.key == key))
}

/// Returns an address without user, password and what stands behind its `?`; `None` if it can hold no secret.
fn hide_in_address(scheme: &str, rest: &str) -> Option<String> {
    let place = |rest: &str| match rest.split_once('?') {
        Some((place, _)) => format!("{place}?(hidden)"),
        None => rest.to_owned(),
    };
    match (rest.rfind('@'), rest.find('?')) {
        // Whether the `@` is of the password or of a parameter cannot be told.
        (Some(at), Some(query)) if query < at => Some(format!("{scheme}://(hidden)")),
        (Some(at), _) => Some(format!("{scheme}://(hidden)@{}", place(&rest[at + 1..]))),
        (None, Some(_)) if scheme.starts_with("postgres") => Some(format!("{scheme}://{}", place(rest))),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TOML;

    fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Loaded> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, text).expect("written");
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let loaded = load(Some(&path), &environment);
        loaded.map_err(|error| {
            let folder = format!("{}/", folder.path().display());
            anyhow::anyhow!(error.to_string().replace(&folder, ""))
        })
    }

    fn check(text: &str, environment: &[(&str, &str)], expected: &str) {
        let message = load_text(text, environment).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(message, expected, "{text} {environment:?}");
    }

    #[test]
    fn the_written_defaults_are_the_defaults() {
        let written: Config = parse_toml("default.toml", DEFAULT_TOML).expect("valid");
        assert_eq!(written, Config::default());
        assert!(load_text("", &[]).expect("valid").origins.is_empty());
    }

    #[test]
    fn bad_input_is_named_with_its_place() {
        check(DEFAULT_TOML, &[], "ok");
        check("[server]\nlissten = 'x'", &[], "apportion.toml:2:1: unknown key `lissten`; did you mean `listen`?");
        check("[sever]\nlisten = 'x'", &[], "apportion.toml:1:2: unknown key `sever`; did you mean `server`?");
        check(
            "[org]\ntimezone = 'Mars/Olympus'",
            &[],
            "apportion.toml:2:12: `Mars/Olympus` is not a time zone; use an IANA name such as Europe/Berlin",
        );
        check(
            "[window]\ngrace = '1 hour'",
            &[],
            "apportion.toml:2:9: `1 hour` is not a duration; write it as 60s, 15m, 1h or 90d",
        );
        check(
            "[tenants]\nunknown = 'make'",
            &[],
            "apportion.toml:2:11: unknown value `make`; known are create, reject",
        );
        check(
            "",
            &[("APPORTION__SERVER__LISTN", "x")],
            "environment variable APPORTION__SERVER__LISTN: there is no key `server.listn`; did you mean APPORTION__SERVER__LISTEN?",
        );
        check(
            "",
            &[("APPORTION__INGEST__PAST_DAYS", "many")],
            "environment variable APPORTION__INGEST__PAST_DAYS: `many` is not a whole number",
        );
        check(
            "",
            &[("APPORTION__COMPUTE__MEMORY_LIMIT", "lots")],
            "environment variable APPORTION__COMPUTE__MEMORY_LIMIT: `lots` is not a size; write it as 256MiB or 2GiB",
        );
        check(
            "",
            &[("SUPABASE_ACCESS_TOKEN", "abcdefgh")],
            "environment SUPABASE_ACCESS_TOKEN: [[source]] \"supabase\": give `organization`, `projects`, or SUPABASE_PROJECT_REF",
        );
        check("[limits]\npage_rows = 0", &[], "apportion.toml: limits.page_rows must be more than 0");
        check(
            "",
            &[("APPORTION__LIMITS__QUERY_TIME", "0s")],
            "environment APPORTION__LIMITS__QUERY_TIME: limits.query_time must be more than 0",
        );
    }

    #[test]
    fn environment_wins_over_file_and_file_over_default() {
        let text = "[server]\nlisten = 'file:1'\nbase_path = '/x'\n[ingest]\npast_days = 7";
        let variables = [("APPORTION__SERVER__LISTEN", "env:1"), ("APPORTION_TOKEN", "not a key")];
        let loaded = load_text(text, &variables).expect("valid");
        let config = &loaded.config;
        assert_eq!((config.server.listen.as_str(), config.server.base_path.as_str()), ("env:1", "/x"));
        assert_eq!((config.ingest.past_days, config.exporter.tenants_max), (7, 200));
        let origin = |key: &str| loaded.shown().into_iter().find(|shown| shown.key == key).map(|shown| shown.origin);
        assert_eq!(origin("server.listen").as_deref(), Some("environment APPORTION__SERVER__LISTEN"));
        assert!(origin("server.base_path").is_some_and(|origin| origin.ends_with("apportion.toml")));
        assert_eq!(origin("exporter.tenants_max").as_deref(), Some("default"));
    }

    #[test]
    fn secrets_never_print() {
        let text = "[storage]\ncatalog = 'postgres://me:hunter2@db/x'\n[[source]]\nname = 'app'\nkind = 'later'\n\
                    api_key = 'hunter2'\nurl = 'https://x/?token=hunter2'";
        let loaded = load_text(text, &[]).expect("valid");
        let printed = format!("{:?}", loaded.shown());
        assert!(!printed.contains("hunter2") && printed.contains("postgres://(hidden)@db/x"), "{printed}");
        for spec in collectors::providers::KINDS.iter().flat_map(|kind| kind.spec.credentials) {
            let key = format!("source.0.{}", spec.key);
            assert_eq!(hide_secret(&key, &Value::String("hunter2".to_owned())), "(hidden)", "{key}");
        }
    }

    #[test]
    fn an_address_of_a_database_prints_without_its_secrets_wherever_they_stand() {
        let check = |address: &str, expected: &str| {
            assert_eq!(hide_secret("storage.catalog", &Value::String(address.to_owned())), expected);
        };
        check("postgres://me:pw@db/x", "postgres://(hidden)@db/x");
        check("postgres://me@db/x?password=pw", "postgres://(hidden)@db/x?(hidden)");
        check("postgres:///x?user=me&password=pw", "postgres:///x?(hidden)");
        check("postgres://me@db/x?password=p@w", "postgres://(hidden)");
        check("postgres://me:p?w@db/x", "postgres://(hidden)");
        check("postgres://db/x", "postgres://db/x");
        check("/var/lib/catalog.db", "/var/lib/catalog.db");
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "other.db\n").expect("written");
        let path = path.display().to_string();
        let loaded = load_text("", &[("APPORTION__STORAGE__CATALOG_FILE", &path)]).expect("valid");
        assert_eq!(loaded.config.storage.catalog.as_deref(), Some("other.db"));
    }

    #[test]
    fn keys_of_later_releases_are_kept() {
        let text = "[[source]]\nname = 'app'\nkind = 'later'\nconcurrency = 4\n[source.metrics]\na = 'SELECT 1'\n\
                    [[ui.tenant_link]]\nlabel = 'L'\nurl = 'https://app/{slug}'\n[[limit]]\nprovider = 'p'\nresource = 'r'\nunit = 'u'\ncap = 5\nresets = 15";
        let config = load_text(text, &[]).expect("valid").config;
        assert_eq!((config.sources.len(), config.sources[0].rest.len()), (1, 2));
        assert_eq!((config.ui.tenant_link.len(), config.provider_limits.len()), (1, 1));
    }

    #[test]
    fn a_source_of_snapshots_by_http_needs_only_a_name() {
        let text = "[[source]]\nname = 'cron'\nkind = 'http_snapshot'\n";
        load_text(text, &[]).expect("valid").config.check_available().expect("this release knows it");
        for more in ["url = 'x'", "[source.metrics]\na = 'SELECT 1'"] {
            let refused =
                load_text(&format!("{text}{more}"), &[]).map(|_| "nothing").map_err(|error| error.to_string());
            assert!(refused.as_ref().is_err_and(|error| error.contains("has a name only")), "{refused:?}");
        }
    }

    #[test]
    fn metrics_name_their_tenant_by_one_attribute_by_several_or_not_at_all() {
        let tenant = |line: &str| {
            let text = format!("[[ingest.metric]]\nname = 'm'\nmeter = 'llm_tokens'\n{line}");
            let config = load_text(&text, &[]).expect("valid").config;
            config.ingest.metrics[0].tenant.join(" ")
        };
        assert_eq!(tenant(""), "tenant tenant.id tenant_id");
        assert_eq!(tenant("tenant = 'org'"), "org");
        assert_eq!(tenant("tenant = ['a', 'b']\nkind = 'gauge'\nattributes = { user = 'u' }"), "a b");
        let unknown = "[[ingest.metric]]\nname = 'm'\nmeter = 'x'\nunits = 'Bytes'";
        check(unknown, &[], "apportion.toml:4:1: unknown key `units`; did you mean `unit`?");
    }

    #[test]
    fn a_source_of_a_kind_that_does_not_exist_is_told_the_nearest() {
        let refusal = |kind: &str| {
            let config = load_text(&format!("[[source]]\nname='v'\nkind='{kind}'"), &[]).expect("valid").config;
            config.check_available().expect_err("refused").message
        };
        assert_eq!(refusal("verce"), "[[source]] \"v\": unknown kind `verce`; did you mean `vercel`?");
        let unlike = refusal("x");
        assert!(unlike.starts_with("[[source]] \"v\": unknown kind `x`; known are prometheus, "), "{unlike}");
    }

    #[test]
    fn what_a_later_release_brings_is_refused() {
        for text in [
            "[compute]\nengine='df://host'",
            "[storage]\nlake='s3://b/p'",
            "[storage]\ncatalog='mysql://x'",
            "[retention]\nimports='365d'",
        ] {
            let error = load_text(text, &[]).expect("valid").config.check_available().expect_err("refused");
            assert!(error.message.starts_with("not_available") && error.exit == Exit::Conflict, "{text}");
        }
    }
}
