//! PostgreSQL: a server of the test's own.

#![expect(clippy::duplicate_mod, reason = "one suite, two databases")]

/// Tokens, audit log, idempotency keys.
#[path = "../suite/access.rs"]
mod access;
/// Statements and invoices.
#[path = "../suite/closing.rs"]
mod closing;
/// Leases and jobs.
#[path = "../suite/leases.rs"]
mod leases;
/// Opening, migrating, set-once facts, watermarks, concurrent writers.
#[path = "../suite/opening.rs"]
mod opening;
/// Policies, rate cards, meters, exchange rates, recurring costs.
#[path = "../suite/rules.rs"]
mod rules;
/// What only a server does: going away, several processes, an order of texts of its own.
mod server;
/// Tenants, facts, aliases.
#[path = "../suite/tenants.rs"]
mod tenants;
/// Imports, postings, runs.
#[path = "../suite/work.rs"]
mod work;

use storage::catalog::{Catalog, CatalogError};
use testkit::postgres::Postgres;

/// Where a catalog is, for as long as this lives.
pub struct Place(Postgres);

impl Place {
    /// Another handle, with connections of its own like those of a second process.
    pub async fn open(&self) -> Result<Catalog, CatalogError> {
        Catalog::open_url(&self.0.url("postgres")).await
    }

    /// Carries a statement out behind the catalog's back.
    pub async fn sql(&self, statement: &'static str) {
        self.0.psql("postgres", statement);
    }
}

/// An empty catalog.
pub async fn open() -> (Catalog, Place) {
    let place = Place(Postgres::start());
    (place.open().await.unwrap(), place)
}
