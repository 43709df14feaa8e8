//! Runs under way and who follows them.

use crate::EngineError;
use domain::{Day, DayRange};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::broadcast;

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunProgress {
    /// The run.
    pub run: String,
    /// Days computed so far.
    pub done_days: i32,
    /// Days asked for.
    pub total_days: i32,
}

/// Messages kept for a follower that is slow.
const BACKLOG: usize = 64;
/// How often a run of another process is looked up.
const POLL: Duration = Duration::from_millis(200);

/// Runs under way in this process.
#[derive(Debug, Default)]
pub struct Hub {
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

    pub(super) fn report(&self, run: &str, range: DayRange, day: Day) {
        if let Some(sender) = self.lock().get(run) {
            let done_days = day.epoch_days() - range.from().epoch_days() + 1;
            // Nobody listening is no error.
            drop(sender.send(RunProgress { run: run.to_owned(), done_days, total_days: range.len() }));
        }
    }

    /// Returns when the run is over, in this process or another.
    pub(super) async fn wait_for<F>(&self, run: &str, is_over: impl Fn() -> F) -> Result<(), EngineError>
    where
        F: Future<Output = Result<bool, EngineError>>,
    {
        if let Some(mut receiver) = self.follow(run) {
            while !matches!(receiver.recv().await, Err(broadcast::error::RecvError::Closed)) {}
        }
        while !is_over().await? {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, broadcast::Sender<RunProgress>>> {
        self.channels.lock().expect("nothing panics while it holds the lock")
    }
}
