//! How much of the cost was measured.

use super::costs::{CoverageBody, RangeBody, to_api_coverage};
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, money, part};
use crate::list::ListAsked;
use crate::problem::ApiError;
use crate::query::{PageAsked, QueryPairs};
use axum::extract::State;
use axum::response::Response;
use domain::{DayRange, Instant};
use engine::query::coverage::{CoverageAnswer, CoverageKind, DriverGap};
use engine::query::{AsOf, cursor};
use serde::{Deserialize, Serialize};
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
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// A question about days and a state of the ledger, and which page of its rows.
pub(super) struct DaysAsked {
    /// The days.
    pub(super) range: DayRange,
    /// The state; of a later page as it was when the first page was asked for.
    pub(super) as_of: Option<AsOf>,
    question: String,
    place: Place,
    limit: usize,
}

/// Where a page begins, and when the first page was asked for.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place {
    at: i64,
    before: usize,
}

impl DaysAsked {
    /// Returns what the parameters ask of the list of this name.
    ///
    /// # Errors
    /// When one is unknown or cannot be used.
    pub(super) fn parse(list: &str, query: &QueryPairs, app: &App) -> Result<Self, ApiError> {
        let limits = app.list_limits();
        let (range, (as_of, page)) =
            query.days(&limits, |params| Ok((params.parsed::<AsOf>("as_of")?, PageAsked::take(params, &limits)?)))?;
        let question = format!("{list} {range:?} {as_of:?}");
        let later: Option<Place> = page.cursor.map(|text| cursor::decode(&question, &text)).transpose()?;
        let then = later.map(|place| AsOf::Instant(Instant::from_micros(place.at)));
        let place = later.unwrap_or(Place { at: app.now().micros(), before: 0 });
        Ok(Self { range, as_of: as_of.or(then), question, place, limit: page.limit })
    }

    /// Returns the page of these rows, and where the next one begins.
    pub(super) fn page<R>(&self, rows: Vec<R>) -> (Vec<R>, Option<String>) {
        let Place { at, before } = self.place;
        let end = before.saturating_add(self.limit);
        let next = (end < rows.len()).then(|| cursor::encode(&self.question, &Place { at, before: end }));
        (rows.into_iter().skip(before).take(self.limit).collect(), next)
    }
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

/// Somebody whose usage is missing on a day, as the last run of the day found it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DriverGapBody {
    /// The day.
    pub day: String,
    /// The pool.
    pub pool: String,
    /// Who, and on how many of the days before there was usage.
    pub detail: String,
}

/// Coverage of a range.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CoverageAnswerBody {
    /// By kind; those of this page.
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
    /// Consumers whose usage is missing on a day, so that others pay their part; the first of them, by day and pool.
    pub driver_gaps: Vec<DriverGapBody>,
    /// How many there are.
    pub driver_gaps_total: usize,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns how much of a range's cost was measured.
#[utoipa::path(get, path = "/api/v1/coverage", tag = "costs", params(DaysParams), responses((status = 200, body = CoverageAnswerBody)))]
pub async fn show_coverage(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let days = DaysAsked::parse("coverage", &query, &app)?;
    let answer = app.engine.coverage_all_tenants(days.range, days.as_of.as_ref()).await?;
    let body = to_api_coverage_answer(&app, &days, &answer);
    asked.answer(&body, crate::list::columns_of::<CoverageRow>, body.next_cursor.as_deref())
}

fn to_api_gap(gap: &DriverGap) -> DriverGapBody {
    DriverGapBody { day: day(gap.day), pool: gap.pool.clone(), detail: gap.detail.clone() }
}

fn to_api_coverage_answer(app: &App, days: &DaysAsked, answer: &CoverageAnswer) -> CoverageAnswerBody {
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
    let (rows, next_cursor) = days.page(rows.to_vec());
    CoverageAnswerBody {
        rows,
        coverage: to_api_coverage(shares),
        total: money(answer.amounts.total()),
        currency: answer.currency.to_string(),
        range: RangeBody {
            from: day(answer.range.from()),
            to: day(answer.range.to()),
            timezone: app.zone().name().to_owned(),
        },
        posting: answer.posting,
        driver_gaps: answer.driver_gaps.iter().take(app.limits.rows_max).map(to_api_gap).collect(),
        driver_gaps_total: answer.driver_gaps.len(),
        next_cursor,
    }
}
