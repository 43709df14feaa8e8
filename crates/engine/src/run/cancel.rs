//! Ending a run before it posts.
//!
//! A run is cancelled by a row of the catalog, so that any process can be asked. Whoever carries the run out looks for it
//! while it computes, which leaves no trace, and once more before it posts. A posting is never broken off.

use super::RunView;
use crate::{Engine, EngineError};
use std::time::Duration;

/// How often a run looks whether it is to be cancelled.
const LOOK: Duration = Duration::from_millis(500);

impl Engine {
    /// Asks for a run to be cancelled and returns it as it is now; one that is over, or that posts already, ends as it would.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn cancel_run(&self, id: &str, requested_by: &str) -> Result<RunView, EngineError> {
        let run = self.run(id).await?;
        if run.finished_at.is_none() {
            self.catalog.cancel_run(id, requested_by, self.clock.now().micros()).await?;
        }
        Ok(run)
    }

    /// Does what leaves no trace, unless somebody asks meanwhile for the run to be cancelled.
    pub(super) async fn unless_cancelled<T>(
        &self,
        run: &str,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            done = work => done,
            error = self.cancelled(run) => Err(error),
        }
    }

    /// Refuses to go on with a run that is to be cancelled.
    pub(super) async fn check_not_cancelled(&self, run: &str) -> Result<(), EngineError> {
        let by = self.catalog.run_cancelled_by(run).await?;
        by.map_or(Ok(()), |by| Err(EngineError::RunCancelled { run: run.to_owned(), by }))
    }

    /// Waits until the run is to be cancelled.
    async fn cancelled(&self, run: &str) -> EngineError {
        loop {
            match self.check_not_cancelled(run).await {
                Ok(()) => {}
                Err(error @ EngineError::RunCancelled { .. }) => return error,
                Err(error) => {
                    tracing::warn!(run.id = run, ?error, "whether run {run} is cancelled cannot be looked up")
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
