//! Quantities as prices need them: summed over days where that changes nothing, by day where it would.

use crate::books::Books;
use crate::inputs::rows::{Rows, literal};
use crate::inputs::usage::column;
use crate::query::filter::{Filter, Glob, Term};
use crate::query::keys::{Column, GroupKey};
use crate::{Engine, EngineError};
use arrow::array::RecordBatch;
use attribution::usage::Measure;
use datafusion::prelude::SessionContext;
use domain::dimension::Dimension;
use domain::meter::{Aggregation, MeterKind};
use domain::snapshot::{ORIGIN_SNAPSHOT, SnapshotKind};
use domain::{Day, DayRange};
use futures::TryStreamExt;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Columns that together say which level a row of usage is of.
const FULL_KEY: &str = "tenant, meter, kind, origin, \"user\", workflow, repo, task_class, \"cluster\", labels_key";
/// Sums that are kept for the next question, at most.
const KEPT_CELLS_MAX: usize = 150_000;
/// Questions whose sums are kept.
const KEPT_MAX: usize = 4;

/// What was used of one meter by one incoming tenant.
#[derive(Clone, Debug)]
pub(super) struct UsedCell {
    /// None for a sum over the days of the range.
    pub day: Option<Day>,
    /// As it came in; it is resolved by its day. Empty for a sum over all tenants.
    pub tenant: Arc<str>,
    pub meter: Arc<str>,
    pub kind: MeterKind,
    pub origin: Arc<str>,
    /// In the order of [`Wanted::dimensions`].
    pub values: Vec<Option<Arc<str>>>,
    pub measure: Measure,
    /// Whether no row is below 0, and all are of whole units where that matters.
    pub is_plain: bool,
}

/// Which meters are read.
#[derive(Clone, Debug)]
pub(super) enum Meters {
    Only(BTreeSet<String>),
    Except(BTreeSet<String>),
}

/// Which quantities are read.
pub(super) struct Wanted<'w> {
    pub range: DayRange,
    pub meters: Meters,
    /// Whether every day stands alone; otherwise only those of tenants that may mean another one.
    pub by_day: bool,
    /// Whether tenants are told apart; otherwise a cell is of all of them.
    pub by_tenant: bool,
    /// Meters whose products are exact for whole units only.
    pub whole: &'w BTreeSet<String>,
    pub dimensions: &'w [Dimension],
    pub filter: &'w Filter,
    pub books: &'w Books,
}

/// Sums of earlier questions: as long as the tables stand still, another price needs no other sums.
#[derive(Debug, Default)]
pub(crate) struct KeptCells(Mutex<VecDeque<(String, Arc<Vec<UsedCell>>)>>);

impl KeptCells {
    fn find(&self, key: &str) -> Option<Arc<Vec<UsedCell>>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == key).map(|(_, cells)| Arc::clone(cells))
    }

    fn keep(&self, key: String, cells: &Arc<Vec<UsedCell>>) {
        if KEPT_CELLS_MAX < cells.len() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT_MAX - 1);
        kept.push_front((key, Arc::clone(cells)));
    }
}

impl Engine {
    /// Returns the cells, from what is kept if this state of the tables was asked before.
    pub(super) async fn used_cells(
        &self,
        session: &SessionContext,
        state: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<Vec<UsedCell>>, EngineError> {
        let (snapshots, usage) = (wanted.snapshots_sql(), wanted.usage_sql());
        let key = format!("{state} {snapshots:?} {usage:?}");
        if let Some(cells) = self.kept_cells.find(&key) {
            return Ok(cells);
        }
        let mut cells = Vec::new();
        if let Some(sql) = &snapshots {
            read(session, sql, wanted, Part::Snapshots, &mut cells).await?;
        }
        if let Some(sql) = &usage {
            let first = cells.len();
            read(session, sql, wanted, Part::Usage, &mut cells).await?;
            let is_level =
                |cell: &UsedCell| wanted.books.meters.aggregation(&cell.meter, cell.kind) == Aggregation::Last;
            let levels: BTreeSet<Arc<str>> =
                cells[first..].iter().filter(|cell| is_level(cell)).map(|cell| Arc::clone(&cell.meter)).collect();
            if !levels.is_empty() {
                let mut at = 0;
                cells.retain(|cell| {
                    at += 1;
                    at <= first || !levels.contains(&cell.meter)
                });
                read(session, &wanted.levels_sql(&levels), wanted, Part::Levels, &mut cells).await?;
            }
        }
        let cells = Arc::new(cells);
        // Days come in many pieces, each of which would take the place of a whole question.
        if !wanted.by_day {
            self.kept_cells.keep(key, &cells);
        }
        Ok(cells)
    }

    /// Returns the newest value of each level in the range, one cell for each source or full key.
    pub(super) async fn newest_levels(
        &self,
        session: &SessionContext,
        state: &str,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<Vec<UsedCell>>, EngineError> {
        let snapshots = wanted.snapshots_sql().map(|_| wanted.newest_snapshots_sql());
        let usage = wanted.usage_sql().map(|_| wanted.newest_usage_sql());
        let key = format!("{state} {snapshots:?} {usage:?}");
        if let Some(cells) = self.kept_cells.find(&key) {
            return Ok(cells);
        }
        let mut cells = Vec::new();
        for (sql, part) in [(snapshots, Part::Snapshots), (usage, Part::Levels)] {
            if let Some(sql) = sql {
                read(session, &sql, wanted, part, &mut cells).await?;
            }
        }
        let cells = Arc::new(cells);
        self.kept_cells.keep(key, &cells);
        Ok(cells)
    }
}

/// What a query reads; it decides which columns there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Snapshots,
    Usage,
    /// The last value of each level and day.
    Levels,
}

async fn read(
    session: &SessionContext,
    sql: &str,
    wanted: &Wanted<'_>,
    part: Part,
    cells: &mut Vec<UsedCell>,
) -> Result<(), EngineError> {
    let mut batches = session.sql(sql).await?.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        read_batch(&batch, wanted, part, cells)?;
    }
    Ok(())
}

fn read_batch(
    batch: &RecordBatch,
    wanted: &Wanted<'_>,
    part: Part,
    cells: &mut Vec<UsedCell>,
) -> Result<(), EngineError> {
    let rows = Rows(batch);
    let days = rows.days_or_null("day")?;
    let (tenants, meters) = (rows.texts("tenant")?, rows.texts("meter")?);
    let (sums, plain) = (rows.decimals("sum")?, rows.truths("is_plain")?);
    let counts = if part == Part::Levels { Vec::new() } else { rows.integers("count")? };
    let bounds = match part == Part::Usage || (part == Part::Snapshots && wanted.has_bounds()) {
        true => Some((rows.decimals("min")?, rows.decimals("max")?)),
        false => None,
    };
    let words = match part {
        Part::Snapshots => None,
        Part::Usage | Part::Levels => Some((rows.texts("kind")?, rows.texts("origin")?)),
    };
    let columns: Vec<_> = match part {
        Part::Snapshots => Vec::new(),
        Part::Usage | Part::Levels => {
            (0..wanted.dimensions.len()).map(|at| rows.texts(&format!("d{at}"))).collect::<Result<_, _>>()?
        }
    };
    let snapshot: Arc<str> = ORIGIN_SNAPSHOT.into();
    for row in 0..batch.num_rows() {
        let sum = sums[row].unwrap_or(0);
        let (min, max) = bounds.as_ref().map_or((None, None), |(min, max)| (min[row], max[row]));
        let meter = meters[row].clone().unwrap_or_default();
        let (kind, origin) = match &words {
            None => (SnapshotKind::of_metric(&meter).meter_kind(), Arc::clone(&snapshot)),
            Some((kinds, origins)) => (kind_of(kinds[row].as_deref()), origins[row].clone().unwrap_or_default()),
        };
        let values = match part {
            Part::Snapshots => vec![None; wanted.dimensions.len()],
            Part::Usage | Part::Levels => columns.iter().map(|column| column[row].clone()).collect(),
        };
        cells.push(UsedCell {
            day: days[row],
            tenant: tenants[row].clone().unwrap_or_default(),
            meter,
            kind,
            origin,
            values,
            // A snapshot has one value a day and source: its level is its sum.
            measure: Measure { sum, count: i128::from(counts.get(row).copied().unwrap_or(0)), min, max, last: sum },
            is_plain: plain[row],
        });
    }
    Ok(())
}

fn kind_of(word: Option<&str>) -> MeterKind {
    if word == Some(MeterKind::Gauge.as_str()) { MeterKind::Gauge } else { MeterKind::Counter }
}

impl Wanted<'_> {
    fn day(&self, day: &str) -> String {
        if self.by_day {
            return day.to_owned();
        }
        let moving: Vec<String> = self.books.tenants.moving().map(|tenant| literal(tenant)).collect();
        match moving.is_empty() || !self.by_tenant {
            true => NO_DAY.to_owned(),
            false => format!("CASE WHEN tenant IN ({}) THEN {day} END", moving.join(", ")),
        }
    }

    /// What is read as the tenant.
    fn tenant(&self) -> &'static str {
        if self.by_tenant { "tenant" } else { "''" }
    }

    /// The columns to group by: the day, the tenant, and these.
    fn grouped(&self, day: &str, others: &str) -> String {
        let day = if day == NO_DAY { String::new() } else { format!("{day}, ") };
        let tenant = if self.by_tenant { "tenant, " } else { "" };
        format!("{day}{tenant}{others}")
    }

    /// Leaves out incoming tenants that mean none of those that the filter names.
    fn tenants(&self) -> String {
        let named = |term: &Term| -> Option<Vec<String>> {
            let is_named = term.key == GroupKey::TENANT && !term.negated;
            is_named.then(|| term.values.iter().map(|value| value.literal().map(literal)).collect()).flatten()
        };
        let condition = |named: Vec<String>| {
            let moving = self.books.tenants.moving().map(|tenant| literal(tenant));
            format!(" AND tenant IN ({})", named.into_iter().chain(moving).collect::<Vec<_>>().join(", "))
        };
        self.filter.terms.iter().filter_map(named).map(condition).collect()
    }

    fn conditions(&self, day: &str, meter: &str) -> String {
        let (named, word) = match &self.meters {
            Meters::Only(named) => (named, "IN"),
            Meters::Except(named) => (named, "NOT IN"),
        };
        let names: Vec<String> = named.iter().map(|name| literal(name)).collect();
        let meters = match (&self.meters, names.is_empty()) {
            (Meters::Only(_), true) => " AND false".to_owned(),
            (Meters::Except(_), true) => String::new(),
            (_, false) => format!(" AND {meter} {word} ({})", names.join(", ")),
        };
        let (from, to) = (self.range.from(), self.range.to());
        format!("{day} >= DATE '{from}' AND {day} <= DATE '{to}'{meters}{}", self.tenants())
    }

    /// Whether no row is below 0, nor in parts of a unit where those would be rounded.
    fn plain(&self, meter: &str, value: &str) -> String {
        let named: Vec<String> = self.whole.iter().map(|name| literal(name)).collect();
        let is_whole = format!("CAST(CAST({value} AS DECIMAL(38, 0)) AS DECIMAL(38, 9)) = {value}");
        match named.is_empty() {
            true => format!("{value} >= {ZERO}"),
            false => format!(
                "CASE WHEN {meter} IN ({}) THEN {value} >= {ZERO} AND {is_whole} ELSE {value} >= {ZERO} END",
                named.join(", ")
            ),
        }
    }

    /// Whether some meter asks for the least, greatest or mean value; otherwise they are not read.
    fn has_bounds(&self) -> bool {
        let needs = |aggregation| matches!(aggregation, Aggregation::Min | Aggregation::Max | Aggregation::Avg);
        self.books.meters.iter().any(|meter| needs(meter.aggregation))
    }

    /// The snapshots, unless the filter leaves none of them.
    fn snapshots_sql(&self) -> Option<String> {
        let mut origins = self.filter.terms.iter().filter(|term| term.key == ORIGIN);
        if !origins.all(|term| term.holds(ORIGIN_SNAPSHOT)) {
            return None;
        }
        let day = self.day("snapshot_date");
        let bounds = if self.has_bounds() { ", min(quantity) AS \"min\", max(quantity) AS \"max\"" } else { "" };
        Some(format!(
            "SELECT {day} AS day, {} AS tenant, metric AS meter, sum(quantity) AS \"sum\", count(quantity) AS \"count\"{bounds}, \
             bool_and({}) AS is_plain FROM snapshots WHERE {} AND quantity IS NOT NULL GROUP BY {}",
            self.tenant(),
            self.plain("metric", "quantity"),
            self.conditions("snapshot_date", "metric"),
            self.grouped(&day, "metric"),
        ))
    }

    /// All other usage, unless the filter wants snapshots only.
    fn usage_sql(&self) -> Option<String> {
        let only_snapshots = |term: &Term| {
            let literal = |value: &Glob| value.literal() == Some(ORIGIN_SNAPSHOT);
            term.key == ORIGIN && !term.negated && term.values.iter().all(literal)
        };
        if self.filter.terms.iter().any(only_snapshots) {
            return None;
        }
        let day = self.day("usage_date");
        let named = |(at, dimension): (usize, &Dimension)| format!(", {} AS d{at}", column(dimension));
        let named: String = self.dimensions.iter().enumerate().map(named).collect();
        let values: String = self.dimensions.iter().map(|dimension| format!(", {}", column(dimension))).collect();
        Some(format!(
            "SELECT {day} AS day, {} AS tenant, meter, kind, origin{named}, sum(\"sum\") AS \"sum\", \
             sum(\"count\") AS \"count\", min(\"min\") AS \"min\", max(\"max\") AS \"max\", bool_and({}) AS is_plain \
             FROM usage WHERE {} GROUP BY {}",
            self.tenant(),
            self.plain("meter", "\"sum\""),
            self.conditions("usage_date", "meter"),
            self.grouped(&day, &format!("meter, kind, origin{values}")),
        ))
    }

    fn newest_snapshots_sql(&self) -> String {
        let bounds = if self.has_bounds() { ", min(quantity) AS \"min\", max(quantity) AS \"max\"" } else { "" };
        format!(
            "SELECT max(snapshot_date) AS day, tenant, metric AS meter, count(quantity) AS \"count\"{bounds}, \
             last_value(quantity ORDER BY snapshot_date) AS \"sum\", true AS is_plain FROM snapshots \
             WHERE {} AND quantity IS NOT NULL GROUP BY source, tenant, metric",
            self.conditions("snapshot_date", "metric"),
        )
    }

    fn newest_usage_sql(&self) -> String {
        let first = |(at, dimension): (usize, &Dimension)| format!(", first_value({}) AS d{at}", column(dimension));
        let values: String = self.dimensions.iter().enumerate().map(first).collect();
        format!(
            "SELECT last_value(usage_date ORDER BY last_at, \"last\") AS day, tenant, meter, kind, origin{values}, \
             last_value(\"last\" ORDER BY last_at, \"last\") AS \"sum\", true AS is_plain FROM usage \
             WHERE {} AND \"last\" IS NOT NULL GROUP BY {FULL_KEY}",
            self.conditions("usage_date", "meter"),
        )
    }

    /// The last value of each level on each of its days, summed.
    fn levels_sql(&self, levels: &BTreeSet<Arc<str>>) -> String {
        let first = |(at, dimension): (usize, &Dimension)| format!(", first_value({}) AS d{at}", column(dimension));
        let inner: String = self.dimensions.iter().enumerate().map(first).collect();
        let values: String = (0..self.dimensions.len()).map(|at| format!(", d{at}")).collect();
        let names: Vec<String> = levels.iter().map(|name| literal(name)).collect();
        let day = self.day("usage_date");
        format!(
            "SELECT {day} AS day, {} AS tenant, meter, kind, origin{values}, sum(\"last\") AS \"sum\", bool_and({}) AS is_plain \
             FROM (SELECT usage_date, tenant, meter, kind, origin{inner}, \
             last_value(\"last\" ORDER BY last_at, \"last\") AS \"last\" FROM usage \
             WHERE {} AND meter IN ({}) AND \"last\" IS NOT NULL \
             GROUP BY usage_date, {FULL_KEY}) GROUP BY {}",
            self.tenant(),
            self.plain("meter", "\"last\""),
            self.conditions("usage_date", "meter"),
            names.join(", "),
            self.grouped(&day, &format!("meter, kind, origin{values}")),
        )
    }
}

/// The filter's word for where usage came from.
const ORIGIN: GroupKey = GroupKey::Column(Column::Origin);

/// What stands for the day where no day is told apart.
const NO_DAY: &str = "CAST(NULL AS DATE)";

/// No quantity, of the type of quantities.
const ZERO: &str = "CAST(0 AS DECIMAL(38, 9))";
