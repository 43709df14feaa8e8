use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// What was used of one resource of a provider on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct ProviderUsageRow {
    /// Name of the source in the configuration.
    pub source: String,
    /// Its kind, such as `vercel`.
    pub provider: String,
    /// The day, `YYYY-MM-DD`, in the provider's zone.
    pub usage_date: String,
    /// What.
    pub resource: String,
    /// Of what: canonical JSON of labels.
    pub labels_key: String,
    /// A FOCUS unit.
    pub unit: String,
    /// A decimal.
    pub quantity: String,
    /// When it was read, in microseconds since 1970.
    pub collected_at: i64,
}

impl Catalog {
    /// Returns what was used on these days, inclusive, in the order of source, day, resource and labels; of one source, or
    /// of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provider_usage(
        &self,
        source: Option<&str>,
        from: &str,
        to: &str,
    ) -> Result<Vec<ProviderUsageRow>, CatalogError> {
        let sql = "SELECT * FROM provider_usage WHERE usage_date >= $1 AND usage_date <= $2 \
                   AND ($3 = '' OR source = $3) ORDER BY source, usage_date, resource, labels_key";
        Ok(sqlx::query_as(sql).bind(from).bind(to).bind(source.unwrap_or("")).fetch_all(&self.read).await?)
    }

    /// Returns when a quantity was read last that was another one than before, in microseconds since 1970.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provider_usage_collected_at(&self) -> Result<Option<i64>, CatalogError> {
        let sql = "SELECT collected_at FROM provider_usage ORDER BY collected_at DESC LIMIT 1";
        Ok(sqlx::query_scalar(sql).fetch_optional(&self.read).await?)
    }

    /// Replaces what a source used on these days, inclusive, all or nothing; returns how many rows are other ones than
    /// before. Rows that stay the same are not touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_provider_usage(
        &self,
        source: &str,
        from: &str,
        to: &str,
        rows: &[ProviderUsageRow],
    ) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let select = "SELECT * FROM provider_usage WHERE source = $1 AND usage_date >= $2 AND usage_date <= $3";
        let stored: Vec<ProviderUsageRow> =
            sqlx::query_as(select).bind(source).bind(from).bind(to).fetch_all(&mut *tx).await?;
        let mut gone: BTreeMap<(&str, &str, &str), (&str, &str)> =
            stored.iter().map(|row| (key(row), (row.unit.as_str(), row.quantity.as_str()))).collect();
        let mut changed = 0;
        for row in rows {
            if gone.remove(&key(row)) == Some((row.unit.as_str(), row.quantity.as_str())) {
                continue;
            }
            changed += 1;
            sqlx::query(
                "INSERT INTO provider_usage (source, provider, usage_date, resource, labels_key, unit, quantity, \
                 collected_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (source, usage_date, resource, labels_key) DO UPDATE SET provider = excluded.provider, \
                 unit = excluded.unit, quantity = excluded.quantity, collected_at = excluded.collected_at",
            )
            .bind(&row.source)
            .bind(&row.provider)
            .bind(&row.usage_date)
            .bind(&row.resource)
            .bind(&row.labels_key)
            .bind(&row.unit)
            .bind(&row.quantity)
            .bind(row.collected_at)
            .execute(&mut *tx)
            .await?;
        }
        for (day, resource, labels_key) in gone.keys() {
            changed += 1;
            sqlx::query(
                "DELETE FROM provider_usage WHERE source = $1 AND usage_date = $2 AND resource = $3 AND labels_key = $4",
            )
            .bind(source)
            .bind(*day)
            .bind(*resource)
            .bind(*labels_key)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(changed)
    }
}

fn key(row: &ProviderUsageRow) -> (&str, &str, &str) {
    (&row.usage_date, &row.resource, &row.labels_key)
}
