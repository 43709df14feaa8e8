//! Versions of rate cards.

use super::ledger::PageParams;
use super::versions::{
    PublishParams, PublishedBody, ValidBody, VersionBody, VersionWithContent, published_answer, to_api_published,
    to_api_refusal, to_api_version, toml_of, version_answer,
};
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::body::Text;
use crate::convert::day;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs, flag};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::rates::RateCard;
use engine::EngineError;
use engine::publish::VersionSummary;

const RATE_CARDS: &str = "rate-cards";
/// Name of a document that came without one.
const FILE: &str = "rates.toml";

/// Returns rate cards in the order of publication, the built-in one first.
#[utoipa::path(get, path = "/api/v1/rate-cards", tag = "rate-cards", params(PageParams), responses((status = 200, body = Page<VersionBody>)))]
pub async fn list_rate_cards(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let books = app.engine.books_now().await?;
    let currency = |summary: &VersionSummary| {
        let card = books.cards().iter().rev().find(|card| *card.name == *summary.version);
        card.map(|card| card.content.currency.to_string())
    };
    let all = app.engine.rate_cards().await?;
    Page::of_all(all, &page, RATE_CARDS, |summary| to_api_version(summary, currency(summary)))?.answer(&asked)
}

/// Returns a rate card; `Accept: application/toml` gives its text.
#[utoipa::path(get, path = "/api/v1/rate-cards/{version}", tag = "rate-cards",
    params(("version" = String, Path, description = "Name of the version")),
    responses((status = 200, content((VersionWithContent = "application/json"), (String = "application/toml")))))]
pub async fn show_rate_card(
    _reader: AdminReader,
    State(app): State<App>,
    Id(version): Id,
    query: QueryPairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    query.none()?;
    let starter = RateCard::starter();
    let (summary, text) = match app.engine.rate_card(&version).await {
        Err(EngineError::NotFound { .. }) if version == starter.version => {
            let text = toml::to_string(&starter).map_err(|error| ApiError::Internal(error.to_string()))?;
            (app.engine.rate_cards().await?.swap_remove(0), text)
        }
        found => found?,
    };
    let currency = RateCard::read(FILE, &text).map(|card| card.currency.to_string()).ok();
    version_answer(&headers, to_api_version(&summary, currency), text)
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
    let published = to_api_published(&app.engine.publish_rate_card(&toml_of(&body)?, FILE, confirm).await?);
    if published.outcome != "unchanged" {
        app.record(&admin, "rate_card.publish", &published.version, crate::audit::NOTHING, Some(&published)).await?;
    }
    published_answer(&published)
}

/// Says whether a rate card can be used; nothing is stored.
#[utoipa::path(post, path = "/api/v1/rate-cards/validate", tag = "rate-cards",
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, body = ValidBody)))]
pub async fn validate_rate_card(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    query.none()?;
    let text = toml_of(&body)?;
    let card = app.engine.validate_rate_card(&text, FILE).await?;
    let refusal = app.engine.refusal_of_rate_card(&text, &card).await?;
    json(&ValidBody {
        valid: true,
        version: card.version,
        valid_from: day(card.valid_from),
        names: card.prices.into_iter().map(|price| price.meter).collect(),
        rows: None,
        shared_drivers: Vec::new(),
        refusal: refusal.as_ref().map(to_api_refusal),
    })
}
