//! Days that were computed again last: whoever goes through the cells of a day has it computed once.

use super::replay::Replay;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Cells of all kept days together; some ten megabytes.
const CELLS_MAX: usize = 50_000;

/// Days by everything that they were computed from, the newest first.
#[derive(Default)]
pub(crate) struct KeptReplays(Mutex<VecDeque<(String, Arc<Replay>)>>);

impl KeptReplays {
    pub(super) fn find(&self, key: &str) -> Option<Arc<Replay>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == key).map(|(_, replay)| Arc::clone(replay))
    }

    /// Keeps the day in the place of the oldest ones, unless it has too many cells by itself.
    pub(super) fn keep(&self, key: String, replay: &Arc<Replay>) {
        if CELLS_MAX < replay.cells() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push_front((key, Arc::clone(replay)));
        let mut cells = 0;
        kept.retain(|(_, replay)| {
            cells += replay.cells();
            cells <= CELLS_MAX
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_kept_within_a_bound_and_the_oldest_go() {
        let kept = KeptReplays::default();
        let (half, more) = (Arc::new(Replay::of_cells(CELLS_MAX / 2)), Arc::new(Replay::of_cells(CELLS_MAX + 1)));
        for key in ["first", "second", "second"] {
            kept.keep(key.to_owned(), &half);
        }
        assert!(kept.find("first").is_some() && kept.find("second").is_some());
        kept.keep("too many".to_owned(), &more);
        kept.keep("third".to_owned(), &half);
        let found = ["first", "second", "third", "too many"].map(|key| kept.find(key).is_some());
        assert_eq!(found, [false, true, true, false]);
    }
}
