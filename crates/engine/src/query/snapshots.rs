//! Snapshots of tenants, day by day: what was measured, how well, when.
//!
//! All pages of a list show one version of the table. A row of a list is one tenant, day and source with all its
//! metrics; the tenant is the one that the measured value stands for on that day.

use super::Page;
use super::current::days_with_rows;
use super::cursor;
use super::params::{Params, QueryLimits, shorten};
use super::select::{self, all_of};
use crate::{Engine, EngineError};
use datafusion::prelude::{DataFrame, Expr, ident, lit};
use domain::snapshot::{Quality, SnapshotRow};
use domain::{Day, DayRange, Instant, TenantId, TenantScope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable, Table, snapshot_rows};

/// Which snapshots are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// The days.
    pub range: DayRange,
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those of this source.
    pub source: Option<String>,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// What one source measured of one tenant on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotView {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// The day.
    pub snapshot_date: Day,
    /// Who measured.
    pub source: Arc<str>,
    /// Quantities in atoms of 10⁻⁹ by metric, without those that are missing.
    pub metrics: BTreeMap<Arc<str>, i128>,
    /// How well each metric was measured, the missing ones too.
    pub quality: BTreeMap<Arc<str>, Quality>,
    /// When the newest of its metrics was taken.
    pub taken_at: Instant,
}

/// Where a row stands in the order of the list: day, tenant as measured, source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SnapshotPlace {
    day: Day,
    tenant: String,
    source: String,
}

#[derive(Serialize, Deserialize)]
struct Place<T> {
    version: u64,
    after: T,
}

/// What a page is read from.
struct AskedSnapshots {
    question: String,
    pinned: PinnedTable,
    condition: Expr,
}

impl SnapshotQuery {
    /// Returns the question that the parameters ask; rolling ranges end with today.
    ///
    /// # Errors
    /// For an unknown parameter or a value that cannot be used.
    pub fn from_params(mut params: Params, limits: &QueryLimits) -> Result<Self, EngineError> {
        let query = Self {
            range: params.range_to_today_or_default(limits)?,
            tenant: params.parsed::<TenantId>("tenant")?.map(|tenant| tenant.as_str().to_owned()),
            source: params.text("source"),
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        Ok(query)
    }
}

impl Engine {
    /// Returns a page of snapshots by day, tenant and source.
    ///
    /// # Errors
    /// For a tenant outside the scope, a cursor of another list, or when the lake fails.
    pub async fn snapshots(
        &self,
        scope: &TenantScope,
        query: &SnapshotQuery,
    ) -> Result<Page<SnapshotView>, EngineError> {
        let nothing = Page { rows: Vec::new(), next_cursor: None, posting: None };
        let SnapshotQuery { range, tenant, source, limit, .. } = query;
        if let Some(tenant) = tenant.as_ref().filter(|tenant| !scope.allows(tenant)) {
            return Err(EngineError::TenantNotFound(shorten(tenant)));
        }
        let question = format!("snapshots {scope:?} {range:?} {tenant:?} {source:?}");
        let place: Option<Place<SnapshotPlace>> =
            query.cursor.as_ref().map(|text| cursor::decode(&question, text)).transpose()?;
        let (version, after) = place.map_or((None, None), |place| (Some(place.version), Some(place.after)));
        let pinned = self.pin_snapshots(version).await?;
        let first = after.as_ref().map_or(range.from(), |after| after.day);
        let Some(rest) = DayRange::new(first, range.to()) else { return Ok(nothing) };
        let own = self.own_rows(&pinned, "snapshot_date", rest, scope, tenant.as_deref()).await?;
        let Some(own) = own else { return Ok(nothing) };
        let days: Vec<Day> = days_with_rows(&pinned, "snapshot_date", rest).into_iter().collect();
        let conditions = [own, in_days(first, range.to())];
        let conditions = conditions.into_iter().chain(after.as_ref().map(later));
        let condition =
            all_of(conditions.chain(source.as_ref().map(|source| ident("source").eq(lit(source.as_str())))));
        let asked = AskedSnapshots { question, pinned, condition };
        let mut places = self.snapshot_places(&asked, &days, *limit + 1).await?;
        let has_more = *limit < places.len();
        places.truncate(*limit);
        let Some(last) = places.last() else { return Ok(nothing) };
        let next_cursor = has_more
            .then(|| cursor::encode(&asked.question, &Place { version: asked.pinned.version(), after: last.clone() }));
        Ok(Page { rows: self.snapshots_up_to(&asked, first, last).await?, next_cursor, posting: None })
    }

    async fn pin_snapshots(&self, version: Option<u64>) -> Result<PinnedTable, EngineError> {
        let newest = self.lake.pin_table(Table::Snapshots).await?;
        match version {
            Some(version) if newest.version() < version => {
                Err(EngineError::parameter("cursor", "the cursor names a state that does not exist; leave it out"))
            }
            Some(version) if version < newest.version() => {
                let pinned = self.lake.pin_at(&BTreeMap::from([(Table::Snapshots, version)])).await?;
                Ok(pinned.table(Table::Snapshots).clone())
            }
            _ => Ok(newest),
        }
    }

    /// The first places of the list, in its order. Only as many of the days are read as that takes, or twice as many.
    async fn snapshot_places(
        &self,
        asked: &AskedSnapshots,
        days: &[Day],
        count: usize,
    ) -> Result<Vec<SnapshotPlace>, EngineError> {
        let (mut places, mut left, mut at_once) = (Vec::new(), days, 1_usize);
        while places.len() < count && !left.is_empty() {
            let (now, later) = left.split_at(at_once.min(left.len()));
            places.extend(self.places_between(asked, now[0], now[now.len() - 1], count - places.len()).await?);
            (left, at_once) = (later, 2 * at_once);
        }
        Ok(places)
    }

    async fn places_between(
        &self,
        asked: &AskedSnapshots,
        first: Day,
        last: Day,
        count: usize,
    ) -> Result<Vec<SnapshotPlace>, EngineError> {
        let order = PLACE.map(|name| ident(name).sort(true, true)).to_vec();
        let found = self
            .snapshot_table(asked)?
            .filter(in_days(first, last))?
            .aggregate(PLACE.map(ident).to_vec(), vec![])?
            .sort(order)?
            .limit(0, Some(count))?
            .collect()
            .await?;
        let place = |row: super::columns::Row<'_>| SnapshotPlace {
            day: row.day(0).expect("a partition has its day"),
            tenant: row.text_or_empty(1).to_owned(),
            source: row.text_or_empty(2).to_owned(),
        };
        Ok(super::columns::rows(&found).map(place).collect())
    }

    /// The rows from the day on up to a place, whole.
    async fn snapshots_up_to(
        &self,
        asked: &AskedSnapshots,
        first: Day,
        last: &SnapshotPlace,
    ) -> Result<Vec<SnapshotView>, EngineError> {
        let up_to = in_days(first, last.day).and(Expr::Not(Box::new(later(last))));
        let batches = self.snapshot_table(asked)?.filter(up_to)?.collect().await?;
        let books = self.books_now().await?;
        let mut views: BTreeMap<SnapshotPlace, SnapshotView> = BTreeMap::new();
        for batch in &batches {
            for row in snapshot_rows::from_batch(batch)? {
                let place = SnapshotPlace {
                    day: row.snapshot_date,
                    tenant: row.tenant.to_string(),
                    source: row.source.to_string(),
                };
                let first = || blank(&row, books.tenants.resolve(&row.tenant, row.snapshot_date));
                views.entry(place).or_insert_with(first).add(&row);
            }
        }
        Ok(views.into_values().collect())
    }

    fn snapshot_table(&self, asked: &AskedSnapshots) -> Result<DataFrame, EngineError> {
        let table = self.empty_session()?.read_table(Arc::new(LakeTable::new(&asked.pinned)))?;
        Ok(table.filter(asked.condition.clone())?)
    }
}

impl SnapshotView {
    fn add(&mut self, row: &SnapshotRow) {
        let measured = row.measurement.measured;
        self.metrics.extend(measured.quantity().map(|quantity| (Arc::clone(&row.metric), quantity.atoms())));
        self.quality.insert(Arc::clone(&row.metric), measured.quality());
        self.taken_at = self.taken_at.max(row.taken_at);
    }
}

fn blank(row: &SnapshotRow, tenant: Arc<str>) -> SnapshotView {
    SnapshotView {
        tenant,
        snapshot_date: row.snapshot_date,
        source: Arc::clone(&row.source),
        metrics: BTreeMap::new(),
        quality: BTreeMap::new(),
        taken_at: row.taken_at,
    }
}

/// The columns that say where a row stands.
const PLACE: [&str; 3] = ["snapshot_date", "tenant", "source"];

fn in_days(first: Day, last: Day) -> Expr {
    ident("snapshot_date").gt_eq(select::day(first)).and(ident("snapshot_date").lt_eq(select::day(last)))
}

/// Rows that come after the place in the list.
fn later(place: &SnapshotPlace) -> Expr {
    let values = [select::day(place.day), lit(place.tenant.as_str()), lit(place.source.as_str())];
    let places = PLACE.into_iter().zip(values).rev();
    places.fold(lit(false), |later, (name, value)| ident(name).gt(value.clone()).or(ident(name).eq(value).and(later)))
}
