//! The REST API: routes, access, problems, and the shapes of the wire.
//!
//! Owns: HTTP, tokens, sessions and roles, JSON and CSV of answers, the OpenAPI document and its page, the metrics exporter.
//! Never: SQL, arithmetic on money, the wall clock, the environment. A handler extracts, calls one function, maps.
//! Start reading at [`routes`], the one list of all routes; [`router`] makes the service of it.

/// Who may call a route, as types of handler signatures.
pub mod access;
/// Adapters of the configuration, and how their deliveries are signed.
pub mod adapters;
/// What handlers work with.
pub mod app;
/// What happens around every handler: request id, access, panics, problems, ETag, headers.
mod around;
/// The record of who changed what.
mod audit;
/// Bearer tokens and whom they stand for.
pub mod auth;
/// A CloudEvent whose attributes are headers.
mod binary_event;
/// Request bodies: strict JSON, text, files spooled to disk.
mod body;
/// How a wish to cancel is answered.
mod cancel;
/// Which problem an error of another crate is.
mod codes;
/// Numbers, days and instants as the wire prints them.
mod convert;
/// The metrics exporter, on an address of its own.
pub mod exporter;
/// Recurring costs as cost lines, up to date before anything reads them.
mod fixed;
/// How a run goes on, as server-sent events.
mod follow;
/// Writes that may be repeated.
mod idempotency;
/// Tokens that were looked up lately, for while the catalog is away.
pub mod known_tokens;
/// How much a request may use.
pub mod limits;
/// Answers that are lists: JSON or CSV, pages, links.
mod list;
/// How much memory events in work may take.
pub mod memory;
/// The OpenAPI document.
mod openapi;
/// Threads on which large bodies are decompressed and parsed.
pub mod parsers;
/// Every error as RFC 9457, and the only place that knows HTTP statuses.
pub mod problem;
/// Query parameters, each known or refused.
mod query;
/// How many events each tenant may send.
pub mod rates;
/// One file per resource.
#[expect(unused_qualifications, reason = "the code that utoipa makes names our parameter types by their path")]
pub mod resources;
/// The one list of all routes.
pub mod routes;
/// What is done once a day, and how far it is.
pub mod schedule;
/// Logins of browsers, whose cookies stand for tokens.
pub mod sessions;
/// Answers that go on: how many, and when they end.
pub mod streams;
/// Keeping the lake's tables small: merging, expiring, vacuuming, one at a time.
pub mod upkeep;

pub use access::Access;
pub use app::{App, AppParts};
pub use around::Held;
pub use auth::{AdminToken, LocalAdmin, Role};
pub use exporter::{Exporter, exporter_router};
pub use known_tokens::KnownTokens;
pub use limits::ApiLimits;
pub use openapi::openapi;
pub use resources::settings::{PageSettings, TenantLinkBody};
pub use routes::{RouteFacts, route_facts, router, router_at, router_with};
pub use schedule::ScheduledJob;
pub use sessions::Sessions;
pub use streams::Streams;
pub use upkeep::Upkeep;
