use std::collections::BTreeSet;

use sqlx::{Any, FromRow, Transaction};

use super::{Catalog, CatalogError};

/// An import, as its commit in the lake describes it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ImportRow {
    /// Its id.
    pub id: String,
    /// `focus`, `events` or `fixed`.
    pub kind: String,
    /// The source named by whoever imported.
    pub source: String,
    /// When it was committed.
    pub imported_at: i64,
    /// Table of the lake.
    pub table_name: String,
    /// Version of that table which the import made.
    pub version: i64,
    /// Rows it added.
    pub row_count: i64,
    /// JSON: files, hashes, keys replaced, totals, warnings.
    pub body: String,
}

/// A posting's header, as the ledger's log tells it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PostingRow {
    /// Its number, from 1.
    pub posting: i64,
    /// The run that made it; `None` for closes, reopens and adjustments.
    pub run: Option<String>,
    /// When it was booked.
    pub booked_at: i64,
    /// Version of the ledger table.
    pub version: i64,
    /// Entries in it.
    pub entries: i64,
    /// Its hash.
    pub hash: String,
    /// The hash before it.
    pub prev_hash: String,
    /// SHA-256 of the log entry's own bytes.
    pub log_sha256: String,
    /// JSON: the posting header.
    pub body: String,
}

impl Catalog {
    /// Caches an import; once more with the same id is harmless.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_import(&self, import: &ImportRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        insert_import(&mut tx, import).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The ids of all imports that are cached.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn import_ids(&self) -> Result<Vec<String>, CatalogError> {
        Ok(sqlx::query_scalar("SELECT id FROM imports ORDER BY id").fetch_all(&self.read).await?)
    }

    /// Makes the cache say what the lake says. `cached` are the ids that were there before the lake was read: only of
    /// them any goes, so that what another process imported meanwhile stays.
    ///
    /// # Errors
    /// When the database fails; then the cache is as before.
    pub async fn replace_imports(&self, cached: &[String], imports: &[ImportRow]) -> Result<(), CatalogError> {
        let stored: BTreeSet<&str> = imports.iter().map(|import| import.id.as_str()).collect();
        let mut tx = self.begin().await?;
        for id in cached.iter().filter(|id| !stored.contains(id.as_str())) {
            sqlx::query("DELETE FROM imports WHERE id = $1").bind(id).execute(&mut *tx).await?;
        }
        for import in imports {
            insert_import(&mut tx, import).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The import of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn import_all_tenants(&self, id: &str) -> Result<Option<ImportRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM imports WHERE id = $1").bind(id).fetch_optional(&self.read).await?)
    }

    /// Up to `limit` imports, newest first, before the given (imported_at, id).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_imports_all_tenants(
        &self,
        before: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<ImportRow>, CatalogError> {
        let (at, id) = before.unwrap_or((i64::MAX, ""));
        let sql = "SELECT * FROM imports WHERE imported_at < $1 OR (imported_at = $1 AND id < $2) \
                   ORDER BY imported_at DESC, id DESC LIMIT $3";
        Ok(sqlx::query_as(sql).bind(at).bind(id).bind(limit).fetch_all(&self.read).await?)
    }

    /// Caches a posting; once more with the same hash is harmless.
    ///
    /// # Errors
    /// [`CatalogError::Mismatch`] if another posting of that number is cached: repair from the lake.
    pub async fn insert_posting(&self, posting: &PostingRow) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        insert_posting(&mut tx, posting).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes the cache say exactly what the ledger's log says. Postings after the last of these stay: another process
    /// made them meanwhile.
    ///
    /// # Errors
    /// When the database fails; then the cache is as before.
    pub async fn replace_all_postings(&self, postings: &[PostingRow]) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        let last = postings.iter().map(|posting| posting.posting).max().unwrap_or(0);
        sqlx::query("DELETE FROM postings WHERE posting <= $1").bind(last).execute(&mut *tx).await?;
        for posting in postings {
            insert_posting(&mut tx, posting).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Up to `limit` postings, newest first, below number `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_postings_all_tenants(
        &self,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PostingRow>, CatalogError> {
        let sql = "SELECT * FROM postings WHERE posting < $1 ORDER BY posting DESC LIMIT $2";
        Ok(sqlx::query_as(sql).bind(before.unwrap_or(i64::MAX)).bind(limit).fetch_all(&self.read).await?)
    }

    /// The posting of that number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn posting_all_tenants(&self, posting: i64) -> Result<Option<PostingRow>, CatalogError> {
        Ok(sqlx::query_as("SELECT * FROM postings WHERE posting = $1").bind(posting).fetch_optional(&self.read).await?)
    }

    /// The posting that a run made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn posting_of_run(&self, run: &str) -> Result<Option<PostingRow>, CatalogError> {
        let sql = "SELECT * FROM postings WHERE run = $1 ORDER BY posting DESC LIMIT 1";
        Ok(sqlx::query_as(sql).bind(run).fetch_optional(&self.read).await?)
    }

    /// The postings that no run made (closes, reopens, adjustments) and whose header holds this text, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn postings_by_hand_all_tenants(&self, part: &str) -> Result<Vec<PostingRow>, CatalogError> {
        let sql = "SELECT * FROM postings WHERE run IS NULL AND body LIKE $1 ORDER BY posting";
        Ok(sqlx::query_as(sql).bind(format!("%{part}%")).fetch_all(&self.read).await?)
    }

    /// The last posting booked at or before that instant: what `as_of` means.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn posting_as_of_all_tenants(&self, booked_up_to: i64) -> Result<Option<PostingRow>, CatalogError> {
        let sql = "SELECT * FROM postings WHERE booked_at <= $1 ORDER BY posting DESC LIMIT 1";
        Ok(sqlx::query_as(sql).bind(booked_up_to).fetch_optional(&self.read).await?)
    }
}

async fn insert_import(tx: &mut Transaction<'static, Any>, import: &ImportRow) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO imports (id, kind, source, imported_at, table_name, version, row_count, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, \
         source = excluded.source, imported_at = excluded.imported_at, table_name = excluded.table_name, \
         version = excluded.version, row_count = excluded.row_count, body = excluded.body",
    )
    .bind(&import.id)
    .bind(&import.kind)
    .bind(&import.source)
    .bind(import.imported_at)
    .bind(&import.table_name)
    .bind(import.version)
    .bind(import.row_count)
    .bind(&import.body)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_posting(tx: &mut Transaction<'static, Any>, posting: &PostingRow) -> Result<(), CatalogError> {
    let done = sqlx::query(
        "INSERT INTO postings (posting, run, booked_at, version, entries, hash, prev_hash, log_sha256, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (posting) DO NOTHING",
    )
    .bind(posting.posting)
    .bind(&posting.run)
    .bind(posting.booked_at)
    .bind(posting.version)
    .bind(posting.entries)
    .bind(&posting.hash)
    .bind(&posting.prev_hash)
    .bind(&posting.log_sha256)
    .bind(&posting.body)
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let stored: String = sqlx::query_scalar("SELECT hash FROM postings WHERE posting = $1")
        .bind(posting.posting)
        .fetch_one(&mut **tx)
        .await?;
    if stored == posting.hash {
        return Ok(());
    }
    Err(CatalogError::Mismatch { what: "hash of a cached posting", stored, given: posting.hash.clone() })
}
