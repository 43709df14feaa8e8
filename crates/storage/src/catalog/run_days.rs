use sqlx::FromRow;

use super::{Catalog, CatalogError, RunRow};

/// What a day's last run saw.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RunDayRow {
    /// The day.
    pub day: String,
    /// The run.
    pub run: String,
    /// JSON: versions of tables, policies, cards and the watermark pinned.
    pub inputs: String,
    /// When this was noted.
    pub updated_at: i64,
}

/// How a pool fared in a day's last run.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RunPoolStateRow {
    /// The day.
    pub day: String,
    /// The pool.
    pub pool: String,
    /// The run.
    pub run: String,
    /// `run` or `not_run`.
    pub state: String,
    /// Why it was not run.
    pub reason: Option<String>,
}

impl Catalog {
    /// Notes what a run saw on its days, and replaces those days' pool states, all or nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_run_days(&self, days: &[RunDayRow], pools: &[RunPoolStateRow]) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for day in days {
            sqlx::query(
                "INSERT INTO run_days (day, run, inputs, updated_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (day) DO UPDATE SET run = excluded.run, inputs = excluded.inputs, updated_at = excluded.updated_at",
            )
            .bind(&day.day)
            .bind(&day.run)
            .bind(&day.inputs)
            .bind(day.updated_at)
            .execute(&mut *tx)
            .await?;
            sqlx::query("DELETE FROM run_pool_states WHERE day = $1").bind(&day.day).execute(&mut *tx).await?;
        }
        for pool in pools {
            sqlx::query(
                "INSERT INTO run_pool_states (day, pool, run, state, reason) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (day, pool) DO UPDATE SET run = excluded.run, state = excluded.state, reason = excluded.reason",
            )
            .bind(&pool.day)
            .bind(&pool.pool)
            .bind(&pool.run)
            .bind(&pool.state)
            .bind(&pool.reason)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What the last runs saw on the days from `first` to `last`, both included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_days(&self, first: &str, last: &str) -> Result<Vec<RunDayRow>, CatalogError> {
        let sql = "SELECT * FROM run_days WHERE day >= $1 AND day <= $2 ORDER BY day";
        Ok(sqlx::query_as(sql).bind(first).bind(last).fetch_all(&self.read).await?)
    }

    /// The runs that were the last ones of some days from `first` to `last`, both included, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_runs(&self, first: &str, last: &str) -> Result<Vec<RunRow>, CatalogError> {
        let sql = "SELECT * FROM runs WHERE id IN (SELECT run FROM run_days WHERE day >= $1 AND day <= $2) ORDER BY id";
        Ok(sqlx::query_as(sql).bind(first).bind(last).fetch_all(&self.read).await?)
    }

    /// How pools fared on the days from `first` to `last`, both included, by day and pool.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_pool_states(&self, first: &str, last: &str) -> Result<Vec<RunPoolStateRow>, CatalogError> {
        let sql = "SELECT * FROM run_pool_states WHERE day >= $1 AND day <= $2 ORDER BY day, pool";
        Ok(sqlx::query_as(sql).bind(first).bind(last).fetch_all(&self.read).await?)
    }
}
