use crate::event::Event;
use crate::ids::{IdContent, IdKey};
use crate::json::write_canonical;
use domain::Instant;
use domain::dimension::Dimensions;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// SHA-256 of what identifies an event: tenant, source and id.
pub type EventKey = [u8; 32];

/// Returns the key of an event.
#[must_use]
pub fn event_key(tenant: &str, source: &str, id: &str) -> EventKey {
    let mut hash = Sha256::new();
    for part in [tenant, source, id] {
        add_text(&mut hash, Some(part));
    }
    hash.finalize().into()
}

/// What an event says, so that two deliveries of one key can be compared.
///
/// Content is the type, the dimensions, the labels, the data (keys sorted, numbers as their text) and
/// the time, unless the receiver set it. When it was received, how its JSON was spaced and attributes
/// that are not stored do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    sha256: [u8; 32],
    /// The time that the sender gave.
    pub time: Option<Instant>,
}

impl Content {
    /// Returns the content as the id index keeps it: 128 bits of a hash, time included.
    #[must_use]
    pub fn short(&self) -> IdContent {
        short_content(&self.sha256, self.time)
    }

    /// Returns the content of an incoming event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let data = event.data_text.is_some().then_some(&event.data);
        Self { sha256: hash_content(&event.kind, &event.dimensions, &event.labels_key, data), time: event.time }
    }

    /// Returns the content of a stored event; a time equal to that of reception was set by the receiver.
    #[must_use]
    pub fn of_stored(
        kind: &str,
        dimensions: &Dimensions,
        labels_key: &str,
        data: Option<&Value>,
        time: Instant,
        received_at: Instant,
    ) -> StoredContent {
        StoredContent { sha256: hash_content(kind, dimensions, labels_key, data), time, received_at }
    }
}

/// The content of an event in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredContent {
    sha256: [u8; 32],
    time: Instant,
    received_at: Instant,
}

impl StoredContent {
    /// Returns the content as the id index keeps it.
    #[must_use]
    pub fn short(&self) -> IdContent {
        short_content(&self.sha256, (self.time != self.received_at).then_some(self.time))
    }
}

/// Makes keys of ids that nobody outside can aim at.
#[derive(Clone, Debug)]
pub struct IdSalt(Sha256);

impl IdSalt {
    /// Returns the salt of a lake, whose id is random.
    #[must_use]
    pub fn of_lake(id: &str) -> Self {
        let mut hash = Sha256::new();
        add_text(&mut hash, Some(id));
        Self(hash)
    }

    /// Returns the key of an event: 128 bits of a hash of tenant, source and id.
    #[must_use]
    pub fn key(&self, tenant: &str, source: &str, id: &str) -> IdKey {
        let mut hash = self.0.clone();
        for part in [tenant, source, id] {
            add_text(&mut hash, Some(part));
        }
        shorten(hash)
    }
}

fn short_content(sha256: &[u8; 32], time: Option<Instant>) -> IdContent {
    let mut hash = Sha256::new_with_prefix(sha256);
    if let Some(time) = time {
        hash.update(time.micros().to_be_bytes());
    }
    shorten(hash)
}

fn shorten(hash: Sha256) -> [u8; 16] {
    let whole: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|at| whole[at])
}

fn hash_content(kind: &str, dimensions: &Dimensions, labels_key: &str, data: Option<&Value>) -> [u8; 32] {
    let mut hash = Sha256::new();
    add_text(&mut hash, Some(kind));
    // The tenant is part of the key already.
    for value in &dimensions.plain[1..] {
        add_text(&mut hash, value.as_ref().map(Arc::as_ref));
    }
    add_text(&mut hash, Some(labels_key));
    if let Some(data) = data {
        let mut canonical = Vec::new();
        write_canonical(data, &mut canonical);
        hash.update(canonical);
    }
    hash.finalize().into()
}

/// Adds the text with its length, so that no two lists of texts look alike.
fn add_text(hash: &mut Sha256, text: Option<&str>) {
    match text {
        None => hash.update(u64::MAX.to_be_bytes()),
        Some(text) => {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;

    fn content(extra: &str) -> Content {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","tenant":"a"{extra}}}"#);
        Content::of(&parse_event(&text).unwrap())
    }

    fn check(left: &str, right: &str, same: bool) {
        assert_eq!(content(left) == content(right), same, "{left} | {right}");
    }

    #[test]
    fn content_is_what_was_said_not_how_it_was_written() {
        check(r#","data":{"a":1,"b":"\u0041"}"#, r#" , "data" : { "b":"A", "a":1 }"#, true);
        check(r#","data":{"a":1}"#, r#","data":{"a":1.0}"#, false);
        check(r#","data":{"a":1}"#, r#","data":{"a":"1"}"#, false);
        check(r#","data":{"a":1}"#, "", false);
        check(r#","data":null"#, "", true);
        check(r#","user":"u""#, r#","repo":"u""#, false);
        check(r#","time":"2026-01-01T00:00:00Z""#, r#","time":"2026-01-01T01:00:00+01:00""#, true);
        check(r#","time":"2026-01-01T00:00:00Z""#, r#","time":"2026-01-01T00:00:01Z""#, false);
        check(r#","traceparent":"x""#, r#","traceparent":"y""#, true);
    }

    #[test]
    fn keys_never_run_into_each_other() {
        assert_ne!(event_key("a", "bc", "d"), event_key("ab", "c", "d"));
        assert_ne!(event_key("a", "s", "1"), event_key("b", "s", "1"));
    }

    #[test]
    fn a_time_set_by_the_receiver_is_not_content() {
        let instant = |text: &str| text.parse::<Instant>().unwrap();
        let event = parse_event(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","tenant":"a"}"#).unwrap();
        let stored = |time: &str| {
            let received = instant("2026-01-02T00:00:00Z");
            Content::of_stored("t", &event.dimensions, "{}", None, instant(time), received)
        };
        let is_same = |time: &str, extra: &str| stored(time).short() == content(extra).short();
        assert!(is_same("2026-01-02T00:00:00Z", ""));
        assert!(!is_same("2026-01-01T00:00:00Z", ""));
        assert!(is_same("2026-01-01T00:00:00Z", r#","time":"2026-01-01T00:00:00Z""#));
    }
}
