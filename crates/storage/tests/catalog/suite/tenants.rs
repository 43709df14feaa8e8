use domain::{Day, TenantScope, tenant::TenantBook};
use storage::catalog::{ALWAYS, Catalog, CatalogError, NewTenantAlias, NewTenantFact, aliases_on, fact_on};

use super::open;

fn fact(tenant: &str, valid_from: &str, plan: &str) -> NewTenantFact {
    NewTenantFact {
        valid_from: valid_from.to_owned(),
        plan: Some(plan.to_owned()),
        entered_by: "put".to_owned(),
        ..NewTenantFact::system(tenant)
    }
}

fn alias(alias: &str, tenant: Option<&str>, valid_from: &str) -> NewTenantAlias {
    NewTenantAlias {
        alias: alias.to_owned(),
        tenant: tenant.map(str::to_owned),
        valid_from: valid_from.to_owned(),
        valid_to: None,
    }
}

async fn book(catalog: &Catalog, recorded_up_to: i64) -> TenantBook {
    catalog.tenant_book_all_tenants(recorded_up_to).await.unwrap()
}

fn on(day: &str) -> Day {
    day.parse().unwrap()
}

fn plan<'a>(book: &'a TenantBook, tenant: &str, day: &str) -> Option<&'a str> {
    book.fact(tenant, on(day))?.plan.as_deref()
}

#[tokio::test]
async fn unknown_tenants_are_created_once_as_active_system_tenants() {
    let (catalog, _folder) = open().await;
    let ids = |list: &[&str]| list.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();

    assert_eq!(catalog.ensure_tenants(&ids(&["b", "a", "b"]), 10).await.unwrap(), ["a", "b"]);
    assert_eq!(catalog.ensure_tenants(&ids(&["a", "Ä", "b"]), 20).await.unwrap(), ["Ä"]);

    let book = book(&catalog, i64::MAX).await;
    let fact = book.fact("a", on("1999-01-01")).unwrap();
    assert!(fact.active && !fact.entered);
    assert_eq!(catalog.tenant(&TenantScope::All, "A").await.unwrap(), None, "ids are compared byte for byte");
    let page = catalog.list_tenants(&TenantScope::All, Some("a"), 1).await.unwrap();
    assert_eq!((page[0].id.as_str(), page[0].created_at), ("b", 10));
}

#[tokio::test]
async fn many_facts_are_entered_at_one_moment_with_their_tenants() {
    let (catalog, _folder) = open().await;
    catalog.ensure_tenants(&["a".to_owned()], 10).await.unwrap();
    catalog.enter_tenant_facts(&[], 15).await.unwrap();
    let facts = [fact("a", "2026-11-20", "team"), fact("b", ALWAYS, "free")];
    catalog.enter_tenant_facts(&facts, 20).await.unwrap();

    let book = book(&catalog, i64::MAX).await;
    assert_eq!((plan(&book, "a", "2026-11-19"), plan(&book, "a", "2026-11-20")), (None, Some("team")));
    assert_eq!(plan(&book, "b", "1999-01-01"), Some("free"));
    let recorded: Vec<i64> =
        catalog.tenant_facts_all_tenants(i64::MAX).await.unwrap().iter().map(|row| row.recorded_at).collect();
    assert_eq!(recorded, [10, 20, 20]);
}

#[tokio::test]
async fn a_tenant_outside_the_scope_does_not_exist() {
    let (catalog, _folder) = open().await;
    catalog.ensure_tenants(&["a".to_owned(), "b".to_owned(), "c".to_owned()], 10).await.unwrap();
    let scope = TenantScope::Only(["a", "c", "zz"].map(|id| id.parse().unwrap()).into());

    assert_eq!(catalog.tenant(&scope, "b").await.unwrap(), None);
    assert!(catalog.facts_of_tenant(&scope, "b", i64::MAX).await.unwrap().is_empty());
    assert_eq!(catalog.facts_of_tenant(&scope, "c", i64::MAX).await.unwrap().len(), 1);
    let ids = async |after, limit| {
        let page = catalog.list_tenants(&scope, after, limit).await.unwrap();
        page.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 10).await, ["a", "c"]);
    assert_eq!(ids(None, 1).await, ["a"]);
    assert_eq!(ids(Some("a"), 1).await, ["c"]);
}

#[tokio::test]
async fn the_row_recorded_last_among_those_valid_on_a_day_counts() {
    let (catalog, _folder) = open().await;
    let put = async |fact: NewTenantFact, at| catalog.put_tenant(&fact, &[], at).await.unwrap();
    put(fact("acme", ALWAYS, "free"), 100).await;
    put(fact("acme", "2026-03-01", "team"), 200).await;
    let trial = NewTenantFact { valid_to: Some("2026-02-10".to_owned()), ..fact("acme", "2026-02-01", "trial") };
    put(trial, 300).await;
    put(fact("acme", "2026-02-05", "scale"), 400).await;

    let before = book(&catalog, 300).await;
    for (day, expected) in
        [("2026-01-31", "free"), ("2026-02-10", "trial"), ("2026-02-11", "free"), ("2026-03-01", "team")]
    {
        assert_eq!(plan(&before, "acme", day), Some(expected), "{day} as known at 300");
    }
    let now = book(&catalog, 400).await;
    for (day, expected) in [("2026-02-04", "trial"), ("2026-02-05", "scale"), ("2026-03-01", "scale")] {
        assert_eq!(plan(&now, "acme", day), Some(expected), "{day} as known at 400");
    }
    let rows = catalog.facts_of_tenant(&TenantScope::All, "acme", 300).await.unwrap();
    let row = fact_on(&rows, "2026-02-10").unwrap();
    assert_eq!((row.plan.as_deref(), row.recorded_at), (Some("trial"), 300), "rows answer as the book does");
}

#[tokio::test]
async fn entering_the_same_again_records_nothing() {
    let (catalog, _folder) = open().await;
    let (fact, aliases) = (fact("acme", ALWAYS, "free"), [alias("acme-old", Some("acme"), ALWAYS)]);

    assert!(catalog.put_tenant(&fact, &aliases, 100).await.unwrap());
    assert!(!catalog.put_tenant(&fact, &aliases, 200).await.unwrap());

    assert_eq!(catalog.facts_of_tenant(&TenantScope::All, "acme", i64::MAX).await.unwrap().len(), 1);
    assert_eq!(catalog.tenant_aliases_all_tenants(i64::MAX).await.unwrap().len(), 1);
}

#[tokio::test]
async fn aliases_and_mergers_lead_to_the_tenant_of_the_day() {
    let (catalog, _folder) = open().await;
    catalog.put_tenant(&fact("a", ALWAYS, "p"), &[alias("old-a", Some("a"), ALWAYS)], 100).await.unwrap();
    catalog.put_tenant(&fact("b", ALWAYS, "p"), &[alias("bee", Some("b"), ALWAYS)], 110).await.unwrap();
    let merged = NewTenantFact { merged_into: Some("a".to_owned()), ..fact("b", "2026-05-01", "p") };
    catalog.put_tenant(&merged, &[alias("old-a", None, "2026-06-01")], 120).await.unwrap();

    let book = book(&catalog, i64::MAX).await;

    for (incoming, day, expected) in [
        ("bee", "2026-04-30", "b"),
        ("bee", "2026-05-01", "a"),
        ("b", "2026-05-01", "a"),
        ("old-a", "2026-05-31", "a"),
        ("old-a", "2026-06-01", "old-a"),
        ("stranger", "2026-06-01", "stranger"),
    ] {
        assert_eq!(&*book.resolve(incoming, on(day)), expected, "{incoming} on {day}");
    }
    let rows = catalog.tenant_aliases_all_tenants(i64::MAX).await.unwrap();
    assert_eq!(aliases_on(&rows, "a", "2026-05-31"), ["old-a"]);
    assert!(aliases_on(&rows, "a", "2026-06-01").is_empty());
}

#[tokio::test]
async fn a_merger_into_nobody_is_refused_and_leaves_nothing() {
    let (catalog, _folder) = open().await;
    let merged = NewTenantFact { merged_into: Some("nobody".to_owned()), ..fact("b", ALWAYS, "p") };

    let error = catalog.put_tenant(&merged, &[], 100).await.unwrap_err();

    assert!(matches!(error, CatalogError::NotFound { what: "tenant", .. }), "{error:?}");
    assert_eq!(catalog.tenant(&TenantScope::All, "b").await.unwrap(), None);
}

#[tokio::test]
async fn several_facts_are_entered_all_or_none() {
    let (catalog, _folder) = open().await;
    let facts = async || catalog.facts_of_tenant(&TenantScope::All, "a", i64::MAX).await.unwrap().len();
    let first = NewTenantFact { valid_to: Some("2026-04-30".to_owned()), ..fact("a", ALWAYS, "free") };
    let lost = NewTenantFact { merged_into: Some("nobody".to_owned()), ..fact("a", "2026-05-01", "team") };

    let error = catalog.put_tenant_facts(&[first.clone(), lost], &[], 100).await.unwrap_err();
    assert!(matches!(error, CatalogError::NotFound { what: "tenant", .. }), "{error:?}");
    assert_eq!(facts().await, 0);

    let both = [first, fact("a", "2026-05-01", "team")];
    assert!(catalog.put_tenant_facts(&both, &[], 110).await.unwrap());
    let rows = catalog.facts_of_tenant(&TenantScope::All, "a", i64::MAX).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.recorded_at).collect::<Vec<_>>(), [110, 110], "one change, one moment");
}

#[tokio::test]
async fn an_alias_of_another_tenant_is_refused_until_it_ended_there() {
    let (catalog, _folder) = open().await;
    catalog.put_tenant(&fact("a", ALWAYS, "p"), &[alias("x", Some("a"), "2026-05-01")], 100).await.unwrap();
    let b = fact("b", ALWAYS, "p");

    let error = catalog.put_tenant(&b, &[alias("x", Some("b"), ALWAYS)], 110).await.unwrap_err();
    let CatalogError::AliasTaken { alias: taken, tenant, day } = error else { panic!("{error:?}") };
    assert_eq!((taken.as_str(), tenant.as_str(), day.as_str()), ("x", "a", "2026-05-01"));
    assert_eq!(catalog.tenant(&TenantScope::All, "b").await.unwrap(), None, "nothing is left of a refused write");
    let before = NewTenantAlias { valid_to: Some("2026-04-30".to_owned()), ..alias("x", Some("b"), ALWAYS) };
    assert!(catalog.put_tenant(&b, &[before], 120).await.unwrap());

    catalog.put_tenant(&fact("a", ALWAYS, "p"), &[alias("x", None, "2026-06-01")], 130).await.unwrap();
    let may = catalog.put_tenant(&b, &[alias("x", Some("b"), "2026-05-31")], 140).await;
    assert!(matches!(may, Err(CatalogError::AliasTaken { .. })), "{may:?}");
    assert!(catalog.put_tenant(&b, &[alias("x", Some("b"), "2026-06-01")], 150).await.unwrap());
    let book = book(&catalog, i64::MAX).await;
    for (day, expected) in [("2026-04-30", "b"), ("2026-05-31", "a"), ("2026-06-01", "b")] {
        assert_eq!(&*book.resolve("x", on(day)), expected, "{day}");
    }
}

#[tokio::test]
async fn merges_never_form_a_circle_on_any_day() {
    let (catalog, _folder) = open().await;
    let merged = |tenant: &str, into: &str, from: &str, to: Option<&str>| NewTenantFact {
        merged_into: Some(into.to_owned()),
        valid_to: to.map(str::to_owned),
        ..fact(tenant, from, "p")
    };
    for (at, tenant) in ["a", "b", "c"].into_iter().enumerate() {
        catalog.put_tenant(&fact(tenant, ALWAYS, "p"), &[], 100 + at as i64).await.unwrap();
    }
    catalog.put_tenant(&merged("a", "b", "2026-05-01", None), &[], 110).await.unwrap();
    catalog.put_tenant(&merged("b", "c", "2026-06-01", None), &[], 120).await.unwrap();

    let error = catalog.put_tenant(&merged("c", "a", "2026-01-01", None), &[], 130).await.unwrap_err();
    let CatalogError::MergeCircle { tenant, into, day } = error else { panic!("{error:?}") };
    assert_eq!((tenant.as_str(), into.as_str(), day.as_str()), ("c", "a", "2026-06-01"));

    let earlier = merged("c", "a", "2026-01-01", Some("2026-05-31"));
    assert!(catalog.put_tenant(&earlier, &[], 140).await.unwrap());
    assert_eq!(&*book(&catalog, i64::MAX).await.resolve("c", on("2026-05-31")), "b");
}
