use storage::catalog::{CatalogError, FixedCostRow, NewFxRate, Publication, Published, RuleKind};

use super::open;

fn version(version: &str, valid_from: &str, content: &str) -> Publication {
    Publication {
        version: version.to_owned(),
        valid_from: valid_from.to_owned(),
        body: content.to_owned(),
        format: "toml".to_owned(),
        sha256: format!("sha of {content}"),
    }
}

#[tokio::test]
async fn an_unused_version_is_replaced_and_a_used_one_refused() {
    for kind in [RuleKind::Policy, RuleKind::RateCard] {
        let (catalog, _folder) = open().await;
        let publish =
            async |content: &str, at| catalog.publish_rule(kind, &version("v1", "2026-01-01", content), at).await;

        assert_eq!(publish("one", 100).await.unwrap(), Published::Added);
        assert_eq!(publish("one", 110).await.unwrap(), Published::Unchanged);
        assert_eq!(publish("two", 120).await.unwrap(), Published::Replaced);

        let stale = catalog.mark_rule_used(kind, "v1", "sha of one", 130).await.unwrap_err();
        assert!(matches!(stale, CatalogError::VersionChanged { .. }), "{stale:?}");
        catalog.mark_rule_used(kind, "v1", "sha of two", 140).await.unwrap();
        catalog.mark_rule_used(kind, "v1", "sha of two", 150).await.unwrap();

        assert_eq!(publish("two", 160).await.unwrap(), Published::Unchanged);
        let refused = publish("three", 170).await.unwrap_err();
        assert!(matches!(refused, CatalogError::VersionInUse { .. }), "{refused:?}");
        let row = catalog.rule(kind, "v1").await.unwrap().unwrap();
        assert_eq!((row.body.as_str(), row.first_used_at), ("two", Some(140)));
        let missing = catalog.mark_rule_used(kind, "v9", "x", 180).await.unwrap_err();
        assert!(matches!(missing, CatalogError::NotFound { .. }), "{missing:?}");
    }
}

#[tokio::test]
async fn the_greatest_valid_from_applies_and_among_equals_the_last_published() {
    let (catalog, _folder) = open().await;
    for (name, valid_from, at) in
        [("z", "2026-01-01", 100), ("b", "2026-02-01", 110), ("a", "2026-02-01", 120), ("c", "2025-06-01", 130)]
    {
        catalog.publish_rule(RuleKind::Policy, &version(name, valid_from, name), at).await.unwrap();
    }
    let on =
        async |day: &str, upto| catalog.rule_for_day(RuleKind::Policy, day, upto).await.unwrap().map(|row| row.version);

    assert_eq!(on("2026-01-31", i64::MAX).await.as_deref(), Some("z"));
    assert_eq!(on("2026-02-01", i64::MAX).await.as_deref(), Some("a"));
    assert_eq!(on("2026-02-01", 110).await.as_deref(), Some("b"), "as known then");
    assert_eq!(on("2025-12-31", 120).await, None);
    // Replacing publishes again: b is now the last published of its date.
    catalog.publish_rule(RuleKind::Policy, &version("b", "2026-02-01", "b2"), 140).await.unwrap();
    assert_eq!(on("2026-02-01", i64::MAX).await.as_deref(), Some("b"));
    assert!(catalog.list_rules(RuleKind::RateCard, i64::MAX).await.unwrap().is_empty(), "kinds do not mix");
}

#[tokio::test]
async fn a_corrected_exchange_rate_supersedes_and_the_old_one_stays_readable() {
    let (catalog, _folder) = open().await;
    let rate = |day: &str, rate: &str| NewFxRate {
        day: day.to_owned(),
        from_currency: "EUR".to_owned(),
        to_currency: "USD".to_owned(),
        rate: rate.to_owned(),
        source: "ecb".to_owned(),
    };

    assert_eq!(catalog.put_fx_rates(&[rate("2026-01-02", "1.10"), rate("2026-01-03", "1.11")], 100).await.unwrap(), 2);
    assert_eq!(catalog.put_fx_rates(&[rate("2026-01-02", "1.10"), rate("2026-01-03", "1.12")], 200).await.unwrap(), 1);

    let rates =
        async |upto| catalog.fx_rates_upto(upto).await.unwrap().into_iter().map(|row| row.rate).collect::<Vec<_>>();
    assert_eq!(rates(99).await, Vec::<String>::new());
    assert_eq!(rates(199).await, ["1.10", "1.11"]);
    assert_eq!(rates(i64::MAX).await, ["1.10", "1.12"]);
    let page = catalog.list_fx_rates(Some(("2026-01-02", "EUR", "USD")), 10).await.unwrap();
    assert_eq!(page.iter().map(|row| row.rate.as_str()).collect::<Vec<_>>(), ["1.12"]);
}

#[tokio::test]
async fn a_deleted_cost_stays_readable_for_what_read_it() {
    let (catalog, _folder) = open().await;
    let cost = FixedCostRow {
        id: "fc-1".to_owned(),
        source: "fixed".to_owned(),
        provider: "own".to_owned(),
        service: "temporal".to_owned(),
        currency: "USD".to_owned(),
        amount: "310.00".to_owned(),
        per: "month".to_owned(),
        from_date: "2026-01-01".to_owned(),
        to_date: None,
        note: None,
        tags: "{}".to_owned(),
        created_by: "tok-1".to_owned(),
        created_at: 100,
        deleted_at: None,
    };

    let stored = catalog.add_fixed_cost(&cost).await.unwrap();
    assert_eq!(stored, cost);
    let taken = catalog.add_fixed_cost(&cost).await.unwrap_err();
    assert!(matches!(taken, CatalogError::Conflict { .. }), "{taken:?}");
    let deleted = catalog.delete_fixed_cost("fc-1", 200).await.unwrap();
    assert_eq!(deleted.deleted_at, Some(200));
    let again = catalog.delete_fixed_cost("fc-1", 300).await.unwrap_err();
    assert!(matches!(again, CatalogError::NotFound { .. }), "{again:?}");

    assert_eq!(catalog.fixed_costs_upto(99).await.unwrap().len(), 0);
    assert_eq!(catalog.fixed_costs_upto(199).await.unwrap().len(), 1);
    assert_eq!(catalog.fixed_costs_upto(200).await.unwrap().len(), 0);
    assert!(catalog.list_fixed_costs(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_meters_current_definition_is_the_one_recorded_last() {
    let (catalog, _folder) = open().await;
    assert!(catalog.put_meter("api_call", "{1}", "active", "builtin", 100).await.unwrap());
    assert!(!catalog.put_meter("api_call", "{1}", "active", "file", 110).await.unwrap());
    assert!(catalog.put_meter("api_call", "{1}", "hidden", "tok-1", 120).await.unwrap());

    assert_eq!(catalog.meters_upto(119).await.unwrap()[0].state, "active");
    assert_eq!(catalog.meters_upto(i64::MAX).await.unwrap()[0].state, "hidden");
    assert!(!catalog.meter_in_use("api_call").await.unwrap());
    catalog.mark_meter_used("api_call", 130).await.unwrap();
    catalog.mark_meter_used("api_call", 140).await.unwrap();
    assert!(catalog.meter_in_use("api_call").await.unwrap());
}
