//! How a run goes on, as server-sent events: `progress` as long as it is told, then its end.

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Serialize;
use std::convert::Infallible;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// Returns what each step says, and then what `end` says once the run is over. A run that is carried out elsewhere, or
/// over already, has no follower here: only its end is told.
pub(crate) fn follow<P: Clone + Send + 'static>(
    follower: Option<Receiver<P>>,
    told: impl Fn(P) -> Event + Send + 'static,
    end: impl Future<Output = Event> + Send + 'static,
) -> Response {
    let steps = futures::stream::unfold(follower, |follower| async move {
        let mut receiver = follower?;
        let step = next_of(&mut receiver).await?;
        Some((step, Some(receiver)))
    });
    let events = steps.map(told).chain(futures::stream::once(end)).map(Ok::<Event, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// The next step; none once the run is over. A follower that is slow misses steps.
async fn next_of<P: Clone>(receiver: &mut Receiver<P>) -> Option<P> {
    loop {
        match receiver.recv().await {
            Ok(step) => return Some(step),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Returns an event with a body as JSON.
pub(crate) fn event(name: &str, body: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(body).expect("a run is plain JSON"))
}

/// Returns the end of a run that cannot be looked up any more.
pub(crate) fn lost() -> Event {
    Event::default().event("error").data("{\"status\":\"failed\"}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use tokio::sync::broadcast;

    async fn check(follower: Option<Receiver<u32>>, expected: &str) {
        let told = |step: u32| Event::default().data(step.to_string());
        let answer = follow(follower, told, async { Event::default().data("end") });
        let bytes = to_bytes(answer.into_body(), 1_000).await.expect("events");
        assert_eq!(String::from_utf8(bytes.to_vec()).expect("UTF-8"), expected);
    }

    #[tokio::test]
    async fn steps_come_before_the_end_and_the_oldest_are_missed_by_who_is_slow() {
        let (sender, receiver) = broadcast::channel(2);
        for step in 1..=3 {
            sender.send(step).expect("somebody follows");
        }
        drop(sender);
        check(Some(receiver), "data: 2\n\ndata: 3\n\ndata: end\n\n").await;
        check(None, "data: end\n\n").await;
    }
}
