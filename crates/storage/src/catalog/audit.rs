use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// One change to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAudit {
    /// When it was made.
    pub at: i64,
    /// Token or user id, or `system`.
    pub actor: String,
    /// What was done, e.g. `tenant.put`.
    pub action: String,
    /// To what, e.g. the tenant's id.
    pub target: String,
    /// JSON before the change.
    pub before_json: Option<String>,
    /// JSON after it.
    pub after_json: Option<String>,
    /// The request that made it.
    pub request_id: Option<String>,
}

/// One recorded change.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AuditRow {
    /// Place in the log, from 1.
    pub seq: i64,
    /// When it was made.
    pub at: i64,
    /// Token or user id, or `system`.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// JSON before the change.
    pub before_json: Option<String>,
    /// JSON after it.
    pub after_json: Option<String>,
    /// The request that made it.
    pub request_id: Option<String>,
}

impl Catalog {
    /// Appends a change to the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn append_audit(&self, change: &NewAudit) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO audit_log (seq, at, actor, action, target, before_json, after_json, request_id) \
             VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM audit_log), $1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(change.at)
        .bind(&change.actor)
        .bind(&change.action)
        .bind(&change.target)
        .bind(&change.before_json)
        .bind(&change.after_json)
        .bind(&change.request_id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Up to `limit` changes, newest first, before place `before` (`None` for the newest).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_audit_all_tenants(&self, before: Option<i64>, limit: i64) -> Result<Vec<AuditRow>, CatalogError> {
        let sql = "SELECT * FROM audit_log WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
        Ok(sqlx::query_as(sql).bind(before.unwrap_or(i64::MAX)).bind(limit).fetch_all(&self.read).await?)
    }
}
