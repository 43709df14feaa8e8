//! Sources of usage: made from the configuration, brought together with the event log, read again and again.

/// Limits of levels.
mod levels;
/// Costs that come by hand and by a collector.
mod overlap;
/// Reads the sources while `serve` runs.
mod schedule;
/// Points of usage as events of the log.
mod sink;

pub use levels::summed_levels;
pub use overlap::{EnteredCost, covered_twice};
pub use schedule::SourceSchedule;
pub use sink::{EventSink, value_path};

use crate::config::{
    Config, PresetName, PrometheusKeys, QueryKeys, postgres_sources, prometheus_sources, provider_sources,
};
use crate::exit::{Exit, Failure};
use collectors::prometheus::{Auth, ClientOptions, PrometheusClient, PrometheusSource, Secret, UsageQuery, kubernetes};
use collectors::sources::Source;
use collectors::workspaces::{MetricQuery, is_open_to_eavesdroppers};
use domain::meter::Meter;
use domain::toml_text::nearest;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Wait before the first repeat of a failed attempt.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Seconds of an hour.
const HOUR: u64 = 3600;

/// Returns whether sources of this kind are read by the collection: workspaces of applications are measured by a job of
/// their own, and who sends snapshots is not read at all.
pub fn is_collected(kind: &str) -> bool {
    ![collectors::workspaces::KIND, collectors::snapshots::senders::KIND].contains(&kind)
}

/// Returns the collectors of the configuration, each with its interval.
///
/// # Errors
/// A failure that names the source and the key.
pub fn collector_intervals(config: &Config) -> Result<BTreeMap<String, Option<Duration>>, Failure> {
    Ok(provider_sources(config)?.into_iter().map(|source| (source.name, source.every)).collect())
}

/// Returns the sources of the configuration.
///
/// # Errors
/// A failure that names the source and the key.
pub fn sources_of(config: &Config) -> Result<Vec<Source>, Failure> {
    prometheus_sources(config)?.iter().map(source_of).collect()
}

fn source_of(keys: &PrometheusKeys) -> Result<Source, Failure> {
    let options = ClientOptions {
        url: secret(keys.url.as_deref(), keys.url_file.as_deref()).expect("an address was asked for"),
        auth: auth_of(keys),
        org_id: keys.org_id.clone(),
        timeout: keys.timeout.duration(),
        retries: keys.retries,
        retry_wait: RETRY_WAIT,
        response_bytes_max: keys.response.bytes(),
    };
    let client = PrometheusClient::new(options)
        .map_err(|error| Failure::new(Exit::Failure, format!("[[source]] \"{}\": {error}", keys.name)))?;
    let hours = |duration: Duration| i64::try_from(duration.as_secs() / HOUR).unwrap_or(i64::MAX);
    Ok(Source {
        name: keys.name.clone(),
        every: keys.every.duration(),
        settle: keys.settle.duration(),
        backfill_hours: hours(keys.backfill.duration()),
        chunk_hours: hours(keys.chunk.duration()),
        prometheus: PrometheusSource { client, queries: queries_of(keys), series_max: keys.series_max },
    })
}

fn secret(text: Option<&str>, file: Option<&Path>) -> Option<Secret> {
    text.map(|text| Secret::Text(text.to_owned())).or_else(|| file.map(|file| Secret::File(file.to_owned())))
}

fn auth_of(keys: &PrometheusKeys) -> Auth {
    match (&keys.username, &keys.password_file) {
        (Some(username), Some(file)) => {
            Auth::Basic { username: username.clone(), password: Secret::File(file.clone()) }
        }
        _ => secret(keys.token.as_deref(), keys.token_file.as_deref()).map_or(Auth::Nobody, Auth::Bearer),
    }
}

/// The queries of the preset, then those of the file.
fn queries_of(keys: &PrometheusKeys) -> Vec<UsageQuery> {
    let preset = match (keys.preset, &keys.cluster) {
        (Some(PresetName::Kubernetes), Some(cluster)) => kubernetes::queries(&kubernetes::Preset {
            cluster,
            tenant_label: &keys.tenant_label,
            capacity: keys.capacity,
        }),
        _ => Vec::new(),
    };
    let of_file = |query: &QueryKeys| UsageQuery {
        name: query.name.clone(),
        meter: query.meter.clone(),
        expression: query.query.clone(),
        tenant_label: query.tenant.clone(),
        cluster: query.cluster.clone(),
        attributes: query.dimensions().expect("the names were checked when they were read"),
    };
    preset.into_iter().chain(keys.queries.iter().map(of_file)).collect()
}

/// Refuses queries for meters that a number cannot be given to; returns what should be looked at.
///
/// # Errors
/// A failure that names source, query and meter.
pub fn check_sources(config: &Config, meters: &[Meter]) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for keys in prometheus_sources(config)? {
        let is_open = keys.url.as_deref().is_some_and(|url| url.starts_with("http://"));
        if is_open && (keys.token.is_some() || keys.token_file.is_some() || keys.username.is_some()) {
            warnings.push(format!("source \"{}\" sends its token or password without encryption (http)", keys.name));
        }
        for query in queries_of(&keys) {
            if let Some(problem) = problem_of_meter(&query.meter, meters) {
                let place = format!("[[source]] \"{}\", query \"{}\"", keys.name, query.name);
                return Err(Failure::new(Exit::Conflict, format!("{place}: {problem}")));
            }
        }
    }
    for source in provider_sources(config)? {
        for (resource, meter) in &source.meters {
            if let Some(problem) = problem_of_meter(meter, meters) {
                let place = format!("[[source]] \"{}\", meter of {resource}", source.name);
                return Err(Failure::new(Exit::Conflict, format!("{place}: {problem}")));
            }
        }
        if source.options.is_stand_in {
            warnings.push(format!("source \"{}\" asks a stand-in on this machine, not the provider", source.name));
        }
    }
    for source in postgres_sources(config)? {
        if let Secret::Text(url) = &source.client.url
            && is_open_to_eavesdroppers(url).unwrap_or_default()
        {
            let advice = "may be read on its way; add ?sslmode=verify-full to its address";
            warnings.push(format!("source \"{}\" {advice}", source.name));
        }
        for metric in &source.metrics {
            let place = format!("source \"{}\", metric \"{}\"", source.name, metric.name);
            warnings.extend(problem_of_metric(metric, meters).map(|problem| format!("{place}: {problem}")));
        }
    }
    Ok(warnings)
}

/// A metric is measured in the unit of the meter of its name; without one it has no unit and no price.
fn problem_of_metric(metric: &MetricQuery, meters: &[Meter]) -> Option<String> {
    let Some(meter) = meters.iter().find(|meter| meter.name == metric.name) else {
        return Some(format!("{}, so it has no unit and no price (meters.toml)", no_meter(&metric.name, meters)));
    };
    let kind = metric.kind.meter_kind();
    let (is, should) = (meter.kind.as_str(), kind.as_str());
    (meter.kind != kind)
        .then(|| format!("the meter is a {is}, but by its name (`_24h` or not) the metric is a {should}"))
}

fn no_meter(name: &str, meters: &[Meter]) -> String {
    let near = nearest(name, meters.iter().map(|meter| meter.name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("no meter `{name}`{hint}")
}

fn problem_of_meter(name: &str, meters: &[Meter]) -> Option<String> {
    match meters.iter().find(|meter| meter.name == name) {
        None => Some(no_meter(name, meters)),
        Some(meter) => value_path(meter).err().map(|problem| format!("meter `{name}` {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(keys: &str) -> Config {
        let text = format!("[[source]]\nname='east'\nkind='prometheus'\nurl='http://p'\n{keys}");
        toml::from_str(&text).expect("TOML")
    }

    #[test]
    fn the_preset_asks_for_meters_that_exist() {
        let config = config("preset='kubernetes'\ncluster='east'");
        assert_eq!(check_sources(&config, &domain::meter::builtin()).expect("valid"), Vec::<String>::new());
        let sources = sources_of(&config).expect("valid");
        assert_eq!((sources[0].chunk_hours, sources[0].backfill_hours), (168, 24));
        assert_eq!(sources[0].prometheus.queries.len(), 6);
    }

    #[test]
    fn a_meter_that_cannot_be_read_is_refused_with_the_nearest_name() {
        let query = |meter: &str| {
            let keys = format!("token='t'\n[[source.query]]\nname='q'\nmeter='{meter}'\nquery='up'\ntenant='t'");
            check_sources(&config(&keys), &domain::meter::builtin()).map_err(|failure| failure.message)
        };
        assert_eq!(query("log_queries").expect("valid").len(), 1, "a token over http");
        let refused = query("log_queris").expect_err("unknown");
        assert_eq!(refused, "[[source]] \"east\", query \"q\": no meter `log_queris`; did you mean `log_queries`?");
        let refused = query("prs_merged").expect_err("it counts events");
        assert_eq!(
            refused,
            "[[source]] \"east\", query \"q\": meter `prs_merged` counts events; a source needs one with a value"
        );
    }

    #[test]
    fn a_metric_of_workspaces_should_have_a_meter_of_its_name_and_kind() {
        let check = |metric: &str, host: &str| {
            let text = format!(
                "[[source]]\nname='app'\nkind='postgres_snapshot'\nurl='postgres://r@{host}/app'\n\
                 workspaces='SELECT 1'\nrls_variable='app.ws'\n[source.metrics]\n{metric}"
            );
            let config: Config = toml::from_str(&text).expect("TOML");
            check_sources(&config, &domain::meter::builtin()).map_err(|failure| failure.message)
        };
        assert_eq!(check("member_count='SELECT 1'", "localhost"), Ok(Vec::new()));
        assert_eq!(check("member_count='SELECT 1'", "db.example").map(|warnings| warnings.len()), Ok(1));
        let only = |metric: &str| check(metric, "localhost").expect("warnings").concat();
        assert_eq!(
            only("member_cont='SELECT 1'"),
            "source \"app\", metric \"member_cont\": no meter `member_cont`; did you mean `member_count`?, so it has no unit \
             and no price (meters.toml)"
        );
        assert_eq!(
            only("log_queries='SELECT 1'"),
            "source \"app\", metric \"log_queries\": the meter is a counter, but by its name (`_24h` or not) the metric is a \
             gauge"
        );
    }
}
