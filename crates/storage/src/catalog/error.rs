use sqlx::migrate::MigrateError;

/// What can go wrong in the catalog. Knows nothing of HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The row that was named does not exist.
    #[error("{what} {id:?} does not exist")]
    NotFound {
        /// Kind of row, e.g. `fixed cost`.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// A row of that id exists already, with other content.
    #[error("{what} {id:?} exists already")]
    Conflict {
        /// Kind of row, e.g. `run`.
        what: &'static str,
        /// The id that is taken.
        id: String,
    },
    /// An alias stands for another tenant on one of the days.
    #[error("alias {alias:?} stands for tenant {tenant:?} on {day}; end it there first, or begin after it ended")]
    AliasTaken {
        /// The alias.
        alias: String,
        /// Whom it stands for.
        tenant: String,
        /// The first day in question.
        day: String,
    },
    /// Merges would lead back to where they began.
    #[error("merging {tenant:?} into {into:?} leads back to {tenant:?} on {day}")]
    MergeCircle {
        /// The tenant that was to be merged.
        tenant: String,
        /// Into whom.
        into: String,
        /// The first day in question.
        day: String,
    },
    /// A posting rests on this version; its content cannot change any more.
    #[error("{kind} version {version:?} is used by a posting and cannot change; publish a new version instead")]
    VersionInUse {
        /// `policy` or `rate card`.
        kind: &'static str,
        /// The version that was to change.
        version: String,
    },
    /// A run computed with content that was replaced before it posted.
    #[error("{kind} version {version:?} was replaced while it was being used; start the run again")]
    VersionChanged {
        /// `policy` or `rate card`.
        kind: &'static str,
        /// The version that was replaced.
        version: String,
    },
    /// The same idempotency key came with another request.
    #[error("idempotency key {key:?} was used with another request; use a new key")]
    IdempotencyMismatch {
        /// The key that was used twice.
        key: String,
    },
    /// A fact that is fixed was given another value.
    #[error("{what} is {stored:?} in this store, not {given:?}; restore the old value or use another store")]
    Mismatch {
        /// Which fact, e.g. `org_timezone`.
        what: &'static str,
        /// The value in the store.
        stored: String,
        /// The value that was given.
        given: String,
    },
    /// A newer program wrote this catalog.
    #[error("the catalog has format {found}, but this program knows only up to {known}; use a newer program")]
    NewerFormat {
        /// Number found in the store.
        found: String,
        /// Greatest number this program understands.
        known: i64,
    },
    /// A stored value is not what its column holds.
    #[error("the catalog holds {value:?} as {what}; restore it from a backup")]
    Corrupt {
        /// What it should be.
        what: &'static str,
        /// The text found.
        value: String,
    },
    /// The catalog's path cannot be used.
    #[error("{0:?} cannot be used as a catalog; give a file path or a postgres:// address")]
    UnusableLocation(String),
    /// The catalog's address cannot be used. It may hold a password, so it is not repeated.
    #[error("the address of the catalog cannot be used: {0}")]
    UnusableUrl(&'static str),
    /// The migrations could not be applied.
    #[error("the catalog could not be brought up to date")]
    Migrate(#[source] MigrateError),
    /// The database failed.
    #[error("the catalog database failed")]
    Database(#[from] sqlx::Error),
}

impl CatalogError {
    /// Returns whether the database does not answer, so that asking again later may help.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls};
        matches!(self, Self::Database(Io(_) | PoolTimedOut | PoolClosed | Tls(_)))
    }
}
