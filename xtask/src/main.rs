//! Checks and generators of this repository: `cargo xtask tidy` and `cargo xtask openapi [--check]`.
//!
//! Owns: rules about the tree itself, such as layers, banned words, headers and generated files.
//! Never: anything the product does at run time; no crate of the product is linked here.
//! Start reading at [`tidy`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on stdout and stderr")]

/// Writes `openapi.json` from the code, or says that it differs.
mod openapi;
/// Structural rules, each with its own file and its own bad samples.
mod tidy;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<()> {
    let root = repository_root();
    match words {
        ["tidy"] => tidy::run(&root),
        ["openapi"] => openapi::write(&root),
        ["openapi", "--check"] => openapi::check(&root),
        _ => bail!("usage: cargo xtask tidy | openapi [--check]"),
    }
}

fn repository_root() -> PathBuf {
    // At run time, because checkouts share one target folder: the folder it was compiled in may be another checkout.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().expect("xtask lies in a folder of the repository").to_owned()
}
