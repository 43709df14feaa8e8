//! One job, once a day, by one of several processes.
//!
//! Invariants:
//! * What was done is told by the catalog, so it does not matter which process did it or whether it lived on.
//! * A lease keeps others from doing the same work. It may run out while its holder is stopped; then two work, and the
//!   job itself sees to it that this has one effect. Only the newest attempt is noted.
//! * Time is the database's, or this process's if that is earlier: a clock that is ahead starts nothing early.

use super::job::{CatchUp, Job};
use domain::{Clock, Daily, Day, Instant, Zone};
use std::sync::Arc;
use std::time::Duration;
use storage::catalog::{Catalog, CatalogError, JobEnd};

/// Missed days that are made up for; older ones are left out.
const CATCH_UP_DAYS_MAX: i32 = 400;
/// Attempts at a day before later days go on without it.
const ATTEMPTS_MAX: i64 = 5;
/// Wait after the first failure in microseconds; each further one doubles it, up to the longest.
const AGAIN_AFTER: i64 = 60 * 1_000_000;
const AGAIN_AFTER_MAX: i64 = 3_600 * 1_000_000;
/// How often the end of an attempt is told to a catalog that fails.
const TELLS_MAX: u32 = 3;

/// What the processes of a schedule share, and who this one is.
#[derive(Clone)]
pub struct Post {
    /// Where it is noted what was done.
    pub catalog: Catalog,
    /// This process's name; the same after a restart.
    pub node: String,
    /// How long others wait for a process that does not say that it works.
    pub lease: Duration,
    /// How often it says so.
    pub renew_every: Duration,
    /// The organisation's zone.
    pub zone: Zone,
    /// This process's clock.
    pub clock: Arc<dyn Clock>,
}

impl Post {
    /// Does the work if nobody else does it now, and returns what became of it. Others are kept away meanwhile.
    ///
    /// # Errors
    /// When the catalog fails before the work began.
    pub async fn alone<T>(&self, what: &str, work: impl Future<Output = T>) -> Result<Option<T>, CatalogError> {
        let lease = format!("job/{what}");
        if !self.catalog.acquire_lease(&lease, &self.node, self.lease_micros()).await? {
            return Ok(None);
        }
        let done = tokio::select! {
            done = work => Some(done),
            () = self.until_lost(&lease) => {
                tracing::warn!(job = what, "another process took {what} over");
                None
            }
        };
        if let Err(error) = self.catalog.release_lease(&lease, &self.node).await {
            tracing::warn!(job = what, ?error, "the lease was not given back; it runs out");
        }
        Ok(done)
    }

    /// Renews the lease again and again; returns when somebody else has it.
    async fn until_lost(&self, lease: &str) {
        loop {
            tokio::time::sleep(self.renew_every).await;
            match self.catalog.renew_lease(lease, &self.node, self.lease_micros()).await {
                Ok(true) => {}
                Ok(false) => match self.catalog.acquire_lease(lease, &self.node, self.lease_micros()).await {
                    Ok(false) => return,
                    Ok(true) => {}
                    Err(error) => tracing::warn!(lease, ?error, "the lease cannot be renewed; the work goes on"),
                },
                Err(error) => tracing::warn!(lease, ?error, "the lease cannot be renewed; the work goes on"),
            }
        }
    }

    fn lease_micros(&self) -> i64 {
        i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX)
    }
}

/// A job at its time of day.
pub struct Nightly {
    /// What is done.
    pub job: Arc<dyn Job>,
    /// When.
    pub daily: Daily,
    /// By whom, among whom.
    pub post: Post,
}

impl Nightly {
    /// Does it whenever it is due, until it is dropped.
    pub async fn keep_doing(&self, look_every: Duration) {
        loop {
            tokio::time::sleep(look_every).await;
            if let Err(error) = self.do_due().await {
                tracing::warn!(job = self.job.name(), ?error, "the schedule cannot ask the catalog");
            }
        }
    }

    /// Does what is due now, oldest day first, unless another process is at it; returns the days it did.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn do_due(&self) -> Result<Vec<Day>, CatalogError> {
        if self.due_days().await?.is_empty() {
            return Ok(Vec::new());
        }
        self.post.alone(self.job.name(), self.work_off()).await?.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Does one due day after the other.
    async fn work_off(&self) -> Result<Vec<Day>, CatalogError> {
        let mut done = Vec::new();
        // Asked again each time: somebody else may have done the day, and the next may have begun.
        while let Some(day) = self.due_days().await?.first().copied() {
            let (name, text) = (self.job.name(), day.to_string());
            let Some(attempt) = self.post.catalog.begin_job(name, &text, &self.post.node).await? else { break };
            let end = match self.job.run(day).await {
                Ok(()) => JobEnd::Done,
                Err(error) => {
                    tracing::warn!(job = name, %day, attempt, error = %error, "{name} of {day} failed");
                    JobEnd::Failed { error: error.to_string(), again_after: again_after(attempt) }
                }
            };
            if !self.tell(&text, attempt, &end).await? {
                tracing::warn!(job = name, %day, attempt, "{name} of {day} was taken over meanwhile");
                break;
            }
            if end != JobEnd::Done {
                break;
            }
            done.push(day);
        }
        Ok(done)
    }

    /// Notes the end of an attempt; a catalog that broke off while it was told is told again.
    async fn tell(&self, day: &str, attempt: i64, end: &JobEnd) -> Result<bool, CatalogError> {
        let mut told = self.post.catalog.end_job(self.job.name(), day, attempt, end).await;
        for _ in 1..TELLS_MAX {
            if told.is_ok() {
                break;
            }
            told = self.post.catalog.end_job(self.job.name(), day, attempt, end).await;
        }
        told
    }

    /// The days to be done now, oldest first.
    async fn due_days(&self) -> Result<Vec<Day>, CatalogError> {
        let (catalog, name) = (&self.post.catalog, self.job.name());
        let now = catalog.now().await?;
        let seen = self.post.clock.now().min(Instant::from_micros(now));
        let last = self.daily.last_day(&self.post.zone, seen);
        let Some(done) = catalog.last_job_done(name, &last.to_string()).await? else {
            catalog.begin_schedule(name, &last.to_string()).await?;
            return Ok(Vec::new());
        };
        let done: Day = done.parse().map_err(|_| CatalogError::Corrupt { what: "day of a job", value: done })?;
        let first = match self.job.catch_up() {
            CatchUp::EachDay => done.plus(1).max(last.plus(1 - CATCH_UP_DAYS_MAX)),
            CatchUp::LastDay => done.plus(1).max(last),
        };
        let rows = catalog.jobs_between(name, &first.to_string(), &last.to_string()).await?;
        let mut due = Vec::new();
        let mut day = first;
        while day <= last {
            let text = day.to_string();
            match rows.iter().find(|row| row.target == text && row.status == "failed") {
                Some(failed) if day < last && ATTEMPTS_MAX <= failed.attempts => {}
                // Later days wait for it, as they do while it runs.
                Some(failed) if now < failed.run_after => break,
                _ => due.push(day),
            }
            day = day.plus(1);
        }
        Ok(due)
    }
}

/// How long to wait after so many failures.
fn again_after(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts.clamp(1, 10) - 1).unwrap_or(0);
    (AGAIN_AFTER << doublings).min(AGAIN_AFTER_MAX)
}

#[cfg(test)]
mod tests;
