//! Checks and generators of this repository: `cargo xtask tidy`, `cargo xtask openapi [--check]`, `cargo xtask docs`.
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

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = repository_root();
    match words.as_slice() {
        ["tidy"] => tidy::run(&root),
        ["openapi"] => openapi::write(&root),
        ["openapi", "--check"] => openapi::check(&root),
        _ => bail!("usage: cargo xtask tidy | openapi [--check]"),
    }
}

fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a folder of the repository").to_owned()
}
