//! `period`: billing months, and the billing periods of sources.

use super::Context;
use super::attribute::exit_of_run;
use crate::cli::PeriodCommand;
use crate::client::{Call, percent_encode};
use crate::exit::Exit;
use anyhow::Result;
use serde_json::json;
use std::path::Path;

/// Columns of a table of months; JSON has everything.
const MONTHS: [&str; 7] = ["month", "state", "closes", "is_next", "posting", "changed_at", "changed_by"];

/// Runs `period …`.
pub async fn run(context: &Context, command: PeriodCommand) -> Result<Exit> {
    match command {
        PeriodCommand::List => {
            let client = context.client().await?;
            context.print_list(&client, "/periods", Vec::new(), &MONTHS).await
        }
        PeriodCommand::Close { month, force, reason } => {
            let client = context.client().await?;
            let body = json!({ "force": force, "reason": reason });
            context.print(&client, Call::post(path_of(&month, "close")).json(&body), &[]).await
        }
        PeriodCommand::Reopen { month, reason } => {
            let client = context.client().await?;
            context.print(&client, Call::post(path_of(&month, "reopen")).json(&json!({ "reason": reason })), &[]).await
        }
        PeriodCommand::Sweep => sweep(context).await,
        PeriodCommand::Sources => {
            let client = context.client().await?;
            context.print_list(&client, "/source-periods", Vec::new(), &[]).await
        }
        PeriodCommand::Source { source, file: Some(file), .. } => import(context, &source, &file).await,
        PeriodCommand::Source { source, month, state, account, note, file: None } => {
            let client = context.client().await?;
            let said = json!([{
                "source": source,
                "billing_account": account,
                "billing_period": month,
                "state": state,
                "note": note,
            }]);
            context.print(&client, Call::put("/source-periods").json(&said), &[]).await
        }
    }
}

fn path_of(month: &str, what: &str) -> String {
    format!("/periods/{}/{what}", percent_encode(month))
}

async fn sweep(context: &Context) -> Result<Exit> {
    let client = context.client_with_files().await?;
    let answer = client.json(Call::post("/periods/sweep")).await?;
    context.output.answer(&answer, &[])?;
    exit_of_run(&answer)
}

async fn import(context: &Context, source: &str, file: &Path) -> Result<Exit> {
    let (body, bar) = super::import::body_of(file, context.output.shows_progress()).await?;
    let client = context.client().await?;
    let call = Call::put("/source-periods").query("source", source).body("text/csv", body);
    let answer = client.json(call).await?;
    bar.finish_and_clear();
    context.output.answer(&answer, &[])?;
    Ok(Exit::Ok)
}
