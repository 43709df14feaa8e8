//! Events as they were accepted: which there are, and of which types.
//!
//! What is acknowledged and not in the lake yet is brought there first, as a run does: then one pinned version of the
//! table holds everything, and all pages of a list show the same. The alternative, reading the log beside the table,
//! would hold a segment's events in memory for each question. Later pages flush nothing, and nothing is committed when
//! nothing is hot, so a list costs at most one commit for the events that came since the one before.

use super::Page;
use super::columns::rows;
use super::cursor;
use super::params::{Params, QueryLimits};
use super::select::{self, all_of};
use super::table::{Cell, to_rows};
use crate::{Engine, EngineError};
use datafusion::common::ScalarValue;
use datafusion::functions::string::expr_fn::octet_length;
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::prelude::{DataFrame, Expr, ident, lit};
use domain::{Day, DayRange, Instant, TenantId, TenantScope};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable, Table};

/// Bytes of event data in one page; a page that would have more ends earlier.
const PAGE_DATA_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// Which events are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    /// The days.
    pub range: DayRange,
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those with exactly these values, by column.
    pub equal: Vec<(&'static str, String)>,
    /// Only those of other types than these.
    pub but_types: BTreeSet<String>,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// When it happened.
    pub time: Instant,
    /// When it was received.
    pub received_at: Instant,
    /// Whose it is: the tenant that the incoming value stands for on that day.
    pub tenant: Arc<str>,
    /// Who sent it.
    pub source: String,
    /// Its id, unique per tenant and source.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// User, workflow, repo, task class and cluster, as far as it names them.
    pub dimensions: Vec<(String, String)>,
    /// Its labels in key order.
    pub labels: Vec<(String, String)>,
    /// Its data as JSON text.
    pub data: Option<String>,
}

/// How many events there are of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeRow {
    /// The type.
    pub kind: String,
    /// Events.
    pub events: i64,
    /// When the last one happened.
    pub last_time: Instant,
}

/// Newest first; of equal times the texts decide. No two events are equal in all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EventPlace {
    time: i64,
    tenant: String,
    source: String,
    id: String,
}

/// After what a page begins, and the version of the table that all pages show.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place<T> {
    version: u64,
    after: T,
}

impl EventFilter {
    /// Returns the filter that the query parameters ask for; `metered` are the types that some meter in force takes.
    ///
    /// # Errors
    /// For an unknown parameter or a value that is none.
    pub fn of_events(mut params: Params, limits: &QueryLimits, metered: BTreeSet<String>) -> Result<Self, EngineError> {
        let equal = ["type", "source", "id"];
        let equal = equal.iter().filter_map(|name| Some((*name, params.text(name)?))).collect();
        Self::of(params, limits, equal, metered)
    }

    /// The same for the list of types.
    ///
    /// # Errors
    /// As [`EventFilter::of_events`].
    pub fn of_types(params: Params, limits: &QueryLimits, metered: BTreeSet<String>) -> Result<Self, EngineError> {
        Self::of(params, limits, Vec::new(), metered)
    }

    fn of(
        mut params: Params,
        limits: &QueryLimits,
        equal: Vec<(&'static str, String)>,
        metered: BTreeSet<String>,
    ) -> Result<Self, EngineError> {
        let unmetered = params.word("unmetered", &[("false", false), ("true", true)])?;
        let filter = Self {
            range: params.range_or_default(limits)?,
            tenant: params.parsed::<TenantId>("tenant")?.map(|tenant| tenant.as_str().to_owned()),
            equal,
            but_types: if unmetered { metered } else { BTreeSet::new() },
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        Ok(filter)
    }
}

impl Engine {
    /// Returns a page of events, newest first, everything acknowledged so far included.
    ///
    /// # Errors
    /// For a tenant outside the scope, a cursor of another list, or when the lake fails.
    pub async fn events(&self, scope: &TenantScope, filter: &EventFilter) -> Result<Page<EventRow>, EngineError> {
        let asked = self.ask_events::<EventPlace>("events", scope, filter).await?;
        let Some(asked) = asked else { return Ok(nothing()) };
        let found = self.event_places(&asked, filter).await?;
        let (places, more) = cut(found, filter.limit);
        let Some(last) = places.last() else { return Ok(nothing()) };
        let page = self.later_events(&asked)?.filter(self.not_older(last))?.sort(newest_first())?;
        let batches = page.select_columns(&columns())?.collect().await?;
        let books = self.books_now().await?;
        let resolve = |tenant: &str, day: Day| books.tenants.resolve(tenant, day);
        let found = to_rows(&batches).into_iter().map(|row| event_of(row, resolve)).collect();
        Ok(Page { rows: found, next_cursor: more.then(|| asked.cursor(last)), posting: None })
    }

    /// Returns a page of the types of events, by name.
    ///
    /// # Errors
    /// As [`Engine::events`].
    pub async fn event_types(
        &self,
        scope: &TenantScope,
        filter: &EventFilter,
    ) -> Result<Page<EventTypeRow>, EngineError> {
        let asked = self.ask_events::<String>("event types", scope, filter).await?;
        let Some(asked) = asked else { return Ok(nothing()) };
        let mut table = asked.table(self)?;
        if let Some(after) = &asked.after {
            table = table.filter(ident("type").gt(lit(after.as_str())))?;
        }
        let counted = table
            .aggregate(
                vec![ident("type")],
                vec![count(lit(1_i64)).alias("events"), max(ident("time")).alias("last_time")],
            )?
            .sort(vec![ident("type").sort(true, true)])?
            .limit(0, Some(filter.limit + 1))?
            .collect()
            .await?;
        let row = |row: super::columns::Row<'_>| EventTypeRow {
            kind: row.text_or_empty(0).to_owned(),
            events: row.int(1).unwrap_or_default(),
            last_time: Instant::from_micros(row.micros(2).unwrap_or_default()),
        };
        let mut found: Vec<EventTypeRow> = rows(&counted).map(row).collect();
        let more = filter.limit < found.len();
        found.truncate(filter.limit);
        let next_cursor = found.last().filter(|_| more).map(|last| asked.cursor(&last.kind));
        Ok(Page { rows: found, next_cursor, posting: None })
    }

    /// Pins what a page is read from; none when the caller can see nothing of it.
    async fn ask_events<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        list: &str,
        scope: &TenantScope,
        filter: &EventFilter,
    ) -> Result<Option<AskedEvents<T>>, EngineError> {
        if let Some(tenant) = filter.tenant.as_ref().filter(|tenant| !scope.allows(tenant)) {
            return Err(EngineError::TenantNotFound(super::params::shorten(tenant)));
        }
        let EventFilter { range, tenant, equal, but_types, .. } = filter;
        let question = format!("{list} {scope:?} {range:?} {tenant:?} {equal:?} {but_types:?}");
        let place: Option<Place<T>> = filter.cursor.as_ref().map(|text| cursor::decode(&question, text)).transpose()?;
        let (version, after) = place.map_or((None, None), |place| (Some(place.version), Some(place.after)));
        let pinned = self.pin_events(version).await?;
        let mut conditions = vec![
            ident("event_date").gt_eq(select::day(range.from())),
            ident("event_date").lt_eq(select::day(range.to())),
        ];
        conditions.extend(equal.iter().map(|(column, value)| ident(*column).eq(lit(value.as_str()))));
        if !but_types.is_empty() {
            let types = but_types.iter().map(|kind| lit(kind.as_str())).collect();
            conditions.push(ident("type").in_list(types, true));
        }
        let own = self.own_rows(&pinned, "event_date", *range, scope, tenant.as_deref()).await?;
        Ok(own.map(|own| AskedEvents {
            question,
            pinned,
            condition: all_of(conditions.into_iter().chain([own])),
            after,
        }))
    }

    /// Pins the events: those of a version, or everything acknowledged so far.
    pub(super) async fn pin_events(&self, version: Option<u64>) -> Result<PinnedTable, EngineError> {
        let Some(version) = version else {
            if let Some(hot) = &self.hot {
                hot.flush().await?;
            }
            return Ok(self.lake.pin_table(Table::UsageEvents).await?);
        };
        self.pin_named(Table::UsageEvents, version).await
    }

    /// Pins the version of a table that a cursor names.
    pub(super) async fn pin_named(&self, table: Table, version: u64) -> Result<PinnedTable, EngineError> {
        let newest = self.lake.pin_table(table).await?;
        if newest.version() < version {
            return Err(EngineError::parameter("cursor", "the cursor names a state that does not exist; leave it out"));
        }
        let pinned = self.lake.pin_at(&BTreeMap::from([(table, version)])).await?;
        Ok(pinned.table(table).clone())
    }

    /// Where the events of a page stand and how long their data is, one more than the page has.
    async fn event_places(
        &self,
        asked: &AskedEvents<EventPlace>,
        filter: &EventFilter,
    ) -> Result<Vec<(EventPlace, i64)>, EngineError> {
        let wanted = ["time", "tenant", "source", "id"].map(ident).into_iter();
        let size = octet_length(ident("data"));
        let size = Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(size), arrow::datatypes::DataType::Int64));
        let found = self
            .later_events(asked)?
            .select(wanted.chain([size.alias("bytes")]).collect::<Vec<_>>())?
            .sort(newest_first())?
            .limit(0, Some(filter.limit + 1))?
            .collect()
            .await?;
        let place = |row: super::columns::Row<'_>| {
            let text = |at: usize| row.text_or_empty(at).to_owned();
            let place =
                EventPlace { time: row.micros(0).unwrap_or_default(), tenant: text(1), source: text(2), id: text(3) };
            (place, row.int(4).unwrap_or_default())
        };
        Ok(rows(&found).map(place).collect())
    }

    /// Events of this page and the later ones.
    fn later_events(&self, asked: &AskedEvents<EventPlace>) -> Result<DataFrame, EngineError> {
        let table = asked.table(self)?;
        let Some(after) = &asked.after else { return Ok(table) };
        let day = self.settings.zone.day_of(Instant::from_micros(after.time));
        Ok(table.filter(ident("event_date").lt_eq(select::day(day)).and(older(after)))?)
    }

    /// Events that do not come after this one.
    fn not_older(&self, last: &EventPlace) -> Expr {
        let day = self.settings.zone.day_of(Instant::from_micros(last.time));
        ident("event_date").gt_eq(select::day(day)).and(Expr::Not(Box::new(older(last))))
    }
}

/// What the pages of a list are read from.
struct AskedEvents<T> {
    question: String,
    pinned: PinnedTable,
    condition: Expr,
    after: Option<T>,
}

impl<T: Serialize> AskedEvents<T> {
    fn table(&self, engine: &Engine) -> Result<DataFrame, EngineError> {
        let table = engine.empty_session()?.read_table(Arc::new(LakeTable::new(&self.pinned)))?;
        Ok(table.filter(self.condition.clone())?)
    }

    fn cursor(&self, after: &T) -> String {
        cursor::encode(&self.question, &Place { version: self.pinned.version(), after })
    }
}

fn nothing<T>() -> Page<T> {
    Page { rows: Vec::new(), next_cursor: None, posting: None }
}

/// The places of a page, at least one if there is any, and whether more follow.
fn cut(found: Vec<(EventPlace, i64)>, limit: usize) -> (Vec<EventPlace>, bool) {
    let (total, mut bytes, mut page) = (found.len(), 0_i64, Vec::new());
    for (place, size) in found.into_iter().take(limit) {
        bytes = bytes.saturating_add(size);
        if PAGE_DATA_BYTES_MAX < bytes && !page.is_empty() {
            break;
        }
        page.push(place);
    }
    let more = page.len() < total;
    (page, more)
}

fn newest_first() -> Vec<datafusion::logical_expr::SortExpr> {
    let texts = ["tenant", "source", "id"].map(|name| ident(name).sort(true, true));
    std::iter::once(ident("time").sort(false, true)).chain(texts).collect()
}

/// Events that come after this one in the list.
fn older(place: &EventPlace) -> Expr {
    let time = lit(ScalarValue::TimestampMicrosecond(Some(place.time), Some("UTC".into())));
    let texts = [("tenant", &place.tenant), ("source", &place.source), ("id", &place.id)];
    let mut later = lit(false);
    for (name, value) in texts.into_iter().rev() {
        let value = lit(value.as_str());
        later = ident(name).gt(value.clone()).or(ident(name).eq(value).and(later));
    }
    ident("time").lt(time.clone()).or(ident("time").eq(time).and(later))
}

const FIXED: [&str; 9] = ["event_date", "time", "received_at", "tenant", "source", "id", "type", "labels", "data"];

fn columns() -> Vec<&'static str> {
    FIXED.into_iter().chain(DIMENSIONS).collect()
}

const DIMENSIONS: [&str; 5] = ["user", "workflow", "repo", "task_class", "cluster"];

/// The event of a row with [`columns`].
fn event_of(row: Vec<Cell>, resolve: impl Fn(&str, Day) -> Arc<str>) -> EventRow {
    let mut cells = row.into_iter();
    let mut next = || cells.next().unwrap_or(Cell::Null);
    let text = |cell: Cell| match cell {
        Cell::Text(text) => text,
        _ => String::new(),
    };
    let instant = |cell: Cell| match cell {
        Cell::Instant(instant) => instant,
        _ => Instant::from_micros(0),
    };
    let day = match next() {
        Cell::Day(day) => day,
        _ => Day::from_epoch_days(0),
    };
    let (time, received_at, tenant) = (instant(next()), instant(next()), text(next()));
    let (source, id, kind) = (text(next()), text(next()), text(next()));
    let labels = match next() {
        Cell::Map(pairs) => pairs,
        _ => Vec::new(),
    };
    let data = Some(next()).filter(|cell| *cell != Cell::Null).map(text);
    let named = DIMENSIONS.iter().filter_map(|name| match next() {
        Cell::Text(value) => Some(((*name).to_owned(), value)),
        _ => None,
    });
    let dimensions = named.collect();
    EventRow { time, received_at, tenant: resolve(&tenant, day), source, id, kind, dimensions, labels, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_but_the_tenant_is_shown() {
        let names: Vec<String> = domain::dimension::PLAIN[1..].iter().map(ToString::to_string).collect();
        assert_eq!(names, DIMENSIONS);
    }

    #[test]
    fn a_page_ends_where_its_data_would_be_too_much() {
        let place = |at: i64| EventPlace { time: at, tenant: "a".into(), source: "s".into(), id: "1".into() };
        let check = |sizes: &[i64], limit: usize, expected: (usize, bool)| {
            let found = (0..).zip(sizes).map(|(at, size)| (place(at), *size)).collect();
            let (page, more) = cut(found, limit);
            assert_eq!((page.len(), more), expected, "{sizes:?}");
        };
        check(&[], 2, (0, false));
        check(&[1, 1], 2, (2, false));
        check(&[1, 1, 1], 2, (2, true));
        check(&[PAGE_DATA_BYTES_MAX, 1], 2, (1, true));
        check(&[PAGE_DATA_BYTES_MAX + 1, 1], 2, (1, true));
        check(&[i64::MAX, i64::MAX], 5, (1, true));
    }
}
