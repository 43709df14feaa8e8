//! What policies and rate cards have in common: dated versions of a TOML text.

use crate::body::{Text, json_of};
use crate::codes::engine_code;
use crate::convert::{day, instant};
use crate::list::json;
use crate::problem::ApiError;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::EngineError;
use engine::publish::{ListedVersion, PublishedVersion, VersionSummary};
use serde::Serialize;
use serde_json::{Map, Value};
use storage::catalog::Published;
use utoipa::{IntoParams, ToSchema};

const TOML: &str = "application/toml";

/// Whether something suspicious is meant.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PublishParams {
    /// `true`: publish although a price is 100 times or more away from the one before.
    pub confirm: Option<bool>,
}

/// A version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VersionBody {
    /// Its name.
    pub version: String,
    /// First day on which it may apply.
    pub valid_from: String,
    /// Currency of the prices; of rate cards only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// When it was published; null for the built-in one and that of the environment.
    pub published_at: Option<String>,
    /// Whether a posting rests on it: then it cannot change.
    pub used: bool,
    /// SHA-256 of its text; empty for the built-in one and that of the environment.
    pub sha256: String,
}

/// A version in the list of its kind.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ListedVersionBody {
    /// What is known without reading it.
    #[serde(flatten)]
    pub summary: VersionBody,
    /// Whether it is in force today; one of the list is. Of rate cards that of the environment, if there is one: it prices
    /// usage at current rates, while rated pools keep to the published cards.
    pub in_force: bool,
}

/// A version and what it says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VersionWithContent {
    /// What is known without reading it.
    #[serde(flatten)]
    pub summary: VersionBody,
    /// The document, the keys of its TOML.
    #[schema(value_type = Object)]
    pub content: Value,
}

/// What publishing did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PublishedBody {
    /// Name of the version.
    pub version: String,
    /// `added`, `replaced` (it was not used yet) or `unchanged`.
    pub outcome: String,
    /// First day that it may move.
    pub affected_from: String,
    /// Whether days that lie before today are moved; run them again.
    pub into_the_past: bool,
    /// The days of the past that were attributed already and are moved, as `from..to`, both included.
    pub affected_days: Vec<String>,
    /// Tenants that have entries on these days, at most 1000, by id.
    pub affected_tenants: Vec<String>,
    /// How many tenants have.
    pub affected_tenants_total: usize,
}

/// A document that can be used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ValidBody {
    /// True; a document that cannot be used is a problem.
    pub valid: bool,
    /// Name of the version.
    pub version: String,
    /// First day on which it would apply.
    pub valid_from: String,
    /// Names of its pools, or of the meters it prices, in order.
    pub names: Vec<String>,
    /// What a policy would do to the imported lines, if a range is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<SelectionRow>>,
    /// Meters that drive two pools of a policy; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared_drivers: Vec<SharedDriverBody>,
    /// Why publishing it now would be refused, though it can be used; absent when it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalBody>,
}

/// Why publishing a document would be refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefusalBody {
    /// Code of the problem: `version_in_use`, or `suspicious_price`, which a confirmation lifts.
    pub code: String,
    /// What is wrong and what to do.
    pub detail: String,
}

/// A meter whose usage decides what two pools charge.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SharedDriverBody {
    /// The meter.
    pub meter: String,
    /// The two pools, in the order of the policy.
    pub pools: Vec<String>,
}

/// Lines of the same kind, and what a policy would do to them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SelectionRow {
    /// `taken` by `pool`, `no_pool`, or `overlap`: `pool` takes them, `also` matches them too.
    pub finding: String,
    /// The pool that takes them.
    pub pool: Option<String>,
    /// A later pool that matches them too.
    pub also: Option<String>,
    /// Who is paid.
    pub provider: Option<String>,
    /// For which service.
    pub service: Option<String>,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<String>,
    /// Currency of the amounts.
    pub currency: String,
    /// Their cost by the policy's metric.
    pub amount: String,
    /// Their BilledCost.
    pub billed_amount: String,
    /// First day of the range that they fall on.
    pub first_day: String,
    /// Last day of the range that they fall on.
    pub last_day: String,
    /// Why a run would leave the pool as it is: `currency_mixed` when usage is to recover lines of two currencies.
    /// Absent when it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Returns a version as the wire shows it.
pub(super) fn to_api_version(summary: &VersionSummary, currency: Option<String>) -> VersionBody {
    VersionBody {
        version: summary.version.clone(),
        valid_from: day(summary.valid_from),
        currency,
        published_at: summary.published_at.map(instant),
        used: summary.used,
        sha256: summary.sha256.clone(),
    }
}

/// Returns a version of a list as the wire shows it.
pub(super) fn to_api_listed(listed: &ListedVersion, currency: Option<String>) -> ListedVersionBody {
    ListedVersionBody { summary: to_api_version(&listed.summary, currency), in_force: listed.in_force }
}

/// Returns the version that a publication replaced, if it replaced one.
pub(super) fn replaced_version(known: &[ListedVersion], published: &PublishedBody) -> Option<VersionBody> {
    let summaries = known.iter().map(|listed| &listed.summary);
    let mut replaced = summaries.filter(|summary| summary.version == published.version && !summary.sha256.is_empty());
    replaced.next().map(|summary| to_api_version(summary, None))
}

/// Returns what publishing did.
pub(super) fn to_api_published(published: &PublishedVersion) -> PublishedBody {
    let outcome = match published.outcome {
        Published::Added => "added",
        Published::Replaced => "replaced",
        Published::Unchanged => "unchanged",
    };
    let moved = &published.moved;
    PublishedBody {
        version: published.version.clone(),
        outcome: outcome.to_owned(),
        affected_from: day(published.affected_from),
        into_the_past: published.into_the_past,
        affected_days: moved.days.iter().map(|days| format!("{}..{}", day(days.from()), day(days.to()))).collect(),
        affected_tenants: moved.tenants.clone(),
        affected_tenants_total: moved.tenants_total,
    }
}

/// Returns why publishing would be refused.
pub(super) fn to_api_refusal(refusal: &EngineError) -> RefusalBody {
    RefusalBody { code: engine_code(refusal).to_owned(), detail: refusal.to_string() }
}

/// Returns the answer to a publication.
pub(super) fn published_answer(body: &PublishedBody) -> Result<Response, ApiError> {
    let mut response = json(body)?;
    if body.outcome == "added" {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// Returns a version with its content: as JSON, or its text where TOML is asked for.
pub(super) fn version_answer(headers: &HeaderMap, summary: VersionBody, text: String) -> Result<Response, ApiError> {
    if wants_toml(headers) {
        return Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(TOML))], text).into_response());
    }
    json(&with_content(summary, &text)?)
}

/// Returns whether the text itself is asked for.
pub(super) fn wants_toml(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == TOML.as_bytes())
}

/// Returns a version with what its text says.
pub(super) fn with_content(summary: VersionBody, text: &str) -> Result<VersionWithContent, ApiError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error| ApiError::Internal(format!("version {} is unreadable: {error}", summary.version)))?;
    Ok(VersionWithContent { summary, content: from_toml(toml::Value::Table(table)) })
}

/// Returns the TOML text that a body is, or that its JSON stands for.
pub(super) fn toml_of(body: &Text) -> Result<String, ApiError> {
    let is_json = body.content_type == "application/json" || body.content_type.ends_with("+json");
    if !is_json {
        return Ok(body.text.clone());
    }
    let Some(table) = to_toml(json_of(&body.text)?) else { return Err(ApiError::body("", "the document is null")) };
    if !table.is_table() {
        return Err(ApiError::body("", "the document is a JSON object with the keys of the TOML file"));
    }
    toml::to_string(&table).map_err(|error| ApiError::body("", error.to_string()))
}

/// Numbers that are not whole keep their digits as text, which is how TOML files give them too. Null means nothing.
fn to_toml(value: Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => toml::Value::Boolean(truth),
        Value::Number(number) => number
            .to_string()
            .parse::<i64>()
            .map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        Value::String(text) => toml::Value::String(text),
        Value::Array(items) => toml::Value::Array(items.into_iter().filter_map(to_toml).collect()),
        Value::Object(object) => {
            toml::Value::Table(object.into_iter().filter_map(|(key, value)| Some((key, to_toml(value)?))).collect())
        }
    })
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        // A policy or rate card that was accepted has no floats; one would be printed as its text.
        toml::Value::Float(number) => Value::String(number.to_string()),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, from_toml(value))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_toml_say_the_same() {
        let text = r#"{"version":"v","valid_from":"2026-01-01","pool":[{"name":"a","select":{"tags.x":["p","q"]},"capacity":{"m":64.5}}],"x":null}"#;
        let body = Text { text: text.to_owned(), content_type: "application/json".to_owned() };
        let toml = toml_of(&body).expect("a table");
        let back = from_toml(toml.parse::<toml::Table>().map(toml::Value::Table).expect("TOML"));
        assert_eq!(back["pool"][0]["select"]["tags.x"][1], "q");
        assert_eq!(back["pool"][0]["capacity"]["m"], "64.5");
        assert!(back.get("x").is_none());
        assert!(toml_of(&Text { text: "[1]".to_owned(), content_type: "application/json".to_owned() }).is_err());
    }
}
