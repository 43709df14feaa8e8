//! That what went in is what came out: per day, pool, currency and measure.

use super::as_of::{AsOf, Head};
use super::columns::rows;
use super::history::History;
use super::params::{Params, QueryLimits};
use super::select::{self, all_of};
use super::taken::TakenDay;
use super::{cursor, entries, pool_days};
use crate::due::ranges_of;
use crate::{Engine, EngineError};
use attribution::pool::{Component, ComponentKey};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::policy::{Basis, Method, Pool, Tier};
use domain::{Currency, Day, DayRange};
use ledger::{ConsumerClass, LedgerSum, Measure, PoolDay, PoolState, ProofRow, ProofState, prove};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// Which proofs are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFilter {
    /// The days; all for none.
    pub range: Option<DayRange>,
    /// Only this pool.
    pub pool: Option<String>,
    /// Only pools and days of which this tenant has a share.
    pub tenant: Option<String>,
    /// Only pools and days that this posting touched.
    pub posting: Option<i64>,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl ProofFilter {
    /// Returns the filter of all proofs.
    #[must_use]
    pub fn all() -> Self {
        Self { range: None, pool: None, tenant: None, posting: None, as_of: None, limit: usize::MAX, cursor: None }
    }

    /// Returns the filter that the query parameters of a request ask for.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter or a value that is none.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let filter = Self {
            range: entries::days(&mut params, limits)?,
            pool: params.text("pool"),
            tenant: params.text("tenant"),
            posting: params.parsed("posting")?,
            as_of: params.parsed("as_of")?,
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        Ok(filter)
    }
}

/// The proof and its totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofAnswer {
    /// The rows of this page, by day, pool, currency, memo and measure.
    pub rows: Vec<ProofRow>,
    /// Totals over all pages.
    pub totals: Vec<ProofTotal>,
    /// The last posting that counts.
    pub posting: Option<i64>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
}

/// What the rows of a currency, measure and memo add up to, in atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofTotal {
    /// The currency.
    pub currency: Currency,
    /// The measure.
    pub measure: Measure,
    /// Whether these are estimates beside the money.
    pub memo: bool,
    /// What went in.
    pub amount_in: i128,
    /// What came out, reserved consumers included.
    pub amount_out: i128,
    /// In less out: 0.
    pub difference: i128,
    /// Rows that are proved.
    pub proved: usize,
    /// Rows of pools that could not be run.
    pub not_run: usize,
    /// Rows that do not add up.
    pub failed: usize,
}

/// Where a page begins, and the posting that all pages show.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    head: i64,
    offset: usize,
}

impl Engine {
    /// Returns the proof of what the filter asks for: every difference is 0.
    ///
    /// # Errors
    /// For a cursor of another list, or when a store fails.
    pub async fn proof_all_tenants(&self, filter: &ProofFilter) -> Result<ProofAnswer, EngineError> {
        let question = format!("proof {:?}", ProofFilter { limit: 0, cursor: None, ..filter.clone() });
        let place: Option<Place> = filter.cursor.as_ref().map(|text| cursor::decode(&question, text)).transpose()?;
        let as_of = place.map(|place| AsOf::Posting(place.head)).or(filter.as_of);
        let head = Head { is_now: filter.as_of.is_none(), ..self.head(as_of.as_ref()).await? };
        let session = self.session_now().await?;
        let history = self.history_all_tenants(&head, filter.range).await?;
        let mut put_in = pool_days::that_count(&session, &history, filter.range, filter.pool.as_deref()).await?;
        self.show_not_run(&session, &mut put_in, &history, filter).await?;
        let sums = ledger_sums(&session, &head, filter).await?;
        let mut found = prove(&put_in, &sums);
        if let Some(wanted) = touched(&session, &head, filter).await? {
            found.retain(|row| wanted.contains(&(row.charge_date, row.pool.to_string())));
        }
        let totals = totals(&found);
        let (count, offset) = (found.len(), place.map_or(0, |place| place.offset));
        let rows: Vec<ProofRow> = found.into_iter().skip(offset).take(filter.limit).collect();
        let end = offset + rows.len();
        let next_cursor = (end < count).then(|| cursor::encode(&question, &Place { head: head.number(), offset: end }));
        Ok(ProofAnswer { rows, totals, posting: head.posting, next_cursor })
    }

    /// A pool that could not be run is shown as such, with the lines that it would take now: its run may have had
    /// nothing to post, and then no pool day tells.
    async fn show_not_run(
        &self,
        session: &SessionContext,
        put_in: &mut Vec<PoolDay>,
        history: &History,
        filter: &ProofFilter,
    ) -> Result<(), EngineError> {
        let is_wanted = |pool: &str| filter.pool.as_ref().is_none_or(|wanted| wanted == pool);
        let not_run: Vec<(Day, &str, &str)> = history.not_run().filter(|(_, pool, _)| is_wanted(pool)).collect();
        let days: BTreeSet<Day> = not_run.iter().map(|(day, ..)| *day).collect();
        let books = self.books_now().await?;
        for range in ranges_of(days, self.settings.range_days_max) {
            let taken = self.taken_in(session, &books, range).await?;
            for (day, pool, reason) in not_run.iter().filter(|(day, ..)| range.contains(*day)) {
                let blank = PoolDay {
                    state: PoolState::NotRun((*reason).into()),
                    ..nothing(*day, pool, self.settings.reporting_currency)
                };
                put_not_run(put_in, blank, &taken[day]);
            }
        }
        Ok(())
    }
}

/// Replaces what an earlier run put into the pool by what it would take now. The earlier rows stay, with nothing in
/// them, so that entries in their currency are told to be of a pool that was not run.
fn put_not_run(put_in: &mut Vec<PoolDay>, blank: PoolDay, taken: &TakenDay) {
    let pool = taken.pool(&blank.pool);
    let blank = pool.map_or(blank.clone(), |pool| as_ruled(blank, pool));
    let components = taken.components_of(&blank.pool);
    let earlier = put_in.iter_mut().filter(|row| row.charge_date == blank.charge_date && row.pool == blank.pool);
    let mut has_rows = !components.is_empty();
    for row in earlier {
        has_rows = true;
        row.state = blank.state.clone();
        if !blank.memo {
            (row.amount, row.billed_amount) = (0, 0);
        }
    }
    put_in.extend(components.into_iter().map(|(key, component)| put_now(&blank, key, component)));
    if !has_rows {
        put_in.push(blank);
    }
}

fn as_ruled(blank: PoolDay, pool: &Pool) -> PoolDay {
    PoolDay { tier: pool.tier, basis: pool.basis(), memo: pool.is_memo(), method: pool.method(), ..blank }
}

fn put_now(blank: &PoolDay, key: &ComponentKey, component: &Component) -> PoolDay {
    PoolDay {
        charge_category: key.charge_category.clone(),
        service: key.service.clone(),
        provider: key.provider.clone(),
        source: key.source.clone(),
        commitment_status: key.commitment_status.clone(),
        invoice_id: key.invoice_id.clone(),
        amount: component.amounts.amount,
        billed_amount: component.amounts.billed,
        currency: key.currency,
        lines: i64::try_from(component.lines).unwrap_or(i64::MAX),
        ..blank.clone()
    }
}

fn nothing(charge_date: Day, pool: &str, currency: Currency) -> PoolDay {
    PoolDay {
        run: "".into(),
        charge_date,
        pool: pool.into(),
        tier: Tier::Direct,
        basis: Basis::Billed,
        memo: false,
        method: Method::None,
        state: PoolState::Run,
        charge_category: None,
        service: None,
        provider: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        amount: 0,
        billed_amount: 0,
        currency,
        amount_reporting: None,
        fx_rate: None,
        fx_date: None,
        lines: 0,
        inputs: "{}".into(),
    }
}

/// Entries that runs posted: adjustments cancel out and belong to no pool.
fn posted(head: &Head, filter: &ProofFilter) -> Expr {
    let of_pool = filter.pool.as_ref().map(|pool| ident("pool").eq(lit(pool.as_str())));
    let fixed = [ident("kind").eq(lit("cost")), select::up_to_posting(head.number())];
    all_of(fixed.into_iter().chain(filter.range.map(select::charged_in)).chain(of_pool))
}

async fn ledger_sums(
    session: &SessionContext,
    head: &Head,
    filter: &ProofFilter,
) -> Result<Vec<LedgerSum>, EngineError> {
    let key = || vec![ident("charge_date"), ident("pool"), ident("currency"), ident("memo")];
    let frame = session.table(Table::Ledger.name()).await?.filter(posted(head, filter))?;
    let by_posting = frame.clone().aggregate([key(), vec![ident("posting")]].concat(), vec![])?.collect().await?;
    let mut postings: BTreeMap<(Day, String, Currency, bool), BTreeSet<i64>> = BTreeMap::new();
    for row in rows(&by_posting) {
        postings.entry(sum_key(&row)?).or_default().extend(row.int(4));
    }
    let by_class = frame
        .aggregate(
            [key(), vec![select::reserved_word().alias("word")]].concat(),
            vec![sum(ident("amount")).alias("amount"), sum(ident("billed_amount")).alias("billed_amount")],
        )?
        .collect()
        .await?;
    let to_sum = |row: super::columns::Row<'_>| {
        let key = sum_key(&row)?;
        let postings = postings.get(&key).cloned().unwrap_or_default();
        let (charge_date, pool, currency, memo) = key;
        Ok(LedgerSum {
            charge_date,
            pool: pool.into(),
            currency,
            memo,
            class: ConsumerClass::of(row.text_or_empty(4)),
            amount: row.atoms(5),
            billed_amount: row.atoms(6),
            postings,
        })
    };
    rows(&by_class).map(to_sum).collect()
}

fn sum_key(row: &super::columns::Row<'_>) -> Result<(Day, String, Currency, bool), EngineError> {
    let corrupt =
        |what: &str| EngineError::Corrupt { what: what.to_owned(), detail: "a run's entry lacks it".to_owned() };
    let day = row.day(0).ok_or_else(|| corrupt("charge_date of an entry"))?;
    let currency = row.text_or_empty(2).parse().map_err(|_| corrupt("currency of an entry"))?;
    Ok((day, row.text_or_empty(1).to_owned(), currency, row.is_true(3)))
}

/// The days and pools of the tenant's entries and of the posting, if the filter names one.
async fn touched(
    session: &SessionContext,
    head: &Head,
    filter: &ProofFilter,
) -> Result<Option<BTreeSet<(Day, String)>>, EngineError> {
    if filter.tenant.is_none() && filter.posting.is_none() {
        return Ok(None);
    }
    let of_tenant = filter.tenant.as_ref().map(|tenant| ident("tenant").eq(lit(tenant.as_str())));
    let of_posting = filter.posting.map(|posting| ident("posting").eq(lit(posting)));
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of([posted(head, filter)].into_iter().chain(of_tenant).chain(of_posting)))?
        .aggregate(vec![ident("charge_date"), ident("pool")], vec![])?
        .collect()
        .await?;
    Ok(Some(rows(&batches).filter_map(|row| Some((row.day(0)?, row.text(1)?.to_owned()))).collect()))
}

fn totals(rows: &[ProofRow]) -> Vec<ProofTotal> {
    let mut totals: BTreeMap<(Currency, bool, Measure), ProofTotal> = BTreeMap::new();
    for row in rows {
        let total = totals.entry((row.currency, row.memo, row.measure)).or_insert(ProofTotal {
            currency: row.currency,
            measure: row.measure,
            memo: row.memo,
            amount_in: 0,
            amount_out: 0,
            difference: 0,
            proved: 0,
            not_run: 0,
            failed: 0,
        });
        total.amount_in += row.amount_in;
        total.amount_out += row.amount_in - row.difference;
        total.difference += row.difference;
        match row.state {
            ProofState::Proved => total.proved += 1,
            ProofState::NotRun => total.not_run += 1,
            ProofState::Failed => total.failed += 1,
        }
    }
    totals.into_values().collect()
}
