//! Threads on which large bodies are decompressed and parsed.
//!
//! What a thread frees, the allocator keeps for that thread at first. So memory beyond `limits.events_memory` grows with
//! the number of threads that parse, not of requests: there are a few, and large bodies wait for their turn.

use crate::problem::ApiError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A plain body up to this size is parsed where it arrives: that takes less time than to hand it over.
const TINY_BYTES: usize = 4 * 1024;
/// A plain body from this size on waits for its turn; what smaller ones leave behind is little.
const LARGE_BYTES: usize = 64 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. Cheap to clone; they end with the last clone.
#[derive(Clone, Debug)]
pub struct Parsers {
    jobs: Sender<Job>,
}

impl Parsers {
    /// Starts so many threads, one at least.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads.max(1) {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new().name("parser".to_owned()).spawn(move || work_off(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// Does the work for a body of so many bytes, and returns what comes of it.
    ///
    /// # Errors
    /// What the work says.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        size: Size,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        match size {
            Size::Tiny => return work(),
            Size::Small => {
                return tokio::task::spawn_blocking(work)
                    .await
                    .map_err(|error| ApiError::Internal(error.to_string()))?;
            }
            Size::Large => {}
        }
        let ended = || ApiError::Internal("the threads that parse have ended".to_owned());
        let (tell, told) = tokio::sync::oneshot::channel();
        let job = move || {
            // If nobody waits any more, nobody needs to know.
            drop(tell.send(catch_unwind(AssertUnwindSafe(work))));
        };
        self.jobs.send(Box::new(job)).map_err(|_| ended())?;
        match told.await.map_err(|_| ended())? {
            Ok(done) => done,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// How much memory a body may become on the thread that parses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Next to nothing.
    Tiny,
    /// Little.
    Small,
    /// Much, or nobody knows: compressed bodies.
    Large,
}

impl Size {
    /// Returns the size of a body of so many bytes.
    pub(crate) fn of(bytes: usize, is_compressed: bool) -> Self {
        if is_compressed || LARGE_BYTES <= bytes {
            Self::Large
        } else if bytes <= TINY_BYTES {
            Self::Tiny
        } else {
            Self::Small
        }
    }
}

fn work_off(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::collections::HashSet;

    #[tokio::test]
    async fn large_bodies_share_a_few_threads() {
        let parsers = Parsers::start(2).expect("threads");
        let here = || Ok::<_, ApiError>(std::thread::current().id());
        let large = (0..50).map(|_| parsers.run(Size::of(LARGE_BYTES, false), here));
        let threads = futures::future::join_all(large).await.into_iter().collect::<Result<HashSet<_>, _>>();
        let threads = threads.expect("each is done");
        assert!((1..=2).contains(&threads.len()), "{threads:?}");
        let small = parsers.run(Size::of(LARGE_BYTES - 1, false), here).await.expect("done");
        assert!(!threads.contains(&small), "small ones do not wait for large ones");
        let tiny = parsers.run(Size::of(TINY_BYTES, false), here).await.expect("done");
        assert_eq!(tiny, std::thread::current().id(), "tiny ones are not handed over");
        assert_eq!(Size::of(1, true), Size::Large, "nobody knows what it unpacks to");
    }

    #[tokio::test]
    async fn a_parser_that_panics_goes_on_with_the_next_body() {
        let parsers = Parsers::start(1).expect("a thread");
        let broken = parsers.run(Size::Large, || -> Result<(), ApiError> { panic!("a bug") });
        assert!(AssertUnwindSafe(broken).catch_unwind().await.is_err(), "the panic is passed on");
        assert_eq!(parsers.run(Size::Large, || Ok(7)).await.expect("done"), 7);
    }
}
