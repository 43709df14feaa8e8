//! A thread of its own for work that follows one upon the other.
//!
//! The allocator keeps memory for each thread that ever asked for some. If every thread of the server read some days of a
//! long answer in turn, each would keep what a day needs; one thread keeps it once.

use crate::EngineError;
use datafusion::error::DataFusionError;
use futures::future::{BoxFuture, FutureExt};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::thread;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

/// Threads that read files for the one that works.
const FILE_THREADS_MAX: usize = 1;

type Work = BoxFuture<'static, ()>;

/// A thread that does one piece of work after the other, and ends when this is dropped and the work is done.
pub(super) struct OneThread(mpsc::UnboundedSender<Work>);

/// What a piece of work will return.
pub(super) struct Answer<T>(oneshot::Receiver<thread::Result<T>>);

impl OneThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start() -> Result<Self, EngineError> {
        let (sender, work) = mpsc::unbounded_channel();
        let started = thread::Builder::new().name("export".to_owned()).spawn(move || do_all(work));
        started.map_err(DataFusionError::from)?;
        Ok(Self(sender))
    }

    /// Has the work done after what was given before.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Answer<T> {
        let (sender, answer) = oneshot::channel();
        let work = async move {
            // Nobody waits any more if the client went away.
            drop(sender.send(AssertUnwindSafe(work).catch_unwind().await));
        };
        // A thread that could not begin drops the work, and whoever waits for the answer gets the error.
        drop(self.0.send(work.boxed()));
        Answer(answer)
    }
}

impl<T> Answer<T> {
    /// Returns what the work returned; panics if it did.
    ///
    /// # Errors
    /// When the thread could not begin.
    pub async fn get(self) -> Result<T, EngineError> {
        let lost =
            |_| DataFusionError::Execution("the thread of an export could not begin; the log says why".to_owned());
        Ok(self.0.await.map_err(lost)?.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

fn do_all(mut work: mpsc::UnboundedReceiver<Work>) {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(FILE_THREADS_MAX).build();
    match runtime {
        Ok(runtime) => runtime.block_on(async move {
            while let Some(next) = work.recv().await {
                next.await;
            }
        }),
        Err(error) => tracing::error!(?error, "the thread of an export could not begin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::ThreadId;
    use tokio::task::spawn_blocking;

    async fn threads() -> (ThreadId, ThreadId) {
        let reading = spawn_blocking(|| thread::current().id()).await.expect("it does not panic");
        (thread::current().id(), reading)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_work_is_done_by_the_same_two_threads() {
        let one = OneThread::start().expect("a thread");
        let answers: Vec<_> = (0..20).map(|_| one.run(threads())).collect();
        let mut found = Vec::new();
        for answer in answers {
            found.push(answer.get().await.expect("it began"));
        }
        assert!(found.iter().all(|threads| *threads == found[0]), "{found:?}");
        assert_ne!(found[0].0, thread::current().id());
    }

    #[tokio::test]
    async fn a_panic_reaches_who_asked_and_nobody_else() {
        let one = OneThread::start().expect("a thread");
        let (bad, good) = (one.run(async { assert_eq!(1, 2) }), one.run(async { 3 }));
        drop(one);
        assert!(AssertUnwindSafe(bad.get()).catch_unwind().await.is_err());
        assert_eq!(good.get().await.expect("it began"), 3);
    }
}
