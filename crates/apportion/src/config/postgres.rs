//! The keys of `[[source]]` with `kind = "postgres_snapshot"`.

use super::schema::{Config, Limits, Source};
use super::units::DurationText;
use crate::exit::{Exit, Failure};
use collectors::prometheus::Secret;
use collectors::workspaces::{ClientOptions, KIND, MetricQuery, PostgresSource, Query, parse_url};
use domain::toml_text::with_nearest_key;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An application's database. Its address holds a password, so it does not print.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostgresKeys {
    /// Address with role and password.
    url: Option<String>,
    /// File that holds the address.
    url_file: Option<PathBuf>,
    /// Lists the active workspaces: id, slug, name, plan.
    workspaces: String,
    /// The setting by which policies know the workspace.
    rls_variable: String,
    /// How long one statement may take.
    #[serde(default = "statement_timeout")]
    statement_timeout: DurationText,
    /// How many workspaces are measured at the same time.
    #[serde(default = "concurrency")]
    concurrency: usize,
    /// SQL by metric.
    metrics: BTreeMap<String, String>,
}

fn statement_timeout() -> DurationText {
    "30s".parse().expect("a constant default is valid")
}

fn concurrency() -> usize {
    4
}

/// Returns every application whose workspaces are measured, its keys checked.
///
/// # Errors
/// A failure that names the source and the key.
pub fn postgres_sources(config: &Config) -> Result<Vec<PostgresSource>, Failure> {
    let read = |source: &Source| {
        source_of(source, &config.limits).map_err(|problem| {
            Failure::new(Exit::Conflict, format!("[[source]] \"{}\": {problem}", source.name.escape_debug()))
        })
    };
    config.sources.iter().filter(|source| source.kind == KIND).map(read).collect()
}

fn source_of(source: &Source, limits: &Limits) -> Result<PostgresSource, String> {
    collectors::snapshots::check_source(&source.name).map_err(|error| error.to_string())?;
    let table: toml::Table = source.rest.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let keys: PostgresKeys =
        toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| with_nearest_key(error.message()))?;
    let url = match (keys.url, keys.url_file) {
        (Some(url), None) => {
            parse_url(&url).map_err(|problem| format!("url: {problem}"))?;
            Secret::Text(url)
        }
        (None, Some(file)) => Secret::File(file),
        (Some(_), Some(_)) => return Err("give `url` or `url_file`, not both".to_owned()),
        (None, None) => return Err("`url` is missing".to_owned()),
    };
    let connections_max = limits.snapshot_connections;
    if !(1..=connections_max).contains(&keys.concurrency) {
        return Err(format!("`concurrency` is 1 to {connections_max} (limits.snapshot_connections)"));
    }
    if keys.statement_timeout.duration().is_zero() {
        return Err("`statement_timeout` is more than 0".to_owned());
    }
    if !is_setting(&keys.rls_variable) {
        return Err("rls_variable: write the setting that policies read, such as app.workspace_id".to_owned());
    }
    if keys.metrics.is_empty() {
        return Err("nothing stands under `[source.metrics]`".to_owned());
    }
    let metrics_max = limits.snapshot_metrics;
    if metrics_max < keys.metrics.len() {
        return Err(format!(
            "more than {metrics_max} metrics (limits.snapshot_metrics) stand under `[source.metrics]`"
        ));
    }
    let workspaces = Query::read(&keys.workspaces).map_err(|problem| format!("workspaces: {problem}"))?;
    if !workspaces.params().is_empty() {
        return Err("workspaces: the list has no parameters; it is the same for every day".to_owned());
    }
    let metric = |(name, sql): (&String, &String)| {
        MetricQuery::read(name, sql).map_err(|problem| format!("metric \"{}\": {problem}", name.escape_debug()))
    };
    Ok(PostgresSource {
        name: source.name.clone(),
        client: ClientOptions { url, statement_timeout: keys.statement_timeout.duration() },
        workspaces,
        rls_variable: keys.rls_variable,
        metrics: keys.metrics.iter().map(metric).collect::<Result<_, _>>()?,
        concurrency: keys.concurrency,
        workspaces_max: limits.snapshot_workspaces,
    })
}

/// Whether the text names a setting of an application: PostgreSQL keeps names without a dot for itself.
fn is_setting(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_part = |part: &str| {
        !part.is_empty() && !part.as_bytes()[0].is_ascii_digit() && part.len() <= 63 && part.bytes().all(is_letter)
    };
    text.contains('.') && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "workspaces='SELECT id, slug, name, plan FROM workspaces'\nrls_variable='app.workspace_id'";
    const METRICS: &str = "[source.metrics]\nmember_count='SELECT count(*) FROM members'";

    fn check(keys: &str, expected: &str) {
        let text = format!("[[source]]\nname='app'\nkind='postgres_snapshot'\n{keys}");
        let config: Config = toml::from_str(&text).expect("TOML");
        let found = postgres_sources(&config).map_or_else(|failure| failure.message, |_| "ok".to_owned());
        assert_eq!(found.trim_start_matches("[[source]] \"app\": "), expected, "{keys}");
    }

    #[test]
    fn each_contradiction_is_named() {
        let url = "url='postgres://reader:pw@db/app'";
        check(&format!("{url}\n{LIST}\n{METRICS}"), "ok");
        check(&format!("url_file='/run/secrets/app'\n{LIST}\nconcurrency=8\n{METRICS}"), "ok");
        check(&format!("{LIST}\n{METRICS}"), "`url` is missing");
        check(&format!("{url}\nurl_file='x'\n{LIST}\n{METRICS}"), "give `url` or `url_file`, not both");
        check(&format!("url='mysql://db'\n{LIST}\n{METRICS}"), "url: an address begins with postgres://");
        check(
            &format!("{url}\n{LIST}\nconcurrency=0\n{METRICS}"),
            "`concurrency` is 1 to 32 (limits.snapshot_connections)",
        );
        check(
            &format!("{url}\n{LIST}\nconcurrency=33\n{METRICS}"),
            "`concurrency` is 1 to 32 (limits.snapshot_connections)",
        );
        check(&format!("{url}\n{LIST}\nstatement_timeout='0s'\n{METRICS}"), "`statement_timeout` is more than 0");
        check(
            &format!("{url}\n{LIST}\nconcurency=2\n{METRICS}"),
            "unknown key `concurency`; did you mean `concurrency`?",
        );
        check(
            &format!("{url}\n{}\n{METRICS}", LIST.replace("app.workspace_id", "workspace")),
            "rls_variable: write the setting that policies read, such as app.workspace_id",
        );
        check(&format!("{url}\n{LIST}\n[source.metrics]"), "nothing stands under `[source.metrics]`");
        let many: String = (0..201).map(|number| format!("m{number}='SELECT 1'\n")).collect();
        check(
            &format!("{url}\n{LIST}\n[source.metrics]\n{many}"),
            "more than 200 metrics (limits.snapshot_metrics) stand under `[source.metrics]`",
        );
        check(
            &format!("{url}\n{LIST}\n{METRICS}\nlogins_24h='SELECT 1'"),
            "metric \"logins_24h\": it counts a day, as `_24h` says: the query must name both :from and :to",
        );
        check(
            &format!("{url}\n{}\n{METRICS}", LIST.replace("workspaces'", "workspaces WHERE at < :to'")),
            "workspaces: the list has no parameters; it is the same for every day",
        );
    }

    #[test]
    fn limits_of_the_configuration_count() {
        let text = format!(
            "limits = {{ snapshot_workspaces = 7, snapshot_metrics = 2, snapshot_connections = 40 }}\n[[source]]\n\
             name='app'\nkind='postgres_snapshot'\nurl='postgres://r:pw@db/app'\n{LIST}\nconcurrency=40\n{METRICS}"
        );
        let config: Config = toml::from_str(&text).expect("TOML");
        let source = postgres_sources(&config).unwrap_or_default().pop().expect("a source");
        assert_eq!((source.workspaces_max, source.concurrency), (7, 40));
        let more: Config = toml::from_str(&format!("{text}\na='SELECT 1'\nb='SELECT 1'")).expect("TOML");
        let refused = postgres_sources(&more).expect_err("3 metrics").message;
        assert!(refused.contains("more than 2 metrics (limits.snapshot_metrics)"), "{refused}");
    }

    #[test]
    fn an_address_never_prints() {
        let text = format!(
            "[[source]]\nname='app'\nkind='postgres_snapshot'\nurl='postgres://r:hunter2@db/app'\n{LIST}\n{METRICS}"
        );
        let config: Config = toml::from_str(&text).expect("TOML");
        let sources = postgres_sources(&config).unwrap_or_default();
        assert_eq!(sources.len(), 1);
        assert!(!format!("{sources:?}").contains("hunter2"));
    }
}
