//! TOML with errors that name file, line and the nearest key, and the text forms of decimals and dates.

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use std::fmt;

/// What is wrong with a configuration text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct TomlError {
    /// Name of the file as the user knows it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// Returns the value that the TOML text describes.
///
/// # Errors
/// [`TomlError`] with the place; an unknown key names the nearest known one.
pub fn parse_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        TomlError { file: file.to_owned(), line, column, message: with_nearest_key(error.message()) }
    })
}

/// Returns the text as a basic string of TOML, which may stand as a key too.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the message with "did you mean" added where serde lists the keys it expected.
#[must_use]
pub fn with_nearest_key(message: &str) -> String {
    let message = message.trim();
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [unknown, known @ ..] = names.as_slice() else { return message.to_owned() };
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message.to_owned();
    }
    let key = if message.starts_with("unknown field") { "key" } else { "value" };
    match nearest(unknown, known.iter().copied()) {
        Some(nearest) => format!("unknown {key} `{unknown}`; did you mean `{nearest}`?"),
        None => format!("unknown {key} `{unknown}`; known are {}", known.join(", ")),
    }
}

/// Returns the known word that is nearest to `word`, if one is near at all.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |other: &str| strsim::damerau_levenshtein(word, other);
    let best = known.into_iter().min_by_key(|other| near(other))?;
    (near(best) <= best.len().max(word.len()) / 2).then_some(best)
}

/// A decimal given as text (or as a whole number); never through a float.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecimalText(pub String);

impl DecimalText {
    /// Returns the decimal's text from any serde format.
    ///
    /// # Errors
    /// A TOML float: its digits are gone, so it must be quoted.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor).map(Self)
    }
}

impl<'de> serde::Deserialize<'de> for DecimalText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

struct DecimalVisitor;

impl<'de> Visitor<'de> for DecimalVisitor {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a decimal in quotes such as \"0.50\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    /// JSON numbers arrive with their text, as a map of one entry.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        let number: serde_json::Number = serde::Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        Ok(number.to_string())
    }
}

/// A date given as text or as a TOML date.
pub struct DateText(pub String);

impl DateText {
    /// Returns the date's text from any serde format.
    ///
    /// # Errors
    /// Anything but text or a TOML date.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DateVisitor).map(Self)
    }
}

struct DateVisitor;

impl<'de> Visitor<'de> for DateVisitor {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a date such as 2026-10-31")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        let date: toml::value::Datetime = serde::Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        Ok(date.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Day, Weight};

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its parsing is tested")]
        valid_from: Day,
        #[expect(dead_code, reason = "only its parsing is tested")]
        weight: Option<Weight>,
    }

    fn check(text: &str, expected: &str) {
        let message =
            parse_toml::<Sample>("policy.toml", text).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(message, expected);
    }

    #[test]
    fn a_quoted_text_is_read_as_it_was_as_key_and_as_value() {
        for text in
            ["", "plain", "a\"b\\c'd", "tags.app.kubernetes.io/name", "two\nlines\t\u{7f}\u{85}", "<script>\u{202e}é"]
        {
            let table = format!("[[rule]]\nwhen = {{ {} = {} }}\n", quoted(text), quoted(text));
            let read: serde_json::Value = parse_toml("policy.toml", &table).expect("TOML");
            assert_eq!(read["rule"][0]["when"], serde_json::json!({ text: text }), "{table}");
        }
    }

    #[test]
    fn errors_name_the_place_and_the_nearest_key() {
        check("valid_from = 2026-11-01\nweight = \"0.5\"", "ok");
        check("valid_from = \"2026-11-01\"\nweight = 1", "ok");
        check(
            "valid_from = 2026-11-01\nweigth = \"1\"",
            "policy.toml:2:1: unknown key `weigth`; did you mean `weight`?",
        );
        check(
            "valid_from = 2026-11-01\nweight = \"-1\"",
            "policy.toml:2:10: `-1` is out of bound: it must lie between 0 and 1000000000",
        );
    }

    #[test]
    fn json_numbers_keep_their_digits() {
        let weight: Weight = serde_json::from_str("0.150000").expect("a weight");
        assert_eq!(weight.atoms(), 150_000);
    }
}
