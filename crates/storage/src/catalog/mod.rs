//! The catalog: tenants, tokens, rules, rates and the record of work, in SQLite or PostgreSQL.
//!
//! Owns: the relational rows of `migrations/`, whose comments are the design document.
//! Never: money arithmetic, the wall clock, access rights, or anything that only the lake may decide;
//! `imports`, `postings` and `period_changes` are caches that [`Catalog::replace_imports`] and its like repair.
//! Start reading at [`Catalog::open`], then `tenants.rs`, which shows how dated rows work.
//!
//! Instants are microseconds since 1970 in UTC, days `YYYY-MM-DD`, decimals text. Every time is a parameter.

/// Opens the database, applies the migrations, hands out transactions.
mod connect;
/// What the two databases want said differently.
mod dialect;
/// What can go wrong, in the catalog's words.
mod error;

/// Facts about the store that are set once, and the strictly rising recorded time.
mod meta;
/// The rows of tenants, and which of them count on a day.
mod tenant_facts;
/// What aliases and merges must not say.
mod tenant_ties;
/// Reads and writes tenants, their dated facts and aliases.
mod tenants;

/// The record of who changed what.
mod audit;
/// First answers to keyed writes.
mod idempotency;
/// Bearer tokens, by hash only.
mod tokens;

/// Recurring and manual costs.
mod fixed_costs;
/// Exchange rates with their history.
mod fx;
/// Totals of providers' invoices.
mod invoices;
/// When meters took events.
mod meter_spans;
/// Dated definitions of meters.
mod meters;
/// What was counted last of cumulative metrics.
mod metric_streams;
/// What was used at providers, day by day.
mod provider_usage;
/// Events that were taken back.
mod retractions;
/// Published versions of policies and rate cards.
mod rules;

/// Jobs that are done once a day.
mod jobs;
/// What the lake can tell, kept here to be read quickly: imports, postings.
mod lake_cache;
/// Whose turn it is.
mod leases;
/// Closed and reopened months, as the lake tells them, and what of them is not corrected.
mod periods;
/// Readings of sources that are under way, and the last one of each.
mod refreshes;
/// What each day's last run saw, and how its pools fared.
mod run_days;
/// Attribution runs.
mod runs;
/// Runs that measured the workspaces of applications.
mod snapshot_runs;
/// What was said of billing periods of sources.
mod source_periods;
/// How each source of usage fared, and where its next reading goes on.
mod sources;
/// Statements of closed months, as they were issued.
mod statements;

pub use audit::{AuditRow, NewAudit};
pub use connect::Catalog;
pub use error::CatalogError;
pub use fixed_costs::FixedCostRow;
pub use fx::{FxRateRow, NewFxRate};
pub use idempotency::{IdempotencyStart, StoredResponse};
pub use invoices::InvoiceRow;
pub use jobs::{JobEnd, JobRow};
pub use lake_cache::{ImportRow, PostingRow};
pub use leases::{LEASE_HELD, LEASE_TOLD_EVERY};
pub use meta::MetaKey;
pub use meter_spans::MeterSpanRow;
pub use meters::MeterRow;
pub use metric_streams::MetricStreamRow;
pub use periods::{PendingCorrectionRow, PeriodChangeRow};
pub use provider_usage::ProviderUsageRow;
pub use refreshes::RefreshRow;
pub use retractions::RetractionRow;
pub use rules::{Publication, Published, RuleKind, RuleVersionRow};
pub use run_days::{RunDayRow, RunPoolStateRow};
pub use runs::RunRow;
pub use snapshot_runs::SnapshotRunRow;
pub use source_periods::SourcePeriodRow;
pub use sources::SourceRow;
pub use statements::{StatementDocumentRow, StatementHashRow, StatementRow};
pub use tenant_facts::{
    ALWAYS, NewTenantAlias, NewTenantFact, TenantAliasRow, TenantFactRow, TenantRow, aliases_on, fact_on,
};
pub use tokens::TokenRow;
