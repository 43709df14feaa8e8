//! Which problem an error of another crate is.

use crate::problem::{ApiError, ProblemError};
use collectors::error::Shrink;
use collectors::providers::Cause;
use collectors::snapshots::SnapshotError;
use collectors::sources::{SinkError, SourceError};
use collectors::workspaces::WorkspacesError;
use domain::rates::RateError;
use engine::EngineError;
use engine::periods::Obstacle;
use metering::MeteringError;
use metering::streams::PushError;
use metering::wal::WalError;
use storage::catalog::CatalogError;

/// The code of an error of the engine.
pub(crate) fn engine_code(error: &EngineError) -> &'static str {
    match error {
        EngineError::InvalidParameter { .. } => "invalid_parameter",
        EngineError::NotAvailable(_) => "not_available",
        EngineError::TenantNotFound(_) => "tenant_not_found",
        EngineError::ClusterNotFound(_) => "cluster_not_found",
        EngineError::NotAttributed { .. } => "not_attributed",
        EngineError::NotFound { .. } => "not_found",
        EngineError::RunInProgress { .. } => "run_in_progress",
        EngineError::RunCancelled { .. } => "run_cancelled",
        EngineError::FxMissing { .. } => "fx_missing",
        EngineError::PeriodClosed(_) => "period_closed",
        EngineError::PeriodNotClosable { .. } => "period_not_closable",
        EngineError::Period(_) => "conflict",
        EngineError::PeriodOpen(_) => "period_open",
        EngineError::VersionInUse { .. } => "version_in_use",
        EngineError::SuspiciousPrice(_) => "suspicious_price",
        EngineError::Policy(_) => "invalid_policy",
        EngineError::Rates(RateError::Toml(_) | RateError::Invalid { .. }) => "invalid_rate_card",
        EngineError::Catalog(error) => catalog_code(error),
        EngineError::Corrupt { .. } | EngineError::Lake(_) | EngineError::Query(_) => "internal",
    }
}

/// The code of an error of the catalog.
pub(crate) fn catalog_code(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::NotFound { what: "tenant", .. } => "tenant_not_found",
        CatalogError::NotFound { .. } => "not_found",
        CatalogError::Conflict { .. } => "conflict",
        CatalogError::AliasTaken { .. } => "alias_taken",
        CatalogError::MergeCircle { .. } => "merge_circle",
        CatalogError::VersionInUse { .. } => "version_in_use",
        CatalogError::VersionChanged { .. } => "version_changed",
        CatalogError::IdempotencyMismatch { .. } => "idempotency_mismatch",
        away if away.is_unreachable() => "unavailable",
        // The enum may grow; what is not known here is our own failure.
        _ => "internal",
    }
}

/// The code of an error of metering.
pub(crate) fn metering_code(error: &MeteringError) -> &'static str {
    match error {
        MeteringError::Unreadable(_) if error.is_too_large() => "payload_too_large",
        MeteringError::Unreadable(_) => "unreadable_file",
        MeteringError::BrokenList { .. } => "invalid_json",
        MeteringError::MeterInUse { .. } => "meter_in_use",
        MeteringError::Cancelled => "run_cancelled",
        MeteringError::Catalog(error) => catalog_code(error),
        MeteringError::Log(WalError::DiskFull { .. }) => "disk_full",
        MeteringError::Log(WalError::AppendTooLarge { .. }) => "payload_too_large",
        MeteringError::Log(WalError::SyncFailed { .. } | WalError::Closed) | MeteringError::MetersChanged => {
            "unavailable"
        }
        MeteringError::InvalidMeter { .. } => "invalid_meter",
        MeteringError::Log(_)
        | MeteringError::Ids(_)
        | MeteringError::Folder { .. }
        | MeteringError::InvalidMap { .. }
        | MeteringError::InvalidMetric { .. }
        | MeteringError::InvalidAdapter { .. }
        | MeteringError::Damaged { .. }
        | MeteringError::Lake(_)
        | MeteringError::Query(_)
        | MeteringError::Arrow(_)
        | MeteringError::Worker(_) => "internal",
    }
}

/// The code of an error of a source.
pub(crate) fn source_code(error: &SourceError) -> &'static str {
    match error {
        SourceError::NotFound(_) => "not_found",
        SourceError::TooFarBack { .. } => "invalid_parameter",
        SourceError::Cancelled { .. } => "run_cancelled",
        SourceError::Pull { .. } => "source_failed",
        SourceError::Collect { error, .. } => collect_code(error.cause),
        SourceError::Sink(SinkError::BadMeter { .. }) => "invalid_meter",
        SourceError::Sink(SinkError::Failed(cause)) => cause.downcast_ref().map_or("internal", metering_code),
        SourceError::Catalog(error) => catalog_code(error),
    }
}

/// The code of what kept a provider from being read.
fn collect_code(cause: Cause) -> &'static str {
    match cause {
        Cause::WouldShrink => "would_shrink",
        Cause::Store => "internal",
        Cause::Auth
        | Cause::NotFound
        | Cause::RateLimited
        | Cause::Server
        | Cause::Refused
        | Cause::Redirect
        | Cause::Timeout
        | Cause::Unreachable
        | Cause::Truncated
        | Cause::TooLarge
        | Cause::NotJson
        | Cause::Schema
        | Cause::Paging
        | Cause::NotAllowed
        | Cause::Secret
        | Cause::Overlap => "source_failed",
    }
}

/// The code of an error of writing snapshots.
pub(crate) fn snapshot_code(error: &SnapshotError) -> &'static str {
    match error {
        SnapshotError::BadSource(_) => "invalid_parameter",
        SnapshotError::BadMetric { .. } => "invalid_body",
        SnapshotError::Negative { .. } => "negative_quantity",
        SnapshotError::OutOfBound { .. } => "out_of_bound",
        SnapshotError::UnknownTenants(_) => "tenant_unknown",
        SnapshotError::Busy => "import_conflict",
        SnapshotError::Catalog(error) => catalog_code(error),
        SnapshotError::Lake(_) => "internal",
    }
}

/// The code of an error of measuring workspaces.
pub(crate) fn workspaces_code(error: &WorkspacesError) -> &'static str {
    match error {
        WorkspacesError::NoSource => "conflict",
        WorkspacesError::NotFound(_) => "not_found",
        WorkspacesError::Future { .. } => "invalid_parameter",
        WorkspacesError::Cancelled { .. } => "run_cancelled",
        WorkspacesError::Measure(_) | WorkspacesError::NotMeasured { .. } => "source_failed",
        WorkspacesError::Snapshot(error) => snapshot_code(error),
        WorkspacesError::Catalog(error) => catalog_code(error),
    }
}

/// What an import would lose of one key.
pub(crate) fn shrink_error(key: &Shrink) -> ProblemError {
    ProblemError {
        pointer: format!("{} {}", key.billing_account, key.billing_period),
        code: "would_shrink".to_owned(),
        message: format!(
            "{} to {} rows, {} to {} {} billed (sum of magnitudes), net {} to {}",
            key.rows_before,
            key.rows_after,
            key.billed_before,
            key.billed_after,
            key.currency,
            key.net_before.as_deref().unwrap_or("unknown"),
            key.net_after,
        ),
    }
}

/// A reason why a month is not closed.
pub(crate) fn obstacle_error(obstacle: &Obstacle) -> ProblemError {
    ProblemError { pointer: obstacle.about.clone(), code: obstacle.code.clone(), message: obstacle.detail.clone() }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Undecodable(detail) => Self::body("", detail),
            PushError::Unsupported(detail) => Self::MediaType(detail),
            PushError::DecodedTooLarge(limit) => {
                Self::TooLarge { what: "bytes after decompression", limit, key: "limits.events_decoded" }
            }
            PushError::TooManySeries(limit) => {
                Self::TooLarge { what: "series", limit: limit as u64, key: "limits.metric_series" }
            }
            PushError::TooManyPoints(limit) => {
                Self::TooLarge { what: "points of mapped metrics", limit, key: "limits.events" }
            }
        }
    }
}
