use storage::catalog::{CatalogError, IdempotencyStart, StoredResponse, TokenRow};

use super::open;

fn token(id: &str) -> TokenRow {
    TokenRow {
        id: id.to_owned(),
        hash: format!("hash of {id}"),
        hint: "apn_abc".to_owned(),
        name: "ci".to_owned(),
        role: "ingest".to_owned(),
        tenants: Some(r#"["acme"]"#.to_owned()),
        scopes: "[]".to_owned(),
        created_at: 100,
        created_by: "system".to_owned(),
        expires_at: Some(1_000),
        revoked_at: None,
        last_used_at: None,
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_until_it_expires_or_is_revoked() {
    let (catalog, _folder) = open().await;
    catalog.insert_token(&token("t1")).await.unwrap();
    let taken = catalog.insert_token(&token("t1")).await.unwrap_err();
    assert!(matches!(taken, CatalogError::Conflict { what: "token", .. }), "{taken:?}");

    assert_eq!(catalog.token_by_hash("hash of t2").await.unwrap(), None);
    let found = catalog.token_by_hash("hash of t1").await.unwrap().unwrap();
    assert_eq!(found, token("t1"));
    assert!(found.is_live(999) && !found.is_live(1_000));

    assert_eq!(catalog.revoke_token("t1", 500).await.unwrap().revoked_at, Some(500));
    assert_eq!(catalog.revoke_token("t1", 600).await.unwrap().revoked_at, Some(500), "the first time stays");
    assert!(!catalog.token_by_hash("hash of t1").await.unwrap().unwrap().is_live(501));
    let missing = catalog.revoke_token("t9", 500).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NotFound { .. }), "{missing:?}");
}

#[tokio::test]
async fn use_of_a_token_is_noted_only_now_and_then() {
    let (catalog, _folder) = open().await;
    catalog.insert_token(&token("t1")).await.unwrap();
    let touch = async |now| {
        let row = catalog.token_by_hash("hash of t1").await.unwrap().unwrap();
        catalog.touch_token(&row, now, 60).await.unwrap();
        catalog.list_tokens(None, 10).await.unwrap()[0].last_used_at
    };

    assert_eq!(touch(200).await, Some(200));
    assert_eq!(touch(259).await, Some(200));
    assert_eq!(touch(260).await, Some(260));
}

#[tokio::test]
async fn a_keyed_write_is_answered_once_and_repeated_word_for_word() {
    let (catalog, _folder) = open().await;
    let begin =
        async |actor: &str, body: &str, now, stale| catalog.begin_idempotent(actor, "k", body, now, stale).await;

    assert_eq!(begin("a", "one", 100, 0).await.unwrap(), IdempotencyStart::New);
    assert_eq!(begin("a", "one", 110, 50).await.unwrap(), IdempotencyStart::InProgress);
    assert_eq!(begin("b", "two", 110, 50).await.unwrap(), IdempotencyStart::New, "keys belong to their actor");
    assert_eq!(begin("a", "one", 300, 200).await.unwrap(), IdempotencyStart::New, "left by a dead process");

    let answer = StoredResponse { status: 201, headers: "{}".to_owned(), body: "done".to_owned() };
    catalog.finish_idempotent("a", "k", &answer).await.unwrap();
    let other = StoredResponse { status: 500, ..answer.clone() };
    catalog.finish_idempotent("a", "k", &other).await.unwrap();
    assert_eq!(begin("a", "one", 400, 390).await.unwrap(), IdempotencyStart::Finished(answer));
    let mismatch = begin("a", "other", 400, 0).await.unwrap_err();
    assert!(matches!(mismatch, CatalogError::IdempotencyMismatch { .. }), "{mismatch:?}");
}

#[tokio::test]
async fn a_failed_keyed_write_may_be_tried_again() {
    let (catalog, _folder) = open().await;
    catalog.begin_idempotent("a", "k", "one", 100, 0).await.unwrap();
    catalog.abandon_idempotent("a", "k").await.unwrap();
    assert_eq!(catalog.begin_idempotent("a", "k", "two", 110, 0).await.unwrap(), IdempotencyStart::New);
    assert_eq!(catalog.forget_idempotency_keys(110).await.unwrap(), 0);
    assert_eq!(catalog.forget_idempotency_keys(111).await.unwrap(), 1);
}
