//! What other programs send in forms of their own: webhooks of GitHub and GitLab, exports of LiteLLM and Langfuse.

use crate::access::EventWriter;
use crate::app::App;
use crate::body::{content_type, text_of};
use crate::limits::BodySize;
use crate::memory::EventShare;
use crate::parsers::Size;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use crate::resources::events::{EventsBody, RefusedEventBody, grow_to_parse, read_text, take_lines};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::TenantScope;
use metering::adapters::{AdapterKind, AdapterRule, Made, Unusable, made_of};
use metering::refusal::RefusalCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Header with the signature of a delivery of GitHub.
const GITHUB_SIGNATURE: &str = "x-hub-signature-256";
/// Header with the secret of a delivery of GitLab.
const GITLAB_TOKEN: &str = "x-gitlab-token";

/// What became of an export or a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AdapterBody {
    /// Events stored.
    pub accepted: u64,
    /// Events that came before with the same content.
    pub duplicates: u64,
    /// Records that say nothing that counts.
    pub skipped: u64,
    /// Events refused; `index` is the number of the record.
    pub rejected: Vec<RefusedEventBody>,
}

/// Takes calls of models as a LiteLLM proxy logs them (callback `generic_api`): a JSON list, one object, or one per line.
///
/// Each class of tokens becomes an event `llm.completion`, each failed call an event `llm.failed`; each counts once, however
/// often the call is sent. 207 when some are refused.
#[utoipa::path(post, path = "/api/v1/events/litellm", tag = "events",
    request_body(content((String = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 200, body = AdapterBody), (status = 207, body = AdapterBody, description = "Some events are refused")))]
pub async fn post_litellm(
    writer: EventWriter,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    query.none()?;
    export(&app, writer.scope(), AdapterKind::Litellm, request).await
}

/// Takes observations as Langfuse exports them: a page of its API, a JSON list, one object, or one per line.
///
/// Each class of tokens of a generation becomes an event `llm.completion`, each failed one an event `llm.failed`; each counts
/// once, however often it is sent. 207 when some are refused.
#[utoipa::path(post, path = "/api/v1/events/langfuse", tag = "events",
    request_body(content((String = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 200, body = AdapterBody), (status = 207, body = AdapterBody, description = "Some events are refused")))]
pub async fn post_langfuse(
    writer: EventWriter,
    State(app): State<App>,
    query: QueryPairs,
    request: Request,
) -> Result<Response, ApiError> {
    query.none()?;
    export(&app, writer.scope(), AdapterKind::Langfuse, request).await
}

/// Takes a webhook of GitHub, signed with the secret of `[[ingest.adapter]]`; a merged pull request becomes `pr.merged`.
///
/// Other deliveries are skipped. A delivery that is sent again counts once.
#[utoipa::path(post, path = "/api/v1/webhooks/github", tag = "events",
    request_body(content((String = "application/json"))),
    responses((status = 200, body = AdapterBody)))]
pub async fn post_github(State(app): State<App>, query: QueryPairs, request: Request) -> Result<Response, ApiError> {
    query.none()?;
    let kind = AdapterKind::Github;
    let secret = app.adapters.secret(kind)?;
    refuse_form(request.headers())?;
    let signature = header(request.headers(), GITHUB_SIGNATURE).ok_or(ApiError::BadSignature(kind.as_str()))?;
    let text = text_of(request, &app, BodySize::Json).await?;
    if !secret.signed(text.as_bytes(), &signature) {
        return Err(ApiError::BadSignature(kind.as_str()));
    }
    delivery(&app, kind, text).await
}

/// Takes a webhook of GitLab with the secret token of `[[ingest.adapter]]`; a merged merge request becomes `pr.merged`.
///
/// Other deliveries are skipped. A delivery that is sent again counts once.
#[utoipa::path(post, path = "/api/v1/webhooks/gitlab", tag = "events",
    request_body(content((String = "application/json"))),
    responses((status = 200, body = AdapterBody)))]
pub async fn post_gitlab(State(app): State<App>, query: QueryPairs, request: Request) -> Result<Response, ApiError> {
    query.none()?;
    let kind = AdapterKind::Gitlab;
    let secret = app.adapters.secret(kind)?;
    refuse_form(request.headers())?;
    let token = header(request.headers(), GITLAB_TOKEN).filter(|token| secret.is(token));
    token.ok_or(ApiError::BadSignature(kind.as_str()))?;
    let text = text_of(request, &app, BodySize::Json).await?;
    delivery(&app, kind, text).await
}

/// The text of the one header of this name.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut all = headers.get_all(name).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    only.to_str().ok().map(str::to_owned)
}

/// Refuses a delivery as a form, which the sender offers beside JSON.
fn refuse_form(headers: &HeaderMap) -> Result<(), ApiError> {
    match content_type(headers).as_str() {
        "" | "application/json" => Ok(()),
        _ => Err(ApiError::MediaType("choose the content type application/json for this webhook".to_owned())),
    }
}

async fn export(app: &App, scope: &TenantScope, kind: AdapterKind, request: Request) -> Result<Response, ApiError> {
    let (text, share) = read_text(app, request).await?;
    let body = take(app, scope, (kind, text), share).await?;
    let status = if body.rejected.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let mut response = crate::list::json(&body)?;
    *response.status_mut() = status;
    Ok(response)
}

/// A delivery is one record; what is refused of it is its answer.
async fn delivery(app: &App, kind: AdapterKind, text: String) -> Result<Response, ApiError> {
    let mut share = app.event_memory.share();
    grow_to_parse(&mut share, text.as_bytes())?;
    let mut body = take(app, &TenantScope::All, (kind, text), share).await?;
    match body.rejected.pop() {
        Some(refused) => Err(ApiError::EventRefused(refused)),
        None => crate::list::json(&body),
    }
}

/// Makes events of the records and stores them.
async fn take(
    app: &App,
    scope: &TenantScope,
    (kind, text): (AdapterKind, String),
    share: EventShare,
) -> Result<AdapterBody, ApiError> {
    let rule = app.adapters.rule(kind);
    let size = Size::of(text.len(), false);
    let made = app.parsers.run(size, move || made(kind, &text, &rule)).await?;
    let Made { lines, records, skipped, unusable } = made;
    let outcome = if lines.is_empty() { EventsBody::default() } else { take_lines(app, scope, lines, &share).await? };
    Ok(to_api_adapter(outcome, &records, skipped, unusable))
}

fn made(kind: AdapterKind, text: &str, rule: &AdapterRule) -> Result<Made, ApiError> {
    made_of(kind, text, rule).map_err(|error| ApiError::Json(error.to_string()))
}

/// Puts numbers of records in the place of numbers of events, and adds the records that became none.
fn to_api_adapter(outcome: EventsBody, records: &[u64], skipped: u64, unusable: Vec<(u64, Unusable)>) -> AdapterBody {
    let EventsBody { accepted, duplicates, mut rejected } = outcome;
    for refused in &mut rejected {
        let record = usize::try_from(refused.index).ok().and_then(|event| records.get(event));
        refused.index = record.copied().unwrap_or(refused.index);
    }
    rejected.extend(unusable.into_iter().map(|(index, Unusable(detail))| {
        let code = RefusalCode::InvalidEvent.as_str().to_owned();
        RefusedEventBody { index, id: None, code, detail }
    }));
    rejected.sort_by_key(|refused| refused.index);
    AdapterBody { accepted, duplicates, skipped, rejected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_by_the_number_of_its_record() {
        let refused = |index: u64, code: &str| RefusedEventBody {
            index,
            id: None,
            code: code.to_owned(),
            detail: "why".to_owned(),
        };
        let outcome = EventsBody { accepted: 2, duplicates: 0, rejected: vec![refused(2, "tenant_missing")] };
        let body = to_api_adapter(outcome, &[0, 0, 3], 1, vec![(1, Unusable("why".to_owned()))]);
        let expected = AdapterBody {
            accepted: 2,
            duplicates: 0,
            skipped: 1,
            rejected: vec![refused(1, "invalid_event"), refused(3, "tenant_missing")],
        };
        assert_eq!(body, expected);
    }
}
