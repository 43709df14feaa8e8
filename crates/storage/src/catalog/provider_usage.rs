use std::collections::BTreeMap;
use std::fmt;

use sqlx::{Any, FromRow, Transaction};

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

    /// Returns what a source used on one of these days, inclusive, if it used anything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_provider_usage(
        &self,
        source: &str,
        from: &str,
        to: &str,
    ) -> Result<Option<ProviderUsageRow>, CatalogError> {
        let sql = "SELECT * FROM provider_usage WHERE source = $1 AND usage_date >= $2 AND usage_date <= $3 \
                   ORDER BY usage_date, resource, labels_key LIMIT 1";
        Ok(sqlx::query_as(sql).bind(source).bind(from).bind(to).fetch_optional(&self.read).await?)
    }

    /// Begins to replace what a source used. Until it is committed nothing has changed, and nobody else writes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_provider_usage(&self, source: &str) -> Result<ProviderUsageReplacement, CatalogError> {
        Ok(ProviderUsageReplacement { tx: self.begin().await?, source: source.to_owned(), changed: 0 })
    }
}

/// What a source used, being replaced a day at a time; dropped without a commit, it has changed nothing.
pub struct ProviderUsageReplacement {
    tx: Transaction<'static, Any>,
    source: String,
    changed: u64,
}

impl fmt::Debug for ProviderUsageReplacement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ProviderUsageReplacement({})", self.source)
    }
}

impl ProviderUsageReplacement {
    /// Replaces what was used on a day; the rows are of this source and day. Rows that stay the same are not touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_day(&mut self, day: &str, rows: &[ProviderUsageRow]) -> Result<(), CatalogError> {
        let select = "SELECT * FROM provider_usage WHERE source = $1 AND usage_date = $2";
        let stored: Vec<ProviderUsageRow> =
            sqlx::query_as(select).bind(&self.source).bind(day).fetch_all(&mut *self.tx).await?;
        let mut gone: BTreeMap<(&str, &str), (&str, &str)> =
            stored.iter().map(|row| (key(row), (row.unit.as_str(), row.quantity.as_str()))).collect();
        for row in rows {
            assert!(row.source == self.source && row.usage_date == day, "rows of another source or day");
            if gone.remove(&key(row)) == Some((row.unit.as_str(), row.quantity.as_str())) {
                continue;
            }
            self.changed += 1;
            self.put(row).await?;
        }
        for (resource, labels_key) in gone.keys() {
            self.changed += 1;
            sqlx::query(
                "DELETE FROM provider_usage WHERE source = $1 AND usage_date = $2 AND resource = $3 AND labels_key = $4",
            )
            .bind(&self.source)
            .bind(day)
            .bind(*resource)
            .bind(*labels_key)
            .execute(&mut *self.tx)
            .await?;
        }
        Ok(())
    }

    /// Makes the new quantities those that count, all or nothing; returns how many rows are other ones than before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn commit(self) -> Result<u64, CatalogError> {
        self.tx.commit().await?;
        Ok(self.changed)
    }

    async fn put(&mut self, row: &ProviderUsageRow) -> Result<(), CatalogError> {
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
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

/// What tells the rows of a source and day apart.
fn key(row: &ProviderUsageRow) -> (&str, &str) {
    (&row.resource, &row.labels_key)
}
