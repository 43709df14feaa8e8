//! Turns what is stored into what is owed: runs, postings and every question about the ledger.
//!
//! Owns: gathering a day's inputs, posting differences, closing months, the one query object, proof, explain, verify.
//! Never: HTTP, JSON shapes of the wire, formulas (those are `attribution`'s), how entries are stored.
//! Start reading at [`Engine`], then `run/mod.rs` (writing) and `query/mod.rs` (reading).

/// Moving cost from one tenant to another by hand.
pub mod adjust;
/// Policies, rate cards and tenants as they applied on a day.
pub mod books;
/// Which days must run, derived from what changed.
pub mod due;
/// What can go wrong in a use case.
pub mod error;
/// The data of a range of days as `attribution` wants it.
pub mod inputs;
/// What a price means by the month.
pub mod month_prices;
/// Closing and reopening billing months.
pub mod periods;
/// The one way to the ledger's log.
mod posting_commit;
/// Which prices are far from those before.
mod price_warnings;
/// Publishing policies and rate cards.
pub mod publish;
/// Asking the ledger.
pub mod query;
/// Bills compared with invoices and with the ledger.
pub mod reconciliation;
/// Running attribution and posting its differences.
pub mod run;
/// An engine over empty stores and a key of entries, for unit tests.
#[cfg(test)]
mod sample;
/// What the binary decides once: zone, reporting currency, limits.
pub mod settings;
/// Rows of text files that spreadsheets open.
pub mod spreadsheet;
/// Statements of closed months.
pub mod statements;
/// What must not be removed from the lake.
pub mod upkeep;

pub use error::EngineError;
pub use settings::Settings;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use domain::{Clock, Day};
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::{HotRows, Lake};

/// Everything that reads or writes the ledger, over one lake and one catalog.
#[derive(Clone)]
pub struct Engine {
    /// The tables.
    pub(crate) lake: Arc<Lake>,
    /// The relational rows.
    pub(crate) catalog: Arc<Catalog>,
    /// Where "now" comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// What the binary decided.
    pub(crate) settings: Arc<Settings>,
    /// Runs under way and who follows them.
    pub(crate) hub: Arc<run::Hub>,
    /// Memory that all queries share.
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// Which days the commits read so far touched.
    pub(crate) touched: Arc<due::KeptTouchedDays>,
    /// Sums of usage that questions about prices needed last.
    pub(crate) kept_cells: Arc<query::current::KeptCells>,
    /// How well the snapshots of the last export were measured.
    pub(crate) kept_qualities: Arc<query::current::KeptQualities>,
    /// Days that `explain` computed again last.
    pub(crate) kept_replays: Arc<query::explain::KeptReplays>,
    /// Prices that stand in for the published card at current rates, if whoever started the process gave any.
    pub(crate) unit_costs: Option<query::UnitCosts>,
    /// Who holds usage that is acknowledged and not in the lake yet, if anybody.
    pub(crate) hot: Option<Arc<dyn HotRows>>,
}

impl Engine {
    /// Returns the engine over these stores.
    #[must_use]
    pub fn new(lake: Arc<Lake>, catalog: Arc<Catalog>, clock: Arc<dyn Clock>, settings: Settings) -> Self {
        let memory = Arc::new(FairSpillPool::new(settings.memory_bytes_max));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(memory).build_arc();
        let runtime = runtime.expect("a pool of memory and the system's folder for temporary files are always valid");
        let settings = Arc::new(settings);
        Self {
            lake,
            catalog,
            clock,
            settings,
            hub: Arc::default(),
            runtime,
            touched: Arc::default(),
            kept_cells: Arc::default(),
            kept_qualities: Arc::default(),
            kept_replays: Arc::default(),
            unit_costs: None,
            hot: None,
        }
    }

    /// Returns the engine that also knows usage which is acknowledged and not in the lake yet.
    #[must_use]
    pub fn with_hot(self, hot: Arc<dyn HotRows>) -> Self {
        Self { hot: Some(hot), ..self }
    }

    /// Returns the engine whose view at current rates prices by these instead of the published card.
    #[must_use]
    pub fn with_unit_costs(self, unit_costs: Option<query::UnitCosts>) -> Self {
        Self { unit_costs, ..self }
    }

    /// Returns the current day of the organisation's zone.
    #[must_use]
    pub fn today(&self) -> Day {
        self.settings.zone.day_of(self.clock.now())
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the lake.
    #[must_use]
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
