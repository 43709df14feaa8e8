//! `observability`: what Grafana and Prometheus need. No store is opened.

use super::Context;
use crate::cli::{ObservabilityCommand, ObservabilityExport};
use crate::exit::{Exit, Failure};
use crate::observability::{DASHBOARD, rules, scrape};
use anyhow::Result;

/// Runs `observability …`.
pub fn run(context: &Context, command: ObservabilityCommand) -> Result<Exit> {
    let ObservabilityCommand::Export(what) = command;
    let text = match what {
        ObservabilityExport::Grafana => DASHBOARD.to_owned(),
        ObservabilityExport::Rules(args) => rules(&args.runbooks),
        ObservabilityExport::Scrape => scrape(&context.config()?.config).ok_or_else(nothing_to_scrape)?,
    };
    context.output.text(&text)?;
    Ok(Exit::Ok)
}

fn nothing_to_scrape() -> Failure {
    let message =
        "`server.exporter_listen` is \"off\", so nothing can be scraped; give it an address, such as 127.0.0.1:9210";
    Failure::new(Exit::Conflict, message)
}
