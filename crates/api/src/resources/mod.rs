//! One file per resource: its handlers, its shapes on the wire, its conversions.

/// Payloads of other programs: webhooks and exports.
pub mod adapters;
/// Cost that a person moves from one tenant to another.
pub mod adjustments;
/// Who changed what.
pub mod audit_log;
/// FOCUS BillingPeriod rows.
mod billing_periods;
/// Shared clusters and what a tenant paid for them (S2).
pub mod clusters;
/// Why a cost changed.
pub mod cost_changes;
/// Bills: imports and lines.
pub mod cost_lines;
/// Cost by any dimension.
pub mod costs;
/// How much of the cost was measured.
pub mod coverage;
/// Imports of usage events.
pub mod event_imports;
/// Events as they were accepted.
pub mod event_list;
/// Usage events as they happen.
pub mod events;
/// Where one amount comes from.
pub mod explain;
/// Files for spreadsheets.
pub mod exports;
/// Recurring and manual costs.
pub mod fixed_costs;
/// Where the money goes.
pub mod flows;
/// Exchange rates.
pub mod fx_rates;
/// Tables of exchange rates as text.
mod fx_text;
/// Whether the server is alive and ready, and its documentation.
pub mod health;
/// What was imported.
pub mod imports;
/// Totals of providers' invoices.
pub mod invoices;
/// The files of the lake's tables.
pub mod lake;
/// Entries, postings, proof, verification.
pub mod ledger;
/// What two states of the ledger differ by.
pub mod ledger_changes;
/// How much of providers' limits is used.
pub mod limits;
/// How events become quantities.
pub mod meters;
/// Metrics as they are pushed.
pub mod metrics;
/// Overhead and its fixed cost lines.
pub mod overhead;
/// Billing months: which are closed, closing and reopening them.
pub mod periods;
/// Versions of policies.
pub mod policies;
/// Pools of a day's policy.
pub mod pools;
/// Versions of rate cards.
pub mod rate_cards;
/// Bills compared with invoices and with the ledger.
pub mod reconciliation;
/// Attribution of a range of days.
pub mod runs;
/// What is done once a day.
pub mod schedule;
/// Signing in to pages and out again.
pub mod session;
/// What pages show of the configuration, and to whom.
pub mod settings;
/// Measuring the workspaces of applications now.
pub mod snapshot_runs;
/// What was measured of tenants, day by day.
pub mod snapshots;
/// Billing periods of the sources of cost lines.
pub mod source_periods;
/// Sources of usage.
pub mod sources;
/// Statements of closed months and their journal.
pub mod statements;
/// What a change says about a tenant, as dated facts.
mod tenant_facts;
/// Who is charged.
pub mod tenants;
/// Who may ask.
pub mod tokens;
/// What the cost of nobody is made of.
pub mod unattributed;
/// What a merged pull request and a completed workflow cost (S3).
pub mod unit_costs;
/// How much was used.
pub mod usage;
/// How much was used, as it happens.
pub mod usage_live;
/// What policies and rate cards have in common: dated versions of a TOML text.
pub mod versions;
/// What a draft would change in the ledger.
pub mod what_if;
