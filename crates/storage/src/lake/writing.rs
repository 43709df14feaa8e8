//! Which data files this process is writing, so that nobody takes them for leftovers.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::path::Path;

/// Paths below the lake's root of data files that were begun and that no commit names yet.
///
/// A file that never gets its commit stays here until the process ends; after that it is a leftover.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    paths: Mutex<HashSet<String>>,
}

impl Writing {
    /// Notes a file before its first byte is written.
    pub fn begin(&self, path: &Path) {
        self.paths().insert(path.to_string());
    }

    /// Forgets a file: a commit names it now, or it was deleted.
    pub fn end(&self, path: &str) {
        self.paths().remove(path);
    }

    /// The files at this moment.
    pub fn snapshot(&self) -> HashSet<String> {
        self.paths().clone()
    }

    fn paths(&self) -> MutexGuard<'_, HashSet<String>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
