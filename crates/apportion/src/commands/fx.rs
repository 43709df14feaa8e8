//! `fx`: rates of exchange.

use super::Context;
use crate::cli::FxCommand;
use crate::client::Call;
use crate::exit::Exit;
use anyhow::Result;

/// Runs `fx …`.
pub async fn run(context: &Context, command: FxCommand) -> Result<Exit> {
    match command {
        FxCommand::Import { path } => {
            let is_json = path.extension().is_some_and(|extension| extension == "json");
            let (body, bar) = super::import::body_of(&path, context.output.shows_progress()).await?;
            let client = context.client().await?;
            let content_type = if is_json { "application/json" } else { "text/csv" };
            let answer = client.json(Call::put("/fx-rates").body(content_type, body)).await?;
            bar.finish_and_clear();
            context.output.answer(&answer, &[])?;
            Ok(Exit::Ok)
        }
        FxCommand::List => {
            let client = context.client().await?;
            context.print_list(&client, "/fx-rates", context.days(), &[]).await
        }
    }
}
