//! Bearer tokens and whom they stand for.
//!
//! A minted token is `apn_`, 43 characters of base 62 (256 random bits) and a checksum, so that a typing mistake
//! and a token found in a log are told without a look-up. Only its SHA-256 is stored.

use crate::app::App;
use crate::known_tokens::Found;
use crate::problem::ApiError;
use axum::http::{Extensions, HeaderMap, Method, header, request::Parts};
use domain::{TenantId, TenantScope};
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use storage::catalog::{Catalog, CatalogError, TokenRow};

const PREFIX: &str = "apn_";
/// 62⁴³ is just above 2²⁵⁶.
const BODY_CHARS: usize = 43;
/// 62⁶ is above 2³².
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Leading characters of a token that lists show.
const HINT_CHARS: usize = 8;
/// Shortest and longest token that may be given from outside.
const GIVEN_CHARS: std::ops::RangeInclusive<usize> = 32..=200;
/// Actor of a request made inside the process by its owner.
const LOCAL_ACTOR: &str = "local";
/// Actor of the token of the environment.
const GIVEN_ACTOR: &str = "admin";

/// What a token or login may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    PlatformAdmin,
    /// Reads all costs and usage; enters rates, costs, invoices; closes periods.
    Finance,
    /// Reads every tenant's posted costs and usage.
    Admin,
    /// Reads own tenants; own budgets and reports.
    TenantOwner,
    /// Reads own tenants.
    TenantViewer,
    /// Writes events.
    Ingest,
    /// Scrapes metrics.
    Metrics,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::PlatformAdmin,
        Self::Finance,
        Self::Admin,
        Self::TenantOwner,
        Self::TenantViewer,
        Self::Ingest,
        Self::Metrics,
    ];

    /// Returns the role's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform_admin",
            Self::Finance => "finance",
            Self::Admin => "admin",
            Self::TenantOwner => "tenant_owner",
            Self::TenantViewer => "tenant_viewer",
            Self::Ingest => "ingest",
            Self::Metrics => "metrics",
        }
    }

    /// Returns whether the role reads every tenant's costs.
    #[must_use]
    pub fn reads_all_tenants(self) -> bool {
        matches!(self, Self::PlatformAdmin | Self::Finance | Self::Admin)
    }

    /// Returns whether the role is bound to tenants.
    #[must_use]
    pub fn is_of_tenant(self) -> bool {
        matches!(self, Self::TenantOwner | Self::TenantViewer)
    }
}

/// The word is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a role; use one of platform_admin, finance, admin, tenant_owner, tenant_viewer, ingest, metrics"
)]
pub struct RoleError {
    given: String,
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(word: &str) -> Result<Self, RoleError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == word);
        found.ok_or_else(|| RoleError { given: word.chars().take(40).collect() })
    }
}

/// What a token may do of that which its role may. A token without scopes may do all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenScope {
    /// Requests that change nothing: GET and HEAD.
    Read,
}

impl TokenScope {
    /// Every scope.
    pub const ALL: [Self; 1] = [Self::Read];

    /// Returns the scope's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
        }
    }

    /// Returns whether the scope allows a request with this method.
    #[must_use]
    pub fn allows(self, method: &Method) -> bool {
        match self {
            Self::Read => matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

/// The word is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a scope; the only one is read")]
pub struct TokenScopeError {
    given: String,
}

impl FromStr for TokenScope {
    type Err = TokenScopeError;

    fn from_str(word: &str) -> Result<Self, TokenScopeError> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == word);
        found.ok_or_else(|| TokenScopeError { given: word.chars().take(40).collect() })
    }
}

/// Marks a request made inside the process by its owner. Set by the command line in process, never from a header.
#[derive(Clone, Copy, Debug)]
pub struct LocalAdmin;

/// The id of a request: on its log lines, in its problem, in its answer's `x-request-id`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Id of the token, for the audit log.
    pub actor: String,
    /// What the caller may do.
    pub role: Role,
    /// Whose data the caller may read.
    pub scope: TenantScope,
    /// When the token ends.
    pub expires_at: Option<i64>,
    /// The request.
    pub request_id: String,
}

/// The token that the operator gave, known by its hash.
#[derive(Clone)]
pub struct AdminToken(String);

impl fmt::Debug for AdminToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AdminToken(…)")
    }
}

/// The operator's token cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the admin token must have 32 to 200 visible ASCII characters")]
pub struct AdminTokenError;

impl FromStr for AdminToken {
    type Err = AdminTokenError;

    fn from_str(token: &str) -> Result<Self, AdminTokenError> {
        let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        let usable = visible && GIVEN_CHARS.contains(&token.len());
        if usable { Ok(Self(hash_of(token))) } else { Err(AdminTokenError) }
    }
}

/// A new token, to be shown once.
#[derive(Clone)]
pub struct Minted {
    /// The token.
    pub token: String,
    /// What is stored of it.
    pub hash: String,
    /// What lists show of it.
    pub hint: String,
}

impl Minted {
    /// Returns a new token from the operating system's randomness.
    ///
    /// # Panics
    /// If the operating system has no randomness: nothing safe can be done then.
    #[must_use]
    pub fn new() -> Self {
        let mut bits = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut bits).expect("the operating system gives random bytes");
        let body = base62(&bits, BODY_CHARS);
        let token = format!("{PREFIX}{body}_{}", checksum(&body));
        let hint = token.chars().take(HINT_CHARS).collect();
        Self { hash: hash_of(&token), hint, token }
    }
}

impl Default for Minted {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a random id for a row or a request, with this prefix. It is no secret, so the system is not asked for each.
pub(crate) fn random_id(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::random::<u64>())
}

/// Creates the platform admin's first token if the store has none yet, and returns it to be shown once.
///
/// `keep` puts it where its owner finds it. That comes first: a stored token that nobody knows would lock everybody out.
///
/// # Errors
/// When `keep` or the catalog fails.
pub async fn mint_first<E: From<CatalogError>>(
    catalog: &Catalog,
    now: i64,
    keep: impl FnOnce(&str) -> Result<(), E>,
) -> Result<Option<String>, E> {
    if !catalog.list_tokens(None, 1).await?.is_empty() {
        return Ok(None);
    }
    let minted = Minted::new();
    keep(&minted.token)?;
    let row = TokenRow {
        id: random_id("tok"),
        hash: minted.hash,
        hint: minted.hint,
        name: "first start".to_owned(),
        role: Role::PlatformAdmin.as_str().to_owned(),
        tenants: None,
        scopes: "[]".to_owned(),
        created_at: now,
        created_by: "system".to_owned(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    catalog.insert_token(&row).await?;
    Ok(Some(minted.token))
}

/// Returns the id of the request.
pub(crate) fn request_id_of(extensions: &Extensions) -> String {
    extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone())
}

/// Returns who makes the request: by its token, or without one by the cookie of a session.
pub(crate) async fn authenticate(app: &App, parts: &Parts) -> Result<Caller, ApiError> {
    let request_id = request_id_of(&parts.extensions);
    if parts.extensions.get::<LocalAdmin>().is_some() {
        return Ok(everything(LOCAL_ACTOR, request_id));
    }
    let hash = if parts.headers.contains_key(header::AUTHORIZATION) {
        usable_hash(app, bearer(&parts.headers))?
    } else {
        app.sessions.token_hash(&parts.headers, &parts.method, app.now().micros())?
    };
    caller_by_hash(app, &hash, request_id, &parts.method).await
}

/// Returns whom the token stands for, and its hash. Signing in changes nothing, so every scope allows it.
pub(crate) async fn sign_in(app: &App, token: Option<&str>, request_id: String) -> Result<(Caller, String), ApiError> {
    let hash = usable_hash(app, token)?;
    let caller = caller_by_hash(app, &hash, request_id, &Method::GET).await?;
    Ok((caller, hash))
}

/// Who may do all there is.
fn everything(actor: &str, request_id: String) -> Caller {
    Caller { actor: actor.to_owned(), role: Role::PlatformAdmin, scope: TenantScope::All, expires_at: None, request_id }
}

/// Whether it is the hash of the operator's token. Hashes are compared, so the time it takes tells nothing about the token.
fn is_given(app: &App, hash: &str) -> bool {
    app.admin_token.as_ref().is_some_and(|given| given.0 == hash)
}

/// The hash of a token that may be one.
fn usable_hash(app: &App, token: Option<&str>) -> Result<String, ApiError> {
    let token = token.ok_or(ApiError::Unauthenticated)?;
    let hash = hash_of(token);
    if is_given(app, &hash) || is_minted(token) { Ok(hash) } else { Err(ApiError::Unauthenticated) }
}

/// The caller whose token has this hash, if the token's scopes allow the method.
async fn caller_by_hash(app: &App, hash: &str, request_id: String, method: &Method) -> Result<Caller, ApiError> {
    if is_given(app, hash) {
        return Ok(everything(GIVEN_ACTOR, request_id));
    }
    // Apart, because every request would carry along the room that the catalog needs, from task to task.
    Box::pin(stored_caller(app, hash, request_id, method)).await
}

/// The same for a token that the catalog keeps.
async fn stored_caller(app: &App, hash: &str, request_id: String, method: &Method) -> Result<Caller, ApiError> {
    let now = app.now().micros();
    let found = app.known_tokens.find(app.catalog(), hash, now).await?;
    let Found { row, is_remembered } = found.filter(|found| found.row.is_live(now)).ok_or(ApiError::Unauthenticated)?;
    let caller = caller_of(&row, request_id)?;
    // When it was used last is for people; a catalog that cannot note it refuses nobody.
    let noted_micros = app.limits.token_used_seconds * 1_000_000;
    if !is_remembered && let Err(error) = app.catalog().touch_token(&row, now, noted_micros).await {
        tracing::warn!(?error, "the use of a token was not noted");
        app.known_tokens.rest(now);
    }
    let scopes = scopes_of(&row).ok_or_else(|| broken(&row, "list of scopes"))?;
    if scopes.is_empty() || scopes.iter().any(|scope| scope.allows(method)) {
        Ok(caller)
    } else {
        Err(ApiError::OutOfScope)
    }
}

fn broken(row: &TokenRow, what: &str) -> ApiError {
    ApiError::Internal(format!("token {} has an unreadable {what}", row.id))
}

fn caller_of(row: &TokenRow, request_id: String) -> Result<Caller, ApiError> {
    let role: Role = row.role.parse().map_err(|_| broken(row, "role"))?;
    let tenants = tenants_of(row).ok_or_else(|| broken(row, "list of tenants"))?;
    let scope = match (role.is_of_tenant(), tenants) {
        (_, Some(tenants)) => TenantScope::Only(tenants),
        // A tenant's token without tenants opens nothing rather than everything.
        (true, None) => TenantScope::Only(BTreeSet::new()),
        (false, None) => TenantScope::All,
    };
    Ok(Caller { actor: row.id.clone(), role, scope, expires_at: row.expires_at, request_id })
}

/// Returns the tenants of a stored token, `Some(None)` for every tenant, `None` when they cannot be read.
pub(crate) fn tenants_of(row: &TokenRow) -> Option<Option<BTreeSet<TenantId>>> {
    let Some(text) = &row.tenants else { return Some(None) };
    let names: Vec<String> = serde_json::from_str(text).ok()?;
    names.iter().map(|name| name.parse().ok()).collect::<Option<_>>().map(Some)
}

/// Returns the scopes of a stored token, `None` when they cannot be read.
pub(crate) fn scopes_of(row: &TokenRow) -> Option<BTreeSet<TokenScope>> {
    let words: Vec<String> = serde_json::from_str(&row.scopes).ok()?;
    words.iter().map(|word| word.parse().ok()).collect()
}

/// The token of the one `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_minted(token: &str) -> bool {
    let Some((body, check)) = token.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else { return false };
    body.len() == BODY_CHARS && body.bytes().all(|byte| BASE62.contains(&byte)) && check == checksum(body)
}

/// Returns what is stored of a secret: its SHA-256, in hex.
pub(crate) fn hash_of(token: &str) -> String {
    let mut digits = vec![0; 64];
    hex::encode_to_slice(Sha256::digest(token.as_bytes()), &mut digits).expect("two digits for each of 32 bytes");
    String::from_utf8(digits).expect("hexadecimal digits are text")
}

fn checksum(body: &str) -> String {
    base62(&crc32(body.as_bytes()).to_be_bytes(), CHECK_CHARS)
}

/// The number that the bytes are, big end first, in exactly so many digits of base 62.
fn base62(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![BASE62[0]; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).expect("a quotient of one byte's place is a byte");
            rest = value % 62;
        }
        *digit = BASE62[rest as usize];
    }
    String::from_utf8(text).expect("base 62 is ASCII")
}

/// CRC-32 as in zip files.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_has_its_form_and_checks() {
        let minted = Minted::new();
        assert_eq!(minted.token.len(), 4 + BODY_CHARS + 1 + CHECK_CHARS);
        assert!(is_minted(&minted.token));
        assert_ne!(minted.token, Minted::new().token);
        assert!(minted.token.starts_with(&minted.hint));
        for at in [4, 20, 50] {
            let mut wrong = minted.token.clone().into_bytes();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_minted(std::str::from_utf8(&wrong).expect("ASCII")), "changed at {at}");
        }
    }

    #[test]
    fn digits_and_checksum_are_the_known_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[1, 0], 3), "048");
        assert_eq!(base62(&[0xff; 32], BODY_CHARS).len(), BODY_CHARS);
    }

    #[test]
    fn the_operators_token_is_visible_and_long_enough() {
        assert!("x".repeat(32).parse::<AdminToken>().is_ok());
        for token in ["x".repeat(31), "x".repeat(201), format!("{} ", "x".repeat(40)), "é".repeat(20)] {
            assert!(token.parse::<AdminToken>().is_err(), "{token}");
        }
    }

    #[test]
    fn only_one_bearer_header_counts() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().expect("a value"));
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(headers(&["bearer a"]), Some("a".to_owned()));
        assert_eq!(headers(&["Bearer a", "Bearer b"]), None);
        assert_eq!([headers(&[]), headers(&["Basic a"]), headers(&["a"])], [None, None, None]);
    }
}
