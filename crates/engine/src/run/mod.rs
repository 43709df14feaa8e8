//! Running attribution and posting its differences.
//!
//! A run pins its inputs, computes what the ledger should say, and posts what differs in one commit. If
//! somebody else posted meanwhile, it starts again; so two runs at once post once.

/// Why a difference arose.
mod causes;
/// What the ledger should say.
mod compute;
/// What the ledger says.
mod existing;
/// Runs under way and who follows them.
mod hub;
/// Writing one posting, all or nothing.
mod post;
/// Caches of the catalog from the lake.
mod repair;
/// Runs as callers see them.
mod view;

pub use hub::{Hub, RunProgress};
pub use view::{RunStatus, RunView, RunWarning};

use crate::due::{DueDays, TouchedDays};
use crate::{Engine, EngineError};
use compute::Computed;
use domain::{Day, DayRange};
use post::Posted;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use storage::catalog::RunRow;
use storage::lake::LakeError;

/// What is asked of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// Which days.
    pub range: DayRange,
    /// Only these pools, as long as nothing else of the days changed.
    pub pools: Option<Vec<String>>,
    /// Compute, but write nothing.
    pub dry_run: bool,
    /// Who asks.
    pub requested_by: String,
}

/// How often a run starts again because somebody else posted meanwhile.
const ATTEMPTS_MAX: u32 = 20;
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
            if let Err(error) = engine.execute(row, &request).await {
                tracing::error!(run.id = %id, ?error, "run {id} failed");
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
                Ok(row) => return self.execute(row, &request).await,
                Err(EngineError::RunInProgress { run, .. }) => self.hub.wait_for(&run, || self.is_over(&run)).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs every due day, oldest first, and returns the runs; none when nothing is due.
    ///
    /// # Errors
    /// When a run fails.
    pub async fn run_due(&self, requested_by: &str) -> Result<(Vec<RunView>, DueDays), EngineError> {
        let due = self.due_days().await?;
        let mut views = Vec::new();
        for range in due.ranges() {
            let request = RunRequest { range, pools: None, dry_run: false, requested_by: requested_by.to_owned() };
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
        Ok(row.is_none_or(|row| row.status == "succeeded" || row.status == "failed"))
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
        match self.catalog.insert_run(&row).await? {
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

    async fn execute(&self, mut row: RunRow, request: &RunRequest) -> Result<RunView, EngineError> {
        row.status = RunStatus::Running.as_str().to_owned();
        row.started_at = Some(self.clock.now().micros());
        self.catalog.update_run(&row).await?;
        let result = self.attempt(&row.id, request).await;
        row.finished_at = Some(self.clock.now().micros());
        match &result {
            Ok(done) => done.write_to(&mut row),
            Err(error) => {
                row.status = RunStatus::Failed.as_str().to_owned();
                row.error = Some(error.to_string());
            }
        }
        let updated = self.catalog.update_run(&row).await;
        self.hub.close(&row.id);
        result?;
        updated?;
        RunView::of_row(&row)
    }

    /// Computes and posts, again and again until nobody else posted meanwhile.
    async fn attempt(&self, run: &str, request: &RunRequest) -> Result<Posted, EngineError> {
        for attempt in 1..=ATTEMPTS_MAX {
            let computed = self.compute(run, request).await?;
            if let Some(unknown) = request.pools.iter().flatten().find(|pool| !computed.pools.contains(*pool)) {
                return Err(EngineError::NotFound { kind: "pool", name: unknown.clone() });
            }
            if request.dry_run {
                return Ok(Posted::nothing(&computed));
            }
            match self.post(run, request, computed).await {
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

    async fn compute(&self, run: &str, request: &RunRequest) -> Result<Computed, EngineError> {
        let watermark = self.catalog.pin_recorded_at(self.clock.now().micros()).await?;
        let pinned = self.lake.pin().await?;
        let books = self.books(watermark).await?;
        let touched = TouchedDays::read(&pinned).await?;
        let mut computed = Computed::new(pinned, books, self.seen_inputs().await?, touched);
        let mut from = request.range.from();
        while from <= request.range.to() {
            let to = from.plus(DAYS_AT_ONCE - 1).min(request.range.to());
            let piece = DayRange::new(from, to).expect("a piece has days");
            let progress = |day: Day| self.hub.report(run, request.range, day);
            self.compute_piece(&mut computed, run, piece, progress).await?;
            from = to.plus(1);
        }
        Ok(computed)
    }
}
