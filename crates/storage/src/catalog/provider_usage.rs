use std::collections::BTreeMap;

use sqlx::{Any, AssertSqlSafe, FromRow, Transaction};

use super::{Catalog, CatalogError};

/// Rows of one statement. SQLite looks for each parameter among all of them, so more at once are no faster.
const ROWS_AT_ONCE: usize = 50;
/// Columns of the table.
const COLUMNS: usize = 8;

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

    /// Replaces what a source used on a day, all or nothing; returns how many rows are other ones than before. The rows are
    /// of this source and day, and no two of them have resource and labels in common. Rows that stay the same are not
    /// touched.
    ///
    /// A day is a transaction and a billing period is none: nobody else writes while one lasts, and a large account has
    /// millions of quantities a month.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn replace_provider_usage(
        &self,
        source: &str,
        day: &str,
        rows: &[ProviderUsageRow],
    ) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let select = "SELECT * FROM provider_usage WHERE source = $1 AND usage_date = $2";
        let stored: Vec<ProviderUsageRow> = sqlx::query_as(select).bind(source).bind(day).fetch_all(&mut *tx).await?;
        let mut gone: BTreeMap<(&str, &str), (&str, &str)> =
            stored.iter().map(|row| (key(row), (row.unit.as_str(), row.quantity.as_str()))).collect();
        let mut changed: Vec<&ProviderUsageRow> = Vec::new();
        for row in rows {
            assert!(row.source == source && row.usage_date == day, "rows of another source or day");
            if gone.remove(&key(row)) != Some((row.unit.as_str(), row.quantity.as_str())) {
                changed.push(row);
            }
        }
        let gone: Vec<(&str, &str)> = gone.into_keys().collect();
        if !gone.is_empty() {
            remove(&mut tx, source, day, &gone, gone.len() == stored.len()).await?;
        }
        put(&mut tx, &changed).await?;
        tx.commit().await?;
        Ok((changed.len() + gone.len()) as u64)
    }
}

async fn put(tx: &mut Transaction<'static, Any>, rows: &[&ProviderUsageRow]) -> Result<(), CatalogError> {
    for some in rows.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO provider_usage (source, provider, usage_date, resource, labels_key, unit, quantity, \
             collected_at) VALUES {} ON CONFLICT (source, usage_date, resource, labels_key) DO UPDATE SET \
             provider = excluded.provider, unit = excluded.unit, quantity = excluded.quantity, \
             collected_at = excluded.collected_at",
            places(COLUMNS, some.len())
        );
        let mut query = sqlx::query::<Any>(AssertSqlSafe(sql));
        for row in some {
            query = query
                .bind(&row.source)
                .bind(&row.provider)
                .bind(&row.usage_date)
                .bind(&row.resource)
                .bind(&row.labels_key)
                .bind(&row.unit)
                .bind(&row.quantity)
                .bind(row.collected_at);
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Removes rows of a day one by one, by the key of the table; all of a day together, as when their labels are other ones.
async fn remove(
    tx: &mut Transaction<'static, Any>,
    source: &str,
    day: &str,
    keys: &[(&str, &str)],
    are_all: bool,
) -> Result<(), CatalogError> {
    if are_all {
        let sql = "DELETE FROM provider_usage WHERE source = $1 AND usage_date = $2";
        sqlx::query(sql).bind(source).bind(day).execute(&mut **tx).await?;
        return Ok(());
    }
    let sql = "DELETE FROM provider_usage WHERE source = $1 AND usage_date = $2 AND resource = $3 AND labels_key = $4";
    for (resource, labels_key) in keys {
        sqlx::query(sql).bind(source).bind(day).bind(*resource).bind(*labels_key).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Returns the places of the parameters of so many rows: `($1, $2), ($3, $4)`.
fn places(columns: usize, rows: usize) -> String {
    let row = |row: usize| {
        let numbers = (1..=columns).map(|column| format!("${}", row * columns + column));
        format!("({})", numbers.collect::<Vec<String>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<String>>().join(", ")
}

/// What tells the rows of a source and day apart.
fn key(row: &ProviderUsageRow) -> (&str, &str) {
    (&row.resource, &row.labels_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_row_by_row() {
        assert_eq!(places(3, 1), "($1, $2, $3)");
        assert_eq!(places(2, 3), "($1, $2), ($3, $4), ($5, $6)");
    }
}
