use sqlx::FromRow;

use super::{Catalog, CatalogError, meta::next_recorded_at};

/// A rate as somebody enters it: one `from_currency` costs `rate` `to_currency` on `day`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFxRate {
    /// The day.
    pub day: String,
    /// ISO-4217 code.
    pub from_currency: String,
    /// ISO-4217 code.
    pub to_currency: String,
    /// Decimal, at most 15 fractional digits.
    pub rate: String,
    /// Where it comes from, e.g. `ecb`.
    pub source: String,
}

/// A stored rate.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct FxRateRow {
    /// The day.
    pub day: String,
    /// ISO-4217 code.
    pub from_currency: String,
    /// ISO-4217 code.
    pub to_currency: String,
    /// Rises strictly with every write to the catalog.
    pub recorded_at: i64,
    /// Decimal text.
    pub rate: String,
    /// Where it comes from.
    pub source: String,
}

impl Catalog {
    /// Records those rates that differ from the current ones; returns how many did.
    ///
    /// # Errors
    /// When the database fails; then none was recorded.
    pub async fn put_fx_rates(&self, rates: &[NewFxRate], at: i64) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let recorded_at = next_recorded_at(&mut tx, at).await?;
        let mut recorded = 0;
        for rate in rates {
            let last: Option<FxRateRow> = sqlx::query_as(
                "SELECT * FROM fx_rates WHERE from_currency = $1 AND to_currency = $2 AND day = $3 \
                 ORDER BY recorded_at DESC LIMIT 1",
            )
            .bind(&rate.from_currency)
            .bind(&rate.to_currency)
            .bind(&rate.day)
            .fetch_optional(&mut *tx)
            .await?;
            if last.is_some_and(|last| last.rate == rate.rate && last.source == rate.source) {
                continue;
            }
            // Naming a day twice in one call: the last one counts, as it would in two calls.
            sqlx::query(
                "INSERT INTO fx_rates (day, from_currency, to_currency, recorded_at, rate, source) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (from_currency, to_currency, day, recorded_at) \
                 DO UPDATE SET rate = excluded.rate, source = excluded.source",
            )
            .bind(&rate.day)
            .bind(&rate.from_currency)
            .bind(&rate.to_currency)
            .bind(recorded_at)
            .bind(&rate.rate)
            .bind(&rate.source)
            .execute(&mut *tx)
            .await?;
            recorded += 1;
        }
        if 0 < recorded {
            tx.commit().await?;
        }
        Ok(recorded)
    }

    /// The rates that counted at that instant, by pair and day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fx_rates_upto(&self, recorded_up_to: i64) -> Result<Vec<FxRateRow>, CatalogError> {
        let sql = "SELECT r.* FROM fx_rates r WHERE r.recorded_at = (SELECT MAX(l.recorded_at) FROM fx_rates l \
                   WHERE l.from_currency = r.from_currency AND l.to_currency = r.to_currency AND l.day = r.day \
                   AND l.recorded_at <= $1) ORDER BY r.from_currency, r.to_currency, r.day";
        Ok(sqlx::query_as(sql).bind(recorded_up_to).fetch_all(&self.read).await?)
    }

    /// Up to `limit` rates that count now, in order of (day, from, to), after the key `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_fx_rates(
        &self,
        after: Option<(&str, &str, &str)>,
        limit: i64,
    ) -> Result<Vec<FxRateRow>, CatalogError> {
        let (day, from, to) = after.unwrap_or(("", "", ""));
        let sql = "SELECT r.* FROM fx_rates r WHERE r.recorded_at = (SELECT MAX(l.recorded_at) FROM fx_rates l \
                   WHERE l.from_currency = r.from_currency AND l.to_currency = r.to_currency AND l.day = r.day) \
                   AND (r.day > $1 OR (r.day = $1 AND (r.from_currency > $2 OR (r.from_currency = $2 AND r.to_currency > $3)))) \
                   ORDER BY r.day, r.from_currency, r.to_currency LIMIT $4";
        Ok(sqlx::query_as(sql).bind(day).bind(from).bind(to).bind(limit).fetch_all(&self.read).await?)
    }
}
