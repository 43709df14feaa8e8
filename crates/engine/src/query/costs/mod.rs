//! Cost by any dimension: the answer to [`CostQuery`].

use super::as_of::{AsOf, Head};
use super::cost_query::{Compare, CostQuery, Measure, View};
use super::params::QueryLimits;
use super::{cost_query, cursor};
use crate::{Engine, EngineError};
use compared::{Known, Sides};
use domain::tenant::TenantBook;
use domain::{Currency, Day, DayRange, TenantScope};
use fold::Folded;
pub(in crate::query) use fold::bucket_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::lake::Table;

/// The days that a change is measured by.
mod compared;
/// The view at current rates.
mod current;
/// Adding up what DataFusion grouped.
mod fold;
/// What the answer says about itself.
mod meta;
/// Shares, rounding, order and pages.
mod page;
/// The query that DataFusion runs.
mod scan;

pub use compared::Compared;
pub use current::CurrentRates;
pub use meta::{Conservation, CostMeta};

/// One row: the cost of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostRow {
    /// Name and value of each grouped key.
    pub key: Vec<(String, String)>,
    /// The cost in atoms.
    pub cost: i128,
    /// Its parts, unless tier or status is grouped.
    pub parts: Option<CostParts>,
    /// Part of the total in millionths; none when the total is not positive.
    pub share: Option<i64>,
    /// Its place among all rows, of a row that was asked for by its key.
    pub rank: Option<Rank>,
    /// Cost of the days before and the difference, where the question compares.
    pub previous: Option<Previous>,
    /// First day and cost of every bucket, with a granularity.
    pub series: Option<Vec<(Day, i128)>>,
    /// Quantities by meter in atoms of 10⁻⁹, at current rates: what counts is summed, of a level it is the last value.
    pub usage: Option<BTreeMap<Arc<str>, i128>>,
}

/// Parts of a row's cost, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostParts {
    /// Of tier direct.
    pub direct: i128,
    /// Of tier amortized.
    pub amortized: i128,
    /// Of status pending.
    pub pending: i128,
}

/// A place among all rows by cost, those of reserved consumers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// From 1, the largest cost; rows of equal cost by key.
    pub place: usize,
    /// How many rows there are.
    pub of: usize,
}

/// The days before, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// Their cost.
    pub cost: i128,
    /// The row's cost of the days that are compared.
    pub later: i128,
    /// That, less the cost before.
    pub change: i128,
}

/// Totals over all pages, in atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostTotals {
    /// What all rows add up to.
    pub cost: i128,
    /// What reserved consumers have of it; none for a caller who sees some tenants only.
    pub reserved: Option<ReservedTotals>,
    /// Estimates beside the money; never part of `cost` unless the question names memo.
    pub memo: i128,
}

/// What each reserved consumer has of the total, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservedTotals {
    /// `__overhead__`.
    pub overhead: i128,
    /// `__idle__`.
    pub idle: i128,
    /// `__unattributed__`.
    pub unattributed: i128,
    /// `__unconsumed__`.
    pub unconsumed: i128,
    /// `__variance__`.
    pub variance: i128,
}

/// The answer to a [`CostQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostTable {
    /// The rows of this page.
    pub rows: Vec<CostRow>,
    /// Totals over all pages.
    pub totals: CostTotals,
    /// What the answer says about itself.
    pub meta: CostMeta,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
}

/// Where a page begins, and the state that all pages show.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    from: i32,
    to: i32,
    posting: i64,
    facts: i64,
    offset: usize,
}

/// What is summed: a column of the ledger and of `pool_days`, and the currency of the sums.
#[derive(Clone, Copy, Debug)]
struct Summed {
    column: &'static str,
    /// Only entries booked in this currency.
    booked_in: Option<Currency>,
    shown: Currency,
}

impl Engine {
    /// Returns what bounds questions about cost.
    #[must_use]
    pub fn cost_limits(&self) -> QueryLimits {
        self.query_limits(cost_query::COST_ROWS_DEFAULT, cost_query::COST_ROWS_MAX)
    }

    /// Returns what bounds a list of at most so many rows a page.
    #[must_use]
    pub fn query_limits(&self, rows_default: usize, rows_max: usize) -> QueryLimits {
        QueryLimits { today: self.today(), range_days_max: self.settings.range_days_max, rows_default, rows_max }
    }

    /// Returns what the tenants in scope cost, as the query asks.
    ///
    /// Rows of all pages add up to `totals.cost`. A row that only the range before has is shown with cost 0.
    ///
    /// # Errors
    /// For a cursor of another question, a tenant named outside the scope, several currencies where one is
    /// needed, or when a store fails.
    pub async fn costs(&self, scope: &TenantScope, query: &CostQuery) -> Result<CostTable, EngineError> {
        match query.view {
            View::Posted => self.posted_costs(scope, query).await,
            View::CurrentRates => self.costs_at_current_rates(scope, query).await,
        }
    }

    async fn posted_costs(&self, scope: &TenantScope, query: &CostQuery) -> Result<CostTable, EngineError> {
        super::select::check_named_tenants(scope, &query.filter)?;
        let (query, mut head, offset) = self.resume(scope, query).await?;
        let pinned = self.lake.pin().await?;
        let session = self.session(&pinned)?;
        let book = self.book_for(&query, &mut head).await?;
        let days = query.selected_days();
        let summed = self.summed(&session, scope, &query, &head).await?;

        let scan = scan::Scan { scope, query: &query, summed, head: &head };
        let current = fold::fold(&query, &book, &scan.groups(&session, days, true).await?)?;
        let mut meta = self.cost_meta(&session, &scan, days).await?;
        let pending = match query.compare {
            Compare::Final => scan.first_pending(&session, days).await?,
            Compare::None | Compare::Prev => None,
        };
        let known = Known { through: meta.data_through, today: self.today(), pending };
        meta.compared = Compared::of(&query, days, known);
        let rows_of = async |days: DayRange| fold::fold(&query, &book, &scan.groups(&session, days, false).await?);
        let sides = match meta.compared {
            Some(Compared { range, previous }) => Some(Sides {
                later: if range == days { None } else { Some(rows_of(range).await?.rows) },
                previous: rows_of(previous).await?.rows,
            }),
            None => None,
        };
        if head.is_now {
            meta.estimated = self.estimated_in(pinned.table(Table::CostLines), days).await?;
        }
        let Folded { rows, reserved, memo } = current;
        let reserved = (*scope == TenantScope::All).then_some(reserved);
        let totals = CostTotals { cost: rows.values().map(|group| group.cost).sum(), reserved, memo };
        let (rows, totals) = page::shape(&query, days, summed.shown, rows, sides, totals);

        let count = rows.len();
        let rows: Vec<CostRow> = rows.into_iter().skip(offset).take(query.limit).collect();
        let end = offset + rows.len();
        let next_cursor = (end < count).then(|| {
            let place = Place {
                from: query.range.from().epoch_days(),
                to: query.range.to().epoch_days(),
                posting: head.number(),
                facts: head.recorded_up_to,
                offset: end,
            };
            cursor::encode(&question(scope, &query), &place)
        });
        Ok(CostTable { rows, totals, meta, next_cursor })
    }

    /// The query with the range, the state and the offset that its cursor pins, if it has one.
    async fn resume(&self, scope: &TenantScope, query: &CostQuery) -> Result<(CostQuery, Head, usize), EngineError> {
        let Some(text) = &query.cursor else {
            return Ok((query.clone(), self.head(query.as_of.as_ref()).await?, 0));
        };
        let place: Place = cursor::decode(&question(scope, query), text)?;
        let range = pinned_range((place.from, place.to), query.range)?;
        let mut head = self.head(Some(&AsOf::Posting(place.posting))).await?;
        (head.recorded_up_to, head.is_now) = (place.facts, query.as_of.is_none());
        Ok((CostQuery { range, ..query.clone() }, head, place.offset))
    }

    /// The facts that the query looks up; pins them, so that later pages look up the same.
    async fn book_for(&self, query: &CostQuery, head: &mut Head) -> Result<TenantBook, EngineError> {
        if !fold::looks_up_tenants(query) {
            return Ok(TenantBook::default());
        }
        let book = self.catalog.tenant_book_all_tenants(head.recorded_up_to).await?;
        if let Some(newest) = book.recorded_up_to() {
            head.recorded_up_to = newest.micros();
        }
        Ok(book)
    }

    async fn summed(
        &self,
        session: &datafusion::prelude::SessionContext,
        scope: &TenantScope,
        query: &CostQuery,
        head: &Head,
    ) -> Result<Summed, EngineError> {
        let reporting = self.settings.reporting_currency;
        let column = query.measure.as_str();
        match (query.currency, query.measure) {
            (Some(currency), _) => Ok(Summed { column, booked_in: Some(currency), shown: currency }),
            (None, Measure::Amount) => Ok(Summed { column: "amount_reporting", booked_in: None, shown: reporting }),
            (None, Measure::BilledAmount) => {
                let any = Summed { column, booked_in: None, shown: reporting };
                let scan = scan::Scan { scope, query, summed: any, head };
                match &scan.currencies(session).await?[..] {
                    [] => Ok(any),
                    [only] => Ok(Summed { column, booked_in: Some(*only), shown: *only }),
                    several => {
                        let codes: Vec<&str> = several.iter().map(Currency::code).collect();
                        let detail = format!(
                            "billed amounts are in {}; name one of them with `currency`, because different currencies are never added",
                            codes.join(", ")
                        );
                        Err(EngineError::parameter("measure", detail))
                    }
                }
            }
        }
    }
}

/// The range that a cursor pins. A rolling range moves on at midnight; the pages keep the days of the first one.
fn pinned_range((from, to): (i32, i32), asked: DayRange) -> Result<DayRange, EngineError> {
    let moved = |a: Day, b: Day| a.epoch_days().abs_diff(b.epoch_days()) <= 1;
    let near = |range: &DayRange| moved(range.from(), asked.from()) && moved(range.to(), asked.to());
    let pinned = DayRange::new(Day::from_epoch_days(from), Day::from_epoch_days(to));
    pinned.filter(near).ok_or_else(|| {
        EngineError::parameter("cursor", "the cursor belongs to another range; leave it out to start over")
    })
}

/// Everything about a question that its pages must have in common, but the range.
fn question(scope: &TenantScope, query: &CostQuery) -> String {
    let days = DayRange::single(Day::from_epoch_days(0));
    format!("{scope:?} {:?}", CostQuery { range: days, limit: 0, cursor: None, ..query.clone() })
}
