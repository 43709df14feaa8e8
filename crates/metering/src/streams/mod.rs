//! Metrics pushed by OpenTelemetry exporters and by Prometheus become usage events, each exactly once.
//!
//! A push is decoded into points ([`otlp`], [`remote_write`]); those of mapped metrics become CloudEvents whose source is
//! the stream and whose id is the time, so that a push that is sent again changes nothing ([`Streams`]).
//!
//! Invariants:
//! * No float survives decoding: a double becomes the shortest decimal text that reads back as itself.
//! * What a cumulative stream counted last is a reading with an event. The row of the stream is written before the event
//!   and names the reading before it as well: which of the two counts is told by the index of ids.
//! * The readings of a stream add up: Σ quantities = the last reading − the first, once for each life of its counter.

/// What a cumulative reading adds to the one before.
mod delta;
/// The CloudEvent that a point becomes.
mod event_text;
/// From points to events, and what was counted last.
mod intake;
/// Which metrics are counted by which meters.
mod map;
/// What was counted last, of the streams seen lately.
mod memory;
/// OTLP metrics.
pub mod otlp;
/// OTLP metrics as JSON.
mod otlp_json;
/// How many parts a protobuf message has, before room is made for them.
mod parts;
/// One pushed value, whatever protocol brought it.
mod point;
/// Prometheus remote write.
pub mod remote_write;

#[cfg(test)]
mod tests;

pub use intake::{Intake, Outcome, Streams};
pub use map::{MetricMap, MetricRule};
pub use point::{Attributes, Point, PointKind, Protocol, PushError, PushLimits, Pushed, Refused, Series};
