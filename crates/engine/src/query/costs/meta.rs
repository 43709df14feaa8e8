//! What the answer says about itself: days, state, versions, conservation, coverage.

use super::super::columns::rows;
use super::super::cost_query::{Clock, Granularity};
use super::super::coverage::{Coverage, CoverageAmounts, CoverageKind};
use super::super::restated::RestatedDay;
use super::super::select::{self, all_of};
use super::super::{View, pool_days};
use super::compared::Compared;
use super::current::CurrentRates;
use super::scan::Scan;
use crate::books::Books;
use crate::due::ranges_of;
use crate::periods::SourcePeriod;
use crate::{Engine, EngineError};
use attribution::fx::convert_half_even;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::when;
use datafusion::prelude::{SessionContext, ident, lit};
use domain::{Currency, Day, DayRange, TenantScope};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// What went into the pools of the range, and what the ledger lacks of it: nothing.
///
/// Always of all entries charged in the range, whatever the question filters, in its measure and currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conservation {
    /// What went into pools, in atoms. When no state is asked for: of days whose lines changed since their last run,
    /// or of which a pool could not be run, the lines themselves.
    pub cost_lines: i128,
    /// Less what the ledger holds.
    pub difference: i128,
    /// Σ of the lines that have no rate into the currency of the answer, in atoms of their own; not in `cost_lines`.
    pub unconverted: BTreeMap<Currency, i128>,
}

/// What an answer says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostMeta {
    /// The days that were selected.
    pub range: DayRange,
    /// The organisation's zone.
    pub timezone: String,
    /// Currency of every amount.
    pub currency: Currency,
    /// Where the amounts come from.
    pub view: View,
    /// The state that was asked for, as it was written.
    pub as_of: Option<String>,
    /// Last day of the range that has entries.
    pub data_through: Option<Day>,
    /// Days of the range that have pending entries.
    pub pending_days: usize,
    /// Versions of the policies that the entries name.
    pub policy_versions: Vec<String>,
    /// None for a caller who sees some tenants only.
    pub conservation: Option<Conservation>,
    /// None for a caller who sees some tenants only.
    pub coverage: Option<Coverage>,
    /// The last posting that counts; `as_of=posting:<it>` repeats what postings tell, that is, the answer without what
    /// no run has seen.
    pub posting: Option<i64>,
    /// Hash of that posting; none for a caller who sees some tenants only.
    pub ledger_head: Option<String>,
    /// Billing periods of the range that are open at their provider: amounts of their lines are estimates. None in a state
    /// that is asked for, which says the same for ever.
    pub estimated: Vec<SourcePeriod>,
    /// The days that rows are compared by; none without a comparison, or when no day is complete and final.
    pub compared: Option<Compared>,
    /// Days that were corrected after they were posted, by day; of posted answers with a series only.
    pub restated: Vec<RestatedDay>,
    /// Usage without a price; only current rates have any.
    pub unpriced_metrics: Vec<String>,
    /// The card, and what the ledger says of the same days; at current rates only.
    pub current: Option<CurrentRates>,
}

/// What the entries of a range say, unfiltered but for the scope.
#[derive(Default)]
struct Gathered {
    data_through: Option<Day>,
    pending_days: BTreeSet<Day>,
    policy_versions: BTreeSet<String>,
    coverage: CoverageAmounts,
}

impl Engine {
    pub(super) async fn cost_meta(
        &self,
        session: &SessionContext,
        scan: &Scan<'_>,
        days: DayRange,
    ) -> Result<CostMeta, EngineError> {
        let gathered = gather(session, scan, scan.query.clock, days).await?;
        let is_full = *scan.scope == TenantScope::All;
        let conservation = match is_full {
            true => Some(self.conservation(session, scan, days, &gathered).await?),
            false => None,
        };
        let restated = match scan.query.granularity {
            Granularity::None => Vec::new(),
            Granularity::Day | Granularity::Week | Granularity::Month => scan.restated(session, days).await?,
        };
        Ok(CostMeta {
            range: days,
            timezone: self.settings.zone.name().to_owned(),
            currency: scan.summed.shown,
            view: scan.query.view,
            as_of: scan.query.as_of.map(|as_of| as_of.to_string()),
            data_through: gathered.data_through,
            pending_days: gathered.pending_days.len(),
            policy_versions: gathered.policy_versions.into_iter().collect(),
            conservation,
            coverage: is_full.then(|| gathered.coverage.shares()),
            posting: scan.head.posting,
            ledger_head: scan.head.hash.clone().filter(|_| is_full),
            estimated: Vec::new(),
            compared: None,
            restated,
            unpriced_metrics: Vec::new(),
            current: None,
        })
    }

    async fn conservation(
        &self,
        session: &SessionContext,
        scan: &Scan<'_>,
        days: DayRange,
        gathered: &Gathered,
    ) -> Result<Conservation, EngineError> {
        // Pools have no billing month: what went in is compared by the day it arose, whatever the clock.
        let booked = match scan.query.clock {
            Clock::Charged => gathered.coverage.total(),
            Clock::Billed => gather(session, scan, Clock::Charged, days).await?.coverage.total(),
        };
        let history = self.history_all_tenants(scan.head, Some(days)).await?;
        let summed = scan.summed;
        let total_in = |range| pool_days::total_in(session, &history, range, summed.column, summed.booked_in);
        let mut cost_lines = total_in(days).await?;
        let mut unconverted = BTreeMap::new();
        if scan.head.is_now {
            // What arrived after a day's last run, or what that run could not share out, went into no pool yet:
            // there the lines themselves are the bill.
            let mut not_posted = self.days_with_new_lines(days).await?;
            not_posted.extend(history.not_run().map(|(day, ..)| day));
            let books = self.books_now().await?;
            for range in ranges_of(not_posted, self.settings.range_days_max) {
                let lines = self.lines_in(session, scan, &books, range, &mut unconverted).await?;
                cost_lines += lines - total_in(range).await?;
            }
            unconverted.retain(|_, atoms| *atoms != 0);
        }
        Ok(Conservation { cost_lines, difference: cost_lines - booked, unconverted })
    }

    /// Σ of the cost lines of the days in the measure and currency of the question, each by the metric of the pool
    /// that takes it, converted as a run converts them. What has no rate is added to `unconverted`.
    async fn lines_in(
        &self,
        session: &SessionContext,
        scan: &Scan<'_>,
        books: &Books,
        range: DayRange,
        unconverted: &mut BTreeMap<Currency, i128>,
    ) -> Result<i128, EngineError> {
        let mut total = 0;
        let in_scope = |currency| scan.summed.booked_in.is_none_or(|booked_in| booked_in == currency);
        for (day, taken) in self.taken_in(session, books, range).await? {
            for (key, component) in taken.components().filter(|(key, _)| in_scope(key.currency)) {
                let amounts = component.amounts;
                let cost = if scan.summed.column == "billed_amount" { amounts.billed } else { amounts.amount };
                let shown = scan.summed.shown;
                let converted = match key.currency == shown {
                    true => Some(cost),
                    false => {
                        books.fx.rate(key.currency, shown, day).and_then(|rate| convert_half_even(cost, rate.rate))
                    }
                };
                match converted {
                    Some(converted) => total += converted,
                    None => *unconverted.entry(key.currency).or_default() += cost,
                }
            }
        }
        Ok(total)
    }
}

async fn gather(
    session: &SessionContext,
    scan: &Scan<'_>,
    clock: Clock,
    days: DayRange,
) -> Result<Gathered, EngineError> {
    let pending = when(ident("status").eq(lit("pending")), ident("charge_date")).end()?;
    let grouped = vec![
        select::reserved_word().alias("word"),
        ident("method"),
        ident("memo"),
        ident("policy_version"),
        pending.alias("pending_day"),
    ];
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of(scan.base().into_iter().chain([select::selected_by(clock, days)])))?
        .aggregate(
            grouped,
            vec![sum(ident(scan.summed.column)).alias("total"), max(ident("charge_date")).alias("last")],
        )?
        .collect()
        .await?;
    let mut gathered = Gathered::default();
    for row in rows(&batches) {
        gathered.data_through = gathered.data_through.max(row.day(6));
        gathered.policy_versions.extend(row.text(3).map(str::to_owned));
        let (word, method, atoms) = (row.text_or_empty(0), row.text_or_empty(1), row.atoms(5));
        if !row.is_true(2) {
            gathered.coverage.add(CoverageKind::of(word, method), atoms);
        }
        gathered.pending_days.extend(row.day(4).filter(|_| atoms != 0));
    }
    Ok(gathered)
}
