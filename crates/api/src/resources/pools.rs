//! Pools of a day's policy.

use super::clusters::DateParams;
use super::ledger::PageParams;
use crate::access::AdminReader;
use crate::app::App;
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::{PageAsked, QueryPairs, day_of};
use axum::extract::State;
use axum::response::Response;
use engine::publish::PoolSummary;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolBody {
    /// Its name.
    pub name: String,
    /// cluster, service, portfolio, ai or subscription.
    pub kind: String,
    /// direct, amortized or overhead.
    pub tier: String,
    /// billed, event or rated: where its amount comes from.
    pub basis: String,
    /// Whether it is an internal estimate beside the money.
    pub memo: bool,
    /// How it is shared out.
    pub method: String,
    /// What a consumer is.
    pub by: Vec<String>,
    /// Weight of each meter.
    pub weights: BTreeMap<String, String>,
    /// Meters that drive it.
    pub meters: Vec<String>,
    /// Version of the policy.
    pub policy_version: String,
}

/// Returns the pools of the day's policy, in its order.
#[utoipa::path(get, path = "/api/v1/pools", tag = "policies", params(DateParams, PageParams), responses((status = 200, body = Page<PoolBody>)))]
pub async fn list_pools(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let date = day_of(&mut params, "date")?.unwrap_or_else(|| app.last_complete_day());
    let page = PageAsked::take(&mut params, &app.list_limits())?;
    params.finish()?;
    let pools = app.engine.pools(date).await?;
    // Another version that was published meanwhile is another question.
    let version = pools.first().map_or("", |pool| pool.policy_version.as_str());
    let question = format!("pools {date} {version}");
    Page::of_all(pools, &page, &question, to_api_pool)?.answer(&asked)
}

fn to_api_pool(summary: &PoolSummary) -> PoolBody {
    let pool = &summary.pool;
    let split = pool.split.as_ref();
    let weights = split.iter().flat_map(|split| &split.weights);
    PoolBody {
        name: pool.name.clone(),
        kind: pool.kind.as_str().to_owned(),
        tier: pool.tier.as_str().to_owned(),
        basis: pool.basis().as_str().to_owned(),
        memo: pool.is_memo(),
        method: pool.method().as_str().to_owned(),
        by: pool.by().iter().map(ToString::to_string).collect(),
        weights: weights.map(|(meter, weight)| (meter.clone(), weight.to_string())).collect(),
        meters: split.iter().flat_map(|split| split.meter.iter().chain(&split.meters)).cloned().collect(),
        policy_version: summary.policy_version.clone(),
    }
}
