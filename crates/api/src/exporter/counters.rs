//! What became of events since the process started.

use metering::refusal::RefusalCode;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Code of pushed data points and samples that cannot be counted; each has its own reason in the answer.
const SAMPLES_REFUSED: &str = "samples_refused";

/// How many events came to what. Each number only grows.
#[derive(Debug)]
pub struct EventCounters {
    accepted: AtomicU64,
    duplicates: AtomicU64,
    rejected: Mutex<BTreeMap<String, u64>>,
}

impl Default for EventCounters {
    /// Every code is there from the start, so that the first refusal is an increase.
    fn default() -> Self {
        let codes = RefusalCode::ALL.iter().map(|code| code.as_str()).chain([SAMPLES_REFUSED]);
        let rejected = codes.map(|code| (code.to_owned(), 0)).collect();
        Self { accepted: AtomicU64::new(0), duplicates: AtomicU64::new(0), rejected: Mutex::new(rejected) }
    }
}

impl EventCounters {
    /// Counts events that were accepted, that came before, and that were refused, by their code.
    pub(crate) fn count<'c>(&self, accepted: u64, duplicates: u64, rejected: impl IntoIterator<Item = &'c str>) {
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        let mut codes = rejected.into_iter().peekable();
        if codes.peek().is_none() {
            return;
        }
        let mut counts = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        for code in codes {
            match counts.get_mut(code) {
                Some(count) => *count += 1,
                None => drop(counts.insert(code.to_owned(), 1)),
            }
        }
    }

    /// Counts data points and samples that were pushed.
    pub(crate) fn count_samples(&self, accepted: u64, duplicates: u64, refused: u64) {
        self.count(accepted, duplicates, []);
        let mut counts = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(SAMPLES_REFUSED.to_owned()).or_default() += refused;
    }

    /// Returns how many events were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns how many came before.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Returns how many were refused, by code.
    #[must_use]
    pub fn rejected(&self) -> BTreeMap<String, u64> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
