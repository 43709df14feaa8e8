use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, Executor, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers},
    migrate::{MigrateError, Migrator},
};

use super::CatalogError;

/// Meaning of the rows; raised when old programs would misread them.
const FORMAT_VERSION: i64 = 1;
/// How long a write waits for its turn before it fails.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(30);
/// SQLite readers never block each other; more than this only costs memory.
const READ_CONNECTIONS_MAX: u32 = 4;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The open catalog. Cheap to clone; all clones share one writer connection.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(super) read: AnyPool,
    write: AnyPool,
    begin_write: &'static str,
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
        Self::open_sqlite_url(&format!("sqlite://{}?mode=rwc", file.path())).await
    }

    async fn open_sqlite_url(url: &str) -> Result<Self, CatalogError> {
        install_default_drivers();
        let options = AnyConnectOptions::from_str(url)?;
        let pool = || {
            AnyPoolOptions::new()
                .acquire_timeout(WRITE_WAIT_MAX)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let write = pool()
            .max_connections(1)
            .after_connect(|connection, _| Box::pin(prepare_sqlite(connection, false)))
            .connect_with(options.clone())
            .await?;
        migrate(&write).await?;
        let read = pool()
            .max_connections(READ_CONNECTIONS_MAX)
            .after_connect(|connection, _| Box::pin(prepare_sqlite(connection, true)))
            .connect_with(options)
            .await?;
        // IMMEDIATE: a transaction that reads first and writes later must not fail on its first write.
        Ok(Self { read, write, begin_write: "BEGIN IMMEDIATE" })
    }

    /// Closes every connection; what was committed is on disk.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// A writing transaction; nothing of it stays unless it is committed.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, CatalogError> {
        match self.write.begin_with(self.begin_write).await {
            // On a full disk SQLite rolls back by itself; the connection still counts the transaction and is of no use.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.write.acquire().await?.close().await?;
                Ok(self.write.begin_with(self.begin_write).await?)
            }
            begun => Ok(begun?),
        }
    }
}

/// Settings that SQLite forgets with each connection.
async fn prepare_sqlite(connection: &mut AnyConnection, read_only: bool) -> Result<(), sqlx::Error> {
    connection.execute("PRAGMA busy_timeout = 30000").await?;
    connection.execute("PRAGMA foreign_keys = ON").await?;
    if read_only {
        connection.execute("PRAGMA query_only = ON").await?;
    } else {
        connection.execute("PRAGMA journal_mode = WAL").await?;
        // FULL: a commit that was answered survives the loss of power, not only of the process.
        connection.execute("PRAGMA synchronous = FULL").await?;
    }
    Ok(())
}

/// Applies missing migrations, then checks that the rows mean what this program thinks they mean.
async fn migrate(pool: &AnyPool) -> Result<(), CatalogError> {
    MIGRATIONS.run(pool).await.map_err(|error| match error {
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
