//! Versions of policies.

use super::ledger::PageParams;
use super::versions::{
    ListedVersionBody, PublishParams, PublishedBody, SelectionRow, SharedDriverBody, ValidBody, VersionWithContent,
    published_answer, replaced_version, to_api_listed, to_api_published, to_api_refusal, to_api_version, toml_of,
    version_answer,
};
use super::what_if::{self, WhatIfBody, WhatIfParams};
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
use domain::policy::{BUILTIN_TEXT, Policy};
use engine::EngineError;
use engine::publish::VersionSummary;
use engine::query::selection::{Fate, Selected, SharedDriver};
use engine::run::{Draft, WhatIfQuery};
use utoipa::IntoParams;

const POLICIES: &str = "policies";
/// Name of a document that came without one.
const FILE: &str = "policy.toml";

/// Returns policies in the order of publication, the built-in one first.
#[utoipa::path(get, path = "/api/v1/policies", tag = "policies", params(PageParams), responses((status = 200, body = Page<ListedVersionBody>)))]
pub async fn list_policies(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let all = app.engine.policies().await?;
    Page::of_all(all, &page, POLICIES, |listed| to_api_listed(listed, None))?.answer(&asked)
}

/// Returns a policy; `Accept: application/toml` gives its text.
#[utoipa::path(get, path = "/api/v1/policies/{version}", tag = "policies",
    params(("version" = String, Path, description = "Name of the version")),
    responses((status = 200, content((VersionWithContent = "application/json"), (String = "application/toml")))))]
pub async fn show_policy(
    _reader: AdminReader,
    State(app): State<App>,
    Id(version): Id,
    query: QueryPairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    query.none()?;
    let found = match app.engine.policy(&version).await {
        Err(EngineError::NotFound { .. }) if version == Policy::builtin().version => {
            (VersionSummary::unpublished(&version, Policy::builtin().valid_from), BUILTIN_TEXT.to_owned())
        }
        found => found?,
    };
    version_answer(&headers, to_api_version(&found.0, None), found.1)
}

/// Publishes a policy: TOML, or the same as JSON. A used version cannot change.
#[utoipa::path(post, path = "/api/v1/policies", tag = "policies", params(PublishParams),
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, body = PublishedBody), (status = 201, body = PublishedBody, description = "New")))]
pub async fn publish_policy(
    admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    flag(&mut params, "confirm")?;
    params.finish()?;
    let known = app.engine.policies().await?;
    let published = to_api_published(&app.engine.publish_policy(&toml_of(&body)?, FILE).await?);
    if published.outcome != "unchanged" {
        // Its fixed costs are cost lines like any other.
        app.prepare().await?;
        app.set_up_events().await?;
        let before = replaced_version(&known, &published);
        app.record(&admin, "policy.publish", &published.version, before.as_ref(), Some(&published)).await?;
    }
    published_answer(&published)
}

/// The days whose lines are tried.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ValidateParams {
    /// `30d`, `2026-10`, `2026-10-01..2026-10-31` …; without it only the document is checked.
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
}

/// Says whether a policy can be used and, for a range, which lines its pools take; nothing is stored.
#[utoipa::path(post, path = "/api/v1/policies/validate", tag = "policies", params(ValidateParams),
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, body = ValidBody)))]
pub async fn validate_policy(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    body: Text,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let range = params.range(&app.list_limits())?;
    params.finish()?;
    let text = toml_of(&body)?;
    let policy = app.engine.validate_policy(&text, FILE)?;
    let refusal = app.engine.refusal_of_policy(&text, &policy).await?;
    let rows = match range {
        None => None,
        Some(range) => {
            let found = app.engine.selection_all_tenants(&policy, range).await?;
            Some(found.into_iter().map(to_api_selection).collect())
        }
    };
    let shared = app.engine.shared_drivers(&policy).await?;
    json(&ValidBody {
        valid: true,
        version: policy.version,
        valid_from: day(policy.valid_from),
        names: policy.pools.into_iter().map(|pool| pool.name).collect(),
        rows,
        shared_drivers: shared.into_iter().map(to_api_shared).collect(),
        refusal: refusal.as_ref().map(to_api_refusal),
    })
}

/// Says what a policy would change for each tenant over a range, against the ledger; nothing is stored.
///
/// `Accept: text/event-stream` tells the progress before the answer: `progress` with each day, at the end `done` or `error`.
/// It ends when the caller goes away; with an Idempotency-Key it runs to its end.
#[utoipa::path(post, path = "/api/v1/policies/simulate", tag = "policies", params(WhatIfParams),
    request_body(content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, content((WhatIfBody = "application/json"), (String = "text/event-stream")))))]
pub async fn simulate_policy(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    headers: HeaderMap,
    body: Text,
) -> Result<Response, ApiError> {
    let query = WhatIfQuery::from_params(query.params()?, &app.simulation_limits())?;
    let policy = app.engine.validate_policy(&toml_of(&body)?, FILE)?;
    what_if::answer(app, Draft::Policy(policy), query, &headers).await
}

fn to_api_shared(shared: SharedDriver) -> SharedDriverBody {
    SharedDriverBody { meter: shared.meter, pools: shared.pools.into() }
}

fn to_api_selection(selected: Selected) -> SelectionRow {
    let (finding, pool, also) = match selected.fate {
        Fate::Taken(pool) => ("taken", Some(pool), None),
        Fate::NoPool => ("no_pool", None, None),
        Fate::Overlap(pool, also) => ("overlap", Some(pool), Some(also)),
    };
    SelectionRow {
        finding: finding.to_owned(),
        pool,
        also,
        provider: selected.provider,
        service: selected.service,
        charge_category: selected.charge_category,
        currency: selected.currency.to_string(),
        amount: money(selected.amount),
        billed_amount: money(selected.billed_amount),
        first_day: day(selected.first_day),
        last_day: day(selected.last_day),
        refused: selected.refused.map(str::to_owned),
    }
}
