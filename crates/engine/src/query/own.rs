use super::columns::rows;
use super::select;
use crate::{Engine, EngineError};
use datafusion::prelude::{Expr, ident, lit};
use domain::{Day, DayRange, TenantScope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::{LakeTable, PinnedTable};

impl Engine {
    /// Returns the condition that rows of these days are of tenants in the scope, and of the tenant asked for; none when
    /// no row is. `date` is the table's column of days.
    ///
    /// Rows hold the incoming value. Whom it stands for depends on the day, so the values of the days are resolved
    /// first, as everywhere, and those that lead to the right tenants are looked for.
    ///
    /// # Errors
    /// When catalog or lake fail.
    pub(super) async fn own_rows(
        &self,
        pinned: &PinnedTable,
        date: &'static str,
        range: DayRange,
        scope: &TenantScope,
        tenant: Option<&str>,
    ) -> Result<Option<Expr>, EngineError> {
        if *scope == TenantScope::All && tenant.is_none() {
            return Ok(Some(lit(true)));
        }
        let books = self.books_now().await?;
        let values = self
            .empty_session()?
            .read_table(Arc::new(LakeTable::new(pinned)))?
            .filter(ident(date).gt_eq(select::day(range.from())).and(ident(date).lt_eq(select::day(range.to()))))?
            .aggregate(vec![ident(date), ident("tenant")], vec![])?
            .collect()
            .await?;
        let mut by_day: BTreeMap<Day, BTreeSet<&str>> = BTreeMap::new();
        for row in rows(&values) {
            let (Some(day), Some(value)) = (row.day(0), row.text(1)) else { continue };
            let resolved = books.tenants.resolve(value, day);
            if scope.allows(&resolved) && tenant.is_none_or(|tenant| *tenant == *resolved) {
                by_day.entry(day).or_default().insert(value);
            }
        }
        // Most days have the same values: they share a condition.
        let mut by_values: BTreeMap<BTreeSet<&str>, Vec<Expr>> = BTreeMap::new();
        for (day, values) in by_day {
            by_values.entry(values).or_default().push(select::day(day));
        }
        let condition = |(values, days): (BTreeSet<&str>, Vec<Expr>)| {
            let values = values.into_iter().map(lit).collect();
            ident(date).in_list(days, false).and(ident("tenant").in_list(values, false))
        };
        Ok(by_values.into_iter().map(condition).reduce(Expr::or))
    }
}
