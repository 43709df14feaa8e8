//! Imports event files: every event counts exactly once, whenever the process dies.

use crate::content::event_key;
use crate::error::MeteringError;
use crate::ids::{IdContent, IdKey};
use crate::live::EventLog;
use crate::meters::MeterSet;
use crate::rules::{EventRules, KnownTenants};
use domain::Instant;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use pass::{Pass, run_pass};
use std::collections::HashMap;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::{Imports, KeptImport, Lake, LakeError, NewFile, Table};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// The two commits, and their repair.
mod commits;
/// One reading of a file.
mod pass;
/// A file split into the texts of its events.
mod reader;
/// What an import says about itself.
mod report;
/// Events as they are read back from their table.
pub(crate) mod stored;
/// Events of a file about which only the log's writer can decide.
mod through_log;

pub(crate) use commits::is_import;
pub use commits::{EventsCommit, USAGE_TXN, complete_usage, import_rows, repair};
pub use pass::Progress;
pub use reader::{EventReader, Item, is_compressed, read_whole, reading_bytes_max};
pub use report::{EventImportReport, REJECTED_LISTED_MAX, RejectedEvent};

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

/// What an import works with.
#[derive(Clone, Debug)]
pub struct EventImportContext {
    /// Where events and usage go.
    pub lake: Lake,
    /// Where tenants are known and imports noted.
    pub catalog: Catalog,
    /// Where the file is kept.
    pub imports: Imports,
    /// Events as they happen; it stands still while an import claims its ids.
    pub log: EventLog,
    /// The time of the import: that at which the meters were in force ([`EventLog::in_force`]).
    pub now: Instant,
    /// What the organisation decides about events.
    pub rules: Arc<EventRules>,
    /// The meters in force.
    pub meters: Arc<MeterSet>,
}

/// Imports one event file and returns what came of it; when nothing is new, nothing is stored.
///
/// The file may be NDJSON, one JSON list or one object, plain or compressed with gzip or zstd. It is
/// kept under its hash, then read as a stream: memory holds a bounded number of events, and 80 bytes
/// or so for each id of the file. Ids are checked against every event that was ever
/// accepted, exactly, whether its row is still there or not. Retractions and
/// values that count once a day go through the log, after everything else.
///
/// # Errors
/// [`MeteringError::Unreadable`] and [`MeteringError::BrokenList`] for a file that cannot be read to
/// its end, [`MeteringError::MetersChanged`] if other meters apply since it began, [`MeteringError::Cancelled`] if `progress`
/// says so; then nothing is stored. Otherwise if lake or catalog fail.
pub async fn import_events(
    ctx: &EventImportContext,
    name: &str,
    input: impl AsyncRead + Send,
    progress: Progress,
) -> Result<EventImportReport, MeteringError> {
    complete_usage(&ctx.lake).await?;
    let kept = ctx.imports.keep(ReaderStream::with_capacity(input, 64 * 1024)).await?;
    let book = ctx.catalog.tenant_book_all_tenants(i64::MAX).await?;
    let tenants = KnownTenants::new(Arc::new(book));
    let mut known = HashMap::new();
    loop {
        let stored = Arc::new(known.clone());
        let mut pass = run_pass(ctx, &kept.sha256, tenants.clone(), stored, &progress).await?;
        let for_log = std::mem::take(&mut pass.for_log);
        if let Some(report) = commit_if_new(ctx, name, &kept, pass, (&mut known, &progress)).await? {
            return through_log::append(ctx, &kept.sha256, &tenants, for_log, report).await;
        }
        // Some of the events came before; read again, knowing which.
    }
}

/// Commits what the pass wrote, unless the index turns out to know events that the pass took as new, or somebody asks for the
/// end at the last moment.
async fn commit_if_new(
    ctx: &EventImportContext,
    name: &str,
    kept: &KeptImport,
    pass: Pass,
    (known, progress): (&mut HashMap<IdKey, IdContent>, &Progress),
) -> Result<Option<EventImportReport>, MeteringError> {
    let _paused = ctx.log.pause().await?;
    if let Err(changed) = ctx.log.check_received(ctx.now) {
        discard(&ctx.lake, pass.event_files.iter().chain(&pass.usage_files)).await;
        return Err(changed);
    }
    loop {
        let pinned = ctx.lake.pin_table(Table::UsageEvents).await?;
        // After the pin: what the pinned version holds is in the index then.
        ctx.log.adopt().await?;
        let unknown = pass.keys.iter().filter(|key| !known.contains_key(*key)).copied().collect();
        let news = ctx.log.find(unknown).await?;
        let taken_back = pass.claims.iter().any(|(key, _)| ctx.log.waiting().contains(key));
        if taken_back || !news.is_empty() {
            known.extend(news);
            discard(&ctx.lake, pass.event_files.iter().chain(&pass.usage_files)).await;
            return Ok(None);
        }
        let mut report = pass.report.clone();
        if report.accepted == 0 {
            return Ok(Some(report));
        }
        if progress(pass.read).is_break() {
            discard(&ctx.lake, pass.event_files.iter().chain(&pass.usage_files)).await;
            return Err(MeteringError::Cancelled);
        }
        report.import_id = Some(import_id(&ctx.lake, pinned.version() + 1));
        ctx.catalog.ensure_tenants(&report.tenants_created, ctx.now.micros()).await?;
        let says = EventsCommit::new(name, kept, report.clone(), pass.meters.clone(), &pass.usage_files);
        match commits::commit_events(&ctx.lake, &pinned, ctx.now, &pass.event_files, &says).await {
            Ok(committed) => {
                ctx.log.learn(pass.claims, committed.version()).await?;
                complete_usage(&ctx.lake).await?;
                commits::note(&ctx.catalog, &says, committed.version(), ctx.now).await?;
                return Ok(Some(report));
            }
            // Somebody else was first, perhaps with the same events.
            Err(LakeError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes files that no commit will name. One that stays is only a waste of space.
pub(crate) async fn discard(lake: &Lake, files: impl Iterator<Item = &NewFile>) {
    for file in files {
        let path = Path::from(format!("{}/{}", file.table.name(), file.path));
        if let Err(error) = lake.store().delete(&path).await {
            tracing::warn!(%path, ?error, "a data file of no commit could not be removed");
        }
    }
}

/// Unique, because the version of a table is.
fn import_id(lake: &Lake, version: u64) -> String {
    let hash = event_key(lake.id(), "usage_events", &version.to_string());
    format!("events-{}", hex::encode(&hash[..8]))
}
