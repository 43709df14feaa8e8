use std::process::Command;
use std::sync::Arc;

use domain::TenantScope;
use storage::catalog::{Catalog, CatalogError, MetaKey, TokenRow};
use testkit::postgres::Postgres;

use super::open;

#[tokio::test]
async fn texts_are_ordered_by_their_bytes_whatever_the_database_prefers() {
    let (catalog, place) = open().await;
    let ids = ["a", "B", "Z", "_x", "ä", "z"].map(str::to_owned);
    catalog.ensure_tenants(&ids, 100).await.unwrap();

    let page = catalog.list_tenants(&TenantScope::All, None, 10).await.unwrap();

    let mut bytewise = ids.to_vec();
    bytewise.sort_unstable();
    assert_eq!(page.into_iter().map(|row| row.id).collect::<Vec<_>>(), bytewise);
    let by_language = place.0.psql("postgres", "SELECT id FROM tenants ORDER BY id COLLATE \"default\"");
    assert_ne!(by_language.lines().collect::<Vec<_>>(), bytewise, "the server of this test has another order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_make_the_tables_once() {
    let (catalog, place) = open().await;
    catalog.close().await;
    place.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let place = Arc::new(place);
    let opening = [(); 4].map(|()| {
        let place = Arc::clone(&place);
        tokio::spawn(async move { place.open().await.map(drop) })
    });
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_was_started_again_is_used_again() {
    let (catalog, place) = open().await;
    catalog.set_meta_once(MetaKey::LakeId, "lake-1").await.unwrap();

    place.0.crash();
    let error = catalog.meta(MetaKey::LakeId).await.unwrap_err();
    assert!(matches!(error, CatalogError::Database(_)), "{error:?}");
    place.0.restart().unwrap();

    assert_eq!(catalog.meta(MetaKey::LakeId).await.unwrap().as_deref(), Some("lake-1"));
    assert_eq!(catalog.pin_recorded_at(100).await.unwrap(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_the_turn_of_another_process_and_gets_it_when_that_is_cut_off() {
    let (catalog, place) = open().await;
    let turn = "BEGIN; SELECT pg_advisory_xact_lock(4705121903217461107); SELECT pg_sleep(600)";
    let url = place.0.url("postgres");
    let mut holder = Command::new("psql").args(["--command", turn, &url]).spawn().unwrap();
    let wait_for = |condition: &str| {
        let sql = format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {condition}");
        while place.0.psql("postgres", &sql).trim() == "0" {}
    };

    wait_for("granted");
    let writing = tokio::spawn(async move { catalog.pin_recorded_at(100).await });
    wait_for("NOT granted");
    assert!(!writing.is_finished());
    place.0.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");

    assert_eq!(writing.await.unwrap().unwrap(), 100);
    assert!(!holder.wait().unwrap().success(), "its connection was cut");
}

#[tokio::test]
async fn a_dump_holds_the_hash_of_a_token_and_never_the_token() {
    let (catalog, place) = open().await;
    let (secret, hash) = ("apn_0123456789secret", "f".repeat(64));
    let token = TokenRow {
        id: "t1".to_owned(),
        hash: hash.clone(),
        hint: "apn_0123".to_owned(),
        name: "ci".to_owned(),
        role: "ingest".to_owned(),
        tenants: None,
        scopes: "[]".to_owned(),
        created_at: 100,
        created_by: "system".to_owned(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    catalog.insert_token(&token).await.unwrap();

    let dump = place.0.dump("postgres");

    assert!(dump.contains(&hash) && !dump.contains(secret));
}

#[tokio::test]
async fn a_database_that_does_not_keep_utf_8_is_refused() {
    let server = Postgres::start();
    server
        .psql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0");
    let error = Catalog::open_url(&server.url("latin")).await.unwrap_err();
    assert!(matches!(error, CatalogError::UnusableUrl(_)), "{error:?}");
    let error = Catalog::open_url("mysql://root:hunter2@host/x").await.unwrap_err();
    assert!(matches!(error, CatalogError::UnusableUrl(_)) && !error.to_string().contains("hunter2"), "{error:?}");
}
