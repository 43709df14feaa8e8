use sqlx::{Any, FromRow, Transaction};

use super::{Catalog, CatalogError, leases::take_lease};

/// A run that measures the workspaces of applications on one day: a row of `jobs` of the kind `snapshot_run`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SnapshotRunRow {
    /// Its id.
    pub id: String,
    /// The day.
    #[sqlx(rename = "target")]
    pub date: String,
    /// `running`, `succeeded`, `failed` or `cancelled`.
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
    /// Stores a new run. `holder` carries it out, at first for `micros`.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken.
    pub async fn insert_snapshot_run(
        &self,
        run: &SnapshotRunRow,
        holder: &str,
        micros: i64,
    ) -> Result<(), CatalogError> {
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
        let now = self.now_in(&mut tx).await?;
        take_lease(&mut tx, &lease_of(&run.id), holder, now, micros).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether `holder` carries the run out, for the next `micros`; say so again before they are over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold_snapshot_run(&self, id: &str, holder: &str, micros: i64) -> Result<bool, CatalogError> {
        self.acquire_lease(&lease_of(id), holder, micros).await
    }

    /// Stores how a run ended; nobody holds it any longer.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it was never inserted.
    pub async fn end_snapshot_run(&self, run: &SnapshotRunRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let done = update(&mut tx, run).await?;
        if !done {
            return Err(CatalogError::NotFound { what: "snapshot run", id: run.id.clone() });
        }
        sqlx::query("DELETE FROM leases WHERE name = $1").bind(lease_of(&run.id)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that a run is to be cancelled, unless it is over; who asked first stays noted, for
    /// [`Catalog::run_cancelled_by`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_snapshot_run(&self, id: &str, requested_by: &str, at: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO run_cancels (run, requested_by, requested_at) SELECT jobs.id, $2, $3 FROM jobs \
             WHERE jobs.id = $1 AND jobs.kind = 'snapshot_run' AND jobs.status = 'running' \
             ON CONFLICT (run) DO NOTHING",
        )
        .bind(id)
        .bind(requested_by)
        .bind(at)
        .execute(&mut *tx)
        .await?;
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

    /// Marks runs as failed that nobody carries out any more; returns how many.
    ///
    /// Whoever carries a run out holds its lease ([`Catalog::hold_snapshot_run`]). A process that just started names itself
    /// as `own`: what it held before it died is over, although the lease is not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_abandoned_snapshot_runs(&self, at: i64, own: Option<&str>) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let done = sqlx::query(
            "UPDATE jobs SET status = 'failed', finished_at = $1, error = 'interrupted before it ended: the server that \
             measured stopped or did not say that it goes on; run the day again' \
             WHERE kind = 'snapshot_run' AND status = 'running' AND NOT EXISTS (SELECT 1 FROM leases \
             WHERE leases.name = 'snapshot-run/' || jobs.id AND leases.expires_at > $2 AND leases.holder <> $3)",
        )
        .bind(at)
        .bind(now)
        .bind(own.unwrap_or_default())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM leases WHERE name LIKE 'snapshot-run/%' AND NOT EXISTS (SELECT 1 FROM jobs \
             WHERE 'snapshot-run/' || jobs.id = leases.name AND jobs.status = 'running')",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

fn lease_of(run: &str) -> String {
    format!("snapshot-run/{run}")
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
