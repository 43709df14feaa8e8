//! Behaviour of the API through the real router, over an embedded store, with a fixed clock and no network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod adapters;
mod app;
mod backfill;
mod documents;
mod event_list;
mod events;
mod exporter;
mod gaps;
mod idempotency;
mod imports;
mod isolation;
mod lists;
mod live;
mod problems;
mod rates;
mod schedule;
mod schemas;
mod snapshots;
mod streams;
mod tenants;
mod tokens;
mod unit_costs;
mod windows;
mod worked_example;
