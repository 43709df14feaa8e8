use domain::TenantScope;
use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// A statement of a closed month.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct StatementRow {
    /// `YYYY-MM`.
    pub month: String,
    /// From 1: how often the month was closed.
    pub version: i64,
    /// As it is printed.
    pub number: String,
    /// The close.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: i64,
    /// Hash of the close.
    pub ledger_head: String,
}

/// One form of a statement, as it is served.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct StatementDocumentRow {
    /// Whose own statement; empty for the whole organisation's.
    pub tenant: String,
    /// `json`, `csv` or `journal`.
    pub format: String,
    /// SHA-256 of the body, hex.
    pub sha256: String,
    /// The text.
    pub body: String,
}

/// What is known of a document without its text.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct StatementHashRow {
    /// `YYYY-MM`.
    pub month: String,
    /// From 1.
    pub version: i64,
    /// `json`, `csv` or `journal`.
    pub format: String,
    /// SHA-256 of the body, hex.
    pub sha256: String,
}

impl Catalog {
    /// Stores a statement with all its documents, all or none; returns whether it was not there yet. One that is there
    /// stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_statement(
        &self,
        statement: &StatementRow,
        documents: &[StatementDocumentRow],
    ) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO statements (month, version, number, posting, booked_at, ledger_head) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (month, version) DO NOTHING",
        )
        .bind(&statement.month)
        .bind(statement.version)
        .bind(&statement.number)
        .bind(statement.posting)
        .bind(statement.booked_at)
        .bind(&statement.ledger_head)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for document in documents {
            sqlx::query(
                "INSERT INTO statement_documents (month, version, tenant, format, sha256, body) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&statement.month)
            .bind(statement.version)
            .bind(&document.tenant)
            .bind(&document.format)
            .bind(&document.sha256)
            .bind(&document.body)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Every statement, in the order of the closes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_statements(&self) -> Result<Vec<StatementRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM statements ORDER BY posting").fetch_all(&self.read).await?)
    }

    /// The statements of a month, oldest version first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statements_of(&self, month: &str) -> Result<Vec<StatementRow>, CatalogError> {
        let sql = "SELECT * FROM statements WHERE month = $1 ORDER BY version";
        Ok(sqlx::query_as(sql).bind(month).fetch_all(&self.read).await?)
    }

    /// The hashes of the whole organisation's documents, by month, version and format.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statement_hashes_all_tenants(&self) -> Result<Vec<StatementHashRow>, CatalogError> {
        let sql = "SELECT month, version, format, sha256 FROM statement_documents WHERE tenant = '' \
                   ORDER BY month, version, format";
        Ok(sqlx::query_as(sql).fetch_all(&self.read).await?)
    }

    /// The whole organisation's document of that form.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statement_all_tenants(
        &self,
        month: &str,
        version: i64,
        format: &str,
    ) -> Result<Option<StatementDocumentRow>, CatalogError> {
        self.document(month, version, "", format).await
    }

    /// A tenant's own document of that form; none outside the scope.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statement_of_tenant(
        &self,
        scope: &TenantScope,
        tenant: &str,
        month: &str,
        version: i64,
        format: &str,
    ) -> Result<Option<StatementDocumentRow>, CatalogError> {
        // The empty text is no tenant: it stands for all of them.
        if tenant.is_empty() || !scope.allows(tenant) {
            return Ok(None);
        }
        self.document(month, version, tenant, format).await
    }

    async fn document(
        &self,
        month: &str,
        version: i64,
        tenant: &str,
        format: &str,
    ) -> Result<Option<StatementDocumentRow>, CatalogError> {
        let sql = "SELECT tenant, format, sha256, body FROM statement_documents \
                   WHERE month = $1 AND version = $2 AND tenant = $3 AND format = $4";
        let found = sqlx::query_as(sql).bind(month).bind(version).bind(tenant).bind(format);
        Ok(found.fetch_optional(&self.read).await?)
    }
}
