use super::runs::RunProgress;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::broadcast;

/// Messages kept for a follower that is slow.
const BACKLOG: usize = 64;

/// Runs under way in this process, and who follows them.
#[derive(Debug, Default)]
pub(super) struct Hub {
    channels: Mutex<HashMap<String, broadcast::Sender<RunProgress>>>,
}

impl Hub {
    pub(super) fn open(&self, run: &str) {
        let (sender, _) = broadcast::channel(BACKLOG);
        self.lock().insert(run.to_owned(), sender);
    }

    /// Ends the channel; followers see that it is closed.
    pub(super) fn close(&self, run: &str) {
        self.lock().remove(run);
    }

    pub(super) fn follow(&self, run: &str) -> Option<broadcast::Receiver<RunProgress>> {
        self.lock().get(run).map(broadcast::Sender::subscribe)
    }

    pub(super) fn report(&self, run: &str, progress: RunProgress) {
        if let Some(sender) = self.lock().get(run) {
            // Nobody listening is no error.
            drop(sender.send(progress));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<RunProgress>>> {
        self.channels.lock().expect("nothing panics while it holds the lock")
    }
}
