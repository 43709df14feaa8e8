//! Why a cost changed.

use super::costs::RangeBody;
use crate::access::CostReader;
use crate::app::App;
use crate::convert::{day, money};
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::DayRange;
use engine::query::changes::Terms;
use engine::query::{CostChanges, CostChangesQuery, PoolChange};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// Whose cost of which ranges.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CostChangesParams {
    /// `7d 30d 90d 365d mtd last_month qtd ytd 2026-10 2026-10-01..2026-10-31`; default `30d`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// `prev`, as many days just before, which is the default; or a range.
    pub compare: Option<String>,
    /// Whose; a caller with one tenant of its own may leave it out.
    pub tenant: Option<String>,
    /// `posting:12`, a day or an instant.
    pub as_of: Option<String>,
}

/// Why a cost changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostChangesBody {
    /// Whose.
    pub tenant: String,
    /// The later range.
    pub range: RangeBody,
    /// The range that it is compared with.
    pub compare: RangeBody,
    /// Currency of every amount: the reporting currency.
    pub currency: String,
    /// What the earlier range cost, estimates aside.
    pub previous: String,
    /// What the later range costs.
    pub cost: String,
    /// The cost less that.
    pub change: String,
    /// The terms of all pools, which add up to the change.
    pub terms: Vec<ChangeTermBody>,
    /// The pools, the largest change first.
    pub pools: Vec<PoolChangeBody>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// What one thing changed, when all before it in the list were as they are in the later range.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChangeTermBody {
    /// `own_volume`, `price_or_pool_amount`, `others_volume`, `idle`, `pool_and_others` (the last three together, where one
    /// alone would give a peer away), `policy_or_rate_version`, `fx`, `corrections`, `new_or_removed_pools`.
    pub term: String,
    /// By how much.
    pub amount: String,
}

/// Why the cost of one pool changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolChangeBody {
    /// The pool.
    pub pool: String,
    /// What the earlier range cost.
    pub previous: String,
    /// What the later range costs.
    pub cost: String,
    /// The cost less that.
    pub change: String,
    /// The terms, which add up to the change.
    pub terms: Vec<ChangeTermBody>,
    /// Whether what the others use is told apart from what the pool costs.
    pub disclosed: bool,
}

/// Returns why a tenant's cost changed, in terms that add up to the change exactly.
#[utoipa::path(get, path = "/api/v1/costs/changes", tag = "costs", params(CostChangesParams), responses((status = 200, body = CostChangesBody)))]
pub async fn show_cost_changes(
    reader: CostReader,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let query = CostChangesQuery::parse(&query.0, &app.list_limits())?;
    let found = app.engine.cost_changes(reader.scope(), &query).await?;
    json(&to_api_changes(found, app.zone().name()))
}

fn to_api_changes(found: CostChanges, timezone: &str) -> CostChangesBody {
    let range =
        |range: DayRange| RangeBody { from: day(range.from()), to: day(range.to()), timezone: timezone.to_owned() };
    CostChangesBody {
        tenant: found.tenant,
        range: range(found.range),
        compare: range(found.compare),
        currency: found.currency.to_string(),
        previous: money(found.previous),
        cost: money(found.cost),
        change: money(found.cost - found.previous),
        terms: to_api_terms(&found.terms),
        pools: found.pools.iter().map(to_api_pool).collect(),
        posting: found.posting,
    }
}

fn to_api_pool(pool: &PoolChange) -> PoolChangeBody {
    PoolChangeBody {
        pool: pool.pool.clone(),
        previous: money(pool.previous),
        cost: money(pool.cost),
        change: money(pool.change()),
        terms: to_api_terms(&pool.terms),
        disclosed: pool.disclosed,
    }
}

fn to_api_terms(terms: &Terms) -> Vec<ChangeTermBody> {
    terms
        .iter()
        .map(|(term, amount)| ChangeTermBody { term: term.as_str().to_owned(), amount: money(*amount) })
        .collect()
}
