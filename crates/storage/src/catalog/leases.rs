use std::time::Duration;

use sqlx::{Any, Transaction};

use super::{Catalog, CatalogError, dialect::TURN_WAIT_MAX};

/// How long others believe that somebody is at work who said so last. Longer than saying so may take, so that no writer
/// who waits for a turn loses what it is about to renew; and no longer, because so long others wait for one that died.
pub const LEASE_HELD: Duration = Duration::from_secs(40);
/// How often whoever is at work says so.
pub const LEASE_TOLD_EVERY: Duration = Duration::from_secs(5);
const _: () = assert!(LEASE_TOLD_EVERY.as_secs() + TURN_WAIT_MAX.as_secs() < LEASE_HELD.as_secs());

impl Catalog {
    /// Whether `holder` has the lease for the next `micros`: it was free, run out, or already its own.
    ///
    /// A lease saves work. Nothing may become wrong when two believe that they hold it. Time is the database's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire_lease(&self, name: &str, holder: &str, micros: i64) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let taken = take_lease(&mut tx, name, holder, now, micros).await?;
        tx.commit().await?;
        Ok(taken)
    }

    /// Whether `holder` still has the lease, and then has it for the next `micros`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_lease(&self, name: &str, holder: &str, micros: i64) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let now = self.now_in(&mut tx).await?;
        let done = sqlx::query("UPDATE leases SET expires_at = $1 WHERE name = $2 AND holder = $3 AND expires_at > $4")
            .bind(now.saturating_add(micros))
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
        drop_lease(&mut tx, name, holder).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Whether the lease was free, run out at `now`, or the holder's own; then it is the holder's for the next `micros`.
pub(super) async fn take_lease(
    tx: &mut Transaction<'static, Any>,
    name: &str,
    holder: &str,
    now: i64,
    micros: i64,
) -> Result<bool, CatalogError> {
    let done = sqlx::query(
        "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
         SET holder = excluded.holder, expires_at = excluded.expires_at \
         WHERE leases.holder = excluded.holder OR leases.expires_at <= $4",
    )
    .bind(name)
    .bind(holder)
    .bind(now.saturating_add(micros))
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn drop_lease(tx: &mut Transaction<'static, Any>, name: &str, holder: &str) -> Result<(), CatalogError> {
    sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
