//! Unit costs: what a merged pull request and a completed workflow cost, by workflow, repo or task class.
//!
//! Costs are entries of the ledger, outcomes are stored events. Nothing is posted. Overhead stands beside, and is divided
//! only in the mode that says so.

use super::as_of::{AsOf, Head};
use super::cursor;
use super::restated::RestatedDay;
use crate::{Engine, EngineError};
use attribution::exact::multiply_divide_half_even;
use domain::policy::CapPer;
use domain::{Currency, Day, DayRange, TenantScope};
use entries::Scan;
use outcomes::Reading;
use pins::Pins;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of each cap is used.
mod caps;
/// Sums of ledger entries.
mod entries;
/// Adding up by row.
mod fold;
/// What came of workflows.
mod outcomes;
/// What pages have in common.
mod pins;
/// What can be asked.
mod question;

pub use caps::UnitCap;
pub use question::{Cohort, UnitCostMode, UnitCostQuery, UnitCostSort, UnitCostSortKey, UnitKey};

/// A workflow of a tenant: two tenants may use the same id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Unit {
    tenant: Arc<str>,
    workflow: Arc<str>,
}

impl Unit {
    fn new(tenant: impl Into<Arc<str>>, workflow: &str) -> Self {
        Self { tenant: tenant.into(), workflow: workflow.into() }
    }
}

/// Cost and what came of it. Amounts in atoms of the reporting currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitSums {
    /// The cost that ratios divide: of the tiers that the mode counts, estimates included.
    pub cost: i128,
    /// Of tier direct.
    pub direct: i128,
    /// Of tier amortized, also where the mode does not count it.
    pub amortized: i128,
    /// Merged pull requests.
    pub n: u64,
    /// Completed workflows.
    pub completed: u64,
    /// The counted cost by category of meter or service, without divided overhead.
    pub by_category: BTreeMap<Arc<str>, i128>,
}

impl UnitSums {
    /// Returns the cost per merged pull request, rounded half-even to an atom; none without one.
    #[must_use]
    pub fn cost_per_merged_pr(&self) -> Option<i128> {
        per(self.cost, self.n)
    }

    /// Returns the cost per completed workflow, rounded half-even to an atom; none without one.
    #[must_use]
    pub fn cost_per_completed_workflow(&self) -> Option<i128> {
        per(self.cost, self.completed)
    }
}

fn per(cost: i128, count: u64) -> Option<i128> {
    if count == 0 { None } else { multiply_divide_half_even(cost, 1, i128::from(count)) }
}

/// Everything that a row and the totals show. Amounts in atoms of the reporting currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFigures {
    /// Cost and outcomes.
    pub sums: UnitSums,
    /// Overhead that the mode `marginal` adds to the cost; 0 in other modes.
    pub overhead_share: i128,
    /// Part of the cost whose window is still open.
    pub pending: i128,
    /// Part of the cost that is an estimate which recovers no bill.
    pub memo_cost: i128,
    /// Cost in the range of workflows that failed by its end.
    pub failed_cost: i128,
    /// Cost in the range of workflows of which nothing came by its end.
    pub in_progress_cost: i128,
    /// Workflows with cost in the range that failed by its end.
    pub failed: u64,
    /// Workflows with cost in the range of which nothing came by its end.
    pub in_progress: u64,
}

impl UnitFigures {
    /// Returns the pending part of the cost in millionths, rounded half-even; none when the cost is not positive.
    #[must_use]
    pub fn pending_share(&self) -> Option<i64> {
        part_of(self.pending, self.sums.cost)
    }
}

/// Returns the part in millionths of a positive whole, rounded half-even.
fn part_of(part: i128, whole: i128) -> Option<i64> {
    if whole <= 0 {
        return None;
    }
    multiply_divide_half_even(part, i128::from(super::shares::WHOLE), whole)?.try_into().ok()
}

/// The unit costs of one workflow, repo or task class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitCostRow {
    /// The value; empty for workflows of which nobody knows it.
    pub key: Arc<str>,
    /// Its figures.
    pub figures: UnitFigures,
    /// Every week of the range by its Monday, without divided overhead. With cohort `merged`, the weeks in which the last
    /// pull request of each workflow was merged.
    pub series: Vec<(Day, UnitSums)>,
}

/// What stands beside the rows. Amounts in atoms of the reporting currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitCostTotals {
    /// Σ of the rows of all pages.
    pub figures: UnitFigures,
    /// The overhead of the range.
    pub overhead: i128,
    /// Cost in the range, of the tiers that the mode counts, that is of no row: it names no workflow.
    pub without_workflow: i128,
    /// Pull requests merged in the range whose event names no workflow.
    pub prs_without_workflow: u64,
}

/// The answer to a [`UnitCostQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitCostTable {
    /// The rows of this page.
    pub rows: Vec<UnitCostRow>,
    /// Totals over all pages.
    pub totals: UnitCostTotals,
    /// The caps of the policy that applies on the last day.
    pub caps: Vec<UnitCap>,
    /// The days.
    pub range: DayRange,
    /// Currency of every amount: the reporting currency.
    pub currency: Currency,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
    /// Its hash; none for a caller who sees some tenants only.
    pub ledger_head: Option<String>,
    /// First day of which events are stored; nothing came of anything on the days before.
    pub events_from: Option<Day>,
    /// Days of the range on which the cost of rows was corrected after it was posted, by day. None with cohort `merged`,
    /// whose weeks are not those of the cost.
    pub restated: Vec<RestatedDay>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
}

/// Where a page begins, and the state that all pages show.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    from: i32,
    to: i32,
    posting: i64,
    /// `i64::MAX` when no state was asked for: then the version of the events says which of them count.
    recorded: i64,
    pins: Pins,
    offset: usize,
}

/// The question with the state that its cursor pins, if it has one.
struct Resumed {
    query: UnitCostQuery,
    head: Head,
    pins: Option<Pins>,
    offset: usize,
}

impl Engine {
    /// Returns the unit costs of the tenants in scope.
    ///
    /// # Units
    /// Amounts in atoms of the reporting currency; ratios are rounded half-even to an atom.
    ///
    /// # Errors
    /// For a cursor of another question or an unknown state, or when a store fails.
    ///
    /// # Source
    /// Spec 3-attribution, section 5 (unit costs).
    pub async fn unit_costs(&self, scope: &TenantScope, query: &UnitCostQuery) -> Result<UnitCostTable, EngineError> {
        let Resumed { query, head, pins, offset } = self.resume_unit_costs(scope, query).await?;
        let stores = self.unit_cost_stores(&head, query.range.to(), pins.as_ref()).await?;
        let session = self.session_now().await?;
        let reading = Reading { scope, head: &head, stores: &stores };
        let scan = Scan { session: &session, scope, posting: head.number() };

        let caps = &stores.policy(query.range.to()).content.caps;
        let month = query.range.to().month();
        let month = DayRange::new(month.first_day(), month.last_day()).expect("a month has days");
        let in_range = scan.by_day(query.range).await?;
        let in_month =
            if caps.iter().any(|cap| cap.per == CapPer::Month) { scan.by_day(month).await? } else { Vec::new() };
        let needs_life = query.cohort == Cohort::Merged || caps.iter().any(|cap| cap.per == CapPer::Workflow);
        let life = if needs_life { scan.life_time().await? } else { Vec::new() };
        let overhead = scan.overhead(query.range).await?;
        let restated = match query.cohort {
            Cohort::Period => scan.restated(&query).await?,
            Cohort::Merged => Vec::new(),
        };

        let outcomes = self.outcomes(&reading).await?;
        let since = query.range.from().min(month.from());
        let facts = self.facts(&reading, since, &outcomes, [&in_range, &in_month, &life]).await?;
        let folding = fold::Folding { query: &query, facts: &facts, outcomes: &outcomes };
        let (mut rows, totals) = folding.fold(&in_range, &life, overhead);
        sort(&query, &mut rows);

        let count = rows.len();
        let rows: Vec<UnitCostRow> = rows.into_iter().skip(offset).take(query.limit).collect();
        let end = offset.saturating_add(rows.len());
        let next_cursor = (end < count).then(|| {
            let place = Place {
                from: query.range.from().epoch_days(),
                to: query.range.to().epoch_days(),
                posting: head.number(),
                recorded: head.recorded_up_to,
                pins: stores.pins(query.range.to()),
                offset: end,
            };
            cursor::encode(&question_of(scope, &query), &place)
        });
        Ok(UnitCostTable {
            rows,
            totals,
            caps: caps::used(caps, &facts, &in_range, &in_month, &life),
            range: query.range,
            currency: self.settings.reporting_currency,
            posting: head.posting,
            ledger_head: head.hash.clone().filter(|_| *scope == TenantScope::All),
            events_from: outcomes::first_day(&stores.events),
            restated,
            next_cursor,
        })
    }

    async fn resume_unit_costs(&self, scope: &TenantScope, query: &UnitCostQuery) -> Result<Resumed, EngineError> {
        let Some(text) = &query.cursor else {
            let head = self.head(query.as_of.as_ref()).await?;
            return Ok(Resumed { query: query.clone(), head, pins: None, offset: 0 });
        };
        let place: Place = cursor::decode(&question_of(scope, query), text)?;
        let pinned = DayRange::new(Day::from_epoch_days(place.from), Day::from_epoch_days(place.to));
        // A rolling range moves on at midnight; the pages keep the days of the first one.
        let near = |range: &DayRange| {
            let moved = |a: Day, b: Day| a.epoch_days().abs_diff(b.epoch_days()) <= 1;
            moved(range.from(), query.range.from()) && moved(range.to(), query.range.to())
        };
        let range = pinned.filter(near).ok_or_else(|| {
            EngineError::parameter("cursor", "the cursor belongs to another range; leave it out to start over")
        })?;
        let mut head = self.head(Some(&AsOf::Posting(place.posting))).await?;
        head.recorded_up_to = place.recorded;
        let query = UnitCostQuery { range, ..query.clone() };
        Ok(Resumed { query, head, pins: Some(place.pins), offset: place.offset })
    }
}

/// Everything about a question that its pages must have in common, but the range.
fn question_of(scope: &TenantScope, query: &UnitCostQuery) -> String {
    let days = DayRange::single(Day::from_epoch_days(0));
    format!("unit costs {scope:?} {:?}", UnitCostQuery { range: days, limit: 0, cursor: None, ..query.clone() })
}

fn sort(query: &UnitCostQuery, rows: &mut [UnitCostRow]) {
    let value = |row: &UnitCostRow| match query.sort.key {
        UnitCostSortKey::Key => Some(0),
        UnitCostSortKey::Cost => Some(row.figures.sums.cost),
        UnitCostSortKey::N => Some(i128::from(row.figures.sums.n)),
        UnitCostSortKey::PerMergedPr => row.figures.sums.cost_per_merged_pr(),
        UnitCostSortKey::PerCompletedWorkflow => row.figures.sums.cost_per_completed_workflow(),
        UnitCostSortKey::FailedCost => Some(row.figures.failed_cost),
        UnitCostSortKey::Pending => Some(row.figures.pending),
    };
    let turned = |order: Ordering| if query.sort.descending { order.reverse() } else { order };
    rows.sort_by(|left, right| {
        let by_key = left.key.cmp(&right.key);
        if query.sort.key == UnitCostSortKey::Key {
            return turned(by_key);
        }
        let order = match (value(left), value(right)) {
            (Some(left), Some(right)) => turned(left.cmp(&right)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        order.then(by_key)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded_half_even_and_null_without_outcomes() {
        let sums = |cost, n, completed| UnitSums { cost, n, completed, ..UnitSums::default() };
        assert_eq!(sums(5, 2, 0).cost_per_merged_pr(), Some(2));
        assert_eq!(sums(7, 2, 0).cost_per_merged_pr(), Some(4));
        assert_eq!(sums(-5, 2, 3).cost_per_merged_pr(), Some(-2));
        assert_eq!(sums(-5, 2, 3).cost_per_completed_workflow(), Some(-2));
        assert_eq!(sums(5, 0, 0).cost_per_merged_pr(), None);
        assert_eq!(sums(5, 0, 0).cost_per_completed_workflow(), None);
    }

    #[test]
    fn a_share_needs_a_positive_whole() {
        assert_eq!(part_of(1, 3), Some(333_333));
        assert_eq!(part_of(-1, 4), Some(-250_000));
        assert_eq!([part_of(1, 0), part_of(1, -1), part_of(i128::MAX / 10, 1)], [None; 3]);
    }
}
