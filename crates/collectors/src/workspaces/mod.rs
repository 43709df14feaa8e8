//! Measures every workspace of an application in the application's own PostgreSQL, under its row-level security.
//!
//! Invariants:
//! * Nothing is written there: each workspace is read in one READ ONLY transaction, and the setting by which policies know
//!   the workspace is local to it.
//! * A connection that met an error, a time limit or a cancel is dropped, so nobody inherits its state.
//! * Before anything is measured it is made sure, in two independent ways, that no row of another workspace is counted.
//! * A workspace that fails keeps what was measured of it before, is listed, and stops no other.
//! * A run that is cancelled stores nothing of the source that it measures; what it stored of others before stays.
//! * Counters cover the whole day before the snapshot's day, whenever they are read; levels are read on their day only.

/// Ending a run before it measured every source.
mod cancel;
/// What can go wrong.
mod error;
/// Who carries a run out, and what becomes of one that nobody does.
mod held;
/// Runs under way and who follows them.
mod hub;
/// Refuses to count rows of other workspaces.
mod probe;
/// SQL of the configuration: parameters, names, metrics.
mod query;
/// Runs over all workspaces of a day.
mod runs;
/// A connection that only reads.
mod session;
/// One application: what is asked, and of whom.
mod source;
/// How each source fared, as the catalog keeps it.
mod status;
/// What the application says of its workspaces, as facts about tenants.
mod tenants;

pub use error::{MeasureError, ReadError, WorkspacesError};
pub use query::{MetricQuery, Param, Query};
pub use runs::{Begun, FailedTenant, RunFound, RunProgress, RunState, SnapshotRun};
pub use session::{ClientOptions, is_open_to_eavesdroppers, parse_url};
pub use source::{FailedWorkspace, Findings, Measurements, Occasion, PostgresSource, STORAGE, Workspace};

use domain::{Clock, Zone};
use hub::Hub;
use std::fmt;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::Lake;

/// What such a source is called in the configuration.
pub const KIND: &str = "postgres_snapshot";

/// All applications whose workspaces are measured. Cheap to clone.
#[derive(Clone)]
pub struct Workspaces {
    sources: Arc<[PostgresSource]>,
    lake: Lake,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    zone: Zone,
    reject_unknown_tenants: bool,
    node: Arc<str>,
    hub: Arc<Hub>,
}

impl fmt::Debug for Workspaces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.sources.iter().map(|source| &source.name)).finish()
    }
}

/// What measuring works with.
pub struct WorkspacesContext {
    /// Where snapshots are stored.
    pub lake: Lake,
    /// Where tenants and runs are entered.
    pub catalog: Catalog,
    /// Tells when it is.
    pub clock: Arc<dyn Clock>,
    /// Decides where days begin.
    pub zone: Zone,
    /// Whether workspaces that nobody entered are refused: `[tenants] unknown`.
    pub reject_unknown_tenants: bool,
    /// Name of this server among those that share the catalog.
    pub node: Arc<str>,
}

impl Workspaces {
    /// Returns the sources, none of them measured yet.
    #[must_use]
    pub fn new(sources: Vec<PostgresSource>, context: WorkspacesContext) -> Self {
        let WorkspacesContext { lake, catalog, clock, zone, reject_unknown_tenants, node } = context;
        let (sources, hub) = (sources.into(), Arc::default());
        Self { sources, lake, catalog, clock, zone, reject_unknown_tenants, node, hub }
    }

    /// Returns whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns whether a source of this name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.sources.iter().any(|source| source.name == name)
    }
}
