//! Turns events into usage: reading, checking, metering, rolling up, each event exactly once.
//!
//! Owns: CloudEvents, tenant and dimension rules of events, adapters of foreign payloads, meters, the hourly roll-up, event
//! files.
//! Never: bills, pools, the ledger, HTTP, the wall clock, floats beyond the text of a pushed metric. Time and
//! configuration are parameters.
//! Start reading at [`intake`], which takes one event after the other; [`import`] feeds it from a file.

/// Payloads of other programs as events: merged pull requests, tokens of model calls.
pub mod adapters;
/// Stored events that came before their meter.
pub mod backfill;
/// The identity and the content of an event, as hashes.
pub mod content;
/// What can go wrong.
mod error;
/// One CloudEvent, parsed and checked by itself.
pub mod event;
/// Which ids were accepted, for ever.
pub mod ids;
/// Event files: reading, exact deduplication, the two commits.
pub mod import;
/// One event after the other: accepted, a duplicate, or refused.
pub mod intake;
/// JSON as strict as a contract needs: exact numbers, no duplicate keys, bounded depth.
pub mod json;
/// Labels of events and of usage.
pub mod labels;
/// Events as they happen.
pub mod live;
/// Which meters counted a stored event.
mod metered;
/// What the meters read from an event.
pub mod meters;
/// Meters in the catalog.
pub mod publish;
/// Why one event is refused.
pub mod refusal;
/// Sums per hour and full key.
pub mod rollup;
/// Events and usage as rows of the lake.
mod rows;
/// What the organisation decides about events: zone, mapping, tenants, age.
pub mod rules;
/// Metrics pushed by OpenTelemetry and Prometheus.
pub mod streams;
/// What was answered survives: the write-ahead log.
pub mod wal;
/// Numbers and texts as records of the log hold them.
mod wire;

pub use error::MeteringError;
