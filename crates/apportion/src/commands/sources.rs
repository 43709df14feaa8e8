//! `sources`: where bills and usage are read from, and reading them now.

use super::Context;
use crate::cli::SourcesCommand;
use crate::client::{Call, percent_encode};
use crate::exit::Exit;
use anyhow::Result;

/// Runs `sources …`.
pub async fn run(context: &Context, command: SourcesCommand) -> Result<Exit> {
    let client = context.client().await?;
    let refresh = |name: &str| Call::post(format!("/sources/{}/refresh", percent_encode(name)));
    let call = match command {
        SourcesCommand::List => {
            let columns = ["name", "kind", "state", "last_success_at", "through", "rows", "progress", "last_error"];
            return context.print_list(&client, "/sources", Vec::new(), &columns).await;
        }
        SourcesCommand::Refresh { name, confirm } => {
            let confirm = confirm.then_some("true");
            refresh(&name).maybe("from", context.globals.from.as_deref()).maybe("confirm", confirm)
        }
        SourcesCommand::Test { name } => refresh(&name).query("dry_run", "true"),
    };
    let report = client.json(call).await?;
    for warning in report["warnings"].as_array().into_iter().flatten() {
        context.output.warn(warning.as_str().unwrap_or_default());
    }
    context.output.answer(&report, &[])?;
    let is_whole = report["rejected_total"].as_u64() == Some(0);
    Ok(if is_whole { Exit::Ok } else { Exit::Partial })
}
