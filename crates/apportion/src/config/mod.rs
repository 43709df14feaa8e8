//! `apportion.toml`, environment and flags, with the origin of each value.

/// The rules and secrets of `[[ingest.adapter]]`.
mod adapters;
/// What is refused when configuration is read, beyond what types refuse.
mod check;
/// Reads file, environment and flags into one configuration.
mod load;
/// The keys of `[[source]]` with `kind = "postgres_snapshot"`.
mod postgres;
/// The keys of `[[source]]` with `kind = "prometheus"`.
mod prometheus;
/// The keys of `[[source]]` of collectors.
mod providers;
/// The sections and keys.
mod schema;
/// Durations, sizes and times of day as they are written in configuration.
mod units;

pub use adapters::{adapter_rules, adapter_secrets};
pub use load::{Loaded, load};
pub use postgres::postgres_sources;
pub use prometheus::{PresetName, PrometheusKeys, QueryKeys, prometheus_sources};
pub use providers::provider_sources;
pub use schema::{AfterImport, Config, IngestMetric, Limits, Schedule, TenantLink, TenantsUnknown};
pub use units::{DurationText, SizeText};

/// The configuration file that `init` writes: every key with its default and what it means.
pub const DEFAULT_TOML: &str = include_str!("default.toml");
