use sqlx::{Any, AnyPool, FromRow, Row, Transaction, any::AnyRow};

use super::{Catalog, CatalogError, leases::take_lease};

/// An attribution run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// First day.
    pub from_day: String,
    /// Last day, included.
    pub to_day: String,
    /// JSON list of pools; `None` means all.
    pub pools: Option<String>,
    /// Whether it only computes.
    pub dry_run: bool,
    /// When it was asked for.
    pub created_at: i64,
    /// When it began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// What it posted, if anything differed.
    pub posting: Option<i64>,
    /// Entries of that posting.
    pub entries: i64,
    /// JSON list.
    pub warnings: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// JSON: pinned versions and whatever else it recorded.
    pub body: String,
}

impl<'r> FromRow<'r, AnyRow> for RunRow {
    fn from_row(row: &'r AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            status: row.try_get("status")?,
            from_day: row.try_get("from_day")?,
            to_day: row.try_get("to_day")?,
            pools: row.try_get("pools")?,
            dry_run: row.try_get::<i64, _>("dry_run")? != 0,
            created_at: row.try_get("created_at")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            posting: row.try_get("posting")?,
            entries: row.try_get("entries")?,
            warnings: row.try_get("warnings")?,
            error: row.try_get("error")?,
            requested_by: row.try_get("requested_by")?,
            body: row.try_get("body")?,
        })
    }
}

impl Catalog {
    /// Stores a new run, unless one that is queued or running shares a day with it: then returns that one.
    ///
    /// Dry runs neither wait nor are waited for. `holder` carries the run out, at first for `micros`.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken.
    pub async fn insert_run(&self, run: &RunRow, holder: &str, micros: i64) -> Result<Option<RunRow>, CatalogError> {
        let mut tx = self.begin().await?;
        if !run.dry_run {
            let other: Option<RunRow> = sqlx::query_as(
                "SELECT * FROM runs WHERE status IN ('queued', 'running') AND dry_run = 0 AND from_day <= $1 AND to_day >= $2 \
                 ORDER BY created_at, id LIMIT 1",
            )
            .bind(&run.to_day)
            .bind(&run.from_day)
            .fetch_optional(&mut *tx)
            .await?;
            if other.is_some() {
                return Ok(other);
            }
        }
        if !write_run(&mut tx, INSERT_RUN, run).await? {
            return Err(CatalogError::Conflict { what: "run", id: run.id.clone() });
        }
        let now = self.now_in(&mut tx).await?;
        take_lease(&mut tx, &lease_of(&run.id), holder, now, micros).await?;
        tx.commit().await?;
        Ok(None)
    }

    /// Stores how far a run is; one that ended is no longer held.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it was never inserted.
    pub async fn update_run(&self, run: &RunRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        if !write_run(&mut tx, UPDATE_RUN, run).await? {
            return Err(CatalogError::NotFound { what: "run", id: run.id.clone() });
        }
        if run.finished_at.is_some() {
            sqlx::query("DELETE FROM leases WHERE name = $1").bind(lease_of(&run.id)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The run of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run(&self, id: &str) -> Result<Option<RunRow>, CatalogError> {
        fetch_run(&self.read, id).await
    }

    /// Up to `limit` runs, newest first, before the given (created_at, id).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_runs(&self, before: Option<(i64, &str)>, limit: i64) -> Result<Vec<RunRow>, CatalogError> {
        let (at, id) = before.unwrap_or((i64::MAX, ""));
        let sql = "SELECT * FROM runs WHERE created_at < $1 OR (created_at = $1 AND id < $2) \
                   ORDER BY created_at DESC, id DESC LIMIT $3";
        Ok(sqlx::query_as(sql).bind(at).bind(id).bind(limit).fetch_all(&self.read).await?)
    }

    /// Returns when a run succeeded last that was no dry run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_succeeded_run_at(&self) -> Result<Option<i64>, CatalogError> {
        let sql = "SELECT finished_at FROM runs WHERE status = 'succeeded' AND dry_run = 0 AND finished_at IS NOT NULL \
                   ORDER BY finished_at DESC LIMIT 1";
        Ok(sqlx::query_scalar(sql).fetch_optional(&self.read).await?)
    }

    /// Runs that are queued or running and that nobody carries out any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn abandoned_runs(&self) -> Result<Vec<RunRow>, CatalogError> {
        let sql = "SELECT * FROM runs WHERE status IN ('queued', 'running') AND NOT EXISTS (SELECT 1 FROM leases \
                   WHERE leases.name = 'run/' || runs.id AND leases.expires_at > $1) ORDER BY id";
        let now = self.now().await?;
        Ok(sqlx::query_as(sql).bind(now).fetch_all(&self.read).await?)
    }

    /// Marks runs as failed that nobody carries out any more; returns how many.
    ///
    /// Whoever carries a run out holds its lease ([`Catalog::hold_run`]). A process that just started names itself as
    /// `own`: what it held before it died is over, although the lease is not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_abandoned_runs(&self, at: i64, own: Option<&str>) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let done = sqlx::query(
            "UPDATE runs SET status = 'failed', finished_at = $1, error = 'interrupted before it ended' \
             WHERE status IN ('queued', 'running') AND NOT EXISTS (SELECT 1 FROM leases \
             WHERE leases.name = 'run/' || runs.id AND leases.expires_at > $2 AND leases.holder <> $3)",
        )
        .bind(at)
        .bind(now)
        .bind(own.unwrap_or_default())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM leases WHERE name LIKE 'run/%' AND NOT EXISTS (SELECT 1 FROM runs \
             WHERE 'run/' || runs.id = leases.name AND runs.status IN ('queued', 'running'))",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    /// Notes that a run is to be cancelled, unless it is over; who asked first stays noted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_run(&self, id: &str, requested_by: &str, at: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO run_cancels (run, requested_by, requested_at) SELECT runs.id, $2, $3 FROM runs \
             WHERE runs.id = $1 AND runs.status IN ('queued', 'running') ON CONFLICT (run) DO NOTHING",
        )
        .bind(id)
        .bind(requested_by)
        .bind(at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Returns who asked for a run, also one over workspaces, to be cancelled, if anybody did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_cancelled_by(&self, id: &str) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT requested_by FROM run_cancels WHERE run = $1";
        Ok(sqlx::query_scalar(sql).bind(id).fetch_optional(&self.read).await?)
    }

    /// Whether `holder` carries the run out, for the next `micros`; say so again before they are over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold_run(&self, id: &str, holder: &str, micros: i64) -> Result<bool, CatalogError> {
        self.acquire_lease(&lease_of(id), holder, micros).await
    }
}

fn lease_of(run: &str) -> String {
    format!("run/{run}")
}

const INSERT_RUN: &str = "INSERT INTO runs (id, status, from_day, to_day, pools, dry_run, created_at, started_at, \
     finished_at, posting, entries, warnings, error, requested_by, body) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (id) DO NOTHING";
const UPDATE_RUN: &str = "UPDATE runs SET status = $2, from_day = $3, to_day = $4, pools = $5, dry_run = $6, \
     created_at = $7, started_at = $8, finished_at = $9, posting = $10, entries = $11, warnings = $12, error = $13, \
     requested_by = $14, body = $15 WHERE id = $1";

async fn write_run(tx: &mut Transaction<'static, Any>, sql: &'static str, run: &RunRow) -> Result<bool, CatalogError> {
    let done = sqlx::query(sql)
        .bind(&run.id)
        .bind(&run.status)
        .bind(&run.from_day)
        .bind(&run.to_day)
        .bind(&run.pools)
        .bind(i64::from(run.dry_run))
        .bind(run.created_at)
        .bind(run.started_at)
        .bind(run.finished_at)
        .bind(run.posting)
        .bind(run.entries)
        .bind(&run.warnings)
        .bind(&run.error)
        .bind(&run.requested_by)
        .bind(&run.body)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn fetch_run(pool: &AnyPool, id: &str) -> Result<Option<RunRow>, CatalogError> {
    Ok(sqlx::query_as("SELECT * FROM runs WHERE id = $1").bind(id).fetch_optional(pool).await?)
}
