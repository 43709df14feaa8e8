use sqlx::{Any, FromRow, Transaction};

use super::{Catalog, CatalogError};

/// A close or reopen of a billing month, as its commit in the ledger's log tells it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PeriodChangeRow {
    /// The posting.
    pub posting: i64,
    /// `YYYY-MM`.
    pub month: String,
    /// `close` or `reopen`.
    pub kind: String,
    /// When it was booked.
    pub at: i64,
    /// Who did it.
    pub actor: String,
    /// Reason of a reopen or a forced close.
    pub reason: Option<String>,
    /// JSON list: what stood against a forced close.
    pub forced: String,
    /// JSON list: files of the lake with what the windows of the month looked like.
    pub evidence: String,
}

/// What of a pool on a day of a closed month is not corrected.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PendingCorrectionRow {
    /// The day.
    pub day: String,
    /// The pool.
    pub pool: String,
    /// The month of the day.
    pub month: String,
    /// The run that noted it.
    pub run: String,
    /// When.
    pub noted_at: i64,
    /// JSON: what each tenant or reserved word would be corrected by.
    pub consumers: String,
}

impl Catalog {
    /// Replaces what is noted of these days.
    ///
    /// # Errors
    /// When the database fails; then nothing is replaced.
    pub async fn replace_pending_corrections(
        &self,
        days: &[String],
        noted: &[PendingCorrectionRow],
    ) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for day in days {
            sqlx::query("DELETE FROM pending_corrections WHERE day = $1").bind(day).execute(&mut *tx).await?;
        }
        for row in noted {
            note(&mut tx, row).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Notes these beside what is noted, unless what is noted of days outside `from..=to` is no longer `elsewhere`, in
    /// the order of [`Catalog::pending_corrections_all_tenants`]; then it notes nothing and returns false.
    ///
    /// What was noted before of the same day and pool is replaced; the rest of the days stays.
    ///
    /// # Errors
    /// When the database fails; then nothing is noted.
    pub async fn note_pending_corrections(
        &self,
        (from, to): (&str, &str),
        elsewhere: &[PendingCorrectionRow],
        noted: &[PendingCorrectionRow],
    ) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let found: Vec<PendingCorrectionRow> =
            sqlx::query_as("SELECT * FROM pending_corrections WHERE day < $1 OR $2 < day ORDER BY day, pool")
                .bind(from)
                .bind(to)
                .fetch_all(&mut *tx)
                .await?;
        if found != elsewhere {
            return Ok(false);
        }
        for row in noted {
            note(&mut tx, row).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// What is noted and not corrected, by day and pool.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pending_corrections_all_tenants(&self) -> Result<Vec<PendingCorrectionRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM pending_corrections ORDER BY day, pool").fetch_all(&self.read).await?)
    }

    /// Caches a close or reopen; once more is harmless.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_period_change(&self, change: &PeriodChangeRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        insert(&mut tx, change).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes the cache say what the ledger's log says up to posting `head`; what came after it stays.
    ///
    /// # Errors
    /// When the database fails; then the cache is as before.
    pub async fn replace_period_changes(&self, head: i64, changes: &[PeriodChangeRow]) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM period_changes WHERE posting <= $1").bind(head).execute(&mut *tx).await?;
        for change in changes {
            insert(&mut tx, change).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Every close and reopen, in the order of their postings.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn period_changes(&self) -> Result<Vec<PeriodChangeRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM period_changes ORDER BY posting").fetch_all(&self.read).await?)
    }
}

async fn note(tx: &mut Transaction<'static, Any>, row: &PendingCorrectionRow) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO pending_corrections (day, pool, month, run, noted_at, consumers) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (day, pool) DO UPDATE SET month = excluded.month, run = excluded.run, \
         noted_at = excluded.noted_at, consumers = excluded.consumers",
    )
    .bind(&row.day)
    .bind(&row.pool)
    .bind(&row.month)
    .bind(&row.run)
    .bind(row.noted_at)
    .bind(&row.consumers)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert(tx: &mut Transaction<'static, Any>, change: &PeriodChangeRow) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO period_changes (posting, month, kind, at, actor, reason, forced, evidence) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (posting) DO NOTHING",
    )
    .bind(change.posting)
    .bind(&change.month)
    .bind(&change.kind)
    .bind(change.at)
    .bind(&change.actor)
    .bind(&change.reason)
    .bind(&change.forced)
    .bind(&change.evidence)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
