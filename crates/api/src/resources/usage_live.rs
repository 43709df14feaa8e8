//! How much was used, told again each second as long as somebody listens.

use super::costs::RangeBody;
use crate::access::CostReader;
use crate::app::App;
use crate::convert::{day, owned, quantity};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use crate::streams::{Place, StreamCaller};
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use engine::query::usage::{LiveUsage, UsageQuery, UsageRow};
use futures::Stream;
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::{IntoParams, ToSchema};

/// Which totals.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LiveUsageParams {
    /// The meter; it must be named.
    pub meter: Option<String>,
    /// `7d`, `mtd`, `2026-10`, `2026-10-01..2026-10-31` …; default: today, also when the day changes.
    pub range: Option<String>,
    /// First day, with `to`.
    pub from: Option<String>,
    /// Last day.
    pub to: Option<String>,
    /// Up to four of tenant, user, workflow, repo, task_class, cluster, plan, parent, label:<key>, meter, origin, category.
    pub group_by: Option<String>,
    /// Terms such as `user:anna -origin:snapshot`.
    pub filter: Option<String>,
    /// Most rows of an event.
    pub limit: Option<usize>,
}

/// The totals at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LiveUsageBody {
    /// When they were looked up.
    pub at: String,
    /// The totals in order of their keys.
    pub rows: Vec<LiveUsageRow>,
    /// Whether there are more rows than `limit`.
    pub more: bool,
    /// The days that they are of.
    pub range: RangeBody,
}

/// One total.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LiveUsageRow {
    /// What it is of.
    pub key: BTreeMap<String, Option<String>>,
    /// How much, as a decimal.
    pub quantity: String,
    /// In which unit.
    pub unit: String,
    /// Values that went in.
    pub events: u64,
}

/// Streams a meter's totals as server-sent events: `usage` at once and then each second in which one of them changed.
///
/// Seconds in which nothing changed are a comment. An `error` with a code ends the stream: the token was revoked, or the
/// totals cannot be told any more. So does the end of the server.
#[utoipa::path(get, path = "/api/v1/usage/live", tag = "usage", params(LiveUsageParams),
    responses((status = 200, content_type = "text/event-stream", body = LiveUsageBody)))]
pub async fn follow_usage(
    _reader: CostReader,
    caller: StreamCaller,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut ticks = tokio::time::interval(app.limits.live_wait);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let totals = app.engine.live_usage(app.limits.live_keys_max);
    let mut follower = Follower { place: app.streams.enter()?, app, caller, query, totals, ticks };
    // What is wrong with the question is answered before the stream begins.
    let first = follower.look().await?;
    Ok(Sse::new(events(follower, first)).into_response())
}

/// Who follows which totals.
struct Follower {
    app: App,
    caller: StreamCaller,
    query: QueryPairs,
    totals: LiveUsage,
    ticks: Interval,
    place: Place,
}

impl Follower {
    /// Returns the totals if they changed since the last look. The token and the days are looked at each time.
    async fn look(&mut self) -> Result<Option<LiveUsageBody>, ApiError> {
        let reader = self.caller.cost_reader(&self.app).await?;
        let query = UsageQuery::live_from_params(self.query.params()?, &self.app.live_limits())?;
        let at = self.app.now();
        let Some(rows) = self.totals.next(&reader.usage_scope(), &query).await? else { return Ok(None) };
        Ok(Some(LiveUsageBody {
            at: at.to_string(),
            rows: rows.iter().take(query.limit).map(to_api_total).collect(),
            more: query.limit < rows.len(),
            range: RangeBody {
                from: day(query.range.from()),
                to: day(query.range.to()),
                timezone: self.app.zone().name().to_owned(),
            },
        }))
    }

    /// Returns what the next look finds; none when the server stops.
    async fn next(&mut self) -> Option<Result<Option<LiveUsageBody>, ApiError>> {
        tokio::select! {
            biased;
            () = self.place.stopped() => return None,
            _ = self.ticks.tick() => {}
        }
        Some(self.look().await)
    }
}

/// The stream of a follower; the follower, and with it its place, goes when the caller does.
fn events(follower: Follower, first: Option<LiveUsageBody>) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = (Some(follower), first);
    futures::stream::unfold(start, |(follower, first)| async move {
        let mut follower = follower?;
        let found = match first {
            Some(first) => Ok(Some(first)),
            None => follower.next().await?,
        };
        match found {
            Ok(Some(totals)) => Some((Ok(event("usage", &totals)), (Some(follower), None))),
            Ok(None) => Some((Ok(Event::default().comment("unchanged")), (Some(follower), None))),
            Err(error) => Some((Ok(failure(&error)), (None, None))),
        }
    })
}

fn failure(error: &ApiError) -> Event {
    let code = error.code();
    if code == "internal" {
        tracing::error!(?error, "a stream of live usage ended");
    }
    event("error", &serde_json::json!({ "code": code }))
}

fn event(name: &str, body: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(body).expect("totals are plain JSON"))
}

fn to_api_total(row: &UsageRow) -> LiveUsageRow {
    LiveUsageRow {
        key: row.key.iter().map(|(name, value)| (name.clone(), owned(value))).collect(),
        quantity: quantity(row.quantity),
        unit: row.unit.to_string(),
        events: u64::try_from(row.events).unwrap_or(u64::MAX),
    }
}
