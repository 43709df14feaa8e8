use sqlx::FromRow;

use super::{Catalog, CatalogError, leases::take_lease};

/// A reading of a source: a row of `jobs` of the kind `refresh`. Those under way and the last one of each source are kept.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RefreshRow {
    /// Its id.
    pub id: String,
    /// Name of the source.
    #[sqlx(rename = "target")]
    pub source: String,
    /// `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// When it began.
    #[sqlx(rename = "run_after")]
    pub created_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// Why it failed, or who cancelled it.
    pub error: Option<String>,
}

impl Catalog {
    /// Stores a new refresh, which is under way for `micros` at first, and forgets those of its source that are over.
    ///
    /// # Errors
    /// When the database fails, or the id is taken.
    pub async fn insert_refresh(&self, refresh: &RefreshRow, micros: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        sqlx::query(
            "DELETE FROM jobs WHERE kind = 'refresh' AND target = $1 AND NOT EXISTS (SELECT 1 FROM leases \
             WHERE leases.name = 'refresh/' || jobs.id AND leases.expires_at > $2)",
        )
        .bind(&refresh.source)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        for sql in [
            "DELETE FROM leases WHERE name LIKE 'refresh/%' AND NOT EXISTS (SELECT 1 FROM jobs \
             WHERE 'refresh/' || jobs.id = leases.name)",
            "DELETE FROM run_cancels WHERE run LIKE 'refresh-%' AND NOT EXISTS (SELECT 1 FROM jobs \
             WHERE jobs.id = run_cancels.run)",
        ] {
            sqlx::query(sql).execute(&mut *tx).await?;
        }
        let done = sqlx::query(
            "INSERT INTO jobs (id, kind, target, status, run_after, attempts, started_at, finished_at, error, body) \
             VALUES ($1, 'refresh', $2, $3, $4, 1, $4, $5, $6, '') ON CONFLICT (id) DO NOTHING",
        )
        .bind(&refresh.id)
        .bind(&refresh.source)
        .bind(&refresh.status)
        .bind(refresh.created_at)
        .bind(refresh.finished_at)
        .bind(&refresh.error)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::Conflict { what: "refresh", id: refresh.id.clone() });
        }
        take_lease(&mut tx, &lease_of(&refresh.id), &refresh.id, now, micros).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that a refresh is under way for the next `micros`; say so again before they are over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold_refresh(&self, id: &str, micros: i64) -> Result<(), CatalogError> {
        self.acquire_lease(&lease_of(id), id, micros).await?;
        Ok(())
    }

    /// Stores how a refresh ended; one that was forgotten meanwhile stays so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_refresh(&self, refresh: &RefreshRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE jobs SET status = $2, finished_at = $3, error = $4 WHERE id = $1 AND kind = 'refresh'")
            .bind(&refresh.id)
            .bind(&refresh.status)
            .bind(refresh.finished_at)
            .bind(&refresh.error)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM leases WHERE name = $1").bind(lease_of(&refresh.id)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that every refresh of a source that is under way is to be cancelled; who asked first stays noted, for
    /// [`Catalog::run_cancelled_by`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_refreshes(&self, source: &str, requested_by: &str, at: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        sqlx::query(
            "INSERT INTO run_cancels (run, requested_by, requested_at) SELECT jobs.id, $2, $3 FROM jobs \
             WHERE jobs.kind = 'refresh' AND jobs.target = $1 AND jobs.status = 'running' AND EXISTS (SELECT 1 FROM leases \
             WHERE leases.name = 'refresh/' || jobs.id AND leases.expires_at > $4) ON CONFLICT (run) DO NOTHING",
        )
        .bind(source)
        .bind(requested_by)
        .bind(at)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns the refresh of a source that began last; one that nobody carries out any more has failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_refresh(&self, source: &str) -> Result<Option<RefreshRow>, CatalogError> {
        let sql = "SELECT id, target, status, run_after, finished_at, error FROM jobs \
                   WHERE kind = 'refresh' AND target = $1 ORDER BY run_after DESC, id DESC LIMIT 1";
        let found: Option<RefreshRow> = sqlx::query_as(sql).bind(source).fetch_optional(&self.read).await?;
        match found {
            Some(row) if row.status == "running" && !self.is_held(&row.id).await? => {
                let error = Some("interrupted before it ended".to_owned());
                Ok(Some(RefreshRow { status: "failed".to_owned(), error, ..row }))
            }
            found => Ok(found),
        }
    }

    async fn is_held(&self, id: &str) -> Result<bool, CatalogError> {
        let sql = "SELECT expires_at FROM leases WHERE name = $1";
        let until: Option<i64> = sqlx::query_scalar(sql).bind(lease_of(id)).fetch_optional(&self.read).await?;
        let now = self.now().await?;
        Ok(until.is_some_and(|until| now < until))
    }
}

fn lease_of(refresh: &str) -> String {
    format!("refresh/{refresh}")
}
