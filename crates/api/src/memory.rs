//! How much memory the events of all requests in work may take together.
//!
//! A request takes its share step by step: what it has sent so far, then what its events become. If there is no more room
//! it is refused as a whole and nothing of it is stored, so that no number of senders takes more than was allowed.

use crate::problem::ApiError;
use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is taken at a time, so that requests seldom meet at the counter.
const STEP_BYTES: usize = 64 * 1024;
/// The configuration key that says how much there is.
const KEY: &str = "limits.events_memory";

/// The memory for events in work. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct EventMemory {
    steps_max: usize,
    free: Arc<Semaphore>,
}

/// What one request holds of it, or a part of that, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct EventShare {
    memory: EventMemory,
    /// Steps of all parts of the request.
    of_request: Arc<AtomicUsize>,
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl EventMemory {
    /// Returns memory of so many bytes, in whole steps of 64 KiB and one at least.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let steps_max = usize::try_from(bytes_max).unwrap_or(usize::MAX) / STEP_BYTES;
        let steps_max = steps_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { steps_max, free: Arc::new(Semaphore::new(steps_max)) }
    }

    /// Returns a share of nothing yet.
    pub(crate) fn share(&self) -> EventShare {
        EventShare { memory: self.clone(), of_request: Arc::default(), bytes: 0, held: None }
    }
}

impl EventShare {
    /// Returns a further part for the same request, with nothing yet.
    pub(crate) fn part(&self) -> Self {
        Self { memory: self.memory.clone(), of_request: Arc::clone(&self.of_request), bytes: 0, held: None }
    }

    fn steps(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Returns the answer that holds the share until all of it was sent.
    pub(crate) fn held_until_sent(self, response: Response) -> Response {
        if self.steps() == 0 {
            return response;
        }
        let hold = move |error: axum::Error| {
            // What maps errors lives as long as the body does.
            let _held = &self;
            error
        };
        response.map(|body| Body::new(body.map_err(hold)))
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`ApiError::EventsBusy`] if others hold them now, [`ApiError::TooLarge`] if there are not as many for one request.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let bytes = self.bytes.saturating_add(bytes);
        let more = bytes.div_ceil(STEP_BYTES).saturating_sub(self.steps());
        if more == 0 {
            self.bytes = bytes;
            return Ok(());
        }
        let steps_max = self.memory.steps_max;
        if steps_max < self.of_request.load(Ordering::Relaxed).saturating_add(more) {
            let limit = (steps_max * STEP_BYTES) as u64;
            return Err(ApiError::TooLarge { what: "bytes of memory for its events", limit, key: KEY });
        }
        let permits = u32::try_from(more).expect("there are at most as many steps as a u32 counts");
        let taken = Arc::clone(&self.memory.free).try_acquire_many_owned(permits).map_err(|_| ApiError::EventsBusy)?;
        self.of_request.fetch_add(more, Ordering::Relaxed);
        self.bytes = bytes;
        match &mut self.held {
            Some(held) => held.merge(taken),
            None => self.held = Some(taken),
        }
        Ok(())
    }
}

impl Drop for EventShare {
    fn drop(&mut self) {
        self.of_request.fetch_sub(self.steps(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::HttpBody as _;

    #[tokio::test]
    async fn an_answer_holds_its_share_until_it_was_sent() {
        let memory = EventMemory::new(STEP_BYTES as u64);
        let mut share = memory.share();
        share.grow(1).expect("one step");
        let response = share.held_until_sent(Response::new(Body::from("text")));
        assert_eq!(response.body().size_hint().exact(), Some(4), "its length is still known");
        assert!(matches!(memory.share().grow(1), Err(ApiError::EventsBusy)));
        let sent = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(&sent[..], b"text");
        memory.share().grow(1).expect("room again");
    }

    #[test]
    fn shares_never_exceed_the_memory_and_come_back() {
        let memory = EventMemory::new(3 * STEP_BYTES as u64 + 1);
        let (mut one, mut other) = (memory.share(), memory.share());
        one.grow(1).expect("one step");
        one.grow(STEP_BYTES - 1).expect("within the step");
        one.grow(1).expect("two steps");
        other.grow(STEP_BYTES).expect("the third");
        assert!(matches!(other.grow(1), Err(ApiError::EventsBusy)));
        drop(one);
        other.grow(STEP_BYTES).expect("room again");
        assert!(matches!(other.part().grow(2 * STEP_BYTES), Err(ApiError::TooLarge { .. })), "its own parts never go");
        assert!(matches!(memory.share().grow(2 * STEP_BYTES), Err(ApiError::EventsBusy)));
        other.part().grow(STEP_BYTES).expect("the last one, which comes back at once");
        assert!(matches!(memory.share().grow(3 * STEP_BYTES + 1), Err(ApiError::TooLarge { key: KEY, .. })));
        drop(other);
        memory.share().grow(3 * STEP_BYTES).expect("all of it");
    }
}
