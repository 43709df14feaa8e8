//! Bytes from outside: whatever they are, they are read within bounds, and what is taken is an event.

use super::*;
use crate::event::{ATTRIBUTE_BYTES_MAX, EVENT_BYTES_MAX, parse_event};
use crate::refusal::RefusalCode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::io::{Cursor, Write as _};

/// Cases unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 4_000;
/// Small, so that many cases reach it.
const DECODED_BYTES_MAX: u64 = 8 * 1024;
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\0",
    " ",
    "\u{feff}",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "0.5",
    "NaN",
    "\\ud800",
    "\\u0000",
    "é",
    "\"id\":\"1\"",
    "\"source\":\"/s\"",
    "\"type\":\"t\"",
    "\"specversion\":\"1.0\"",
    "\"tenant\":\"a\"",
    "\"time\":\"2026-05-03T10:00:00Z\"",
    "\"data\":{}",
    "\"data\":{\"value\":1}",
    "\"data_base64\":\"\"",
    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"tenant\":\"a\"}",
    "{\"a\":[[[[[[[[[[",
];

/// The files that the tests of the running server change, too.
fn corpus() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/events");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let mut files: Vec<_> = files.collect();
    files.sort(); // a seed means the same everywhere
    assert!(5 < files.len(), "the corpus is not where it was");
    files
}

/// Any bytes, JSON that is nearly right, and bodies of the corpus with a few bytes changed.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let soup = vec(select(WORDS), 0..60).prop_map(|words| words.concat().into_bytes());
    let changes = vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..6);
    let changed = (select(corpus()), changes).prop_map(|(mut body, changes)| {
        for (at, byte, change) in &changes {
            let at = at.index(body.len() + 1);
            match change {
                0 => body.truncate(at),
                1 => body.insert(at, *byte),
                2 => drop(body.splice(at..(at + usize::from(*byte)).min(body.len()), [])),
                _ => body.iter_mut().skip(at).take(1).for_each(|old| *old ^= byte),
            }
        }
        body
    });
    prop_oneof![1 => vec(any::<u8>(), 0..2_000), 3 => soup, 4 => changed]
}

/// The same, compressed or not, and perhaps changed after that.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    (bodies(), 0..6_u8, any::<Index>(), any::<u8>()).prop_map(|(body, kind, at, byte)| {
        let mut input = match kind {
            0 | 1 => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(&body).unwrap();
                gzip.finish().unwrap()
            }
            2 | 3 => zstd::encode_all(&body[..], 1).unwrap(),
            _ => body,
        };
        if kind % 2 == 1 && !input.is_empty() {
            let at = at.index(input.len());
            input[at] ^= byte;
        }
        input
    })
}

/// Tries so many inputs, and says how many they were.
fn try_all<T: std::fmt::Debug>(inputs: impl Strategy<Value = T>, what: &str, test: impl Fn(T) -> u32) {
    let cases = Config::default().cases.max(CASES); // `make soak` asks for more
    let (mut runner, tried, taken) = (
        TestRunner::new(Config { cases, source_file: Some(file!()), ..Config::default() }),
        Cell::new(0),
        Cell::new(0),
    );
    let outcome = runner.run(&inputs, |input| {
        tried.set(tried.get() + 1);
        taken.set(taken.get() + test(input));
        Ok(())
    });
    println!("{what}: {} of {cases} cases, {} events among them", tried.get(), taken.get());
    outcome.unwrap();
    assert!(0 < taken.get(), "no input was good enough to be an event");
}

/// Checks what became of one text; returns whether it is an event.
fn check_event(text: &str) -> bool {
    match parse_event(text) {
        Ok(parsed) => {
            let event = parsed.event;
            serde_json::from_str::<serde::de::IgnoredAny>(text).expect("an event is JSON");
            for name in [&event.id, &event.source, &event.kind] {
                assert!(!name.is_empty() && name.len() <= ATTRIBUTE_BYTES_MAX && !name.contains('\0'), "{name:?}");
            }
            true
        }
        Err(refusal) => {
            assert_eq!(refusal.code, RefusalCode::InvalidEvent, "{refusal:?}");
            assert!(
                refusal.detail.len() <= 4 * ATTRIBUTE_BYTES_MAX,
                "a refusal repeats its input: {}",
                refusal.detail.len()
            );
            false
        }
    }
}

#[test]
fn any_bytes_are_read_within_bounds() {
    try_all(inputs(), "EventReader", |input| {
        let Ok(mut reader) = EventReader::open_limited(Cursor::new(input), DECODED_BYTES_MAX) else { return 0 };
        let (mut items, mut bytes, mut events) = (0, 0, 0);
        while let Ok(Some((index, item))) = reader.next_item() {
            assert_eq!(index, items, "items are numbered from 0");
            items += 1;
            if let Item::Text(text) = item {
                assert!(text.len() <= EVENT_BYTES_MAX);
                bytes += text.len() as u64;
                events += u32::from(check_event(text));
            }
            assert!(items <= DECODED_BYTES_MAX && bytes <= DECODED_BYTES_MAX, "more came out than may go in");
        }
        events
    });
}

#[test]
fn any_text_is_an_event_or_refused() {
    let texts = bodies().prop_map(|body| String::from_utf8_lossy(&body).into_owned());
    try_all(texts, "parse_event", |text| u32::from(check_event(&text)));
}
