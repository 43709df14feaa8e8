use crate::event::{Event, Retracted};
use crate::ids::{IdContent, IdKey};
use crate::json::{Json, write_canonical};
use crate::meters::MeteredValue;
use crate::rules::PlacedEvent;
use domain::Instant;
use std::borrow::Cow;
use std::cell::RefCell;

/// Bytes that a thread keeps for the next event; larger ones are let go.
const BYTES_KEPT_MAX: usize = 64 * 1024;

thread_local! {
    /// What is about to be hashed.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// User, workflow, repo, task class and cluster of an event.
pub(crate) type PlainTexts<'a> = [Option<Cow<'a, str>>; 5];

/// BLAKE3 hash of what identifies an event: tenant, source and id.
pub type EventKey = [u8; 32];

/// Returns the key of an event.
#[must_use]
pub fn event_key(tenant: &str, source: &str, id: &str) -> EventKey {
    hash_of(|bytes| join([tenant, source, id], bytes), blake3::hash).into()
}

/// What an event says, so that two deliveries of one key can be compared.
///
/// Content is the type, the dimensions, the labels, the data (keys sorted, numbers as their text) and
/// the time, unless the receiver set it. When it was received, how its JSON was spaced and attributes
/// that are not stored do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    hash: [u8; 32],
    /// The time that the sender gave.
    pub time: Option<Instant>,
}

impl Content {
    /// Returns the content as the id index keeps it: 128 bits of a hash, time included.
    #[must_use]
    pub fn short(&self) -> IdContent {
        short_content(&self.hash, self.time)
    }

    /// Returns the content of an incoming event.
    #[must_use]
    pub fn of(event: &Event<'_>, data: &Json<'_>) -> Self {
        let data = event.data_text.is_some().then_some(data);
        // The tenant is part of the key already.
        let [_, plain @ ..] = &event.dimensions.plain;
        Self { hash: hash_content(&event.kind, plain, event.dimensions.labels.key(), data), time: event.time }
    }

    /// Returns the content of a stored event; a time equal to that of reception was set by the receiver.
    #[must_use]
    pub(crate) fn of_stored(
        kind: &str,
        plain: &PlainTexts<'_>,
        labels_key: &str,
        data: Option<&Json<'_>>,
        time: Instant,
        received_at: Instant,
    ) -> StoredContent {
        StoredContent { hash: hash_content(kind, plain, labels_key, data), time, received_at }
    }
}

/// The content of an event in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredContent {
    hash: [u8; 32],
    time: Instant,
    received_at: Instant,
}

impl StoredContent {
    /// Returns the content as the id index keeps it.
    #[must_use]
    pub fn short(&self) -> IdContent {
        short_content(&self.hash, (self.time != self.received_at).then_some(self.time))
    }
}

/// Makes keys of ids that nobody outside can aim at.
#[derive(Clone, Copy, Debug)]
pub struct IdSalt([u8; 32]);

/// What the salt is for, so that the same lake id means something else elsewhere.
const SALT_CONTEXT: &str = "apportion 2026-11 ids of usage events";

impl IdSalt {
    /// Returns the salt of a lake, whose id is random.
    #[must_use]
    pub fn of_lake(id: &str) -> Self {
        Self(blake3::derive_key(SALT_CONTEXT, id.as_bytes()))
    }

    /// Returns the key that says that an event was taken back.
    #[must_use]
    pub(crate) fn retraction_marker(&self, tenant: &str, of: &Retracted<'_>) -> IdKey {
        self.key(tenant, &format!("\0retracted\0{}", of.source), &of.id)
    }

    /// Returns the keys that say that values were seen on the event's day, for those that count once a day.
    #[must_use]
    pub(crate) fn unique_markers(&self, placed: &PlacedEvent<'_>, values: &[MeteredValue<'_>]) -> Vec<IdKey> {
        let marker = |value: &MeteredValue<'_>| {
            let seen = value.unique.as_ref()?;
            let labels_key = value.labels(&placed.event).key();
            let within = format!("\0unique\0{}\0{}\0{labels_key}", value.meter.name, placed.day);
            Some(self.key(&placed.tenant, &within, seen))
        };
        values.iter().filter_map(marker).collect()
    }

    /// Returns the key of an event: 128 bits of a hash of tenant, source and id.
    ///
    /// No source contains a NUL, so that the other kinds of keys are never those of an event.
    #[must_use]
    pub fn key(&self, tenant: &str, source: &str, id: &str) -> IdKey {
        shorten(hash_of(|bytes| join([tenant, source, id], bytes), |bytes| blake3::keyed_hash(&self.0, bytes)))
    }
}

fn short_content(content: &[u8; 32], time: Option<Instant>) -> IdContent {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(content);
    let len = time.map_or(32, |time| {
        bytes[32..].copy_from_slice(&time.micros().to_be_bytes());
        bytes.len()
    });
    shorten(blake3::hash(&bytes[..len]))
}

fn shorten(hash: blake3::Hash) -> [u8; 16] {
    std::array::from_fn(|at| hash.as_bytes()[at])
}

fn hash_content(kind: &str, plain: &PlainTexts<'_>, labels_key: &str, data: Option<&Json<'_>>) -> [u8; 32] {
    let fill = |bytes: &mut Vec<u8>| {
        add_text(bytes, Some(kind));
        plain.iter().for_each(|value| add_text(bytes, value.as_deref()));
        add_text(bytes, Some(labels_key));
        if let Some(data) = data {
            write_canonical(data, bytes);
        }
    };
    hash_of(fill, blake3::hash).into()
}

/// Returns the hash of what is filled in, without new memory for each.
fn hash_of(fill: impl FnOnce(&mut Vec<u8>), hash: impl FnOnce(&[u8]) -> blake3::Hash) -> blake3::Hash {
    BYTES.with_borrow_mut(|bytes| {
        bytes.clear();
        fill(bytes);
        let hash = hash(bytes);
        if BYTES_KEPT_MAX < bytes.len() {
            *bytes = Vec::new();
        }
        hash
    })
}

fn join(parts: [&str; 3], bytes: &mut Vec<u8>) {
    parts.iter().for_each(|part| add_text(bytes, Some(part)));
}

/// Adds the text with its length, so that no two lists of texts look alike.
fn add_text(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => bytes.extend_from_slice(&u64::MAX.to_be_bytes()),
        Some(text) => {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;

    fn content(extra: &str) -> Content {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","tenant":"a"{extra}}}"#);
        let parsed = parse_event(&text).unwrap();
        Content::of(&parsed.event, &parsed.data)
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
        let stored = |time: &str| {
            let received = instant("2026-01-02T00:00:00Z");
            Content::of_stored("t", &PlainTexts::default(), "{}", None, instant(time), received)
        };
        let is_same = |time: &str, extra: &str| stored(time).short() == content(extra).short();
        assert!(is_same("2026-01-02T00:00:00Z", ""));
        assert!(!is_same("2026-01-01T00:00:00Z", ""));
        assert!(is_same("2026-01-01T00:00:00Z", r#","time":"2026-01-01T00:00:00Z""#));
    }
}
