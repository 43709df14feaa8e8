//! Shared clusters and what a tenant paid for them (S2). JSON numbers here are printed exactly.

use crate::access::{CostReader, PlatformAdminOnly};
use crate::app::App;
use crate::auth::Caller;
use crate::convert::{Exact, day};
use crate::list::{ListAsked, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs, day_of};
use axum::extract::State;
use axum::response::Response;
use domain::{Day, DayRange};
use engine::query::clusters::{ClusterAttribution, ClusterComparison, CostBreakdown, TenantBreakdown};
use engine::run::RunRequest;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Days of a breakdown that names none.
const BREAKDOWN_DAYS: i32 = 30;
/// Points of a trend that names no number.
const TREND_PERIODS: i32 = 30;
/// State of a pool that a run could not run.
const NOT_RUN: &str = "not_run";

/// The day.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DateParams {
    /// The day; default the last complete one.
    pub date: Option<String>,
}

/// Cost by kind of resource.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BreakdownBody {
    /// Processors and memory.
    pub compute: Exact,
    /// Storage.
    pub storage: Exact,
    /// Network.
    pub network: Exact,
    /// Everything else.
    pub other: Exact,
}

/// One tenant's part of a cluster.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantCostAttribution {
    /// Who.
    pub tenant_id: String,
    /// What it paid.
    pub cost: Exact,
    /// Part of the total, 0 to 100; null when the total is 0.
    pub percentage: Option<Exact>,
    /// The cost by kind of resource.
    pub breakdown: BreakdownBody,
    /// What it used: cpu, memory, storage, network; others under their own name.
    #[schema(value_type = std::collections::HashMap<String, f64>)]
    pub usage: Map<String, Value>,
}

/// How a cluster's cost of a day was shared out.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCostAttribution {
    /// The cluster.
    pub cluster_name: String,
    /// The day.
    pub date: String,
    /// What it cost: tenants, idle and unattributed.
    pub total_cost: Exact,
    /// Currency of every amount.
    pub currency: String,
    /// Weight of each resource.
    #[schema(value_type = std::collections::HashMap<String, f64>)]
    pub weights: Map<String, Value>,
    /// What each tenant paid; the largest first.
    pub tenants: Vec<TenantCostAttribution>,
    /// Paid, unused capacity.
    pub idle_cost: Exact,
    /// What no tenant caused.
    pub unattributed_cost: Exact,
    /// Present and true when its month is closed, so that what is posted of it is a correction, or part of it was one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub correction: bool,
}

/// Attributes one cluster's cost of a day and posts it.
#[utoipa::path(post, path = "/api/v1/cost-attribution/cluster/{clusterName}/attribute", tag = "cost-attribution",
    params(("clusterName" = String, Path, description = "Name of a pool of kind cluster"), DateParams),
    responses((status = 200, body = ClusterCostAttribution)))]
pub async fn attribute_cluster(
    admin: PlatformAdminOnly,
    State(app): State<App>,
    Id(cluster): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let date = date_of(&app, &query)?;
    app.engine.cluster_pool(&cluster, date).await?;
    let mut not_run = run_pools(&app, &admin, date, vec![cluster.clone()]).await?;
    if let Some(refusal) = not_run.remove(&cluster) {
        return Err(refusal);
    }
    json(&to_api_attribution(&app.engine.cluster_attribution_all_tenants(&cluster, date).await?))
}

/// Attributes every cluster that more than one tenant used on the day, and lists those that could be run.
#[utoipa::path(post, path = "/api/v1/cost-attribution/all/attribute", tag = "cost-attribution", params(DateParams),
    responses((status = 200, body = Vec<ClusterCostAttribution>)))]
pub async fn attribute_all(
    admin: PlatformAdminOnly,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let date = date_of(&app, &query)?;
    let clusters = app.engine.shared_clusters_all_tenants(date).await?;
    let mut bodies = Vec::new();
    if !clusters.is_empty() {
        let not_run = run_pools(&app, &admin, date, clusters.clone()).await?;
        for cluster in clusters.iter().filter(|cluster| !not_run.contains_key(*cluster)) {
            bodies.push(to_api_attribution(&app.engine.cluster_attribution_all_tenants(cluster, date).await?));
        }
    }
    asked.answer_bare(&bodies)
}

fn date_of(app: &App, query: &QueryPairs) -> Result<Day, ApiError> {
    let mut params = query.params()?;
    let date = day_of(&mut params, "date")?;
    params.finish()?;
    let date = date.unwrap_or_else(|| app.last_complete_day());
    if app.today() < date {
        return Err(ApiError::parameter("date", format!("{date} lies in the future")));
    }
    Ok(date)
}

/// Runs and posts these pools of the day and returns why pools could not be run: their entries are older, and an
/// answer must not show them as if they were new.
async fn run_pools(
    app: &App,
    caller: &Caller,
    date: Day,
    pools: Vec<String>,
) -> Result<BTreeMap<String, ApiError>, ApiError> {
    app.prepare().await?;
    let request = RunRequest { pools: Some(pools), ..RunRequest::of(DayRange::single(date), &caller.actor) };
    let run = app.engine.run_and_wait(request).await?;
    app.record_run(caller, &run).await?;
    let day = date.to_string();
    let states = app.catalog().run_pool_states(&day, &day).await?;
    let refusal = |pool: &str, code: String| {
        let warning = run.warnings.iter().find(|warning| warning.code == code && warning.pool.as_deref() == Some(pool));
        let detail = warning.map_or_else(|| format!("{pool} could not be run: {code}"), |found| found.detail.clone());
        ApiError::NotRun { code, detail }
    };
    let not_run = states.into_iter().filter(|state| state.state == NOT_RUN);
    Ok(not_run.map(|state| (state.pool.clone(), refusal(&state.pool, state.reason.unwrap_or_default()))).collect())
}

fn to_api_attribution(found: &ClusterAttribution) -> ClusterCostAttribution {
    let weights = found.weights.iter().map(|(name, weight)| (name.clone(), number(Exact::weight(weight.atoms()))));
    let tenants = found.tenants.iter().map(|tenant| TenantCostAttribution {
        tenant_id: tenant.tenant.clone(),
        cost: Exact::money(tenant.cost),
        percentage: tenant.percentage.map(Exact::percent),
        breakdown: to_api_breakdown(&tenant.breakdown),
        usage: tenant.usage.iter().map(|(name, used)| (name.clone(), number(Exact::quantity(*used)))).collect(),
    });
    ClusterCostAttribution {
        cluster_name: found.cluster.clone(),
        date: day(found.date),
        total_cost: Exact::money(found.total),
        currency: found.currency.to_string(),
        weights: weights.collect(),
        tenants: tenants.collect(),
        idle_cost: Exact::money(found.idle),
        unattributed_cost: Exact::money(found.unattributed),
        correction: found.correction,
    }
}

fn number(exact: Exact) -> Value {
    serde_json::to_value(exact).expect("an exact number is a JSON number")
}

fn to_api_breakdown(breakdown: &CostBreakdown) -> BreakdownBody {
    BreakdownBody {
        compute: Exact::money(breakdown.compute),
        storage: Exact::money(breakdown.storage),
        network: Exact::money(breakdown.network),
        other: Exact::money(breakdown.other),
    }
}

/// One tenant beside the others.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantCostComparison {
    /// Place by cost, from 1.
    pub rank: usize,
    /// Who.
    pub tenant_id: String,
    /// What it paid.
    pub cost: Exact,
    /// Part of the total, 0 to 100; null when the total is 0.
    pub cost_percentage: Option<Exact>,
    /// Part of what all tenants used, 0 to 100, by resource; null where nothing was used.
    #[schema(value_type = std::collections::HashMap<String, Option<f64>>)]
    pub usage_percentage: Map<String, Value>,
}

/// Tenants of a cluster side by side.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCostComparison {
    /// The cluster.
    pub cluster_name: String,
    /// The day.
    pub date: String,
    /// What it cost.
    pub total_cost: Exact,
    /// The tenants by rank.
    pub tenants: Vec<TenantCostComparison>,
}

/// Compares what tenants paid for and used of a cluster on a day.
#[utoipa::path(get, path = "/api/v1/cost-attribution/cluster/{clusterName}/comparison", tag = "cost-attribution",
    params(("clusterName" = String, Path, description = "Name of a pool of kind cluster"), DateParams),
    responses((status = 200, body = ClusterCostComparison)))]
pub async fn compare_cluster(
    _admin: PlatformAdminOnly,
    State(app): State<App>,
    Id(cluster): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let date = date_of(&app, &query)?;
    json(&to_api_comparison(&app.engine.cluster_comparison_all_tenants(&cluster, date).await?))
}

fn to_api_comparison(found: &ClusterComparison) -> ClusterCostComparison {
    let tenants = found.attribution.tenants.iter().zip(&found.usage_percentages).enumerate();
    let percent = |part: &Option<i64>| part.map_or(Value::Null, |part| number(Exact::percent(part)));
    let tenants = tenants.map(|(index, (tenant, usage))| TenantCostComparison {
        rank: index + 1,
        tenant_id: tenant.tenant.clone(),
        cost: Exact::money(tenant.cost),
        cost_percentage: tenant.percentage.map(Exact::percent),
        usage_percentage: usage.iter().map(|(name, part)| (name.clone(), percent(part))).collect(),
    });
    ClusterCostComparison {
        cluster_name: found.attribution.cluster.clone(),
        date: day(found.attribution.date),
        total_cost: Exact::money(found.attribution.total),
        tenants: tenants.collect(),
    }
}

/// Period and cluster of a breakdown.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(non_snake_case, reason = "the names are those of the seed's API")]
pub struct BreakdownParams {
    /// First day; default 30 days before `endDate`.
    pub startDate: Option<String>,
    /// The day after the last one; default today.
    pub endDate: Option<String>,
    /// Only this cluster.
    pub cluster: Option<String>,
}

/// The instants of the organisation's midnights.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeriodBody {
    /// First instant.
    pub start: String,
    /// First instant after.
    pub end: String,
}

/// Cost of one day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DailyCost {
    /// The day.
    pub date: String,
    /// Its cost.
    pub cost: Exact,
}

/// What a tenant paid for clusters.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantCostBreakdown {
    /// Who.
    pub tenant_id: String,
    /// The period.
    pub period: PeriodBody,
    /// What it paid.
    pub total_cost: Exact,
    /// By kind of resource; sums to the total.
    pub breakdown: BreakdownBody,
    /// Every day of the period; sums to the total.
    pub daily_costs: Vec<DailyCost>,
}

/// Returns what a tenant paid for clusters, by kind of resource and by day.
#[utoipa::path(get, path = "/api/v1/cost-attribution/tenant/{tenantId}/breakdown", tag = "cost-attribution",
    params(("tenantId" = String, Path, description = "Id of the tenant"), BreakdownParams),
    responses((status = 200, body = TenantCostBreakdown)))]
pub async fn show_breakdown(
    reader: CostReader,
    State(app): State<App>,
    Id(tenant): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let (start, end) = (day_of(&mut params, "startDate")?, day_of(&mut params, "endDate")?);
    let cluster = params.text("cluster");
    params.finish()?;
    let end = end.unwrap_or_else(|| app.today());
    let start = start.unwrap_or_else(|| end.plus(-BREAKDOWN_DAYS));
    let found = app.engine.tenant_breakdown(reader.scope(), &tenant, start, end, cluster.as_deref()).await?;
    json(&to_api_tenant_breakdown(&found))
}

fn to_api_tenant_breakdown(found: &TenantBreakdown) -> TenantCostBreakdown {
    let daily = found.daily.iter().map(|(date, cost)| DailyCost { date: day(*date), cost: Exact::money(*cost) });
    TenantCostBreakdown {
        tenant_id: found.tenant.clone(),
        period: PeriodBody { start: found.period.start.to_string(), end: found.period.end.to_string() },
        total_cost: Exact::money(found.breakdown.total()),
        breakdown: to_api_breakdown(&found.breakdown),
        daily_costs: daily.collect(),
    }
}

/// Length and cluster of a trend.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TrendParams {
    /// Number of days, ending with the last complete one; default 30.
    pub periods: Option<u32>,
    /// Only this cluster.
    pub cluster: Option<String>,
}

/// One day of a trend.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostTrendPoint {
    /// The day.
    pub date: String,
    /// Its cost.
    pub cost: Exact,
    /// Cost less that of the day before; null on the first.
    pub change: Option<Exact>,
}

/// Returns what a tenant paid for clusters on each of the last days.
#[utoipa::path(get, path = "/api/v1/cost-attribution/tenant/{tenantId}/trend", tag = "cost-attribution",
    params(("tenantId" = String, Path, description = "Id of the tenant"), TrendParams),
    responses((status = 200, body = Vec<CostTrendPoint>)))]
pub async fn show_trend(
    reader: CostReader,
    State(app): State<App>,
    Id(tenant): Id,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let periods = params.text("periods");
    let cluster = params.text("cluster");
    params.finish()?;
    let number = |text: String| {
        let refuse = || ApiError::parameter("periods", "`periods` is a number of days from 1 on");
        text.parse::<i32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(refuse)
    };
    let periods = periods.map(number).transpose()?.unwrap_or(TREND_PERIODS);
    let points = app.engine.tenant_trend(reader.scope(), &tenant, periods, cluster.as_deref()).await?;
    let points: Vec<CostTrendPoint> = points
        .iter()
        .map(|point| CostTrendPoint {
            date: day(point.date),
            cost: Exact::money(point.cost),
            change: point.change.map(Exact::money),
        })
        .collect();
    asked.answer_bare(&points)
}
