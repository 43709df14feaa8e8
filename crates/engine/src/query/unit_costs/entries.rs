//! Sums of ledger entries, as unit costs distinguish them.

use super::{Unit, UnitCostMode, UnitCostQuery, UnitKey};
use crate::EngineError;
use crate::query::columns::rows;
use crate::query::restated::{RestatedDay, restated_days};
use crate::query::select::{self, all_of};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::{Day, DayRange, TenantScope};
use std::sync::Arc;
use storage::lake::Table;

/// Category of an entry that names none.
const OTHER: &str = "other";
/// What sums are grouped by; sums of days have the day after these.
const COLUMNS: [&str; 8] = ["tenant", "workflow", "repo", "task_class", "tier", "status", "memo", "category"];

/// What entries of tier direct or amortized add up to that have all of this in common.
#[derive(Clone, Debug)]
pub(super) struct EntrySum {
    /// The day; none in sums over a life-time.
    pub day: Option<Day>,
    /// The workflow, if the entries have one.
    pub unit: Option<Unit>,
    /// The entries' own repo.
    pub repo: Option<Arc<str>>,
    /// The entries' own task class.
    pub task_class: Option<Arc<str>>,
    /// Of tier amortized; otherwise direct.
    pub is_amortized: bool,
    /// Of status pending.
    pub is_pending: bool,
    /// An estimate that recovers no bill.
    pub is_memo: bool,
    /// Category of meter or service.
    pub category: Arc<str>,
    /// The sum, in atoms of the reporting currency.
    pub atoms: i128,
}

/// The ledger that is asked, and for whom.
pub(super) struct Scan<'a> {
    /// The pinned tables.
    pub session: &'a SessionContext,
    /// Whose entries count.
    pub scope: &'a TenantScope,
    /// The last posting that counts.
    pub posting: i64,
}

impl Scan<'_> {
    fn base(&self, days: Option<DayRange>) -> impl Iterator<Item = Expr> {
        [select::of_cost(), select::up_to_posting(self.posting)]
            .into_iter()
            .chain(days.map(select::charged_in))
            .chain(select::in_scope(self.scope))
    }

    /// Returns the sums of each day of the range.
    pub(super) async fn by_day(&self, range: DayRange) -> Result<Vec<EntrySum>, EngineError> {
        self.sums(Some(range), lit(true)).await
    }

    /// Returns the sums over the life-time of every workflow.
    pub(super) async fn life_time(&self) -> Result<Vec<EntrySum>, EngineError> {
        self.sums(None, ident("workflow").is_not_null()).await
    }

    async fn sums(&self, days: Option<DayRange>, more: Expr) -> Result<Vec<EntrySum>, EngineError> {
        let tiers = ident("tier").in_list(vec![lit("direct"), lit("amortized")], false);
        let grouped: Vec<&str> = COLUMNS.into_iter().chain(days.map(|_| "charge_date")).collect();
        let total = grouped.len();
        let batches = self
            .session
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(self.base(days).chain([tiers, more])))?
            .aggregate(grouped.into_iter().map(ident).collect(), vec![sum(ident("amount_reporting")).alias("total")])?
            .collect()
            .await?;
        let sums = rows(&batches).map(|row| EntrySum {
            day: days.and_then(|_| row.day(COLUMNS.len())),
            unit: row.text(0).zip(row.text(1)).map(|(tenant, workflow)| Unit::new(tenant, workflow)),
            repo: row.text(2).map(Into::into),
            task_class: row.text(3).map(Into::into),
            is_amortized: row.text_or_empty(4) == "amortized",
            is_pending: row.text_or_empty(5) == "pending",
            is_memo: row.is_true(6),
            category: row.text(7).filter(|category| !category.is_empty()).unwrap_or(OTHER).into(),
            atoms: row.atoms(total),
        });
        Ok(sums.collect())
    }

    /// Returns the days of the range on which the cost of rows was corrected after it was posted.
    pub(super) async fn restated(&self, query: &UnitCostQuery) -> Result<Vec<RestatedDay>, EngineError> {
        let tiers = match query.mode {
            UnitCostMode::WorkflowLocal => vec![lit("direct")],
            UnitCostMode::Tiered | UnitCostMode::Marginal => vec![lit("direct"), lit("amortized")],
        };
        // An entry that names what rows are of is of a row also without a workflow.
        let workflow = ident("workflow").is_not_null();
        let of_row = match query.by {
            UnitKey::Workflow => workflow,
            UnitKey::Repo => workflow.or(ident("repo").is_not_null()),
            UnitKey::TaskClass => workflow.or(ident("task_class").is_not_null()),
        };
        let counted = ident("tier").in_list(tiers, false);
        restated_days(self.session, all_of(self.base(Some(query.range)).chain([counted, of_row]))).await
    }

    /// Returns what the tier overhead cost in the range, estimates aside, as `/overhead` totals it.
    pub(super) async fn overhead(&self, range: DayRange) -> Result<i128, EngineError> {
        let money = Expr::IsNotTrue(Box::new(ident("memo")));
        let batches = self
            .session
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(self.base(Some(range)).chain([money, ident("tier").eq(lit("overhead"))])))?
            .aggregate(vec![], vec![sum(ident("amount_reporting")).alias("total")])?
            .collect()
            .await?;
        Ok(rows(&batches).map(|row| row.atoms(0)).sum())
    }
}
