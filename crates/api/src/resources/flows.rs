//! Where the money goes: provider, pool, tenant.

use super::costs::RangeBody;
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money};
use crate::list::{ListAsked, columns_of};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::TenantScope;
use engine::query::{FlowColumn, FlowLink, FlowNode, Flows, FlowsQuery};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// The query parameters of `/flows`.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FlowsParams {
    /// `7d 30d 90d 365d mtd last_month qtd ytd 2026-10 2026-10-01..2026-10-31`; default `30d`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// `posted`.
    pub view: Option<String>,
    /// `posting:12`, a day or an instant: the ledger as it was known then.
    pub as_of: Option<String>,
    /// Only what was booked in this currency.
    pub currency: Option<String>,
    /// Terms as in `/costs`, of keys that are columns of an entry: not plan, parent and labels. Then nothing is told of
    /// providers: what they bill goes into whole pools.
    pub filter: Option<String>,
    /// How many providers, pools and tenants are shown by name, 1 to 100; default 14. The rest of each is `__other__`.
    pub top: Option<u32>,
}

/// A provider, pool or tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowNodeBody {
    /// `provider`, `pool` or `tenant`.
    pub column: String,
    /// Its name; of a reserved consumer its word. `__other__` is all beyond the largest, `__several__` the cost of pools
    /// whose rule names no single provider, `__difference__` what a pool's entries hold and its pool days do not explain.
    pub id: String,
    /// Of a tenant: its name of today, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What flows through it.
    pub amount: String,
    /// How many it stands for; 1 but for `__other__`.
    pub count: usize,
}

/// Money on its way to the next column.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowLinkBody {
    /// The column that it leaves: `provider` or `pool`.
    pub column: String,
    /// The node that it leaves.
    pub from: String,
    /// The node of the next column that it reaches.
    pub to: String,
    /// How much; below zero for what is given back.
    pub amount: String,
}

/// Where the money of a range goes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowsBody {
    /// Column by column, the largest first.
    pub nodes: Vec<FlowNodeBody>,
    /// In the order of their nodes; what reaches a pool is what leaves it.
    pub links: Vec<FlowLinkBody>,
    /// What each column adds up to: the total of `/costs` for the same days, state and currency.
    pub total: String,
    /// Currency of every amount.
    pub currency: String,
    /// The days.
    pub range: RangeBody,
    /// The state that was asked for.
    pub as_of: Option<String>,
    /// The posting that the answer shows; `as_of=posting:<it>` repeats it.
    pub posting: Option<i64>,
    /// Hash of that posting.
    pub ledger_head: Option<String>,
}

/// Returns where the posted cost of a range comes from and where it goes. As CSV: the links.
#[utoipa::path(get, path = "/api/v1/flows", tag = "costs", params(FlowsParams), responses((status = 200, body = FlowsBody)))]
pub async fn show_flows(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let query = FlowsQuery::parse(&query.0, &app.list_limits())?;
    let mut body = to_api_flows(&app, app.engine.flows_all_tenants(&query).await?);
    let is_tenant = |node: &FlowNodeBody| node.column == FlowColumn::Tenant.as_str();
    let ids: Vec<String> = body.nodes.iter().filter(|node| is_tenant(node)).map(|node| node.id.clone()).collect();
    let names = app.tenant_names(&TenantScope::All, ids.iter().map(String::as_str)).await?;
    for node in body.nodes.iter_mut().filter(|node| is_tenant(node)) {
        node.name = names.get(&node.id).and_then(|(name, _)| name.clone());
    }
    if asked.is_csv() {
        return asked.answer(&serde_json::json!({ "rows": body.links }), columns_of::<FlowLinkBody>, None);
    }
    asked.answer(&body, Vec::new, None)
}

fn to_api_flows(app: &App, flows: Flows) -> FlowsBody {
    let range = flows.range;
    FlowsBody {
        nodes: flows.nodes.into_iter().map(to_api_node).collect(),
        links: flows.links.into_iter().map(to_api_link).collect(),
        total: money(flows.total),
        currency: flows.currency.to_string(),
        range: RangeBody { from: day(range.from()), to: day(range.to()), timezone: app.zone().name().to_owned() },
        as_of: flows.as_of,
        posting: flows.posting,
        ledger_head: flows.ledger_head,
    }
}

fn to_api_node(node: FlowNode) -> FlowNodeBody {
    let column = node.column.as_str().to_owned();
    FlowNodeBody { column, id: node.id, name: None, amount: money(node.amount), count: node.count }
}

fn to_api_link(link: FlowLink) -> FlowLinkBody {
    FlowLinkBody { column: link.column.as_str().to_owned(), from: link.from, to: link.to, amount: money(link.amount) }
}
