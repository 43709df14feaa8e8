use storage::catalog::{CatalogError, MetaKey, NewAudit, RetractionRow};

use super::open;

#[tokio::test]
async fn opening_twice_migrates_once_and_keeps_what_was_written() {
    let (first, place) = open().await;
    first.set_meta_once(MetaKey::LakeId, "lake-1").await.unwrap();
    first.close().await;

    let second = place.open().await.unwrap();

    assert_eq!(second.meta(MetaKey::LakeId).await.unwrap().as_deref(), Some("lake-1"));
}

#[tokio::test]
async fn a_catalog_of_a_newer_program_is_refused() {
    for statement in [
        "UPDATE meta SET value = '2' WHERE key = 'format_version'",
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
         SELECT 9999, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    ] {
        let (catalog, place) = open().await;
        catalog.close().await;
        place.sql(statement).await;

        let error = place.open().await.unwrap_err();

        assert!(matches!(error, CatalogError::NewerFormat { .. }), "{statement}: {error:?}");
    }
}

#[tokio::test]
async fn a_fact_set_once_refuses_another_value_and_names_both() {
    let (catalog, _folder) = open().await;
    assert_eq!(catalog.meta(MetaKey::OrgTimezone).await.unwrap(), None);

    catalog.set_meta_once(MetaKey::OrgTimezone, "Europe/Berlin").await.unwrap();
    catalog.set_meta_once(MetaKey::OrgTimezone, "Europe/Berlin").await.unwrap();
    let error = catalog.set_meta_once(MetaKey::OrgTimezone, "UTC").await.unwrap_err();

    let CatalogError::Mismatch { what, stored, given } = error else { panic!("{error:?}") };
    assert_eq!((what, stored.as_str(), given.as_str()), ("org_timezone", "Europe/Berlin", "UTC"));
}

#[tokio::test]
async fn nothing_is_ever_recorded_at_or_below_a_pinned_watermark() {
    let (catalog, _folder) = open().await;
    let watermark = catalog.pin_recorded_at(1_000).await.unwrap();
    assert_eq!(watermark, 1_000);

    // A writer whose clock is behind the run that pinned.
    catalog.ensure_tenants(&["acme".to_owned()], 400).await.unwrap();

    assert!(catalog.tenant_facts_all_tenants(watermark).await.unwrap().is_empty());
    assert_eq!(catalog.tenant_facts_all_tenants(i64::MAX).await.unwrap()[0].recorded_at, 1_001);
    assert_eq!(catalog.pin_recorded_at(400).await.unwrap(), 1_001, "a watermark never falls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_lose_nothing() {
    let (catalog, place) = open().await;
    // The second handle has connections of its own, like a second process.
    let other = place.open().await.unwrap();

    let writers = [(catalog.clone(), "a"), (other, "b")].map(|(catalog, actor)| {
        tokio::spawn(async move {
            for at in 0..200 {
                let change = NewAudit {
                    at,
                    actor: actor.to_owned(),
                    action: "test".to_owned(),
                    target: at.to_string(),
                    before_json: None,
                    after_json: None,
                    request_id: None,
                };
                catalog.append_audit(&change).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }

    let log = catalog.list_audit_all_tenants(None, 1_000).await.unwrap();
    assert_eq!(log.iter().map(|row| row.seq).collect::<Vec<_>>(), (1..=400).rev().collect::<Vec<_>>());
    assert_eq!(log.iter().filter(|row| row.actor == "a").count(), 200);
}

#[tokio::test]
async fn what_was_taken_back_later_is_left_out_up_to_a_watermark() {
    let (catalog, _place) = open().await;
    assert_eq!(catalog.recorded_high_water().await.unwrap(), 0);
    let row = |id: &str| RetractionRow { tenant: "acme".to_owned(), source: "app".to_owned(), id: id.to_owned() };
    catalog.put_retractions(&[row("a")], 100).await.unwrap();
    let watermark = catalog.recorded_high_water().await.unwrap();
    // The clock of whoever notes them is behind.
    catalog.put_retractions(&[row("a"), row("b")], 50).await.unwrap();
    assert_eq!(catalog.retractions_all_tenants(watermark).await.unwrap(), [row("a")]);
    assert_eq!(catalog.retractions_all_tenants(i64::MAX).await.unwrap(), [row("a"), row("b")]);
}
