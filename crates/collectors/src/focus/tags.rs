//! `Tags`: a JSON object, the same without its braces or as a list of pairs, or text nobody can parse.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::json::{Members, text_of};

/// What a text of tags says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// Keys and values, as text.
    Map {
        map: BTreeMap<String, Option<String>>,
        /// Whether a key stood twice.
        duplicate: bool,
    },
    /// No JSON object.
    Opaque,
    /// Nested deeper than anything sane.
    TooDeep,
}

/// One tag of a list, as which older writers of Parquet store a map.
#[derive(Deserialize)]
struct Pair {
    #[serde(alias = "Key")]
    key: String,
    #[serde(default, alias = "Value")]
    value: Value,
}

/// Returns the tags that a text spells. Values that are no strings become their JSON text.
pub(super) fn parse(text: &str) -> Tags {
    let of_pairs = |pairs: Vec<Pair>| Members(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect());
    let members = serde_json::from_str::<Members>(text).or_else(|error| match text.trim_start().chars().next() {
        // Some exports leave the braces out: `"env": "prod","team": "a"`.
        Some('"') => serde_json::from_str(&format!("{{{text}}}")),
        Some('[') => serde_json::from_str(text).map(of_pairs),
        _ => Err(error),
    });
    let Ok(members) = members else { return Tags::Opaque };
    if members.too_deep() {
        return Tags::TooDeep;
    }
    let duplicate = members.duplicate().is_some();
    Tags::Map { map: members.0.into_iter().map(|(key, value)| (key, text_of(value))).collect(), duplicate }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let expected = expected.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
        let Tags::Map { map, .. } = parse(text) else { panic!("{text} is not a map") };
        assert_eq!(map, expected, "{text}");
    }

    #[test]
    fn values_become_text_without_losing_a_digit() {
        check("{}", &[]);
        check(r#"{"a":"1","":"empty key","b":null}"#, &[("a", Some("1")), ("", Some("empty key")), ("b", None)]);
        check(r#"{"n":1.50,"e":1e-7,"t":true}"#, &[("n", Some("1.50")), ("e", Some("1e-7")), ("t", Some("true"))]);
        check(r#"{"list":[1, "x"],"map":{"k": 1}}"#, &[("list", Some(r#"[1,"x"]"#)), ("map", Some(r#"{"k":1}"#))]);
        check(r#""env": "prod","team": "a""#, &[("env", Some("prod")), ("team", Some("a"))]);
        check(
            r#"[{"key":"env","value":"prod"},{"Key":"n","Value":1.50},{"key":"none"}]"#,
            &[("env", Some("prod")), ("n", Some("1.50")), ("none", None)],
        );
    }

    #[test]
    fn doubles_are_noticed_and_the_last_counts() {
        let Tags::Map { map, duplicate } = parse(r#"{"a":"1","a":"2"}"#) else { panic!("a map") };
        assert_eq!((map["a"].as_deref(), duplicate), (Some("2"), true));
    }

    #[test]
    fn what_is_no_object_is_opaque() {
        for text in ["env=prod", "[1]", "[{\"value\":1}]", "3", r#""text""#, "{", "{\"a\":}"] {
            assert_eq!(parse(text), Tags::Opaque, "{text}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(70), "]".repeat(70));
        assert_eq!(parse(&deep), Tags::TooDeep);
        let deeper = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(parse(&deeper), Tags::Opaque);
    }
}
