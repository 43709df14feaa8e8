//! Statements over real runs: made once, the same when they are made again, in every currency.

use super::given::{Store, TENANTS, days, only};
use super::lake::{BillLine, Used, bill_line, import, measure, run};
use domain::{Clock as _, TenantScope};
use engine::periods::{CloseRequest, ReopenRequest};
use engine::statements::document::StatementDocument;
use engine::statements::{StatementAsked, StatementFormat};
use engine::{Engine, EngineError, Settings};
use std::sync::Arc;
use storage::catalog::{Catalog, NewFxRate};

const DAY: &str = "2026-10-18";
const POLICY: &str = r#"
version = "2026-10"
valid_from = 2026-10-01
[[pool]]
name = "west"
kind = "cluster"
select = { tags.cluster = "west" }
split = { method = "weighted", weights = { cpu_core_hours = "0.5" } }
"#;

fn line(currency: &'static str, amount: &'static str) -> BillLine {
    BillLine { cluster: Some("west"), currency, ..bill_line(DAY, "AWS", amount) }
}

/// A store in which acme and globex used the shared cluster 1 : 2 on one day of October.
async fn october(lines: &[BillLine]) -> Store {
    let store = Store::new().await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    let rate = NewFxRate {
        day: DAY.to_owned(),
        from_currency: "JPY".to_owned(),
        to_currency: "USD".to_owned(),
        rate: "0.0067".to_owned(),
        source: "manual".to_owned(),
    };
    store.engine.catalog().put_fx_rates(&[rate], store.clock.now().micros()).await.unwrap();
    import(&store, lines).await;
    let cores = |tenant, cores: i128| Used {
        day: DAY,
        tenant,
        cluster: "west",
        meter: "cpu_core_hours",
        quantity: cores * 1_000_000_000,
    };
    measure(&store, &[cores("acme", 1), cores("globex", 2)]).await;
    run(&store, "2026-10-01", "2026-10-31").await;
    store
}

async fn close(store: &Store) {
    store.clock.set(store.clock.now().plus_micros(3_600_000_000));
    let request = CloseRequest {
        month: "2026-10".parse().unwrap(),
        force: true,
        reason: Some("a test".to_owned()),
        requested_by: "finance".to_owned(),
        request: None,
    };
    store.engine.close_period(&request).await.unwrap();
}

async fn text(engine: &Engine, format: StatementFormat, version: Option<i64>, tenant: Option<&str>) -> String {
    let asked =
        StatementAsked { month: "2026-10".parse().unwrap(), format, version, tenant: tenant.map(str::to_owned) };
    engine.statement(&TenantScope::All, &asked).await.unwrap().text
}

#[tokio::test]
async fn every_currency_is_rounded_to_its_own_minor_unit() {
    let store = october(&[line("USD", "100.00"), line("JPY", "100.5")]).await;
    close(&store).await;
    let json = text(&store.engine, StatementFormat::Json, None, None).await;
    let document: StatementDocument = serde_json::from_str(&json).unwrap();
    let totals: Vec<(&str, &str, &str)> = document
        .totals
        .iter()
        .map(|total| (total.currency.as_str(), total.amount.as_str(), total.rounding.as_str()))
        .collect();
    assert_eq!(totals, [("JPY", "100", "-0.50"), ("USD", "100.00", "0.00")]);
    let rows: Vec<(&str, &str, &str)> =
        document.rows.iter().map(|row| (row.currency.as_str(), row.consumer.as_str(), row.amount.as_str())).collect();
    let expected =
        [("JPY", "acme", "33"), ("JPY", "globex", "67"), ("USD", "acme", "33.33"), ("USD", "globex", "66.67")];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn a_statement_that_was_lost_is_made_again_byte_for_byte() {
    let store = october(&[line("USD", "100.00")]).await;
    close(&store).await;
    let request = ReopenRequest {
        month: "2026-10".parse().unwrap(),
        reason: "a late bill".to_owned(),
        requested_by: "finance".to_owned(),
        request: None,
    };
    store.engine.reopen_period(&request).await.unwrap();
    import(&store, &[line("USD", "20.00")]).await;
    run(&store, "2026-10-01", "2026-10-31").await;
    close(&store).await;
    // What is posted and entered later is none of the statements' business.
    import(&store, &[bill_line("2026-11-02", "AWS", "5.00")]).await;
    run(&store, "2026-11-01", "2026-11-19").await;

    // Another catalog over the same lake, as after the loss of the first one; it knows the same tenants.
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
    let start: domain::Instant = "2026-11-20T12:00:00Z".parse().unwrap();
    catalog.ensure_tenants(&TENANTS.map(str::to_owned), start.micros()).await.unwrap();
    let lake = Arc::new(store.engine.lake().clone());
    let again = Engine::new(lake, Arc::new(catalog), store.clock.clone(), Settings::default());
    again.repair().await.unwrap();
    let mut compared = 0;
    for version in [Some(1), Some(2), None] {
        for tenant in [None, Some("acme"), Some("globex")] {
            for format in [StatementFormat::Json, StatementFormat::Csv, StatementFormat::Journal] {
                if format == StatementFormat::Journal && tenant.is_some() {
                    continue;
                }
                let first = text(&store.engine, format, version, tenant).await;
                assert_eq!(first, text(&again, format, version, tenant).await, "{version:?} {tenant:?} {format}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 21);
    let second = text(&again, StatementFormat::Json, None, None).await;
    assert!(
        second.contains("\"replaces\":\"ST-2026-10-1\"") && second.contains("\"difference\":\"20.00\""),
        "{second}"
    );
}

#[tokio::test]
async fn a_close_that_its_process_could_not_tell_the_catalog_of_counts_as_a_version() {
    let store = october(&[line("USD", "100.00")]).await;
    close(&store).await;
    // Another process; its catalog never heard of that close, as when whoever closed died before it could tell.
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
    let start: domain::Instant = "2026-11-20T12:00:00Z".parse().unwrap();
    catalog.ensure_tenants(&TENANTS.map(str::to_owned), start.micros()).await.unwrap();
    let lake = Arc::new(store.engine.lake().clone());
    let other = Engine::new(lake, Arc::new(catalog), store.clock.clone(), Settings::default());
    let (month, reason) = ("2026-10".parse().unwrap(), "a late bill".to_owned());
    let requested_by = "finance".to_owned();
    let reopen = ReopenRequest { month, reason: reason.clone(), requested_by: requested_by.clone(), request: None };
    other.reopen_period(&reopen).await.unwrap();
    let again = CloseRequest { month, force: true, reason: Some(reason), requested_by, request: None };
    let closed = other.close_period(&again).await.unwrap();

    let versions: Vec<(i64, u32)> =
        other.closes_all_tenants().await.unwrap().iter().map(|close| (close.posting, close.version)).collect();
    assert_eq!(versions, [(closed.posting - 2, 1), (closed.posting, 2)]);
    let issued = other.statements_all_tenants().await.unwrap();
    let numbers: Vec<&str> = issued.iter().map(|statement| statement.row.number.as_str()).collect();
    assert_eq!(numbers, ["ST-2026-10-1", "ST-2026-10-2"]);
    let first = text(&store.engine, StatementFormat::Json, Some(1), None).await;
    assert_eq!(first, text(&other, StatementFormat::Json, Some(1), None).await);
}

#[tokio::test]
async fn nobody_reads_a_statement_that_does_not_exist_or_is_not_theirs() {
    let store = october(&[line("USD", "100.00")]).await;
    let ask = async |scope: TenantScope, version: Option<i64>, tenant: Option<&str>| {
        let asked = StatementAsked {
            month: "2026-10".parse().unwrap(),
            format: StatementFormat::Csv,
            version,
            tenant: tenant.map(str::to_owned),
        };
        store.engine.statement(&scope, &asked).await.map(|issued| issued.number)
    };
    assert!(matches!(ask(TenantScope::All, None, None).await, Err(EngineError::PeriodOpen(_))));
    // A tenant that is not the caller's is refused before anything is said of the month.
    assert!(matches!(ask(only("acme"), None, Some("globex")).await, Err(EngineError::TenantNotFound(_))));
    close(&store).await;
    assert_eq!(ask(only("acme"), None, None).await.unwrap(), "ST-2026-10-1");
    assert!(matches!(ask(only("initech"), None, None).await, Err(EngineError::NotFound { .. })));
    assert!(matches!(ask(TenantScope::All, Some(2), None).await, Err(EngineError::NotFound { .. })));
    assert!(matches!(ask(TenantScope::All, None, Some("")).await, Err(EngineError::TenantNotFound(_))));
}

#[tokio::test]
async fn reconciliation_compares_with_what_the_ledger_has_and_not_with_what_it_should_have() {
    let store = october(&[line("USD", "100.00"), BillLine { source: "other", ..line("USD", "50.00") }]).await;
    let october = days("2026-10-01", "2026-10-31");
    let found = async |source: Option<&str>| {
        let found = store.engine.reconciliation_all_tenants(october, source).await.unwrap().rows;
        let text = domain::money::format_atoms;
        let rows = found.iter().map(|row| {
            (row.key.source.clone(), text(row.billed), text(row.attributed), text(row.attribution_difference()))
        });
        rows.collect::<Vec<_>>()
    };
    let row = |source: &str, billed: &str, attributed: &str, difference: &str| {
        (source.to_owned(), billed.to_owned(), attributed.to_owned(), difference.to_owned())
    };
    assert_eq!(found(None).await, [row("bill", "100.00", "100.00", "0.00"), row("other", "50.00", "50.00", "0.00")]);
    assert_eq!(found(Some("other")).await, [row("other", "50.00", "50.00", "0.00")]);
    // A line that no run has seen: what the ledger lacks of the pool and day is handed out to its lines.
    import(&store, &[line("USD", "150.00")]).await;
    let rows = found(None).await;
    assert_eq!(rows, [row("bill", "250.00", "125.00", "125.00"), row("other", "50.00", "25.00", "25.00")]);
}
