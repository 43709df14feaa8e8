//! What was measured of tenants, day by day: sent by an application, and read back.

use super::costs::RangeBody;
use crate::access::{PlatformAdmin, SnapshotReader};
use crate::app::App;
use crate::body::{Text, json_of, typed};
use crate::convert::{day, instant, quantity};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use collectors::snapshots::{SnapshotContext, TenantSnapshot, read_quantity, replace_snapshots, senders};
use domain::snapshot::{Measured, Measurement, Quality, SnapshotKind};
use domain::time::MICROS_PER_SECOND;
use domain::toml_text::DecimalText;
use domain::{Day, Instant, TenantId};
use engine::query::snapshots::{SnapshotQuery, SnapshotView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How far ahead of the clock a snapshot may have been taken.
const AHEAD_SECONDS_MAX: i64 = 3600;

/// Which snapshots.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SnapshotParams {
    /// `7d`, `30d` (default), `mtd`, `2026-10`, `2026-10-01..2026-10-31` …; rolling ranges end with today.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// Only this tenant.
    pub tenant: Option<String>,
    /// Only this source.
    pub source: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// What one source measured of one tenant on one day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnapshotBody {
    /// The tenant.
    pub tenant: String,
    /// The day.
    pub snapshot_date: String,
    /// Who measured.
    pub source: String,
    /// Quantities by metric, without those that are missing.
    pub metrics: BTreeMap<String, String>,
    /// ok, degraded or missing, by metric.
    pub quality: BTreeMap<String, String>,
    /// When the newest of them was taken.
    pub taken_at: String,
}

/// Who sends snapshots.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PutSnapshotParams {
    /// Name of the source; it must be given.
    pub source: Option<String>,
}

/// What was measured of a tenant; replaces what the source sent of it for that day before.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSnapshot {
    /// The tenant, or an alias of it.
    pub tenant: String,
    /// The day, if it is repeated here.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub snapshot_date: Option<Day>,
    /// The source, if it is repeated here.
    #[serde(default)]
    pub source: Option<String>,
    /// Quantities by metric, as decimals. A metric is named like its meter; names that end in `_24h` count the day before.
    #[schema(value_type = BTreeMap<String, String>)]
    pub metrics: BTreeMap<String, Option<DecimalText>>,
    /// ok (default), degraded or missing, by metric.
    #[serde(default)]
    pub quality: BTreeMap<String, String>,
    /// When it was taken; now, if it does not say.
    #[serde(default)]
    pub taken_at: Option<String>,
}

/// What was measured of tenants on a day.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSnapshots {
    /// One of each tenant.
    pub rows: Vec<NewSnapshot>,
}

/// What became of snapshots that were sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnapshotsStored {
    /// The source.
    pub source: String,
    /// The day.
    pub snapshot_date: String,
    /// Tenants that were sent. Others keep what they have.
    pub tenants: usize,
    /// Measurements that they have now.
    pub rows: usize,
    /// Quantities with more than nine fractional digits.
    pub rounded_values: u64,
    /// Whether all of it was stored already.
    pub unchanged: bool,
}

/// Returns snapshots by day, tenant and source.
#[utoipa::path(get, path = "/api/v1/snapshots", tag = "snapshots", params(SnapshotParams), responses((status = 200, body = Page<SnapshotBody>)))]
pub async fn list_snapshots(
    reader: SnapshotReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let query = SnapshotQuery::from_params(query.params()?, &app.list_limits())?;
    let page = app.engine.snapshots(reader.scope(), &query).await?;
    Page {
        rows: page.rows.iter().map(to_api_snapshot).collect(),
        range: Some(RangeBody::of(query.range, &app)),
        next_cursor: page.next_cursor,
    }
    .answer(&asked)
}

fn to_api_snapshot(view: &SnapshotView) -> SnapshotBody {
    SnapshotBody {
        tenant: view.tenant.to_string(),
        snapshot_date: day(view.snapshot_date),
        source: view.source.to_string(),
        metrics: view.metrics.iter().map(|(metric, atoms)| (metric.to_string(), quantity(*atoms))).collect(),
        quality: view.quality.iter().map(|(metric, found)| (metric.to_string(), found.as_str().to_owned())).collect(),
        taken_at: instant(view.taken_at.micros()),
    }
}

/// Stores what a source measured of tenants on a day; each tenant that is sent has these measurements and no others.
///
/// The body is an object with `rows`, or the bare list. Sending the same again changes nothing.
#[utoipa::path(put, path = "/api/v1/snapshots/{date}", tag = "snapshots",
    params(("date" = String, Path, description = "The day, not after today"), PutSnapshotParams),
    request_body = NewSnapshots, responses((status = 200, body = SnapshotsStored)))]
pub async fn put_snapshots(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(date): Id,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let source = params.text("source");
    params.finish()?;
    let source = source.ok_or_else(|| ApiError::parameter("source", "name the `source`"))?;
    let day = date.parse::<Day>().map_err(|error| ApiError::parameter("date", error.to_string()))?;
    if app.today() < day {
        return Err(ApiError::parameter("date", format!("{day} is after today, {}", app.today())));
    }
    let sent = Sent { source, day, now: app.now() };
    let (tenants, rounded_values) = sent.snapshots_of(&body.text)?;
    let replaced = replace_snapshots(&app.snapshot_context(), &sent.source, day, &tenants).await?;
    if !app.reads(&sent.source) {
        let new = if replaced.changed { replaced.tenants } else { 0 };
        senders::note(app.catalog(), &sent.source, day, new, app.now()).await?;
    }
    let stored = SnapshotsStored {
        source: sent.source,
        snapshot_date: day.to_string(),
        tenants: replaced.tenants,
        rows: replaced.rows,
        rounded_values,
        unchanged: !replaced.changed,
    };
    if replaced.changed {
        let target = format!("{}/{day}", stored.source);
        // The day as it was stays readable in the version before.
        let before = serde_json::json!({ "snapshots_version": replaced.version - 1 });
        let after = serde_json::json!({ "snapshots_version": replaced.version, "stored": stored });
        app.record(&admin, "snapshots.put", &target, Some(&before), Some(&after)).await?;
    }
    json(&stored)
}

impl App {
    /// Returns what writing snapshots works with.
    pub(crate) fn snapshot_context(&self) -> SnapshotContext {
        SnapshotContext {
            lake: self.engine.lake().clone(),
            catalog: self.catalog().clone(),
            reject_unknown_tenants: self.engine.settings().reject_unknown_tenants,
            metrics_max: self.limits.snapshot_metrics_max,
            now: self.now(),
        }
    }
}

/// What a body of snapshots is about.
struct Sent {
    source: String,
    day: Day,
    now: Instant,
}

impl Sent {
    /// What was measured by tenant, and how many quantities were rounded.
    fn snapshots_of(&self, text: &str) -> Result<(BTreeMap<TenantId, TenantSnapshot>, u64), ApiError> {
        let value = json_of(text)?;
        let given: Vec<NewSnapshot> = if value.is_array() { typed(value)? } else { typed::<NewSnapshots>(value)?.rows };
        if given.is_empty() {
            return Err(ApiError::body("/rows", "there are no rows in the body"));
        }
        let (mut tenants, mut rounded) = (BTreeMap::new(), 0);
        for (index, row) in given.iter().enumerate() {
            let place = format!("/rows/{index}");
            self.check_named(row, &place)?;
            let tenant: TenantId =
                row.tenant.parse().map_err(|error| ApiError::body(format!("{place}/tenant"), format!("{error}")))?;
            let snapshot = self.snapshot_of(&tenant, row, &place, &mut rounded)?;
            if tenants.insert(tenant.clone(), snapshot).is_some() {
                return Err(ApiError::body(format!("{place}/tenant"), format!("tenant `{tenant}` is given twice")));
            }
        }
        Ok((tenants, rounded))
    }

    /// Refuses a row that says that it is of another day or source.
    fn check_named(&self, row: &NewSnapshot, place: &str) -> Result<(), ApiError> {
        if row.snapshot_date.is_some_and(|day| day != self.day) {
            let detail = "`snapshot_date` is not the day of the path";
            return Err(ApiError::body(format!("{place}/snapshot_date"), detail));
        }
        if row.source.as_ref().is_some_and(|source| *source != self.source) {
            return Err(ApiError::body(format!("{place}/source"), "`source` is not that of the query"));
        }
        Ok(())
    }

    fn snapshot_of(
        &self,
        tenant: &TenantId,
        row: &NewSnapshot,
        place: &str,
        rounded: &mut u64,
    ) -> Result<TenantSnapshot, ApiError> {
        let names = row.metrics.keys().chain(row.quality.keys());
        let mut metrics = BTreeMap::new();
        for name in names {
            let metric: Arc<str> = name.as_str().into();
            let quality = quality_of(row, name, place)?;
            let text = row.metrics.get(name).and_then(Option::as_ref);
            let read = text.map(|text| read_quantity(tenant, &metric, &text.0)).transpose()?;
            let measured = Measured::new(read.map(|(quantity, _)| quantity), quality).ok_or_else(|| {
                let detail = "a quantity is there exactly where the quality is not `missing`";
                ApiError::body(format!("{place}/metrics/{name}"), format!("{name}: {detail}"))
            })?;
            let measurement = Measurement { kind: SnapshotKind::of_metric(name), measured, note: None };
            // A metric with a quality is named twice.
            if metrics.insert(metric, measurement).is_none() {
                *rounded += u64::from(read.is_some_and(|(_, rounded)| rounded));
            }
        }
        if metrics.is_empty() {
            return Err(ApiError::body(format!("{place}/metrics"), format!("tenant `{tenant}` has no metrics")));
        }
        Ok(TenantSnapshot { taken_at: self.taken_at(row, place)?, metrics, kept: BTreeMap::new() })
    }

    fn taken_at(&self, row: &NewSnapshot, place: &str) -> Result<Instant, ApiError> {
        let Some(text) = &row.taken_at else { return Ok(self.now) };
        let refuse = |detail: String| ApiError::body(format!("{place}/taken_at"), detail);
        let taken_at: Instant = text.parse().map_err(|error| refuse(format!("{error}")))?;
        if self.now.plus_micros(AHEAD_SECONDS_MAX * MICROS_PER_SECOND) < taken_at {
            return Err(refuse(format!("{taken_at} is more than an hour ahead of {}", self.now)));
        }
        Ok(taken_at)
    }
}

/// What the row says of a metric, or what follows from there being a quantity or none.
fn quality_of(row: &NewSnapshot, metric: &str, place: &str) -> Result<Quality, ApiError> {
    let implied = match row.metrics.get(metric) {
        Some(Some(_)) => Quality::Ok,
        Some(None) | None => Quality::Missing,
    };
    let Some(word) = row.quality.get(metric) else { return Ok(implied) };
    Quality::from_word(word).ok_or_else(|| {
        let shown: String = word.chars().take(40).collect();
        let detail = format!("`{shown}` is not one of ok, degraded, missing");
        ApiError::body(format!("{place}/quality/{metric}"), detail)
    })
}
