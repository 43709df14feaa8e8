//! Applications that send their snapshots themselves: what is known of each.

use crate::sources::{Notes, SourceState, SourceStatus};
use domain::{Day, Instant, Zone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::catalog::{Catalog, CatalogError, SourceRow};

/// What such a source is called in the configuration.
pub const KIND: &str = "http_snapshot";
/// How often a source of snapshots is heard of, in seconds.
pub(crate) const EVERY_SECONDS: u64 = 86_400;
/// A source that was not heard of for so long is stale: one night may be late.
const STALE_MICROS: i64 = 2 * 86_400 * domain::time::MICROS_PER_SECOND;

/// The catalog's `cursor_json`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Sent {
    /// The newest day of its snapshots.
    through: Option<Day>,
}

/// Notes that a source sent snapshots of a day; `tenants` counts those whose snapshots are new.
///
/// # Errors
/// When the catalog fails.
pub async fn note(catalog: &Catalog, source: &str, day: Day, tenants: usize, now: Instant) -> Result<(), CatalogError> {
    let before = catalog.source(source).await?;
    let mut row = before.unwrap_or_else(|| SourceRow { name: source.to_owned(), ..SourceRow::default() });
    let through = sent_of(&row).through.max(Some(day));
    row.kind = KIND.to_owned();
    row.last_started_at = Some(now.micros());
    row.last_success_at = Some(now.micros());
    row.last_error = None;
    row.row_count += i64::try_from(tenants).unwrap_or(i64::MAX);
    row.cursor_json = Some(serde_json::to_string(&Sent { through }).expect("what was sent is plain JSON"));
    catalog.put_source(&row).await
}

/// Returns how every source that sends its snapshots fared: those that the configuration declares, in its order, then
/// others that were heard of, by name.
///
/// # Errors
/// When the catalog fails.
pub async fn statuses(
    catalog: &Catalog,
    declared: &[String],
    zone: &Zone,
    now: Instant,
) -> Result<Vec<SourceStatus>, CatalogError> {
    let rows = catalog.sources_of_kind(KIND).await?;
    let mut known: BTreeMap<String, SourceRow> = rows.into_iter().map(|row| (row.name.clone(), row)).collect();
    let new = |name: &String| SourceRow { name: name.clone(), ..SourceRow::default() };
    let mut all: Vec<SourceRow> = declared.iter().map(|name| known.remove(name).unwrap_or_else(|| new(name))).collect();
    all.extend(known.into_values());
    Ok(all.iter().map(|row| status_of(row, zone, now)).collect())
}

fn sent_of(row: &SourceRow) -> Sent {
    row.cursor_json.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn status_of(row: &SourceRow, zone: &Zone, now: Instant) -> SourceStatus {
    let last_success_at = row.last_success_at.map(Instant::from_micros);
    SourceStatus {
        name: row.name.clone(),
        kind: KIND,
        state: state_of(last_success_at, false, now),
        every_seconds: EVERY_SECONDS,
        settle_seconds: 0,
        last_started_at: row.last_started_at.map(Instant::from_micros),
        last_success_at,
        last_error_at: None,
        last_error: None,
        rows: row.row_count,
        through: sent_of(row).through.map(|day| zone.start_of(day)),
        progress: None,
        refresh: None,
        refresh_progress: None,
        notes: Notes::default(),
    }
}

/// Returns whether a source of daily snapshots can be relied on.
pub(crate) fn state_of(last_success_at: Option<Instant>, has_failed_since: bool, now: Instant) -> SourceState {
    match last_success_at {
        None => SourceState::Never,
        Some(success) if has_failed_since || success.plus_micros(STALE_MICROS) < now => SourceState::Stale,
        Some(_) => SourceState::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn senders_are_known_by_what_they_sent_and_by_what_was_declared() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog");
        let at = |text: &str| text.parse::<Instant>().expect("a time");
        let day = |text: &str| text.parse::<Day>().expect("a day");
        note(&catalog, "cron", day("2026-11-20"), 3, at("2026-11-20T00:20:00Z")).await.expect("noted");
        note(&catalog, "cron", day("2026-11-18"), 2, at("2026-11-20T00:30:00Z")).await.expect("noted");

        let declared = ["app".to_owned(), "other".to_owned()];
        let mut shown = Vec::new();
        for now in ["2026-11-20T01:00:00Z", "2026-11-22T01:00:00Z"] {
            let found = statuses(&catalog, &declared, &Zone::utc(), at(now)).await.expect("statuses");
            shown.extend(found.iter().map(|found| {
                let through = found.through.map_or_else(|| "-".to_owned(), |through| through.to_string());
                format!("{} {} {} {through}", found.name, found.state.as_str(), found.rows)
            }));
        }
        let silent = ["app never 0 -", "other never 0 -"];
        assert_eq!(shown[..2], silent);
        assert_eq!(shown[2], "cron ok 5 2026-11-20T00:00:00Z");
        assert_eq!(shown[3..5], silent);
        assert_eq!(shown[5], "cron stale 5 2026-11-20T00:00:00Z");
    }
}
