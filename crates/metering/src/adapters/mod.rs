//! What other programs send in forms of their own becomes usage events: merged pull requests, and tokens of model calls.
//!
//! An adapter is a pure function from one payload to CloudEvents. Their ids come from the payload (the pull request, the
//! call), so that a delivery that is sent again, by whomever, counts once. Whose event it is stands in places of the payload
//! that the configuration names ([`AdapterRule`]).

/// Tokens of one model call, by direction and cache class.
mod call;
/// Merged pull requests of GitHub.
pub mod github;
/// Merged merge requests of GitLab.
pub mod gitlab;
/// Generations of Langfuse.
pub mod langfuse;
/// Calls that a LiteLLM proxy logged.
pub mod litellm;
/// The CloudEvent that is made.
mod made;
/// Where in a payload a dimension stands.
mod place;

pub use place::{AdapterKind, AdapterRule, Adapters, Place, WorkflowPattern};

use crate::json::{self, JsonError};
use serde_json::Value;

/// Why one record becomes no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(
    /// A sentence for people.
    pub String,
);

/// The events of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// CloudEvents as JSON, one per line.
    pub lines: String,
    /// The number of the record that each event was made of, from 0.
    pub records: Vec<u64>,
    /// Records that say nothing that counts.
    pub skipped: u64,
    /// Records that should say something and do not, with their number.
    pub unusable: Vec<(u64, Unusable)>,
}

impl Made {
    /// Adds what was made of a record.
    fn add(&mut self, record: u64, events: Result<Vec<String>, Unusable>) {
        match events {
            Ok(events) if events.is_empty() => self.skipped += 1,
            Ok(events) => {
                for event in events {
                    self.lines.push_str(&event);
                    self.lines.push('\n');
                    self.records.push(record);
                }
            }
            Err(unusable) => self.unusable.push((record, unusable)),
        }
    }
}

/// Returns the events of all records of an export: one object, a list, an object with the list `data`, or one per line.
///
/// # Errors
/// [`JsonError`] if the text is none of these.
pub fn made_of(kind: AdapterKind, text: &str, rule: &AdapterRule) -> Result<Made, JsonError> {
    let events_of = |record: &Value| match kind {
        AdapterKind::Github => github::events_of(record, rule),
        AdapterKind::Gitlab => gitlab::events_of(record, rule),
        AdapterKind::Litellm => litellm::events_of(record, rule),
        AdapterKind::Langfuse => langfuse::events_of(record, rule),
    };
    let mut made = Made::default();
    for (record, number) in records_of(text)?.iter().zip(0..) {
        made.add(number, events_of(record));
    }
    Ok(made)
}

/// Returns the records of an export.
fn records_of(text: &str) -> Result<Vec<Value>, JsonError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let whole = match json::parse_value(text) {
        Ok(whole) => whole.to_value(),
        // More than one line, each of them an object.
        Err(error) if text.contains('\n') && text.starts_with('{') => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let read: Result<Vec<Value>, JsonError> =
                lines.map(|line| Ok(json::parse_value(line)?.to_value())).collect();
            return read.map_err(|_| error);
        }
        Err(error) => return Err(error),
    };
    Ok(match whole {
        Value::Array(records) => records,
        Value::Object(mut page) if page.get("data").is_some_and(Value::is_array) => match page.remove("data") {
            Some(Value::Array(records)) => records,
            _ => Vec::new(),
        },
        one => vec![one],
    })
}

/// Returns the value at these names, one inside the other; null counts as absent.
fn at<'v>(value: &'v Value, names: &[&str]) -> Option<&'v Value> {
    let found = names.iter().try_fold(value, |value, name| value.get(*name))?;
    (!found.is_null()).then_some(found)
}

/// Returns the text there, of a string or number.
fn text_at(value: &Value, names: &[&str]) -> Option<String> {
    match at(value, names)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Option<usize> {
        records_of(text).ok().map(|records| records.len())
    }

    #[test]
    fn an_export_is_an_object_a_list_a_page_or_lines() {
        assert_eq!(count(""), Some(0));
        assert_eq!(count("[]"), Some(0));
        assert_eq!(count(r#"{"id":"1"}"#), Some(1));
        assert_eq!(count(r#"[{"id":"1"},{"id":"2"}]"#), Some(2));
        assert_eq!(count(r#"{"data":[{"id":"1"},{"id":"2"}],"meta":{"page":1}}"#), Some(2));
        assert_eq!(count("{\"id\":\"1\"}\n\n{\"id\":\"2\"}\n"), Some(2));
        assert_eq!(count("{\n  \"id\": \"1\"\n}"), Some(1));
        for broken in ["{", "{\"id\":\"1\"}\n{", "x", r#"{"a":1,"a":2}"#] {
            assert_eq!(count(broken), None, "{broken}");
        }
    }

    #[test]
    fn numbers_count_as_text_and_null_and_nothing_do_not() {
        let value: Value = serde_json::from_str(r#"{"a":{"b":7,"c":null,"d":""}}"#).unwrap();
        assert_eq!(text_at(&value, &["a", "b"]).as_deref(), Some("7"));
        for name in ["c", "d", "e"] {
            assert_eq!(text_at(&value, &["a", name]), None, "{name}");
        }
    }
}
