//! `tokens`: who may ask.

use super::Context;
use crate::cli::TokensCommand;
use crate::client::{Call, percent_encode};
use crate::exit::Exit;
use anyhow::Result;
use serde_json::json;

/// Runs `tokens …`.
pub async fn run(context: &Context, command: TokensCommand) -> Result<Exit> {
    let client = context.client().await?;
    match command {
        TokensCommand::List => context.print_list(&client, "/tokens", Vec::new(), &[]).await,
        TokensCommand::Create { role, name, tenants, scopes, expires } => {
            let mut body = json!({ "role": role });
            if let Some(name) = name {
                body["name"] = json!(name);
            }
            if !tenants.is_empty() {
                body["tenants"] = json!(tenants);
            }
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            if let Some(expires) = expires {
                body["expires_at"] = json!(expires);
            }
            let exit = context.print(&client, Call::post("/tokens").json(&body), &[]).await?;
            context.output.note("the token is shown this once");
            Ok(exit)
        }
        TokensCommand::Revoke { id } => {
            client.json(Call::delete(format!("/tokens/{}", percent_encode(&id)))).await?;
            context.output.note(&format!("revoked {id}"));
            Ok(Exit::Ok)
        }
    }
}
