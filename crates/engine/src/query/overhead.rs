//! Costs that nobody is charged for, and the fixed costs of the range.

use super::as_of::AsOf;
use super::columns::rows;
use super::select::{self, all_of, charged_in};
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, ident, lit};
use domain::{Currency, DayRange, Instant};
use storage::lake::Table;

/// Sources of cost lines that no provider sent.
const OWN_SOURCES: [&str; 2] = ["fixed", "manual"];

/// The overhead of a range of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverheadAnswer {
    /// The days.
    pub range: DayRange,
    /// Currency of pools and total: the reporting currency.
    pub currency: Currency,
    /// What the pools of tier overhead cost, by pool and consumer.
    pub pools: Vec<OverheadPool>,
    /// Their sum in atoms.
    pub total: i128,
    /// Recurring and manual cost lines whose period touches the range.
    pub lines: Vec<FixedLine>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// Overhead of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverheadPool {
    /// The pool.
    pub pool: String,
    /// `__overhead__`, or whoever the pool names.
    pub consumer: String,
    /// Its cost in atoms.
    pub cost: i128,
}

/// A recurring or manual cost line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedLine {
    /// `fixed` or `manual`.
    pub source: String,
    /// Who is paid.
    pub provider: String,
    /// For what.
    pub service: String,
    /// Begin of the charge period.
    pub start: Option<Instant>,
    /// End of the charge period.
    pub end: Option<Instant>,
    /// The whole line's amount in atoms.
    pub amount: i128,
    /// In which currency.
    pub currency: String,
}

impl Engine {
    /// Returns what the range's overhead cost and which fixed costs it holds.
    ///
    /// # Errors
    /// For an unknown state, or when a store fails.
    pub async fn overhead_all_tenants(
        &self,
        range: DayRange,
        as_of: Option<&AsOf>,
    ) -> Result<OverheadAnswer, EngineError> {
        let head = self.head(as_of).await?;
        let session = self.session_of(&head).await?;
        let money = Expr::IsNotTrue(Box::new(ident("memo")));
        let overhead = [
            select::of_cost(),
            select::up_to_posting(head.number()),
            charged_in(range),
            money,
            ident("tier").eq(lit("overhead")),
        ];
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(overhead))?
            .aggregate(vec![ident("pool"), ident("consumer")], vec![sum(ident("amount_reporting")).alias("cost")])?
            .sort(vec![ident("pool").sort(true, true), ident("consumer").sort(true, true)])?
            .collect()
            .await?;
        let text = |row: &super::columns::Row<'_>, index| row.text_or_empty(index).to_owned();
        let pools: Vec<OverheadPool> = rows(&batches)
            .map(|row| OverheadPool { pool: text(&row, 0), consumer: text(&row, 1), cost: row.atoms(2) })
            .collect();
        let columns = [
            "source",
            "service_provider_name",
            "service_name",
            "charge_period_start",
            "charge_period_end",
            "effective_cost",
            "billing_currency",
        ];
        let batches = session
            .table(Table::CostLines.name())
            .await?
            .filter(all_of([
                ident("source").in_list(OWN_SOURCES.iter().map(|source| lit(*source)).collect(), false),
                ident("charge_date_from").lt_eq(select::day(range.to())),
                ident("charge_date_to").gt_eq(select::day(range.from())),
            ]))?
            .select(columns.map(ident))?
            .sort(columns[..4].iter().map(|column| ident(*column).sort(true, true)).collect())?
            .collect()
            .await?;
        let lines = rows(&batches)
            .map(|row| FixedLine {
                source: text(&row, 0),
                provider: text(&row, 1),
                service: text(&row, 2),
                start: row.micros(3).map(Instant::from_micros),
                end: row.micros(4).map(Instant::from_micros),
                amount: row.atoms(5),
                currency: text(&row, 6),
            })
            .collect();
        Ok(OverheadAnswer {
            range,
            currency: self.settings.reporting_currency,
            total: pools.iter().map(|pool| pool.cost).sum(),
            pools,
            lines,
            posting: head.posting,
        })
    }
}
