//! The catalog's conformance suite: every test opens an empty catalog through `open`, so that a second
//! database needs a second `open` and nothing else.

/// Tokens, audit log, idempotency keys, leases.
mod access;
/// Opening, migrating, set-once facts, watermarks, concurrent writers.
mod opening;
/// Policies, rate cards, meters, exchange rates, recurring costs.
mod rules;
/// Tenants, facts, aliases.
mod tenants;
/// Imports, postings, runs.
mod work;

use storage::catalog::Catalog;

/// An empty catalog in a folder of its own, which lives as long as the returned guard.
async fn open() -> (Catalog, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
    (catalog, folder)
}
