use crate::snapshots::SnapshotError;
use domain::Day;
use std::time::Duration;
use storage::catalog::CatalogError;

/// Why a database gave no usable answer. The texts hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The address cannot be had or used.
    #[error("{0}")]
    Address(String),
    /// No connection.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The role or its password is not accepted.
    #[error("the database does not let the role in: {0}")]
    Unauthorized(String),
    /// The connection ended, or the database asks to start again.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The database gave up, or did not answer.
    #[error("no answer within {0:?}; raise `statement_timeout`, or make the query faster")]
    TimedOut(Duration),
    /// The role may not do this.
    #[error("the role lacks a privilege: {0}")]
    Denied(String),
    /// The database refuses the statement.
    #[error("{0}")]
    Refused(String),
    /// The statement answers something that is no measurement.
    #[error("{0}")]
    Senseless(String),
}

impl ReadError {
    /// Returns whether the same may succeed on a new connection.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Lost(_))
    }

    /// Returns whether no workspace can be measured at all.
    pub(super) fn is_of_the_database(&self) -> bool {
        matches!(self, Self::Address(_) | Self::Unreachable(_) | Self::Unauthorized(_))
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Rows of other workspaces would be counted.
    #[error("refused to start: {0}")]
    Unsafe(String),
    /// The database gave no usable answer.
    #[error("{doing}: {error}")]
    Read {
        /// What was asked for.
        doing: String,
        /// Why there is no answer.
        error: ReadError,
    },
}

impl MeasureError {
    /// Returns whether the database was not reached, or let nobody in.
    fn is_unreachable(&self) -> bool {
        use ReadError::{Lost, TimedOut, Unauthorized, Unreachable};
        matches!(self, Self::Read { error: Unreachable(_) | Unauthorized(_) | Lost(_) | TimedOut(_), .. })
    }

    pub(super) fn read(doing: impl Into<String>) -> impl FnOnce(ReadError) -> Self {
        move |error| Self::Read { doing: doing.into(), error }
    }
}

/// A run over workspaces that did not come to be, or whose rows were not stored.
#[derive(Debug, thiserror::Error)]
pub enum WorkspacesError {
    /// Nothing is configured.
    #[error(
        "there is no source of kind `postgres_snapshot`; add one to the configuration (docs/snapshots-postgres.md)"
    )]
    NoSource,
    /// There is no such run.
    #[error("snapshot run `{0}` does not exist")]
    NotFound(String),
    /// The day has not begun.
    #[error("{date} lies in the future; the last day that can be measured is {today}")]
    Future {
        /// What was asked for.
        date: Day,
        /// The current day.
        today: Day,
    },
    /// Nothing was measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// A run is over that could not measure the source.
    #[error("source `{source_name}`: {reason}")]
    NotMeasured {
        /// Its name.
        source_name: String,
        /// Why.
        reason: String,
    },
    /// Somebody cancelled the run.
    #[error("snapshot run {run} was cancelled by {by}; sources that it had not stored yet keep what they had")]
    Cancelled {
        /// The run.
        run: String,
        /// Who cancelled it.
        by: String,
    },
    /// What was measured was not stored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl WorkspacesError {
    /// Returns whether the application's database was not reached, or let nobody in.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Measure(error) if error.is_unreachable())
    }
}
