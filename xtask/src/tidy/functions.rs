//! No function is longer than a screen: what it does must be seen at once.

use super::{Finding, source::Source};

const FUNCTION_LINES_MAX: usize = 70;

/// Returns the functions of the shipped code that are too long, signature and braces included.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, _) in source.shipped.match_indices("fn ") {
        let is_word = source.shipped[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == '(');
        let Some(body) = source.shipped[at..].find(['{', ';']).filter(|_| is_word) else { continue };
        if source.shipped[at + body..].starts_with(';') {
            continue; // a declaration in a trait
        }
        let lines = source.shipped[at..end_of_block(&source.shipped, at + body)].lines().count();
        if FUNCTION_LINES_MAX < lines {
            let name: String =
                source.shipped[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let line = source.shipped[..at].matches('\n').count() + 1;
            findings.push(format!(
                "{}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}; give its parts names",
                source.path
            ));
        }
    }
    findings
}

/// Index behind the brace that closes the one at `open`.
fn end_of_block(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Vec<Finding> {
        check(&Source::new("crates/a/src/x.rs", text))
    }

    #[test]
    fn a_function_longer_than_a_screen_is_found() {
        let of_lines = |lines: usize| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        assert_eq!(Vec::<Finding>::new(), check_text(&of_lines(70)));
        let found = check_text(&format!("fn short() {{}}\ntrait T {{ fn none(&self); }}\npub {}", of_lines(71)));
        assert_eq!(1, found.len());
        assert!(found[0].contains("x.rs:3: `long` has 71 lines"), "{found:?}");
        assert_eq!(Vec::<Finding>::new(), check_text(&format!("#[cfg(test)]\nmod tests {{ {} }}", of_lines(90))));
    }
}
