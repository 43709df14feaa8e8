//! `config show`: every key, its value and where it came from.

use super::Context;
use crate::cli::ConfigCommand;
use crate::exit::Exit;
use anyhow::Result;
use serde_json::{Value, json};

/// Prints the configuration; secrets are hidden.
pub fn run(context: &Context, command: ConfigCommand) -> Result<Exit> {
    let ConfigCommand::Show { origin } = command;
    let rows = context.config()?.shown().into_iter().map(|shown| {
        let mut row = json!({ "key": shown.key, "value": shown.value });
        if origin {
            row["origin"] = json!(shown.origin);
        }
        row
    });
    context.output.answer(&json!({ "rows": rows.collect::<Vec<Value>>() }), &[])?;
    Ok(Exit::Ok)
}
