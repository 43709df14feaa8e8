//! A reader opens `lib.rs` first: it says what the crate owns, what it never does and where to go next.

use super::{Finding, source::Source};

const HEADER_LINES_MAX: usize = 15;

/// Returns what is missing at the top of a `lib.rs` and above its module lines; nothing for other files.
pub fn check(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with("src/lib.rs") {
        return Vec::new();
    }
    let path = &source.path;
    let header: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let mut findings = Vec::new();
    for word in ["Owns:", "Never:", "Start reading at"] {
        if !header.iter().any(|line| line.contains(word)) {
            findings.push(format!("{path}: the header lacks a line with `{word}`"));
        }
    }
    if HEADER_LINES_MAX < header.len() {
        findings.push(format!("{path}: the header has {} lines, at most {HEADER_LINES_MAX}", header.len()));
    }
    findings.extend(undocumented_modules(source));
    findings
}

fn undocumented_modules(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let shipped: Vec<&str> = source.shipped.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let is_module = is_module_line(line) && shipped.get(index).is_some_and(|code| is_module_line(code));
        let above = lines[..index].iter().rev().find(|line| !line.trim_start().starts_with("#["));
        if is_module && !above.is_some_and(|line| line.trim_start().starts_with("///")) {
            findings.push(format!("{}:{}: `{}` has no line of documentation", source.path, index + 1, line.trim()));
        }
    }
    findings
}

fn is_module_line(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(words.as_slice(), ["mod", _, ..] | ["pub" | "pub(crate)", "mod", _, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "//! Splits.\n//!\n//! Owns: a.\n//! Never: b.\n//! Start reading at [`c`].\n\n/// C.\npub mod c;\n";

    fn check_text(text: &str) -> Vec<Finding> {
        check(&Source::new("crates/domain/src/lib.rs", text))
    }

    #[test]
    fn a_full_header_and_documented_modules_pass() {
        assert_eq!(Vec::<Finding>::new(), check_text(GOOD));
        assert_eq!(Vec::<Finding>::new(), check_text(&format!("{GOOD}#[cfg(test)]\nmod tests;\n")));
        assert_eq!(Vec::<Finding>::new(), check_text(&GOOD.replace("pub mod", "#[macro_use]\npub mod")));
    }

    #[test]
    fn each_gap_is_found() {
        for (bad, what) in [
            (GOOD.replace("Owns:", "Has:"), "Owns:"),
            (GOOD.replace("Never:", "Not:"), "Never:"),
            (GOOD.replace("Start reading", "Go"), "Start reading at"),
            (GOOD.replace("/// C.\n", ""), "no line of documentation"),
            (format!("{}{GOOD}", "//! x\n".repeat(12)), "at most 15"),
        ] {
            let findings = check_text(&bad);
            assert_eq!(1, findings.len(), "{findings:?}");
            assert!(findings[0].contains(what), "{findings:?}");
        }
    }

    #[test]
    fn other_files_need_no_header() {
        assert_eq!(Vec::<Finding>::new(), check(&Source::new("crates/domain/src/money.rs", "mod a;")));
    }
}
