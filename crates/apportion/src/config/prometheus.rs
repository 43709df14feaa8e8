//! The keys of `[[source]]` with `kind = "prometheus"`.

use super::schema::{Config, Source};
use super::units::{DurationText, SizeText};
use crate::exit::{Exit, Failure};
use collectors::prometheus::{POINTS_MAX, parse_base};
use domain::dimension::Dimension;
use domain::toml_text::with_nearest_key;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The one kind of source that this release reads.
pub const KIND: &str = "prometheus";
/// Seconds of an hour.
const HOUR: u64 = 3600;

/// A Prometheus server to read usage from. It holds a token, so it does not print.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusKeys {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Address below which `/api/v1` is.
    pub url: Option<String>,
    /// File that holds the address.
    pub url_file: Option<PathBuf>,
    /// Bearer token.
    pub token: Option<String>,
    /// File that holds the token.
    pub token_file: Option<PathBuf>,
    /// Name of the user, for Basic authentication.
    pub username: Option<String>,
    /// File that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// Whose series are asked for, of a store that holds those of several.
    pub org_id: Option<String>,
    /// How long one attempt may take.
    #[serde(default = "timeout")]
    pub timeout: DurationText,
    /// How many times a failed attempt is repeated.
    #[serde(default = "retries")]
    pub retries: usize,
    /// How often the source is read.
    #[serde(default = "every")]
    pub every: DurationText,
    /// How long an hour rests after its end before it is read.
    #[serde(default = "settle")]
    pub settle: DurationText,
    /// How far the first pull reaches back.
    #[serde(default = "backfill")]
    pub backfill: DurationText,
    /// How many hours one request asks for.
    #[serde(default = "chunk")]
    pub chunk: DurationText,
    /// Bytes of one answer.
    #[serde(default = "response")]
    pub response: SizeText,
    /// Series of one query.
    #[serde(default = "series_max")]
    pub series_max: usize,
    /// Queries that come with this program.
    pub preset: Option<PresetName>,
    /// The cluster of the preset.
    pub cluster: Option<String>,
    /// Label of `kube_namespace_labels` that names the tenant.
    #[serde(default = "tenant_label")]
    pub tenant_label: String,
    /// Whether the preset measures what the nodes offer.
    #[serde(default = "capacity")]
    pub capacity: bool,
    /// Further queries.
    #[serde(default, rename = "query")]
    pub queries: Vec<QueryKeys>,
}

/// Queries that come with this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresetName {
    /// What the namespaces of a cluster use.
    Kubernetes,
}

/// One query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryKeys {
    /// Its name.
    pub name: String,
    /// The meter of its values.
    pub meter: String,
    /// PromQL.
    pub query: String,
    /// Label that names the tenant.
    pub tenant: String,
    /// The cluster of all its values.
    pub cluster: Option<String>,
    /// Label by dimension.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl QueryKeys {
    /// Returns the label of each dimension.
    ///
    /// # Errors
    /// A sentence that names what is no dimension.
    pub fn dimensions(&self) -> Result<BTreeMap<Dimension, String>, String> {
        let read = |(name, label): (&String, &String)| match name.parse() {
            Ok(Dimension::Tenant) => Err("the tenant stands in `tenant`, not in `attributes`".to_owned()),
            Ok(Dimension::Cluster) => Err("the cluster stands in `cluster`, not in `attributes`".to_owned()),
            Ok(dimension) => Ok((dimension, label.clone())),
            Err(error) => Err(error.to_string()),
        };
        self.attributes.iter().map(read).collect()
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a constant default is valid")
}

fn timeout() -> DurationText {
    parsed("30s")
}

fn retries() -> usize {
    3
}

fn every() -> DurationText {
    parsed("1h")
}

fn settle() -> DurationText {
    parsed("10m")
}

fn backfill() -> DurationText {
    parsed("24h")
}

fn chunk() -> DurationText {
    parsed("7d")
}

fn response() -> SizeText {
    parsed("64MiB")
}

fn series_max() -> usize {
    10_000
}

fn tenant_label() -> String {
    "label_tenant".to_owned()
}

fn capacity() -> bool {
    true
}

/// Returns every Prometheus source, its keys checked.
///
/// # Errors
/// A failure that names the source and the key.
pub fn prometheus_sources(config: &Config) -> Result<Vec<PrometheusKeys>, Failure> {
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for source in &config.sources {
        let refused = |problem: String| {
            Failure::new(Exit::Conflict, format!("[[source]] \"{}\": {problem}", source.name.escape_debug()))
        };
        if !names.insert(&source.name) {
            return Err(refused("the name is given twice".to_owned()));
        }
        if source.kind == KIND {
            read.push(keys_of(source).map_err(refused)?);
        }
    }
    Ok(read)
}

fn keys_of(source: &Source) -> Result<PrometheusKeys, String> {
    let table: toml::Table = source.rest.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let mut keys: PrometheusKeys =
        toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| with_nearest_key(error.message()))?;
    keys.name.clone_from(&source.name);
    check(&keys)?;
    Ok(keys)
}

fn check(keys: &PrometheusKeys) -> Result<(), String> {
    if !is_word(&keys.name) {
        return Err("a name is 1 to 100 letters, digits, `-`, `.` and `_`".to_owned());
    }
    match (&keys.url, &keys.url_file) {
        (Some(url), None) => drop(parse_base(url).map_err(|problem| format!("url: {problem}"))?),
        (None, Some(_)) => {}
        (Some(_), Some(_)) => return Err("give `url` or `url_file`, not both".to_owned()),
        (None, None) => return Err("`url` is missing".to_owned()),
    }
    let ways = [keys.token.is_some(), keys.token_file.is_some(), keys.username.is_some()];
    if ways.iter().filter(|given| **given).count() > 1 {
        return Err("give one of `token`, `token_file` and `username`".to_owned());
    }
    if keys.username.is_some() != keys.password_file.is_some() {
        return Err("`username` and `password_file` go together".to_owned());
    }
    if keys.org_id.as_deref().is_some_and(|id| !is_org_id(id)) {
        return Err("`org_id` is 1 to 1000 letters, digits and signs, without spaces".to_owned());
    }
    check_numbers(keys)?;
    match (keys.preset, &keys.cluster) {
        (Some(PresetName::Kubernetes), None) => {
            return Err("preset `kubernetes` needs the name of the `cluster`".to_owned());
        }
        (None, Some(_)) => return Err("`cluster` goes with a preset; a query has a `cluster` of its own".to_owned()),
        (None, None) if keys.queries.is_empty() => {
            return Err("nothing is asked: give a `preset` or `[[source.query]]`".to_owned());
        }
        _ => {}
    }
    if !is_label(&keys.tenant_label) {
        return Err(format!("tenant_label: {}", no_label(&keys.tenant_label)));
    }
    check_queries(keys)
}

/// Whether a header can carry it; several ids are joined by `|`.
fn is_org_id(text: &str) -> bool {
    (1..=1000).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_numbers(keys: &PrometheusKeys) -> Result<(), String> {
    const RETRIES_MAX: usize = 10;
    let seconds = |duration: &DurationText| duration.duration().as_secs();
    if seconds(&keys.timeout) == 0 || seconds(&keys.every) < 60 || keys.series_max == 0 || keys.response.bytes() == 0 {
        return Err("`timeout`, `series_max` and `response` are more than 0, `every` at least 1m".to_owned());
    }
    if RETRIES_MAX < keys.retries {
        return Err(format!("`retries` is at most {RETRIES_MAX}"));
    }
    let hours_max = POINTS_MAX.unsigned_abs();
    for (key, duration) in [("backfill", &keys.backfill), ("chunk", &keys.chunk)] {
        if !(1..=hours_max).contains(&(seconds(duration) / HOUR)) {
            return Err(format!("`{key}` is 1 to {hours_max} hours"));
        }
    }
    Ok(())
}

fn check_queries(keys: &PrometheusKeys) -> Result<(), String> {
    let preset: &[&str] = match keys.preset {
        Some(PresetName::Kubernetes) => &["cpu", "memory", "storage", "network", "cpu_capacity", "memory_capacity"],
        None => &[],
    };
    let mut names: BTreeSet<&str> = preset.iter().copied().collect();
    for query in &keys.queries {
        let refused = |problem: String| Err(format!("query \"{}\": {problem}", query.name.escape_debug()));
        if !is_word(&query.name) {
            return refused("a name is 1 to 100 letters, digits, `-`, `.` and `_`".to_owned());
        }
        if !names.insert(&query.name) {
            return refused("the name is given twice, or is one of the preset's".to_owned());
        }
        if query.query.trim().is_empty() {
            return refused("`query` is empty".to_owned());
        }
        if let Some(bad) = query.attributes.values().chain([&query.tenant]).find(|label| !is_label(label)) {
            return refused(no_label(bad));
        }
        if let Err(problem) = query.dimensions() {
            return refused(problem);
        }
    }
    Ok(())
}

/// Whether the text can stand in an identity and in a path.
fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=100).contains(&text.len()) && text.bytes().all(is_letter)
}

fn is_label(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && !text.as_bytes()[0].is_ascii_digit() && text.bytes().all(is_letter)
}

fn no_label(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    format!("`{shown}` is no label of Prometheus; write it with letters, digits and `_`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "[[source.query]]\nname='q'\nmeter='m'\nquery='up'\ntenant='t'";

    fn check(keys: &str, expected: &str) {
        let text = format!("[[source]]\nname='east'\nkind='prometheus'\n{keys}");
        let config: Config = toml::from_str(&text).expect("TOML");
        let found = prometheus_sources(&config).map_or_else(|failure| failure.message, |_| "ok".to_owned());
        assert_eq!(found.trim_start_matches("[[source]] \"east\": "), expected, "{keys}");
    }

    #[test]
    fn each_contradiction_is_named() {
        let url = "url='http://p:9090'";
        let preset = "preset='kubernetes'\ncluster='east'";
        check(&format!("{url}\n{preset}"), "ok");
        check(&format!("{url}\n{QUERY}"), "ok");
        check(&format!("{url}\n{preset}\n{QUERY}\nattributes={{repo='r',\"label:env\"='e'}}"), "ok");
        check(&format!("{url}\norg_id='acme|globex'\n{preset}"), "ok");
        let org_id = "`org_id` is 1 to 1000 letters, digits and signs, without spaces";
        check(&format!("{url}\norg_id=''\n{preset}"), org_id);
        check(&format!("{url}\norg_id=\"a\\nb\"\n{preset}"), org_id);
        check(preset, "`url` is missing");
        check(&format!("{url}\nurl_file='x'\n{preset}"), "give `url` or `url_file`, not both");
        check(
            "url='http://a:b@p'",
            "url: the address must not hold a user or password; use `username` and `password_file`",
        );
        check(&format!("{url}\ntoken='a'\ntoken_file='b'"), "give one of `token`, `token_file` and `username`");
        check(&format!("{url}\nusername='a'"), "`username` and `password_file` go together");
        check(&format!("{url}\npreset='kubernetes'"), "preset `kubernetes` needs the name of the `cluster`");
        check(&format!("{url}\npreset='kube'"), "unknown value `kube`; known are kubernetes");
        check(url, "nothing is asked: give a `preset` or `[[source.query]]`");
        check(
            &format!("{url}\ncluster='a'\n{QUERY}"),
            "`cluster` goes with a preset; a query has a `cluster` of its own",
        );
        check(&format!("{url}\n{preset}\nchunk='30m'"), "`chunk` is 1 to 11000 hours");
        check(&format!("{url}\n{preset}\nbackfill='459d'"), "`backfill` is 1 to 11000 hours");
        check(&format!("{url}\n{preset}\nretries=11"), "`retries` is at most 10");
        check(&format!("{url}\n{preset}\nsetle='1m'"), "unknown key `setle`; did you mean `settle`?");
        let doubled = "query \"q\": the name is given twice, or is one of the preset's";
        check(&format!("{url}\n{QUERY}\n{QUERY}"), doubled);
        check(
            &format!("{url}\n{}", QUERY.replace("'t'", "'a-b'")),
            "query \"q\": `a-b` is no label of Prometheus; write it with letters, digits and `_`",
        );
        check(
            &format!("{url}\n{QUERY}\nattributes={{tenant='r'}}"),
            "query \"q\": the tenant stands in `tenant`, not in `attributes`",
        );
    }

    #[test]
    fn two_sources_have_two_names() {
        let one = "[[source]]\nname='a'\nkind='prometheus'\nurl='http://p'\npreset='kubernetes'\ncluster='c'\n";
        let config: Config = toml::from_str(&one.repeat(2)).expect("TOML");
        let failure = prometheus_sources(&config).err().expect("refused");
        assert_eq!(failure.message, "[[source]] \"a\": the name is given twice");
    }
}
