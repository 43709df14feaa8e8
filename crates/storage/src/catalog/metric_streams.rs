use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// What was counted last of a cumulative stream of a metric, and before that.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct MetricStreamRow {
    /// Hash of its tenant and source, in hex.
    pub stream: String,
    /// Tenant of the current reading's event.
    pub tenant: String,
    /// Source of its events.
    pub source: String,
    /// Id of the current reading's event; without that event the previous reading is the one counted last.
    pub event_id: String,
    /// Since when the current reading counts, in nanoseconds.
    pub current_start: Option<i64>,
    /// When it was taken, in nanoseconds.
    pub current_at: i64,
    /// The count as a decimal, in the metric's own unit.
    pub current_value: String,
    /// Since when the previous reading counts.
    pub previous_start: Option<i64>,
    /// When it was taken; `None` if there is none.
    pub previous_at: Option<i64>,
    /// Its count.
    pub previous_value: Option<String>,
    /// When the row was written, or its stream seen after that.
    pub updated_at: i64,
}

impl Catalog {
    /// The row of a stream.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn metric_stream_all_tenants(&self, stream: &str) -> Result<Option<MetricStreamRow>, CatalogError> {
        let sql = "SELECT * FROM metric_streams WHERE stream = $1";
        Ok(sqlx::query_as(sql).bind(stream).fetch_optional(&self.read).await?)
    }

    /// Writes the rows, all or none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_metric_streams(&self, rows: &[MetricStreamRow]) -> Result<(), CatalogError> {
        let sql = "INSERT INTO metric_streams (stream, tenant, source, event_id, current_start, current_at, \
                   current_value, previous_start, previous_at, previous_value, updated_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                   ON CONFLICT (stream) DO UPDATE SET tenant = excluded.tenant, source = excluded.source, \
                   event_id = excluded.event_id, current_start = excluded.current_start, \
                   current_at = excluded.current_at, current_value = excluded.current_value, \
                   previous_start = excluded.previous_start, previous_at = excluded.previous_at, \
                   previous_value = excluded.previous_value, updated_at = excluded.updated_at";
        let mut tx = self.begin().await?;
        for row in rows {
            sqlx::query(sql)
                .bind(&row.stream)
                .bind(&row.tenant)
                .bind(&row.source)
                .bind(&row.event_id)
                .bind(row.current_start)
                .bind(row.current_at)
                .bind(&row.current_value)
                .bind(row.previous_start)
                .bind(row.previous_at)
                .bind(&row.previous_value)
                .bind(row.updated_at)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Notes that the streams were seen, although nothing of them was counted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_metric_streams(&self, streams: &[String], at: i64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for stream in streams {
            let sql = "UPDATE metric_streams SET updated_at = $2 WHERE stream = $1";
            sqlx::query(sql).bind(stream).bind(at).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets the streams that were last seen before the instant; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_metric_streams_all_tenants(&self, before: i64) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let sql = "DELETE FROM metric_streams WHERE updated_at < $1";
        let forgotten = sqlx::query(sql).bind(before).execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(forgotten)
    }
}
