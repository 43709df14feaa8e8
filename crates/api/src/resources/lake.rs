//! The files of the lake's tables: merging small ones, expiring raw events, deleting what nothing needs.

use crate::access::PlatformAdmin;
use crate::app::App;
use crate::audit::NOTHING;
use crate::list::json;
use crate::problem::ApiError;
use crate::query::{QueryPairs, flag};
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Files named in an answer; further ones are only counted.
const FILES_LISTED_MAX: usize = 1000;

/// Whether anything happens.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DryRunParams {
    /// `true`: say what would go, and change nothing.
    pub dry_run: Option<bool>,
}

/// What merging did to one table.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CompactedTableBody {
    /// The table.
    pub table: String,
    /// Commits made.
    pub commits: u64,
    /// Files that were merged.
    pub files_before: u64,
    /// Files that they became.
    pub files_after: u64,
    /// Bytes of the files that were merged.
    pub bytes_before: u64,
    /// Bytes of the files that they became.
    pub bytes_after: u64,
    /// Rows in them, before and after.
    pub rows: u64,
}

/// What merging did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CompactionBody {
    /// Every table whose files are merged.
    pub rows: Vec<CompactedTableBody>,
}

/// Raw events that left their table, or would.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExpiryBody {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The first day whose raw events are kept.
    pub kept_from: String,
    /// Days whose raw events left.
    pub days: Vec<String>,
    /// Their files.
    pub files: u64,
    /// How many events.
    pub events: u64,
}

/// A file that nothing needs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LeftoverBody {
    /// Path below the lake's folder.
    pub path: String,
    /// Why: `removed`, `orphan`, `unfinished` or `old_checkpoint`.
    pub kind: String,
    /// Bytes.
    pub bytes: u64,
}

/// Files that were deleted, or would be.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VacuumBody {
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The first of them by path.
    pub rows: Vec<LeftoverBody>,
}

/// Merges the small files of a day's usage and events into few large ones. No row changes.
#[utoipa::path(post, path = "/api/v1/lake/compact", tag = "lake", responses((status = 200, body = CompactionBody)))]
pub async fn compact(admin: PlatformAdmin, State(app): State<App>, query: QueryPairs) -> Result<Response, ApiError> {
    query.params()?.finish()?;
    let rows = app.compact().await?.into_iter().map(|(table, done)| CompactedTableBody {
        table: table.name().to_owned(),
        commits: done.commits,
        files_before: done.files_before,
        files_after: done.files_after,
        bytes_before: done.bytes_before,
        bytes_after: done.bytes_after,
        rows: done.rows,
    });
    let body = CompactionBody { rows: rows.collect() };
    if body.rows.iter().any(|table| 0 < table.commits) {
        let tables = || body.rows.iter().filter(|table| 0 < table.commits);
        let before: BTreeMap<&str, u64> = tables().map(|table| (table.table.as_str(), table.files_before)).collect();
        let after: BTreeMap<&str, u64> = tables().map(|table| (table.table.as_str(), table.files_after)).collect();
        app.record(&admin, "lake.compact", "lake", Some(&before), Some(&after)).await?;
    }
    json(&body)
}

/// Takes raw events out of their table that are older than `[retention] events_days`. Usage and ids stay.
#[utoipa::path(post, path = "/api/v1/lake/expire-events", tag = "lake", params(DryRunParams),
    responses((status = 200, body = ExpiryBody)))]
pub async fn expire_events(
    admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let dry_run = flag(&mut params, "dry_run")?;
    params.finish()?;
    let (kept_from, expired) = app.expire_events(dry_run).await?;
    let body = ExpiryBody {
        dry_run,
        kept_from: kept_from.to_string(),
        days: expired.days.iter().map(ToString::to_string).collect(),
        files: expired.files,
        events: expired.events,
    };
    if !dry_run && 0 < body.files {
        app.record(&admin, "events.expire", &body.kept_from, NOTHING, Some(&body)).await?;
    }
    json(&body)
}

/// Deletes files that commits took out long ago and nothing cites, and what killed writers left. Never of the ledger.
#[utoipa::path(post, path = "/api/v1/lake/vacuum", tag = "lake", params(DryRunParams),
    responses((status = 200, body = VacuumBody)))]
pub async fn vacuum(admin: PlatformAdmin, State(app): State<App>, query: QueryPairs) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let dry_run = flag(&mut params, "dry_run")?;
    params.finish()?;
    let gone = app.vacuum(dry_run).await?;
    let (files, bytes) = (gone.len(), gone.iter().map(|file| file.bytes).sum::<u64>());
    if !dry_run && 0 < files {
        let facts = serde_json::json!({ "files": files, "bytes": bytes });
        app.record(&admin, "lake.vacuum", "lake", NOTHING, Some(&facts)).await?;
    }
    let rows = gone.into_iter().take(FILES_LISTED_MAX);
    let rows =
        rows.map(|file| LeftoverBody { path: file.path, kind: file.kind.as_str().to_owned(), bytes: file.bytes });
    json(&VacuumBody { dry_run, files, bytes, rows: rows.collect() })
}
