//! `fixed-costs`: recurring and manual costs.

use super::Context;
use crate::cli::{FixedCostArgs, FixedCostsCommand};
use crate::client::{Call, percent_encode};
use crate::exit::{Exit, Failure};
use anyhow::Result;
use serde_json::{Map, Value};

/// Runs `fixed-costs …`.
pub async fn run(context: &Context, command: FixedCostsCommand) -> Result<Exit> {
    match command {
        FixedCostsCommand::Add(args) => {
            let body = body_of(context, args)?;
            let client = context.client().await?;
            context.print(&client, Call::post("/fixed-costs").json(&body), &[]).await
        }
        FixedCostsCommand::List => {
            let client = context.client().await?;
            context.print_list(&client, "/fixed-costs", Vec::new(), &[]).await
        }
        FixedCostsCommand::Rm { id } => {
            let client = context.client().await?;
            client.json(Call::delete(format!("/fixed-costs/{}", percent_encode(&id)))).await?;
            context.output.note(&format!("removed {id}"));
            Ok(Exit::Ok)
        }
    }
}

fn body_of(context: &Context, args: FixedCostArgs) -> Result<Value> {
    let Some(from) = context.globals.from.clone() else {
        return Err(Failure::new(Exit::Usage, "say since when: --from 2026-01-01").into());
    };
    let given = [
        ("provider", Some(args.provider)),
        ("service", args.service),
        ("amount", Some(args.amount)),
        ("currency", Some(args.currency)),
        ("per", Some(args.per)),
        ("from", Some(from)),
        ("to", context.globals.to.clone()),
        ("source", args.source),
        ("description", args.description),
    ];
    let members = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
    let mut body: Map<String, Value> = members.collect();
    if !args.tags.is_empty() {
        body.insert("tags".to_owned(), args.tags.into_iter().map(|(key, value)| (key, Value::String(value))).collect());
    }
    Ok(Value::Object(body))
}
