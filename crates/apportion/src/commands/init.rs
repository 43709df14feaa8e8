//! `init`: commented configuration files to start from.

use super::Context;
use crate::cli::{InitArgs, Preset};
use crate::config::DEFAULT_TOML;
use crate::exit::{Exit, Failure};
use anyhow::{Context as _, Result};
use std::path::Path;

/// Policy of each preset of this release.
const SAAS: &str = include_str!("../../../../examples/policies/saas.toml");
const KUBERNETES: &str = include_str!("../../../../examples/policies/kubernetes.toml");
const LOG_PLATFORM: &str = include_str!("../../../../examples/policies/log-platform.toml");
const AGENT_WORKFLOWS: &str = include_str!("../../../../examples/policies/agent-workflows.toml");
/// What the preset `agent-workflows` adds to the configuration, as a comment.
const AGENT_ADAPTERS: &str = include_str!("../../../../examples/agent-workflows/adapters.toml");
/// What the preset `kubernetes` adds to the configuration, as a comment.
const KUBERNETES_SOURCE: &str = include_str!("../../../../examples/sources/kubernetes.toml");
/// What the preset `saas` adds to the configuration, as a comment.
const POSTGRES_SOURCE: &str = include_str!("../../../../examples/sources/postgres.toml");
/// Rate card and meters of the preset `agent-workflows`.
const AGENT_RATES: &str = include_str!("../../../../examples/agent-workflows/rates.toml");
const AGENT_METERS: &str = include_str!("../../../../examples/agent-workflows/meters.toml");
/// Rate card and meters that every other preset starts with.
const RATES: &str = include_str!("../../../../examples/rates.toml");
const METERS: &str = include_str!("../../../../examples/meters.toml");

/// Writes the files into the current folder, all or none.
pub fn run(context: &Context, args: InitArgs) -> Result<Exit> {
    let preset = args.preset.unwrap_or(Preset::Saas);
    let written = write_files(Path::new("."), preset)?;
    for name in written {
        context.output.note(&format!("wrote {name}"));
    }
    context.output.note("next: edit them, then `apportion check`");
    Ok(Exit::Ok)
}

fn write_files(folder: &Path, preset: Preset) -> Result<Vec<&'static str>> {
    let policy = match preset {
        Preset::Saas => SAAS,
        Preset::Kubernetes => KUBERNETES,
        Preset::LogPlatform => LOG_PLATFORM,
        Preset::AgentWorkflows => AGENT_WORKFLOWS,
    };
    let config = match preset {
        Preset::Kubernetes => format!("{DEFAULT_TOML}{KUBERNETES_SOURCE}"),
        Preset::Saas => format!("{DEFAULT_TOML}{POSTGRES_SOURCE}"),
        Preset::AgentWorkflows => format!("{DEFAULT_TOML}{AGENT_ADAPTERS}"),
        Preset::LogPlatform => DEFAULT_TOML.to_owned(),
    };
    let (rates, meters) = match preset {
        Preset::AgentWorkflows => (AGENT_RATES, AGENT_METERS),
        Preset::Saas | Preset::Kubernetes | Preset::LogPlatform => (RATES, METERS),
    };
    let files = [("apportion.toml", &*config), ("policy.toml", policy), ("rates.toml", rates), ("meters.toml", meters)];
    let existing: Vec<&str> = files.iter().map(|(name, _)| *name).filter(|name| folder.join(name).exists()).collect();
    if !existing.is_empty() {
        let message = format!("{} exist already; nothing was written, move them away first", existing.join(", "));
        return Err(Failure::new(Exit::Conflict, message).into());
    }
    for (name, text) in files {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(files.map(|(name, _)| name).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::meter::read_meters;
    use domain::policy::Policy;
    use domain::rates::RateCard;

    #[test]
    fn every_example_policy_is_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the folder exists") {
            let path = entry.expect("readable").path();
            let text = std::fs::read_to_string(&path).expect("readable");
            Policy::read(&path.display().to_string(), &text).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
        assert!(seen >= 8, "only {seen} examples");
    }

    #[test]
    fn the_source_of_the_kubernetes_preset_is_valid_once_it_is_no_comment() {
        let text: String =
            KUBERNETES_SOURCE.lines().skip(4).map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
        let lines = text.lines().filter(|line| !line.starts_with("token_file")).collect::<Vec<_>>().join("\n");
        let config: crate::config::Config = toml::from_str(&lines).unwrap_or_else(|error| panic!("{error}\n{lines}"));
        let warnings = crate::sources::check_sources(&config, &domain::meter::builtin()).expect("valid");
        assert_eq!((warnings, config.sources.len()), (Vec::new(), 1));
        toml::from_str::<crate::config::Config>(&format!("{DEFAULT_TOML}{KUBERNETES_SOURCE}")).expect("a comment");
    }

    #[test]
    fn the_source_of_the_saas_preset_measures_every_field_once_it_is_no_comment() {
        let text: String =
            POSTGRES_SOURCE.lines().skip(5).map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
        let config: crate::config::Config = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let warnings = crate::sources::check_sources(&config, &domain::meter::builtin()).expect("valid");
        assert_eq!(warnings, Vec::<String>::new());
        let sources = crate::config::postgres_sources(&config).expect("valid");
        let measured: Vec<&str> = sources[0].metrics.iter().map(|metric| metric.name.as_str()).collect();
        let mut fields = domain::snapshot::FIELDS.map(|(name, _)| name);
        fields.sort_unstable();
        assert_eq!(measured, fields);
        toml::from_str::<crate::config::Config>(&format!("{DEFAULT_TOML}{POSTGRES_SOURCE}")).expect("a comment");
    }

    #[test]
    fn rates_and_meters_are_valid() {
        for (rates, meters) in [(RATES, METERS), (AGENT_RATES, AGENT_METERS)] {
            RateCard::read("rates.toml", rates).expect("valid rates");
            read_meters("meters.toml", meters).expect("valid meters");
        }
    }

    #[test]
    fn the_adapters_of_the_agents_preset_are_valid_once_they_are_no_comment() {
        let lines = AGENT_ADAPTERS.lines().skip(5).map(|line| format!("{}\n", line.trim_start_matches("# ")));
        let text: String = lines.filter(|line| line != "#\n").collect();
        let config: crate::config::Config = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        crate::config::adapter_rules(&config).expect("valid adapters");
        assert_eq!((config.ingest.adapters.len(), config.ingest.metrics.len()), (2, 1));
        let meters = read_meters("meters.toml", AGENT_METERS).expect("valid meters");
        crate::wiring::metric_map(&config).expect("valid metrics").check(&meters).expect("metrics that are counted");
        toml::from_str::<crate::config::Config>(&format!("{DEFAULT_TOML}{AGENT_ADAPTERS}")).expect("a comment");
    }

    #[test]
    fn every_direct_quantity_of_an_agent_has_a_price_and_cached_tokens_their_own() {
        let card = RateCard::read("rates.toml", AGENT_RATES).expect("valid rates");
        for meter in ["llm_tokens", "sandbox_seconds", "mcp_reads", "reviewer_minutes"] {
            assert!(card.prices.iter().any(|price| price.meter == meter), "{meter}");
        }
        let classes = |cache: &str| {
            card.prices.iter().filter(|price| price.labels.get("cache").is_some_and(|class| class == cache)).count()
        };
        assert_eq!((classes("read"), classes("write")), (2, 2));
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_written() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("rates.toml"), "mine").expect("written");
        let error = write_files(folder.path(), Preset::Kubernetes).expect_err("refused");
        assert!(error.to_string().starts_with("rates.toml exist already"));
        assert!(!folder.path().join("policy.toml").exists());
        std::fs::remove_file(folder.path().join("rates.toml")).expect("removed");
        assert_eq!(write_files(folder.path(), Preset::Kubernetes).expect("written").len(), 4);
    }

    #[test]
    fn the_agents_preset_has_rates_and_meters_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(write_files(folder.path(), Preset::AgentWorkflows).expect("written").len(), 4);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("readable");
        assert!(read("meters.toml").contains("llm_failed_calls") && read("rates.toml").contains("reviewer_minutes"));
        assert!(
            read("policy.toml").contains("until:vm.cooled") && read("apportion.toml").contains("# kind = \"litellm\"")
        );
    }
}
