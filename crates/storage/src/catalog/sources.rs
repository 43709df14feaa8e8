use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// How a source fared.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct SourceRow {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// When it was read last, with whatever success.
    pub last_started_at: Option<i64>,
    /// When it was read to its end last.
    pub last_success_at: Option<i64>,
    /// When reading it failed last.
    pub last_error_at: Option<i64>,
    /// Why the last reading failed; none if it did not.
    pub last_error: Option<String>,
    /// Rows that came from it.
    pub row_count: i64,
    /// Where the next reading goes on, in the collector's words.
    pub cursor_json: Option<String>,
}

impl Catalog {
    /// Returns how a source fared, if it was ever read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn source(&self, name: &str) -> Result<Option<SourceRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM sources WHERE name = $1").bind(name).fetch_optional(&self.read).await?)
    }

    /// Returns what is known of every source of a kind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sources_of_kind(&self, kind: &str) -> Result<Vec<SourceRow>, CatalogError> {
        let query = sqlx::query_as("SELECT * FROM sources WHERE kind = $1 ORDER BY name");
        Ok(query.bind(kind).fetch_all(&self.read).await?)
    }

    /// Replaces what is known of a source.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_source(&self, source: &SourceRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO sources (name, kind, last_started_at, last_success_at, last_error_at, last_error, row_count, \
             cursor_json) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, \
             last_started_at = excluded.last_started_at, last_success_at = excluded.last_success_at, \
             last_error_at = excluded.last_error_at, last_error = excluded.last_error, row_count = excluded.row_count, \
             cursor_json = excluded.cursor_json",
        )
        .bind(&source.name)
        .bind(&source.kind)
        .bind(source.last_started_at)
        .bind(source.last_success_at)
        .bind(source.last_error_at)
        .bind(&source.last_error)
        .bind(source.row_count)
        .bind(&source.cursor_json)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
