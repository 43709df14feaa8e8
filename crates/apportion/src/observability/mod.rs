//! What Grafana and Prometheus need to know of this program: dashboard, rules, scrape job.
//!
//! The files under `deploy/` are these texts with the defaults; tests compare them.

use crate::config::Config;
use std::net::SocketAddr;

/// The Grafana dashboard "Costs".
pub const DASHBOARD: &str = include_str!("../../../../deploy/grafana/provisioning/dashboards/costs.json");
/// Rules of Prometheus, with a placeholder for the address of the runbook.
const RULES: &str = include_str!("costs.yml");
/// What stands for that address.
const RUNBOOKS: &str = "{runbooks}";
/// Where the runbook is, unless the caller says otherwise: where the installation of `deploy/` puts it.
pub const RUNBOOKS_DEFAULT: &str = "file:///usr/share/doc/apportion/operations.md";
/// Address of the metrics exporter when there is to be none.
pub const EXPORTER_OFF: &str = "off";
/// The job's name, as the page of Prometheus' targets shows it.
const JOB: &str = "cost-exporter";

/// Returns the rules of Prometheus; each alert leads to its section of the runbook at this address.
pub fn rules(runbooks: &str) -> String {
    // The address goes into a quoted YAML text.
    RULES.replace(RUNBOOKS, &runbooks.trim_end_matches('#').replace('\'', "''"))
}

/// Returns the scrape job of Prometheus for the address on which the exporter of this configuration listens; nothing if it
/// is off.
pub fn scrape(config: &Config) -> Option<String> {
    let listens = config.server.exporter_listen.as_str();
    if listens == EXPORTER_OFF {
        return None;
    }
    let target = match listens.parse::<SocketAddr>() {
        // Everywhere is no address that can be asked.
        Ok(address) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        _ => listens.to_owned(),
    };
    Some(format!(
        "# Made by `apportion observability export scrape`. From another machine add a token of the role `metrics`:\n\
         #   authorization: {{ credentials_file: /etc/prometheus/apportion.token }}\n\
         scrape_configs:\n  - job_name: {JOB}\n    scrape_interval: 1m\n    scrape_timeout: 10s\n    static_configs:\n      \
         - targets: [\"{target}\"]\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::exporter::families::FAMILIES;
    use domain::provider_limit::check_limits;
    use domain::toml_text::parse_toml;
    use std::collections::BTreeSet;

    const RULES_DEPLOYED: &str = include_str!("../../../../deploy/prometheus/rules/costs.yml");
    const PROMETHEUS_DEPLOYED: &str = include_str!("../../../../deploy/prometheus/prometheus.yml");
    const CONFIG_DEPLOYED: &str = include_str!("../../../../deploy/apportion.toml");
    const RUNBOOK: &str = include_str!("../../../../docs/operations.md");
    const METRICS_PAGE: &str = include_str!("../../../../docs/exporter.md");

    /// Words of a text that begin like a metric of ours.
    fn metrics_in(text: &str) -> BTreeSet<&str> {
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        words.filter(|word| word.starts_with("apportion_") || word.starts_with("cost_collector_")).collect()
    }

    #[test]
    fn what_is_deployed_is_what_is_exported() {
        assert_eq!(RULES_DEPLOYED, rules(RUNBOOKS_DEFAULT));
        let job = scrape(&Config::default()).expect("a job");
        assert!(PROMETHEUS_DEPLOYED.ends_with(&job), "{job}");
    }

    #[test]
    fn the_deployed_configuration_is_one() {
        let config: Config = parse_toml("deploy/apportion.toml", CONFIG_DEPLOYED).expect("it is read");
        check_limits(&config.provider_limits).expect("its limits make sense");
        assert!(config.check_available().is_ok());
        assert_eq!(scrape(&config), scrape(&Config::default()), "the exporter is asked on the loopback");
    }

    #[test]
    fn dashboard_and_rules_name_metrics_that_exist() {
        let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        for (what, text) in [("the dashboard", DASHBOARD), ("the rules", RULES)] {
            let named = metrics_in(text);
            let unknown: Vec<&&str> = named.difference(&known).collect();
            assert!(unknown.is_empty() && !named.is_empty(), "{what}: {unknown:?}");
        }
    }

    #[test]
    fn the_page_about_metrics_has_a_row_for_each() {
        for family in FAMILIES {
            let labels = family.labels.join(",");
            let row = match labels.as_str() {
                "" => format!("| `{}` |", family.name),
                labels => format!("| `{}{{{labels}}}` |", family.name),
            };
            assert!(METRICS_PAGE.contains(&row), "docs/exporter.md lacks {row}");
        }
        let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        let rows = METRICS_PAGE.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>().join("\n");
        assert!(metrics_in(&rows).is_subset(&known), "docs/exporter.md lists a metric that is not there");
    }

    #[test]
    fn every_alert_has_severity_summary_and_a_section_of_the_runbook() {
        let alerts: Vec<&str> = RULES.split("- alert: ").skip(1).collect();
        let names: Vec<&str> = alerts.iter().filter_map(|alert| alert.lines().next()).collect();
        let expected = [
            "BudgetWarning",
            "BudgetExceeded",
            "CollectorErrors",
            "CollectorStale",
            "SnapshotStale",
            "ReconciliationDrift",
            "UnattributedHigh",
        ];
        assert_eq!(names, expected);
        for (name, alert) in names.iter().zip(&alerts) {
            let anchor = format!("runbook_url: '{RUNBOOKS}#{}'", name.to_lowercase());
            assert!(["severity: ", "summary: ", &anchor].iter().all(|part| alert.contains(part)), "{name}");
            assert!(RUNBOOK.contains(&format!("\n### {name}\n")), "docs/operations.md has no section {name}");
        }
    }

    #[test]
    fn the_job_asks_an_address_that_can_be_asked() {
        let target = |listens: &str| {
            let mut config = Config::default();
            config.server.exporter_listen = listens.to_owned();
            let job = scrape(&config)?;
            job.rsplit_once("targets: ").map(|(_, target)| target.trim().to_owned())
        };
        for (listens, expected) in [
            ("127.0.0.1:9210", Some("[\"127.0.0.1:9210\"]")),
            ("0.0.0.0:9000", Some("[\"127.0.0.1:9000\"]")),
            ("[::]:9000", Some("[\"127.0.0.1:9000\"]")),
            ("10.0.0.7:9210", Some("[\"10.0.0.7:9210\"]")),
            (EXPORTER_OFF, None),
        ] {
            assert_eq!(target(listens).as_deref(), expected, "{listens}");
        }
        assert!(rules("https://wiki.example/it's").contains("'https://wiki.example/it''s#budgetwarning'"));
    }
}
