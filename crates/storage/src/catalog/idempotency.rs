use sqlx::FromRow;

use super::{Catalog, CatalogError};

/// The first answer to a keyed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: i64,
    /// JSON of the headers worth repeating.
    pub headers: String,
    /// Body text.
    pub body: String,
}

/// What a keyed write finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyStart {
    /// Nothing: do it, then [`Catalog::finish_idempotent`] or [`Catalog::abandon_idempotent`].
    New,
    /// The same write is under way.
    InProgress,
    /// It was done; answer this again.
    Finished(StoredResponse),
}

#[derive(FromRow)]
struct KeyRow {
    body_sha256: String,
    status: Option<i64>,
    response_headers: Option<String>,
    response_body: Option<String>,
    created_at: i64,
}

impl Catalog {
    /// Claims `key` for `actor`, or says what became of it.
    ///
    /// A claim made before `stale_before` and never finished belongs to a process that died: it is taken over.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyMismatch`] if the key was used with another `body_sha256`.
    pub async fn begin_idempotent(
        &self,
        actor: &str,
        key: &str,
        body_sha256: &str,
        now: i64,
        stale_before: i64,
    ) -> Result<IdempotencyStart, CatalogError> {
        let mut tx = self.begin().await?;
        let found: Option<KeyRow> = sqlx::query_as(
            "SELECT body_sha256, status, response_headers, response_body, created_at FROM idempotency_keys \
             WHERE actor = $1 AND idempotency_key = $2",
        )
        .bind(actor)
        .bind(key)
        .fetch_optional(&mut *tx)
        .await?;
        let start = match found {
            Some(row) if row.body_sha256 != body_sha256 => {
                return Err(CatalogError::IdempotencyMismatch { key: key.to_owned() });
            }
            Some(KeyRow { status: Some(status), response_headers, response_body, .. }) => {
                IdempotencyStart::Finished(StoredResponse {
                    status,
                    headers: response_headers.unwrap_or_default(),
                    body: response_body.unwrap_or_default(),
                })
            }
            Some(row) if stale_before <= row.created_at => IdempotencyStart::InProgress,
            Some(_) | None => IdempotencyStart::New,
        };
        if start == IdempotencyStart::New {
            sqlx::query(
                "INSERT INTO idempotency_keys (actor, idempotency_key, body_sha256, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (actor, idempotency_key) DO UPDATE SET created_at = excluded.created_at",
            )
            .bind(actor)
            .bind(key)
            .bind(body_sha256)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(start)
    }

    /// Keeps the answer to a claimed key. The first answer stays if it was given twice.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the key was never claimed.
    pub async fn finish_idempotent(
        &self,
        actor: &str,
        key: &str,
        response: &StoredResponse,
    ) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE idempotency_keys SET status = COALESCE(status, $1), \
             response_headers = COALESCE(response_headers, $2), response_body = COALESCE(response_body, $3) \
             WHERE actor = $4 AND idempotency_key = $5",
        )
        .bind(response.status)
        .bind(&response.headers)
        .bind(&response.body)
        .bind(actor)
        .bind(key)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: "idempotency key", id: key.to_owned() });
        }
        tx.commit().await?;
        Ok(())
    }

    /// Gives a claimed key back after a failure, so that a repeat tries again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn abandon_idempotent(&self, actor: &str, key: &str) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM idempotency_keys WHERE actor = $1 AND idempotency_key = $2 AND status IS NULL")
            .bind(actor)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets keys claimed before `created_before`; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_idempotency_keys(&self, created_before: i64) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1")
            .bind(created_before)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}
