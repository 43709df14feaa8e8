use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// What became of a job that is done once a day, on one of its days.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct JobRow {
    /// Kind and day.
    pub id: String,
    /// Which job, e.g. `snapshot`.
    pub kind: String,
    /// The day it is for.
    pub target: String,
    /// `queued`, `running`, `succeeded` or `failed`.
    pub status: String,
    /// Not to be tried again before.
    pub run_after: i64,
    /// How often it was begun; 0 if it counts as done because the schedule began after it.
    pub attempts: i64,
    /// When it was begun last.
    pub started_at: Option<i64>,
    /// When it ended last.
    pub finished_at: Option<i64>,
    /// Why it failed last.
    pub error: Option<String>,
    /// Which process began it last.
    pub body: String,
}

/// How an attempt at a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// It is done.
    Done,
    /// It failed, and may be tried again after a while.
    Failed {
        /// Why.
        error: String,
        /// How long to wait, in microseconds.
        again_after: i64,
    },
}

/// All times are the database's, so that everybody who shares it agrees.
impl Catalog {
    /// Begins a job of a day for `holder` and returns the number of this attempt; `None` if the job is done already.
    ///
    /// Ask for the job's lease first: an attempt that is under way is taken over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_job(&self, kind: &str, day: &str, holder: &str) -> Result<Option<i64>, CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let done = sqlx::query(
            "INSERT INTO jobs (id, kind, target, status, run_after, attempts, started_at, body) \
             VALUES ($1, $2, $3, 'running', $4, 1, $4, $5) ON CONFLICT (id) DO UPDATE SET status = 'running', \
             attempts = jobs.attempts + 1, started_at = excluded.started_at, finished_at = NULL, body = excluded.body \
             WHERE jobs.status <> 'succeeded'",
        )
        .bind(id_of(kind, day))
        .bind(kind)
        .bind(day)
        .bind(now)
        .bind(holder)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let attempt = sqlx::query_scalar("SELECT attempts FROM jobs WHERE id = $1")
            .bind(id_of(kind, day))
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Some(attempt))
    }

    /// Notes how an attempt ended; returns whether it still was the newest one. If not, somebody took it over, and
    /// what is noted is theirs.
    ///
    /// # Errors
    /// When the database fails. Saying it again is harmless.
    pub async fn end_job(&self, kind: &str, day: &str, attempt: i64, end: &JobEnd) -> Result<bool, CatalogError> {
        let (status, error, wait) = match end {
            JobEnd::Done => ("succeeded", None, 0),
            JobEnd::Failed { error, again_after } => ("failed", Some(error.clone()), *again_after),
        };
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let done = sqlx::query(
            "UPDATE jobs SET status = $1, error = $2, run_after = $3, finished_at = $4 \
             WHERE id = $5 AND attempts = $6 AND status <> 'succeeded'",
        )
        .bind(status)
        .bind(error)
        .bind(now.saturating_add(wait))
        .bind(now)
        .bind(id_of(kind, day))
        .bind(attempt)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets a job's schedule begin after `day`, unless it began before. What a clock that was ahead did counts for later
    /// days only.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_schedule(&self, kind: &str, day: &str) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        sqlx::query(
            "INSERT INTO jobs (id, kind, target, status, run_after, attempts, body) \
             SELECT $1, $2, $3, 'succeeded', $4, 0, '' \
             WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE kind = $2 AND target <= $3)",
        )
        .bind(id_of(kind, day))
        .bind(kind)
        .bind(day)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The last day, up to `day`, on which the job was done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_job_done(&self, kind: &str, day: &str) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT target FROM jobs WHERE kind = $1 AND status = 'succeeded' AND target <= $2 \
                   ORDER BY target DESC LIMIT 1";
        Ok(sqlx::query_scalar(sql).bind(kind).bind(day).fetch_optional(&self.read).await?)
    }

    /// What became of a job on the days from `first` to `last`, both included, by day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs_between(&self, kind: &str, first: &str, last: &str) -> Result<Vec<JobRow>, CatalogError> {
        let sql = "SELECT * FROM jobs WHERE kind = $1 AND target >= $2 AND target <= $3 ORDER BY target";
        Ok(sqlx::query_as(sql).bind(kind).bind(first).bind(last).fetch_all(&self.read).await?)
    }

    /// The newest attempt at a job, whatever its day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_job_begun(&self, kind: &str) -> Result<Option<JobRow>, CatalogError> {
        let sql = "SELECT * FROM jobs WHERE kind = $1 AND attempts > 0 ORDER BY started_at DESC, target DESC LIMIT 1";
        Ok(sqlx::query_as(sql).bind(kind).fetch_optional(&self.read).await?)
    }
}

fn id_of(kind: &str, day: &str) -> String {
    format!("{kind}/{day}")
}
