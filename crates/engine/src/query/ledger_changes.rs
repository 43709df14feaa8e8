//! What two states of the ledger differ by, and why: the entries booked between them, summed by day, pool and consumer.

use super::as_of::AsOf;
use super::columns::{Row, rows};
use super::cursor;
use super::params::{Params, QueryLimits};
use super::select::{self, all_of};
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::{count, max, sum};
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::{Day, DayRange};
use serde::{Deserialize, Serialize};
use storage::lake::Table;

/// Which two states, and of which entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChangesQuery {
    /// The earlier state; its own entries are not among the changes.
    pub from_booked: AsOf,
    /// The later state; the newest when none is named.
    pub to_booked: Option<AsOf>,
    /// Only entries charged on these days.
    pub range: Option<DayRange>,
    /// Only those of this tenant or reserved consumer.
    pub tenant: Option<String>,
    /// Only those of this pool.
    pub pool: Option<String>,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl LedgerChangesQuery {
    /// Returns the question that the query parameters of a request ask.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter, a value that is none, or without `from_booked`.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let from_booked: Option<AsOf> = params.parsed("from_booked")?;
        let to_booked = params.parsed("to_booked")?;
        let range = params.range(limits)?;
        let (tenant, pool) = (params.text("tenant"), params.text("pool"));
        let (limit, cursor) = (params.limit(limits)?, params.text("cursor"));
        params.finish()?;
        let missing = || {
            let detail = "`from_booked` is required: posting:12, a day or an instant; posting:0 is the empty ledger";
            EngineError::parameter("from_booked", detail)
        };
        Ok(Self { from_booked: from_booked.ok_or_else(missing)?, to_booked, range, tenant, pool, limit, cursor })
    }

    fn question(&self) -> String {
        format!("ledger changes {:?}", Self { limit: 0, cursor: None, ..self.clone() })
    }

    /// Entries after one posting and up to another.
    fn condition(&self, between: Between) -> Expr {
        let conditions = [
            Some(select::of_cost()),
            Some(ident("posting").gt(lit(between.after))),
            Some(select::up_to_posting(between.up_to)),
            self.range.map(select::charged_in),
            self.tenant.as_deref().map(select::of_tenant),
            self.pool.as_deref().map(|pool| ident("pool").eq(lit(pool))),
        ];
        all_of(conditions.into_iter().flatten())
    }
}

/// The postings that lie between the two states.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Between {
    after: i64,
    up_to: i64,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    between: Between,
    offset: usize,
}

/// What changed for one consumer of a pool on a day for one cause. Money in atoms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChange {
    /// The day.
    pub charge_date: Option<Day>,
    /// The pool.
    pub pool: String,
    /// The tenant; none for a reserved consumer.
    pub tenant: Option<String>,
    /// The word of a reserved consumer.
    pub reserved: Option<String>,
    /// Whether it is an estimate beside the money.
    pub memo: bool,
    /// `cost` or `adjustment`.
    pub kind: String,
    /// Why the difference arose.
    pub cause: Option<String>,
    /// Why the consumer is a reserved word.
    pub reason: Option<String>,
    /// Whether it corrects a month that was closed.
    pub correction: bool,
    /// On whose month's statement it stands.
    pub billing_month: String,
    /// In which currency it was booked.
    pub currency: String,
    /// By how much the amount changed.
    pub amount: i128,
    /// By how much the billed amount changed.
    pub billed_amount: i128,
    /// By how much the amount in the reporting currency changed.
    pub amount_reporting: i128,
    /// How many entries say so.
    pub entries: i64,
    /// The last of the postings that say so.
    pub posting: i64,
}

/// What two states of the ledger differ by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChanges {
    /// The page's rows, by day, pool, consumer, cause and so on.
    pub rows: Vec<LedgerChange>,
    /// What all pages add up to in the reporting currency, estimates aside.
    pub amount_reporting: i128,
    /// The estimates of all pages.
    pub memo: i128,
    /// The earlier state's last posting; none for the empty ledger.
    pub after: Option<i64>,
    /// The later state's last posting.
    pub up_to: Option<i64>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
}

impl Engine {
    /// Returns what was booked between two states of the ledger, with its causes: the rows of all pages add up to the
    /// difference of what is answered `as_of` the one and `as_of` the other.
    ///
    /// # Errors
    /// For a state that does not exist, states in the wrong order, a cursor of another question, or when a store fails.
    pub async fn ledger_changes_all_tenants(&self, query: &LedgerChangesQuery) -> Result<LedgerChanges, EngineError> {
        let question = query.question();
        let place: Option<Place> = query.cursor.as_ref().map(|text| cursor::decode(&question, text)).transpose()?;
        let place = match place {
            Some(place) => place,
            None => Place { between: self.between(query).await?, offset: 0 },
        };
        let session = self.session_now().await?;
        let condition = query.condition(place.between);
        let mut found = rows_of(&session, condition.clone(), place.offset, query.limit + 1).await?;
        let more = query.limit < found.len();
        found.truncate(query.limit);
        let next = Place { offset: place.offset + found.len(), ..place };
        let [amount_reporting, memo] = totals_of(&session, condition).await?;
        let posting = |number: i64| (number > 0).then_some(number);
        Ok(LedgerChanges {
            rows: found,
            amount_reporting,
            memo,
            after: posting(place.between.after),
            up_to: posting(place.between.up_to),
            next_cursor: more.then(|| cursor::encode(&question, &next)),
        })
    }

    async fn between(&self, query: &LedgerChangesQuery) -> Result<Between, EngineError> {
        let after = self.head(Some(&query.from_booked)).await?.number();
        let up_to = self.head(query.to_booked.as_ref()).await?.number();
        if up_to < after {
            let detail = "`to_booked` lies before `from_booked`; exchange them";
            return Err(EngineError::parameter("to_booked", detail));
        }
        Ok(Between { after, up_to })
    }
}

/// What rows are told apart by, in their order.
fn keys() -> Vec<Expr> {
    let plain = ["memo", "kind", "cause", "reason", "charge_class", "billing_month", "currency"].map(ident);
    let consumer = [ident("charge_date"), ident("pool"), ident("tenant"), select::reserved_word().alias("reserved")];
    consumer.into_iter().chain(plain).collect()
}

async fn rows_of(
    session: &SessionContext,
    condition: Expr,
    offset: usize,
    limit: usize,
) -> Result<Vec<LedgerChange>, EngineError> {
    let sums = ["amount", "billed_amount", "amount_reporting"];
    let sums = sums.into_iter().map(|column| sum(ident(column)).alias(format!("sum_{column}")));
    let told = [count(lit(1_i64)).alias("entries"), max(ident("posting")).alias("last")];
    let order = ["charge_date", "pool", "tenant", "reserved"].into_iter();
    let order = order.chain(["memo", "kind", "cause", "reason", "charge_class", "billing_month", "currency"]);
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(condition)?
        .aggregate(keys(), sums.chain(told).collect())?
        .sort(order.map(|column| ident(column).sort(true, true)).collect())?
        .limit(offset, Some(limit))?
        .collect()
        .await?;
    Ok(rows(&batches).map(|row| change_of(&row)).collect())
}

fn change_of(row: &Row<'_>) -> LedgerChange {
    let text = |index| row.text(index).map(str::to_owned);
    let plain = |index| row.text_or_empty(index).to_owned();
    LedgerChange {
        charge_date: row.day(0),
        pool: plain(1),
        tenant: text(2),
        reserved: text(3).filter(|word| !word.is_empty()),
        memo: row.is_true(4),
        kind: plain(5),
        cause: text(6),
        reason: text(7),
        correction: row.text(8).is_some(),
        billing_month: plain(9),
        currency: plain(10),
        amount: row.atoms(11),
        billed_amount: row.atoms(12),
        amount_reporting: row.atoms(13),
        entries: row.int(14).unwrap_or_default(),
        posting: row.int(15).unwrap_or_default(),
    }
}

/// The money and the estimates.
async fn totals_of(session: &SessionContext, condition: Expr) -> Result<[i128; 2], EngineError> {
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(condition)?
        .aggregate(vec![ident("memo")], vec![sum(ident("amount_reporting")).alias("total")])?
        .collect()
        .await?;
    let mut totals = [0; 2];
    for row in rows(&batches) {
        totals[usize::from(row.is_true(0))] += row.atoms(1);
    }
    Ok(totals)
}
