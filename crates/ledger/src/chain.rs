//! Finding the first posting that is not as it was written.

use domain::{Currency, Instant};
use std::collections::BTreeMap;

use crate::canonical::{ChainHash, posting_hash};
use crate::entry::Entry;
use crate::posting::Posting;
use crate::words::EntryKind;

/// The newest posting of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 before the first.
    pub posting: i64,
    /// When it was booked; none before the first.
    pub booked_at: Option<Instant>,
    /// Its hash; zeros before the first.
    pub hash: ChainHash,
}

impl Head {
    /// The head of an empty ledger.
    pub const EMPTY: Self = Self { posting: 0, booked_at: None, hash: ChainHash::ZERO };
}

/// The first posting that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("posting {posting}: {what}")]
pub struct ChainFault {
    /// Its number.
    pub posting: i64,
    /// What is wrong with it.
    pub what: Broken,
}

/// What can be wrong with a posting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It has no entries.
    #[error("it has no entries")]
    Empty,
    /// Numbers have a gap or repeat.
    #[error("posting {0} should come here; postings are missing, doubled or out of order")]
    Number(i64),
    /// It was not made for the posting before it.
    #[error("prev_hash is {found}, but the posting before has hash {expected}")]
    PrevHash {
        /// The hash of the posting before.
        expected: ChainHash,
        /// What the posting says.
        found: ChainHash,
    },
    /// Time does not move forward.
    #[error("booked_at is not later than that of the posting before")]
    BookedAt,
    /// Lines are not 1, 2, 3, ….
    #[error("line {0} should come here; lines are missing, doubled or out of order")]
    Line(i32),
    /// A line contradicts the others about what they have in common.
    #[error("line {line} has another {column} than line 1")]
    Differs {
        /// The line.
        line: i32,
        /// The column.
        column: &'static str,
    },
    /// The content is not what was hashed.
    #[error("the entries have hash {found}, but {stored} is stored; some column of some entry was changed")]
    Hash {
        /// What is stored.
        stored: ChainHash,
        /// What the entries give.
        found: ChainHash,
    },
    /// An adjustment creates or destroys cost.
    #[error("it is an adjustment, and its entries do not cancel out")]
    Unbalanced,
    /// A close or reopen says more than that.
    #[error("it closes or reopens a month, and is not one line without amounts")]
    Period,
}

/// A chain that is checked posting by posting.
#[derive(Clone, Debug)]
pub struct Chain {
    head: Head,
}

impl Chain {
    /// Returns a chain that starts with posting 1.
    #[must_use]
    pub fn start() -> Self {
        Self { head: Head::EMPTY }
    }

    /// Returns a chain that goes on after a head known to be right.
    #[must_use]
    pub fn after(head: Head) -> Self {
        Self { head }
    }

    /// Returns the newest posting accepted.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Accepts the next posting.
    ///
    /// # Errors
    /// [`ChainFault`] when the posting does not follow the head or is not what was hashed; the head stays.
    pub fn accept(&mut self, posting: &Posting) -> Result<(), ChainFault> {
        self.check(posting).map_err(|what| ChainFault { posting: posting.header.posting, what })?;
        self.head = posting.head();
        Ok(())
    }

    fn check(&self, posting: &Posting) -> Result<(), Broken> {
        let header = &posting.header;
        if header.posting != self.head.posting + 1 {
            return Err(Broken::Number(self.head.posting + 1));
        }
        if header.prev_hash != self.head.hash {
            return Err(Broken::PrevHash { expected: self.head.hash, found: header.prev_hash });
        }
        if self.head.booked_at.is_some_and(|last| header.booked_at <= last) {
            return Err(Broken::BookedAt);
        }
        check_lines(posting)?;
        let found = posting_hash(&header.prev_hash, &posting.entries);
        if found != posting.hash {
            return Err(Broken::Hash { stored: posting.hash, found });
        }
        check_kinds(&posting.entries)
    }
}

fn check_lines(posting: &Posting) -> Result<(), Broken> {
    if posting.entries.is_empty() {
        return Err(Broken::Empty);
    }
    let header = &posting.header;
    for (expected, entry) in (1..).zip(&posting.entries) {
        if entry.line != expected {
            return Err(Broken::Line(expected));
        }
        let same = [
            ("posting", entry.posting == header.posting),
            ("booked_at", entry.booked_at == header.booked_at),
            ("run", entry.run == header.run),
            ("prev_hash", entry.prev_hash == header.prev_hash),
            ("hash", entry.hash == posting.hash),
        ];
        if let Some((column, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Broken::Differs { line: entry.line, column });
        }
    }
    Ok(())
}

/// What an entry's kind promises beside the hash: an adjustment moves cost and creates none, a month is closed by one
/// line without amounts.
fn check_kinds(entries: &[Entry]) -> Result<(), Broken> {
    let mut adjusted: BTreeMap<Option<Currency>, Option<[i128; 3]>> = BTreeMap::new();
    for entry in entries {
        let measures = [entry.amount, entry.billed_amount, entry.amount_reporting];
        match entry.kind {
            EntryKind::Cost => {}
            EntryKind::Adjustment => {
                // What was stored by somebody else may be of any size.
                let sums = adjusted.entry(entry.currency).or_insert(Some([0; 3]));
                *sums = sums.and_then(|sums| plus(sums, measures));
            }
            EntryKind::Close | EntryKind::Reopen => {
                if entries.len() != 1 || measures != [0; 3] {
                    return Err(Broken::Period);
                }
            }
        }
    }
    if adjusted.values().all(|sums| *sums == Some([0; 3])) { Ok(()) } else { Err(Broken::Unbalanced) }
}

fn plus(left: [i128; 3], right: [i128; 3]) -> Option<[i128; 3]> {
    let [amount, billed, reporting] = left;
    Some([amount.checked_add(right[0])?, billed.checked_add(right[1])?, reporting.checked_add(right[2])?])
}

/// Returns the head of these postings, which start with number 1.
///
/// # Errors
/// [`ChainFault`] names the first posting that fails.
pub fn verify_chain(postings: impl IntoIterator<Item = Posting>) -> Result<Head, ChainFault> {
    let mut chain = Chain::start();
    for posting in postings {
        chain.accept(&posting)?;
    }
    Ok(chain.head())
}
