//! Tokens that were looked up lately: when the catalog does not answer, who was known a moment ago still is.
//!
//! A token cannot be revoked while the catalog is away, so nobody gets in who could not just before. What was revoked
//! elsewhere in the last minutes before may go on for [`KEPT_MICROS`] at most, and only while the catalog is away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use storage::catalog::{Catalog, CatalogError, TokenRow};

/// How long a token is known after it was looked up.
const KEPT_MICROS: i64 = 15 * 60 * 1_000_000;
/// How long after a failure the catalog is not asked about tokens that are known: asking takes seconds while it is away.
const REST_MICROS: i64 = 5 * 1_000_000;
/// Tokens kept at once; then they are forgotten, which costs a look-up each.
const TOKENS_MAX: usize = 10_000;

/// The tokens of one process. Cheap to clone; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct KnownTokens {
    known: Arc<Mutex<Known>>,
}

/// A token that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) row: TokenRow,
    /// Whether the catalog did not answer, so that this is what it said lately.
    pub(crate) is_remembered: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// By hash: the row, and when it was looked up.
    rows: HashMap<String, (TokenRow, i64)>,
    /// Until when the catalog is not asked about them.
    rests_until: i64,
}

impl KnownTokens {
    /// Returns the token with that hash as the catalog says, or as it said lately if it does not answer.
    ///
    /// # Errors
    /// When the catalog does not answer and the token is not known.
    pub(crate) async fn find(&self, catalog: &Catalog, hash: &str, now: i64) -> Result<Option<Found>, CatalogError> {
        if let Some(row) = self.while_away(hash, now) {
            return Ok(Some(Found { row, is_remembered: true }));
        }
        match catalog.token_by_hash(hash).await {
            Ok(row) => {
                self.keep(hash, row.clone(), now);
                Ok(row.map(|row| Found { row, is_remembered: false }))
            }
            Err(error) => {
                self.rest(now);
                let row = self.while_away(hash, now);
                tracing::warn!(?error, is_known = row.is_some(), "the catalog does not say whose token this is");
                row.map(|row| Some(Found { row, is_remembered: true })).ok_or(error)
            }
        }
    }

    /// Forgets a token that was revoked here: it is known no longer, whether the catalog answers or not.
    pub(crate) fn forget(&self, hash: &str) {
        self.with(|known| drop(known.rows.remove(hash)));
    }

    /// Notes that the catalog does not answer.
    pub(crate) fn rest(&self, now: i64) {
        self.with(|known| known.rests_until = now.saturating_add(REST_MICROS));
    }

    /// The row, if the catalog is away and it was looked up lately.
    fn while_away(&self, hash: &str, now: i64) -> Option<TokenRow> {
        self.with(|known| {
            let (row, at) = known.rows.get(hash)?;
            let is_recent = now.saturating_sub(*at) < KEPT_MICROS;
            (now < known.rests_until && is_recent).then(|| row.clone())
        })
    }

    fn keep(&self, hash: &str, row: Option<TokenRow>, now: i64) {
        self.with(|known| {
            known.rests_until = 0;
            match row {
                Some(row) => {
                    if TOKENS_MAX <= known.rows.len() {
                        known.rows.clear();
                    }
                    known.rows.insert(hash.to_owned(), (row, now));
                }
                None => drop(known.rows.remove(hash)),
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(hash: &str) -> TokenRow {
        TokenRow {
            id: "t1".to_owned(),
            hash: hash.to_owned(),
            hint: "apn_".to_owned(),
            name: "ci".to_owned(),
            role: "ingest".to_owned(),
            tenants: None,
            scopes: "[]".to_owned(),
            created_at: 0,
            created_by: "system".to_owned(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    #[tokio::test]
    async fn who_was_known_lately_is_known_while_the_catalog_is_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog");
        catalog.insert_token(&token("known")).await.expect("stored");
        let tokens = KnownTokens::default();
        let found = |is_remembered: bool| Some(Found { row: token("known"), is_remembered });
        assert_eq!(tokens.find(&catalog, "known", 100).await.expect("an answer"), found(false));
        assert_eq!(tokens.find(&catalog, "stranger", 100).await.expect("an answer"), None);

        catalog.close().await;

        assert_eq!(tokens.find(&catalog, "known", 200).await.expect("an answer"), found(true));
        tokens.find(&catalog, "stranger", 200).await.expect_err("nobody knows");
        tokens.find(&catalog, "known", 200 + KEPT_MICROS).await.expect_err("too long ago");
    }

    #[tokio::test]
    async fn a_revoked_token_is_seen_as_the_catalog_says_while_it_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog");
        catalog.insert_token(&token("known")).await.expect("stored");
        let tokens = KnownTokens::default();
        tokens.find(&catalog, "known", 100).await.expect("an answer");
        catalog.revoke_token("t1", 150).await.expect("revoked");
        let found = tokens.find(&catalog, "known", 200).await.expect("an answer");
        assert_eq!(found.and_then(|found| found.row.revoked_at), Some(150));
    }

    #[tokio::test]
    async fn a_token_that_was_revoked_here_is_not_known_while_the_catalog_is_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog");
        catalog.insert_token(&token("known")).await.expect("stored");
        let tokens = KnownTokens::default();
        tokens.find(&catalog, "known", 100).await.expect("an answer");
        tokens.forget("known");
        catalog.close().await;
        tokens.find(&catalog, "known", 200).await.expect_err("nobody knows");
    }
}
