//! Answers that go on until somebody ends them: how many there may be, and that they end with the server.

use crate::access::{Access, CostReader};
use crate::app::App;
use crate::auth::{Caller, authenticate};
use crate::problem::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The room for streams. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Streams {
    streams_max: usize,
    room: Arc<Semaphore>,
    stopped: Arc<watch::Sender<bool>>,
}

/// A place in the room, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    stopped: watch::Receiver<bool>,
}

impl Streams {
    /// Returns room for so many streams at once.
    #[must_use]
    pub fn new(streams_max: usize) -> Self {
        let room = Arc::new(Semaphore::new(streams_max.min(Semaphore::MAX_PERMITS)));
        Self { streams_max, room, stopped: Arc::new(watch::Sender::new(false)) }
    }

    /// Returns other room, for so many at once, that ends with this one.
    #[must_use]
    pub fn with_room(&self, streams_max: usize) -> Self {
        Self { stopped: Arc::clone(&self.stopped), ..Self::new(streams_max) }
    }

    /// Ends every stream, and those that come later at once: the server stops.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Returns a place.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`] when there is none.
    pub(crate) fn enter(&self) -> Result<Place, ApiError> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        let permit = permit.map_err(|_| ApiError::TooManyStreams { streams_max: self.streams_max })?;
        Ok(Place { _permit: permit, stopped: self.stopped.subscribe() })
    }
}

impl Place {
    /// Returns when the server stops.
    pub(crate) async fn stopped(&mut self) {
        // An error means that nobody can tell any more, which is the end as well.
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
    }
}

/// Who opened a stream, to be asked again whether the token still opens it.
#[derive(Clone, Debug)]
pub struct StreamCaller(Parts);

impl<S: Send + Sync> FromRequestParts<S> for StreamCaller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.clone()))
    }
}

impl StreamCaller {
    /// Returns the caller as the token stands now.
    ///
    /// # Errors
    /// When it was revoked, ended, or no longer reads costs.
    pub(crate) async fn cost_reader(&self, app: &App) -> Result<CostReader, ApiError> {
        let caller: Caller = authenticate(app, &self.0).await?;
        Access::CostReader.check(caller.role)?;
        Ok(CostReader::of(caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_room_for_so_many_and_all_end_with_the_server() {
        let streams = Streams::new(1);
        let mut place = streams.enter().expect("room for one");
        assert!(matches!(streams.enter(), Err(ApiError::TooManyStreams { streams_max: 1 })));
        streams.stop();
        place.stopped().await;
        drop(place);
        streams.enter().expect("room again").stopped().await;
        let beside = streams.with_room(2);
        let _first = beside.enter().expect("room of its own");
        beside.enter().expect("room for two").stopped().await;
    }
}
