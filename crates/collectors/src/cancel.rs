//! Work that somebody may ask to end early.
//!
//! The wish is a row of the catalog, so that any process can be told. Whoever does the work looks for it: what leaves no trace
//! ends at once, and what is being stored is stored as a whole.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use storage::catalog::Catalog;
use tokio_util::sync::CancellationToken;

/// How often the catalog is asked.
const LOOK: Duration = Duration::from_millis(500);

/// Whether work is to end early. Cheap to clone; all clones are told at once.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    token: CancellationToken,
    by: Arc<OnceLock<String>>,
}

impl Cancel {
    /// Asks for the end.
    pub fn ask(&self, by: &str) {
        // Who asked first stays noted.
        let _ = self.by.set(by.to_owned());
        self.token.cancel();
    }

    /// Returns the same for a part of the work, which may be asked to end alone.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { token: self.token.child_token(), by: Arc::default() }
    }

    /// Returns whether somebody asked. Does not block.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns who asked; nobody has an empty name.
    #[must_use]
    pub fn by(&self) -> &str {
        self.by.get().map_or("", String::as_str)
    }

    /// Returns what work brings, or nothing if somebody asks before it is done. Only for what leaves no trace.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            done = work => Some(done),
        }
    }
}

/// Waits until somebody asks for a run to be cancelled, and returns who.
pub(crate) async fn asked_by(catalog: &Catalog, run: &str) -> String {
    loop {
        match catalog.run_cancelled_by(run).await {
            Ok(Some(by)) => return by,
            Ok(None) => {}
            Err(error) => tracing::warn!(run.id = run, ?error, "whether run {run} is cancelled cannot be looked up"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Cancel;

    #[test]
    fn a_part_may_end_alone_and_ends_with_the_whole() {
        let whole = Cancel::default();
        let (one, other) = (whole.part(), whole.part());
        one.ask("");
        assert_eq!([&one, &other, &whole].map(Cancel::is_asked), [true, false, false]);
        whole.ask("ann");
        assert!(other.is_asked());
    }

    #[tokio::test]
    async fn what_was_asked_to_end_does_not_begin_and_the_first_who_asked_is_named() {
        let cancel = Cancel::default();
        assert_eq!((cancel.unless(async { 1 }).await, cancel.is_asked(), cancel.by()), (Some(1), false, ""));
        let asking = cancel.clone();
        let endless = async {
            asking.ask("ann");
            std::future::pending::<u32>().await
        };
        assert_eq!(cancel.unless(endless).await, None);
        cancel.ask("bob");
        assert_eq!((cancel.unless(async { 1 }).await, cancel.is_asked(), cancel.by()), (None, true, "ann"));
    }
}
