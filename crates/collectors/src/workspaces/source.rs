use super::error::{MeasureError, ReadError};
use super::probe;
use super::query::{MetricQuery, Query};
use super::session::{ClientOptions, Session, shown, text, values};
use domain::snapshot::{Measured, Measurement, SnapshotKind};
use domain::{Clock, Instant, InstantRange, Quantity, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often a workspace is tried when the connection is lost.
const ATTEMPTS_MAX: u32 = 3;
/// Wait before the first repeat; the next one waits twice as long.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// The metric that degrades to 0 where the role may not measure it.
pub const STORAGE: &str = "storage_bytes";
/// The function whose use asks for the privilege below.
const SIZE_FUNCTION: &str = "pg_total_relation_size";
/// What a role needs before sizes of whole tables are read: they tell of all workspaces together.
const SIZE_PRIVILEGE: &str = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')::text, current_user::text";
const NO_SIZE_PRIVILEGE: &str = "the role {role} lacks pg_read_all_stats, so the size was not read and 0 stands in for \
    it; GRANT pg_read_all_stats TO {role} and take the snapshot again";

/// An application whose workspaces are measured in its database.
#[derive(Clone, Debug)]
pub struct PostgresSource {
    /// Its name.
    pub name: String,
    /// Whom to ask.
    pub client: ClientOptions,
    /// Lists the active workspaces: id, slug, name, plan.
    pub workspaces: Query,
    /// The setting by which policies know the workspace.
    pub rls_variable: String,
    /// What is measured of each.
    pub metrics: Vec<MetricQuery>,
    /// How many workspaces are measured at the same time.
    pub concurrency: usize,
    /// How many workspaces it may list.
    pub workspaces_max: usize,
}

/// A workspace, as the application lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its id, which is that of the tenant.
    pub id: String,
    /// Short name in addresses.
    pub slug: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// What it pays for.
    pub plan: Option<String>,
}

/// What is measured: which day is counted, and whether levels still tell of the snapshot's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The whole day before the snapshot's.
    pub counted: InstantRange,
    /// Whether the snapshot's day is the current one.
    pub levels: bool,
}

/// A workspace that was not measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedWorkspace {
    /// Its id.
    pub workspace: String,
    /// Why.
    pub reason: String,
}

/// What was found of one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurements {
    /// When its database was looked at: all of it is of one moment.
    pub taken_at: Instant,
    /// By metric.
    pub metrics: BTreeMap<Arc<str>, Measurement>,
}

/// What was found of each workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Every workspace that the application lists, by id.
    pub listed: Vec<Workspace>,
    /// The measurements of those that were measured.
    pub measured: BTreeMap<TenantId, Measurements>,
    /// Those that were not.
    pub failed: Vec<FailedWorkspace>,
}

impl PostgresSource {
    /// Returns what was found of every workspace, and tells how many are done of how many.
    ///
    /// A workspace that fails stops no other.
    ///
    /// # Errors
    /// [`MeasureError`] if nothing could be measured, or rows of other workspaces would be counted.
    pub async fn measure(
        &self,
        occasion: Occasion,
        clock: &dyn Clock,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Findings, MeasureError> {
        let mut session = Session::open(&self.client).await.map_err(MeasureError::read("connecting"))?;
        let listed = self.list(&mut session).await?;
        let metrics: Vec<&MetricQuery> =
            self.metrics.iter().filter(|metric| metric.kind == SnapshotKind::Delta24h || occasion.levels).collect();
        let no_size = self.why_no_size(&mut session).await?;
        let read: Vec<&MetricQuery> =
            metrics.iter().copied().filter(|metric| no_size.is_none() || !asks_for_sizes(metric)).collect();
        probe::refuse_foreign_rows(self, &mut session, &read, &listed, occasion.counted).await?;
        session.close().await;

        let work = Work {
            source: self,
            counted: occasion.counted,
            metrics,
            no_size,
            clock,
            queue: &listed,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            down: OnceLock::new(),
            findings: Mutex::default(),
            progress,
        };
        let mut findings = work.carry_out(self.concurrency).await;
        findings.failed.sort_by(|one, other| one.workspace.cmp(&other.workspace));
        findings.listed = listed;
        Ok(findings)
    }

    async fn list(&self, session: &mut Session) -> Result<Vec<Workspace>, MeasureError> {
        const DOING: &str = "listing workspaces";
        let statement = format!(
            "SELECT id::text, slug::text, name::text, plan::text FROM ({}\n) AS listed LIMIT {}",
            self.workspaces,
            i64::try_from(self.workspaces_max).unwrap_or(i64::MAX).saturating_add(1)
        );
        session.begin().await.map_err(MeasureError::read(DOING))?;
        let rows = session.ask(&statement, &[]).await.map_err(MeasureError::read(DOING))?;
        session.end().await.map_err(MeasureError::read(DOING))?;
        let senseless =
            |detail: String| MeasureError::Read { doing: DOING.to_owned(), error: ReadError::Senseless(detail) };
        if self.workspaces_max < rows.len() {
            let most = self.workspaces_max;
            return Err(senseless(format!("there are more than {most} workspaces (limits.snapshot_workspaces)")));
        }
        let mut listed = Vec::with_capacity(rows.len());
        let mut seen = BTreeSet::new();
        for row in &rows {
            let column = |at: usize| text(row, at).map_err(MeasureError::read(DOING));
            let id = column(0)?.ok_or_else(|| senseless("a workspace has no id (NULL)".to_owned()))?;
            if !seen.insert(id.clone()) {
                return Err(senseless(format!("workspace `{}` is listed twice", shown(&id))));
            }
            listed.push(Workspace { id, slug: column(1)?, name: column(2)?, plan: column(3)? });
        }
        listed.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(listed)
    }

    /// Why sizes of tables cannot be read, if they are asked for.
    async fn why_no_size(&self, session: &mut Session) -> Result<Option<Arc<str>>, MeasureError> {
        const DOING: &str = "asking for privileges";
        if !self.metrics.iter().any(asks_for_sizes) {
            return Ok(None);
        }
        session.begin().await.map_err(MeasureError::read(DOING))?;
        let rows = session.ask(SIZE_PRIVILEGE, &[]).await.map_err(MeasureError::read(DOING))?;
        session.end().await.map_err(MeasureError::read(DOING))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let may = text(row, 0).map_err(MeasureError::read(DOING))?;
        let role = text(row, 1).map_err(MeasureError::read(DOING))?.unwrap_or_default();
        Ok((may.as_deref() != Some("true")).then(|| bounded(&NO_SIZE_PRIVILEGE.replace("{role}", &shown(&role)))))
    }
}

/// The text as a note, which may not be longer.
fn bounded(text: &str) -> Arc<str> {
    const NOTE_BYTES_MAX: usize = 500;
    let end = text.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= NOTE_BYTES_MAX);
    Arc::from(&text[..end.last().unwrap_or(0)])
}

/// Whether the metric degrades instead of failing, and reads sizes of whole tables.
fn asks_for_sizes(metric: &MetricQuery) -> bool {
    metric.name == STORAGE && metric.query.names().contains(SIZE_FUNCTION)
}

/// One pass over all workspaces.
struct Work<'a> {
    source: &'a PostgresSource,
    counted: InstantRange,
    metrics: Vec<&'a MetricQuery>,
    no_size: Option<Arc<str>>,
    clock: &'a dyn Clock,
    queue: &'a [Workspace],
    next: AtomicUsize,
    done: AtomicUsize,
    /// Why the database cannot be asked any more.
    down: OnceLock<String>,
    findings: Mutex<Findings>,
    progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl Work<'_> {
    async fn carry_out(self, concurrency: usize) -> Findings {
        (self.progress)(0, self.queue.len());
        let workers = concurrency.clamp(1, self.queue.len().max(1));
        futures::future::join_all((0..workers).map(|_| self.until_done())).await;
        self.findings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures one workspace after the other, all on one connection as long as nothing fails.
    async fn until_done(&self) {
        let mut session = None;
        while let Some(workspace) = self.queue.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let found = match (workspace.id.parse::<TenantId>(), self.down.get()) {
                (Err(error), _) => Err(error.to_string()),
                (Ok(_), Some(why)) => Err(format!("not tried: {why}")),
                (Ok(id), None) => match self.patiently(&mut session, workspace).await {
                    Ok(found) => Ok((id, found)),
                    Err(error) => Err(self.reason(error)),
                },
            };
            self.note(workspace, found);
        }
        if let Some(session) = session {
            session.close().await;
        }
    }

    fn reason(&self, error: MetricError) -> String {
        if error.error.is_of_the_database() {
            // Somebody else may have noticed first.
            let _ = self.down.set(error.error.to_string());
        }
        match error.metric {
            Some(metric) => format!("{metric}: {}", error.error),
            None => error.error.to_string(),
        }
    }

    fn note(&self, workspace: &Workspace, found: Result<(TenantId, Measurements), String>) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok((id, found)) => drop(findings.measured.insert(id, found)),
            Err(reason) => findings.failed.push(FailedWorkspace { workspace: workspace.id.clone(), reason }),
        }
        drop(findings);
        (self.progress)(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.queue.len());
    }

    /// Measures a workspace, again if only the connection failed.
    async fn patiently(
        &self,
        session: &mut Option<Session>,
        workspace: &Workspace,
    ) -> Result<Measurements, MetricError> {
        let (mut attempt, mut wait) = (1, RETRY_WAIT);
        loop {
            match self.once(session, workspace).await {
                Err(error) if error.error.is_passing() && attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(wait).await;
                    (attempt, wait) = (attempt + 1, wait * 2);
                }
                done => return done,
            }
        }
    }

    async fn once(&self, session: &mut Option<Session>, workspace: &Workspace) -> Result<Measurements, MetricError> {
        // Taken out: whatever breaks off before the end, nobody uses this connection again.
        let mut open = match session.take() {
            Some(open) => open,
            None => Session::open(&self.source.client).await?,
        };
        let variable = self.source.rls_variable.as_str();
        open.begin_for(variable, &workspace.id).await?;
        let taken_at = self.clock.now();
        let mut metrics = BTreeMap::new();
        for metric in &self.metrics {
            let measurement = self.metric(&mut open, metric, workspace).await;
            let measurement = measurement.map_err(|error| MetricError { metric: Some(metric.name.clone()), error })?;
            metrics.insert(Arc::from(metric.name.as_str()), measurement);
        }
        open.end_for(variable, &workspace.id).await?;
        *session = Some(open);
        Ok(Measurements { taken_at, metrics })
    }

    async fn metric(
        &self,
        session: &mut Session,
        metric: &MetricQuery,
        workspace: &Workspace,
    ) -> Result<Measurement, ReadError> {
        let degraded = |note: Arc<str>| Measurement {
            kind: metric.kind,
            measured: Measured::Degraded(Quantity::default()),
            note: Some(note),
        };
        if let Some(note) = self.no_size.as_ref().filter(|_| asks_for_sizes(metric)) {
            return Ok(degraded(Arc::clone(note)));
        }
        let is_storage = metric.name == STORAGE;
        if is_storage {
            session.mark().await?;
        }
        match quantity(session, metric, self.counted, &workspace.id).await {
            Ok(quantity) => Ok(Measurement { kind: metric.kind, measured: Measured::Exactly(quantity), note: None }),
            Err(error @ ReadError::Denied(_)) if is_storage => {
                session.back_to_mark().await?;
                let note = format!("{error}; 0 stands in for the size; grant it and take the snapshot again");
                Ok(degraded(bounded(&note)))
            }
            Err(error) => Err(error),
        }
    }
}

/// A workspace that was not measured, and by which metric.
#[derive(Debug)]
struct MetricError {
    metric: Option<String>,
    error: ReadError,
}

impl From<ReadError> for MetricError {
    fn from(error: ReadError) -> Self {
        Self { metric: None, error }
    }
}

/// Returns the one value of a metric in the open transaction; no row and NULL are 0.
pub(super) async fn quantity(
    session: &mut Session,
    metric: &MetricQuery,
    counted: InstantRange,
    workspace: &str,
) -> Result<Quantity, ReadError> {
    let values = values(metric.query.params(), counted, workspace);
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let rows = session.ask(&metric.statement(), &values).await?;
    if rows.len() > 1 {
        return Err(ReadError::Senseless("the query answers more than one row".to_owned()));
    }
    let value = rows.first().map(|row| text(row, 0)).transpose()?.flatten();
    let Some(value) = value else { return Ok(Quantity::default()) };
    let (quantity, _) =
        Quantity::parse_rounding(&value).map_err(|error| ReadError::Senseless(shown(&error.to_string())))?;
    if quantity < Quantity::default() {
        return Err(ReadError::Senseless(format!("the value is {quantity}, and nothing measured is negative")));
    }
    Ok(quantity)
}
