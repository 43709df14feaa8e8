//! Behaviour of the API through the real router, over an embedded store, with a fixed clock and no network.

mod access;
mod app;
mod documents;
mod idempotency;
mod imports;
mod isolation;
mod lists;
mod problems;
mod schemas;
mod tenants;
mod tokens;
mod worked_example;
