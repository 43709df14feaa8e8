//! Recurring and manual costs.

use super::ledger::PageParams;
use crate::access::{AdminReader, FinanceWriter};
use crate::app::App;
use crate::audit::NOTHING;
use crate::auth::random_id;
use crate::body::Json;
use crate::convert::instant;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use collectors::fixed::{charges, from_row_fixed_cost};
use domain::policy::FixedPer;
use domain::{Currency, Day, Price};
use engine::query::cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::catalog::FixedCostRow;
use utoipa::ToSchema;

const FIXED_COSTS: &str = "fixed-costs";
const TEXT_CHARS_MAX: usize = 200;
const NOTE_CHARS_MAX: usize = 2000;
const TAGS_MAX: usize = 50;

/// A recurring or manual cost to be entered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFixedCost {
    /// Who is paid.
    pub provider: String,
    /// For what; default the provider.
    #[serde(default)]
    pub service: Option<String>,
    /// How much each whole period costs.
    #[schema(value_type = String, example = "310.00")]
    pub amount: Price,
    /// ISO-4217 code.
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// `day`, `month`, `year` or `once`.
    #[schema(value_type = String, example = "month")]
    pub per: FixedPer,
    /// First day.
    #[schema(value_type = String, example = "2026-01-01")]
    pub from: Day,
    /// Last day, included; open if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub to: Option<Day>,
    /// `fixed` (default) or `manual`.
    #[serde(default)]
    pub source: Option<String>,
    /// Free text.
    #[serde(default, alias = "note")]
    pub description: Option<String>,
    /// Tags of the cost lines.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A recurring or manual cost.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FixedCostBody {
    /// Its id.
    pub id: String,
    /// `fixed` or `manual`: the source of its cost lines.
    pub source: String,
    /// Who is paid.
    pub provider: String,
    /// For what.
    pub service: String,
    /// How much each whole period costs.
    pub amount: String,
    /// ISO-4217 code.
    pub currency: String,
    /// `day`, `month`, `year` or `once`.
    pub per: String,
    /// First day.
    pub from: String,
    /// Last day, included; null is open.
    pub to: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Tags of the cost lines.
    pub tags: BTreeMap<String, String>,
    /// Who entered it.
    pub created_by: String,
    /// When.
    pub created_at: String,
}

/// Returns fixed and manual costs by id.
#[utoipa::path(get, path = "/api/v1/fixed-costs", tag = "fixed-costs", params(PageParams), responses((status = 200, body = Page<FixedCostBody>)))]
pub async fn list_fixed_costs(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let after: Option<String> = page.cursor.as_ref().map(|text| cursor::decode(FIXED_COSTS, text)).transpose()?;
    let rows = app.catalog().list_fixed_costs(after.as_deref(), page.rows_wanted()).await?;
    Page::cut(rows, page.limit, |row| cursor::encode(FIXED_COSTS, &row.id), to_api_fixed_cost).answer(&asked)
}

/// Enters a fixed or manual cost; its cost lines are there when this answers.
#[utoipa::path(post, path = "/api/v1/fixed-costs", tag = "fixed-costs", request_body = NewFixedCost,
    responses((status = 201, body = FixedCostBody)))]
pub async fn add_fixed_cost(
    writer: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    Json(asked): Json<NewFixedCost>,
) -> Result<Response, ApiError> {
    query.none()?;
    check(&asked)?;
    let row = row_of(asked, &writer.actor, app.now().micros());
    // What cannot become lines is refused before it is stored.
    let entry = from_row_fixed_cost(&row)?;
    charges(&entry, app.today()).map_err(|reason| ApiError::body("", reason))?;
    let row = app.catalog().add_fixed_cost(&row).await?;
    if let Err(error) = app.prepare().await {
        app.catalog().delete_fixed_cost(&row.id, app.now().micros()).await?;
        return Err(error);
    }
    let body = to_api_fixed_cost(&row);
    app.record(&writer, "fixed_cost.add", &row.id, NOTHING, Some(&body)).await?;
    let mut response = json(&body)?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn check(asked: &NewFixedCost) -> Result<(), ApiError> {
    let texts = [("/provider", Some(&asked.provider)), ("/service", asked.service.as_ref())];
    for (pointer, text) in texts.into_iter().filter_map(|(pointer, text)| Some((pointer, text?))) {
        if text.trim().is_empty() || text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
            return Err(ApiError::body(pointer, format!("use 1 to {TEXT_CHARS_MAX} printable characters")));
        }
    }
    if asked.description.as_ref().is_some_and(|text| text.chars().count() > NOTE_CHARS_MAX) {
        return Err(ApiError::body("/description", format!("use at most {NOTE_CHARS_MAX} characters")));
    }
    if asked.source.as_ref().is_some_and(|source| !matches!(source.as_str(), "fixed" | "manual")) {
        return Err(ApiError::body("/source", "`source` is `fixed` or `manual`"));
    }
    if asked.to.is_some_and(|to| to < asked.from) {
        return Err(ApiError::body("/to", "`to` lies before `from`"));
    }
    if TAGS_MAX < asked.tags.len() {
        return Err(ApiError::body("/tags", format!("use at most {TAGS_MAX} tags")));
    }
    // The tag by which a pool knows the lines of its own `fixed`.
    if asked.tags.contains_key(collectors::fixed::POOL_TAG) {
        return Err(ApiError::body("/tags", format!("the tag `{}` is reserved", collectors::fixed::POOL_TAG)));
    }
    Ok(())
}

fn row_of(asked: NewFixedCost, actor: &str, now: i64) -> FixedCostRow {
    FixedCostRow {
        id: random_id("fc"),
        source: asked.source.unwrap_or_else(|| "fixed".to_owned()),
        service: asked.service.unwrap_or_else(|| asked.provider.clone()),
        provider: asked.provider,
        currency: asked.currency.to_string(),
        amount: asked.amount.to_string(),
        per: word_of(asked.per).to_owned(),
        from_date: asked.from.to_string(),
        to_date: asked.to.map(|to| to.to_string()),
        note: asked.description,
        tags: serde_json::to_string(&asked.tags).expect("a map of texts is JSON"),
        created_by: actor.to_owned(),
        created_at: now,
        deleted_at: None,
    }
}

fn word_of(per: FixedPer) -> &'static str {
    match per {
        FixedPer::Day => "day",
        FixedPer::Month => "month",
        FixedPer::Year => "year",
        FixedPer::Once => "once",
    }
}

/// Removes a fixed or manual cost, and its cost lines; what earlier runs read stays readable.
#[utoipa::path(delete, path = "/api/v1/fixed-costs/{id}", tag = "fixed-costs",
    params(("id" = String, Path, description = "Id of the cost")), responses((status = 204, description = "Removed")))]
pub async fn delete_fixed_cost(
    writer: FinanceWriter,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<StatusCode, ApiError> {
    query.none()?;
    let row = app.catalog().delete_fixed_cost(&id, app.now().micros()).await?;
    app.record(&writer, "fixed_cost.delete", &id, Some(&to_api_fixed_cost(&row)), NOTHING).await?;
    app.prepare().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn to_api_fixed_cost(row: &FixedCostRow) -> FixedCostBody {
    let amount =
        row.amount.parse::<Price>().map_or_else(|_| row.amount.clone(), |price| crate::convert::money(price.atoms()));
    FixedCostBody {
        id: row.id.clone(),
        source: row.source.clone(),
        provider: row.provider.clone(),
        service: row.service.clone(),
        amount,
        currency: row.currency.clone(),
        per: row.per.clone(),
        from: row.from_date.clone(),
        to: row.to_date.clone(),
        description: row.note.clone(),
        tags: serde_json::from_str(&row.tags).unwrap_or_default(),
        created_by: row.created_by.clone(),
        created_at: instant(row.created_at),
    }
}
