//! Running attribution and posting its differences.
//!
//! A run pins its inputs, computes what the ledger should say, and posts what differs in one commit. If
//! somebody else posted meanwhile, it starts again; so two runs at once post once.

/// Ending a run before it posts.
mod cancel;
/// Why a difference arose.
mod causes;
/// What the ledger should say.
mod compute;
/// Snapshots that are degraded or missing.
mod degraded;
/// What the ledger says.
mod existing;
/// Who was measured nearly every day and is not on this one.
mod gaps;
/// Runs under way and who follows them.
mod hub;
/// Differences of closed months that are too small to be corrected by themselves.
mod materiality;
/// What graduated prices need to know of the month.
mod month;
/// Writing one posting, all or nothing.
mod post;
/// Caches of the catalog from the lake.
mod repair;
/// Runs as callers see them.
mod view;
/// What a draft would change, without changing anything.
mod what_if;

pub(crate) use causes::Redefined;
pub(crate) use gaps::DRIVER_GAP;
pub use hub::{Hub, RunProgress};
pub use materiality::{ConsumerCorrection, PendingCorrection};
pub(crate) use month::MonthUsage;
pub use view::{RunStatus, RunView, RunWarning};
pub use what_if::{Draft, WhatIf, WhatIfQuery, WhatIfRow};

use crate::due::DueDays;
use crate::{Engine, EngineError};
use compute::Computed;
use domain::{Day, DayRange, Instant};
use futures::FutureExt;
use post::Posted;
use sha2::{Digest, Sha256};
use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use storage::catalog::{CatalogError, LEASE_HELD, LEASE_TOLD_EVERY, RunRow};
use storage::lake::{LakeError, Table};

/// What is asked of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// Which days.
    pub range: DayRange,
    /// Only these pools, as long as nothing else of the days changed.
    pub pools: Option<Vec<String>>,
    /// Compute, but write nothing.
    pub dry_run: bool,
    /// Post also what of closed months is too small to be corrected by itself.
    pub sweep: bool,
    /// Who asks.
    pub requested_by: String,
}

impl RunRequest {
    /// Returns the request to attribute all pools on these days.
    #[must_use]
    pub fn of(range: DayRange, requested_by: &str) -> Self {
        Self { range, pools: None, dry_run: false, sweep: false, requested_by: requested_by.to_owned() }
    }
}

/// How often a run starts again because somebody else posted meanwhile.
const ATTEMPTS_MAX: u32 = 20;
/// How often the catalog is told of a run, and how long after a failure.
const TELLS_MAX: u32 = 4;
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Days whose inputs are held at once; longer runs are computed in pieces of this many days.
const DAYS_AT_ONCE: i32 = 31;

static RUNS_NAMED: AtomicU64 = AtomicU64::new(0);

impl Engine {
    /// Starts a run in the background and returns it as queued.
    ///
    /// # Errors
    /// [`EngineError::RunInProgress`] when one over some of the days is under way.
    pub async fn start_run(&self, request: RunRequest) -> Result<RunView, EngineError> {
        let row = self.insert_run(&request).await?;
        let view = RunView::of_row(&row)?;
        let engine = self.clone();
        tokio::spawn(async move {
            let id = row.id.clone();
            match engine.execute(row, &request).await {
                Ok(_) => {}
                Err(EngineError::RunCancelled { by, .. }) => {
                    tracing::info!(run.id = %id, by, "run {id} was cancelled");
                }
                Err(error) => tracing::error!(run.id = %id, ?error, "run {id} failed"),
            }
        });
        Ok(view)
    }

    /// Runs to the end and returns what became of it; waits for an overlapping run first.
    ///
    /// # Errors
    /// When the run fails.
    pub async fn run_and_wait(&self, request: RunRequest) -> Result<RunView, EngineError> {
        loop {
            match self.insert_run(&request).await {
                Ok(row) => return self.execute_apart(row, request).await,
                Err(EngineError::RunInProgress { run, .. }) => self.hub.wait_for(&run, || self.is_over(&run)).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Brings acknowledged usage into the lake: runs read committed data only.
    pub(crate) async fn flush_hot(&self) -> Result<(), EngineError> {
        match &self.hot {
            Some(hot) => Ok(hot.flush().await?),
            None => Ok(()),
        }
    }

    /// Runs every due day, oldest first, and returns the runs; none when nothing is due.
    ///
    /// # Errors
    /// When a run fails.
    pub async fn run_due(&self, requested_by: &str) -> Result<(Vec<RunView>, DueDays), EngineError> {
        self.flush_hot().await?;
        let due = self.due_days().await?;
        let mut views = Vec::new();
        for range in due.ranges(self.settings.range_days_max) {
            let request = RunRequest::of(range, requested_by);
            views.push(self.run_and_wait(request).await?);
        }
        Ok((views, due))
    }

    /// Returns a run.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn run(&self, id: &str) -> Result<RunView, EngineError> {
        let row = self.catalog.run(id).await?;
        RunView::of_row(&row.ok_or_else(|| EngineError::NotFound { kind: "run", name: id.to_owned() })?)
    }

    /// Returns up to `limit` runs, newest first, before the given creation time and id.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn runs(&self, before: Option<(i64, &str)>, limit: i64) -> Result<Vec<RunView>, EngineError> {
        self.catalog.list_runs(before, limit).await?.iter().map(RunView::of_row).collect()
    }

    /// Returns the progress of a run under way in this process.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<tokio::sync::broadcast::Receiver<RunProgress>> {
        self.hub.follow(id)
    }

    async fn is_over(&self, id: &str) -> Result<bool, EngineError> {
        let row = self.catalog.run(id).await?;
        Ok(row.is_none_or(|row| row.finished_at.is_some()))
    }

    async fn insert_run(&self, request: &RunRequest) -> Result<RunRow, EngineError> {
        if request.range.len() > self.settings.range_days_max {
            let detail = format!("{} days are more than {}", request.range.len(), self.settings.range_days_max);
            return Err(EngineError::parameter("range", detail));
        }
        if request.range.to() > self.today() {
            let detail = format!(
                "{} lies in the future; the last day that can be attributed is {}",
                request.range.to(),
                self.today()
            );
            return Err(EngineError::parameter("to", detail));
        }
        let now = self.clock.now().micros();
        let row = RunRow {
            id: self.run_id(request, now),
            status: RunStatus::Queued.as_str().to_owned(),
            from_day: request.range.from().to_string(),
            to_day: request.range.to().to_string(),
            pools: request.pools.as_ref().map(|pools| serde_json::to_string(pools).expect("a list of texts is JSON")),
            dry_run: request.dry_run,
            created_at: now,
            started_at: None,
            finished_at: None,
            posting: None,
            entries: 0,
            warnings: "[]".to_owned(),
            error: None,
            requested_by: request.requested_by.clone(),
            body: "{}".to_owned(),
        };
        match self.catalog.insert_run(&row, &self.settings.node, held_micros()).await? {
            None => {
                self.hub.open(&row.id);
                Ok(row)
            }
            Some(other) => Err(EngineError::RunInProgress {
                run: other.id,
                range: format!("{}..{}", other.from_day, other.to_day),
            }),
        }
    }

    fn run_id(&self, request: &RunRequest, now: i64) -> String {
        let named = RUNS_NAMED.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{}|{now}|{named}|{request:?}|{}", self.lake.id(), std::process::id());
        format!("run-{}", &hex::encode(Sha256::digest(seed.as_bytes()))[..16])
    }

    /// Runs to the end also when whoever waits goes away: a run that stops half way blocks its days.
    async fn execute_apart(&self, row: RunRow, request: RunRequest) -> Result<RunView, EngineError> {
        let engine = self.clone();
        let run = tokio::spawn(async move { engine.execute(row, &request).await });
        run.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    async fn execute(&self, row: RunRow, request: &RunRequest) -> Result<RunView, EngineError> {
        let id = row.id.clone();
        self.until_closed(row, self.attempt(&id, request)).await
    }

    /// Carries the work out; whatever becomes of it, followers see its end.
    async fn until_closed(
        &self,
        row: RunRow,
        work: impl Future<Output = Result<Posted, EngineError>>,
    ) -> Result<RunView, EngineError> {
        let id = row.id.clone();
        let ended = AssertUnwindSafe(self.carry_out(row, work)).catch_unwind().await;
        self.hub.close(&id);
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Does the work and notes in the run's row how it ended, also when it panics.
    async fn carry_out(
        &self,
        mut row: RunRow,
        work: impl Future<Output = Result<Posted, EngineError>>,
    ) -> Result<RunView, EngineError> {
        row.status = RunStatus::Running.as_str().to_owned();
        row.started_at = Some(self.clock.now().micros());
        self.tell(&row).await?;
        let ended = AssertUnwindSafe(self.while_held(&row.id, work)).catch_unwind().await;
        row.finished_at = Some(self.clock.now().micros());
        row.status = RunStatus::Failed.as_str().to_owned();
        match &ended {
            Ok(Ok(done)) => done.write_to(&mut row),
            Ok(Err(error @ EngineError::RunCancelled { .. })) => {
                row.status = RunStatus::Cancelled.as_str().to_owned();
                row.error = Some(error.to_string());
            }
            Ok(Err(error)) => row.error = Some(error.to_string()),
            Err(panic) => row.error = Some(format!("the run broke off, please report it: {}", text_of(&**panic))),
        }
        let updated = self.tell(&row).await;
        ended.unwrap_or_else(|panic| resume_unwind(panic))?;
        updated?;
        RunView::of_row(&row)
    }

    /// Stores how far a run is. A catalog that broke off is told again: saying it twice is harmless, and a run that nobody
    /// ended holds up its days.
    async fn tell(&self, row: &RunRow) -> Result<(), CatalogError> {
        let mut told = self.catalog.update_run(row).await;
        for _ in 1..TELLS_MAX {
            if !matches!(told, Err(CatalogError::Database(_))) {
                break;
            }
            tokio::time::sleep(TELL_AGAIN).await;
            told = self.catalog.update_run(row).await;
        }
        told
    }

    /// Does the work, and meanwhile says again and again that the run is under way.
    async fn while_held<T>(&self, run: &str, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.keep_holding(run) => match never {},
        }
    }

    async fn keep_holding(&self, run: &str) -> Infallible {
        loop {
            tokio::time::sleep(LEASE_TOLD_EVERY).await;
            if let Err(error) = self.catalog.hold_run(run, &self.settings.node, held_micros()).await {
                tracing::warn!(run.id = run, ?error, "run {run} goes on, but the catalog cannot be told");
            }
        }
    }

    /// Computes and posts, again and again until nobody else posted meanwhile.
    async fn attempt(&self, run: &str, request: &RunRequest) -> Result<Posted, EngineError> {
        // Before the flush: an event that it does not bring comes after this, and may still close no window.
        let begun = self.clock.now();
        self.flush_hot().await?;
        for attempt in 1..=ATTEMPTS_MAX {
            let mut computed = self.unless_cancelled(run, self.compute(run, request, begun)).await?;
            if let Some(unknown) = request.pools.iter().flatten().find(|pool| !computed.pools.contains(*pool)) {
                return Err(EngineError::NotFound { kind: "pool", name: unknown.clone() });
            }
            if !request.sweep {
                self.hold_back_small(&mut computed, request.range).await?;
            }
            post::settle(&mut computed, request);
            // The last moment: a posting that began is carried to its end.
            self.check_not_cancelled(run).await?;
            if request.dry_run {
                return Ok(Posted::nothing(&computed));
            }
            if !self.claim_undone(run, request.range, &computed).await? {
                tracing::info!(run.id = run, attempt, "somebody else left small differences undone; starting again");
                continue;
            }
            match self.post(run, computed).await {
                Err(EngineError::Lake(LakeError::Conflict { version, .. })) => {
                    tracing::info!(run.id = run, attempt, version, "somebody else posted meanwhile; starting again");
                }
                done => return done,
            }
        }
        Err(EngineError::RunInProgress {
            run: run.to_owned(),
            range: format!("{ATTEMPTS_MAX} attempts over the same days"),
        })
    }

    async fn compute(&self, run: &str, request: &RunRequest, begun: Instant) -> Result<Computed, EngineError> {
        let watermark = self.catalog.pin_recorded_at(self.clock.now().micros()).await?;
        let pinned = self.lake.pin().await?;
        let books = self.books(watermark).await?;
        let touched = self.touched_days(&pinned).await?;
        let before = self.seen_inputs(Some(request.range)).await?;
        let periods = self.periods_in(pinned.table(Table::Ledger)).await?;
        let mut computed = Computed::new(pinned, books, before, touched, begun, periods);
        let mut from = request.range.from();
        while from <= request.range.to() {
            let to = from.plus(DAYS_AT_ONCE - 1).min(request.range.to());
            let piece = DayRange::new(from, to).expect("a piece has days");
            let progress = |day: Day| self.hub.report(run, request.range, day);
            self.compute_piece(&mut computed, run, piece, progress).await?;
            from = to.plus(1);
        }
        computed.note_days_left(request.range, self.today());
        Ok(computed)
    }
}

fn held_micros() -> i64 {
    i64::try_from(LEASE_HELD.as_micros()).expect("some seconds fit")
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn broken() -> Result<Posted, EngineError> {
        panic!("a wrong bill is worse than a crash")
    }

    #[tokio::test]
    async fn a_run_is_ended_for_its_process_only_when_that_holds_it_no_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let range = DayRange::single(engine.today());
        let request = RunRequest::of(range, "test");
        let row = engine.insert_run(&request).await.expect("nothing is under way");

        engine.keep_up().await.expect("the stores answer");
        assert_eq!(engine.run(&row.id).await.expect("a run").finished_at, None);
        // Its process has not said for too long that it goes on.
        assert!(engine.catalog.hold_run(&row.id, "local", 0).await.expect("the catalog answers"));
        engine.keep_up().await.expect("the stores answer");

        let run = engine.run(&row.id).await.expect("a run");
        assert_eq!((run.status, run.error.as_deref()), (RunStatus::Failed, Some("interrupted before it ended")));
        engine.insert_run(&request).await.expect("its days are free again");
    }

    #[tokio::test]
    async fn a_cancelled_run_posts_nothing_and_its_days_run_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let request = RunRequest::of(DayRange::single(engine.today()), "test");
        let row = engine.insert_run(&request).await.expect("nothing is under way");
        let id = row.id.clone();
        assert_eq!(engine.cancel_run(&id, "ann").await.expect("a run").status, RunStatus::Queued);
        engine.cancel_run(&id, "bob").await.expect("once more is no error");

        let ended = engine.execute(row, &request).await;

        assert!(matches!(ended, Err(EngineError::RunCancelled { by, .. }) if by == "ann"));
        let run = engine.run(&id).await.expect("a run");
        assert_eq!((run.status, run.posting, run.finished_at.is_some()), (RunStatus::Cancelled, None, true));
        assert!(engine.follow(&id).is_none(), "its channel is closed");
        assert_eq!(engine.cancel_run(&id, "ann").await.expect("it is over").status, RunStatus::Cancelled);
        let again = engine.run_and_wait(request).await.expect("its days are free");
        assert_eq!(again.status, RunStatus::Succeeded);
        assert_eq!(engine.cancel_run(&again.id, "ann").await.expect("it is over").status, RunStatus::Succeeded);
        assert_eq!(engine.catalog.run_cancelled_by(&again.id).await.expect("asked"), None);
    }

    #[tokio::test]
    async fn work_that_leaves_no_trace_is_dropped_as_soon_as_a_run_is_cancelled() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let request = RunRequest::of(DayRange::single(engine.today()), "test");
        let row = engine.insert_run(&request).await.expect("nothing is under way");
        let endless = async {
            engine.cancel_run(&row.id, "ann").await?;
            std::future::pending::<Result<(), EngineError>>().await
        };
        let ended = engine.unless_cancelled(&row.id, endless).await;
        assert!(matches!(ended, Err(EngineError::RunCancelled { .. })));
    }

    #[tokio::test]
    async fn a_run_that_panics_has_failed_and_lets_others_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let range = DayRange::single(engine.today());
        let request = RunRequest::of(range, "test");
        let row = engine.insert_run(&request).await.expect("nothing is under way");
        let (id, mut follower) = (row.id.clone(), engine.follow(&row.id).expect("under way"));
        let waiting = tokio::spawn({
            let (engine, request) = (engine.clone(), request.clone());
            async move { engine.run_and_wait(request).await }
        });

        let ended = AssertUnwindSafe(engine.until_closed(row, broken())).catch_unwind().await;

        assert!(ended.is_err(), "the panic is passed on");
        let run = engine.run(&id).await.expect("a run");
        assert_eq!((run.status, run.finished_at.is_some()), (RunStatus::Failed, true));
        assert!(run.error.is_some_and(|error| error.contains("worse than a crash")));
        assert!(follower.recv().await.is_err(), "its channel is closed");
        let next = waiting.await.expect("no panic").expect("a run");
        assert_eq!(next.status, RunStatus::Succeeded);
    }
}
