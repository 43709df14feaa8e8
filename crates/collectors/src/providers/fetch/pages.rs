use super::super::error::CollectError;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Notices pages that repeat or never end, for collectors that read page after page.
#[derive(Debug)]
pub struct Pages {
    seen: BTreeSet<[u8; 32]>,
    count: usize,
    max: usize,
}

impl Pages {
    /// Returns a count that ends at `max` pages.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { seen: BTreeSet::new(), count: 0, max }
    }

    /// Notes a page by the text of its rows, without what differs anyway, such as its number. A page without rows is never
    /// a repetition.
    ///
    /// # Errors
    /// [`Cause::Paging`](super::super::error::Cause::Paging) if it came before, or there are too many.
    pub fn note(&mut self, rows: &[u8], is_empty: bool) -> Result<(), CollectError> {
        self.count += 1;
        if self.max < self.count {
            return Err(CollectError::paging(format!("there are more than {} pages", self.max)));
        }
        if !is_empty && !self.seen.insert(Sha256::digest(rows).into()) {
            return Err(CollectError::paging(format!("page {} is one that came before", self.count)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_repeats_and_one_too_many_are_noticed() {
        let mut pages = Pages::new(4);
        assert!(pages.note(b"[1]", false).is_ok() && pages.note(b"[2]", false).is_ok());
        assert!(pages.note(b"[]", true).is_ok() && pages.note(b"[]", true).is_ok());
        assert!(pages.note(b"[3]", false).expect_err("the fifth").detail.contains("more than 4"));
        let mut pages = Pages::new(4);
        pages.note(b"[1]", false).expect("the first");
        assert!(pages.note(b"[1]", false).expect_err("again").detail.contains("page 2"));
    }
}
