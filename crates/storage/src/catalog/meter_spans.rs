use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// A time during which a definition of a meter took events.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct MeterSpanRow {
    /// The meter.
    pub name: String,
    /// Events received from here on.
    pub from_at: i64,
    /// Up to here, not included; none while it still takes them.
    pub until_at: Option<i64>,
    /// JSON of the definition.
    pub body: String,
}

impl Catalog {
    /// Every time during which a meter took events, by name and time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meter_spans(&self) -> Result<Vec<MeterSpanRow>, CatalogError> {
        let sql = "SELECT * FROM meter_spans ORDER BY name, from_at";
        Ok(sqlx::query_as(sql).fetch_all(&self.read).await?)
    }

    /// Notes that from `at` on these meters take no more events, and these definitions (name and body) do.
    ///
    /// # Errors
    /// When the database fails; then nothing is noted.
    pub async fn switch_meter_spans(
        &self,
        at: i64,
        ended: &[String],
        begun: &[(String, String)],
    ) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for name in ended {
            sqlx::query("UPDATE meter_spans SET until_at = $1 WHERE name = $2 AND until_at IS NULL")
                .bind(at)
                .bind(name)
                .execute(&mut *tx)
                .await?;
        }
        for (name, body) in begun {
            sqlx::query("INSERT INTO meter_spans (name, from_at, body) VALUES ($1, $2, $3)")
                .bind(name)
                .bind(at)
                .bind(body)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
