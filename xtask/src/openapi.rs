//! `openapi.json` is generated from the handlers and committed, so that a change of the API shows in a review.

use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const FILE: &str = "openapi.json";

/// Writes the document anew.
pub fn write(root: &Path) -> Result<()> {
    std::fs::write(root.join(FILE), generate(root)?).context("cannot write openapi.json")?;
    println!("wrote {FILE}");
    Ok(())
}

/// Fails, naming the first line that differs, when the committed document is not what the code says.
pub fn check(root: &Path) -> Result<()> {
    let committed = std::fs::read_to_string(root.join(FILE)).context("openapi.json is missing; run `make openapi`")?;
    let generated = generate(root)?;
    if let Some(difference) = first_difference(&committed, &generated) {
        bail!("{FILE} is out of date, run `make openapi`; first difference: {difference}");
    }
    println!("{FILE} matches the code");
    Ok(())
}

/// Asks the binary itself: `APPORTION_BIN` if the caller has just built it, otherwise cargo builds it.
fn generate(root: &Path) -> Result<String> {
    let mut command = if let Some(binary) = std::env::var_os("APPORTION_BIN") {
        Command::new(binary)
    } else {
        let mut cargo = Command::new("cargo");
        cargo.args(["run", "--quiet", "--locked", "--package", "apportion", "--"]);
        cargo
    };
    let output = command.arg("openapi").current_dir(root).output().context("cannot run `apportion openapi`")?;
    ensure!(output.status.success(), "`apportion openapi` failed: {}", String::from_utf8_lossy(&output.stderr));
    pretty(&String::from_utf8(output.stdout)?)
}

/// Two spaces and a final newline, whatever the command printed: the file is for people to read.
fn pretty(text: &str) -> Result<String> {
    let document: serde_json::Value = serde_json::from_str(text).context("`apportion openapi` printed no JSON")?;
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn first_difference(committed: &str, generated: &str) -> Option<String> {
    let mut old = committed.lines();
    let mut new = generated.lines();
    let mut line_no = 0;
    loop {
        line_no += 1;
        match (old.next(), new.next()) {
            (None, None) => return None,
            (left, right) if left == right => {}
            (left, right) => {
                let (left, right) = (left.unwrap_or("(end)"), right.unwrap_or("(end)"));
                return Some(format!("line {line_no}: committed `{}`, generated `{}`", left.trim(), right.trim()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_differing_line_is_named() {
        assert_eq!(None, first_difference("a\nb\n", "a\nb\n"));
        let found = first_difference("a\nb\n", "a\nc\n").unwrap();
        assert_eq!("line 2: committed `b`, generated `c`", found);
        assert!(first_difference("a\n", "a\nb\n").unwrap().contains("committed `(end)`"));
    }

    #[test]
    fn key_order_is_kept_and_layout_is_fixed() {
        assert_eq!("{\n  \"b\": 1,\n  \"a\": 2\n}\n", pretty("{\"b\":1,\"a\":2}").unwrap());
        assert!(pretty("usage: …").is_err());
    }
}
