//! `tenants`: who can be charged.

use super::Context;
use crate::cli::{TenantArgs, TenantsCommand};
use crate::client::{Call, percent_encode};
use crate::exit::Exit;
use anyhow::Result;
use serde_json::{Map, Value, json};

/// Runs `tenants …`.
pub async fn run(context: &Context, command: TenantsCommand) -> Result<Exit> {
    let client = context.client().await?;
    match command {
        TenantsCommand::List => context.print_list(&client, "/tenants", Vec::new(), &[]).await,
        TenantsCommand::Show { id } => context.print(&client, Call::get(path_of(&id)), &[]).await,
        TenantsCommand::Set(args) => {
            let call = Call::put(path_of(&args.id)).json(&body_of(args));
            context.print(&client, call, &[]).await
        }
    }
}

fn path_of(id: &str) -> String {
    format!("/tenants/{}", percent_encode(id))
}

fn body_of(args: TenantArgs) -> Value {
    let given = [
        ("name", args.name),
        ("slug", args.slug),
        ("plan", args.plan),
        ("status", args.status),
        ("parent", args.parent),
        ("cost_center", args.cost_center),
        ("gl_account", args.gl_account),
        ("billing_mode", args.billing_mode),
        ("merged_into", args.merged_into),
        ("valid_from", args.valid_from),
        ("valid_to", args.valid_to),
    ];
    let mut body: Map<String, Value> =
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect();
    for (name, values) in [("aliases", args.aliases), ("owners", args.owners)] {
        if !values.is_empty() {
            body.insert(name.to_owned(), json!(values));
        }
    }
    Value::Object(body)
}
