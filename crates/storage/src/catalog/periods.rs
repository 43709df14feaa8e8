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
}

impl Catalog {
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

async fn insert(tx: &mut Transaction<'static, Any>, change: &PeriodChangeRow) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO period_changes (posting, month, kind, at, actor, reason, forced) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (posting) DO NOTHING",
    )
    .bind(change.posting)
    .bind(&change.month)
    .bind(&change.kind)
    .bind(change.at)
    .bind(&change.actor)
    .bind(&change.reason)
    .bind(&change.forced)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
