use super::{BucketStart, UsageGranularity, UsageQuery};
use crate::inputs::joint::as_usage;
use crate::inputs::rows::{Rows, literal, unexpected};
use crate::inputs::usage::column;
use crate::query::Granularity;
use crate::query::costs::bucket_of;
use crate::query::keys::{Column, GroupKey};
use crate::{Engine, EngineError};
use arrow::array::RecordBatch;
use attribution::usage::{Measure, MeterBook};
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};
use domain::dimension::Dimension;
use domain::meter::MeterKind;
use domain::{Day, DayRange};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable, Table};

/// Columns that together say which measured thing a row is of.
const FULL_KEY: &str =
    "tenant, meter, unit, kind, origin, \"user\", workflow, repo, task_class, \"cluster\", labels_key";

/// What was measured of one bucket, day, raw tenant and every value that the question looks at.
pub(super) struct UsageSum {
    pub start: BucketStart,
    pub day: Day,
    pub tenant: Arc<str>,
    pub meter: Arc<str>,
    pub unit: Arc<str>,
    pub kind: MeterKind,
    pub origin: Arc<str>,
    pub measure: Measure,
    values: BTreeMap<Dimension, Arc<str>>,
}

impl UsageSum {
    /// The value of a key that does not depend on the tenant.
    pub fn value(&self, key: &GroupKey, meters: &MeterBook) -> Option<Arc<str>> {
        match key {
            GroupKey::Dimension(dimension) => self.values.get(dimension).cloned(),
            GroupKey::Column(Column::Meter) => Some(Arc::clone(&self.meter)),
            GroupKey::Column(Column::Origin) => Some(Arc::clone(&self.origin)),
            GroupKey::Column(Column::Category) => Some(meters.category(&self.meter).as_str().into()),
            GroupKey::Column(_) | GroupKey::Plan | GroupKey::Parent => None,
        }
    }
}

/// The usage at one moment: versions of the tables, and the hot rows that they do not have yet.
pub(in crate::query) struct UsageNow {
    pub pinned: PinnedTable,
    pub snapshots: PinnedTable,
    pub hot: Vec<RecordBatch>,
    /// With the pinned versions it says which usage this is.
    pub additions: u64,
}

impl UsageNow {
    /// The versions of `usage` and `snapshots`.
    pub fn versions(&self) -> (u64, u64) {
        (self.pinned.version(), self.snapshots.version())
    }
}

/// Which part of the usage a session shows as the table `usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What the pinned versions have.
    Committed,
    /// What they do not have yet.
    Hot,
    /// Both.
    All,
}

impl Engine {
    /// Returns the usage as it is now. The hot rows are taken first: what they lack is in the version pinned after them.
    pub(in crate::query) async fn usage_now(&self) -> Result<UsageNow, EngineError> {
        let hot = self.hot.as_ref().map(|hot| Ok::<_, EngineError>((hot.txn_writer(), hot.snapshot()?))).transpose()?;
        let pinned = self.lake.pin_table(Table::Usage).await?;
        let snapshots = self.lake.pin_table(Table::Snapshots).await?;
        let Some((writer, snapshot)) = hot else {
            return Ok(UsageNow { pinned, snapshots, hot: Vec::new(), additions: 0 });
        };
        let through = pinned.txn(writer).map(|segment| u64::try_from(segment).unwrap_or(0));
        Ok(UsageNow { hot: snapshot.usage_after(through)?, additions: snapshot.additions(), pinned, snapshots })
    }

    /// Returns a session with a part of the usage as the table `usage`.
    pub(super) fn usage_session(&self, now: &UsageNow, part: Part) -> Result<SessionContext, EngineError> {
        let session = self.empty_session()?;
        let lake = || -> Result<DataFrame, EngineError> {
            let usage = session.read_table(Arc::new(LakeTable::new(&now.pinned)))?;
            if now.snapshots.rows() == 0 {
                return Ok(usage);
            }
            Ok(usage.union(as_usage(&session, LakeTable::new(&now.snapshots), &Table::Usage.schema())?)?)
        };
        let hot = || session.read_table(Arc::new(MemTable::try_new(Table::Usage.schema(), vec![now.hot.clone()])?));
        let usage = match part {
            Part::Committed => lake()?,
            Part::Hot => hot()?,
            Part::All if now.hot.is_empty() => lake()?,
            Part::All => lake()?.union(hot()?)?,
        };
        session.register_table("usage", usage.into_view())?;
        Ok(session)
    }
}

/// What rows are summed by.
pub(super) struct Shape {
    dimensions: Vec<Dimension>,
}

impl Shape {
    pub fn of(query: &UsageQuery) -> Self {
        let keys = query.group_by.iter().chain(query.filter.terms.iter().map(|term| &term.key));
        let mut dimensions: Vec<Dimension> = keys
            .filter_map(|key| match key {
                GroupKey::Dimension(Dimension::Tenant) | GroupKey::Column(_) | GroupKey::Plan | GroupKey::Parent => {
                    None
                }
                GroupKey::Dimension(dimension) => Some(dimension.clone()),
            })
            .collect();
        dimensions.sort();
        dimensions.dedup();
        Self { dimensions }
    }

    fn columns(&self) -> String {
        let named = |(at, dimension): (usize, &Dimension)| format!(", {} AS d{at}", column(dimension));
        self.dimensions.iter().enumerate().map(named).collect()
    }

    fn grouped(&self) -> String {
        self.dimensions.iter().map(|dimension| format!(", {}", column(dimension))).collect()
    }

    fn sums_sql(&self, query: &UsageQuery) -> String {
        let hour = if query.granularity == UsageGranularity::Hour { "hour, " } else { "" };
        format!(
            "SELECT usage_date, {hour}tenant, meter, unit, kind, origin{}, sum(\"sum\") AS \"sum\", sum(\"count\") AS \"count\", \
             min(\"min\") AS \"min\", max(\"max\") AS \"max\" FROM usage WHERE {} \
             GROUP BY usage_date, {hour}tenant, meter, unit, kind, origin{}",
            self.columns(),
            condition(query),
            self.grouped(),
        )
    }

    /// The last value of each full key in a bucket, on its own day, summed.
    fn last_sql(&self, query: &UsageQuery) -> String {
        let condition = format!("{} AND \"last\" IS NOT NULL", condition(query));
        self.sum_of_last_sql(query, &self.newest_sql(query, "usage", &condition, |(_, dimension)| column(dimension)))
    }

    /// The newest value of each full key in a bucket, with its day and time.
    fn newest_sql(
        &self,
        query: &UsageQuery,
        table: &str,
        condition: &str,
        dimension: impl Fn((usize, &Dimension)) -> String,
    ) -> String {
        let bucket = match query.granularity {
            UsageGranularity::None => "",
            UsageGranularity::Hour => "hour, ",
            UsageGranularity::Day => "usage_date, ",
            UsageGranularity::Week => "date_trunc('week', usage_date), ",
            UsageGranularity::Month => "date_trunc('month', usage_date), ",
        };
        let first = |(at, named): (usize, &Dimension)| format!(", first_value({}) AS d{at}", dimension((at, named)));
        let values: String = self.dimensions.iter().enumerate().map(first).collect();
        let newest = |what: &str| format!("last_value({what} ORDER BY last_at, \"last\")");
        format!(
            "SELECT {} AS usage_date, {}{FULL_KEY}{values}, {} AS \"last\", max(last_at) AS last_at \
             FROM {table} WHERE {condition} GROUP BY {bucket}{FULL_KEY}",
            newest("usage_date"),
            if query.granularity == UsageGranularity::Hour {
                format!("{} AS hour, ", newest("hour"))
            } else {
                String::new()
            },
            newest("\"last\""),
        )
    }

    fn sum_of_last_sql(&self, query: &UsageQuery, newest: &str) -> String {
        let outer: String = (0..self.dimensions.len()).map(|at| format!(", d{at}")).collect();
        let hour = if query.granularity == UsageGranularity::Hour { "hour, " } else { "" };
        format!(
            "SELECT usage_date, {hour}tenant, meter, unit, kind, origin{outer}, sum(\"last\") AS \"last\" FROM ({newest}) \
             GROUP BY usage_date, {hour}tenant, meter, unit, kind, origin{outer}"
        )
    }

    /// Hands over the sums of the table `usage`, by day, raw tenant and every value that the question looks at.
    pub async fn each_sum(
        &self,
        session: &SessionContext,
        query: &UsageQuery,
        take: impl FnMut(UsageSum) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.each(session, &self.sums_sql(query), query, Measures::sums, take).await
    }

    /// Hands over the last values of the table `usage`, summed in the same way.
    pub async fn each_last(
        &self,
        session: &SessionContext,
        query: &UsageQuery,
        take: impl FnMut(UsageSum) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.each(session, &self.last_sql(query), query, Measures::last, take).await
    }

    /// Returns the newest value of each full key of the table `usage`, at most so many and one more.
    pub async fn newest(
        &self,
        session: &SessionContext,
        query: &UsageQuery,
        keys_max: usize,
    ) -> Result<Vec<RecordBatch>, EngineError> {
        let condition = format!("{} AND \"last\" IS NOT NULL", condition(query));
        let newest = self.newest_sql(query, "usage", &condition, |(_, dimension)| column(dimension));
        Ok(session.sql(&newest).await?.limit(0, Some(keys_max + 1))?.collect().await?)
    }

    /// Hands over what [`Shape::each_last`] says of usage of which these are the newest values.
    pub async fn each_of_newest(
        &self,
        session: &SessionContext,
        newest: Vec<RecordBatch>,
        query: &UsageQuery,
        take: impl FnMut(UsageSum) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Some(first) = newest.first() else { return Ok(()) };
        session.register_table("newest", Arc::new(MemTable::try_new(first.schema(), vec![newest])?))?;
        let newest = self.newest_sql(query, "newest", "true", |(at, _)| format!("d{at}"));
        self.each(session, &self.sum_of_last_sql(query, &newest), query, Measures::last, take).await
    }

    async fn each(
        &self,
        session: &SessionContext,
        sql: &str,
        query: &UsageQuery,
        measures: impl Fn(&Rows<'_>) -> Result<Measures, EngineError>,
        mut take: impl FnMut(UsageSum) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut batches = session.sql(sql).await?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            self.read(&batch, query, &measures, &mut take)?;
        }
        Ok(())
    }

    fn read(
        &self,
        batch: &RecordBatch,
        query: &UsageQuery,
        measures: impl Fn(&Rows<'_>) -> Result<Measures, EngineError>,
        mut take: impl FnMut(UsageSum) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let rows = Rows(batch);
        let measures = measures(&rows)?;
        let days = rows.days("usage_date")?;
        let hours = (query.granularity == UsageGranularity::Hour).then(|| rows.instants("hour")).transpose()?;
        let text = |name: &str| rows.texts(name);
        let (tenants, meters, units) = (text("tenant")?, text("meter")?, text("unit")?);
        let (kinds, origins) = (text("kind")?, text("origin")?);
        let columns: Vec<_> = (0..self.dimensions.len()).map(|at| text(&format!("d{at}"))).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let hour = hours.as_ref().and_then(|hours| hours[row]);
            let own = self.dimensions.iter().zip(&columns);
            take(UsageSum {
                start: start(query, days[row], hour),
                day: days[row],
                tenant: tenants[row].clone().unwrap_or_default(),
                meter: meters[row].clone().unwrap_or_default(),
                unit: units[row].clone().unwrap_or_default(),
                kind: kind(kinds[row].as_deref())?,
                origin: origins[row].clone().unwrap_or_default(),
                measure: measures.of(row),
                values: own.filter_map(|(dimension, column)| Some((dimension.clone(), column[row].clone()?))).collect(),
            })?;
        }
        Ok(())
    }
}

/// The columns of numbers; those of the other query are empty.
struct Measures {
    sum: Vec<Option<i128>>,
    count: Vec<i64>,
    min: Vec<Option<i128>>,
    max: Vec<Option<i128>>,
    last: Vec<Option<i128>>,
}

impl Measures {
    fn sums(rows: &Rows<'_>) -> Result<Self, EngineError> {
        Ok(Self {
            sum: rows.decimals("sum")?,
            count: rows.integers("count")?,
            min: rows.decimals("min")?,
            max: rows.decimals("max")?,
            last: Vec::new(),
        })
    }

    fn last(rows: &Rows<'_>) -> Result<Self, EngineError> {
        Ok(Self { sum: vec![], count: vec![], min: vec![], max: vec![], last: rows.decimals("last")? })
    }

    fn of(&self, row: usize) -> Measure {
        let value = |column: &[Option<i128>]| column.get(row).copied().flatten();
        Measure {
            sum: value(&self.sum).unwrap_or(0),
            count: self.count.get(row).copied().unwrap_or(0).into(),
            min: value(&self.min),
            max: value(&self.max),
            last: value(&self.last).unwrap_or(0),
        }
    }
}

fn kind(word: Option<&str>) -> Result<MeterKind, EngineError> {
    match word {
        Some("counter") => Ok(MeterKind::Counter),
        Some("gauge") => Ok(MeterKind::Gauge),
        other => Err(unexpected("kind", other.unwrap_or("null"))),
    }
}

fn start(query: &UsageQuery, day: Day, hour: Option<domain::Instant>) -> BucketStart {
    match (query.granularity, hour) {
        (UsageGranularity::Hour, Some(hour)) => BucketStart::Hour(hour),
        (UsageGranularity::None, _) => BucketStart::Day(query.range.from()),
        (UsageGranularity::Week, _) => BucketStart::Day(bucket_of(Granularity::Week, day).max(query.range.from())),
        (UsageGranularity::Month, _) => BucketStart::Day(bucket_of(Granularity::Month, day).max(query.range.from())),
        (UsageGranularity::Day | UsageGranularity::Hour, _) => BucketStart::Day(day),
    }
}

fn condition(query: &UsageQuery) -> String {
    let meter = query.meter.as_ref().map(|meter| format!(" AND meter = {}", literal(meter)));
    format!("{}{}", days(query.range), meter.unwrap_or_default())
}

fn days(range: DayRange) -> String {
    format!("usage_date >= DATE '{}' AND usage_date <= DATE '{}'", range.from(), range.to())
}
