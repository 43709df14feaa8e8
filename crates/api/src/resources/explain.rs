//! Where one amount comes from.

use super::periods::{ConsumerCorrectionBody, to_api_correction};
use super::rate_cards::{MonthPriceBody, to_api_price};
use crate::access::CostReader;
use crate::app::App;
use crate::convert::{day, factor, inputs, money, quantity};
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use engine::query::explain::{
    BillImport, Change, ExplainedCell, ExplainedComponent, ExplainedCost, ExplainedPool, ExplainedPrice, ExplainedRule,
    ExplainedWindow,
};
use engine::query::{Explanation, explain::ExplainQuery};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Which amount.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainParams {
    /// Whose.
    pub tenant: String,
    /// Of which day.
    pub date: String,
    /// In which pool; all of them if left out.
    pub pool: Option<String>,
    /// `posting:12`, a day or an instant.
    pub as_of: Option<String>,
}

/// What a tenant paid on a day, explained. A tenant sees its own numbers only.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplanationBody {
    /// Whose amount.
    pub tenant: String,
    /// Of which day.
    pub date: String,
    /// Currency of `cost` and `memo`.
    pub currency: String,
    /// What the tenant paid in the pools shown.
    pub cost: String,
    /// Its estimates beside the money.
    pub memo: String,
    /// The pools in which it has a share.
    pub pools: Vec<ExplainedPoolBody>,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// One pool's part of the amount.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedPoolBody {
    /// The pool.
    pub pool: String,
    /// Its tier.
    pub tier: String,
    /// Where its amount comes from.
    pub basis: String,
    /// Whether it is an estimate beside the money.
    pub memo: bool,
    /// How it is shared out; empty for an adjustment.
    pub method: String,
    /// The rule; null when the policy is not known any more.
    pub rule: Option<ExplainedRuleBody>,
    /// Versions of the policy.
    pub policy_versions: Vec<String>,
    /// Versions of the rate card.
    pub rate_card_versions: Vec<String>,
    /// What the tenant paid, in the reporting currency.
    pub cost: String,
    /// Prices of what it used, where usage is priced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<ExplainedPriceBody>,
    /// Its shares by component.
    pub components: Vec<ExplainedComponentBody>,
    /// Every posting that changed the amount, and why.
    pub changes: Vec<ChangeBody>,
    /// Whether the recomputed shares are the posted ones; null where nothing can be recomputed.
    pub matches: Option<bool>,
    /// What the tenant would be corrected by: a noted difference of a closed month that is too small to be posted. Then
    /// nothing is recomputed from `inputs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_correction: Option<ConsumerCorrectionBody>,
    /// Whether totals of the pool are shown.
    pub disclosed: bool,
    /// How many tenants have a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<usize>,
    /// The bills that went in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bills: Option<Vec<BillImportBody>>,
    /// Its windows: what was caused on the day, until when it could be used, and who did. As the events that are stored
    /// now tell it, also with `as_of`: of events no versions are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<ExplainedWindowBody>,
    /// Imports and versions that the run read, with the hashes of their contents.
    #[schema(value_type = Vec<Object>)]
    pub inputs: Vec<serde_json::Value>,
}

/// What the policy and the rate card say of the pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedRuleBody {
    /// What a consumer is.
    pub by: Vec<String>,
    /// Weight by meter (`weighted`).
    pub weights: BTreeMap<String, String>,
    /// `none` or `resource_share` (`weighted`).
    pub normalize: Option<String>,
    /// The meter (`proportional`).
    pub meter: Option<String>,
    /// The meters by glob (`rated`).
    pub meters: Vec<String>,
    /// Active tenants or users (`even`), or the pools whose cost it follows (`by_cost`).
    pub of: Vec<String>,
    /// `invoice`, when each component follows the cost of its own origin (`by_cost`).
    pub follow: Option<String>,
    /// The tenant's own percent (`fixed`); null unless the pool's totals are shown.
    pub percent: Option<String>,
    /// How unused capacity is shown, where there is a capacity.
    pub idle: Option<String>,
    /// Capacity per hour, or the meter that measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<BTreeMap<String, String>>,
}

/// A price of what the tenant used, with the month of the day; a graduated one once for each of its tiers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedPriceBody {
    /// Version of the card that it is of.
    pub rate_card_version: String,
    /// The price and its month.
    #[serde(flatten)]
    pub month_price: MonthPriceBody,
    /// The meter's quantity is divided by this before it is priced.
    pub divisor: u64,
    /// What the tenant used at it on the days of the month before; only of a graduated price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_before: Option<String>,
}

/// The rule of a window pool, and the costs that the tenant used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedWindowBody {
    /// Type of the events that carry the cost.
    pub cost_event_type: String,
    /// Type of the events that use it.
    pub event_type: String,
    /// Where a use names the cost; null when every use counts.
    pub key: Option<String>,
    /// Length, or the event that ends a window.
    pub window: String,
    /// What a use weighs: `consumer`, `read` or a meter.
    pub each: String,
    /// How long after its end a window waits for late uses.
    pub grace_seconds: i64,
    /// Whether the raw events are still stored; without them nothing more can be told.
    pub events_stored: bool,
    /// How many costs of the day the tenant used.
    pub costs_used: usize,
    /// The first of them by time.
    pub shown: Vec<ExplainedCostBody>,
}

/// One cost event and what the tenant has to do with it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedCostBody {
    /// When it was caused.
    pub time: String,
    /// Tenant, source and id of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// The first instant after its window.
    pub ends_at: String,
    /// `pending` or `final`.
    pub status: String,
    /// Currency of cost and part.
    pub currency: String,
    /// What it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// How many consumers used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<usize>,
    /// How many tenants these are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenants: Option<usize>,
    /// Weight of all uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_weight: Option<String>,
    /// Weight of the tenant's uses.
    pub weight: String,
    /// The tenant's part.
    pub part: String,
}

/// The shares of one component of the pool's amount.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedComponentBody {
    /// Currency of the amounts.
    pub currency: String,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<String>,
    /// Service, when the pool keeps it.
    pub service: Option<String>,
    /// Provider, when the pool keeps it.
    pub provider: Option<String>,
    /// Source, when the pool keeps it.
    pub source: Option<String>,
    /// Commitment status, when the pool keeps it.
    pub commitment_status: Option<String>,
    /// Invoice, when the pool keeps it.
    pub invoice_id: Option<String>,
    /// What was shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_amount: Option<String>,
    /// What was shared out of BilledCost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_billed_amount: Option<String>,
    /// Weight of all cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_weight: Option<String>,
    /// The tenant's cells.
    pub cells: Vec<ExplainedCellBody>,
}

/// One cell: a consumer and perhaps a meter.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExplainedCellBody {
    /// The consumer.
    pub consumer: String,
    /// The meter.
    pub meter: Option<String>,
    /// Unit of the quantity.
    pub unit: Option<String>,
    /// What was used.
    pub quantity: Option<String>,
    /// Price of a unit.
    pub unit_price: Option<String>,
    /// Weight of the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Its part of the whole as a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<String>,
    /// Whether it got one of the atoms that rounding left over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding_atom: Option<bool>,
    /// What the ledger says.
    pub amount: String,
    /// What the ledger says of BilledCost.
    pub billed_amount: String,
    /// The amount in the reporting currency.
    pub amount_reporting: String,
    /// The amount computed again; of the ways in which it was, one that does not give the ledger's, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recomputed: Option<String>,
    /// From what it was computed again: `inputs`, read as the run read them, and `entries`, by what they say.
    pub recomputed_from: Vec<String>,
    /// Whether all ways give what the ledger says; null where nothing can be recomputed.
    pub matches: Option<bool>,
    /// Why the consumer is a reserved word.
    pub reason: Option<String>,
    /// Rate to the reporting currency.
    pub fx_rate: Option<String>,
    /// Day of that rate.
    pub fx_date: Option<String>,
}

/// One posting that changed the amount.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChangeBody {
    /// The posting.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: Option<String>,
    /// Why.
    pub cause: Option<String>,
    /// Whether it is a correction of a closed month.
    pub correction: bool,
    /// In which currency.
    pub currency: String,
    /// By how much the amount changed.
    pub amount: String,
    /// By how much the billed amount changed.
    pub billed_amount: String,
}

/// Lines of one import that went into a pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BillImportBody {
    /// The import.
    pub import_id: String,
    /// Its source.
    pub source: String,
    /// How many of its lines went in.
    pub lines: u64,
    /// The first of them.
    pub shown: Vec<BillLineBody>,
}

/// One line of a bill.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BillLineBody {
    /// Line in the imported file.
    pub line_no: i64,
    /// Who sent the bill.
    pub provider: Option<String>,
    /// For which service.
    pub service: Option<String>,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<String>,
    /// ChargeDescription.
    pub description: Option<String>,
    /// Currency of the amounts.
    pub currency: String,
    /// The day's part of the line.
    pub amount: String,
    /// The day's part of BilledCost.
    pub billed_amount: String,
}

/// Explains what a tenant paid on a day: pool, rule, drivers, bills, changes; recomputed.
#[utoipa::path(get, path = "/api/v1/explain", tag = "costs", params(ExplainParams), responses((status = 200, body = ExplanationBody)))]
pub async fn explain(reader: CostReader, State(app): State<App>, query: QueryPairs) -> Result<Response, ApiError> {
    let query = ExplainQuery::parse(&query.0, &app.list_limits())?;
    json(&to_api_explanation(app.engine.explain(reader.scope(), &query).await?))
}

fn to_api_explanation(found: Explanation) -> ExplanationBody {
    ExplanationBody {
        tenant: found.tenant,
        date: day(found.date),
        currency: found.currency.to_string(),
        cost: money(found.cost),
        memo: money(found.memo),
        pools: found.pools.into_iter().map(to_api_pool).collect(),
        posting: found.posting,
    }
}

fn to_api_pool(pool: ExplainedPool) -> ExplainedPoolBody {
    ExplainedPoolBody {
        pool: pool.pool,
        tier: pool.tier,
        basis: pool.basis,
        memo: pool.memo,
        method: pool.method,
        rule: pool.rule.map(to_api_rule),
        policy_versions: pool.policy_versions,
        rate_card_versions: pool.rate_card_versions,
        cost: money(pool.cost),
        prices: pool.prices.into_iter().map(to_api_explained_price).collect(),
        components: pool.components.into_iter().map(to_api_component).collect(),
        changes: pool.changes.into_iter().map(to_api_change).collect(),
        matches: pool.matches,
        pending_correction: pool.pending_correction.as_ref().map(to_api_correction),
        disclosed: pool.disclosed,
        tenants: pool.tenants,
        bills: pool.bills.map(|bills| bills.into_iter().map(to_api_bill).collect()),
        window: pool.window.map(to_api_window),
        inputs: inputs(&pool.inputs),
    }
}

fn to_api_rule(rule: ExplainedRule) -> ExplainedRuleBody {
    ExplainedRuleBody {
        by: rule.by,
        weights: rule.weights,
        normalize: rule.normalize.map(str::to_owned),
        meter: rule.meter,
        meters: rule.meters,
        of: rule.of,
        follow: rule.follow.map(str::to_owned),
        percent: rule.percent,
        idle: rule.idle.map(str::to_owned),
        capacity: rule.capacity,
    }
}

fn to_api_explained_price(price: ExplainedPrice) -> ExplainedPriceBody {
    ExplainedPriceBody {
        rate_card_version: price.rate_card_version,
        month_price: to_api_price(price.month_price),
        divisor: price.divisor,
        used_before: price.used_before.map(quantity),
    }
}

fn to_api_window(window: ExplainedWindow) -> ExplainedWindowBody {
    let cost = |cost: ExplainedCost| ExplainedCostBody {
        time: cost.time.to_string(),
        event: cost.event,
        key: cost.key,
        ends_at: cost.ends_at.to_string(),
        status: cost.status.to_owned(),
        currency: cost.currency.to_string(),
        cost: cost.cost.map(money),
        readers: cost.readers,
        tenants: cost.tenants,
        total_weight: cost.total_weight.map(quantity),
        weight: quantity(cost.weight),
        part: money(cost.part),
    };
    ExplainedWindowBody {
        cost_event_type: window.cost_event_type,
        event_type: window.event_type,
        key: window.key,
        window: window.window,
        each: window.each,
        grace_seconds: window.grace_seconds,
        events_stored: window.events_stored,
        costs_used: window.costs_used,
        shown: window.shown.into_iter().map(cost).collect(),
    }
}

fn to_api_component(component: ExplainedComponent) -> ExplainedComponentBody {
    ExplainedComponentBody {
        currency: component.currency,
        charge_category: component.charge_category,
        service: component.service,
        provider: component.provider,
        source: component.source,
        commitment_status: component.commitment_status,
        invoice_id: component.invoice_id,
        pool_amount: component.pool_amount.map(money),
        pool_billed_amount: component.pool_billed_amount.map(money),
        total_weight: component.total_weight.map(factor),
        cells: component.cells.into_iter().map(to_api_cell).collect(),
    }
}

fn to_api_cell(cell: ExplainedCell) -> ExplainedCellBody {
    ExplainedCellBody {
        consumer: cell.consumer,
        meter: cell.meter,
        unit: cell.unit,
        quantity: cell.quantity.map(quantity),
        unit_price: cell.unit_price.map(factor),
        weight: cell.weight.map(factor),
        ratio: cell.ratio,
        rounding_atom: cell.rounding_atom,
        amount: money(cell.amount),
        billed_amount: money(cell.billed_amount),
        amount_reporting: money(cell.amount_reporting),
        recomputed: cell.recomputed.map(money),
        recomputed_from: cell.recomputed_from.iter().map(|way| way.as_str().to_owned()).collect(),
        matches: cell.matches,
        reason: cell.reason,
        fx_rate: cell.fx_rate.map(factor),
        fx_date: cell.fx_date.map(day),
    }
}

fn to_api_change(change: Change) -> ChangeBody {
    ChangeBody {
        posting: change.posting,
        booked_at: change.booked_at.map(|at| at.to_string()),
        cause: change.cause,
        correction: change.correction,
        currency: change.currency,
        amount: money(change.amount),
        billed_amount: money(change.billed_amount),
    }
}

fn to_api_bill(bill: BillImport) -> BillImportBody {
    let line = |line: engine::query::explain::BillLine| BillLineBody {
        line_no: line.line_no,
        provider: line.provider,
        service: line.service,
        charge_category: line.charge_category,
        description: line.description,
        currency: line.currency.to_string(),
        amount: money(line.amount),
        billed_amount: money(line.billed_amount),
    };
    BillImportBody {
        import_id: bill.import_id,
        source: bill.source,
        lines: bill.lines,
        shown: bill.shown.into_iter().map(line).collect(),
    }
}
