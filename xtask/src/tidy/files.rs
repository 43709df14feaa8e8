//! Rules about files as a whole: what must exist, how long one may be, and what none may say.

use super::{Finding, source};

/// A newcomer's way in, and what CI needs.
const REQUIRED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    ".ci/run",
    "Cargo.lock",
    "deny.toml",
    "clippy.toml",
    "rustfmt.toml",
    "openapi.json",
    "docs/method.md",
    "docs/glossary.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/api-design.md",
    "docs/ledger-format.md",
];

const LINES_MAX: usize = 600;
/// A longer file says why within its first lines, in these words.
const LONG_FILE_REASON: &str = "Longer than 600 lines because";
const REASON_WITHIN_LINES: usize = 20;

/// Returns what is wrong with one file by itself.
pub fn check_text(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_source = [".rs", ".py", ".sh", ".sql"].iter().any(|ending| path.ends_with(ending));
    let lines = text.lines().count();
    let has_reason = text.lines().take(REASON_WITHIN_LINES).any(|line| line.contains(LONG_FILE_REASON));
    if is_source && LINES_MAX < lines && !has_reason {
        findings.push(format!("{path}: {lines} lines; split it, or say at the top `{LONG_FILE_REASON} …`"));
    }
    if path.ends_with(".lock") || path.ends_with(".csv") {
        return findings;
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(folder) = machine_path(path, line) {
            findings.push(format!("{path}:{}: a path of one machine (`{folder}`)", index + 1));
        }
    }
    findings
}

/// Returns the folder when a line names a place that exists on somebody's machine only.
fn machine_path(path: &str, line: &str) -> Option<String> {
    // Put together here, so that this file does not break its own rule.
    let everywhere = ["work", "farm", "root"].map(|name| format!("/{name}/"));
    let shipped_code = path.ends_with(".rs") && path.contains("/src/") && !source::is_test_path(path);
    let in_code = shipped_code.then(|| format!("\"/{}", "tmp"));
    everywhere.into_iter().chain(in_code).find(|folder| {
        line.match_indices(folder.as_str()).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '>'))
        })
    })
}

/// Returns required files that are missing, crates that the README does not list, and a CI that tests something else.
pub fn check_root<'a>(texts: &[(String, String)], crates: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let text_of = |wanted: &str| texts.iter().find(|(path, _)| path == wanted).map(|(_, text)| text.as_str());
    let mut findings = Vec::new();
    for required in REQUIRED {
        if text_of(required).is_none() {
            findings.push(format!("{required} is missing"));
        }
    }
    let map = text_of("README.md").and_then(|text| text.split_once("## Where things are")).map_or("", |(_, map)| map);
    for name in crates {
        let place = if name == "xtask" { "`xtask`".to_owned() } else { format!("`crates/{name}`") };
        if !map.contains(&place) {
            findings.push(format!("README.md: \"Where things are\" does not list {place}"));
        }
    }
    if !text_of(".ci/run").is_some_and(|text| text.contains("make test")) {
        findings.push(".ci/run: CI must run `make test`, the command people run".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "let a = 1;\n".repeat(601);
        assert_eq!(1, check_text("crates/a/src/x.rs", &long).len());
        assert_eq!(0, check_text("docs/x.md", &long).len());
        assert_eq!(0, check_text("crates/a/src/x.rs", &"a\n".repeat(600)).len());
        assert_eq!(0, check_text("crates/a/src/x.rs", &format!("//! {LONG_FILE_REASON} of x.\n{long}")).len());
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let bad = ["work", "farm", "root"].map(|name| format!("see `/{name}/x`"));
        for line in &bad {
            assert_eq!(1, check_text("docs/x.md", line).len(), "{line}");
        }
        for good in ["crates/work/x", "https://example.org/farm/x", "$HOME/root/x"] {
            assert_eq!(0, check_text("docs/x.md", good).len(), "{good}");
        }
        let scratch = format!("open(\"/{}/x\")", "tmp");
        assert_eq!(1, check_text("crates/a/src/x.rs", &scratch).len());
        assert_eq!(0, check_text("crates/a/tests/x.rs", &scratch).len());
    }

    fn complete_root() -> Vec<(String, String)> {
        let mut texts: Vec<(String, String)> =
            REQUIRED.iter().map(|path| ((*path).to_owned(), "make test".to_owned())).collect();
        texts[0].1 = "# A\n## Where things are\n- `crates/domain`\n- `xtask`\n".to_owned();
        texts
    }

    #[test]
    fn a_complete_root_passes_and_each_gap_is_found() {
        let check = |texts: &[(String, String)]| check_root(texts, ["domain", "xtask"].into_iter());
        assert_eq!(Vec::<Finding>::new(), check(&complete_root()));
        for index in 0..REQUIRED.len() {
            let mut texts = complete_root();
            let (path, _) = texts.remove(index);
            assert!(check(&texts).iter().any(|finding| finding.contains(&format!("{path} is missing"))), "{path}");
        }
        assert_eq!(1, check_root(&complete_root(), ["engine"].into_iter()).len());
        let mut texts = complete_root();
        texts.iter_mut().filter(|(path, _)| path == ".ci/run").for_each(|(_, text)| *text = "cargo test".to_owned());
        assert_eq!(1, check(&texts).len());
    }
}
