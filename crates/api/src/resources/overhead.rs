//! Overhead and its fixed cost lines.

use super::costs::RangeBody;
use super::coverage::{DaysAsked, DaysParams};
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money};
use crate::list::{ListAsked, columns_of};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// A recurring or manual cost line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OverheadRow {
    /// `fixed` or `manual`.
    pub source: String,
    /// Who is paid.
    pub provider: String,
    /// For what.
    pub service: String,
    /// Begin of the charge period.
    pub start: Option<String>,
    /// End of the charge period.
    pub end: Option<String>,
    /// The whole line's amount.
    pub amount: String,
    /// In which currency.
    pub currency: String,
}

/// Overhead of one pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OverheadPoolBody {
    /// The pool.
    pub pool: String,
    /// `__overhead__`, or whoever the pool names.
    pub consumer: String,
    /// Its cost.
    pub cost: String,
}

/// Overhead of a range.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OverheadBody {
    /// Recurring and manual cost lines whose period touches the range; those of this page.
    pub rows: Vec<OverheadRow>,
    /// What the pools of tier overhead cost.
    pub pools: Vec<OverheadPoolBody>,
    /// Their sum.
    pub total: String,
    /// Currency of pools and total.
    pub currency: String,
    /// The days.
    pub range: RangeBody,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns what overhead cost and which fixed costs it holds.
#[utoipa::path(get, path = "/api/v1/overhead", tag = "costs", params(DaysParams), responses((status = 200, body = OverheadBody)))]
pub async fn show_overhead(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let days = DaysAsked::parse("overhead", &query, &app)?;
    let answer = app.engine.overhead_all_tenants(days.range, days.as_of.as_ref()).await?;
    let (lines, next_cursor) = days.page(answer.lines);
    let rows = lines.into_iter().map(|line| OverheadRow {
        source: line.source,
        provider: line.provider,
        service: line.service,
        start: line.start.map(|start| start.to_string()),
        end: line.end.map(|end| end.to_string()),
        amount: money(line.amount),
        currency: line.currency,
    });
    let pools = answer.pools.iter().map(|pool| OverheadPoolBody {
        pool: pool.pool.clone(),
        consumer: pool.consumer.clone(),
        cost: money(pool.cost),
    });
    let timezone = app.zone().name().to_owned();
    let body = OverheadBody {
        rows: rows.collect(),
        pools: pools.collect(),
        total: money(answer.total),
        currency: answer.currency.to_string(),
        range: RangeBody { from: day(answer.range.from()), to: day(answer.range.to()), timezone },
        posting: answer.posting,
        next_cursor,
    };
    asked.answer(&body, columns_of::<OverheadRow>, body.next_cursor.as_deref())
}
