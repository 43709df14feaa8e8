//! What went into the pools, as far as it counts in the state that is asked.

use super::columns::rows;
use super::history::History;
use super::select::{all_of, charged_in};
use crate::EngineError;
use arrow::array::RecordBatch;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::{Currency, Day, DayRange};
use ledger::{PoolDay, PoolState};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::{Table, pool_day_rows};

/// Most runs that are named in a query; beyond it, rows that do not count are left out afterwards only.
const RUNS_NAMED_MAX: usize = 500;

/// The rows of `pool_days` that can count: those of the range, if there is one, by runs that posted.
fn that_can_count(history: &History, range: Option<DayRange>) -> Expr {
    let runs = history.runs();
    let named =
        (runs.len() <= RUNS_NAMED_MAX).then(|| ident("run").in_list(runs.into_iter().map(lit).collect(), false));
    all_of(range.map(charged_in).into_iter().chain(named))
}

/// Returns Σ `column` over everything but estimates that went into pools in the range, in atoms.
///
/// # Errors
/// When the query fails.
pub(crate) async fn total_in(
    session: &SessionContext,
    history: &History,
    range: DayRange,
    column: &str,
    currency: Option<Currency>,
) -> Result<i128, EngineError> {
    let batches = sums_of(session, history, range, column, currency, None).await?;
    let mut by_pool: BTreeMap<(Day, &str), PoolRuns<'_>> = BTreeMap::new();
    for row in rows(&batches) {
        let Some(day) = row.day(0) else { continue };
        let runs = by_pool.entry((day, row.text_or_empty(1))).or_default();
        runs.note(row.text_or_empty(2), row.text_or_empty(3) == RUN);
        *runs.totals.entry(row.text_or_empty(2)).or_default() += row.atoms(4);
    }
    let counted = by_pool.iter().filter_map(|((day, _), runs)| runs.totals.get(runs.counted(history, *day)?));
    Ok(counted.sum())
}

/// Returns Σ `column` over everything but estimates that went into pools in the range, by day, pool and the provider that
/// the pool keeps, in atoms.
///
/// # Errors
/// When the query fails.
pub(crate) async fn by_provider_in(
    session: &SessionContext,
    history: &History,
    range: DayRange,
    column: &str,
    currency: Option<Currency>,
) -> Result<BTreeMap<(Day, String, Option<String>), i128>, EngineError> {
    let batches = sums_of(session, history, range, column, currency, Some("provider")).await?;
    let mut by_pool: BTreeMap<(Day, &str), PoolRuns<'_>> = BTreeMap::new();
    for row in rows(&batches) {
        let Some(day) = row.day(0) else { continue };
        let runs = by_pool.entry((day, row.text_or_empty(1))).or_default();
        runs.note(row.text_or_empty(2), row.text_or_empty(3) == RUN);
    }
    let mut found: BTreeMap<(Day, String, Option<String>), i128> = BTreeMap::new();
    for row in rows(&batches) {
        let Some(day) = row.day(0) else { continue };
        let (pool, run) = (row.text_or_empty(1), row.text_or_empty(2));
        let counted = by_pool.get(&(day, pool)).and_then(|runs| runs.counted(history, day));
        if counted == Some(run) {
            *found.entry((day, pool.to_owned(), row.text(4).map(str::to_owned))).or_default() += row.atoms(5);
        }
    }
    Ok(found)
}

/// Σ `column` by day, pool, run, state and, if there is one, another column; the sum is the last column.
async fn sums_of(
    session: &SessionContext,
    history: &History,
    range: DayRange,
    column: &str,
    currency: Option<Currency>,
    more: Option<&str>,
) -> Result<Vec<RecordBatch>, EngineError> {
    if history.runs().is_empty() {
        return Ok(Vec::new());
    }
    let booked_in = currency.map(|currency| ident("currency").eq(lit(currency.code())));
    let money = Expr::IsNotTrue(Box::new(ident("memo")));
    let keys = ["charge_date", "pool", "run", "state"].into_iter().chain(more).map(ident).collect();
    let frame = session
        .table(Table::PoolDays.name())
        .await?
        .filter(all_of([that_can_count(history, Some(range)), money].into_iter().chain(booked_in)))?
        .aggregate(keys, vec![sum(ident(column)).alias("total")])?;
    Ok(frame.collect().await?)
}

/// The state of a pool that was run.
const RUN: &str = "run";

/// What the runs of one day say about one pool.
#[derive(Default)]
struct PoolRuns<'a> {
    ran: BTreeSet<&'a str>,
    not_run: BTreeSet<&'a str>,
    totals: BTreeMap<&'a str, i128>,
}

impl<'a> PoolRuns<'a> {
    fn note(&mut self, run: &'a str, ran: bool) {
        if ran {
            self.ran.insert(run)
        } else {
            self.not_run.insert(run)
        };
    }

    fn counted<'h>(&self, history: &'h History, day: Day) -> Option<&'h str> {
        history.counted(day, &self.ran, &self.not_run)
    }
}

/// Returns what went into pools in the range, as far as it counts; of one pool only, if one is named.
///
/// # Errors
/// When the query fails or a row is damaged.
pub(crate) async fn that_count(
    session: &SessionContext,
    history: &History,
    range: Option<DayRange>,
    pool: Option<&str>,
) -> Result<Vec<PoolDay>, EngineError> {
    if history.runs().is_empty() {
        return Ok(Vec::new());
    }
    let of_pool = pool.map(|pool| ident("pool").eq(lit(pool)));
    let frame = session
        .table(Table::PoolDays.name())
        .await?
        .filter(all_of([that_can_count(history, range)].into_iter().chain(of_pool)))?;
    let mut found = Vec::new();
    for batch in frame.collect().await? {
        found.extend(pool_day_rows::from_batch(&batch)?);
    }
    let mut by_pool: BTreeMap<(Day, &str), PoolRuns<'_>> = BTreeMap::new();
    for row in &found {
        by_pool.entry((row.charge_date, &row.pool)).or_default().note(&row.run, row.state == PoolState::Run);
    }
    let counts = |row: &PoolDay| {
        let runs = &by_pool[&(row.charge_date, &*row.pool)];
        runs.counted(history, row.charge_date) == Some(&*row.run)
    };
    Ok(found.iter().filter(|row| counts(row)).cloned().collect())
}
