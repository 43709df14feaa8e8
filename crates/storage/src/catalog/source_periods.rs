use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// What was said of a billing period of a source.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SourcePeriodRow {
    /// The source.
    pub source: String,
    /// BillingAccountId; empty for all accounts of the source.
    pub billing_account: String,
    /// `YYYY-MM`.
    pub billing_month: String,
    /// `billing_period`, `collector` or `person`.
    pub said_by: String,
    /// `open` or `closed`.
    pub state: String,
    /// Who entered it, or the import.
    pub actor: String,
    /// Free text.
    pub note: Option<String>,
    /// When.
    pub updated_at: i64,
}

impl Catalog {
    /// Stores what is said of some periods, in place of what the same kind of speaker said before.
    ///
    /// # Errors
    /// When the database fails; then nothing is stored.
    pub async fn put_source_periods(&self, rows: &[SourcePeriodRow]) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for row in rows {
            sqlx::query(
                "INSERT INTO source_periods \
                 (source, billing_account, billing_month, said_by, state, actor, note, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (source, billing_account, billing_month, said_by) DO UPDATE SET state = excluded.state, \
                 actor = excluded.actor, note = excluded.note, updated_at = excluded.updated_at",
            )
            .bind(&row.source)
            .bind(&row.billing_account)
            .bind(&row.billing_month)
            .bind(&row.said_by)
            .bind(&row.state)
            .bind(&row.actor)
            .bind(&row.note)
            .bind(row.updated_at)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Everything that was said of billing periods.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn source_periods(&self) -> Result<Vec<SourcePeriodRow>, CatalogError> {
        let sql = "SELECT * FROM source_periods ORDER BY source, billing_account, billing_month, said_by";
        Ok(sqlx::query_as(sql).fetch_all(&self.read).await?)
    }

    /// The (source, billing month) pairs of which an invoice was entered, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invoiced_periods(&self) -> Result<Vec<(String, String)>, CatalogError> {
        let sql = "SELECT DISTINCT source, billing_month FROM invoices ORDER BY source, billing_month";
        Ok(sqlx::query_as(sql).fetch_all(&self.read).await?)
    }
}
