use sqlx::FromRow;

use super::{Catalog, CatalogError, meta::next_recorded_at};

/// An event that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RetractionRow {
    /// Whose event.
    pub tenant: String,
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: String,
}

impl Catalog {
    /// Notes events that were taken back; one that is noted already stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_retractions(&self, rows: &[RetractionRow], at: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let at = next_recorded_at(&mut tx, at).await?;
        for row in rows {
            let sql = "INSERT INTO retractions (tenant, source, id, recorded_at) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT (tenant, source, id) DO NOTHING";
            sqlx::query(sql).bind(&row.tenant).bind(&row.source).bind(&row.id).bind(at).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The events that were taken back, of one tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retractions(&self, tenant: &str) -> Result<Vec<RetractionRow>, CatalogError> {
        let sql = "SELECT tenant, source, id FROM retractions WHERE tenant = $1 ORDER BY source, id";
        Ok(sqlx::query_as(sql).bind(tenant).fetch_all(&self.read).await?)
    }

    /// The events that were taken back, of everybody, as noted up to the watermark.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retractions_all_tenants(&self, recorded_up_to: i64) -> Result<Vec<RetractionRow>, CatalogError> {
        let sql = "SELECT tenant, source, id FROM retractions WHERE recorded_at <= $1 ORDER BY tenant, source, id";
        Ok(sqlx::query_as(sql).bind(recorded_up_to).fetch_all(&self.read).await?)
    }
}
