//! The query that DataFusion runs: entries filtered, grouped by what the answer needs, summed.

use super::super::as_of::Head;
use super::super::columns::rows;
use super::super::cost_query::{Compare, CostQuery, Granularity};
use super::super::filter::Term;
use super::super::keys::GroupKey;
use super::super::restated::{RestatedDay, restated_days};
use super::super::select::{self, all_of};
use super::Summed;
use super::fold::{Groups, Source};
use crate::EngineError;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::dimension::Dimension;
use domain::{Currency, Day, DayRange, TenantScope};
use storage::lake::Table;

/// A question and the state it is asked of.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub scope: &'a TenantScope,
    pub query: &'a CostQuery,
    pub summed: Summed,
    pub head: &'a Head,
}

/// Columns that DataFusion groups by, each once.
#[derive(Default)]
struct Grouping {
    columns: Vec<Expr>,
}

impl Grouping {
    fn push(&mut self, column: Expr) -> usize {
        let found = self.columns.iter().position(|known| *known == column);
        found.unwrap_or_else(|| {
            self.columns.push(column);
            self.columns.len() - 1
        })
    }

    /// Where the value of a key comes from.
    fn source(&mut self, key: &GroupKey) -> Source {
        if let Some(value) = select::value(key) {
            return Source::Column(self.push(value));
        }
        if let GroupKey::Dimension(Dimension::Label(label)) = key {
            let (word, labels) = (self.push(select::reserved_word()), self.push(ident("labels_key")));
            return Source::Label { word, labels, label: label.to_string() };
        }
        let tenant = self.push(select::value(&GroupKey::TENANT).expect("the tenant is a column"));
        let day = self.push(ident("charge_date"));
        if *key == GroupKey::Plan { Source::Plan { tenant, day } } else { Source::Parent { tenant, day } }
    }
}

impl Scan<'_> {
    /// Entries that count, whatever is filtered or grouped.
    pub(super) fn base(&self) -> Vec<Expr> {
        let booked_in = self.summed.booked_in.map(|currency| ident("currency").eq(lit(currency.code())));
        [select::of_cost(), select::up_to_posting(self.head.number())]
            .into_iter()
            .chain(booked_in)
            .chain(select::in_scope(self.scope))
            .collect()
    }

    fn conditions(&self, days: DayRange) -> Expr {
        let terms = self.query.filter.terms.iter().filter_map(select::condition);
        all_of(self.base().into_iter().chain([select::selected_by(self.query.clock, days)]).chain(terms))
    }

    /// Entries of the rows: estimates only where the question names them.
    fn counted(&self, days: DayRange) -> Expr {
        let money = (!self.query.shows_memo()).then(|| Expr::IsNotTrue(Box::new(ident("memo"))));
        all_of([self.conditions(days)].into_iter().chain(money))
    }

    /// Sums by everything that the answer distinguishes.
    pub(super) async fn groups(
        &self,
        session: &SessionContext,
        days: DayRange,
        with_series: bool,
    ) -> Result<Groups, EngineError> {
        let mut grouping = Grouping::default();
        let word = grouping.push(select::reserved_word());
        let [tier, status, memo] = ["tier", "status", "memo"].map(|column| grouping.push(ident(column)));
        let series = (with_series && self.query.granularity != Granularity::None)
            .then(|| (grouping.push(ident("charge_date")), grouping.push(ident("billing_month"))));
        let keys = self.query.group_by.iter().map(|key| grouping.source(key)).collect();
        let is_left = |term: &&Term| select::condition(term).is_none();
        let left = self.query.filter.terms.iter().filter(is_left);
        let terms = left.map(|term| (grouping.source(&term.key), term.clone())).collect();

        let total = grouping.columns.len();
        let columns = grouping.columns.into_iter().enumerate();
        let columns = columns.map(|(index, column)| column.alias(format!("g{index}"))).collect();
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(self.conditions(days))?
            .aggregate(columns, vec![sum(ident(self.summed.column)).alias("total")])?
            .collect()
            .await?;
        Ok(Groups { batches, word, tier, status, memo, series, keys, terms, total })
    }

    /// The days of entries in question that were corrected after they were posted.
    ///
    /// Terms of the filter that no column answers are left out, so such a question may name a day too many.
    pub(super) async fn restated(
        &self,
        session: &SessionContext,
        days: DayRange,
    ) -> Result<Vec<RestatedDay>, EngineError> {
        restated_days(session, self.counted(days)).await
    }

    /// The first of the days on which the rows have cost that is not final. Terms of the filter that no column answers are
    /// left out here as well.
    pub(super) async fn first_pending(
        &self,
        session: &SessionContext,
        days: DayRange,
    ) -> Result<Option<Day>, EngineError> {
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(self.counted(days).and(ident("status").eq(lit("pending"))))?
            .aggregate(vec![ident("charge_date")], vec![sum(ident(self.summed.column)).alias("total")])?
            .collect()
            .await?;
        Ok(rows(&batches).filter(|row| row.atoms(1) != 0).filter_map(|row| row.day(0)).min())
    }

    /// The currencies in which the entries in question are booked, in order.
    pub(super) async fn currencies(&self, session: &SessionContext) -> Result<Vec<Currency>, EngineError> {
        let days = self.query.selected_days();
        let first = match self.query.compare {
            Compare::None => days.from(),
            Compare::Prev | Compare::Final => self.query.days_before(days).from(),
        };
        let days = DayRange::new(first, days.to()).expect("the range before lies before");
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(self.conditions(days))?
            .aggregate(vec![ident("currency")], vec![])?
            .collect()
            .await?;
        let codes = rows(&batches).filter_map(|row| row.text(0));
        let mut found = codes
            .map(|code| {
                let corrupt =
                    |_| EngineError::Corrupt { what: "a currency in the ledger".to_owned(), detail: code.to_owned() };
                code.parse().map_err(corrupt)
            })
            .collect::<Result<Vec<Currency>, _>>()?;
        found.sort();
        Ok(found)
    }
}
