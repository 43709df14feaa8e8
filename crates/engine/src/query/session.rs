//! Pinned tables as DataFusion tables.

use super::run_sums::SumRuns;
use crate::inputs::joint::usage_with_snapshots;
use crate::{Engine, EngineError};
use datafusion::catalog::TableProvider;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedLake, Table};

/// Rows of a batch in a lean session.
const LEAN_BATCH_ROWS: usize = 4_096;

impl Engine {
    /// Returns a session in which every table of the pinned lake stands under its name; snapshots are usage too.
    ///
    /// # Errors
    /// When DataFusion refuses its limits.
    pub fn session(&self, pinned: &PinnedLake) -> Result<SessionContext, EngineError> {
        let session = self.empty_session()?;
        for table in Table::ALL {
            let provider: Arc<dyn TableProvider> = match table {
                Table::Usage => usage_with_snapshots(&session, pinned.table(table), pinned.table(Table::Snapshots))?,
                _ => Arc::new(LakeTable::new(pinned.table(table))),
            };
            session.register_table(table.name(), provider)?;
        }
        Ok(session)
    }

    /// Returns a session without tables, within the limits of memory and threads.
    ///
    /// # Errors
    /// When DataFusion refuses its limits.
    pub fn empty_session(&self) -> Result<SessionContext, EngineError> {
        self.session_with(SessionConfig::new().with_target_partitions(self.settings.threads.max(1)))
    }

    /// Returns a session without tables that reads file after file in small batches, with one thread: for answers that
    /// are sent while they are made, of which little may be in memory at a time.
    ///
    /// # Errors
    /// When DataFusion refuses its limits.
    pub(in crate::query) fn lean_session(&self) -> Result<SessionContext, EngineError> {
        self.session_with(SessionConfig::new().with_target_partitions(1).with_batch_size(LEAN_BATCH_ROWS))
    }

    fn session_with(&self, config: SessionConfig) -> Result<SessionContext, EngineError> {
        let mut config = config.with_information_schema(false).with_create_default_catalog_and_schema(true);
        // DataFusion 55 fails where a projection under a union names one column several times, as that of snapshots does.
        config.options_mut().optimizer.enable_leaf_expression_pushdown = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(SumRuns));
        Ok(SessionContext::new_with_state(state.build()))
    }

    /// Returns a session over the newest version of every table.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(crate) async fn session_now(&self) -> Result<SessionContext, EngineError> {
        self.session(&self.lake.pin().await?)
    }
}
