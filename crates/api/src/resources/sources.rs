//! Sources of usage: how each fared, and reading one now.

use super::cost_lines::{ImportTotalBody, to_api_total};
use super::ledger::PageParams;
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::convert::instant;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use collectors::providers::{CollectAsked, CollectReport, PeriodReport};
use collectors::snapshots::senders;
use collectors::sources::{Asked, QueryReport, RefreshReport, Rejection, SourceError, SourceStatus};
use collectors::under_way::RefreshProgress;
use collectors::workspaces::{RunState, SnapshotRun, WorkspacesError};
use domain::Instant;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// A source of usage.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SourceBody {
    /// Its name in the configuration.
    pub name: String,
    /// prometheus, postgres_snapshot, http_snapshot, or a collector such as vercel.
    pub kind: String,
    /// ok; stale if the last pull failed or is long ago; never if none succeeded.
    pub state: String,
    /// When a pull succeeded last.
    pub last_success_at: Option<String>,
    /// When one failed last.
    pub last_error_at: Option<String>,
    /// Why the last pull failed; null if it did not.
    pub last_error: Option<String>,
    /// Values that count, of all pulls.
    pub rows: i64,
    /// When the last hour ends that was read, of a collector the last day.
    pub through: Option<String>,
    /// What is being read just now.
    pub progress: Option<String>,
    /// How the last refresh ended: `succeeded`, `failed` or `cancelled`; `running` while it is under way. Null if there was
    /// none, and of sources that measure workspaces or send snapshots.
    pub refresh: Option<String>,
    /// How far the refresh is that is under way; null if none is, or while that is not known.
    pub refresh_progress: Option<RefreshProgressBody>,
    /// When a pull began last.
    pub last_started_at: Option<String>,
    /// How often it is read, in seconds.
    pub every_seconds: u64,
    /// How long an hour rests after its end before it is read, in seconds; of an export, how long files rest that nothing
    /// seals.
    pub settle_seconds: u64,
    /// Values that came again and differed; the first ones stay.
    pub changed_later: u64,
    /// Values that are no usage.
    pub rejected: u64,
    /// Values that are no numbers, such as NaN.
    pub skipped_values: u64,
    /// Of the last pull that succeeded.
    pub warnings: Vec<String>,
}

/// How far a refresh is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefreshProgressBody {
    /// What is read.
    pub done: u64,
    /// What will be, as far as that is known.
    pub total: u64,
    /// What is counted: `hour`s of metrics, `day`s of billing periods, or `billing_period`s that come as files.
    pub unit: String,
    /// When the refresh began.
    pub started_at: String,
}

/// What a source is read for.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RefreshParams {
    /// Reads hours from this time on again; what was taken before stays. Of a collector every billing period that ends after
    /// it, also those that are final.
    pub from: Option<String>,
    /// `true` asks each query for the last hour, a collector for the current billing period, and stores nothing.
    pub dry_run: Option<bool>,
    /// `true` accepts that a billing period loses more than a fifth of its lines or of its amount.
    pub confirm: Option<bool>,
}

/// What a refresh read and what became of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefreshBody {
    /// The source.
    pub name: String,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// When the first hour begins that was read; null if none rests long enough.
    pub from: Option<String>,
    /// When the last one ends.
    pub through: Option<String>,
    /// Values that count from now on.
    pub accepted: u64,
    /// Values that were read before.
    pub duplicates: u64,
    /// Values that were read before and differed then; those stay.
    pub changed_later: u64,
    /// The first values that are no usage.
    pub rejected: Vec<RejectedPointBody>,
    /// All values that are no usage.
    pub rejected_total: u64,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// What each query answered.
    pub queries: Vec<QueryReportBody>,
    /// The billing periods that a collector read, newest first.
    pub periods: Vec<CollectedPeriodBody>,
}

/// What a collector read of one billing period.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CollectedPeriodBody {
    /// `YYYY-MM`, or the day on which the period begins.
    pub billing_period: String,
    /// BillingAccountId.
    pub billing_account: String,
    /// Cost lines.
    pub lines: u64,
    /// Quantities.
    pub quantities: u64,
    /// Sums of the lines by currency; none of a dry run.
    pub totals: Vec<ImportTotalBody>,
    /// The import that holds the lines.
    pub import_id: Option<String>,
    /// Whether every line was there already.
    pub unchanged: bool,
    /// Whether the provider corrects it no more.
    pub is_final: bool,
}

/// A value that is no usage.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RejectedPointBody {
    /// Source, query and labels.
    pub series: String,
    /// When its hour begins, or the day of a snapshot.
    pub hour: String,
    /// Which rule.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// What one query answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueryReportBody {
    /// Its name.
    pub name: String,
    /// Its meter.
    pub meter: String,
    /// Most series of an answer.
    pub series: u64,
    /// Values of all answers.
    pub points: u64,
    /// Values that are no numbers, such as NaN.
    pub skipped_values: u64,
    /// Values with more than nine fractional digits.
    pub rounded_values: u64,
}

/// Returns the sources of usage and how each fared, each kind in the order of the configuration; also those that sent
/// snapshots without being declared.
#[utoipa::path(get, path = "/api/v1/sources", tag = "sources", params(PageParams), responses((status = 200, body = Page<SourceBody>)))]
pub async fn list_sources(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let mut sources = app.sources.list().await?;
    sources.extend(app.providers.statuses().await?);
    sources.extend(app.workspaces.statuses().await?);
    sources.extend(app.senders().await?);
    Page::of_all(sources, &page, "sources", to_api_source)?.answer(&asked)
}

/// Reads a source up to the last hour that rests long enough. Each value counts once, however often it is read. An
/// application whose workspaces are measured is measured today, with all others of its kind; with `dry_run` it alone, and
/// nothing is stored. A collector reads the billing periods that are not final and replaces each as a whole.
#[utoipa::path(post, path = "/api/v1/sources/{name}/refresh", tag = "sources",
    params(("name" = String, Path, description = "Name of the source"), RefreshParams),
    responses((status = 200, body = RefreshBody)))]
pub async fn refresh_source(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(name): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let from = params.text("from").map(|text| Instant::parse_lenient(&text)).transpose();
    let from = from.map_err(|error| ApiError::parameter("from", error.to_string()))?;
    let dry_run = params.word("dry_run", &[("false", false), ("true", true)])?;
    let confirm = params.word("confirm", &[("false", false), ("true", true)])?;
    params.finish()?;
    if app.providers.has(&name) {
        let asked = CollectAsked { from, dry_run, confirm };
        let (report, done) = app.providers.refresh_as_far(&name, &asked).await;
        return app.collected(&admin, &report, done).await;
    }
    if confirm && app.reads(&name) {
        return Err(ApiError::parameter(
            "confirm",
            format!("source `{name}` has no billing periods that could shrink"),
        ));
    }
    app.refuse_sender(&name).await?;
    if app.workspaces.has(&name) {
        if from.is_some() {
            let detail = "workspaces are measured a day at a time; say which with POST /snapshots/run?date=";
            return Err(ApiError::parameter("from", detail));
        }
        let run = match dry_run {
            true => app.workspaces.try_out(None, Some(&name)).await?,
            false => {
                let run = app.measure_now(&name, &admin.actor).await?;
                app.record_snapshot_run((&admin.actor, &admin.request_id), &run).await?;
                run
            }
        };
        return json(&to_api_measured(&name, dry_run, &run));
    }
    let (report, done) = app.sources.refresh_as_far(&name, &Asked { from, dry_run }).await;
    let body = to_api_report(&report);
    // Also what was taken before it failed or was cancelled.
    if body.accepted > 0 {
        let through = body.through.as_ref().filter(|_| done.is_ok());
        let facts = serde_json::json!({ "from": body.from, "through": through, "accepted": body.accepted });
        app.record(&admin, "source.refresh", &name, crate::audit::NOTHING, Some(&facts)).await?;
    }
    done?;
    json(&body)
}

/// Cancels every refresh of a source that is under way, wherever it is carried out: 202 with the source, whose refresh ends
/// as `cancelled` unless it stores the last of what it read already; 200 when none is under way. What was stored of a billing
/// period or an hour stays, and what is being stored is stored as a whole.
#[utoipa::path(post, path = "/api/v1/sources/{name}/refresh/cancel", tag = "sources",
    params(("name" = String, Path, description = "Name of the source")),
    responses((status = 200, body = SourceBody, description = "Nothing is under way"),
              (status = 202, body = SourceBody, description = "It is told")))]
pub async fn cancel_refresh(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(name): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    if app.workspaces.has(&name) {
        let detail = "workspaces are measured by runs; cancel one with POST /snapshots/runs/{id}/cancel";
        return Err(ApiError::parameter("name", detail));
    }
    app.refuse_sender(&name).await?;
    let (status, is_under_way) = match app.providers.has(&name) {
        true => app.providers.cancel(&name, &admin.actor).await?,
        false => app.sources.cancel(&name, &admin.actor).await?,
    };
    app.told(&admin, ("source.cancel", &name), is_under_way, &to_api_source(&status)).await
}

impl App {
    /// Refuses to read a source that sends its snapshots itself.
    async fn refuse_sender(&self, name: &str) -> Result<(), ApiError> {
        if self.senders().await?.iter().any(|sender| sender.name == name) {
            let detail = format!("source `{name}` sends its snapshots itself; there is nothing to read");
            return Err(ApiError::parameter("name", detail));
        }
        Ok(())
    }

    /// Returns whether a source of this name is read from here.
    pub(crate) fn reads(&self, source: &str) -> bool {
        self.sources.has(source) || self.providers.has(source) || self.workspaces.has(source)
    }

    /// Answers with what a collector did, or why it did no more, and records it if anything is another one than before.
    async fn collected(
        &self,
        admin: &PlatformAdmin,
        report: &CollectReport,
        done: Result<(), SourceError>,
    ) -> Result<Response, ApiError> {
        let body = to_api_collected(report);
        let has_changed = body.periods.iter().any(|period| !period.unchanged) || body.accepted > 0;
        if has_changed && !body.dry_run {
            let periods: Vec<&str> = body.periods.iter().map(|period| period.billing_period.as_str()).collect();
            let facts = serde_json::json!({ "billing_periods": periods, "accepted": body.accepted });
            self.record(admin, "source.refresh", &report.name, crate::audit::NOTHING, Some(&facts)).await?;
        }
        done?;
        json(&body)
    }

    /// Measures the workspaces of every application today, and fails if those of this source could not be measured.
    async fn measure_now(&self, source: &str, requested_by: &str) -> Result<SnapshotRun, ApiError> {
        let run = self.run_snapshots(None, requested_by).await?;
        if run.state == RunState::Cancelled {
            self.workspaces.check_not_cancelled(&run.id).await?;
        }
        let status = self.workspaces.statuses().await?.into_iter().find(|status| status.name == source);
        match status.and_then(|status| status.last_error) {
            Some(reason) => Err(WorkspacesError::NotMeasured { source_name: source.to_owned(), reason }.into()),
            None => Ok(run),
        }
    }

    /// Returns how the sources fared that send their snapshots themselves.
    pub(crate) async fn senders(&self) -> Result<Vec<SourceStatus>, ApiError> {
        let mut found = senders::statuses(self.catalog(), &self.snapshot_senders, self.zone(), self.now()).await?;
        found.retain(|sender| !self.reads(&sender.name));
        Ok(found)
    }
}

fn to_api_source(status: &SourceStatus) -> SourceBody {
    let at = |time: Option<Instant>| time.map(|time| instant(time.micros()));
    SourceBody {
        name: status.name.clone(),
        kind: status.kind.to_owned(),
        state: status.state.as_str().to_owned(),
        last_success_at: at(status.last_success_at),
        last_error_at: at(status.last_error_at),
        last_error: status.last_error.clone(),
        rows: status.rows,
        through: at(status.through),
        progress: status.progress.clone(),
        refresh: status.refresh.map(|state| state.as_str().to_owned()),
        refresh_progress: status.refresh_progress.map(|RefreshProgress { begun_at, counted }| RefreshProgressBody {
            done: counted.done,
            total: counted.total,
            unit: counted.unit.as_str().to_owned(),
            started_at: instant(begun_at.micros()),
        }),
        last_started_at: at(status.last_started_at),
        every_seconds: status.every_seconds,
        settle_seconds: status.settle_seconds,
        changed_later: status.notes.changed_later,
        rejected: status.notes.rejected,
        skipped_values: status.notes.skipped_values,
        warnings: status.notes.warnings.clone(),
    }
}

fn to_api_report(report: &RefreshReport) -> RefreshBody {
    RefreshBody {
        name: report.name.clone(),
        dry_run: report.dry_run,
        from: report.hours.map(|(from, _)| instant(from.micros())),
        through: report.hours.map(|(_, through)| instant(through.micros())),
        accepted: report.taken.accepted,
        duplicates: report.taken.duplicates,
        changed_later: report.taken.changed_later,
        rejected: report.taken.rejections.iter().map(to_api_rejection).collect(),
        rejected_total: report.taken.rejected,
        warnings: report.warnings(),
        queries: report.queries.iter().map(to_api_query).collect(),
        periods: Vec::new(),
    }
}

fn to_api_collected(report: &CollectReport) -> RefreshBody {
    let period = |period: &PeriodReport| CollectedPeriodBody {
        billing_period: period.period.clone(),
        billing_account: period.account.clone(),
        lines: period.lines,
        quantities: period.quantities,
        totals: period.totals.iter().map(to_api_total).collect(),
        import_id: period.import_id.clone(),
        unchanged: period.unchanged,
        is_final: period.is_final,
    };
    RefreshBody {
        name: report.name.clone(),
        dry_run: report.dry_run,
        from: None,
        through: report.periods.iter().filter_map(|period| period.through).max().map(|at| instant(at.micros())),
        accepted: report.taken.accepted,
        duplicates: report.taken.duplicates,
        changed_later: report.taken.changed_later,
        rejected: report.taken.rejections.iter().map(to_api_rejection).collect(),
        rejected_total: report.taken.rejected,
        warnings: report.warnings.clone(),
        queries: Vec::new(),
        periods: report.periods.iter().map(period).collect(),
    }
}

fn to_api_rejection(rejection: &Rejection) -> RejectedPointBody {
    RejectedPointBody {
        series: rejection.series.clone(),
        hour: instant(rejection.hour.micros()),
        code: rejection.code.clone(),
        detail: rejection.detail.clone(),
    }
}

/// A run over workspaces as a refresh: a workspace is a value.
fn to_api_measured(name: &str, dry_run: bool, run: &SnapshotRun) -> RefreshBody {
    let rejected = run.found.failed.iter().map(|failed| RejectedPointBody {
        series: failed.tenant.clone(),
        hour: run.date.to_string(),
        code: "not_measured".to_owned(),
        detail: failed.reason.clone(),
    });
    RefreshBody {
        name: name.to_owned(),
        dry_run,
        from: None,
        through: None,
        accepted: run.found.tenants as u64,
        duplicates: 0,
        changed_later: 0,
        rejected: rejected.collect(),
        rejected_total: run.found.failed_total as u64,
        warnings: run.error.iter().chain(&run.found.warnings).cloned().collect(),
        queries: Vec::new(),
        periods: Vec::new(),
    }
}

fn to_api_query(query: &QueryReport) -> QueryReportBody {
    QueryReportBody {
        name: query.name.clone(),
        meter: query.meter.clone(),
        series: query.series,
        points: query.points,
        skipped_values: query.skipped_values,
        rounded_values: query.rounded_values,
    }
}
