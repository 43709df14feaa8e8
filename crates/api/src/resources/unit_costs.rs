//! What a merged pull request and a completed workflow cost (S3).

use super::costs::{RangeBody, RestatedDayBody, to_api_restated};
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money, share};
use crate::list::ListAsked;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::Day;
use engine::query::unit_costs::{UnitCap, UnitCostMode, UnitCostRow, UnitCostTotals, UnitFigures, UnitSums};
use engine::query::{UnitCostQuery, UnitCostTable};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The query parameters of `/unit-costs`.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnitCostParams {
    /// `7d 30d 90d 365d mtd last_month qtd ytd 2026-10 2026-10-01..2026-10-31`; default `30d`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// `workflow` (the default), `repo` or `task_class`.
    pub by: Option<String>,
    /// `period` (the default): cost of the range over what was merged and completed in it. `merged`: life-time cost of the
    /// workflows whose pull request was merged in the range over those pull requests.
    pub cohort: Option<String>,
    /// `tiered` (the default): direct and amortized. `workflow_local`: direct only. `marginal`: overhead divided too.
    pub mode: Option<String>,
    /// `posting:12`, a day or an instant: as it was known then.
    pub as_of: Option<String>,
    /// `cost`, `key`, `n`, `cost_per_merged_pr`, `cost_per_completed_workflow`, `failed_cost`, `pending`; `-` before it for
    /// descending. Rows without the ratio come last. Default `-cost`.
    pub sort: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// What a row and the totals show.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitFiguresBody {
    /// The cost that the ratios divide: of the tiers that the mode counts, estimates included.
    pub cost: String,
    /// Of tier direct.
    pub direct: String,
    /// Of tier amortized, also where the mode does not count it.
    pub amortized: String,
    /// Overhead that the mode `marginal` adds to the cost; null in other modes.
    pub overhead_share: Option<String>,
    /// Part of the cost whose window is still open.
    pub pending: String,
    /// The same as a part of one; null when the cost is not positive.
    pub pending_share: Option<String>,
    /// Part of the cost that is an estimate which recovers no bill.
    pub memo_cost: String,
    /// Pull requests merged: what the first ratio divides by.
    pub n: u64,
    /// The cost per merged pull request; null without one.
    pub cost_per_merged_pr: Option<String>,
    /// Workflows completed: what the second ratio divides by.
    pub workflows_completed: u64,
    /// The cost per completed workflow; null without one.
    pub cost_per_completed_workflow: Option<String>,
    /// Cost in the range of workflows that failed by its end.
    pub failed_cost: String,
    /// How many these are.
    pub workflows_failed: u64,
    /// Cost in the range of workflows of which nothing came by its end.
    pub in_progress_cost: String,
    /// How many these are.
    pub workflows_in_progress: u64,
    /// The cost by category of meter or service, without divided overhead.
    pub by_category: BTreeMap<String, String>,
}

/// One week; never with divided overhead.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitWeekBody {
    /// Its Monday.
    pub week: String,
    /// The cost that the ratios divide.
    pub cost: String,
    /// Of tier direct.
    pub direct: String,
    /// Of tier amortized.
    pub amortized: String,
    /// Pull requests merged.
    pub n: u64,
    /// The cost per merged pull request; null without one.
    pub cost_per_merged_pr: Option<String>,
    /// Workflows completed.
    pub workflows_completed: u64,
    /// The cost per completed workflow; null without one.
    pub cost_per_completed_workflow: Option<String>,
    /// The cost by category.
    pub by_category: BTreeMap<String, String>,
}

/// The unit costs of one workflow, repo or task class.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitCostRowBody {
    /// The grouped key and its value; empty for workflows of which nobody knows it.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub key: Map<String, Value>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: UnitFiguresBody,
    /// Every week of the range. With cohort `merged` a workflow stands in the week in which its last pull request was merged.
    pub series: Vec<UnitWeekBody>,
}

/// Totals over all pages, and what stands beside the rows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitCostTotalsBody {
    /// Σ of the rows.
    #[serde(flatten)]
    pub figures: UnitFiguresBody,
    /// The overhead of the range, beside the ratios.
    pub overhead: String,
    /// Cost in the range that names no workflow; in no row.
    pub without_workflow: String,
    /// Pull requests merged in the range whose event names no workflow.
    pub prs_without_workflow: u64,
}

/// A cap of a task class, and how much of it is used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitCapBody {
    /// The task class.
    pub task_class: String,
    /// `workflow` or `month`.
    pub per: String,
    /// The cap.
    pub amount: String,
    /// Per workflow the greatest life-time cost of one that has cost in the range; per month the cost of the class in the
    /// month of the last day. Direct and amortized, whatever the mode.
    pub used: String,
    /// Part of the cap, six decimals.
    pub share_used: Option<String>,
    /// The workflow that costs most, of a cap per workflow.
    pub workflow: Option<String>,
    /// How many workflows, or months, cost more than the cap.
    pub over: u64,
}

/// What the answer says about itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitCostMetaBody {
    /// The days.
    pub range: RangeBody,
    /// Currency of every amount.
    pub currency: String,
    /// What a row is.
    pub by: String,
    /// Which cost and which outcomes.
    pub cohort: String,
    /// Which tiers.
    pub mode: String,
    /// The state that was asked for.
    pub as_of: Option<String>,
    /// The last posting that counts.
    pub posting: Option<i64>,
    /// Hash of that posting.
    pub ledger_head: Option<String>,
    /// First day of which events are stored; nothing came of any workflow on the days before, as far as is known.
    pub events_from: Option<String>,
    /// Days of the range on which the cost of rows was corrected after it was posted; empty with `cohort=merged`, whose weeks
    /// are not those of the cost.
    pub restated: Vec<RestatedDayBody>,
}

/// Unit costs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnitCostsBody {
    /// The rows of this page.
    pub rows: Vec<UnitCostRowBody>,
    /// Totals over all pages.
    pub totals: UnitCostTotalsBody,
    /// The caps of the policy that applies on the last day.
    pub caps: Vec<UnitCapBody>,
    /// What the answer says about itself.
    pub meta: UnitCostMetaBody,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns what a merged pull request and a completed workflow cost, by workflow, repo or task class.
#[utoipa::path(get, path = "/api/v1/unit-costs", tag = "costs", params(UnitCostParams), responses((status = 200, body = UnitCostsBody)))]
pub async fn list_unit_costs(
    reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let query = UnitCostQuery::parse(&query.0, &app.list_limits())?;
    let table = app.engine.unit_costs(&reader.scope, &query).await?;
    let body = to_api_unit_costs(table, &query, app.zone().name());
    if asked.is_csv() {
        let (columns, rows) = flat(&body, &query)?;
        return asked.answer(&serde_json::json!({ "rows": rows }), || columns, body.next_cursor.as_deref());
    }
    asked.answer(&body, Vec::new, body.next_cursor.as_deref())
}

fn to_api_unit_costs(table: UnitCostTable, query: &UnitCostQuery, timezone: &str) -> UnitCostsBody {
    let range = RangeBody { from: day(table.range.from()), to: day(table.range.to()), timezone: timezone.to_owned() };
    UnitCostsBody {
        rows: table.rows.iter().map(|row| to_api_row(row, query)).collect(),
        totals: to_api_totals(&table.totals, query),
        caps: table.caps.iter().map(to_api_cap).collect(),
        meta: UnitCostMetaBody {
            range,
            currency: table.currency.to_string(),
            by: query.by.as_str().to_owned(),
            cohort: query.cohort.as_str().to_owned(),
            mode: query.mode.as_str().to_owned(),
            as_of: query.as_of.map(|as_of| as_of.to_string()),
            posting: table.posting,
            ledger_head: table.ledger_head,
            events_from: table.events_from.map(day),
            restated: table.restated.iter().map(to_api_restated).collect(),
        },
        next_cursor: table.next_cursor,
    }
}

fn to_api_row(row: &UnitCostRow, query: &UnitCostQuery) -> UnitCostRowBody {
    UnitCostRowBody {
        key: Map::from_iter([(query.by.as_str().to_owned(), Value::String(row.key.to_string()))]),
        figures: to_api_figures(&row.figures, query),
        series: row.series.iter().map(|(week, sums)| to_api_week(*week, sums)).collect(),
    }
}

fn to_api_totals(totals: &UnitCostTotals, query: &UnitCostQuery) -> UnitCostTotalsBody {
    UnitCostTotalsBody {
        figures: to_api_figures(&totals.figures, query),
        overhead: money(totals.overhead),
        without_workflow: money(totals.without_workflow),
        prs_without_workflow: totals.prs_without_workflow,
    }
}

fn to_api_figures(figures: &UnitFigures, query: &UnitCostQuery) -> UnitFiguresBody {
    let sums = &figures.sums;
    UnitFiguresBody {
        cost: money(sums.cost),
        direct: money(sums.direct),
        amortized: money(sums.amortized),
        overhead_share: (query.mode == UnitCostMode::Marginal).then(|| money(figures.overhead_share)),
        pending: money(figures.pending),
        pending_share: figures.pending_share().map(share),
        memo_cost: money(figures.memo_cost),
        n: sums.n,
        cost_per_merged_pr: sums.cost_per_merged_pr().map(money),
        workflows_completed: sums.completed,
        cost_per_completed_workflow: sums.cost_per_completed_workflow().map(money),
        failed_cost: money(figures.failed_cost),
        workflows_failed: figures.failed,
        in_progress_cost: money(figures.in_progress_cost),
        workflows_in_progress: figures.in_progress,
        by_category: to_api_categories(&sums.by_category),
    }
}

fn to_api_week(week: Day, sums: &UnitSums) -> UnitWeekBody {
    UnitWeekBody {
        week: day(week),
        cost: money(sums.cost),
        direct: money(sums.direct),
        amortized: money(sums.amortized),
        n: sums.n,
        cost_per_merged_pr: sums.cost_per_merged_pr().map(money),
        workflows_completed: sums.completed,
        cost_per_completed_workflow: sums.cost_per_completed_workflow().map(money),
        by_category: to_api_categories(&sums.by_category),
    }
}

fn to_api_categories(categories: &BTreeMap<Arc<str>, i128>) -> BTreeMap<String, String> {
    categories.iter().map(|(category, atoms)| (category.to_string(), money(*atoms))).collect()
}

fn to_api_cap(cap: &UnitCap) -> UnitCapBody {
    UnitCapBody {
        task_class: cap.task_class.clone(),
        per: cap.per.as_str().to_owned(),
        amount: money(cap.amount),
        used: money(cap.used),
        share_used: cap.share_used.map(share),
        workflow: cap.workflow.as_ref().map(ToString::to_string),
        over: cap.over,
    }
}

/// A table for spreadsheets: the key, then one column per number; weeks and categories are in the JSON only.
fn flat(body: &UnitCostsBody, query: &UnitCostQuery) -> Result<(Vec<String>, Vec<Value>), ApiError> {
    let numbers = [
        "cost",
        "direct",
        "amortized",
        "overhead_share",
        "pending",
        "pending_share",
        "memo_cost",
        "n",
        "cost_per_merged_pr",
        "workflows_completed",
        "cost_per_completed_workflow",
        "failed_cost",
        "workflows_failed",
        "in_progress_cost",
        "workflows_in_progress",
    ];
    let mut rows = Vec::new();
    for row in &body.rows {
        let failed = |error: serde_json::Error| ApiError::Internal(error.to_string());
        let mut figures = serde_json::to_value(&row.figures).map_err(failed)?;
        if let Some(members) = figures.as_object_mut() {
            members.extend(row.key.clone());
        }
        rows.push(figures);
    }
    let columns = std::iter::once(query.by.as_str()).chain(numbers).map(str::to_owned).collect();
    Ok((columns, rows))
}
