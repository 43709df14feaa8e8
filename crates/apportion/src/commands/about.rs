//! `openapi`, `completion`, `version`: they need neither configuration nor store.

use super::Context;
use crate::cli::{Cli, Format};
use crate::exit::Exit;
use anyhow::Result;
use clap::CommandFactory as _;
use serde_json::json;

/// Prints the OpenAPI document.
pub fn openapi(context: &Context) -> Result<Exit> {
    context.output.text(&crate::wiring::openapi_json())?;
    Ok(Exit::Ok)
}

/// Prints a completion script.
pub fn completion(context: &Context, shell: clap_complete::Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::later::add_to(Cli::command()), "apportion", &mut script);
    context.output.text(&String::from_utf8(script)?)?;
    Ok(Exit::Ok)
}

/// Prints the version.
pub fn version(context: &Context) -> Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if context.output.format == Format::Table {
        context.output.text(&format!("apportion {version}"))?;
    } else {
        context.output.answer(&json!({ "name": "apportion", "version": version }), &[])?;
    }
    Ok(Exit::Ok)
}
