use super::{Catalog, CatalogError};

impl Catalog {
    /// Whether `holder` has the lease now: it was free, run out, or already its own.
    ///
    /// A lease saves work. Nothing may become wrong when two believe that they hold it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        now: i64,
        expires_at: i64,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
             SET holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leases.holder = excluded.holder OR leases.expires_at <= $4",
        )
        .bind(name)
        .bind(holder)
        .bind(expires_at)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether `holder` still had the lease at `now` and has it until `expires_at`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_lease(&self, name: &str, holder: &str, now: i64, expires_at: i64) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("UPDATE leases SET expires_at = $1 WHERE name = $2 AND holder = $3 AND expires_at > $4")
            .bind(expires_at)
            .bind(name)
            .bind(holder)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives the lease back, if `holder` has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}
