use sqlx::{Any, Transaction};

use super::{Catalog, CatalogError};

/// The facts about a store that are written once and then only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// Where the lake is.
    LakeUri,
    /// Which lake it is, wherever it was moved to.
    LakeId,
    /// Zone whose calendar days the `*_date` columns are.
    OrgTimezone,
    /// Currency of `amount_reporting`; fixed at the first posting.
    ReportingCurrency,
}

impl MetaKey {
    /// Name of the row in `meta`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LakeUri => "lake_uri",
            Self::LakeId => "lake_id",
            Self::OrgTimezone => "org_timezone",
            Self::ReportingCurrency => "reporting_currency",
        }
    }
}

const RECORDED_HIGH_WATER: &str = "recorded_high_water";

impl Catalog {
    /// The stored value of `key`, if it was ever set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meta(&self, key: MetaKey) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT value FROM meta WHERE key = $1";
        Ok(sqlx::query_scalar(sql).bind(key.as_str()).fetch_optional(&self.read).await?)
    }

    /// Stores `value` if `key` has none yet; afterwards only checks that it is still the same.
    ///
    /// # Errors
    /// [`CatalogError::Mismatch`] if another value is stored.
    pub async fn set_meta_once(&self, key: MetaKey, value: &str) -> Result<(), CatalogError> {
        let stored = match self.meta(key).await? {
            Some(stored) => stored,
            None => self.insert_meta(key, value).await?,
        };
        if stored == value {
            return Ok(());
        }
        Err(CatalogError::Mismatch { what: key.as_str(), stored, given: value.to_owned() })
    }

    async fn insert_meta(&self, key: MetaKey, value: &str) -> Result<String, CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
            .bind(key.as_str())
            .bind(value)
            .execute(&mut *tx)
            .await?;
        let stored =
            sqlx::query_scalar("SELECT value FROM meta WHERE key = $1").bind(key.as_str()).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(stored)
    }

    /// A watermark W ≥ `now`: rows with `recorded_at <= W` are all there already and stay as they are.
    ///
    /// A run calls this once and reads every dated table up to W. A later write gets a `recorded_at`
    /// above W even if its clock is behind, so reading again up to W gives the same rows for ever.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pin_recorded_at(&self, now: i64) -> Result<i64, CatalogError> {
        let mut tx = self.begin().await?;
        let watermark = high_water(&mut tx).await?.map_or(now, |high| high.max(now));
        set_high_water(&mut tx, watermark).await?;
        tx.commit().await?;
        Ok(watermark)
    }

    /// Returns a number that is another one whenever a dated row was written since it was last asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recorded_up_to(&self) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT value FROM meta WHERE key = $1";
        Ok(sqlx::query_scalar(sql).bind(RECORDED_HIGH_WATER).fetch_optional(&self.read).await?)
    }

    /// Returns the watermark of the dated rows that are there now, 0 before the first: as [`Catalog::pin_recorded_at`]
    /// without writing anything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recorded_high_water(&self) -> Result<i64, CatalogError> {
        let Some(text) = self.recorded_up_to().await? else { return Ok(0) };
        text.parse().map_err(|_| CatalogError::Corrupt { what: RECORDED_HIGH_WATER, value: text })
    }
}

/// The `recorded_at` for one write: `at`, or one microsecond above the last one written or pinned.
pub(super) async fn next_recorded_at(tx: &mut Transaction<'static, Any>, at: i64) -> Result<i64, CatalogError> {
    let recorded_at = high_water(tx).await?.map_or(at, |high| at.max(high + 1));
    set_high_water(tx, recorded_at).await?;
    Ok(recorded_at)
}

async fn high_water(tx: &mut Transaction<'static, Any>) -> Result<Option<i64>, CatalogError> {
    let stored: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = $1")
        .bind(RECORDED_HIGH_WATER)
        .fetch_optional(&mut **tx)
        .await?;
    match stored {
        None => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| CatalogError::Corrupt { what: RECORDED_HIGH_WATER, value: text })
        }
    }
}

async fn set_high_water(tx: &mut Transaction<'static, Any>, value: i64) -> Result<(), CatalogError> {
    sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(RECORDED_HIGH_WATER)
        .bind(value.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
