//! What is done once a day, and how far it is. Who does it is decided elsewhere; the catalog says what became of it.

use crate::app::App;
use crate::problem::ApiError;
use domain::{Daily, Day, Instant};
use storage::catalog::JobRow;

/// A job that is done once a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledJob {
    /// Its name.
    pub name: &'static str,
    /// When.
    pub daily: Daily,
}

/// How far a job is.
#[derive(Clone, Debug)]
pub(crate) struct JobState {
    pub(crate) job: ScheduledJob,
    /// When it is done next; now, if a day is late.
    pub(crate) next_run_at: Instant,
    /// The last day on which it was done.
    pub(crate) last_day: Option<String>,
    /// Its newest attempt.
    pub(crate) newest: Option<JobRow>,
}

impl App {
    /// Returns how far every job of this server's schedule is.
    pub(crate) async fn schedule_state(&self) -> Result<Vec<JobState>, ApiError> {
        let mut states = Vec::with_capacity(self.schedule.len());
        for job in self.schedule.iter() {
            states.push(self.job_state(*job).await?);
        }
        Ok(states)
    }

    async fn job_state(&self, job: ScheduledJob) -> Result<JobState, ApiError> {
        let now = self.now();
        let due = job.daily.last_day(self.zone(), now);
        let last_day = self.catalog().last_job_done(job.name, &due.to_string()).await?;
        let newest = self.catalog().last_job_begun(job.name).await?;
        let is_behind = last_day.as_deref().and_then(|day| day.parse::<Day>().ok()).is_some_and(|day| day < due);
        let next_run_at = match &newest {
            _ if !is_behind => job.daily.next(self.zone(), now),
            Some(row) if row.status == "failed" => Instant::from_micros(row.run_after).max(now),
            _ => now,
        };
        Ok(JobState { job, next_run_at, last_day, newest })
    }
}
