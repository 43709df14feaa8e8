//! `meters`: how events become quantities.

use super::Context;
use crate::cli::MetersCommand;
use crate::client::{Call, percent_encode};
use crate::exit::Exit;
use anyhow::Result;

/// Runs `meters …`.
pub async fn run(context: &Context, command: MetersCommand) -> Result<Exit> {
    let client = context.client().await?;
    match command {
        MetersCommand::List => {
            let columns = ["name", "unit", "category", "kind", "aggregation", "event_type"];
            context.print_list(&client, "/meters", Vec::new(), &columns).await
        }
        MetersCommand::Show { name } => {
            context.print(&client, Call::get(format!("/meters/{}", percent_encode(&name))), &[]).await
        }
        MetersCommand::Backfill { name, from } => {
            let call = Call::post(format!("/meters/{}/backfill", percent_encode(&name))).query("from", from);
            let columns = ["meter", "from", "through", "events", "skipped", "rows", "days_touched"];
            context.print(&client, call, &columns).await
        }
    }
}
