//! One file per resource: its handlers, its shapes on the wire, its conversions.

/// Cost by any dimension.
pub mod costs;
/// How much of the cost was measured.
pub mod coverage;
/// Where one amount comes from.
pub mod explain;
/// Entries, postings, proof, verification.
pub mod ledger;
/// Attribution of a range of days.
pub mod runs;
/// Shared clusters and what a tenant paid for them (S2).
pub mod clusters;
/// Bills: imports and lines.
pub mod cost_lines;
/// Imports of usage events.
pub mod event_imports;
/// What was imported.
pub mod imports;
/// Recurring and manual costs.
pub mod fixed_costs;
/// Exchange rates.
pub mod fx_rates;
/// Tables of exchange rates as text.
mod fx_text;
/// Overhead and its fixed cost lines.
pub mod overhead;
/// Who is charged.
pub mod tenants;
/// Pools of a day's policy.
pub mod pools;
/// Versions of policies.
pub mod policies;
/// Versions of rate cards.
pub mod rate_cards;
/// What policies and rate cards have in common: dated versions of a TOML text.
pub mod versions;
/// How events become quantities.
pub mod meters;
/// Who may ask.
pub mod tokens;
/// Who changed what.
pub mod audit_log;
/// Whether the server is alive and ready, and its documentation.
pub mod health;
