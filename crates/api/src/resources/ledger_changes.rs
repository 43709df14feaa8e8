//! What two states of the ledger differ by.

use super::costs::RangeBody;
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money};
use crate::list::{ListAsked, columns_of};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use engine::query::{LedgerChange, LedgerChangesQuery};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// Which two states, and of which entries.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerChangesParams {
    /// The earlier state: `posting:12`, a day (its end) or an instant; `posting:0` is the empty ledger. Required.
    pub from_booked: Option<String>,
    /// The later state; the newest if left out.
    pub to_booked: Option<String>,
    /// Only entries charged on these days: `30d`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// Only those of this tenant, or of the reserved consumer that the word names.
    pub tenant: Option<String>,
    /// Only those of this pool.
    pub pool: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// What changed for one consumer of a pool on a day for one cause.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerChangeBody {
    /// The day.
    pub charge_date: Option<String>,
    /// The pool.
    pub pool: String,
    /// The tenant, or the word of a reserved consumer.
    pub tenant: String,
    /// Whether it is an estimate beside the money.
    pub memo: bool,
    /// `cost` or `adjustment`.
    pub kind: String,
    /// Why the difference arose: `first`, `late_usage`, `bill_restated`, `new_policy` …
    pub cause: Option<String>,
    /// Why the consumer is a reserved word.
    pub reason: Option<String>,
    /// Whether it corrects a month that was closed.
    pub correction: bool,
    /// On whose month's statement it stands.
    pub billing_month: String,
    /// In which currency it was booked.
    pub currency: String,
    /// By how much the amount changed.
    pub amount: String,
    /// By how much the billed amount changed.
    pub billed_amount: String,
    /// By how much the amount in the reporting currency changed.
    pub amount_reporting: String,
    /// How many entries say so.
    pub entries: i64,
    /// The last of the postings that say so.
    pub posting: i64,
}

/// What all pages add up to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerChangesTotalsBody {
    /// In the reporting currency, estimates aside.
    pub amount_reporting: String,
    /// The estimates.
    pub memo: String,
}

/// What two states of the ledger differ by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerChangesBody {
    /// The rows, by day, pool, tenant and cause.
    pub rows: Vec<LedgerChangeBody>,
    /// The days that were asked for; null for all.
    pub range: Option<RangeBody>,
    /// Totals over all pages.
    pub totals: LedgerChangesTotalsBody,
    /// Currency of the totals: the reporting currency.
    pub currency: String,
    /// The earlier state's last posting; null for the empty ledger.
    pub after_posting: Option<i64>,
    /// The later state's last posting.
    pub up_to_posting: Option<i64>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns what was booked between two states of the ledger, summed by day, pool, tenant and cause.
///
/// The rows add up to the difference of what `/costs` answers `as_of` the one and `as_of` the other.
#[utoipa::path(get, path = "/api/v1/ledger/changes", tag = "ledger", params(LedgerChangesParams), responses((status = 200, body = LedgerChangesBody)))]
pub async fn list_ledger_changes(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let query = LedgerChangesQuery::parse(&query.0, &app.list_limits())?;
    let found = app.engine.ledger_changes_all_tenants(&query).await?;
    let body = LedgerChangesBody {
        rows: found.rows.into_iter().map(to_api_change).collect(),
        range: query.range.map(|range| RangeBody::of(range, &app)),
        totals: LedgerChangesTotalsBody { amount_reporting: money(found.amount_reporting), memo: money(found.memo) },
        currency: app.engine.settings().reporting_currency.to_string(),
        after_posting: found.after,
        up_to_posting: found.up_to,
        next_cursor: found.next_cursor,
    };
    asked.answer(&body, columns_of::<LedgerChangeBody>, body.next_cursor.as_deref())
}

fn to_api_change(change: LedgerChange) -> LedgerChangeBody {
    LedgerChangeBody {
        charge_date: change.charge_date.map(day),
        pool: change.pool,
        tenant: change.tenant.or(change.reserved).unwrap_or_default(),
        memo: change.memo,
        kind: change.kind,
        cause: change.cause,
        reason: change.reason,
        correction: change.correction,
        billing_month: change.billing_month,
        currency: change.currency,
        amount: money(change.amount),
        billed_amount: money(change.billed_amount),
        amount_reporting: money(change.amount_reporting),
        entries: change.entries,
        posting: change.posting,
    }
}
