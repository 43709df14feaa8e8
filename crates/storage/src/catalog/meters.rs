use sqlx::FromRow;

use super::{Catalog, CatalogError, meta::next_recorded_at};

/// A meter's definition as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct MeterRow {
    /// Its unique name.
    pub name: String,
    /// Rises strictly with every write to the catalog.
    pub recorded_at: i64,
    /// JSON of the definition.
    pub body: String,
    /// `active` or `hidden`.
    pub state: String,
    /// `builtin`, `file`, or the actor who put it.
    pub entered_by: String,
}

impl Catalog {
    /// Records a definition; returns whether it differs from the current one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_meter(
        &self,
        name: &str,
        body: &str,
        state: &str,
        entered_by: &str,
        at: i64,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let last: Option<MeterRow> =
            sqlx::query_as("SELECT * FROM meters WHERE name = $1 ORDER BY recorded_at DESC LIMIT 1")
                .bind(name)
                .fetch_optional(&mut *tx)
                .await?;
        if last.is_some_and(|last| last.body == body && last.state == state) {
            return Ok(false);
        }
        let recorded_at = next_recorded_at(&mut tx, at).await?;
        sqlx::query("INSERT INTO meters (name, recorded_at, body, state, entered_by) VALUES ($1, $2, $3, $4, $5)")
            .bind(name)
            .bind(recorded_at)
            .bind(body)
            .bind(state)
            .bind(entered_by)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The definitions that were current at that instant, by name; hidden ones too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meters_upto(&self, recorded_up_to: i64) -> Result<Vec<MeterRow>, CatalogError> {
        let sql = "SELECT m.* FROM meters m WHERE m.recorded_at = (SELECT MAX(l.recorded_at) FROM meters l \
                   WHERE l.name = m.name AND l.recorded_at <= $1) ORDER BY m.name";
        Ok(sqlx::query_as(sql).bind(recorded_up_to).fetch_all(&self.read).await?)
    }

    /// Notes that a meter has usage; its defining fields can no longer change.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_meter_used(&self, name: &str, at: i64) -> Result<(), CatalogError> {
        if self.meter_in_use(name).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO meters_in_use (name, first_used_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(at)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether the meter has usage.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meter_in_use(&self, name: &str) -> Result<bool, CatalogError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT first_used_at FROM meters_in_use WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.read)
            .await?;
        Ok(found.is_some())
    }
}
