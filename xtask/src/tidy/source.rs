//! A Rust file seen three ways: as written, as code only, and as code that ships.
//!
//! A small scanner is enough: rules look for words, so it only has to know where comments, strings and
//! `#[cfg(test)]` items begin and end. What is cut is replaced by spaces, so line numbers stay true.

/// One Rust file of the repository.
pub struct Source {
    pub path: String,
    pub text: String,
    /// `text` without comments and without the inside of strings and characters.
    pub code: String,
    /// `code` without `#[cfg(test)]` items; empty for a file that is a test.
    pub shipped: String,
}

impl Source {
    /// Returns the three views of `text`.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_strings(text);
        let shipped = if is_test_path(path) { String::new() } else { blank_tests(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// Returns the crate's folder name: `domain` for `crates/domain/src/money.rs`.
    pub fn krate(&self) -> Option<&str> {
        crate_of(&self.path)
    }
}

/// Returns the crate a path belongs to, `None` outside `crates/` and `xtask/`.
pub fn crate_of(path: &str) -> Option<&str> {
    if path.starts_with("xtask/") {
        return Some("xtask");
    }
    path.strip_prefix("crates/")?.split_once('/').map(|(name, _)| name)
}

/// Returns whether a file holds tests, examples or benchmarks only.
pub fn is_test_path(path: &str) -> bool {
    let in_test_folder = ["/tests/", "/benches/", "/examples/"].iter().any(|folder| path.contains(folder));
    in_test_folder || path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.starts_with("tests/")
}

/// Returns the line numbers (from 1) on which `word` stands as a whole word.
pub fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (word.chars().next(), word.chars().last());
    let mut lines = Vec::new();
    for (at, _) in code.match_indices(word) {
        let glued_before = joined(first) && joined(code[..at].chars().next_back());
        let glued_after = joined(last) && joined(code[at + word.len()..].chars().next());
        let line = code[..at].matches('\n').count() + 1;
        if !glued_before && !glued_after && lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => find(&chars, at, |rest| rest[0] == '\n'),
            ('/', Some('*')) => end_of_block_comment(&chars, at),
            ('"', _) => end_of_string(&chars, at),
            ('r', Some('"' | '#')) if !is_part_of_word(&chars, at) => end_of_raw_string(&chars, at),
            ('\'', _) => end_of_character(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn is_part_of_word(chars: &[char], at: usize) -> bool {
    // `br"…"` is a raw string too; any other letter before the `r` makes it an identifier.
    let before = at.checked_sub(1).map(|index| chars[index]);
    before.is_some_and(|c| (c.is_alphanumeric() || c == '_') && c != 'b')
}

/// Index of the first place at or after `from` where `hit` holds, or the end.
fn find(chars: &[char], from: usize, hit: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|index| hit(&chars[*index..])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn end_of_raw_string(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let open = from + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return from; // `r#type` is an identifier
    }
    let closes =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (find(chars, open + 1, closes) + 1 + hashes).min(chars.len())
}

/// A character literal ends at its quote; a lifetime is left alone.
fn end_of_character(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => (find(chars, from + 3, |rest| rest[0] == '\'') + 1).min(chars.len()),
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

/// Blanks every item under `#[cfg(test)]`, up to its `;` or its closing brace.
fn blank_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    while let Some(start) = out.find(MARK) {
        let mut depth = 0_usize;
        let mut end = out.len();
        for (offset, c) in out[start + MARK.len()..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                end = start + MARK.len() + offset + c.len_utf8();
                break;
            }
        }
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("crates/domain/src/x.rs", text).code
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        for hidden in [
            "// word",
            "/* a /* nested */ word */",
            "\"a // word\"",
            "\"\\\" word\"",
            "r\"word\"",
            "r#\"say \"word\" \"#",
            "br#\"word\"#",
            "'\\'' /* word */",
        ] {
            let seen = code(&format!("let a = {hidden};\nlet b = 1;"));
            assert!(!seen.contains("word"), "{hidden} was seen as {seen}");
            assert!(seen.contains("let b = 1;"), "{hidden} swallowed what follows: {seen}");
        }
    }

    #[test]
    fn lifetimes_raw_identifiers_and_characters_do_not_open_a_string() {
        let seen = code("fn f<'a>(r#type: &'a str, c: char) { c == '\"'; word }");
        assert!(seen.contains("r#type: &'a str"));
        assert!(seen.contains("word"));
    }

    #[test]
    fn tests_do_not_ship() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { word } }\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}";
        let source = Source::new("crates/domain/src/x.rs", text);
        assert!(source.code.contains("word"));
        for (name, ships) in [("fn a", true), ("word", false), ("fn c", true), ("mod more", false), ("fn d", true)] {
            assert_eq!(ships, source.shipped.contains(name), "{name}");
        }
        assert_eq!("", Source::new("crates/domain/tests/x.rs", "fn a() {}").shipped);
    }

    #[test]
    fn words_are_whole_and_lines_are_counted_from_one() {
        assert_eq!(vec![2], lines_with("f640\nas f64)\nmy_f64", "f64"));
        assert_eq!(vec![1], lines_with("std::env::var", "env::var"));
        assert_eq!(Vec::<usize>::new(), lines_with("MyInstant::now", "Instant::now"));
    }

    #[test]
    fn a_path_names_its_crate() {
        assert_eq!(Some("domain"), crate_of("crates/domain/src/lib.rs"));
        assert_eq!(Some("xtask"), crate_of("xtask/src/main.rs"));
        assert_eq!(None, crate_of("docs/method.md"));
    }
}
