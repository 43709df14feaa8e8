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
/// What the preset `kubernetes` adds to the configuration, as a comment.
const KUBERNETES_SOURCE: &str = include_str!("../../../../examples/sources/kubernetes.toml");
/// What the preset `saas` adds to the configuration, as a comment.
const POSTGRES_SOURCE: &str = include_str!("../../../../examples/sources/postgres.toml");
/// Rate card and meters that every preset starts with.
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
        Preset::AgentWorkflows => return Err(Failure::not_available("the preset `agent-workflows`").into()),
    };
    let config = match preset {
        Preset::Kubernetes => format!("{DEFAULT_TOML}{KUBERNETES_SOURCE}"),
        Preset::Saas => format!("{DEFAULT_TOML}{POSTGRES_SOURCE}"),
        Preset::LogPlatform | Preset::AgentWorkflows => DEFAULT_TOML.to_owned(),
    };
    let files = [("apportion.toml", &*config), ("policy.toml", policy), ("rates.toml", RATES), ("meters.toml", METERS)];
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
        assert!(seen >= 7, "only {seen} examples");
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
        RateCard::read("rates.toml", RATES).expect("valid rates");
        read_meters("meters.toml", METERS).expect("valid meters");
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
    fn a_later_preset_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = write_files(folder.path(), Preset::AgentWorkflows).expect_err("refused");
        assert!(error.to_string().starts_with("not_available"));
    }
}
