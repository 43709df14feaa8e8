use super::runs::{RunProgress, SnapshotRun};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::broadcast;

/// Messages kept for a follower that is slow.
const BACKLOG: usize = 64;

/// Runs under way in this process, and who follows them.
#[derive(Debug, Default)]
pub(super) struct Hub {
    channels: Mutex<HashMap<String, Channel>>,
}

#[derive(Debug)]
struct Channel {
    /// The run as it began.
    run: SnapshotRun,
    sender: broadcast::Sender<RunProgress>,
}

impl Hub {
    /// Opens the channel of a run, unless one of the same day is under way: then returns that one.
    pub(super) fn open(&self, run: &SnapshotRun) -> Option<SnapshotRun> {
        let mut channels = self.lock();
        let other = channels.values().map(|channel| &channel.run).find(|other| other.date == run.date).cloned();
        if other.is_some() {
            return other;
        }
        let (sender, _) = broadcast::channel(BACKLOG);
        channels.insert(run.id.clone(), Channel { run: run.clone(), sender });
        None
    }

    /// Ends the channel; followers see that it is closed.
    pub(super) fn close(&self, run: &str) {
        self.lock().remove(run);
    }

    pub(super) fn follow(&self, run: &str) -> Option<broadcast::Receiver<RunProgress>> {
        self.lock().get(run).map(|channel| channel.sender.subscribe())
    }

    pub(super) fn report(&self, run: &str, progress: RunProgress) {
        if let Some(channel) = self.lock().get(run) {
            // Nobody listening is no error.
            drop(channel.sender.send(progress));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().expect("nothing panics while it holds the lock")
    }
}
