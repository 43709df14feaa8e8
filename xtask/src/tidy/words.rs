//! What a crate never mentions: the cheapest way to see that a boundary has moved.

use super::source::{Source, lines_with};
use super::{Finding, source};

/// Words that must not stand in the shipped code of a crate.
const NEVER: &[(&str, &[&str])] = &[
    ("domain", &["tokio", "arrow", "sqlx", "axum", "datafusion", "std::fs", "std::net", "async"]),
    ("attribution", &["async", "await", "tokio", "arrow", "std::fs", "std::io", "std::net", "TenantScope", "serde"]),
    ("ledger", &["async", "await", "tokio", "arrow", "parquet", "sqlx", "deltalake_core", "object_store", "std::fs"]),
    ("storage", &["axum", "http", "utoipa", "reqwest", "attribution"]),
    ("metering", &["ledger", "attribution", "Focus", "axum", "utoipa"]),
    ("collectors", &["attribution", "ledger", "axum", "utoipa"]),
    ("engine", &["axum", "utoipa", "StatusCode", "reqwest", "sqlx"]),
    ("api", &["sqlx", "arrow", "datafusion", "parquet", "deltalake_core"]),
    ("ui", &["domain", "storage", "engine", "sqlx", "serde"]),
];

/// No float near money: not in code, not in tests of these crates.
const FLOATLESS: &[&str] = &["domain", "attribution", "ledger"];

/// Only the binary may look at the clock or the environment; everybody else is handed a value.
const AMBIENT: &[&str] = &[
    "std::env",
    "env::var",
    "env::vars",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Utc::now",
    "Local::now",
];
const MAY_BE_AMBIENT: &[&str] = &["apportion", "testkit", "xtask"];

/// Returns every banned word in one file, with its line.
pub fn check(source: &Source) -> Vec<Finding> {
    let Some(krate) = source.krate() else { return Vec::new() };
    let mut findings = Vec::new();
    for (_, words) in NEVER.iter().filter(|(name, _)| *name == krate) {
        for word in *words {
            report(&mut findings, source, &source.shipped, word, &format!("the crate {krate} never mentions"));
        }
    }
    if FLOATLESS.contains(&krate) {
        for word in ["f32", "f64"] {
            report(&mut findings, source, &source.code, word, "money and quantities are integers, so no");
        }
    }
    // A build script is told by cargo, through the environment, where to read and write.
    if !MAY_BE_AMBIENT.contains(&krate) && !source.path.ends_with("/build.rs") {
        for word in AMBIENT {
            report(&mut findings, source, &source.shipped, word, "take the clock or the setting as a parameter, not");
        }
    }
    for word in ["#[allow(", "#![allow("] {
        report(&mut findings, source, &source.code, word, "write `#[expect(lint, reason = …)]` instead of");
    }
    for word in ["todo!", "unimplemented!", "#[ignore"] {
        report(&mut findings, source, &source.code, word, "finish it or leave it out, but no");
    }
    findings
}

fn report(findings: &mut Vec<Finding>, source: &Source, view: &str, word: &str, why: &str) {
    for line in lines_with(view, word) {
        findings.push(format!("{}:{line}: {why} `{word}`", source.path));
    }
}

/// Returns every statement that would change or remove entries of the ledger, in Rust strings and in SQL files.
pub fn check_ledger_is_append_only(path: &str, text: &str) -> Vec<Finding> {
    let in_code = path.ends_with(".rs") || path.ends_with(".sql") || path.ends_with(".slt");
    if !in_code || source::crate_of(path) == Some("xtask") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<String> = line
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let changes = words.windows(2).any(|pair| matches!(pair, ["update" | "truncate", "ledger"]))
            || words.windows(3).any(|three| {
                matches!(three, ["delete", "from", "ledger"] | ["merge" | "overwrite", "into", "ledger"])
                    || matches!(three, ["insert", "overwrite", "ledger"] | ["truncate", "table", "ledger"])
            });
        if changes {
            findings.push(format!("{path}:{}: the ledger is append-only; post a difference instead", index + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(krate: &str, code: &str) -> Vec<Finding> {
        check(&Source::new(&format!("crates/{krate}/src/x.rs"), code))
    }

    #[test]
    fn every_word_of_the_table_is_found_in_its_crate() {
        for (krate, words) in NEVER {
            for word in *words {
                let found = findings(krate, &format!("fn a() {{ {word} }}"));
                assert_eq!(1, found.len(), "{krate}: {word}: {found:?}");
            }
        }
    }

    #[test]
    fn words_in_comments_strings_and_tests_are_fine() {
        let text = "// arrow\nconst A: &str = \"arrow\";\n#[cfg(test)]\nmod tests { use arrow; }";
        assert_eq!(Vec::<Finding>::new(), findings("domain", text));
        assert_eq!(Vec::<Finding>::new(), findings("storage", "use arrow::array::Array;"));
    }

    #[test]
    fn floats_are_found_in_tests_too() {
        for krate in FLOATLESS {
            assert_eq!(1, findings(krate, "#[cfg(test)]\nmod tests { fn a(_: f64) {} }").len());
        }
        assert_eq!(Vec::<Finding>::new(), findings("engine", "fn a(_: f64) {}"));
    }

    #[test]
    fn the_clock_and_the_environment_are_found_below_the_binary() {
        for word in AMBIENT {
            assert!(!findings("engine", &format!("let a = {word}(\"x\");")).is_empty(), "{word}");
            assert!(findings("apportion", &format!("let a = {word}(\"x\");")).is_empty(), "{word}");
        }
        assert_eq!(Vec::<Finding>::new(), findings("domain", "let a = env!(\"CARGO_PKG_VERSION\");"));
        let build_script = Source::new("crates/ui/build.rs", "let a = std::env::var_os(\"OUT_DIR\");");
        assert_eq!(Vec::<Finding>::new(), check(&build_script));
    }

    #[test]
    fn silenced_lints_and_unfinished_code_are_found() {
        for code in
            ["#[allow(dead_code)]", "#![allow(dead_code)]", "todo!()", "unimplemented!()", "#[ignore = \"slow\"]"]
        {
            assert_eq!(1, findings("engine", code).len(), "{code}");
        }
        assert_eq!(Vec::<Finding>::new(), findings("engine", "#[expect(dead_code, reason = \"…\")]"));
    }

    #[test]
    fn statements_that_change_the_ledger_are_found() {
        for bad in [
            "\"UPDATE ledger SET amount = 0\"",
            "delete from ledger where posting = 1;",
            "TRUNCATE TABLE ledger;",
            "MERGE INTO ledger USING x",
            "INSERT OVERWRITE ledger SELECT 1",
        ] {
            assert_eq!(1, check_ledger_is_append_only("crates/engine/src/x.rs", bad).len(), "{bad}");
        }
        for good in
            ["SELECT sum(amount) FROM ledger", "DELETE FROM leases", "// update ledger_cache", "insert into ledger"]
        {
            assert_eq!(0, check_ledger_is_append_only("migrations/1.sql", good).len(), "{good}");
        }
    }
}
