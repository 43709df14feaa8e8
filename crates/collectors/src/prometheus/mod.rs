//! Reads usage from a Prometheus server by PromQL, hour by hour.
//!
//! One request only is ever sent: `POST {base}/api/v1/query_range`. What it answers becomes [`UsagePoint`]s: the value of a
//! series at time *t* describes the hour that ends at *t*. A hole is absence, not zero; `NaN` and infinities are left out
//! and counted.
//!
//! [`UsagePoint`]: crate::sources::UsagePoint

/// What the server answered, read strictly.
mod answer;
/// One request, sent again if that makes sense.
mod client;
/// What can go wrong.
mod error;
/// Whole hours, and the pieces in which they are asked for.
mod hours;
/// Queries for what the namespaces of a Kubernetes cluster use.
pub mod kubernetes;
/// Queries of one server, and how their series become points of usage.
mod query;
/// Texts that nobody prints.
mod secret;
/// A server that fails in every way.
#[cfg(test)]
pub(crate) mod tests;

pub use client::{Auth, ClientOptions, PrometheusClient, parse_base};
pub(crate) use client::{CONNECT_MAX, WAIT_MAX, asked_wait, innermost};
pub use error::PrometheusError;
pub(crate) use error::{beginning, shown};
pub use hours::{HourSpan, POINTS_MAX, hour_of};
pub use query::{PrometheusSource, PullError, Pulled, UsageQuery};
pub use secret::Secret;
