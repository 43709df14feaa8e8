//! Behaviour of the API through the real router, over an embedded store, with a fixed clock and no network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod adapters;
mod adjustments;
mod app;
mod audit;
mod backfill;
mod changes;
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
mod numbers;
mod periods;
mod problems;
mod rates;
mod schedule;
mod schemas;
mod sessions;
mod snapshots;
mod statements;
mod streams;
mod tenants;
mod tokens;
mod unattributed;
mod unit_costs;
mod what_if;
mod windows;
mod worked_example;
