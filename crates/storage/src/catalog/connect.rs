use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    Any, AnyPool, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers},
    migrate::{MigrateError, Migrator},
};

use super::{CatalogError, dialect::Dialect};

/// Meaning of the rows; raised when old programs would misread them.
const FORMAT_VERSION: i64 = 1;
/// How long a write waits for its turn before it fails.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a read waits for a connection. Shorter: a question is asked again, and a server that is away must not
/// hold up everybody who asks.
const READ_WAIT_MAX: Duration = Duration::from_secs(5);
/// Readers never block each other; more than this only costs memory.
const READ_CONNECTIONS_MAX: u32 = 4;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The open catalog. Cheap to clone; all clones share one writer connection.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(super) read: AnyPool,
    write: AnyPool,
    dialect: Dialect,
}

impl Catalog {
    /// Opens the SQLite catalog at `path`, creating or migrating it as needed.
    ///
    /// # Errors
    /// [`CatalogError::NewerFormat`] if a newer program wrote it, [`CatalogError::UnusableLocation`] if
    /// the path has no URL form, else what the database says.
    pub async fn open(path: &Path) -> Result<Self, CatalogError> {
        let unusable = || CatalogError::UnusableLocation(path.display().to_string());
        let absolute = std::path::absolute(path).map_err(|_| unusable())?;
        // Through `url`, so that a space, `?` or `#` in a folder's name stays part of the path.
        let file = url::Url::from_file_path(&absolute).map_err(|()| unusable())?;
        Self::open_with(Dialect::Sqlite, &format!("sqlite://{}?mode=rwc", file.path())).await
    }

    /// Opens the catalog in a PostgreSQL database, creating or migrating its tables as needed. Several processes may
    /// have the same one open.
    ///
    /// # Errors
    /// [`CatalogError::UnusableUrl`] if it is no `postgres://` address or the database does not keep UTF-8,
    /// [`CatalogError::NewerFormat`] if a newer program wrote it, else what the database says. No error holds the
    /// address, which may hold a password.
    pub async fn open_url(url: &str) -> Result<Self, CatalogError> {
        if !Self::is_url(url) {
            return Err(CatalogError::UnusableUrl("the address does not begin with postgres://"));
        }
        let catalog = Self::open_with(Dialect::Postgres, url).await?;
        let encoding: String =
            sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(&catalog.read).await?;
        if encoding != "UTF8" {
            return Err(CatalogError::UnusableUrl("the database does not keep UTF-8; create it with ENCODING 'UTF8'"));
        }
        Ok(catalog)
    }

    /// Returns whether a place is the address of a database rather than a path.
    #[must_use]
    pub fn is_url(place: &str) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| place.starts_with(scheme))
    }

    async fn open_with(dialect: Dialect, url: &str) -> Result<Self, CatalogError> {
        install_default_drivers();
        let options = AnyConnectOptions::from_str(url)?;
        let write = pool(dialect, WRITE_WAIT_MAX)
            .max_connections(1)
            .after_connect(move |connection, _| Box::pin(dialect.prepare(connection, false)))
            .connect_with(options.clone())
            .await?;
        migrate(&write, dialect).await?;
        let read = pool(dialect, READ_WAIT_MAX)
            .max_connections(READ_CONNECTIONS_MAX)
            .after_connect(move |connection, _| Box::pin(dialect.prepare(connection, true)))
            .connect_with(options)
            .await?;
        Ok(Self { read, write, dialect })
    }

    /// Returns whether other processes may have the catalog open.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.dialect == Dialect::Postgres
    }

    /// Closes every connection; what was committed is on disk.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// Returns the time by the database's clock, which is one for all who share the catalog.
    ///
    /// # Units
    /// Microseconds since 1970 in UTC.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn now(&self) -> Result<i64, CatalogError> {
        Ok(sqlx::query_scalar(self.dialect.now()).fetch_one(&self.read).await?)
    }

    /// The same within a writing transaction.
    pub(super) async fn now_in(&self, tx: &mut Transaction<'static, Any>) -> Result<i64, CatalogError> {
        Ok(sqlx::query_scalar(self.dialect.now()).fetch_one(&mut **tx).await?)
    }

    /// A writing transaction, the only one there is on this catalog until it ends; nothing of it stays unless it is
    /// committed.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, CatalogError> {
        let begin = self.dialect.begin();
        let mut tx = match self.write.begin_with(begin).await {
            // On a full disk SQLite rolls back by itself; the connection still counts the transaction and is of no use.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.write.acquire().await?.close().await?;
                self.write.begin_with(begin).await?
            }
            begun => begun?,
        };
        if let Some(turn) = self.dialect.take_turn() {
            sqlx::query(turn).execute(&mut *tx).await?;
        }
        Ok(tx)
    }
}

/// Connections that stay; those to a server are tried before they are used, because servers are started again.
fn pool(dialect: Dialect, wait_max: Duration) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .acquire_timeout(wait_max)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(dialect == Dialect::Postgres)
}

/// Applies missing migrations, then checks that the rows mean what this program thinks they mean.
async fn migrate(pool: &AnyPool, dialect: Dialect) -> Result<(), CatalogError> {
    let migrations = Migrator::with_migrations(MIGRATIONS.iter().map(|one| dialect.migration(one)).collect());
    migrations.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(number) => {
            CatalogError::NewerFormat { found: format!("migration {number}"), known: last_migration() }
        }
        other => CatalogError::Migrate(other),
    })?;
    let found: String =
        sqlx::query_scalar("SELECT value FROM meta WHERE key = 'format_version'").fetch_one(pool).await?;
    match found.parse::<i64>() {
        Ok(version) if version <= FORMAT_VERSION => Ok(()),
        _ => Err(CatalogError::NewerFormat { found, known: FORMAT_VERSION }),
    }
}

fn last_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}
