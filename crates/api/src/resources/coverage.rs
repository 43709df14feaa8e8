//! How much of the cost was measured.

use super::costs::{CoverageBody, RangeBody, to_api_coverage};
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money, part};
use crate::list::ListAsked;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use engine::query::AsOf;
use engine::query::coverage::{CoverageAnswer, CoverageKind};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// Days and a state of the ledger.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DaysParams {
    /// `7d 30d 90d 365d mtd last_month qtd ytd 2026-10 2026-10-01..2026-10-31`; default `30d`.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// `posting:12`, a day or an instant.
    pub as_of: Option<String>,
}

/// Cost attributed in one way.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CoverageRow {
    /// measured, proxy, idle, overhead, variance or unattributed.
    pub kind: String,
    /// Its cost.
    pub amount: String,
    /// Its part of the total.
    pub share: String,
}

/// Coverage of a range.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CoverageAnswerBody {
    /// By kind.
    pub rows: Vec<CoverageRow>,
    /// Parts of one by kind.
    pub coverage: CoverageBody,
    /// The total.
    pub total: String,
    /// Currency of the amounts.
    pub currency: String,
    /// The days.
    pub range: RangeBody,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// Returns how much of a range's cost was measured.
#[utoipa::path(get, path = "/api/v1/coverage", tag = "costs", params(DaysParams), responses((status = 200, body = CoverageAnswerBody)))]
pub async fn show_coverage(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let (range, as_of) = query.days(&app.list_limits(), |params| Ok(params.parsed::<AsOf>("as_of")?))?;
    let answer = app.engine.coverage_all_tenants(range, as_of.as_ref()).await?;
    asked.answer(&to_api_coverage_answer(&app, &answer), crate::list::columns_of::<CoverageRow>, None)
}

fn to_api_coverage_answer(app: &App, answer: &CoverageAnswer) -> CoverageAnswerBody {
    let shares = answer.shares;
    let kinds = [
        ("measured", CoverageKind::Measured, shares.measured),
        ("proxy", CoverageKind::Proxy, shares.proxy),
        ("idle", CoverageKind::Idle, shares.idle),
        ("overhead", CoverageKind::Overhead, shares.overhead),
        ("variance", CoverageKind::Variance, shares.variance),
        ("unattributed", CoverageKind::Unattributed, shares.unattributed),
    ];
    let rows = kinds.map(|(word, kind, share)| CoverageRow {
        kind: word.to_owned(),
        amount: money(answer.amounts.get(kind)),
        share: part(share),
    });
    CoverageAnswerBody {
        rows: rows.to_vec(),
        coverage: to_api_coverage(shares),
        total: money(answer.amounts.total()),
        currency: answer.currency.to_string(),
        range: RangeBody {
            from: day(answer.range.from()),
            to: day(answer.range.to()),
            timezone: app.zone().name().to_owned(),
        },
        posting: answer.posting,
    }
}
