use super::error::WorkspacesError;
use super::source::{FailedWorkspace, Findings, Measurements, Occasion, PostgresSource};
use super::{Workspaces, status, tenants};
use crate::snapshots::{SnapshotContext, TenantSnapshot, replace_snapshots};
use domain::snapshot::{Quality, SnapshotKind};
use domain::{Day, InstantRange, TenantId};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use storage::catalog::{CatalogError, SnapshotRunRow};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Failed workspaces that a run lists; it counts all of them.
const FAILED_LISTED_MAX: usize = 1_000;
/// Failed workspaces of one source that are logged one by one.
const FAILED_LOGGED_MAX: usize = 20;
/// How often a run of another process is looked up.
const POLL: Duration = Duration::from_millis(500);

static RUNS_NAMED: AtomicU64 = AtomicU64::new(0);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Measuring.
    Running,
    /// Done. Single workspaces may have failed.
    Succeeded,
    /// A source, or all its workspaces, could not be measured. What others found is stored.
    Failed,
    /// Ended because somebody asked for it. What it had stored by then stays.
    Cancelled,
}

impl RunState {
    /// Returns the state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state of a word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// A workspace that a run did not measure; what was measured of it on that day before stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTenant {
    /// Whose workspaces.
    pub source: String,
    /// Its id.
    pub tenant: String,
    /// Why.
    pub reason: String,
}

/// A run that measures the workspaces of every source on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRun {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub state: RunState,
    /// The day of the snapshots.
    pub date: Day,
    /// What was found.
    pub found: RunFound,
    /// Why a source was not measured, or who cancelled the run.
    pub error: Option<String>,
    /// When it began, in microseconds since 1970.
    pub created_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
}

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFound {
    /// Who asked for it.
    pub requested_by: String,
    /// Which server carries it out.
    pub node: String,
    /// Workspaces that were measured.
    pub tenants: usize,
    /// Those among them with a quantity that stands in for one that could not be read.
    pub degraded: usize,
    /// The first workspaces that were not measured.
    pub failed: Vec<FailedTenant>,
    /// All workspaces that were not measured.
    pub failed_total: usize,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// Whether the database of a source was not reached, or let nobody in.
    pub unreachable: bool,
}

/// How many workspaces of a run are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunProgress {
    /// Measured or failed.
    pub done: usize,
    /// All that are known so far.
    pub total: usize,
}

/// What becomes of the wish for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is the caller's to carry out.
    Mine(SnapshotRun),
    /// One of the same day is under way in this process already.
    Other(SnapshotRun),
}

impl Workspaces {
    /// Returns a run of the day, begun or found under way; without a day, of the current one.
    ///
    /// Servers that share a catalog do not wait for each other: two runs at once do the same work twice, to one effect.
    ///
    /// # Errors
    /// [`WorkspacesError::NoSource`], [`WorkspacesError::Future`], or the catalog fails.
    pub async fn begin(&self, date: Option<Day>, requested_by: &str) -> Result<Begun, WorkspacesError> {
        let date = self.date_of(date)?;
        let now = self.clock.now().micros();
        let named = RUNS_NAMED.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{}|{now}|{named}|{date}|{}", self.lake.id(), std::process::id());
        let run = SnapshotRun {
            id: format!("snap-{}", &hex::encode(Sha256::digest(seed.as_bytes()))[..16]),
            state: RunState::Running,
            date,
            found: RunFound {
                requested_by: requested_by.to_owned(),
                node: self.node.to_string(),
                ..RunFound::default()
            },
            error: None,
            created_at: now,
            finished_at: None,
        };
        if let Some(other) = self.hub.open(&run) {
            return Ok(Begun::Other(other));
        }
        match self.insert(&to_row(&run)).await {
            Ok(()) => Ok(Begun::Mine(run)),
            Err(error) => {
                self.hub.close(&run.id);
                Err(error.into())
            }
        }
    }

    fn date_of(&self, date: Option<Day>) -> Result<Day, WorkspacesError> {
        let today = self.zone.day_of(self.clock.now());
        match date.unwrap_or(today) {
            _ if self.sources.is_empty() => Err(WorkspacesError::NoSource),
            date if today < date => Err(WorkspacesError::Future { date, today }),
            date => Ok(date),
        }
    }

    /// Carries a run out that was begun, and returns how it ended. Whatever becomes of it, its row and its followers know.
    ///
    /// # Errors
    /// When the catalog fails. What a source or the lake says is in the run.
    pub async fn carry_out(&self, mut run: SnapshotRun) -> Result<SnapshotRun, WorkspacesError> {
        let ended = AssertUnwindSafe(self.while_held(&run.id, self.measure_all(&run))).catch_unwind().await;
        run.finished_at = Some(self.clock.now().micros());
        let ended = ended.map(|(found, state, error)| {
            let before = std::mem::take(&mut run.found);
            run.found = RunFound { requested_by: before.requested_by, node: before.node, ..found };
            run.state = state;
            run.error = error;
        });
        if ended.is_err() {
            run.state = RunState::Failed;
            run.error = Some("the run broke off, please report it".to_owned());
        }
        let stored = self.catalog.end_snapshot_run(&to_row(&run)).await;
        self.hub.close(&run.id);
        ended.unwrap_or_else(|panic| resume_unwind(panic));
        stored?;
        Ok(run)
    }

    /// Measures every source, or only one, and stores nothing; returns what a run of the day would find.
    ///
    /// # Errors
    /// As [`Workspaces::begin`], or the first reason for which a source cannot be measured.
    pub async fn try_out(&self, date: Option<Day>, only: Option<&str>) -> Result<SnapshotRun, WorkspacesError> {
        let date = self.date_of(date)?;
        let now = self.clock.now().micros();
        let mut found = RunFound::default();
        let wanted = self.sources.iter().filter(|source| only.is_none_or(|name| source.name == name));
        for source in wanted {
            let findings = source.measure(self.occasion(date), &*self.clock, &|_, _| {}).await?;
            found.add(&source.name, &findings);
        }
        let id = "dry-run".to_owned();
        let (state, error) = (RunState::Succeeded, None);
        let finished_at = Some(self.clock.now().micros());
        Ok(SnapshotRun { id, state, date, found, error, created_at: now, finished_at })
    }

    /// Returns what a run found, or what became of it so far.
    ///
    /// # Errors
    /// [`WorkspacesError::NotFound`], or the catalog fails.
    pub async fn run(&self, id: &str) -> Result<SnapshotRun, WorkspacesError> {
        let row = self.catalog.snapshot_run(id).await?;
        of_row(&row.ok_or_else(|| WorkspacesError::NotFound(id.to_owned()))?)
    }

    /// Returns up to `limit` runs, newest first, before the given beginning and id.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn runs(&self, before: Option<(i64, &str)>, limit: i64) -> Result<Vec<SnapshotRun>, WorkspacesError> {
        self.catalog.list_snapshot_runs(before, limit).await?.iter().map(of_row).collect()
    }

    /// Returns the progress of a run that is under way in this process.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<Receiver<RunProgress>> {
        self.hub.follow(id)
    }

    /// Waits until a run is over, in whichever process, and returns it.
    ///
    /// # Errors
    /// As [`Workspaces::run`].
    pub async fn wait_for(&self, id: &str) -> Result<SnapshotRun, WorkspacesError> {
        if let Some(mut receiver) = self.follow(id) {
            while !matches!(receiver.recv().await, Err(RecvError::Closed)) {}
        }
        loop {
            let run = self.run(id).await?;
            if run.state != RunState::Running {
                return Ok(run);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn occasion(&self, date: Day) -> Occasion {
        let counted = InstantRange { start: self.zone.start_of(date.plus(-1)), end: self.zone.start_of(date) };
        Occasion { counted, levels: date == self.zone.day_of(self.clock.now()) }
    }

    /// Measures one source after the other; returns what was found, how it ended, and why sources were not measured.
    async fn measure_all(&self, run: &SnapshotRun) -> (RunFound, RunState, Option<String>) {
        let (mut found, mut errors) = (RunFound::default(), Vec::new());
        let before = AtomicUsize::new(0);
        for source in &*self.sources {
            let told = AtomicUsize::new(0);
            let progress = |done: usize, total: usize| {
                let before = before.load(Ordering::Relaxed);
                told.store(total, Ordering::Relaxed);
                self.hub.report(&run.id, RunProgress { done: before + done, total: before + total });
            };
            let mut of_source = RunFound::default();
            let measured = self.measure_source(source, run, &progress, &mut of_source).await;
            if let Err(error @ WorkspacesError::Cancelled { .. }) = &measured {
                // It says nothing of the source, whose status stays.
                errors.push(error.to_string());
                return (found, RunState::Cancelled, Some(errors.join("; ")));
            }
            before.fetch_add(told.load(Ordering::Relaxed), Ordering::Relaxed);
            let nothing = of_source.tenants == 0 && of_source.failed_total > 0;
            let error = match measured {
                Err(error) => {
                    of_source.unreachable = error.is_unreachable();
                    Some(error.to_string())
                }
                Ok(()) if nothing => Some(format!("none of {} workspaces was measured", of_source.failed_total)),
                Ok(()) => None,
            };
            if let Err(error) = status::ended(self, source, run, &of_source, error.as_deref()).await {
                errors.push(error.to_string());
            }
            found.merge(of_source);
            if let Some(error) = error {
                tracing::warn!(source = source.name, error, "source {} was not measured: {error}", source.name);
                errors.push(format!("source `{}`: {error}", source.name));
            }
        }
        let state = if errors.is_empty() { RunState::Succeeded } else { RunState::Failed };
        (found, state, (!errors.is_empty()).then(|| errors.join("; ")))
    }

    async fn measure_source(
        &self,
        source: &PostgresSource,
        run: &SnapshotRun,
        progress: &(dyn Fn(usize, usize) + Sync),
        found: &mut RunFound,
    ) -> Result<(), WorkspacesError> {
        let date = run.date;
        let occasion = self.occasion(date);
        let measuring = async { Ok(source.measure(occasion, &*self.clock, progress).await?) };
        let mut findings = self.unless_cancelled(&run.id, measuring).await?;
        // The last moment: what is stored of a source is stored as a whole.
        self.check_not_cancelled(&run.id).await?;
        let now = self.clock.now();
        let today = occasion.levels.then_some(date);
        tenants::enter(&self.catalog, date, today, &findings.listed, self.reject_unknown_tenants, now).await?;
        if self.reject_unknown_tenants {
            self.leave_unknown_out(&mut findings, date).await?;
        }
        log_failed(source, &findings.failed);
        let snapshots = snapshots_of(source, occasion, &findings);
        if !snapshots.is_empty() {
            let context = SnapshotContext {
                lake: self.lake.clone(),
                catalog: self.catalog.clone(),
                reject_unknown_tenants: self.reject_unknown_tenants,
                metrics_max: source.metrics.len(),
                now,
            };
            replace_snapshots(&context, &source.name, date, &snapshots).await?;
        }
        found.add(&source.name, &findings);
        Ok(())
    }

    /// `[tenants] unknown = "reject"`: a workspace that nobody entered fails, and stops no other.
    async fn leave_unknown_out(&self, findings: &mut Findings, date: Day) -> Result<(), CatalogError> {
        let book = self.catalog.tenant_book_all_tenants(i64::MAX).await?;
        let is_known = |id: &str| book.knows(id) || book.knows(&book.resolve(id, date));
        let unknown: Vec<TenantId> = findings.measured.keys().filter(|id| !is_known(id.as_str())).cloned().collect();
        for id in unknown {
            findings.measured.remove(&id);
            let reason = "the tenant does not exist; enter it first (tenants.unknown is \"reject\")".to_owned();
            findings.failed.push(FailedWorkspace { workspace: id.to_string(), reason });
        }
        Ok(())
    }
}

/// The measurements as they are stored; levels of a past day stay what they are.
fn snapshots_of(
    source: &PostgresSource,
    occasion: Occasion,
    findings: &Findings,
) -> BTreeMap<TenantId, TenantSnapshot> {
    let is_kept = |kind: SnapshotKind| kind == SnapshotKind::Gauge && !occasion.levels;
    let kept = source.metrics.iter().filter(|metric| is_kept(metric.kind));
    let kept: BTreeMap<Arc<str>, SnapshotKind> =
        kept.map(|metric| (Arc::from(metric.name.as_str()), metric.kind)).collect();
    let snapshot = |(id, found): (&TenantId, &Measurements)| {
        let snapshot = TenantSnapshot { taken_at: found.taken_at, metrics: found.metrics.clone(), kept: kept.clone() };
        (id.clone(), snapshot)
    };
    findings.measured.iter().map(snapshot).collect()
}

fn log_failed(source: &PostgresSource, failed: &[FailedWorkspace]) {
    for one in failed.iter().take(FAILED_LOGGED_MAX) {
        let (workspace, reason) = (&one.workspace, &one.reason);
        tracing::warn!(
            source = source.name,
            tenant.id = workspace,
            reason,
            "workspace {workspace} of source {} was not measured: {reason}",
            source.name
        );
    }
    let more = failed.len().saturating_sub(FAILED_LOGGED_MAX);
    if more > 0 {
        tracing::warn!(source = source.name, more, "{more} more workspaces of source {} failed", source.name);
    }
}

impl RunFound {
    /// Adds what was found of a source.
    fn add(&mut self, source: &str, findings: &Findings) {
        self.tenants += findings.measured.len();
        let mut notes = BTreeSet::new();
        for found in findings.measured.values() {
            let degraded = found.metrics.values().filter(|found| found.measured.quality() == Quality::Degraded);
            let degraded: Vec<Arc<str>> = degraded.filter_map(|found| found.note.clone()).collect();
            self.degraded += usize::from(!degraded.is_empty());
            notes.extend(degraded);
        }
        self.warnings.extend(notes.iter().take(FAILED_LOGGED_MAX).map(|note| format!("source `{source}`: {note}")));
        self.failed_total += findings.failed.len();
        let room = FAILED_LISTED_MAX.saturating_sub(self.failed.len());
        self.failed.extend(findings.failed.iter().take(room).map(|failed| FailedTenant {
            source: source.to_owned(),
            tenant: failed.workspace.clone(),
            reason: failed.reason.clone(),
        }));
    }

    fn merge(&mut self, other: Self) {
        self.tenants += other.tenants;
        self.degraded += other.degraded;
        self.failed_total += other.failed_total;
        self.warnings.extend(other.warnings);
        self.unreachable |= other.unreachable;
        self.failed.extend(other.failed);
        self.failed.truncate(FAILED_LISTED_MAX);
    }
}

fn to_row(run: &SnapshotRun) -> SnapshotRunRow {
    SnapshotRunRow {
        id: run.id.clone(),
        date: run.date.to_string(),
        status: run.state.as_str().to_owned(),
        created_at: run.created_at,
        finished_at: run.finished_at,
        error: run.error.clone(),
        body: serde_json::to_string(&run.found).expect("what was found is plain JSON"),
    }
}

fn of_row(row: &SnapshotRunRow) -> Result<SnapshotRun, WorkspacesError> {
    let corrupt = |value: &str| CatalogError::Corrupt { what: "snapshot run", value: value.to_owned() };
    Ok(SnapshotRun {
        id: row.id.clone(),
        state: RunState::of_word(&row.status).ok_or_else(|| corrupt(&row.status))?,
        date: row.date.parse().map_err(|_| corrupt(&row.date))?,
        found: serde_json::from_str(&row.body).map_err(|_| corrupt(&row.body))?,
        error: row.error.clone(),
        created_at: row.created_at,
        finished_at: row.finished_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::Secret;
    use crate::sources::SourceState;
    use crate::workspaces::{ClientOptions, MetricQuery, Query, WorkspacesContext};
    use domain::{FixedClock, Instant};
    use storage::catalog::Catalog;
    use storage::lake::Lake;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    const HOUR: i64 = 3_600_000_000;

    /// Nobody listens on port 1.
    fn source() -> PostgresSource {
        PostgresSource {
            name: "app".to_owned(),
            client: ClientOptions {
                url: Secret::Text("postgres://reader@127.0.0.1:1/app".to_owned()),
                statement_timeout: Duration::from_secs(1),
            },
            workspaces: Query::read("SELECT id, slug, name, plan FROM workspaces").expect("valid"),
            rls_variable: "app.workspace_id".to_owned(),
            metrics: vec![MetricQuery::read("member_count", "SELECT count(*) FROM members").expect("valid")],
            concurrency: 1,
            workspaces_max: 100,
        }
    }

    async fn given(folder: &tempfile::TempDir, sources: Vec<PostgresSource>, zone: &str, now: &str) -> Workspaces {
        let now: Instant = now.parse().expect("a time");
        let context = WorkspacesContext {
            lake: Lake::open(&folder.path().join("lake"), now).await.expect("a lake"),
            catalog: Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog"),
            clock: Arc::new(FixedClock::at(now)),
            zone: zone.parse().expect("a zone"),
            reject_unknown_tenants: false,
            node: "node-1".into(),
        };
        Workspaces::new(sources, context)
    }

    #[tokio::test]
    async fn counters_cover_the_whole_day_before_whenever_they_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut occasions = Vec::new();
        for now in ["2026-03-29T22:10:00Z", "2026-03-30T13:00:00Z", "2026-04-02T08:00:00Z"] {
            let workspaces = given(&folder, Vec::new(), "Europe/Berlin", now).await;
            occasions.push(workspaces.occasion(day("2026-03-30")));
        }
        let counted = InstantRange {
            start: "2026-03-28T23:00:00Z".parse().expect("a time"),
            end: "2026-03-29T22:00:00Z".parse().expect("a time"),
        };
        assert!(occasions.iter().all(|occasion| occasion.counted == counted), "23 hours: {occasions:?}");
        let levels: Vec<bool> = occasions.iter().map(|occasion| occasion.levels).collect();
        assert_eq!(levels, [true, true, false], "levels are read on their day only");
    }

    #[tokio::test]
    async fn a_run_whose_database_is_away_has_failed_and_the_next_one_may_begin() {
        let folder = tempfile::tempdir().expect("a folder");
        let workspaces = given(&folder, vec![source()], "UTC", "2026-11-20T00:10:00Z").await;
        let begun = workspaces.begin(None, "test").await.expect("begun");
        let Begun::Mine(run) = begun else { panic!("nothing else is under way") };
        let mut follower = workspaces.follow(&run.id).expect("under way");
        let other = workspaces.begin(Some(day("2026-11-20")), "somebody").await.expect("found");
        assert_eq!(other, Begun::Other(run.clone()));

        let ended = workspaces.carry_out(run).await.expect("it is recorded");

        assert_eq!(
            (ended.state, ended.date, ended.found.requested_by.as_str()),
            (RunState::Failed, day("2026-11-20"), "test")
        );
        let error = ended.error.clone().unwrap_or_default();
        assert!(error.starts_with("source `app`: connecting: the database cannot be reached"), "{error}");
        assert!(ended.found.unreachable);
        assert!(follower.recv().await.is_err(), "its channel is closed");
        assert_eq!(workspaces.run(&ended.id).await.expect("a run"), ended);
        assert_eq!(workspaces.wait_for(&ended.id).await.expect("over"), ended);
        let status = &workspaces.statuses().await.expect("statuses")[0];
        assert_eq!((status.state, status.last_error.is_some()), (SourceState::Never, true));
        let next = workspaces.begin(None, "test").await.expect("begun");
        assert!(matches!(next, Begun::Mine(_)));
        let elsewhere = RunFound { node: "node-2".to_owned(), ..RunFound::default() };
        let elsewhere = SnapshotRun { id: "snap-2".to_owned(), state: RunState::Running, found: elsewhere, ..ended };
        workspaces.catalog.insert_snapshot_run(&to_row(&elsewhere), "node-2", HOUR).await.expect("inserted");
        let workspaces = given(&folder, vec![source()], "UTC", "2026-11-20T00:10:00Z").await;
        workspaces.repair().await.expect("repaired");
        let running = async || {
            let runs = workspaces.runs(None, 10).await.expect("runs");
            let running = runs.iter().filter(|run| run.state == RunState::Running).map(|run| run.id.clone());
            (runs.len(), running.collect::<Vec<_>>())
        };
        assert_eq!(running().await, (3, vec!["snap-2".to_owned()]), "what this server did not end was interrupted");

        // The other server never returns: its lease runs out.
        workspaces.keep_up().await.expect("kept up");
        assert_eq!(running().await.1, ["snap-2"], "it may be at work");
        assert!(workspaces.catalog.hold_snapshot_run("snap-2", "node-2", 0).await.expect("held"));
        workspaces.keep_up().await.expect("kept up");
        assert_eq!(running().await.1, Vec::<String>::new());
        let error = workspaces.run("snap-2").await.expect("a run").error.unwrap_or_default();
        assert!(error.contains("the server that measured stopped"), "{error}");
    }

    #[tokio::test]
    async fn a_cancelled_run_measures_and_stores_nothing_and_the_day_runs_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let workspaces = given(&folder, vec![source()], "UTC", "2026-11-20T00:10:00Z").await;
        let begun = workspaces.begin(None, "test").await.expect("begun");
        let Begun::Mine(run) = begun else { panic!("nothing else is under way") };
        let endless = async {
            assert_eq!(workspaces.cancel(&run.id, "ann").await?.state, RunState::Running);
            std::future::pending::<Result<(), WorkspacesError>>().await
        };
        let dropped = workspaces.unless_cancelled(&run.id, endless).await;
        assert!(matches!(dropped, Err(WorkspacesError::Cancelled { .. })), "measuring goes on");
        workspaces.cancel(&run.id, "bob").await.expect("once more is no error");

        let ended = workspaces.carry_out(run).await.expect("it is recorded");

        assert_eq!((ended.state, ended.found.tenants), (RunState::Cancelled, 0));
        assert!(ended.error.as_ref().is_some_and(|error| error.contains("cancelled by ann")), "{ended:?}");
        assert_eq!(workspaces.run(&ended.id).await.expect("a run"), ended);
        assert_eq!(workspaces.wait_for(&ended.id).await.expect("over"), ended);
        assert!(workspaces.follow(&ended.id).is_none(), "its channel is closed");
        let status = &workspaces.statuses().await.expect("statuses")[0];
        assert_eq!((status.last_started_at, status.last_error.as_ref()), (None, None), "it says nothing of the source");
        assert_eq!(workspaces.cancel(&ended.id, "ann").await.expect("over").state, RunState::Cancelled);
        let next = workspaces.begin(None, "test").await.expect("begun");
        let Begun::Mine(next) = next else { panic!("the day is free") };
        assert_eq!(workspaces.check_not_cancelled(&next.id).await.map_err(|error| error.to_string()), Ok(()));
        assert!(matches!(workspaces.cancel("none", "ann").await, Err(WorkspacesError::NotFound(_))));
    }

    #[tokio::test]
    async fn days_to_come_and_nothing_to_measure_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = given(&folder, Vec::new(), "UTC", "2026-11-20T00:10:00Z").await;
        assert!(matches!(nothing.begin(None, "test").await, Err(WorkspacesError::NoSource)));
        let workspaces = given(&folder, vec![source()], "UTC", "2026-11-20T00:10:00Z").await;
        let future = workspaces.begin(Some(day("2026-11-21")), "test").await;
        assert!(matches!(future, Err(WorkspacesError::Future { .. })));
        assert!(matches!(workspaces.run("none").await, Err(WorkspacesError::NotFound(_))));
    }
}
