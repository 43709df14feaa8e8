//! `cargo xtask tidy`: rules that the compiler and clippy cannot see. All findings are printed, then it fails.

/// Configuration keys in the default file and in the docs.
mod config_docs;
/// Files at the root, the README's map, length, machine paths.
mod files;
/// How long a function may be.
mod functions;
/// How `lib.rs` opens and that every module line says what it is for.
mod headers;
/// Which crate may use which.
mod layers;
/// Names of schemas in the OpenAPI document.
mod schemas;
/// Rust source without comments, strings or tests, so that a rule sees code only.
mod source;
/// Words a crate never mentions.
mod words;

use anyhow::{Context, Result, bail, ensure};
use source::Source;
use std::path::Path;
use std::process::Command;

/// One broken rule: where, and what to do about it.
type Finding = String;

/// Runs every rule over all files that git tracks or would track.
pub fn run(root: &Path) -> Result<()> {
    let paths = tracked_files(root)?;
    ensure!(!paths.is_empty(), "git lists no files: `tidy` must run inside the repository");
    let mut sources = Vec::new();
    let mut texts = Vec::new();
    for path in paths {
        // A binary file or a file deleted but still tracked has no text; no rule is about it.
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        if path.ends_with(".rs") {
            sources.push(Source::new(&path, &text));
        }
        texts.push((path, text));
    }
    let manifests = layers::read_manifests(&texts)?;

    let mut findings = layers::check(&manifests);
    for source in &sources {
        findings.extend(words::check(source));
        findings.extend(headers::check(source));
        findings.extend(functions::check(source));
    }
    for (path, text) in &texts {
        findings.extend(words::check_ledger_is_append_only(path, text));
        findings.extend(files::check_text(path, text));
    }
    findings.extend(files::check_root(&texts, manifests.keys().map(String::as_str)));

    findings.extend(config_docs::check(&texts));
    findings.extend(schemas::check(&sources));

    println!("tidy: {} files, {} crates, {} findings", texts.len(), manifests.len(), findings.len());
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("{} rules are broken", findings.len())
}

fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
