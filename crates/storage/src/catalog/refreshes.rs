use sqlx::{Any, FromRow, Transaction};

use super::{Catalog, CatalogError, leases::take_lease};

/// A reading of a source: a row of `jobs` of the kind `refresh`. Those under way and the last one of each source are kept. So
/// is an import, while it is under way.
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
    /// How far it is, in words of whoever carries it out; empty while that is not known.
    #[sqlx(rename = "body")]
    pub progress: String,
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
        if !enter(&mut tx, refresh).await? {
            return Err(CatalogError::Conflict { what: "refresh", id: refresh.id.clone() });
        }
        take_lease(&mut tx, &lease_of(&refresh.id), &refresh.id, now, micros).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that a refresh is under way for the next `micros`; say so again before they are over. One that was forgotten,
    /// because that was said too late, is entered again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold_refresh(&self, refresh: &RefreshRow, micros: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        enter(&mut tx, refresh).await?;
        take_lease(&mut tx, &lease_of(&refresh.id), &refresh.id, now, micros).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes how far a refresh is; of one that was forgotten meanwhile nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_refresh(&self, id: &str, progress: &str) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE jobs SET body = $2 WHERE id = $1 AND kind = 'refresh'")
            .bind(id)
            .bind(progress)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
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

    /// Forgets a refresh, under way or over, and who asked for its end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_refresh(&self, id: &str) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for sql in ["DELETE FROM jobs WHERE id = $1 AND kind = 'refresh'", "DELETE FROM run_cancels WHERE run = $1"] {
            sqlx::query(sql).bind(id).execute(&mut *tx).await?;
        }
        sqlx::query("DELETE FROM leases WHERE name = $1").bind(lease_of(id)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that every refresh of a source that is under way is to be cancelled, and returns whether there is any; who asked
    /// first stays noted, for [`Catalog::run_cancelled_by`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_refreshes(&self, source: &str, requested_by: &str, at: i64) -> Result<bool, CatalogError> {
        self.cancel_those(source, "", (requested_by, at)).await
    }

    /// The same for the one refresh of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_refresh(&self, id: &str, requested_by: &str, at: i64) -> Result<bool, CatalogError> {
        self.cancel_those("", id, (requested_by, at)).await
    }

    /// Neither a source nor an id is empty.
    async fn cancel_those(
        &self,
        source: &str,
        id: &str,
        (requested_by, at): (&str, i64),
    ) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let under_way: Option<String> = sqlx::query_scalar(
            "SELECT jobs.id FROM jobs JOIN leases ON leases.name = 'refresh/' || jobs.id WHERE jobs.kind = 'refresh' \
             AND (jobs.target = $1 OR jobs.id = $2) AND jobs.status = 'running' AND leases.expires_at > $3 LIMIT 1",
        )
        .bind(source)
        .bind(id)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO run_cancels (run, requested_by, requested_at) SELECT jobs.id, $3, $4 FROM jobs \
             WHERE jobs.kind = 'refresh' AND (jobs.target = $1 OR jobs.id = $2) AND jobs.status = 'running' \
             AND EXISTS (SELECT 1 FROM leases WHERE leases.name = 'refresh/' || jobs.id AND leases.expires_at > $5) \
             ON CONFLICT (run) DO NOTHING",
        )
        .bind(source)
        .bind(id)
        .bind(requested_by)
        .bind(at)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(under_way.is_some())
    }

    /// Returns the refreshes under way whose source begins so, in the order in which they began.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refreshes_under_way(&self, source_prefix: &str) -> Result<Vec<RefreshRow>, CatalogError> {
        let now = self.now().await?;
        let found = sqlx::query_as(
            "SELECT jobs.id, jobs.target, jobs.status, jobs.run_after, jobs.finished_at, jobs.error, jobs.body \
             FROM jobs JOIN leases ON leases.name = 'refresh/' || jobs.id WHERE jobs.kind = 'refresh' \
             AND jobs.status = 'running' AND leases.expires_at > $1 AND substr(jobs.target, 1, $2) = $3 \
             ORDER BY jobs.run_after, jobs.id",
        )
        .bind(now)
        .bind(i32::try_from(source_prefix.chars().count()).unwrap_or(i32::MAX))
        .bind(source_prefix)
        .fetch_all(&self.read)
        .await?;
        Ok(found)
    }

    /// Returns the refresh of a source that is under way, or else the one that began last; one that nobody carries out any
    /// more has failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_refresh(&self, source: &str) -> Result<Option<RefreshRow>, CatalogError> {
        let now = self.now().await?;
        // In one statement: a refresh ends by giving up its lease, too.
        let found: Option<Looked> = sqlx::query_as(
            "SELECT jobs.id, jobs.target, jobs.status, jobs.run_after, jobs.finished_at, jobs.error, jobs.body, \
             leases.expires_at \
             FROM jobs LEFT JOIN leases ON leases.name = 'refresh/' || jobs.id \
             WHERE jobs.kind = 'refresh' AND jobs.target = $1 \
             ORDER BY CASE WHEN jobs.status = 'running' AND leases.expires_at > $2 THEN 0 ELSE 1 END, \
             jobs.run_after DESC, jobs.id DESC LIMIT 1",
        )
        .bind(source)
        .bind(now)
        .fetch_optional(&self.read)
        .await?;
        Ok(found.map(|Looked { refresh, expires_at }| {
            let is_held = expires_at.is_some_and(|until| now < until);
            if refresh.status != "running" || is_held {
                return refresh;
            }
            let error = Some("interrupted before it ended".to_owned());
            RefreshRow { status: "failed".to_owned(), error, ..refresh }
        }))
    }
}

/// A refresh, and how long others believe that it is under way.
#[derive(FromRow)]
struct Looked {
    #[sqlx(flatten)]
    refresh: RefreshRow,
    expires_at: Option<i64>,
}

/// Enters a refresh and returns whether none of its id was there.
async fn enter(tx: &mut Transaction<'static, Any>, refresh: &RefreshRow) -> Result<bool, CatalogError> {
    let done = sqlx::query(
        "INSERT INTO jobs (id, kind, target, status, run_after, attempts, started_at, finished_at, error, body) \
         VALUES ($1, 'refresh', $2, $3, $4, 1, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&refresh.id)
    .bind(&refresh.source)
    .bind(&refresh.status)
    .bind(refresh.created_at)
    .bind(refresh.finished_at)
    .bind(&refresh.error)
    .bind(&refresh.progress)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn lease_of(refresh: &str) -> String {
    format!("refresh/{refresh}")
}
