//! The page about the bytes and the code that makes them say the same.

use crate::samples::two_postings;
use ledger::canonical::column_bytes;
use ledger::{COLUMNS, Entry, Posting, canonical_bytes};
use std::fmt::Write;

const PAGE: &str = include_str!("../../../../docs/ledger-format.md");

/// What the page shows of an entry: one line per column.
fn by_column(entry: &Entry) -> String {
    let mut text = String::new();
    for (name, _) in COLUMNS {
        writeln!(text, "{name:<18}{}", hex::encode(column_bytes(entry, name))).expect("a text can grow");
    }
    text
}

fn on_page(what: &str) {
    assert!(PAGE.contains(what), "docs/ledger-format.md must contain\n{what}");
}

#[test]
fn the_page_shows_the_bytes_of_every_column() {
    let postings = two_postings();
    let entries: Vec<&Entry> = postings.iter().flat_map(|posting| &posting.entries).collect();
    let shown: Vec<String> = entries.iter().map(|entry| by_column(entry)).collect();
    for text in &shown {
        on_page(text);
    }
    for (entry, text) in entries.iter().zip(&shown) {
        let joined: String = text.lines().map(|line| line.split_at(18).1).collect();
        assert_eq!(hex::encode(canonical_bytes(entry)), joined);
    }
}

#[test]
fn the_page_shows_the_hashes() {
    let hashes: Vec<String> = two_postings().iter().map(|posting: &Posting| posting.hash.to_string()).collect();
    let head = |posting: usize| format!("posting {posting}  {}\n", hashes[posting - 1]);
    on_page(&head(1));
    on_page(&head(2));
}

#[test]
fn the_page_lists_every_column_in_hashing_order() {
    let listed: Vec<&str> = PAGE
        .lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|first: char| first.is_ascii_digit()))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, columns);
}
