//! The keys of `[[source]]` of collectors, and the variables of the environment that they may come from.

use super::load::Origin;
use super::schema::{Config, KeptValue, Source};
use super::units::{DurationText, SizeText};
use crate::exit::{Exit, Failure};
use collectors::prometheus::Secret;
use collectors::providers::exports::SETTLE;
use collectors::providers::fetch::{FetchOptions, parse_base};
use collectors::providers::{BILLING_DAY_MAX, CredentialSet, CredentialSpec, KINDS, Kind, ProviderSource, kind};
use domain::toml_text::with_nearest_key;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// How often collectors are read, in seconds, beside once a night.
const INTERVAL: &str = "COST_REFRESH_INTERVAL_S";
/// Shortest interval. Providers limit how often they may be asked, each in its own way, so this is no more than a number.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Kinds that are a source of their own where only the environment speaks of them.
const IMPLICIT: [&str; 3] = ["supabase", "vercel", "wasabi"];
/// Variables of settings that are no secrets: kind, key, variable.
const SETTINGS: [(&str, &str, &str); 1] = [("supabase", "projects", "SUPABASE_PROJECT_REF")];
/// Wait before the first repeat of a failed attempt.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Longest time that files must rest: a collection waits for them.
const SETTLE_MAX: Duration = Duration::from_secs(3_600);
/// Repeats of a failed attempt, at most.
const RETRIES_MAX: usize = 10;

/// The keys that all collectors have.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    /// Address of the provider, where it has several.
    url: Option<String>,
    /// Whether the address is one on this machine that stands in for the provider.
    #[serde(default)]
    stand_in: bool,
    /// How long one attempt may take.
    #[serde(default = "timeout")]
    timeout: DurationText,
    /// How long one billing period may take.
    #[serde(default = "total")]
    total: DurationText,
    /// How long files must rest that nothing seals; of kinds that read files only.
    settle: Option<DurationText>,
    /// How many times a failed attempt is repeated.
    #[serde(default = "retries")]
    retries: usize,
    /// Bytes of one answer.
    #[serde(default = "response")]
    response: SizeText,
    /// Requests of one collection.
    #[serde(default = "requests")]
    requests: usize,
    /// Day of the month on which billing periods begin.
    billing_day: Option<u8>,
    /// How often it is read, beside once a night.
    every: Option<DurationText>,
    /// Meter by resource.
    #[serde(default)]
    meters: BTreeMap<String, String>,
}

/// Names of the keys of [`Common`].
const COMMON: [&str; 11] = [
    "url",
    "stand_in",
    "timeout",
    "total",
    "settle",
    "retries",
    "response",
    "requests",
    "billing_day",
    "every",
    "meters",
];

fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a constant default is valid")
}

fn timeout() -> DurationText {
    parsed("60s")
}

fn total() -> DurationText {
    parsed("15m")
}

fn retries() -> usize {
    3
}

fn response() -> SizeText {
    parsed("64MiB")
}

fn requests() -> usize {
    5_000
}

/// Returns every collector, its keys checked.
///
/// # Errors
/// A failure that names the source and the key.
pub fn provider_sources(config: &Config) -> Result<Vec<ProviderSource>, Failure> {
    let mut found = Vec::new();
    for source in &config.sources {
        let Some(kind) = kind(&source.kind) else { continue };
        found.push(source_of(source, kind).map_err(|problem| {
            Failure::new(Exit::Conflict, format!("[[source]] \"{}\": {problem}", source.name.escape_debug()))
        })?);
    }
    Ok(found)
}

fn source_of(source: &Source, kind: &'static Kind) -> Result<ProviderSource, String> {
    collectors::snapshots::check_source(&source.name).map_err(|error| error.to_string())?;
    if collectors::import::RESERVED_SOURCES.contains(&source.name.as_str()) {
        return Err("the name is reserved for fixed costs".to_owned());
    }
    let (mut common, mut own, mut secrets) = (toml::Table::new(), Map::new(), BTreeMap::new());
    for (key, KeptValue(value)) in &source.rest {
        match credential(kind, key) {
            Some(spec) => {
                let secret = secret_of(key, spec, value)?;
                if secrets.insert(spec.key, secret).is_some() {
                    return Err(format!("give `{0}` or `{0}_file`, not both", spec.key));
                }
            }
            None if COMMON.contains(&key.as_str()) => drop(common.insert(key.clone(), value.clone())),
            None => drop(own.insert(key.clone(), to_json(key, value)?)),
        }
    }
    if let Some(missing) = kind.spec.credentials.iter().find(|spec| spec.is_required && !secrets.contains_key(spec.key))
    {
        let CredentialSpec { key, env, .. } = missing;
        return Err(format!("`{key}` is missing; give `{key}`, `{key}_file`, or the variable {env}"));
    }
    let common: Common =
        toml::Value::Table(common).try_into().map_err(|error: toml::de::Error| with_nearest_key(error.message()))?;
    check_numbers(&common)?;
    let collector = (kind.build)(Value::Object(own)).map_err(|problem| with_nearest_key(&problem))?;
    if common.settle.is_some() && collector.export().is_none() {
        return Err("`settle` belongs to kinds that read files".to_owned());
    }
    Ok(ProviderSource {
        name: source.name.clone(),
        collector,
        credentials: CredentialSet::new(secrets),
        options: options_of(&common, kind)?,
        total: common.total.duration(),
        settle: common.settle.as_ref().map_or(SETTLE, DurationText::duration),
        billing_day: common.billing_day,
        every: common.every.map(|every| every.duration()),
        meters: common.meters,
    })
}

/// The credential that a key holds, or names the file of.
fn credential(kind: &Kind, key: &str) -> Option<&'static CredentialSpec> {
    let stem = key.strip_suffix("_file").unwrap_or(key);
    kind.spec.credentials.iter().find(|spec| spec.key == key || spec.key == stem)
}

fn secret_of(key: &str, spec: &CredentialSpec, value: &toml::Value) -> Result<Secret, String> {
    let text = value.as_str().ok_or_else(|| format!("`{key}` is a text"))?;
    Ok(if key == spec.key { Secret::Text(text.to_owned()) } else { Secret::File(PathBuf::from(text)) })
}

fn options_of(common: &Common, kind: &Kind) -> Result<FetchOptions, String> {
    let bases = kind.spec.bases;
    let first = bases.first().copied().unwrap_or_default();
    let text = common.url.as_deref().unwrap_or(first);
    let is_one = bases.iter().any(|base| base.trim_end_matches('/') == text.trim_end_matches('/'));
    if !common.stand_in && !is_one {
        return Err(format!("url: the provider is asked at {}; a stand-in needs `stand_in = true`", bases.join(", ")));
    }
    Ok(FetchOptions {
        base: parse_base(text, common.stand_in).map_err(|problem| format!("url: {problem}"))?,
        is_stand_in: common.stand_in,
        timeout: common.timeout.duration(),
        retries: common.retries,
        retry_wait: RETRY_WAIT,
        response_bytes_max: common.response.bytes(),
        requests_max: common.requests,
    })
}

fn check_numbers(common: &Common) -> Result<(), String> {
    let is_nothing = |duration: &DurationText| duration.duration().is_zero();
    if is_nothing(&common.timeout) || is_nothing(&common.total) || common.response.bytes() == 0 || common.requests == 0
    {
        return Err("`timeout`, `total`, `response` and `requests` are more than 0".to_owned());
    }
    if common.settle.as_ref().is_some_and(|settle| SETTLE_MAX < settle.duration()) {
        return Err(format!("`settle` is at most {SETTLE_MAX:?}"));
    }
    if RETRIES_MAX < common.retries {
        return Err(format!("`retries` is at most {RETRIES_MAX}"));
    }
    if common.billing_day.is_some_and(|day| !(1..=BILLING_DAY_MAX).contains(&day)) {
        return Err(format!("`billing_day` is 1 to {BILLING_DAY_MAX}"));
    }
    if common.every.as_ref().is_some_and(|every| every.duration() < INTERVAL_MIN) {
        return Err(format!("`every` is at least {INTERVAL_MIN:?}"));
    }
    Ok(())
}

/// The value as JSON. A number with a point would be a float: it is refused, and written as text it keeps its digits.
fn to_json(key: &str, value: &toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Float(number) => return Err(format!("`{key}`: write {number} as text, in quotes")),
        toml::Value::Array(items) => items.iter().map(|item| to_json(key, item)).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(table) => {
            let pair = |(key, value): (&String, &toml::Value)| Ok::<_, String>((key.clone(), to_json(key, value)?));
            Value::Object(table.iter().map(pair).collect::<Result<_, _>>()?)
        }
    })
}

/// Puts in what the environment says of collectors: credentials that the file does not give, and the interval. One of a few
/// kinds whose credentials are all there and that the file does not name becomes a source of its own.
///
/// # Errors
/// A failure that names the variable.
pub(super) fn add_from_environment(
    config: &mut Config,
    environment: &BTreeMap<String, String>,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(), Failure> {
    // A variable that is set to nothing, as an `.env` file leaves it, is not set.
    let variable = |name: &str| environment.get(name).filter(|text| !text.is_empty());
    let names: BTreeSet<String> = config.sources.iter().map(|source| source.kind.clone()).collect();
    let may_be = |kind: &&Kind| IMPLICIT.contains(&kind.spec.name) && !names.contains(kind.spec.name);
    for kind in KINDS.iter().filter(may_be) {
        let mut required = kind.spec.credentials.iter().filter(|spec| spec.is_required).peekable();
        let is_given =
            |spec: &CredentialSpec| variable(spec.env).is_some() || variable(&format!("{}_FILE", spec.env)).is_some();
        if required.peek().is_some() && required.all(is_given) {
            let (name, rest) = (kind.spec.name.to_owned(), BTreeMap::new());
            config.sources.push(Source { kind: name.clone(), name, rest });
        }
    }
    let interval = variable(INTERVAL).map(|text| interval_of(text)).transpose()?;
    for (at, source) in config.sources.iter_mut().enumerate() {
        let Some(kind) = kind(&source.kind) else { continue };
        let mut given: Vec<(String, String, String)> = Vec::new();
        for spec in kind.spec.credentials {
            let file_key = format!("{}_file", spec.key);
            if source.rest.contains_key(spec.key) || source.rest.contains_key(&file_key) {
                continue;
            }
            let file = format!("{}_FILE", spec.env);
            match (variable(spec.env), variable(&file)) {
                (Some(text), _) => given.push((spec.key.to_owned(), text.clone(), spec.env.to_owned())),
                (None, Some(path)) => given.push((file_key, path.clone(), file)),
                (None, None) => {}
            }
        }
        let settings = SETTINGS.iter().filter(|(of, key, _)| *of == source.kind && !source.rest.contains_key(*key));
        for (_, key, name) in settings {
            given.extend(variable(name).map(|text| ((*key).to_owned(), text.clone(), (*name).to_owned())));
        }
        if let Some(interval) = interval.as_ref().filter(|_| !source.rest.contains_key("every")) {
            given.push(("every".to_owned(), interval.clone(), INTERVAL.to_owned()));
        }
        for (key, text, name) in given {
            origins.insert(format!("source.{at}.{key}"), Origin::Environment(name));
            source.rest.insert(key, KeptValue(toml::Value::String(text)));
        }
    }
    Ok(())
}

/// The seconds as a duration of the configuration.
fn interval_of(text: &str) -> Result<String, Failure> {
    match text.trim().parse::<u64>() {
        Ok(seconds) if INTERVAL_MIN.as_secs() <= seconds => Ok(format!("{seconds}s")),
        _ => {
            let least = INTERVAL_MIN.as_secs();
            let message = format!("environment variable {INTERVAL}: write whole seconds, at least {least}");
            Err(Failure::new(Exit::Conflict, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, keys: &str, expected: &str) {
        let text = format!("[[source]]\nname='bill'\nkind='{kind}'\n{keys}");
        let config: Config = toml::from_str(&text).expect("TOML");
        let found = provider_sources(&config).map_or_else(|failure| failure.message, |_| "ok".to_owned());
        assert_eq!(found.trim_start_matches("[[source]] \"bill\": "), expected, "{keys}");
    }

    #[test]
    fn each_contradiction_is_named() {
        let price = "[[source.price]]\nfrom=2026-07-01\nper_tb_month=";
        check("vercel", "token='t'\nteam='team_1'", "ok");
        check("vercel", "token_file='t'\n[source.meters]\nfunction_invocations='invocations'", "ok");
        check("wasabi", &format!("access_key='a'\nsecret_key_file='b'\n{price}'7.99'"), "ok");
        check("supabase", "token='t'\nprojects=['a','b']", "ok");
        check("vercel", "", "`token` is missing; give `token`, `token_file`, or the variable VERCEL_API_TOKEN");
        check("vercel", "token='t'\ntoken_file='u'", "give `token` or `token_file`, not both");
        check("vercel", "token=7", "`token` is a text");
        check("vercel", "token='t'\nteem='x'", "unknown key `teem`; did you mean `team`?");
        check("vercel", "token='t'\nbilling_day=29", "`billing_day` is 1 to 28");
        check("vercel", "token='t'\nevery='0s'", "`every` is at least 1s");
        check("vercel", "token='t'\nretries=11", "`retries` is at most 10");
        check(
            "vercel",
            "token='t'\nurl='https://evil.example'",
            "url: the provider is asked at https://api.vercel.com; a stand-in needs `stand_in = true`",
        );
        check(
            "vercel",
            "token='t'\nurl='http://10.0.0.1'\nstand_in=true",
            "url: a stand-in is http on 127.0.0.1 or [::1]",
        );
        check("vercel", "token='t'\nurl='http://127.0.0.1:1'\nstand_in=true", "ok");
        check(
            "wasabi",
            &format!("access_key='a'\nsecret_key='b'\n{price}7.99"),
            "`per_tb_month`: write 7.99 as text, in quotes",
        );
    }

    fn with_environment(text: &str, variables: &[(&str, &str)]) -> Result<(Config, Vec<String>), String> {
        let mut config: Config = toml::from_str(text).expect("TOML");
        let environment = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut origins = BTreeMap::new();
        add_from_environment(&mut config, &environment, &mut origins).map_err(|failure| failure.message)?;
        Ok((config, origins.into_iter().map(|(key, origin)| format!("{key} {origin}")).collect()))
    }

    #[test]
    fn a_kind_whose_credentials_are_in_the_environment_is_a_source() {
        let variables = [
            ("VERCEL_API_TOKEN", "t"),
            ("SUPABASE_ACCESS_TOKEN_FILE", "/run/secrets/supabase"),
            ("SUPABASE_PROJECT_REF", "abc"),
            ("WASABI_ACCESS_KEY", "half of it"),
            ("WASABI_SECRET_KEY", ""),
            ("COST_REFRESH_INTERVAL_S", "3600"),
        ];
        let (config, origins) = with_environment("", &variables).expect("valid");
        let sources = provider_sources(&config).expect("valid");
        let shown: Vec<(&str, Option<u64>)> =
            sources.iter().map(|source| (source.name.as_str(), source.every.map(|every| every.as_secs()))).collect();
        assert_eq!(shown, [("supabase", Some(3600)), ("vercel", Some(3600))]);
        assert_eq!(origins.len(), 5, "{origins:?}");
        assert!(origins.iter().any(|line| line.starts_with("source.1.token ") && line.contains("VERCEL_API_TOKEN")));
    }

    #[test]
    fn s1_16_the_variables_have_the_names_of_the_requirement() {
        let variables = [
            "VERCEL_API_TOKEN",
            "SUPABASE_ACCESS_TOKEN",
            "SUPABASE_PROJECT_REF",
            "WASABI_ACCESS_KEY",
            "WASABI_SECRET_KEY",
        ];
        let (config, origins) = with_environment("", &variables.map(|name| (name, "abcdefgh"))).expect("valid");
        let sources = provider_sources(&config).expect("valid");
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        assert_eq!((names, origins.len()), (vec!["supabase", "vercel", "wasabi"], 5));
        assert!(
            sources.iter().all(|source| source.every.is_none()),
            "once a night unless COST_REFRESH_INTERVAL_S is set"
        );
    }

    #[test]
    fn what_the_file_says_is_not_changed() {
        let text = "[[source]]\nname='a'\nkind='vercel'\ntoken='of the file'\nevery='6h'\n\
                    [[source]]\nname='b'\nkind='vercel'\nteam='team_2'";
        let variables = [("VERCEL_API_TOKEN", "of the environment"), ("COST_REFRESH_INTERVAL_S", "900")];
        let (config, origins) = with_environment(text, &variables).expect("valid");
        assert_eq!((config.sources.len(), origins.len()), (2, 2), "{origins:?}");
        let sources = provider_sources(&config).expect("valid");
        let every: Vec<Option<u64>> = sources.iter().map(|source| source.every.map(|every| every.as_secs())).collect();
        assert_eq!(every, [Some(21_600), Some(900)]);
    }

    #[test]
    fn an_interval_is_whole_seconds_and_more_than_none() {
        for bad in ["soon", "0", "-1", "1e4"] {
            let refused = with_environment("", &[("COST_REFRESH_INTERVAL_S", bad)]).expect_err(bad);
            assert!(refused.contains("write whole seconds, at least 1"), "{refused}");
        }
        let (config, _) = with_environment("", &[("VERCEL_API_TOKEN", "t"), (INTERVAL, "5")]).expect("valid");
        let every = provider_sources(&config).expect("valid")[0].every;
        assert_eq!(every, Some(Duration::from_secs(5)), "a first trial need not wait");
    }
}
