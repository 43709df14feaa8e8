//! What-if: a draft card over a range, against what the ledger holds; nothing is written.

use super::super::filter::Filter;
use super::super::keys::{Column, GroupKey};
use super::super::params::{Params, QueryLimits};
use super::super::select::{all_of, charged_in, check_named_tenants, of_cost};
use super::price::{Asked, PricedCell};
use super::state_of;
use crate::query::columns::rows;
use crate::query::filter::Term;
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{SessionContext, ident, lit};
use domain::{Currency, DayRange, TenantScope};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::Table;

/// Over which usage a draft is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulationQuery {
    /// The days.
    pub range: DayRange,
    /// Which usage counts; conditions on tenants also choose what the ledger holds beside it.
    pub filter: Filter,
    /// Rows of the answer.
    pub limit: usize,
}

/// What a draft changes for one tenant, in atoms of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedRow {
    /// The tenant.
    pub tenant: String,
    /// At the draft's prices.
    pub cost: i128,
    /// What rated pools posted for the same days.
    pub posted: i128,
    /// The cost less that.
    pub change: i128,
}

/// What a draft changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSimulation {
    /// The days.
    pub range: DayRange,
    /// Currency of every amount: the draft's.
    pub currency: Currency,
    /// Name of the draft.
    pub version: String,
    /// The tenants with the largest changes first, then by id, at most as many as asked for.
    pub rows: Vec<SimulatedRow>,
    /// How many tenants there are.
    pub tenants: usize,
    /// Of all tenants, at the draft's prices.
    pub cost: i128,
    /// Of all tenants, posted.
    pub posted: i128,
    /// Usage without a price in the draft.
    pub unpriced_metrics: Vec<String>,
    /// Prices 100 times or more away from those in force.
    pub price_warnings: Vec<String>,
}

impl RateSimulation {
    /// Returns what changes over all tenants, in atoms.
    #[must_use]
    pub fn change(&self) -> i128 {
        self.cost - self.posted
    }
}

impl SimulationQuery {
    /// Returns what the parameters ask; rolling ranges end with today.
    ///
    /// # Errors
    /// For an unknown parameter or a value that cannot be used.
    pub fn from_params(mut params: Params, limits: &QueryLimits) -> Result<Self, EngineError> {
        let query = Self {
            range: params.range_to_today_or_default(limits)?,
            filter: Filter::parse(&params.text("filter").unwrap_or_default())?,
            limit: params.limit(limits)?,
        };
        params.finish()?;
        let is_of_usage = |key: &GroupKey| {
            let GroupKey::Column(column) = key else { return true };
            matches!(column, Column::Meter | Column::Origin | Column::Category)
        };
        match query.filter.terms.iter().find(|term| !is_of_usage(&term.key)) {
            Some(term) => Err(EngineError::parameter("filter", format!("usage has no `{}`", term.key))),
            None => Ok(query),
        }
    }
}

impl Engine {
    /// Returns what the usage of the range costs at the prices of a draft, and how that differs from the ledger.
    ///
    /// # Errors
    /// [`EngineError::Rates`] when the draft cannot be used, and when a store fails.
    ///
    /// # Source
    /// Spec 3-attribution, section 6 (what-if).
    pub async fn simulate_rate_card_all_tenants(
        &self,
        text: &str,
        file: &str,
        query: &SimulationQuery,
    ) -> Result<RateSimulation, EngineError> {
        let draft = Arc::new(self.validate_rate_card(text, file).await?);
        let scope = TenantScope::All;
        check_named_tenants(&scope, &query.filter)?;
        let now = self.usage_now().await?;
        let books = self.books_now().await?;
        let session = self.session_for_prices(&now)?;
        let asked = Asked {
            scope: &scope,
            range: query.range,
            group_by: &[GroupKey::TENANT],
            filter: &query.filter,
            by_day: false,
            books: &books,
            card: &draft,
        };
        let (mut costs, mut unpriced) = (BTreeMap::<String, i128>::new(), BTreeSet::new());
        let take = |cell: PricedCell| {
            if cell.amount.is_none() {
                unpriced.insert(cell.meter.to_string());
            }
            let tenant = cell.key.into_iter().next().unwrap_or_default();
            *costs.entry(tenant).or_default() += cell.amount.unwrap_or(0);
            Ok(())
        };
        self.each_priced(&session, &state_of(&now, &books), &asked, take).await?;
        let posted = posted_of_rated_pools(&self.session_now().await?, query, draft.currency).await?;
        let tenants: BTreeSet<&String> = costs.keys().chain(posted.keys()).collect();
        let row = |tenant: &String| {
            let of = |amounts: &BTreeMap<String, i128>| amounts.get(tenant).copied().unwrap_or(0);
            let (cost, posted) = (of(&costs), of(&posted));
            SimulatedRow { tenant: tenant.clone(), cost, posted, change: cost - posted }
        };
        let mut rows: Vec<SimulatedRow> = tenants.into_iter().map(row).collect();
        rows.sort_by_key(|row| Reverse(row.change.unsigned_abs()));
        let count = rows.len();
        rows.truncate(query.limit);
        Ok(RateSimulation {
            range: query.range,
            currency: draft.currency,
            version: draft.version.clone(),
            rows,
            tenants: count,
            cost: costs.values().sum(),
            posted: posted.values().sum(),
            unpriced_metrics: unpriced.into_iter().collect(),
            price_warnings: self.price_warnings(&self.current_card(&books)?.card, &draft, &books),
        })
    }
}

/// What entries priced by a card say, by tenant; only those in the draft's currency compare with it.
async fn posted_of_rated_pools(
    session: &SessionContext,
    query: &SimulationQuery,
    currency: Currency,
) -> Result<BTreeMap<String, i128>, EngineError> {
    let conditions = [
        of_cost(),
        charged_in(query.range),
        ident("method").eq(lit("rated")),
        ident("currency").eq(lit(currency.code())),
        ident("tenant").is_not_null(),
    ];
    let batches = session
        .table(Table::Ledger.name())
        .await?
        .filter(all_of(conditions))?
        .aggregate(vec![ident("tenant")], vec![sum(ident("amount")).alias("total")])?
        .collect()
        .await?;
    let by_tenant: Vec<&Term> = query.filter.terms.iter().filter(|term| term.key == GroupKey::TENANT).collect();
    let of_row = |row: crate::query::columns::Row<'_>| {
        let tenant = row.text(0)?;
        by_tenant.iter().all(|term| term.holds(tenant)).then(|| (tenant.to_owned(), row.atoms(1)))
    };
    Ok(rows(&batches).filter_map(of_row).collect())
}
