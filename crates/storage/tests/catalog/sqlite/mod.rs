//! SQLite: a file in a folder of the test's own.

#![expect(clippy::duplicate_mod, reason = "one suite, two databases")]

/// Tokens, audit log, idempotency keys.
#[path = "../suite/access.rs"]
mod access;
/// Statements and invoices.
#[path = "../suite/closing.rs"]
mod closing;
/// Paths, and what only a file has.
mod file;
/// Leases and jobs.
#[path = "../suite/leases.rs"]
mod leases;
/// Opening, migrating, set-once facts, watermarks, concurrent writers.
#[path = "../suite/opening.rs"]
mod opening;
/// Policies, rate cards, meters, exchange rates, recurring costs.
#[path = "../suite/rules.rs"]
mod rules;
/// Tenants, facts, aliases.
#[path = "../suite/tenants.rs"]
mod tenants;
/// Imports, postings, runs.
#[path = "../suite/work.rs"]
mod work;

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use std::path::PathBuf;
use storage::catalog::{Catalog, CatalogError};

/// Where a catalog is, for as long as this lives.
pub struct Place(tempfile::TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("catalog.db")
    }

    /// Another handle, with connections of its own like those of a second process.
    pub async fn open(&self) -> Result<Catalog, CatalogError> {
        Catalog::open(&self.path()).await
    }

    /// Carries a statement out behind the catalog's back.
    pub async fn sql(&self, statement: &'static str) {
        let mut connection = SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// An empty catalog.
pub async fn open() -> (Catalog, Place) {
    let place = Place(tempfile::tempdir().unwrap());
    (place.open().await.unwrap(), place)
}
