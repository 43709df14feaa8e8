//! Every error as RFC 9457. Nothing else in the workspace knows HTTP statuses.

use crate::around::BasePath;
use crate::auth::RequestId;
use crate::body::content_type;
use crate::codes::{
    catalog_code, engine_code, metering_code, obstacle_error, shrink_error, snapshot_code, source_code, workspaces_code,
};
use crate::resources::events::RefusedEventBody;
use crate::resources::metrics::OTLP_PATH;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use collectors::ImportError;
use collectors::snapshots::SnapshotError;
use collectors::sources::SourceError;
use collectors::workspaces::WorkspacesError;
use domain::policy::PolicyError;
use domain::rates::RateError;
use engine::EngineError;
use metering::MeteringError;
use metering::streams::otlp::{self, OtlpEncoding};
use serde::Serialize;
use storage::catalog::CatalogError;
use storage::lake::LakeError;
use utoipa::ToSchema;

/// Where people read what a problem means, below the base path.
const PROBLEM_DOCS: &str = "/docs/api#problem-";
/// Content type of problems.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// When to send events again that found no memory: a batch takes less than that.
const EVENTS_BUSY_SECONDS: u64 = 1;

/// A kind of problem: its stable code, its status, its title, what it means.
#[derive(Clone, Copy, Debug)]
pub struct ProblemKind {
    /// Stable word in snake_case.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Short title.
    pub title: &'static str,
    /// What it means and what to do.
    pub meaning: &'static str,
}

macro_rules! problems {
    ($($code:literal $status:literal $title:literal: $meaning:literal;)*) => {
        /// Every kind of problem.
        pub const PROBLEMS: &[ProblemKind] =
            &[$(ProblemKind { code: $code, status: $status, title: $title, meaning: $meaning },)*];
    };
}

problems! {
    "invalid_parameter" 400 "Invalid parameter": "A query or path parameter is unknown, given twice, or has no usable value.";
    "invalid_body" 400 "Invalid body": "The body is not what the route takes; `errors` says where.";
    "invalid_json" 400 "Invalid JSON": "The body is not JSON, has a key twice, or is nested too deeply.";
    "not_available" 400 "Not available yet": "A later release brings it.";
    "unauthenticated" 401 "No usable token": "No token, or one that is wrong, revoked or expired. Send `Authorization: Bearer <token>`.";
    "bad_signature" 401 "Not signed": "The delivery is not signed with the secret of the adapter; the sender and `[[ingest.adapter]]` must have the same.";
    "csrf_token_required" 403 "CSRF token required": "A change that a session's cookie allows must repeat `csrf_token` of the sign-in in the header `X-CSRF-Token`.";
    "forbidden" 403 "Not allowed": "The token's role or scopes do not allow this.";
    "platform_admin_required" 403 "Platform admin required": "Only the platform's admin may do this.";
    "not_found" 404 "Not found": "There is no such thing or no such route.";
    "tenant_not_found" 404 "Tenant not found": "There is no such tenant, or it is not one of the caller's.";
    "cluster_not_found" 404 "Cluster not found": "No pool of kind `cluster` has this name on that day.";
    "not_attributed" 404 "Not attributed": "The day was never attributed; run it first.";
    "method_not_allowed" 405 "Method not allowed": "The route exists, but not with this method; see the header `allow`.";
    "request_timeout" 408 "Upload stood still": "Nothing of the body arrived for too long.";
    "run_in_progress" 409 "Run in progress": "A run over some of these days is under way; wait for it or send wait=true.";
    "run_cancelled" 409 "Run cancelled": "Somebody cancelled the run before it stored what it did; start it again when it is wanted.";
    "period_closed" 409 "Period closed": "The month is closed; reopen it first if it must be closed again.";
    "period_not_closable" 409 "Period not closable": "Reasons stand against closing the month; `errors` lists them. Some can be overruled with `force` and a `reason`.";
    "period_open" 409 "Period open": "The month was never closed, so it has no statement; the detail says what answers instead.";
    "version_in_use" 409 "Version in use": "A posting rests on this version; publish the change under a new version.";
    "version_changed" 409 "Version changed": "The version was replaced meanwhile; try again.";
    "conflict" 409 "Conflict": "The request contradicts what is stored.";
    "alias_taken" 409 "Alias taken": "The alias stands for another tenant; end it there first.";
    "merge_circle" 409 "Merge in a circle": "The merge would lead back to the tenant itself.";
    "would_shrink" 409 "Import would lose lines": "The files hold much less than what they replace; `errors` lists it. Repeat with confirm=true if it is meant.";
    "import_conflict" 409 "Import conflict": "Other imports kept committing first; nothing was imported, try again.";
    "suspicious_price" 409 "Suspicious price": "A price is 100 times or more away from the card before. Repeat with confirm=true if it is meant.";
    "meter_in_use" 409 "Meter in use": "The meter has usage, so what its numbers mean is fixed.";
    "idempotency_in_progress" 409 "Still under way": "The first request with this Idempotency-Key has not ended yet.";
    "payload_too_large" 413 "Too large": "The body, its decoded form or one of its rows is larger than allowed.";
    "unsupported_media_type" 415 "Unsupported media type": "The route does not take this content type or encoding.";
    "idempotency_mismatch" 422 "Idempotency key reused": "The Idempotency-Key came before with another request; use a new key.";
    "invalid_policy" 422 "Invalid policy": "The policy cannot be used; `errors` says where.";
    "invalid_rate_card" 422 "Invalid rate card": "The rate card cannot be used; `errors` says where.";
    "invalid_meter" 422 "Invalid meter": "The meter's definition makes no sense; the detail says why.";
    "invalid_fixed_cost" 422 "Invalid fixed cost": "The cost cannot become cost lines.";
    "invalid_source" 422 "Invalid source": "The name cannot be a source of cost lines.";
    "not_focus" 422 "Not a FOCUS file": "The columns are not those of FOCUS 1.0 to 1.4.";
    "invalid_row" 422 "Invalid row": "A row cannot be read; the detail names file, line and column. Nothing was stored.";
    "out_of_bound" 400 "Out of bound": "A number or time is too large to be stored.";
    "unreadable_file" 422 "Unreadable file": "A file is broken, or in a format or compression that is not read.";
    "source_failed" 502 "Source failed": "A source of usage or bills could not be read; what was read before stays. The detail says why.";
    "no_rows" 422 "No rows": "The files have columns but no rows.";
    "fx_missing" 422 "Exchange rate missing": "There is no rate at most 7 days old; enter one and run again.";
    "rate_missing" 422 "Price missing": "The rate card has no price for a metered quantity.";
    "inputs_expired" 422 "Inputs expired": "The raw events that this needs were dropped.";
    "unit_mismatch" 422 "Units do not match": "A meter's quantities of the day are in different units.";
    "currency_mixed" 422 "Currencies mixed": "The lines that a pool recovers are in several currencies.";
    "not_run" 422 "Pool not run": "A pool could not be run; the detail says why.";
    "tenant_missing" 400 "Tenant missing": "Nothing says whose event it is.";
    "tenant_unknown" 400 "Tenant unknown": "The tenant does not exist and may not be created by events.";
    "invalid_event" 400 "Invalid event": "Not a CloudEvent that can be read; the detail says why.";
    "time_in_future" 400 "Time in the future": "The event's time is more than an hour ahead.";
    "time_too_old" 400 "Time too old": "The event is older than `ingest.past_days`; import it from a file.";
    "negative_quantity" 400 "Negative quantity": "A counter was given a negative quantity; take events back with a retraction.";
    "tenant_forbidden" 403 "Tenant forbidden": "The token may not write events of this tenant.";
    "id_conflict" 409 "Id conflict": "The same tenant, source and id came before with other content.";
    "events_refused" 422 "Events refused": "Some events are refused, so none was stored; `errors` lists them.";
    "samples_refused" 400 "Samples refused": "Some samples cannot be counted; the detail says why. The others are stored.";
    "rate_limited" 429 "Too many events": "The tenant sends more events than `ingest.events_per_second_per_tenant`; wait as long as `Retry-After` says.";
    "too_many_streams" 429 "Too many streams": "As many streams are open as `limits.live_streams` allows; close one, or try again later.";
    "too_many_simulations" 429 "Too many what-ifs": "As many drafts are tried as `limits.simulations` allows; try again when one has ended.";
    "store_damaged" 500 "Stored file damaged": "A stored file is not what was written; the detail names table and file. Run `apportion ledger verify` and restore the file from a backup.";
    "events_busy" 503 "Too many events at once": "The events in work take as much memory as `limits.events_memory` allows; nothing was stored. Send again after `Retry-After`.";
    "internal" 500 "Internal error": "The server could not finish the request; the log says why under the same request id.";
    "disk_full" 507 "Disk full": "There is no room for the event log; nothing was stored. Free some space and send again.";
    "unavailable" 503 "Not ready": "The server or its store cannot answer now; try again.";
}

/// Returns the kind of this code.
fn kind_of(code: &str) -> &'static ProblemKind {
    let internal = || PROBLEMS.iter().find(|kind| kind.code == "internal").expect("it is in the table");
    PROBLEMS.iter().find(|kind| kind.code == code).unwrap_or_else(internal)
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemError {
    /// Where: a JSON pointer into the body, the name of a parameter, or a place in a file.
    pub pointer: String,
    /// Stable word.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// An error answer (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Page that says what the code means.
    pub r#type: String,
    /// Short title of the kind of problem.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Path of the request.
    pub instance: String,
    /// Stable word for programs.
    pub code: String,
    /// Id of the request, also in the log and in `x-request-id`.
    pub request_id: String,
    /// What is wrong in detail.
    pub errors: Vec<ProblemError>,
}

/// What can go wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No usable token.
    #[error("send a valid token as `Authorization: Bearer <token>`")]
    Unauthenticated,
    /// A delivery is not signed with the adapter's secret.
    #[error("the delivery is not signed with the secret of `[[ingest.adapter]]` of kind {0}")]
    BadSignature(&'static str),
    /// A session's cookie alone changes nothing.
    #[error(
        "repeat `csrf_token` of the answer to POST /session in the header `X-CSRF-Token`, or send the token itself"
    )]
    CsrfTokenRequired,
    /// The role may not do this.
    #[error("the token's role may not do this")]
    Forbidden,
    /// The token's scopes do not allow it.
    #[error("the token's scopes do not allow this; `read` allows GET and HEAD only")]
    OutOfScope,
    /// The role may mint tokens, but not this one.
    #[error("{0}")]
    TokenExceedsCaller(&'static str),
    /// Only the platform's admin may do this.
    #[error("only the role platform_admin may do this")]
    PlatformAdminRequired,
    /// A parameter cannot be used.
    #[error("{detail}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A body cannot be used.
    #[error("{detail}")]
    Body {
        /// Where in the body.
        pointer: String,
        /// What is wrong.
        detail: String,
    },
    /// A body is not JSON.
    #[error("{0}")]
    Json(String),
    /// A body is too large.
    #[error("the body has more than {limit} {what}; split it, or raise {key}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
        /// The configuration key of the limit.
        key: &'static str,
    },
    /// The content type or encoding is not taken.
    #[error("{0}")]
    MediaType(String),
    /// Nothing of the body arrived for too long.
    #[error("nothing of the body arrived for {0} seconds (limits.upload_idle)")]
    UploadStoodStill(u64),
    /// The connection broke.
    #[error("the body broke off: {0}")]
    BrokenBody(String),
    /// Some named thing is missing.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A pool could not be run.
    #[error("{detail}")]
    NotRun {
        /// `fx_missing`, `rate_missing` …: why, in the engine's words.
        code: String,
        /// Names and figures.
        detail: String,
    },
    /// The first request with this key has not ended.
    #[error("the first request with this Idempotency-Key has not ended yet; wait, then repeat")]
    IdempotencyInProgress,
    /// The one event of a request is refused.
    #[error("{}", .0.detail)]
    EventRefused(RefusedEventBody),
    /// Some events of an atomic batch are refused.
    #[error("{} events are refused; nothing was stored", .0.len())]
    EventsRefused(Vec<RefusedEventBody>),
    /// Some samples of a remote write are refused.
    #[error("{0}; the others are stored")]
    SamplesRefused(String),
    /// A tenant sends too many events.
    #[error("tenant `{tenant}` sends more than {per_second} events a second (ingest.events_per_second_per_tenant)")]
    RateLimited {
        /// The tenant.
        tenant: String,
        /// How many it may send.
        per_second: u32,
        /// When to try again.
        wait_seconds: u64,
    },
    /// The events of all requests in work leave no room for more.
    #[error("the events in work take all of limits.events_memory; send again in {EVENTS_BUSY_SECONDS} second")]
    EventsBusy,
    /// No more streams may be opened.
    #[error("{streams_max} streams of live usage are open (limits.live_streams); close one or try again later")]
    TooManyStreams {
        /// How many there may be.
        streams_max: usize,
    },
    /// No more drafts may be tried.
    #[error("{simulations_max} drafts are tried already (limits.simulations); try again when one has ended")]
    TooManySimulations {
        /// How many there may be.
        simulations_max: usize,
    },
    /// The store cannot answer.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Our own mistake, or a failure below.
    #[error("{0}")]
    Internal(String),
    /// A use case of the engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The catalog refused or failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// An import of bills failed.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An import of events failed.
    #[error(transparent)]
    Metering(#[from] MeteringError),
    /// A source of usage was not read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Snapshots were not stored.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// Workspaces were not measured.
    #[error(transparent)]
    Workspaces(#[from] WorkspacesError),
}

impl ApiError {
    /// Returns the error of a parameter that cannot be used.
    pub(crate) fn parameter(name: &'static str, detail: impl Into<String>) -> Self {
        Self::Parameter { name, detail: detail.into() }
    }

    /// Returns the error of a body that cannot be used.
    pub(crate) fn body(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Body { pointer: pointer.into(), detail: detail.into() }
    }

    /// Returns the stable word for what went wrong. Exhaustive on purpose: a new variant must choose here.
    #[must_use]
    pub fn code(&self) -> &str {
        if self.damaged_file().is_some() {
            return "store_damaged";
        }
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::BadSignature(_) => "bad_signature",
            Self::CsrfTokenRequired => "csrf_token_required",
            Self::Forbidden | Self::OutOfScope | Self::TokenExceedsCaller(_) => "forbidden",
            Self::PlatformAdminRequired => "platform_admin_required",
            Self::Parameter { .. } => "invalid_parameter",
            Self::Body { .. } | Self::BrokenBody(_) => "invalid_body",
            Self::Json(_) => "invalid_json",
            Self::TooLarge { .. } => "payload_too_large",
            Self::MediaType(_) => "unsupported_media_type",
            Self::UploadStoodStill(_) => "request_timeout",
            Self::NotFound { .. } => "not_found",
            Self::NotRun { code, .. } => not_run_code(code),
            Self::IdempotencyInProgress => "idempotency_in_progress",
            Self::EventRefused(refused) => &refused.code,
            Self::EventsRefused(_) => "events_refused",
            Self::SamplesRefused(_) => "samples_refused",
            Self::RateLimited { .. } => "rate_limited",
            Self::EventsBusy => "events_busy",
            Self::TooManyStreams { .. } => "too_many_streams",
            Self::TooManySimulations { .. } => "too_many_simulations",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) | Self::Lake(_) => "internal",
            Self::Engine(error) => engine_code(error),
            Self::Catalog(error) => catalog_code(error),
            Self::Import(error) => error.code(),
            Self::Metering(error) => metering_code(error),
            Self::Source(error) => source_code(error),
            Self::Snapshots(error) => snapshot_code(error),
            Self::Workspaces(error) => workspaces_code(error),
        }
    }

    /// Returns the damaged file of the lake that the failure comes of, by its path.
    fn damaged_file(&self) -> Option<&str> {
        let damage = match self {
            Self::Engine(error) => error.damage(),
            Self::Lake(error) | Self::Import(ImportError::Lake(error)) | Self::Metering(MeteringError::Lake(error)) => {
                LakeError::damage_behind(error)
            }
            Self::Metering(MeteringError::Query(error)) => LakeError::damage_behind(error),
            _ => None,
        };
        damage.map(|(file, _)| file)
    }

    /// Returns what is wrong in detail.
    fn errors(&self) -> Vec<ProblemError> {
        let one = |pointer: &str, message: String| {
            vec![ProblemError { pointer: pointer.to_owned(), code: self.code().to_owned(), message }]
        };
        match self {
            Self::Parameter { name, detail } => one(name, detail.clone()),
            Self::Body { pointer, detail } => one(pointer, detail.clone()),
            Self::Engine(EngineError::InvalidParameter { parameter, detail }) => one(parameter, detail.clone()),
            Self::Engine(
                EngineError::Policy(PolicyError::Toml(error)) | EngineError::Rates(RateError::Toml(error)),
            ) => one(&format!("line {}, column {}", error.line, error.column), error.message.clone()),
            Self::Engine(EngineError::Policy(PolicyError::Invalid { place, problem })) => one(place, problem.clone()),
            Self::Engine(EngineError::Rates(RateError::Invalid { version, problem })) => one(version, problem.clone()),
            Self::Import(ImportError::Row(row)) => one(&format!("{}: line {}", row.file, row.line), row.reason.clone()),
            Self::EventsRefused(refused) => {
                let error = |event: &RefusedEventBody| ProblemError {
                    pointer: format!("/{}", event.index),
                    code: event.code.clone(),
                    message: event.detail.clone(),
                };
                refused.iter().map(error).collect()
            }
            Self::Source(error @ SourceError::TooFarBack { .. }) => one("from", error.to_string()),
            Self::Workspaces(error @ WorkspacesError::Future { .. }) => one("date", error.to_string()),
            Self::Import(ImportError::WouldShrink(keys)) => keys.iter().map(shrink_error).collect(),
            Self::Engine(EngineError::PeriodNotClosable { obstacles, .. }) => {
                obstacles.iter().map(obstacle_error).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What everybody may read of a damaged file: its table and its name, but not the folders between, which tell what is
/// in it, and no word of its content.
fn damage_text(file: &str) -> String {
    let table = file.split('/').next().unwrap_or_default();
    let place = match file.rsplit_once('/') {
        Some((_, name)) => format!("the file {name} of table {table}"),
        None => format!("table {table}"),
    };
    format!("{place} is damaged; run `apportion ledger verify` and restore it from a backup")
}

/// Why a pool was not run; a reason that has no line in the table is `not_run`, never our own failure.
fn not_run_code(code: &str) -> &str {
    let is_known = PROBLEMS.iter().any(|kind| kind.code == code && matches!(kind.status, 400 | 422));
    if is_known { code } else { "not_run" }
}

/// How the caller wants to be told of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// RFC 9457.
    Problem,
    /// A `Status` in the encoding of the export.
    Otlp(OtlpEncoding),
}

impl ErrorForm {
    /// What the caller of a path below the base expects.
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let encoding = OtlpEncoding::of(&content_type(headers)).filter(|_| path == OTLP_PATH);
        encoding.map_or(Self::Problem, Self::Otlp)
    }
}

/// What an error says; the layer around all routes makes the answer of it.
#[derive(Clone, Debug)]
pub(crate) struct ProblemParts {
    kind: &'static ProblemKind,
    detail: String,
    errors: Vec<ProblemError>,
    /// For the log only.
    cause: Option<String>,
}

impl ProblemParts {
    /// What an answer without a problem of its own means, by its status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            401 => "unauthenticated",
            403 => "forbidden",
            404 => "not_found",
            405 => "method_not_allowed",
            408 => "request_timeout",
            413 => "payload_too_large",
            415 => "unsupported_media_type",
            400..=499 => "invalid_parameter",
            _ => "internal",
        };
        let kind = kind_of(code);
        Self { kind, detail: kind.meaning.to_owned(), errors: Vec::new(), cause: None }
    }

    /// What a panic means.
    pub(crate) fn of_panic(cause: String) -> Self {
        let kind = kind_of("internal");
        Self { kind, detail: kind.meaning.to_owned(), errors: Vec::new(), cause: Some(cause) }
    }

    /// Returns the answer to the request at this path. Logs what only the log may say, once.
    pub(crate) fn into_answer(self, base: &BasePath, instance: &str, id: &RequestId, form: ErrorForm) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(request.id = %id.0, path = instance, cause, "request {} failed", id.0);
        }
        let status = StatusCode::from_u16(self.kind.status).expect("the table holds statuses");
        let (content_type, body) = match form {
            ErrorForm::Problem => (PROBLEM_JSON, self.problem(base, instance, id)),
            ErrorForm::Otlp(encoding) => {
                let message = format!("{}: {}", self.kind.code, self.detail);
                (encoding.content_type(), otlp::status(encoding, &message))
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn problem(self, base: &BasePath, instance: &str, id: &RequestId) -> Vec<u8> {
        let problem = Problem {
            r#type: format!("{}{PROBLEM_DOCS}{}", base.0, self.kind.code),
            title: self.kind.title.to_owned(),
            status: self.kind.status,
            detail: self.detail,
            instance: instance.to_owned(),
            code: self.kind.code.to_owned(),
            request_id: id.0.clone(),
            errors: self.errors,
        };
        serde_json::to_vec(&problem).expect("a problem is plain JSON")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = kind_of(self.code());
        let parts = if kind.status >= 500 {
            // What a source says is made to be shown: it holds no secrets and nothing of this server.
            let is_ours = matches!(
                self,
                Self::Unavailable(_)
                    | Self::Source(SourceError::Pull { .. } | SourceError::Collect { .. })
                    | Self::Workspaces(WorkspacesError::Measure(_) | WorkspacesError::NotMeasured { .. })
            );
            let detail = match self.damaged_file() {
                Some(file) => damage_text(file),
                None if is_ours => self.to_string(),
                None => kind.meaning.to_owned(),
            };
            ProblemParts { kind, detail, errors: Vec::new(), cause: Some(format!("{self:?}")) }
        } else {
            ProblemParts { kind, detail: self.to_string(), errors: self.errors(), cause: None }
        };
        let status = StatusCode::from_u16(kind.status).expect("the table holds statuses");
        let mut response = status.into_response();
        response.extensions_mut().insert(parts);
        let wait_seconds = match self {
            Self::RateLimited { wait_seconds, .. } => Some(wait_seconds),
            Self::EventsBusy => Some(EVENTS_BUSY_SECONDS),
            _ => None,
        };
        if let Some(seconds) = wait_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_described_once_and_in_the_docs() {
        let docs = include_str!("../../../docs/problems.md");
        let mut seen = BTreeSet::new();
        for kind in PROBLEMS {
            assert!(seen.insert(kind.code), "{} stands twice", kind.code);
            let line = format!("| `{}` | {} | {} |", kind.code, kind.status, kind.meaning);
            assert!(docs.contains(&line), "docs/problems.md lacks: {line}");
        }
        let lines = docs.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(lines, PROBLEMS.len(), "docs/problems.md describes a code that does not exist");
    }

    #[test]
    fn every_code_that_other_crates_choose_is_in_the_table() {
        let codes = ["not_focus", "out_of_bound", "invalid_row", "unreadable_file", "payload_too_large", "no_rows"];
        let more = ["invalid_source", "would_shrink", "invalid_fixed_cost", "import_conflict", "internal"];
        codes.into_iter().chain(more).for_each(|code| assert_eq!(kind_of(code).code, code));
        for code in ["fx_missing", "rate_missing", "unit_mismatch", "currency_mixed", "out_of_bound"] {
            assert_eq!(not_run_code(code), code);
        }
    }

    #[test]
    fn damage_has_a_code_of_its_own_and_names_table_and_file() {
        let damaged = |file: &str| LakeError::Damaged { file: file.to_owned(), reason: "secret".to_owned() };
        let error = ApiError::Engine(damaged("pool_days/charge_month=2026-11/part-1.parquet").into());
        assert_eq!((error.code(), kind_of(error.code()).status), ("store_damaged", 500));
        let response = error.into_response();
        let parts = response.extensions().get::<ProblemParts>().expect("a problem");
        let expected = "the file part-1.parquet of table pool_days is damaged; run `apportion ledger verify` and \
                        restore it from a backup";
        assert_eq!(parts.detail, expected);
        assert_eq!(damage_text("ledger").split(';').next(), Some("table ledger is damaged"));
        let other = LakeError::AppendOnly(storage::lake::Table::Ledger);
        assert_eq!(ApiError::Lake(other).code(), "internal");
    }

    #[test]
    fn a_reason_not_to_run_that_nobody_knows_yet_is_not_our_failure() {
        let error = ApiError::NotRun { code: "of_next_year".to_owned(), detail: String::new() };
        assert_eq!((error.code(), kind_of(error.code()).status), ("not_run", 422));
    }
}
