//! The metrics exporter: what Prometheus scrapes, on an address of its own.
//!
//! Invariants:
//! * Every amount is an answer of the one query object, printed from its integer; nothing here adds or rounds.
//! * A scrape costs next to nothing while no posting, no bill and no usage came since the last one.
//! * A store that fails makes values old or absent, and counts; it never makes the scrape fail.
//! * Who sends no token is let in from the same machine only.

/// Who may scrape and who may refresh.
mod callers;
/// What became of events.
mod counters;
/// Names, labels and meanings of the metrics.
pub mod families;
/// Costs, usage and limits of the month.
mod month;
/// Sources, runs, events, the program.
mod process;
/// Reading every source now.
mod refresh;
/// The text formats.
pub mod text;

use crate::app::App;
use crate::around::{Around, BasePath, answer};
use crate::limits::ApiLimits;
use crate::problem::ApiError;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use callers::may_scrape;
pub use counters::EventCounters;
use domain::ProviderLimit;
use domain::decimal::format_scaled;
use month::KeptMonth;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use text::Form;

/// Tenants with a series of their own, unless the configuration says otherwise.
const TENANTS_MAX: usize = 200;

/// What the exporter needs beside the engine, and what it keeps. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Exporter(Arc<Inner>);

/// The shared part of an [`Exporter`].
#[derive(Debug)]
pub struct Inner {
    tenants_max: usize,
    limits: Arc<[ProviderLimit]>,
    counters: EventCounters,
    errors: AtomicU64,
    month: Mutex<Option<KeptMonth>>,
    /// Held while the month is made: two at once would only do the same work twice.
    turn: tokio::sync::Mutex<()>,
    /// Held while all sources are read.
    refreshing: tokio::sync::Mutex<()>,
}

impl std::ops::Deref for Exporter {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new(TENANTS_MAX, Arc::new([]))
    }
}

impl Exporter {
    /// Returns an exporter that shows so many tenants, and these limits.
    #[must_use]
    pub fn new(tenants_max: usize, limits: Arc<[ProviderLimit]>) -> Self {
        Self(Arc::new(Inner {
            tenants_max,
            limits,
            counters: EventCounters::default(),
            errors: AtomicU64::new(0),
            month: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            refreshing: tokio::sync::Mutex::new(()),
        }))
    }
}

impl Inner {
    /// Returns what became of events.
    #[must_use]
    pub fn counters(&self) -> &EventCounters {
        &self.counters
    }

    /// Returns the limits of the configuration.
    #[must_use]
    pub fn limits(&self) -> &[ProviderLimit] {
        &self.limits
    }

    /// Counts a scrape that could not be answered with what is true now.
    fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// Returns the exporter's service: `GET /metrics` and `POST /refresh`. Serve it with the peer's address as
/// [`axum::extract::ConnectInfo`]; without it nobody is on the same machine.
pub fn exporter_router(app: App) -> Router {
    // A tag over megabytes that change with every scrape would cost more than the scrape.
    let limits = ApiLimits { etag_bytes_max: 0, ..ApiLimits::clone(&app.limits) };
    let around = Around { limits: Arc::new(limits), base: BasePath("".into()), held: Arc::new(()) };
    Router::new()
        .route("/metrics", get(scrape))
        .route("/refresh", post(refresh::refresh))
        .layer((from_fn_with_state(around, answer), DefaultBodyLimit::max(0)))
        .with_state(app)
}

/// Answers a scrape.
async fn scrape(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    may_scrape(&app, &parts).await?;
    let form = Form::asked(&parts.headers);
    // One after the other: a failure of the first is counted by the second.
    let month = app.month_text().await;
    let process = app.process_text(form).await;
    let pieces = [month, Bytes::from(process), Bytes::from_static(form.end().as_bytes())];
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(futures::stream::iter(pieces)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    Ok(response)
}

/// Returns microseconds since 1970 as seconds.
fn seconds_of(micros: i64) -> String {
    format_scaled(i128::from(micros), 6, 0)
}
