//! Ending a run before it measured every source.
//!
//! A run is cancelled by a row of the catalog, so that any process can be asked. Whoever carries the run out looks for it
//! while it measures, which leaves no trace, and once more before it stores what a source has. A day of a source that is
//! being replaced is replaced as a whole.

use super::{RunState, SnapshotRun, Workspaces, WorkspacesError};
use crate::cancel::asked_by;

impl Workspaces {
    /// Asks for a run to be cancelled and returns it as it is now; one that is over, or that stores its last source already,
    /// ends as it would.
    ///
    /// # Errors
    /// [`WorkspacesError::NotFound`], or the catalog fails.
    pub async fn cancel(&self, id: &str, requested_by: &str) -> Result<SnapshotRun, WorkspacesError> {
        let run = self.run(id).await?;
        if run.state == RunState::Running {
            self.catalog.cancel_snapshot_run(id, requested_by, self.clock.now().micros()).await?;
        }
        Ok(run)
    }

    /// Refuses to go on with a run that is to be cancelled.
    ///
    /// # Errors
    /// [`WorkspacesError::Cancelled`], or the catalog fails.
    pub async fn check_not_cancelled(&self, run: &str) -> Result<(), WorkspacesError> {
        let by = self.catalog.run_cancelled_by(run).await?;
        by.map_or(Ok(()), |by| Err(WorkspacesError::Cancelled { run: run.to_owned(), by }))
    }

    /// Does what leaves no trace, unless somebody asks meanwhile for the run to be cancelled.
    pub(super) async fn unless_cancelled<T>(
        &self,
        run: &str,
        work: impl Future<Output = Result<T, WorkspacesError>>,
    ) -> Result<T, WorkspacesError> {
        // Asked already: then nothing begins, however soon the work would fail.
        self.check_not_cancelled(run).await?;
        tokio::select! {
            done = work => done,
            by = asked_by(&self.catalog, run) => Err(WorkspacesError::Cancelled { run: run.to_owned(), by }),
        }
    }
}
