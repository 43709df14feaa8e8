//! What a source measured of its tenants on a day becomes rows of `snapshots`, replaced tenant by tenant.
//!
//! Rows are replaced per source, tenant and day: a tenant that is not among those measured, for instance because its
//! measurement failed, keeps what it has. One commit does all of it, or nothing happens. The same measurements again
//! change nothing.

/// Applications that send their snapshots themselves.
pub mod senders;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::decimal::DecimalError;
use domain::snapshot::{Measured, Measurement, SnapshotKind, SnapshotRow};
use domain::{Day, Instant, Quantity, TenantId};
use object_store::ObjectStoreExt;
use storage::catalog::{Catalog, CatalogError};
use storage::lake::{Commit, Lake, LakeError, NewFile, PartitionValues, PinnedTable, Table, snapshot_rows};

/// How often a replacement starts over because another one committed first.
const ATTEMPTS_MAX: usize = 20;
/// Longest name of a metric, in bytes.
const METRIC_BYTES_MAX: usize = 100;
/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 500;
/// Note of a level that can no longer be measured.
const NOT_MEASURED: &str = "it was not measured on that day";

/// What writing snapshots works with.
#[derive(Clone, Debug)]
pub struct SnapshotContext {
    /// The lake.
    pub lake: Lake,
    /// The catalog, in which new tenants are entered.
    pub catalog: Catalog,
    /// Whether tenants that nobody entered are refused: `[tenants] unknown`.
    pub reject_unknown_tenants: bool,
    /// Metrics of one tenant on one day.
    pub metrics_max: usize,
    /// The time of writing.
    pub now: Instant,
}

/// What was measured of one tenant on one day; replaces everything that its source measured of it on that day before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSnapshot {
    /// When it was taken.
    pub taken_at: Instant,
    /// The measurements by metric.
    pub metrics: BTreeMap<Arc<str>, Measurement>,
    /// Metrics that could not be measured any more, such as levels of a past day: each keeps the row it has, and is
    /// `missing` if it has none.
    pub kept: BTreeMap<Arc<str>, SnapshotKind>,
}

/// What a replacement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Version of the table `snapshots` that holds the rows.
    pub version: u64,
    /// Whether any row is another one than before.
    pub changed: bool,
    /// Tenants that were given.
    pub tenants: usize,
    /// Rows that they have now.
    pub rows: usize,
}

/// Snapshots that were not written. Whatever it is, the table is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The source's name cannot be used.
    #[error("`{0}` cannot be a source of snapshots: use 1 to 100 printable characters that do not start with `__`")]
    BadSource(String),
    /// A metric has a name that cannot be used, or there are too many.
    #[error("tenant `{tenant}`: {reason}")]
    BadMetric {
        /// The tenant.
        tenant: TenantId,
        /// The metric's name, shortened, and what is wrong with it.
        reason: String,
    },
    /// A counter counts backwards.
    #[error("tenant `{tenant}`: {metric} is {quantity}, and what counts 24 hours is never negative")]
    Negative {
        /// The tenant.
        tenant: TenantId,
        /// The metric.
        metric: Arc<str>,
        /// What was given.
        quantity: Quantity,
    },
    /// A quantity is too large to be stored.
    #[error("tenant `{tenant}`: {metric}: {reason}")]
    OutOfBound {
        /// The tenant.
        tenant: TenantId,
        /// The metric.
        metric: Arc<str>,
        /// What was given, and the bounds.
        reason: String,
    },
    /// `[tenants] unknown = "reject"`, and these tenants do not exist.
    #[error("{}", unknown_text(.0))]
    UnknownTenants(Vec<TenantId>),
    /// Others kept committing first.
    #[error("other snapshots kept being written at the same time; nothing was stored, try again")]
    Busy,
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Tenants named in a message.
const NAMED_MAX: usize = 5;

fn unknown_text(tenants: &[TenantId]) -> String {
    let named: Vec<String> = tenants.iter().take(NAMED_MAX).map(|tenant| format!("`{tenant}`")).collect();
    let more = tenants.len().saturating_sub(NAMED_MAX);
    match (tenants.len(), more) {
        (1, _) => format!("tenant {} does not exist; enter it first", named.join(", ")),
        (_, 0) => format!("tenants {} do not exist; enter them first", named.join(", ")),
        (_, more) => format!("tenants {} and {more} more do not exist; enter them first", named.join(", ")),
    }
}

/// Replaces what the source measured of these tenants on the day; the rows are in the lake, durably, when this returns.
///
/// # Errors
/// [`SnapshotError`]; then the table is unchanged.
///
/// # Source
/// Spec 2-model, section 4.
pub async fn replace_snapshots(
    context: &SnapshotContext,
    source: &str,
    day: Day,
    tenants: &BTreeMap<TenantId, TenantSnapshot>,
) -> Result<Replaced, SnapshotError> {
    check(source, tenants, context.metrics_max)?;
    enter_tenants(context, day, tenants).await?;
    for _ in 0..ATTEMPTS_MAX {
        let pinned = context.lake.pin_table(Table::Snapshots).await?;
        let stored = snapshot_rows::rows_of_day(&pinned, source, day).await?;
        let rows = merged(source, day, &stored, tenants);
        let given: BTreeSet<&str> = tenants.keys().map(TenantId::as_str).collect();
        let given = rows.iter().filter(|row| given.contains(&*row.tenant)).count();
        let replaced = |version, changed| Replaced { version, changed, tenants: tenants.len(), rows: given };
        if rows == stored {
            return Ok(replaced(pinned.version(), false));
        }
        let commit = commit_of(context, &pinned, source, day, &stored, &rows).await?;
        let written = commit.adds.clone();
        match context.lake.commit(&pinned, commit).await {
            Ok(committed) => return Ok(replaced(committed.version(), true)),
            Err(LakeError::Conflict { .. }) => discard(&context.lake, &written).await,
            // Whether the commit counts may be unknown: the files stay.
            Err(error) => return Err(error.into()),
        }
    }
    Err(SnapshotError::Busy)
}

/// Returns what the source measured on the day, by tenant and metric.
///
/// # Errors
/// When the lake cannot be read.
pub async fn stored_snapshots(lake: &Lake, source: &str, day: Day) -> Result<Vec<SnapshotRow>, SnapshotError> {
    Ok(snapshot_rows::rows_of_day(&lake.pin_table(Table::Snapshots).await?, source, day).await?)
}

/// Returns whether snapshots of a source of this name can be written, before anything is measured.
///
/// # Errors
/// [`SnapshotError::BadSource`].
pub fn check_source(source: &str) -> Result<(), SnapshotError> {
    match crate::import::is_source_name(source) {
        true => Ok(()),
        false => Err(SnapshotError::BadSource(crate::error::shorten(source))),
    }
}

/// Returns the quantity that the text of a metric spells, and whether digits beyond the scale were rounded away.
///
/// # Errors
/// [`SnapshotError::OutOfBound`], and [`SnapshotError::BadMetric`] for what is no decimal.
pub fn read_quantity(tenant: &TenantId, metric: &Arc<str>, text: &str) -> Result<(Quantity, bool), SnapshotError> {
    Quantity::parse_rounding(text).map_err(|error| match error {
        DecimalError::NotANumber(_) => {
            SnapshotError::BadMetric { tenant: tenant.clone(), reason: format!("{metric}: {error}") }
        }
        DecimalError::OutOfBound(_) | DecimalError::NotBetween { .. } => {
            SnapshotError::OutOfBound { tenant: tenant.clone(), metric: Arc::clone(metric), reason: error.to_string() }
        }
    })
}

fn check(source: &str, tenants: &BTreeMap<TenantId, TenantSnapshot>, metrics_max: usize) -> Result<(), SnapshotError> {
    check_source(source)?;
    for (tenant, snapshot) in tenants {
        let bad = |reason: String| Err(SnapshotError::BadMetric { tenant: tenant.clone(), reason });
        if metrics_max < snapshot.metrics.len() + snapshot.kept.len() {
            return bad(format!("there are more than {metrics_max} metrics (limits.snapshot_metrics)"));
        }
        for metric in snapshot.metrics.keys().chain(snapshot.kept.keys()) {
            if !is_metric_name(metric) {
                let shown = crate::error::shorten(metric);
                return bad(format!(
                    "`{shown}` is not a metric's name: use 1 to {METRIC_BYTES_MAX} printable characters"
                ));
            }
        }
        for (metric, Measurement { kind, measured, note }) in &snapshot.metrics {
            if let Some(quantity) = measured.quantity()
                && *kind == SnapshotKind::Delta24h
                && quantity.atoms() < 0
            {
                return Err(SnapshotError::Negative { tenant: tenant.clone(), metric: Arc::clone(metric), quantity });
            }
            if note.as_ref().is_some_and(|note| NOTE_BYTES_MAX < note.len()) {
                return bad(format!("the note of {metric} is longer than {NOTE_BYTES_MAX} bytes"));
            }
        }
    }
    Ok(())
}

fn is_metric_name(metric: &str) -> bool {
    (1..=METRIC_BYTES_MAX).contains(&metric.len()) && !metric.chars().any(char::is_control) && metric.trim() == metric
}

/// Enters tenants that nobody knows and notes which meters have usage: whoever sees a row finds both.
async fn enter_tenants(
    context: &SnapshotContext,
    day: Day,
    tenants: &BTreeMap<TenantId, TenantSnapshot>,
) -> Result<(), SnapshotError> {
    let book = context.catalog.tenant_book_all_tenants(i64::MAX).await?;
    let is_known = |tenant: &str| book.knows(tenant) || book.knows(&book.resolve(tenant, day));
    let unknown: Vec<&TenantId> = tenants.keys().filter(|tenant| !is_known(tenant.as_str())).collect();
    if context.reject_unknown_tenants && !unknown.is_empty() {
        return Err(SnapshotError::UnknownTenants(unknown.into_iter().cloned().collect()));
    }
    let unknown: Vec<String> = unknown.into_iter().map(|tenant| tenant.as_str().to_owned()).collect();
    context.catalog.ensure_tenants(&unknown, context.now.micros()).await?;
    let metrics: BTreeSet<&Arc<str>> = tenants.values().flat_map(|snapshot| snapshot.metrics.keys()).collect();
    for metric in metrics {
        context.catalog.mark_meter_used(metric, context.now.micros()).await?;
    }
    Ok(())
}

/// The rows of the day after the replacement, by tenant and metric.
fn merged(
    source: &str,
    day: Day,
    stored: &[SnapshotRow],
    tenants: &BTreeMap<TenantId, TenantSnapshot>,
) -> Vec<SnapshotRow> {
    let source: Arc<str> = source.into();
    let mut rows: BTreeMap<(Arc<str>, Arc<str>), SnapshotRow> = BTreeMap::new();
    let mut earlier: BTreeMap<(&str, &str), &SnapshotRow> = BTreeMap::new();
    let given: BTreeSet<&str> = tenants.keys().map(TenantId::as_str).collect();
    for row in stored {
        if given.contains(&*row.tenant) {
            earlier.insert((&*row.tenant, &*row.metric), row);
        } else {
            rows.insert((Arc::clone(&row.tenant), Arc::clone(&row.metric)), row.clone());
        }
    }
    for (tenant, snapshot) in tenants {
        let row = |metric: &Arc<str>, measurement: Measurement| SnapshotRow {
            source: Arc::clone(&source),
            snapshot_date: day,
            tenant: tenant.shared(),
            metric: Arc::clone(metric),
            measurement,
            taken_at: snapshot.taken_at,
        };
        for (metric, kind) in &snapshot.kept {
            let missing = || {
                let measurement =
                    Measurement { kind: *kind, measured: Measured::Nothing, note: Some(NOT_MEASURED.into()) };
                row(metric, measurement)
            };
            let kept = earlier.get(&(tenant.as_str(), &**metric)).map_or_else(missing, |row| (*row).clone());
            rows.insert((tenant.shared(), Arc::clone(metric)), kept);
        }
        for (metric, measurement) in &snapshot.metrics {
            rows.insert((tenant.shared(), Arc::clone(metric)), row(metric, measurement.clone()));
        }
    }
    rows.into_values().collect()
}

/// Writes the rows and says what the commit replaces.
async fn commit_of(
    context: &SnapshotContext,
    pinned: &PinnedTable,
    source: &str,
    day: Day,
    stored: &[SnapshotRow],
    rows: &[SnapshotRow],
) -> Result<Commit, LakeError> {
    let mut commit = Commit::new(context.now, "snapshot");
    commit.removes = snapshot_rows::files_of_day(pinned, source, day).map(|file| file.path.clone()).collect();
    if !rows.is_empty() {
        commit.adds = vec![write(&context.lake, source, day, rows).await?];
    }
    let writer = format!("snapshots:{source}");
    let number = pinned.txn(&writer).map_or(1, |latest| latest + 1);
    commit.txn = Some((writer, number));
    // When a level was read does not change what it says: such a day need not be attributed again.
    let touched = if says_the_same(stored, rows) { Vec::new() } else { vec![day.to_string()] };
    commit.metadata = serde_json::json!({
        "kind": "snapshots", "source": source, "snapshot_date": day.to_string(), "rows": rows.len(),
        "touched_days": touched,
    });
    Ok(commit)
}

async fn write(lake: &Lake, source: &str, day: Day, rows: &[SnapshotRow]) -> Result<NewFile, LakeError> {
    let partition = PartitionValues::from([("snapshot_date".to_owned(), Some(day.to_string()))]);
    let mut writer = lake.data_file(Table::Snapshots, partition).await?;
    writer.write(&snapshot_rows::to_batch(rows)?).await?;
    let mut file = writer.finish().await?;
    file.tags.insert(snapshot_rows::SOURCE_TAG.to_owned(), source.to_owned());
    Ok(file)
}

fn says_the_same(stored: &[SnapshotRow], rows: &[SnapshotRow]) -> bool {
    let same = |(one, other): (&SnapshotRow, &SnapshotRow)| {
        (&one.tenant, &one.metric, &one.measurement) == (&other.tenant, &other.metric, &other.measurement)
    };
    stored.len() == rows.len() && stored.iter().zip(rows).all(same)
}

/// Removes data files that no commit names. A failure only leaves them for the vacuum.
async fn discard(lake: &Lake, written: &[NewFile]) {
    for file in written {
        let path = format!("{}/{}", Table::Snapshots.name(), file.path);
        if let Err(error) = lake.store().delete(&path.as_str().into()).await {
            tracing::warn!(%path, ?error, "a data file of refused snapshots could not be removed");
        }
    }
}
