use crate::cancel::Cancel;
use crate::prometheus::{PrometheusError, PullError};
use crate::providers::{Cause, CollectError};
use domain::Instant;
use std::error::Error;
use storage::catalog::CatalogError;

/// A source that was not read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody configured it.
    #[error("source `{0}` does not exist; `[[source]]` of the configuration names those that do")]
    NotFound(String),
    /// A start that lies too far back.
    #[error("{from} is more than {hours_max} hours ago; import older usage from a file")]
    TooFarBack {
        /// What was asked for.
        from: Instant,
        /// How far back a refresh may reach.
        hours_max: i64,
    },
    /// The outside failed.
    #[error("source `{source_name}`, {error}")]
    Pull {
        /// Name of the source.
        source_name: String,
        /// Which query, and why.
        error: PullError,
    },
    /// A provider was not read, or what it said could not be stored.
    #[error("source `{source_name}`: {error}")]
    Collect {
        /// Name of the source.
        source_name: String,
        /// Which request, and why.
        error: CollectError,
    },
    /// Somebody asked for the refresh to end.
    #[error("the refresh of source `{source_name}` was cancelled by {by}; what it had not stored yet stays as it was")]
    Cancelled {
        /// Name of the source.
        source_name: String,
        /// Who asked.
        by: String,
    },
    /// What was read was not taken.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl SourceError {
    /// Returns whether somebody asked for the end.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }

    /// Returns the error of a refresh that somebody asked to end.
    pub(crate) fn cancelled(source: &str, cancel: &Cancel) -> Self {
        Self::Cancelled { source_name: source.to_owned(), by: cancel.by().to_owned() }
    }

    /// Returns why the source could not be read, as metrics count it; none if it was not tried, or not to be read further.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::NotFound(_) | Self::TooFarBack { .. } | Self::Cancelled { .. } => None,
            Self::Pull { error, .. } => Some(cause_of(&error.error)),
            Self::Collect { error, .. } => Some(error.cause),
            Self::Sink(_) | Self::Catalog(_) => Some(Cause::Store),
        }
    }
}

/// The word that all collectors have for it.
fn cause_of(error: &PrometheusError) -> Cause {
    match error {
        PrometheusError::Unreachable(_) | PrometheusError::Setup(_) => Cause::Unreachable,
        PrometheusError::TimedOut(_) => Cause::Timeout,
        PrometheusError::BrokenOff(_) => Cause::Truncated,
        PrometheusError::TooLarge(_) | PrometheusError::TooManySeries { .. } => Cause::TooLarge,
        PrometheusError::NotJson(_) => Cause::NotJson,
        PrometheusError::Unexpected(_) => Cause::Schema,
        PrometheusError::Unauthorized | PrometheusError::Forbidden => Cause::Auth,
        PrometheusError::NotFound => Cause::NotFound,
        PrometheusError::Throttled { .. } => Cause::RateLimited,
        PrometheusError::Failed { .. } => Cause::Server,
        PrometheusError::Status(300..=399) => Cause::Redirect,
        PrometheusError::BadQuery(_) | PrometheusError::Status(_) => Cause::Refused,
        PrometheusError::Secret(_) => Cause::Secret,
    }
}

/// Points that were not taken; none of those handed over together counts as read.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A query names a meter that is not there, or not one that a number can be given to.
    #[error("meter `{meter}` {problem}")]
    BadMeter {
        /// Its name.
        meter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Whoever takes points failed.
    #[error("the usage could not be stored")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}
