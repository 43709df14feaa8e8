//! `observability`: what Grafana and Prometheus need. No store is opened.

use super::Context;
use crate::cli::{ObservabilityCommand, ObservabilityExport};
use crate::exit::Exit;
use crate::observability::{DASHBOARD, rules, scrape};
use anyhow::Result;

/// Runs `observability …`.
pub fn run(context: &Context, command: ObservabilityCommand) -> Result<Exit> {
    let ObservabilityCommand::Export(what) = command;
    let text = match what {
        ObservabilityExport::Grafana => DASHBOARD.to_owned(),
        ObservabilityExport::Rules(args) => rules(&args.runbooks),
        ObservabilityExport::Scrape => scrape(&context.config()?.config),
    };
    context.output.text(&text)?;
    Ok(Exit::Ok)
}
