//! Events that were taken back before they came.

use crate::ids::IdKey;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

/// Keys of events that will not count when they come. Changed by the log's writer only; read by imports too.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    keys: RwLock<HashSet<IdKey>>,
    /// Their number: nearly always none, and then nobody needs the lock.
    len: AtomicUsize,
}

impl Waiting {
    /// Returns whether the event is not to count.
    pub fn contains(&self, key: &IdKey) -> bool {
        self.len.load(Ordering::Acquire) != 0 && self.keys.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Waits for an event.
    pub fn insert(&self, key: IdKey) {
        self.change(|keys| keys.insert(key));
    }

    /// Waits no longer.
    pub fn remove(&self, key: &IdKey) {
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        self.change(|keys| keys.remove(key));
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<IdKey>) -> bool) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut keys);
        self.len.store(keys.len(), Ordering::Release);
    }
}
