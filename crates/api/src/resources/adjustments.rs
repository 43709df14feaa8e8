//! Cost that a person moves from one tenant to another.

use crate::access::FinanceWriter;
use crate::app::App;
use crate::audit::NOTHING;
use crate::auth::random_id;
use crate::body::Json;
use crate::idempotency::{digest_of, key_of};
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::toml_text::DecimalText;
use domain::{Currency, Day};
use engine::adjust::{Adjustment, AdjustmentFacts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const REASON_CHARS_MAX: usize = 500;
const REFERENCE_CHARS_MAX: usize = 200;

/// An adjustment to be booked.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdjustment {
    /// The day whose cost is corrected; not after today.
    #[schema(value_type = String, example = "2026-10-17")]
    pub charge_date: Day,
    /// Who pays less: a tenant, or an alias of one on that day.
    pub from_tenant: String,
    /// Who pays more.
    pub to_tenant: String,
    /// How much, more than 0; to move cost the other way, swap the tenants.
    #[schema(value_type = String, example = "127.50")]
    pub amount: DecimalText,
    /// ISO-4217 code.
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Why; tenants do not see it.
    pub reason: String,
    /// Where it was decided, such as the number of a ticket.
    pub reference: String,
}

/// An adjustment as it was booked: two entries of opposite sign in one posting.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AdjustmentBody {
    /// Its id.
    pub id: String,
    /// The posting with its two entries.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: String,
    /// The day whose cost is corrected.
    pub charge_date: String,
    /// The month on whose statement it stands.
    pub billing_month: String,
    /// `correction` if that is a later month than the day's.
    pub charge_class: Option<String>,
    /// Who pays less.
    pub from_tenant: String,
    /// Who pays more.
    pub to_tenant: String,
    /// How much.
    pub amount: String,
    /// ISO-4217 code.
    pub currency: String,
    /// The same in the reporting currency.
    pub amount_reporting: String,
    /// The rate that was used; null in the reporting currency itself.
    pub fx_rate: Option<String>,
    /// Day of that rate.
    pub fx_date: Option<String>,
    /// Why.
    pub reason: String,
    /// Where it was decided.
    pub reference: String,
    /// Who entered it.
    pub entered_by: String,
    /// Hash of the posting.
    pub hash: String,
}

/// Moves cost from one tenant to another. Nothing takes it back but another adjustment.
///
/// With an `Idempotency-Key` it is booked once, also when the server stopped before it could answer.
#[utoipa::path(post, path = "/api/v1/adjustments", tag = "ledger", request_body = NewAdjustment,
    responses((status = 201, body = AdjustmentBody)))]
pub async fn add_adjustment(
    writer: FinanceWriter,
    State(app): State<App>,
    query: QueryPairs,
    headers: HeaderMap,
    Json(asked): Json<NewAdjustment>,
) -> Result<Response, ApiError> {
    query.none()?;
    let amount = check(&app, &asked)?;
    let key = key_of(&headers)?;
    let adjustment = engine::adjust::NewAdjustment {
        may_repeat: key.is_some(),
        id: id_of(&asked, &writer.actor, key),
        charge_date: asked.charge_date,
        from_tenant: asked.from_tenant,
        to_tenant: asked.to_tenant,
        amount,
        currency: asked.currency,
        reason: asked.reason,
        reference: asked.reference,
        entered_by: writer.actor.clone(),
    };
    let body = to_api_adjustment(app.engine.adjust(&adjustment).await?);
    app.record(&writer, "adjustment.add", &body.id, NOTHING, Some(&body)).await?;
    let mut response = json(&body)?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Returns the amount in atoms of 10⁻¹⁵.
fn check(app: &App, asked: &NewAdjustment) -> Result<i128, ApiError> {
    if app.today() < asked.charge_date {
        return Err(ApiError::body("/charge_date", format!("{} is after today, {}", asked.charge_date, app.today())));
    }
    let texts = [("/reason", &asked.reason, REASON_CHARS_MAX), ("/reference", &asked.reference, REFERENCE_CHARS_MAX)];
    for (pointer, text, chars_max) in texts {
        if text.trim().is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control) {
            return Err(ApiError::body(pointer, format!("use 1 to {chars_max} printable characters")));
        }
    }
    let refuse = |detail: String| ApiError::body("/amount", detail);
    let parsed = domain::money::parse_atoms(&asked.amount.0).map_err(|error| refuse(error.to_string()))?;
    if parsed.rounded {
        return Err(refuse("use at most 15 digits after the point".to_owned()));
    }
    if parsed.atoms <= 0 {
        return Err(refuse("move more than 0; to move cost the other way, swap the tenants".to_owned()));
    }
    Ok(parsed.atoms)
}

/// The same request under the same key has the same id, so that a repeat finds what the first one booked even where its
/// answer was never kept.
fn id_of(asked: &NewAdjustment, actor: &str, key: Option<String>) -> String {
    let Some(key) = key else { return random_id("adj") };
    let NewAdjustment { charge_date, from_tenant, to_tenant, amount, currency, reason, reference } = asked;
    let (date, currency) = (charge_date.to_string(), currency.to_string());
    let parts: [&str; 9] = [actor, &key, &date, from_tenant, to_tenant, &amount.0, &currency, reason, reference];
    format!("adj-{}", digest_of(&parts))
}

fn to_api_adjustment(adjustment: Adjustment) -> AdjustmentBody {
    let Adjustment { posting, booked_at, hash, facts } = adjustment;
    adjustment_body(facts, posting, booked_at.to_string(), hash)
}

/// Returns the shape on the wire of what a commit says of an adjustment.
pub(super) fn adjustment_body(facts: AdjustmentFacts, posting: i64, booked_at: String, hash: String) -> AdjustmentBody {
    let is_correction = !facts.charge_date.starts_with(&facts.billing_month);
    AdjustmentBody {
        id: facts.id,
        posting,
        booked_at,
        charge_date: facts.charge_date,
        billing_month: facts.billing_month,
        charge_class: is_correction.then(|| "correction".to_owned()),
        from_tenant: facts.from_tenant,
        to_tenant: facts.to_tenant,
        amount: facts.amount,
        currency: facts.currency,
        amount_reporting: facts.amount_reporting,
        fx_rate: facts.fx_rate,
        fx_date: facts.fx_date,
        reason: facts.reason,
        reference: facts.reference,
        entered_by: facts.entered_by,
        hash,
    }
}
