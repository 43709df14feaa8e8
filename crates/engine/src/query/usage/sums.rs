use super::{BucketStart, UsageGranularity, UsageQuery};
use crate::inputs::rows::{Rows, literal, unexpected};
use crate::inputs::usage::column;
use crate::query::Granularity;
use crate::query::costs::bucket_of;
use crate::query::keys::{Column, GroupKey};
use crate::{Engine, EngineError};
use arrow::array::RecordBatch;
use attribution::usage::{Measure, MeterBook};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use domain::dimension::Dimension;
use domain::meter::{Aggregation, MeterKind};
use domain::{Day, DayRange};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::lake::{LakeTable, Table};

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

impl Engine {
    /// Returns the sums that the question needs, of the lake and of what was acknowledged since.
    pub(super) async fn usage_sums(&self, query: &UsageQuery) -> Result<Vec<UsageSum>, EngineError> {
        let session = self.usage_session().await?;
        let shape = Shape::of(query);
        let mut sums = Vec::new();
        for batch in session.sql(&shape.sums_sql(query)).await?.collect().await? {
            shape.read(&batch, query, &mut sums, Measures::sums)?;
        }
        let books = self.books_now().await?;
        let is_last = |sum: &UsageSum| books.meters.aggregation(&sum.meter, sum.kind) == Aggregation::Last;
        if sums.iter().any(is_last) {
            for batch in session.sql(&shape.last_sql(query)).await?.collect().await? {
                shape.read(&batch, query, &mut sums, Measures::last)?;
            }
        }
        Ok(sums)
    }

    /// Returns a session with the table `usage`: what the pinned lake has, and the hot rows that it does not have yet.
    async fn usage_session(&self) -> Result<SessionContext, EngineError> {
        let hot = self.hot.as_ref().map(|hot| Ok::<_, EngineError>((hot.txn_writer(), hot.snapshot()?))).transpose()?;
        let pinned = self.lake.pin_table(Table::Usage).await?;
        let session = self.empty_session()?;
        let mut usage = session.read_table(Arc::new(LakeTable::new(&pinned)))?;
        if let Some((writer, snapshot)) = hot {
            let through = pinned.txn(writer).map(|segment| u64::try_from(segment).unwrap_or(0));
            let rows = snapshot.usage_after(through)?;
            if !rows.is_empty() {
                let hot = MemTable::try_new(Table::Usage.schema(), vec![rows])?;
                usage = usage.union(session.read_table(Arc::new(hot))?)?;
            }
        }
        session.register_table("usage", usage.into_view())?;
        Ok(session)
    }
}

/// What rows are summed by.
struct Shape {
    dimensions: Vec<Dimension>,
}

impl Shape {
    fn of(query: &UsageQuery) -> Self {
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

    /// The last value of each full key in a bucket, on its own day.
    fn last_sql(&self, query: &UsageQuery) -> String {
        let bucket = match query.granularity {
            UsageGranularity::None => "1",
            UsageGranularity::Hour => "hour",
            UsageGranularity::Day => "usage_date",
            UsageGranularity::Week => "date_trunc('week', usage_date)",
            UsageGranularity::Month => "date_trunc('month', usage_date)",
        };
        let full = "tenant, meter, unit, kind, origin, \"user\", workflow, repo, task_class, cluster, labels_key";
        let first = |(at, dimension): (usize, &Dimension)| format!(", first_value({}) AS d{at}", column(dimension));
        let inner: String = self.dimensions.iter().enumerate().map(first).collect();
        let outer: String = (0..self.dimensions.len()).map(|at| format!(", d{at}")).collect();
        let hour = if query.granularity == UsageGranularity::Hour { "hour, " } else { "" };
        let newest = |what: &str| format!("last_value({what} ORDER BY last_at, \"last\")");
        format!(
            "SELECT usage_date, {hour}tenant, meter, unit, kind, origin{outer}, sum(\"last\") AS \"last\" FROM (\
             SELECT {} AS usage_date, {}tenant, meter, unit, kind, origin{inner}, {} AS \"last\" \
             FROM usage WHERE {} AND \"last\" IS NOT NULL GROUP BY {bucket}, {full}) \
             GROUP BY usage_date, {hour}tenant, meter, unit, kind, origin{outer}",
            newest("usage_date"),
            if hour.is_empty() { String::new() } else { format!("{} AS hour, ", newest("hour")) },
            newest("\"last\""),
            condition(query),
        )
    }

    fn read(
        &self,
        batch: &RecordBatch,
        query: &UsageQuery,
        into: &mut Vec<UsageSum>,
        measures: impl Fn(&Rows<'_>) -> Result<Measures, EngineError>,
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
            into.push(UsageSum {
                start: start(query, days[row], hour),
                day: days[row],
                tenant: tenants[row].clone().unwrap_or_default(),
                meter: meters[row].clone().unwrap_or_default(),
                unit: units[row].clone().unwrap_or_default(),
                kind: kind(kinds[row].as_deref())?,
                origin: origins[row].clone().unwrap_or_default(),
                measure: measures.of(row),
                values: own.filter_map(|(dimension, column)| Some((dimension.clone(), column[row].clone()?))).collect(),
            });
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
