//! Posting the differences of closed months that were too small to be posted by themselves.

use crate::due::ranges_of;
use crate::run::{RunRequest, RunView};
use crate::{Engine, EngineError};
use domain::Day;
use std::collections::BTreeSet;

impl Engine {
    /// Attributes every day again of which something is noted and posts all of it, corrections in the earliest open
    /// month; returns the runs, none when nothing is noted.
    ///
    /// # Errors
    /// When a run fails.
    pub async fn sweep_periods(&self, requested_by: &str) -> Result<Vec<RunView>, EngineError> {
        let noted = self.pending_corrections_all_tenants().await?;
        let days: BTreeSet<Day> = noted.iter().map(|one| one.day).collect();
        let mut runs = Vec::new();
        for range in ranges_of(days, self.settings().range_days_max) {
            let request = RunRequest { sweep: true, ..RunRequest::of(range, requested_by) };
            runs.push(self.run_and_wait(request).await?);
        }
        Ok(runs)
    }
}
