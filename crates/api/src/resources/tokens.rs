//! Who may ask.

use super::ledger::PageParams;
use crate::access::PlatformAdmin;
use crate::app::App;
use crate::audit::NOTHING;
use crate::auth::{Caller, Minted, Role, TokenScope, TokenScopeError, random_id, scopes_of, tenants_of};
use crate::body::Json;
use crate::convert::instant;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, QueryPairs};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{Day, Instant, TenantId, TenantScope};
use engine::query::cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use storage::catalog::TokenRow;
use utoipa::ToSchema;

const TOKENS: &str = "tokens";
const NAME_CHARS_MAX: usize = 200;
const TENANTS_MAX: usize = 1000;

/// A token to be minted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// platform_admin, finance, admin, tenant_owner, tenant_viewer, ingest or metrics.
    pub role: String,
    /// What to call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Its tenants: needed for tenant roles, possible for ingest.
    #[serde(default)]
    pub tenants: Option<Vec<String>>,
    /// What of its role it may do: `read` allows GET and HEAD only; everything if left out or empty.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it ends: an instant, or a day that is its last; never if left out.
    #[serde(default)]
    pub expires_at: Option<String>,
}

/// A token, without what opens anything.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenBody {
    /// Its id.
    pub id: String,
    /// What somebody called it.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its tenants; null means every tenant.
    pub tenants: Option<Vec<String>>,
    /// What of its role it may do; everything if empty.
    pub scopes: Vec<String>,
    /// Its leading characters.
    pub hint: String,
    /// When it was minted.
    pub created_at: String,
    /// Who minted it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Option<String>,
    /// When somebody ended it.
    pub revoked_at: Option<String>,
    /// About when it was last used.
    pub last_used_at: Option<String>,
}

/// A new token, shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MintedBody {
    /// The token. Null when a repeated request gets its first answer again.
    #[schema(value_type = Option<String>)]
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: TokenBody,
}

/// Returns tokens by id, ended ones too.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", params(PageParams), responses((status = 200, body = Page<TokenBody>)))]
pub async fn list_tokens(
    _admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let after: Option<String> = page.cursor.as_ref().map(|text| cursor::decode(TOKENS, text)).transpose()?;
    let rows = app.catalog().list_tokens(after.as_deref(), page.rows_wanted()).await?;
    Page::cut(rows, page.limit, |row| cursor::encode(TOKENS, &row.id), to_api_token).answer(&asked)
}

/// Mints a token; it is shown once. Nobody mints more than they have themselves.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = NewToken, responses((status = 201, body = MintedBody)))]
pub async fn mint_token(
    admin: PlatformAdmin,
    State(app): State<App>,
    query: QueryPairs,
    Json(asked): Json<NewToken>,
) -> Result<Response, ApiError> {
    query.none()?;
    let role: Role =
        asked.role.parse().map_err(|error: crate::auth::RoleError| ApiError::body("/role", error.to_string()))?;
    let tenants = tenants_for(role, asked.tenants.as_deref())?;
    let scopes = scopes_for(&asked.scopes)?;
    let expires_at = expiry(&app, &admin, asked.expires_at.as_deref())?;
    check_not_more(&admin, role, tenants.as_ref())?;
    let name = asked.name.unwrap_or_default();
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(ApiError::body("/name", format!("use at most {NAME_CHARS_MAX} printable characters")));
    }
    let names = tenants.map(|tenants| tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect::<Vec<_>>());
    let minted = Minted::new();
    let row = TokenRow {
        id: random_id("tok"),
        hash: minted.hash,
        hint: minted.hint,
        name,
        role: role.as_str().to_owned(),
        tenants: names.map(|names| serde_json::to_string(&names).expect("a list of texts is JSON")),
        scopes: serde_json::to_string(&scopes).expect("a list of words is JSON"),
        created_at: app.now().micros(),
        created_by: admin.actor.clone(),
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    app.catalog().insert_token(&row).await?;
    let facts = to_api_token(&row);
    app.record(&admin, "token.mint", &row.id, NOTHING, Some(&facts)).await?;
    let mut response = json(&MintedBody { token: minted.token, facts })?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Tenant roles need tenants; roles that see everybody have none.
fn tenants_for(role: Role, given: Option<&[String]>) -> Result<Option<BTreeSet<TenantId>>, ApiError> {
    let refuse = |detail: String| Err(ApiError::body("/tenants", detail));
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return if role.is_of_tenant() {
            refuse(format!("the role {} needs its tenants", role.as_str()))
        } else {
            Ok(None)
        };
    };
    if !role.is_of_tenant() && role != Role::Ingest {
        return refuse(format!("the role {} is not bound to tenants; leave `tenants` out", role.as_str()));
    }
    if TENANTS_MAX < given.len() {
        return refuse(format!("use at most {TENANTS_MAX} tenants"));
    }
    let read = |name: &String| {
        name.parse().map_err(|error: domain::tenant::TenantIdError| ApiError::body("/tenants", error.to_string()))
    };
    given.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Each scope once, in order. Who mints has none: a scope that allows minting does not exist.
fn scopes_for(given: &[String]) -> Result<Vec<&'static str>, ApiError> {
    let read =
        |word: &String| word.parse().map_err(|error: TokenScopeError| ApiError::body("/scopes", error.to_string()));
    let scopes: BTreeSet<TokenScope> = given.iter().map(read).collect::<Result<_, _>>()?;
    Ok(scopes.into_iter().map(TokenScope::as_str).collect())
}

fn expiry(app: &App, minter: &Caller, given: Option<&str>) -> Result<Option<i64>, ApiError> {
    let refuse = |detail: String| ApiError::body("/expires_at", detail);
    let wanted = match given {
        None => minter.expires_at,
        Some(text) => {
            let end_of = |day: Day| app.zone().start_of(day.plus(1));
            let end = text.parse::<Day>().map(end_of).or_else(|_| text.parse::<Instant>());
            Some(end.map_err(|error| refuse(error.to_string()))?.micros())
        }
    };
    if wanted.is_some_and(|end| end <= app.now().micros()) {
        return Err(refuse("the token would have ended already".to_owned()));
    }
    match (minter.expires_at, wanted) {
        (Some(own), Some(end)) if own < end => {
            Err(ApiError::TokenExceedsCaller("a token cannot outlive the one that mints it"))
        }
        _ => Ok(wanted),
    }
}

/// Only who sees everybody mints tokens, so a new token can have less or as much, never more.
fn check_not_more(minter: &Caller, role: Role, tenants: Option<&BTreeSet<TenantId>>) -> Result<(), ApiError> {
    if minter.role != Role::PlatformAdmin && minter.role != role {
        return Err(ApiError::TokenExceedsCaller("a token cannot have another role than the one that mints it"));
    }
    match (&minter.scope, tenants) {
        (TenantScope::All, _) => Ok(()),
        (TenantScope::Only(own), Some(wanted)) if wanted.is_subset(own) => Ok(()),
        (TenantScope::Only(_), _) => {
            Err(ApiError::TokenExceedsCaller("a token cannot have more tenants than the one that mints it"))
        }
    }
}

/// Ends a token, at once and for ever.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "access", params(("id" = String, Path, description = "Id of the token")),
    responses((status = 204, description = "Ended")))]
pub async fn revoke_token(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<StatusCode, ApiError> {
    query.none()?;
    let row = app.catalog().revoke_token(&id, app.now().micros()).await?;
    app.known_tokens.forget(&row.hash);
    let before = TokenRow { revoked_at: None, ..row.clone() };
    app.record(&admin, "token.revoke", &id, Some(&to_api_token(&before)), Some(&to_api_token(&row))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn to_api_token(row: &TokenRow) -> TokenBody {
    let tenants = tenants_of(row).flatten();
    TokenBody {
        id: row.id.clone(),
        name: row.name.clone(),
        role: row.role.clone(),
        tenants: tenants.map(|tenants| tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect()),
        scopes: scopes_of(row).into_iter().flatten().map(|scope| scope.as_str().to_owned()).collect(),
        hint: row.hint.clone(),
        created_at: instant(row.created_at),
        created_by: row.created_by.clone(),
        expires_at: row.expires_at.map(instant),
        revoked_at: row.revoked_at.map(instant),
        last_used_at: row.last_used_at.map(instant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, scope: TenantScope) -> Caller {
        Caller { actor: "tok".to_owned(), role, scope, expires_at: None, request_id: String::new() }
    }

    fn only(names: &[&str]) -> BTreeSet<TenantId> {
        names.iter().map(|name| name.parse().expect("an id")).collect()
    }

    #[test]
    fn nobody_mints_more_than_they_have() {
        for minter in Role::ALL {
            for wanted in Role::ALL {
                let allowed = check_not_more(&caller(minter, TenantScope::All), wanted, None).is_ok();
                assert_eq!(allowed, minter == Role::PlatformAdmin || minter == wanted, "{minter:?} {wanted:?}");
            }
        }
        let bound = caller(Role::TenantOwner, TenantScope::Only(only(&["acme"])));
        let mint = |tenants: Option<&BTreeSet<TenantId>>| check_not_more(&bound, Role::TenantOwner, tenants).is_ok();
        assert_eq!(
            [mint(Some(&only(&["acme"]))), mint(Some(&only(&["acme", "globex"]))), mint(None)],
            [true, false, false]
        );
    }

    #[test]
    fn tenant_roles_have_tenants_and_no_others_do() {
        let given = ["acme".to_owned()];
        for role in Role::ALL {
            assert_eq!(tenants_for(role, None).is_ok(), !role.is_of_tenant(), "{role:?}");
            assert_eq!(
                tenants_for(role, Some(&given)).is_ok(),
                role.is_of_tenant() || role == Role::Ingest,
                "{role:?}"
            );
        }
        assert!(tenants_for(Role::TenantViewer, Some(&["__idle__".to_owned()])).is_err());
    }
}
