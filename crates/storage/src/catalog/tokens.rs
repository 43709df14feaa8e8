use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// A bearer token, known by its hash.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TokenRow {
    /// Name of the token in lists and in the audit log.
    pub id: String,
    /// SHA-256 of the token, hex.
    pub hash: String,
    /// Leading characters shown in lists.
    pub hint: String,
    /// What somebody called it.
    pub name: String,
    /// One role.
    pub role: String,
    /// JSON list of tenant ids; `None` means every tenant.
    pub tenants: Option<String>,
    /// JSON list of text.
    pub scopes: String,
    /// When it was made.
    pub created_at: i64,
    /// Who made it.
    pub created_by: String,
    /// When it stops working by itself.
    pub expires_at: Option<i64>,
    /// When somebody ended it.
    pub revoked_at: Option<i64>,
    /// About when it was last used.
    pub last_used_at: Option<i64>,
}

impl TokenRow {
    /// Whether the token opens anything at `now`.
    #[must_use]
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Catalog {
    /// Stores a new token.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id or the hash is taken.
    pub async fn insert_token(&self, token: &TokenRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO tokens (id, hash, hint, name, role, tenants, scopes, created_at, created_by, expires_at, \
             revoked_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        )
        .bind(&token.id)
        .bind(&token.hash)
        .bind(&token.hint)
        .bind(&token.name)
        .bind(&token.role)
        .bind(&token.tenants)
        .bind(&token.scopes)
        .bind(token.created_at)
        .bind(&token.created_by)
        .bind(token.expires_at)
        .bind(token.revoked_at)
        .bind(token.last_used_at)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::Conflict { what: "token", id: token.id.clone() });
        }
        tx.commit().await?;
        Ok(())
    }

    /// The token with that hash, live or not; ask [`TokenRow::is_live`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_by_hash(&self, hash: &str) -> Result<Option<TokenRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM tokens WHERE hash = $1").bind(hash).fetch_optional(&self.read).await?)
    }

    /// Up to `limit` tokens by id, after the id `after`; revoked ones too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tokens(&self, after: Option<&str>, limit: i64) -> Result<Vec<TokenRow>, CatalogError> {
        let sql = "SELECT * FROM tokens WHERE id > $1 ORDER BY id LIMIT $2";
        Ok(sqlx::query_as(sql).bind(after.unwrap_or("")).bind(limit).fetch_all(&self.read).await?)
    }

    /// Ends a token; ending it again keeps the first time. Returns the token as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such token.
    pub async fn revoke_token(&self, id: &str, at: i64) -> Result<TokenRow, CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
            .bind(at)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query_as("SELECT * FROM tokens WHERE id = $1").bind(id).fetch_optional(&mut *tx).await?;
        tx.commit().await?;
        row.ok_or_else(|| CatalogError::NotFound { what: "token", id: id.to_owned() })
    }

    /// Notes that a token was used at `now`, unless that was noted within the last `every_micros`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_token(&self, token: &TokenRow, now: i64, every_micros: i64) -> Result<(), CatalogError> {
        if token.last_used_at.is_some_and(|last| now - last < every_micros) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE tokens SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)",
        )
        .bind(now)
        .bind(&token.id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
