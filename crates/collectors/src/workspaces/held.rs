use super::{Workspaces, WorkspacesError};
use std::convert::Infallible;
use storage::catalog::{CatalogError, LEASE_HELD, LEASE_TOLD_EVERY, SnapshotRunRow};

impl Workspaces {
    /// Marks runs as failed that this server left running when it died, or that nobody carries out any more. Call it once,
    /// at the start of a process.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn repair(&self) -> Result<(), WorkspacesError> {
        self.end_abandoned(Some(&self.node)).await
    }

    /// Marks runs as failed whose server does not say any more that it carries them out. Call it now and then while the
    /// catalog is shared.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn keep_up(&self) -> Result<(), WorkspacesError> {
        self.end_abandoned(None).await
    }

    async fn end_abandoned(&self, own: Option<&str>) -> Result<(), WorkspacesError> {
        let ended = self.catalog.fail_abandoned_snapshot_runs(self.clock.now().micros(), own).await?;
        if 0 < ended {
            tracing::warn!(runs = ended, "ended {ended} snapshot runs that nobody carried out any more");
        }
        Ok(())
    }

    /// Enters a run that this server carries out.
    pub(super) async fn insert(&self, run: &SnapshotRunRow) -> Result<(), CatalogError> {
        self.catalog.insert_snapshot_run(run, &self.node, held_micros()).await
    }

    /// Does the work, and meanwhile says again and again that the run is under way.
    pub(super) async fn while_held<T>(&self, run: &str, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.keep_holding(run) => match never {},
        }
    }

    async fn keep_holding(&self, run: &str) -> Infallible {
        loop {
            tokio::time::sleep(LEASE_TOLD_EVERY).await;
            if let Err(error) = self.catalog.hold_snapshot_run(run, &self.node, held_micros()).await {
                tracing::warn!(run.id = run, ?error, "snapshot run {run} goes on, but the catalog cannot be told");
            }
        }
    }
}

fn held_micros() -> i64 {
    i64::try_from(LEASE_HELD.as_micros()).expect("some seconds fit")
}
