use sqlx::FromRow;

use super::{Catalog, CatalogError, meta::next_recorded_at};

/// A recurring or manual cost.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct FixedCostRow {
    /// Its id.
    pub id: String,
    /// `fixed` or `manual`: the source of its cost lines.
    pub source: String,
    /// Who is paid.
    pub provider: String,
    /// For what.
    pub service: String,
    /// ISO-4217 code.
    pub currency: String,
    /// Decimal text.
    pub amount: String,
    /// `day`, `month`, `year` or `once`.
    pub per: String,
    /// First day.
    pub from_date: String,
    /// Last day, included; `None` is open.
    pub to_date: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// JSON map.
    pub tags: String,
    /// Who entered it.
    pub created_by: String,
    /// When; adding moves it up so that recorded times rise strictly.
    pub created_at: i64,
    /// When it was deleted.
    pub deleted_at: Option<i64>,
}

impl Catalog {
    /// Adds a cost and returns the row as stored (`created_at` may have moved up, `deleted_at` is empty).
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken.
    pub async fn add_fixed_cost(&self, cost: &FixedCostRow) -> Result<FixedCostRow, CatalogError> {
        let mut tx = self.begin().await?;
        let created_at = next_recorded_at(&mut tx, cost.created_at).await?;
        let done = sqlx::query(
            "INSERT INTO fixed_costs (id, source, provider, service, currency, amount, per, from_date, to_date, note, \
             tags, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&cost.id)
        .bind(&cost.source)
        .bind(&cost.provider)
        .bind(&cost.service)
        .bind(&cost.currency)
        .bind(&cost.amount)
        .bind(&cost.per)
        .bind(&cost.from_date)
        .bind(&cost.to_date)
        .bind(&cost.note)
        .bind(&cost.tags)
        .bind(&cost.created_by)
        .bind(created_at)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::Conflict { what: "fixed cost", id: cost.id.clone() });
        }
        tx.commit().await?;
        Ok(FixedCostRow { created_at, deleted_at: None, ..cost.clone() })
    }

    /// Deletes a cost from now on; what earlier runs read stays readable. Returns the row as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such cost, or it was deleted before.
    pub async fn delete_fixed_cost(&self, id: &str, at: i64) -> Result<FixedCostRow, CatalogError> {
        let mut tx = self.begin().await?;
        let deleted_at = next_recorded_at(&mut tx, at).await?;
        let done = sqlx::query("UPDATE fixed_costs SET deleted_at = $1 WHERE id = $2 AND deleted_at IS NULL")
            .bind(deleted_at)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: "fixed cost", id: id.to_owned() });
        }
        let row = sqlx::query_as("SELECT * FROM fixed_costs WHERE id = $1").bind(id).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// The cost of that id, deleted or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fixed_cost(&self, id: &str) -> Result<Option<FixedCostRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM fixed_costs WHERE id = $1").bind(id).fetch_optional(&self.read).await?)
    }

    /// Up to `limit` costs not deleted, by id, after the id `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_fixed_costs(&self, after: Option<&str>, limit: i64) -> Result<Vec<FixedCostRow>, CatalogError> {
        let sql = "SELECT * FROM fixed_costs WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2";
        Ok(sqlx::query_as(sql).bind(after.unwrap_or("")).bind(limit).fetch_all(&self.read).await?)
    }

    /// The costs that stood at that instant, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fixed_costs_upto(&self, recorded_up_to: i64) -> Result<Vec<FixedCostRow>, CatalogError> {
        let sql =
            "SELECT * FROM fixed_costs WHERE created_at <= $1 AND (deleted_at IS NULL OR deleted_at > $1) ORDER BY id";
        Ok(sqlx::query_as(sql).bind(recorded_up_to).fetch_all(&self.read).await?)
    }
}
