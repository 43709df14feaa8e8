//! Versions of rate cards.

use super::costs::RangeBody;
use super::ledger::PageParams;
use super::versions::{
    ListedVersionBody, PublishParams, PublishedBody, ValidBody, VersionBody, published_answer, replaced_version,
    to_api_listed, to_api_published, to_api_refusal, to_api_version, toml_of, version_answer, wants_toml, with_content,
};
use super::what_if::{self, WhatIfBody};
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::body::Text;
use crate::convert::{day, money};
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs, flag};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::Month;
use domain::rates::{Per, RateCard};
use engine::EngineError;
use engine::month_prices::MonthPrice;
use engine::publish::{ListedVersion, VersionSummary};
use engine::query::{RateSimulation, SimulatedRow, SimulationQuery, View};
use engine::run::{Draft, WhatIfQuery};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

const RATE_CARDS: &str = "rate-cards";
/// Name of a document that came without one.
const FILE: &str = "rates.toml";

/// Returns rate cards in the order of publication, the built-in one first, that of the environment last.
#[utoipa::path(get, path = "/api/v1/rate-cards", tag = "rate-cards", params(PageParams), responses((status = 200, body = Page<ListedVersionBody>)))]
pub async fn list_rate_cards(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let books = app.engine.books_now().await?;
    let given = app.engine.current_card(&books)?;
    let currency = |listed: &ListedVersion| {
        let version = listed.summary.version.as_str();
        let published = books.cards().iter().rev().find(|card| *card.name == *version).map(|card| &card.content);
        let card = published.or_else(|| Some(&given.card).filter(|_| given.version == version));
        card.map(|card| card.currency.to_string())
    };
    let all = app.engine.rate_cards().await?;
    Page::of_all(all, &page, RATE_CARDS, |listed| to_api_listed(listed, currency(listed)))?.answer(&asked)
}

/// Which month prices are told for.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MonthParams {
    /// `YYYY-MM`; the current month by default.
    pub month: Option<String>,
}

/// A price, and what a unit costs that is there the whole month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MonthPriceBody {
    /// The key that the card prices.
    pub key: String,
    /// Its meter.
    pub meter: String,
    /// Labels that usage must carry.
    pub labels: BTreeMap<String, String>,
    /// The month's quantity above which it applies; null for the first price.
    pub above: Option<String>,
    /// Price of one unit.
    pub price: String,
    /// unit, hour, day or month.
    pub per: String,
    /// What one unit costs in the month; of what is counted, its price.
    pub per_month: Option<String>,
    /// The same as a sentence.
    pub text: String,
}

/// A rate card with the month of each price.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RateCardBody {
    /// What is known without reading it.
    #[serde(flatten)]
    pub summary: VersionBody,
    /// The document, the keys of its TOML.
    #[schema(value_type = Object)]
    pub content: Value,
    /// The month.
    pub month: String,
    /// Every price, tiers after their first one.
    pub prices: Vec<MonthPriceBody>,
}

/// A rate card that can be used, with the month of each price.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ValidRateCardBody {
    /// What validations have in common.
    #[serde(flatten)]
    pub valid: ValidBody,
    /// Currency of the prices.
    pub currency: String,
    /// The month.
    pub month: String,
    /// Every price, tiers after their first one.
    pub prices: Vec<MonthPriceBody>,
}

/// Over which usage a draft is evaluated.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SimulationParams {
    /// `7d 30d 90d 365d`, `mtd`, `2026-10`, `2026-10-01..2026-10-31`; default `30d`, ending today.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// `current_rates`, which is the default: all usage at the draft's prices, beside what rated pools posted. `posted`: what
    /// runs of the days would post with the draft, against the ledger; then the last 30 days end with yesterday.
    pub view: Option<String>,
    /// Which usage counts, such as `origin:snapshot`; only with `view=current_rates`.
    pub filter: Option<String>,
    /// Most rows of the answer, 1 to 10000.
    pub limit: Option<u32>,
}

/// What a draft changes for one tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SimulatedRowBody {
    /// The tenant.
    pub tenant: String,
    /// At the draft's prices.
    pub cost: String,
    /// What rated pools posted for the same days.
    pub posted: String,
    /// The cost less that.
    pub change: String,
}

/// What a draft changes; nothing was stored.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SimulationBody {
    /// The tenants with the largest changes first.
    pub rows: Vec<SimulatedRowBody>,
    /// How many tenants there are.
    pub tenants: usize,
    /// Of all tenants.
    pub totals: SimulatedTotalsBody,
    /// The days.
    pub range: RangeBody,
    /// Currency of every amount: the draft's.
    pub currency: String,
    /// Name of the draft.
    pub rate_card_version: String,
    /// Usage without a price in the draft.
    pub unpriced_metrics: Vec<String>,
    /// Prices 100 times or more away from those in force.
    pub price_warnings: Vec<String>,
}

/// What a draft changes, by the view that was asked.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RateSimulationBody {
    /// `view=current_rates`.
    Usage(SimulationBody),
    /// `view=posted`.
    Ledger(WhatIfBody),
}

/// Sums over all tenants, those beyond `limit` too.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SimulatedTotalsBody {
    /// At the draft's prices.
    pub cost: String,
    /// Posted.
    pub posted: String,
    /// The cost less that.
    pub change: String,
}

/// Returns a rate card with the month of each price; `Accept: application/toml` gives its text.
#[utoipa::path(get, path = "/api/v1/rate-cards/{version}", tag = "rate-cards",
    params(("version" = String, Path, description = "Name of the version"), MonthParams),
    responses((status = 200, content((RateCardBody = "application/json"), (String = "application/toml")))))]
pub async fn show_rate_card(
    _reader: AdminReader,
    State(app): State<App>,
    Id(version): Id,
    query: QueryPairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let month = params.parsed::<Month>("month")?.unwrap_or_else(|| app.today().month());
    params.finish()?;
    let starter = RateCard::starter();
    let books = app.engine.books_now().await?;
    let (summary, text) = match app.engine.rate_card(&version).await {
        Err(EngineError::NotFound { .. }) if version == starter.version => {
            (VersionSummary::unpublished(&starter.version, starter.valid_from), text_of(&starter)?)
        }
        Err(error @ EngineError::NotFound { .. }) => match app.engine.current_card(&books)? {
            given if given.version == version => {
                (VersionSummary::unpublished(&given.version, given.card.valid_from), text_of(&given.card)?)
            }
            _ => return Err(error.into()),
        },
        found => found?,
    };
    let card = RateCard::read(FILE, &text).map_err(|error| ApiError::Internal(error.to_string()))?;
    let summary = to_api_version(&summary, Some(card.currency.to_string()));
    if wants_toml(&headers) {
        return version_answer(&headers, summary, text);
    }
    let version = with_content(summary, &text)?;
    json(&RateCardBody {
        summary: version.summary,
        content: version.content,
        month: month.to_string(),
        prices: app.engine.month_prices(&card, &books, month).into_iter().map(to_api_price).collect(),
    })
}

fn text_of(card: &RateCard) -> Result<String, ApiError> {
    toml::to_string(card).map_err(|error| ApiError::Internal(error.to_string()))
}

/// Returns a price with its month as the wire shows it.
pub(super) fn to_api_price(price: MonthPrice) -> MonthPriceBody {
    MonthPriceBody {
        key: price.key,
        meter: price.meter,
        labels: price.labels,
        above: price.above,
        price: money(price.price.atoms()),
        per: match price.per {
            Per::Unit => "unit",
            Per::Hour => "hour",
            Per::Day => "day",
            Per::Month => "month",
        }
        .to_owned(),
        per_month: price.per_month.map(money),
        text: price.text,
    }
}

/// Says what a draft would change for each tenant over a range; nothing is stored.
///
/// With `view=current_rates` all usage is priced and compared with what rated pools posted; with `view=posted` the days are
/// attributed as a run would with the draft, and compared with the whole ledger. `Accept: text/event-stream` then tells the
/// progress before the answer: `progress` with each day, at the end `done` or `error`. It ends when the caller goes away;
/// with an Idempotency-Key it runs to its end.
#[utoipa::path(post, path = "/api/v1/rate-cards/simulate", tag = "rate-cards", params(SimulationParams),
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, content((RateSimulationBody = "application/json"), (String = "text/event-stream")))))]
pub async fn simulate_rate_card(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    headers: HeaderMap,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    match params.word("view", &[("current_rates", View::CurrentRates), ("posted", View::Posted)])? {
        View::CurrentRates => {
            let query = SimulationQuery::from_params(params, &app.cost_limits())?;
            let found = app.engine.simulate_rate_card_all_tenants(&toml_of(&body)?, FILE, &query).await?;
            json(&to_api_simulation(found, app.zone().name()))
        }
        View::Posted => {
            if params.text("filter").is_some() {
                let detail = "the ledger is computed whole: `filter` goes with view=current_rates";
                return Err(ApiError::parameter("filter", detail));
            }
            let query = WhatIfQuery::from_params(params, &app.simulation_limits())?;
            let card = app.engine.validate_rate_card(&toml_of(&body)?, FILE).await?;
            what_if::answer(app, Draft::RateCard(card), query, &headers).await
        }
    }
}

fn to_api_simulation(found: RateSimulation, timezone: &str) -> SimulationBody {
    let row = |row: SimulatedRow| SimulatedRowBody {
        tenant: row.tenant,
        cost: money(row.cost),
        posted: money(row.posted),
        change: money(row.change),
    };
    let totals =
        SimulatedTotalsBody { cost: money(found.cost), posted: money(found.posted), change: money(found.change()) };
    SimulationBody {
        rows: found.rows.into_iter().map(row).collect(),
        tenants: found.tenants,
        totals,
        range: RangeBody { from: day(found.range.from()), to: day(found.range.to()), timezone: timezone.to_owned() },
        currency: found.currency.to_string(),
        rate_card_version: found.version,
        unpriced_metrics: found.unpriced_metrics,
        price_warnings: found.price_warnings,
    }
}

/// Publishes a rate card: TOML, or the same as JSON. A used version cannot change.
#[utoipa::path(post, path = "/api/v1/rate-cards", tag = "rate-cards", params(PublishParams),
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, body = PublishedBody), (status = 201, body = PublishedBody, description = "New")))]
pub async fn publish_rate_card(
    admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let confirm = flag(&mut params, "confirm")?;
    params.finish()?;
    let known = app.engine.rate_cards().await?;
    let published = to_api_published(&app.engine.publish_rate_card(&toml_of(&body)?, FILE, confirm).await?);
    if published.outcome != "unchanged" {
        let before = replaced_version(&known, &published);
        app.record(&admin, "rate_card.publish", &published.version, before.as_ref(), Some(&published)).await?;
    }
    published_answer(&published)
}

/// Says whether a rate card can be used, and what each price means in a month; nothing is stored.
#[utoipa::path(post, path = "/api/v1/rate-cards/validate", tag = "rate-cards", params(MonthParams),
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, body = ValidRateCardBody)))]
pub async fn validate_rate_card(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let month = params.parsed::<Month>("month")?.unwrap_or_else(|| app.today().month());
    params.finish()?;
    let text = toml_of(&body)?;
    let card = app.engine.validate_rate_card(&text, FILE).await?;
    let refusal = app.engine.refusal_of_rate_card(&text, &card).await?;
    let books = app.engine.books_now().await?;
    json(&ValidRateCardBody {
        currency: card.currency.to_string(),
        month: month.to_string(),
        prices: app.engine.month_prices(&card, &books, month).into_iter().map(to_api_price).collect(),
        valid: ValidBody {
            valid: true,
            version: card.version,
            valid_from: day(card.valid_from),
            names: card.prices.into_iter().map(|price| price.meter).collect(),
            rows: None,
            shared_drivers: Vec::new(),
            refusal: refusal.as_ref().map(to_api_refusal),
        },
    })
}
