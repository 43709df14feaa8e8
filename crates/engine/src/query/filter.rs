//! The filter language: terms separated by spaces, all of which must hold.
//!
//! A term is `[-]key:value[,value…]`. A value is bare or in double quotes; `*` stands for any text, and
//! inside quotes a backslash takes the next character as it is (`\"`, `\\`, `\*`).

use super::keys::{GroupKey, KeyError};
use crate::EngineError;
use std::iter::Peekable;
use std::str::Chars;

/// Longest filter text.
pub const FILTER_BYTES_MAX: usize = 4096;

/// Terms that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The terms in their order.
    pub terms: Vec<Term>,
}

/// One condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Whether it must not hold.
    pub negated: bool,
    /// What is tested.
    pub key: GroupKey,
    /// The alternatives, at least one.
    pub values: Vec<Glob>,
}

/// Text with `*` for any text: the literal parts between the stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<String>);

impl Glob {
    /// Returns the text when there is no star.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [text] => Some(text),
            _ => None,
        }
    }

    /// Returns the literal parts between the stars.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Returns whether the whole value fits.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let Some((first, parts)) = self.0.split_first() else { return false };
        let Some(mut rest) = value.strip_prefix(first.as_str()) else { return false };
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

impl Term {
    /// Returns whether the term holds for a value of its key.
    #[must_use]
    pub fn holds(&self, value: &str) -> bool {
        self.values.iter().any(|glob| glob.matches(value)) != self.negated
    }
}

impl Filter {
    /// Returns the filter that the text means.
    ///
    /// # Errors
    /// For an unknown key or a text outside the grammar. Unknown values are fine: they match nothing.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        if FILTER_BYTES_MAX < text.len() {
            return Err(refuse(&format!("a filter has at most {FILTER_BYTES_MAX} bytes")));
        }
        let mut chars = text.chars().peekable();
        let mut terms = Vec::new();
        loop {
            while chars.next_if(|next| next.is_whitespace()).is_some() {}
            if chars.peek().is_none() {
                return Ok(Self { terms });
            }
            terms.push(term(&mut chars)?);
        }
    }

    /// Returns whether some term tests this key.
    #[must_use]
    pub fn tests(&self, key: &GroupKey) -> bool {
        self.terms.iter().any(|term| &term.key == key)
    }
}

fn refuse(detail: &str) -> EngineError {
    EngineError::parameter("filter", detail)
}

fn term(chars: &mut Peekable<Chars<'_>>) -> Result<Term, EngineError> {
    let negated = chars.next_if_eq(&'-').is_some();
    let mut word = key_part(chars)?;
    if word == "label" {
        word = format!("label:{}", key_part(chars)?);
    }
    let key = word.parse().map_err(|error: KeyError| error.of("filter"))?;
    let mut values = vec![value(chars, &word)?];
    while chars.next_if_eq(&',').is_some() {
        values.push(value(chars, &word)?);
    }
    match chars.peek() {
        Some(next) if !next.is_whitespace() => {
            Err(refuse(&format!("a space is missing after a quoted value of `{word}`")))
        }
        _ => Ok(Term { negated, key, values }),
    }
}

/// Reads up to the colon, and the colon.
fn key_part(chars: &mut Peekable<Chars<'_>>) -> Result<String, EngineError> {
    let mut word = String::new();
    if chars.peek() == Some(&'"') {
        word = quoted(chars)?.concat();
    } else {
        while let Some(next) = chars.next_if(|next| *next != ':' && !next.is_whitespace()) {
            word.push(next);
        }
    }
    if chars.next_if_eq(&':').is_none() {
        let word = super::params::shorten(&word);
        return Err(refuse(&format!("`{word}` is not a term; write key:value, such as pool:shared-west-us")));
    }
    Ok(word)
}

fn value(chars: &mut Peekable<Chars<'_>>, key: &str) -> Result<Glob, EngineError> {
    if chars.peek() == Some(&'"') {
        return Ok(Glob(quoted(chars)?));
    }
    let mut parts = vec![String::new()];
    let mut empty = true;
    while let Some(next) = chars.next_if(|next| *next != ',' && !next.is_whitespace()) {
        empty = false;
        push(&mut parts, next);
    }
    if empty {
        return Err(refuse(&format!("a value of `{key}` is missing; write \"\" for an empty one")));
    }
    Ok(Glob(parts))
}

fn push(parts: &mut Vec<String>, next: char) {
    if next == '*' {
        parts.push(String::new());
    } else {
        parts.last_mut().expect("there is always a part").push(next);
    }
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<Vec<String>, EngineError> {
    let open = chars.next();
    assert_eq!(open, Some('"'), "the caller saw the quote");
    let mut parts = vec![String::new()];
    loop {
        match chars.next() {
            Some('"') => return Ok(parts),
            Some('\\') => match chars.next() {
                Some(escaped) => parts.last_mut().expect("there is always a part").push(escaped),
                None => return Err(refuse("a quote is not closed")),
            },
            Some(next) => push(&mut parts, next),
            None => return Err(refuse("a quote is not closed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let printed = Filter::parse(text).map_or_else(|error| error.to_string(), |filter| print(&filter));
        assert_eq!(printed, expected, "{text}");
    }

    fn print(filter: &Filter) -> String {
        let terms = filter.terms.iter().map(|term| {
            let values: Vec<String> = term.values.iter().map(|glob| glob.parts().join("<*>")).collect();
            format!("{}{}=[{}]", if term.negated { "not " } else { "" }, term.key, values.join("|"))
        });
        terms.collect::<Vec<_>>().join(" and ")
    }

    #[test]
    fn terms_are_anded_and_values_are_alternatives() {
        check("", "");
        check("  ", "");
        check("cluster:shared-west-us -tier:overhead", "cluster=[shared-west-us] and not tier=[overhead]");
        check("tenant:a,b  pool:x", "tenant=[a|b] and pool=[x]");
        check("tenant:team-*", "tenant=[team-<*>]");
        check("pool:\"a, b\",c", "pool=[a, b|c]");
        check("pool:\"say \\\"hi\\\" \\* *\"", "pool=[say \"hi\" * <*>]");
        check("label:team:blue", "label:team=[blue]");
        check("label:\"a:b\":c", "label:a:b=[c]");
        check("user:\"\"", "user=[]");
        check("repo:org/name:x", "repo=[org/name:x]");
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused() {
        check("tennant:a", "unknown key `tennant`; did you mean `tenant`?");
        check("acme", "`acme` is not a term; write key:value, such as pool:shared-west-us");
        check("tenant:", "a value of `tenant` is missing; write \"\" for an empty one");
        check("tenant:a,", "a value of `tenant` is missing; write \"\" for an empty one");
        check("tenant:\"a", "a quote is not closed");
        check("tenant:\"a\"b", "a space is missing after a quoted value of `tenant`");
        check("--tenant:a", "unknown key `-tenant`; did you mean `tenant`?");
        check("label:a", "`a` is not a term; write key:value, such as pool:shared-west-us");
    }

    #[test]
    fn globs_fit_whole_values() {
        let holds = |text: &str, value: &str| Filter::parse(text).expect("a filter").terms[0].holds(value);
        assert!(holds("pool:a*c", "abc") && holds("pool:a*c", "ac") && !holds("pool:a*c", "abcd"));
        assert!(holds("pool:*", "") && holds("-pool:x", "y") && !holds("-pool:x,y", "y"));
        assert!(holds("pool:\"a\\*\"", "a*") && !holds("pool:\"a\\*\"", "ab"));
    }
}
