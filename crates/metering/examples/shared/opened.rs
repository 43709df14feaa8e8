//! What examples that measure events have in common: a log of their own, and events made ready for it.

use domain::meter::builtin;
use domain::{FixedClock, TenantScope, Zone};
use metering::MeteringError;
use metering::live::{EventLog, EventLogOptions, Offered, PreparedEvent, Setup};
use metering::meters::MeterSet;
use metering::rules::{EventRules, KnownTenants};
use std::path::Path;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::Lake;

/// Memory for the index of ids.
pub const ID_MEMORY_BYTES: usize = 256 << 20;
/// When all events come.
const NOW: &str = "2026-11-20T12:00:00Z";

/// Returns a log in this folder, with a lake and a catalog beside it, and its index of ids in another one.
pub async fn open(folder: &Path, ids: &Path) -> Result<EventLog, MeteringError> {
    std::fs::create_dir_all(folder).map_err(|source| MeteringError::Folder { path: folder.to_owned(), source })?;
    let now = NOW.parse().expect("it is an instant");
    let options = EventLogOptions {
        wal: folder.join("wal"),
        ids: ids.to_owned(),
        segment_bytes: 64 << 20,
        id_memory_bytes_max: ID_MEMORY_BYTES,
    };
    let setup = Setup {
        rules: Arc::new(EventRules::new(Zone::utc())),
        meters: Arc::new(MeterSet::new(builtin())?),
        tenants: Arc::new(KnownTenants::default()),
    };
    let lake = Lake::open(&folder.join("lake"), now).await?;
    let catalog = Catalog::open(&folder.join("catalog.db")).await?;
    let log = EventLog::open(options, lake, catalog, Arc::new(FixedClock::at(now)), setup.clone()).await?;
    log.setting_up().await.finish(setup).await?;
    Ok(log)
}

/// Returns new events as the log takes them.
pub fn prepare(log: &EventLog, texts: &[String]) -> Result<Vec<PreparedEvent>, MeteringError> {
    let mut preparer = log.preparer(TenantScope::All);
    let prepared = texts.iter().map(|text| match preparer.prepare(text)? {
        Ok(Offered::Prepared(event)) => Ok(event),
        other => panic!("a new event is not taken: {other:?}"),
    });
    prepared.collect()
}
