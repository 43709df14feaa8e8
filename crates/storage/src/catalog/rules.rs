use sqlx::FromRow;

use super::{Catalog, CatalogError, meta::next_recorded_at};

/// Policies and rate cards live the same life, each in its own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Versions of `policy.toml`.
    Policy,
    /// Versions of `rates.toml`.
    RateCard,
}

/// A version to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its name, unique per kind.
    pub version: String,
    /// First day it may apply to.
    pub valid_from: String,
    /// The text as it was given.
    pub body: String,
    /// `toml` or `json`.
    pub format: String,
    /// Hash of the content, taken so that layout and comments do not matter.
    pub sha256: String,
}

/// What publishing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// A new version.
    Added,
    /// The version was there with the same content.
    Unchanged,
    /// The version was there, unused, with other content; it now has the new one.
    Replaced,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RuleVersionRow {
    /// Its name, unique per kind.
    pub version: String,
    /// First day it may apply to.
    pub valid_from: String,
    /// When it was published; rises strictly like every recorded time.
    pub published_at: i64,
    /// Order of publication within its kind; replacing counts as publishing again.
    pub published_seq: i64,
    /// The text as it was given.
    pub body: String,
    /// `toml` or `json`.
    pub format: String,
    /// Hash of the content.
    pub sha256: String,
    /// When a posting first rested on it.
    pub first_used_at: Option<i64>,
}

/// The statements of one kind; only the table's name differs.
struct RuleSql {
    name: &'static str,
    get: &'static str,
    list: &'static str,
    for_day: &'static str,
    put: &'static str,
    use_it: &'static str,
}

macro_rules! rule_sql {
    ($name:literal, $table:literal) => {
        RuleSql {
            name: $name,
            get: concat!("SELECT * FROM ", $table, " WHERE version = $1"),
            list: concat!("SELECT * FROM ", $table, " WHERE published_at <= $1 ORDER BY published_seq"),
            for_day: concat!(
                "SELECT * FROM ",
                $table,
                " WHERE valid_from <= $1 AND published_at <= $2 ",
                "ORDER BY valid_from DESC, published_seq DESC LIMIT 1"
            ),
            put: concat!(
                "INSERT INTO ",
                $table,
                " (version, valid_from, published_at, published_seq, body, format, sha256) ",
                "VALUES ($1, $2, $3, (SELECT COALESCE(MAX(published_seq), 0) + 1 FROM ",
                $table,
                "), $4, $5, $6) ",
                "ON CONFLICT (version) DO UPDATE SET valid_from = excluded.valid_from, ",
                "published_at = excluded.published_at, published_seq = excluded.published_seq, ",
                "body = excluded.body, format = excluded.format, sha256 = excluded.sha256"
            ),
            use_it: concat!(
                "UPDATE ",
                $table,
                " SET first_used_at = COALESCE(first_used_at, $1) WHERE version = $2 AND sha256 = $3"
            ),
        }
    };
}

static POLICY_SQL: RuleSql = rule_sql!("policy", "policies");
static RATE_CARD_SQL: RuleSql = rule_sql!("rate card", "rate_cards");

impl RuleKind {
    fn sql(self) -> &'static RuleSql {
        match self {
            Self::Policy => &POLICY_SQL,
            Self::RateCard => &RATE_CARD_SQL,
        }
    }
}

impl Catalog {
    /// Publishes a version: adds it, leaves it, or replaces it while nothing was posted with it.
    ///
    /// # Errors
    /// [`CatalogError::VersionInUse`] if a posting rests on that version with other content.
    pub async fn publish_rule(&self, kind: RuleKind, new: &Publication, at: i64) -> Result<Published, CatalogError> {
        let sql = kind.sql();
        let mut tx = self.begin().await?;
        let stored: Option<RuleVersionRow> =
            sqlx::query_as(sql.get).bind(&new.version).fetch_optional(&mut *tx).await?;
        let published = match stored {
            Some(row) if row.sha256 == new.sha256 => return Ok(Published::Unchanged),
            Some(row) if row.first_used_at.is_some() => {
                return Err(CatalogError::VersionInUse { kind: sql.name, version: new.version.clone() });
            }
            Some(_) => Published::Replaced,
            None => Published::Added,
        };
        let recorded_at = next_recorded_at(&mut tx, at).await?;
        sqlx::query(sql.put)
            .bind(&new.version)
            .bind(&new.valid_from)
            .bind(recorded_at)
            .bind(&new.body)
            .bind(&new.format)
            .bind(&new.sha256)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(published)
    }

    /// Notes that a posting rests on this version; from now on its content stays.
    ///
    /// Call it before the posting is committed, with the hash of what was computed with.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], or [`CatalogError::VersionChanged`] if it was replaced meanwhile.
    pub async fn mark_rule_used(
        &self,
        kind: RuleKind,
        version: &str,
        sha256: &str,
        at: i64,
    ) -> Result<(), CatalogError> {
        let sql = kind.sql();
        match self.rule(kind, version).await? {
            Some(row) if row.sha256 == sha256 && row.first_used_at.is_some() => return Ok(()),
            Some(_) => {}
            None => return Err(CatalogError::NotFound { what: sql.name, id: version.to_owned() }),
        }
        let mut tx = self.begin().await?;
        let done = sqlx::query(sql.use_it).bind(at).bind(version).bind(sha256).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::VersionChanged { kind: sql.name, version: version.to_owned() });
        }
        tx.commit().await?;
        Ok(())
    }

    /// The version of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rule(&self, kind: RuleKind, version: &str) -> Result<Option<RuleVersionRow>, CatalogError> {
        Ok(sqlx::query_as(kind.sql().get).bind(version).fetch_optional(&self.read).await?)
    }

    /// All versions published up to that instant, in order of publication.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_rules(&self, kind: RuleKind, recorded_up_to: i64) -> Result<Vec<RuleVersionRow>, CatalogError> {
        Ok(sqlx::query_as(kind.sql().list).bind(recorded_up_to).fetch_all(&self.read).await?)
    }

    /// The version that applies to `day`: the greatest `valid_from` ≤ day, among equal dates the last published.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rule_for_day(
        &self,
        kind: RuleKind,
        day: &str,
        recorded_up_to: i64,
    ) -> Result<Option<RuleVersionRow>, CatalogError> {
        Ok(sqlx::query_as(kind.sql().for_day).bind(day).bind(recorded_up_to).fetch_optional(&self.read).await?)
    }
}
