//! Reads runs from end to end, with memory for a few pages of each.

use super::error::IdsError;
use super::page::{Entry, PAGE_BYTES, Page, entry_at};
use super::run_file::RunFile;
use std::sync::Arc;

/// 256 KiB.
const PAGES_PER_READ: usize = 64;

/// The entries of one run in order of their keys. Every page is checked.
#[derive(Debug)]
pub struct Cursor {
    run: Arc<RunFile>,
    /// Number of the page that comes after those read.
    next_page: u64,
    pages: Vec<Page>,
    /// The page in `pages` that is being read, its length, and the place in it.
    page: usize,
    entries: usize,
    position: usize,
}

impl Cursor {
    /// Returns a cursor before the first entry.
    pub fn new(run: Arc<RunFile>) -> Self {
        Self { run, next_page: 0, pages: Vec::new(), page: 0, entries: 0, position: 0 }
    }

    /// Goes to the next page; `false` after the last.
    fn turn(&mut self) -> Result<bool, IdsError> {
        self.page += 1;
        if self.page >= self.pages.len() {
            let left = usize::try_from(self.run.pages - self.next_page).unwrap_or(usize::MAX);
            self.pages.resize(left.min(PAGES_PER_READ), [0; PAGE_BYTES]);
            self.run.read(self.next_page, &mut self.pages)?;
            self.next_page += self.pages.len() as u64;
            self.page = 0;
        }
        let Some(page) = self.pages.get(self.page) else { return Ok(false) };
        let number = self.next_page - (self.pages.len() - self.page) as u64;
        (self.entries, self.position) = (self.run.check(number, page)?, 0);
        Ok(true)
    }
}

impl Iterator for Cursor {
    type Item = Result<Entry, IdsError>;

    // After an error, the caller stops.
    fn next(&mut self) -> Option<Self::Item> {
        while self.position == self.entries {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        let entry = entry_at(&self.pages[self.page], self.position);
        self.position += 1;
        Some(Ok(entry))
    }
}

/// The entries of several runs as one, in order of their keys, each key once.
///
/// A key that is in several runs, which is a mistake of the owner, keeps what look-ups say: the
/// content in the newest.
#[derive(Debug)]
pub struct Merged {
    /// Oldest first, with the entry that is next.
    heads: Vec<(Entry, Cursor)>,
    last: Option<u128>,
}

impl Merged {
    /// Returns the entries of these runs, given oldest first.
    pub fn new(runs: impl Iterator<Item = Cursor>) -> Result<Self, IdsError> {
        let mut heads = Vec::new();
        for mut run in runs {
            if let Some(entry) = run.next().transpose()? {
                heads.push((entry, run));
            }
        }
        Ok(Self { heads, last: None })
    }

    /// Returns the entry that is next, the newest of its key first.
    fn pop(&mut self) -> Option<Result<Entry, IdsError>> {
        let (mut least, mut least_key) = (0, self.heads.first()?.0.key);
        for (index, (entry, _)) in self.heads.iter().enumerate().skip(1) {
            if entry.key <= least_key {
                (least, least_key) = (index, entry.key);
            }
        }
        let (head, run) = &mut self.heads[least];
        match run.next() {
            Some(Ok(next)) => Some(Ok(std::mem::replace(head, next))),
            Some(Err(error)) => Some(Err(error)),
            None => Some(Ok(self.heads.remove(least).0)),
        }
    }
}

impl Iterator for Merged {
    type Item = Result<Entry, IdsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.pop()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            if self.last.replace(entry.key) != Some(entry.key) {
                return Some(Ok(entry));
            }
        }
    }
}
