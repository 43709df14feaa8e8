use sqlx::{Any, FromRow, Transaction};

use super::{Catalog, CatalogError};

/// A run that measures the workspaces of applications on one day: a row of `jobs` of the kind `snapshot_run`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SnapshotRunRow {
    /// Its id.
    pub id: String,
    /// The day.
    #[sqlx(rename = "target")]
    pub date: String,
    /// `running`, `succeeded` or `failed`.
    pub status: String,
    /// When it began.
    #[sqlx(rename = "run_after")]
    pub created_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// Why nothing was stored.
    pub error: Option<String>,
    /// JSON: what was found, and who asked.
    pub body: String,
}

impl Catalog {
    /// Stores a new run.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken.
    pub async fn insert_snapshot_run(&self, run: &SnapshotRunRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO jobs (id, kind, target, status, run_after, attempts, started_at, finished_at, error, body) \
             VALUES ($1, 'snapshot_run', $2, $3, $4, 1, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&run.id)
        .bind(&run.date)
        .bind(&run.status)
        .bind(run.created_at)
        .bind(run.finished_at)
        .bind(&run.error)
        .bind(&run.body)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::Conflict { what: "snapshot run", id: run.id.clone() });
        }
        tx.commit().await?;
        Ok(())
    }

    /// Stores how a run ended.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it was never inserted.
    pub async fn end_snapshot_run(&self, run: &SnapshotRunRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let done = update(&mut tx, run).await?;
        if !done {
            return Err(CatalogError::NotFound { what: "snapshot run", id: run.id.clone() });
        }
        tx.commit().await?;
        Ok(())
    }

    /// The run of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn snapshot_run(&self, id: &str) -> Result<Option<SnapshotRunRow>, CatalogError> {
        let sql = "SELECT id, target, status, run_after, finished_at, error, body FROM jobs \
                   WHERE kind = 'snapshot_run' AND id = $1";
        Ok(sqlx::query_as(sql).bind(id).fetch_optional(&self.read).await?)
    }

    /// Up to `limit` runs, newest first, before the given (created_at, id).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_snapshot_runs(
        &self,
        before: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<SnapshotRunRow>, CatalogError> {
        let (at, id) = before.unwrap_or((i64::MAX, ""));
        let sql = "SELECT id, target, status, run_after, finished_at, error, body FROM jobs \
                   WHERE kind = 'snapshot_run' AND (run_after < $1 OR (run_after = $1 AND id < $2)) \
                   ORDER BY run_after DESC, id DESC LIMIT $3";
        Ok(sqlx::query_as(sql).bind(at).bind(id).bind(limit).fetch_all(&self.read).await?)
    }

    /// The runs that nobody ended yet, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn running_snapshot_runs(&self) -> Result<Vec<SnapshotRunRow>, CatalogError> {
        let sql = "SELECT id, target, status, run_after, finished_at, error, body FROM jobs \
                   WHERE kind = 'snapshot_run' AND status = 'running' ORDER BY run_after, id";
        Ok(sqlx::query_as(sql).fetch_all(&self.read).await?)
    }
}

async fn update(tx: &mut Transaction<'static, Any>, run: &SnapshotRunRow) -> Result<bool, CatalogError> {
    let sql = "UPDATE jobs SET status = $2, finished_at = $3, error = $4, body = $5 \
               WHERE id = $1 AND kind = 'snapshot_run'";
    let done = sqlx::query(sql)
        .bind(&run.id)
        .bind(&run.status)
        .bind(run.finished_at)
        .bind(&run.error)
        .bind(&run.body)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}
