//! What handlers work with.

use crate::auth::AdminToken;
use crate::limits::ApiLimits;
use collectors::ImportLimits;
use collectors::import::ImportContext;
use domain::{Day, Instant, Zone};
use engine::Engine;
use engine::query::QueryLimits;
use metering::rules::DimensionMap;
use std::path::Path;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::Imports;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Runs, postings and every question about the ledger.
    pub engine: Engine,
    /// Where imported files are kept.
    pub imports: Imports,
    /// How much an import may use.
    pub import_limits: ImportLimits,
    /// `[ingest.map]`.
    pub dimension_map: DimensionMap,
    /// Folder in which uploads wait until they are imported; on the disk of the data.
    pub spool: Arc<Path>,
    /// The token of the environment, if one is given.
    pub admin_token: Option<AdminToken>,
    /// How much a request may use.
    pub limits: Arc<ApiLimits>,
}

impl App {
    /// Returns the current instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.engine.clock().now()
    }

    /// Returns the current day of the organisation.
    #[must_use]
    pub fn today(&self) -> Day {
        self.engine.today()
    }

    /// Returns the last complete day of the organisation.
    #[must_use]
    pub fn last_complete_day(&self) -> Day {
        self.today().plus(-1)
    }

    /// Returns the organisation's zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.engine.settings().zone
    }

    /// Returns the catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        self.engine.catalog()
    }

    /// Returns what bounds the page of a list, but for costs.
    pub(crate) fn list_limits(&self) -> QueryLimits {
        self.engine.query_limits(self.limits.rows_default, self.limits.rows_max)
    }

    /// Returns what an import works with.
    pub(crate) fn import_context(&self) -> ImportContext {
        ImportContext {
            lake: self.engine.lake().clone(),
            imports: self.imports.clone(),
            catalog: self.catalog().clone(),
            zone: self.zone().clone(),
            limits: self.import_limits.clone(),
            now: self.now(),
        }
    }
}
