//! The usage CSV's rows: one for each tenant and snapshot day, day by day, so that memory holds the quantities of two days
//! and a few hundred rows.

use super::super::cost_query::View;
use super::super::params::{Params, QueryLimits};
use super::super::select::{all_of, charged_in, of_cost};
use super::super::usage::UsageNow;
use super::day_quantities::{DayQuantities, Reader, Reading};
use super::one_thread::OneThread;
use super::price::{ambiguous, too_much};
use super::{CurrentCard, days_with_rows};
use crate::books::Books;
use crate::inputs::rows::Rows;
use crate::query::columns::rows;
use crate::{Engine, EngineError};
use attribution::fx::convert_half_even;
use attribution::minor_units::RunningTotal;
use attribution::reprice::Repricer;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{SessionContext, ident};
use domain::snapshot::FIELDS;
use domain::{Currency, Day, DayRange};
use futures::stream::{BoxStream, StreamExt, try_unfold};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use storage::lake::{LakeTable, Table};

/// Rows handed over at a time: about 64 KiB of CSV.
const PIECE_ROWS: usize = 512;

/// What is asked of the usage CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageExport {
    /// The snapshot days.
    pub range: DayRange,
    /// Where the cost comes from.
    pub view: View,
    /// Whether costs are in whole minor units that add up to the rounded total.
    pub round_minor: bool,
}

/// One tenant on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDay {
    /// Its slug that day, its id where it has none.
    pub slug: Arc<str>,
    /// Its name that day.
    pub name: Option<Arc<str>>,
    /// The day.
    pub date: Day,
    /// Quantities in atoms of 10⁻⁹, in the order of [`UsageCsv::metrics`]; none where nothing was measured.
    pub quantities: Vec<Option<i128>>,
    /// The cost in atoms; none for a day that the ledger says nothing about.
    pub cost: Option<i128>,
}

/// The rows, and what is known of all of them before the first.
pub struct UsageCsv {
    /// The days.
    pub range: DayRange,
    /// Where the cost comes from.
    pub view: View,
    /// The nine fields, then further metrics by name.
    pub metrics: Vec<String>,
    /// Currency of the costs.
    pub currency: Currency,
    /// The card that prices at current rates; none for the ledger's view.
    pub card: Option<CurrentCard>,
    /// Metrics of the rows without a price.
    pub unpriced_metrics: Vec<String>,
    /// How often a metric is degraded or missing, such as `degraded storage_bytes 12`.
    pub gaps: Vec<String>,
    /// Days of the range up to today without a snapshot.
    pub days_without_rows: Vec<DayRange>,
    /// The rows in order of day and tenant, some of one day at a time.
    pub pieces: BoxStream<'static, Result<Vec<UsageDay>, EngineError>>,
}

impl fmt::Debug for UsageCsv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("UsageCsv").field("range", &self.range).field("view", &self.view).finish_non_exhaustive()
    }
}

/// What a state's snapshots of a range are, by metric and quality.
type Qualities = BTreeMap<(String, String), i64>;

/// The qualities that were counted last: the next export of the same days counts nothing.
#[derive(Debug, Default)]
pub(crate) struct KeptQualities(Mutex<Option<(String, Arc<Qualities>)>>);

impl UsageExport {
    /// Returns what the parameters ask; without a view at current rates, as the seed's CSV.
    ///
    /// # Errors
    /// For an unknown parameter or a value that cannot be used.
    pub fn from_params(mut params: Params, limits: &QueryLimits) -> Result<Self, EngineError> {
        let views = [("current_rates", View::CurrentRates), ("posted", View::Posted)];
        let export = Self {
            range: params.range_to_today_or_default(limits)?,
            view: params.word("view", &views)?,
            round_minor: params.word("round", &[("none", false), ("minor", true)])?,
        };
        params.finish()?;
        Ok(export)
    }
}

impl Engine {
    /// Returns the rows of every tenant's snapshots, and what the export must say about itself.
    ///
    /// # Errors
    /// When the card cannot be read or a store fails. The rows may end with an error.
    ///
    /// # Source
    /// Spec 4-interfaces, section 3; seed S0-21.
    pub async fn usage_csv_all_tenants(&self, export: UsageExport) -> Result<UsageCsv, EngineError> {
        let now = self.usage_now().await?;
        let books = Arc::new(self.books_now().await?);
        // Of days that are read one after the other in small batches, little is in memory at a time.
        let (session, thread) = (self.lean_session()?, OneThread::start()?);
        session.register_table(Table::Snapshots.name(), Arc::new(LakeTable::new(&now.snapshots).with_views()))?;
        let qualities = self.qualities(&session, &thread, &now, export.range).await?;
        let metrics = columns_of(&qualities);
        let days = snapshot_days(&now, export.range);
        let (card, ledger) = match export.view {
            View::CurrentRates => (Some(self.current_card(&books)?), None),
            View::Posted => (None, Some(self.session_now().await?)),
        };
        let booked = card.as_ref().map_or(self.settings.reporting_currency, |card| card.card.currency);
        let has_dollars = days.iter().all(|day| books.fx.rate(booked, Currency::USD, *day).is_some());
        let currency = if booked == Currency::USD || has_dollars { Currency::USD } else { booked };
        let mut rows = RowsOfDays {
            engine: self.clone(),
            reader: Arc::new(Reader { session, books: Arc::clone(&books), metrics: metrics.clone() }),
            ledger,
            books,
            repricer: card.as_ref().map(|card| Repricer::new(Arc::clone(&card.card))),
            prices: Vec::new(),
            from: export.range.from(),
            booked,
            shown: currency,
            rounded: export.round_minor.then(|| RunningTotal::new(currency)),
        };
        rows.find_prices()?;
        let unpriced_metrics = rows.unpriced(&qualities);
        let mut left = rows.days_to_read(&now, export.range, &days).into_iter();
        let reading = Reader::start(&rows.reader, &thread, left.next(), None);
        let to_come = RowsToCome { rows, thread, left, reading, unsent: None, spare: None };
        let pieces = try_unfold(to_come, |mut to_come| async move {
            let piece = to_come.next().await?;
            Ok::<_, EngineError>(piece.map(|piece| (piece, to_come)))
        });
        Ok(UsageCsv {
            range: export.range,
            view: export.view,
            metrics,
            currency,
            card,
            unpriced_metrics,
            gaps: gaps_of(&qualities),
            days_without_rows: self.days_without_rows(&now, export.range),
            pieces: pieces.boxed(),
        })
    }

    /// How often each metric was measured how well.
    async fn qualities(
        &self,
        session: &SessionContext,
        thread: &OneThread,
        now: &UsageNow,
        range: DayRange,
    ) -> Result<Arc<Qualities>, EngineError> {
        let key = format!("{} {range:?}", now.snapshots.version());
        let kept = || self.kept_qualities.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, found)) = kept().as_ref()
            && *known == key
        {
            return Ok(Arc::clone(found));
        }
        let session = session.clone();
        let counting = thread.run(async move { counted(&session, range, "").await });
        let found = Arc::new(counting.get().await??);
        *kept() = Some((key, Arc::clone(&found)));
        Ok(found)
    }

    /// Returns how often a metric of these days is degraded or missing, such as `degraded storage_bytes 12`. Files without
    /// such rows are not read.
    pub(in crate::query) async fn snapshot_gaps_all_tenants(
        &self,
        session: &SessionContext,
        range: DayRange,
    ) -> Result<Vec<String>, EngineError> {
        Ok(gaps_of(&counted(session, range, "AND quality <> 'ok'").await?))
    }

    fn days_without_rows(&self, now: &UsageNow, range: DayRange) -> Vec<DayRange> {
        let known = snapshot_days(now, range);
        let today = self.today();
        crate::due::ranges_of(range.days().filter(|day| *day <= today && !known.contains(day)), i32::MAX)
    }
}

/// How often each metric of these days was measured how well, of the rows that fulfil the condition.
async fn counted(session: &SessionContext, range: DayRange, condition: &str) -> Result<Qualities, EngineError> {
    let sql = format!(
        "SELECT metric, quality, count(*) AS \"count\" FROM snapshots WHERE snapshot_date >= DATE '{}' \
         AND snapshot_date <= DATE '{}' {condition} GROUP BY metric, quality",
        range.from(),
        range.to()
    );
    let mut found = Qualities::new();
    for batch in session.sql(&sql).await?.collect().await? {
        let rows = Rows(&batch);
        let (metrics, qualities, counts) = (rows.texts("metric")?, rows.texts("quality")?, rows.integers("count")?);
        for row in 0..batch.num_rows() {
            let text = |column: &[Option<Arc<str>>]| column[row].as_deref().unwrap_or_default().to_owned();
            found.insert((text(&metrics), text(&qualities)), counts[row]);
        }
    }
    Ok(found)
}

/// The days of the range that have snapshots.
fn snapshot_days(now: &UsageNow, range: DayRange) -> BTreeSet<Day> {
    days_with_rows(&now.snapshots, "snapshot_date", range)
}

/// The nine fields, then what else was measured, by name.
fn columns_of(qualities: &Qualities) -> Vec<String> {
    let fields = FIELDS.map(|(name, _)| name);
    let others: BTreeSet<&str> = qualities.keys().map(|(metric, _)| metric.as_str()).collect();
    let others = others.into_iter().filter(|metric| !fields.contains(metric));
    fields.into_iter().chain(others).map(str::to_owned).collect()
}

fn gaps_of(qualities: &Qualities) -> Vec<String> {
    let gaps = qualities.iter().filter(|((_, quality), _)| quality != "ok");
    gaps.map(|((metric, quality), count)| format!("{quality} {metric} {count}")).collect()
}

/// What every day's rows are made with.
struct RowsOfDays {
    engine: Engine,
    reader: Arc<Reader>,
    /// None at current rates.
    ledger: Option<SessionContext>,
    books: Arc<Books>,
    /// None for the ledger's view.
    repricer: Option<Repricer>,
    /// Which row of the card prices each metric.
    prices: Vec<Option<usize>>,
    /// The first day of the export; days before it only say where graduated prices stand.
    from: Day,
    booked: Currency,
    shown: Currency,
    /// None for exact costs.
    rounded: Option<RunningTotal>,
}

/// A day of which not all rows were handed over yet.
struct UnsentDay {
    day: Day,
    seconds: i64,
    /// The ledger's estimates by tenant; none at current rates.
    posted: Option<BTreeMap<String, i128>>,
    measured: DayQuantities,
    /// The last tenant that was handed over.
    after: Option<Arc<str>>,
}

/// The rows still to come.
struct RowsToCome {
    rows: RowsOfDays,
    /// Reads all days.
    thread: OneThread,
    left: std::vec::IntoIter<Day>,
    reading: Option<Reading>,
    unsent: Option<UnsentDay>,
    /// Memory of a day that was sent.
    spare: Option<DayQuantities>,
}

impl RowsToCome {
    /// The next rows, all of one day; none when there are no more.
    async fn next(&mut self) -> Result<Option<Vec<UsageDay>>, EngineError> {
        loop {
            if let Some(unsent) = &mut self.unsent {
                let piece = self.rows.piece_of(unsent)?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
            }
            if let Some(sent) = self.unsent.take() {
                self.spare = Some(sent.measured);
            }
            let Some((day, reading)) = self.reading.take() else { return Ok(None) };
            let measured = reading.get().await??;
            // While a day is priced and sent, the next one is read.
            self.reading = Reader::start(&self.rows.reader, &self.thread, self.left.next(), self.spare.take());
            self.unsent = Some(self.rows.unsent(day, measured).await?);
        }
    }
}

impl RowsOfDays {
    fn find_prices(&mut self) -> Result<(), EngineError> {
        let Some(repricer) = &self.repricer else { return Ok(()) };
        let price = |metric: &String| {
            let row = repricer.row(metric, |_, _| false);
            row.map_err(|error| ambiguous(repricer.card(), &error))
        };
        self.prices = self.reader.metrics.iter().map(price).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Metrics that were measured and have no price.
    fn unpriced(&self, qualities: &Qualities) -> Vec<String> {
        let measured: BTreeSet<&str> = qualities.keys().map(|(metric, _)| metric.as_str()).collect();
        let without = self.reader.metrics.iter().zip(&self.prices).filter(|(_, price)| price.is_none());
        without.map(|(metric, _)| metric).filter(|metric| measured.contains(metric.as_str())).cloned().collect()
    }

    /// The days of the export, and before them those of the month if prices go by the month's quantity.
    fn days_to_read(&self, now: &UsageNow, range: DayRange, days: &BTreeSet<Day>) -> Vec<Day> {
        let month = DayRange::new(range.from().month().first_day(), range.from().plus(-1));
        let is_graduated = self.repricer.as_ref().is_some_and(|repricer| repricer.card().has_tiers());
        let before = month.filter(|_| is_graduated).map(|month| snapshot_days(now, month)).unwrap_or_default();
        before.into_iter().chain(days.iter().copied()).collect()
    }

    async fn unsent(&self, day: Day, measured: DayQuantities) -> Result<UnsentDay, EngineError> {
        let posted = match &self.ledger {
            Some(ledger) => Some(posted(ledger, day).await?),
            None => None,
        };
        let seconds = self.engine.settings.zone.day_range(day).seconds();
        Ok(UnsentDay { day, seconds, posted, measured, after: None })
    }

    /// The day's next rows; none if all were handed over.
    fn piece_of(&mut self, unsent: &mut UnsentDay) -> Result<Vec<UsageDay>, EngineError> {
        let day = unsent.day;
        let (mut found, mut last) = (Vec::new(), None);
        for (tenant, place) in unsent.measured.tenants_after(unsent.after.as_deref()) {
            last = Some(Arc::clone(tenant));
            let cost = match &unsent.posted {
                Some(posted) => posted.get(&**tenant).copied(),
                None => Some(self.price(tenant, day, unsent.seconds, unsent.measured.quantities(place))?),
            };
            if day < self.from {
                continue;
            }
            let cost = cost.map(|cost| self.converted(cost, day)).transpose()?;
            let cost = cost.map(|cost| self.rounded.as_mut().map_or(cost, |total| total.round_next(cost)));
            let fact = self.books.tenants.fact(tenant, day);
            let slug = fact.and_then(|fact| fact.slug.clone());
            found.push(UsageDay {
                name: fact.and_then(|fact| fact.name.clone()),
                slug: slug.unwrap_or_else(|| Arc::clone(tenant)),
                date: day,
                quantities: unsent.measured.quantities(place).collect(),
                cost,
            });
            if found.len() == PIECE_ROWS {
                break;
            }
        }
        unsent.after = last.or_else(|| unsent.after.take());
        Ok(found)
    }

    fn price(
        &mut self,
        tenant: &Arc<str>,
        day: Day,
        seconds: i64,
        quantities: impl Iterator<Item = Option<i128>>,
    ) -> Result<i128, EngineError> {
        let Some(repricer) = &mut self.repricer else { return Ok(0) };
        let mut cost = 0;
        for (price, quantity) in self.prices.iter().zip(quantities) {
            let (Some(row), Some(quantity)) = (price, quantity) else { continue };
            let amount = match repricer.is_graduated(*row) {
                true => repricer.graduated(*row, tenant, day, &[quantity]).map(|parts| parts[0]),
                false => repricer.amount(*row, quantity, day, seconds),
            };
            cost += amount.map_err(|error| too_much(tenant, error))?;
        }
        Ok(cost)
    }

    fn converted(&self, cost: i128, day: Day) -> Result<i128, EngineError> {
        if self.booked == self.shown {
            return Ok(cost);
        }
        let rate = self.books.fx.rate(self.booked, self.shown, day);
        let converted = rate.and_then(|rate| convert_half_even(cost, rate.rate));
        converted.ok_or_else(|| EngineError::parameter("range", format!("the costs of {day} cannot be converted")))
    }
}

/// The ledger's estimates of the day, by tenant.
async fn posted(ledger: &SessionContext, day: Day) -> Result<BTreeMap<String, i128>, EngineError> {
    let batches = ledger
        .table(Table::Ledger.name())
        .await?
        .filter(all_of([of_cost(), charged_in(DayRange::single(day)), ident("memo")]))?
        .aggregate(vec![ident("tenant")], vec![sum(ident("amount_reporting")).alias("total")])?
        .collect()
        .await?;
    let of_row = |row: super::super::columns::Row<'_>| Some((row.text(0)?.to_owned(), row.atoms(1)));
    Ok(rows(&batches).filter_map(of_row).collect())
}
