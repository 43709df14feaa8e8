//! `observability …`: what Grafana and Prometheus need.

use crate::observability::RUNBOOKS_DEFAULT;
use clap::{Args, Subcommand};

/// `observability …`.
#[derive(Debug, Subcommand)]
pub enum ObservabilityCommand {
    /// Print what another program needs
    #[command(subcommand)]
    Export(ObservabilityExport),
}

/// `observability export …`.
#[derive(Debug, Subcommand)]
pub enum ObservabilityExport {
    /// The Grafana dashboard "Costs", as JSON
    Grafana,
    /// Alerts of Prometheus, as YAML
    Rules(RulesArgs),
    /// The scrape job of Prometheus, as YAML
    Scrape,
}

/// Flags of `observability export rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// Where people read what to do about an alert: the page to which its name is added
    #[arg(long, value_name = "URL", default_value = RUNBOOKS_DEFAULT)]
    pub runbooks: String,
}
