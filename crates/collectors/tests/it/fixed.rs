use std::collections::BTreeMap;

use collectors::fixed::{FixedContext, FixedEntry, FixedSource, materialize_fixed};
use collectors::import::imports_of_lake;
use domain::policy::FixedPer;
use domain::{Currency, Zone};
use storage::lake::Table;

use super::support::{NOON, Store};

fn entry(id: &str, amount: &str, per: FixedPer, from: &str, to: Option<&str>) -> FixedEntry {
    FixedEntry {
        id: id.to_owned(),
        source: if per == FixedPer::Once { FixedSource::Manual } else { FixedSource::Fixed },
        provider: "own".to_owned(),
        service: "temporal".to_owned(),
        currency: Currency::USD,
        amount: amount.parse().expect("an amount"),
        per,
        from: from.parse().expect("a day"),
        to: to.map(|to| to.parse().expect("a day")),
        note: None,
        tags: BTreeMap::from([("apportion:pool".to_owned(), "temporal".to_owned())]),
    }
}

fn context(store: &Store) -> FixedContext {
    let import = &store.context;
    FixedContext { lake: import.lake.clone(), catalog: import.catalog.clone(), zone: import.zone.clone(), now: NOON }
}

async fn make(store: &Store, entries: &[FixedEntry], up_to: &str) -> Vec<String> {
    let up_to = up_to.parse().expect("a day");
    let report = materialize_fixed(&context(store), entries, up_to).await.expect("lines");
    assert_eq!(report.import_id.is_none(), report.changed_months.is_empty());
    report.changed_months
}

async fn lines(store: &Store) -> Vec<String> {
    store.lines().await.into_iter().map(|(from, to, amount)| format!("{from} {to} {amount}")).collect()
}

#[tokio::test]
async fn lines_are_made_once_and_taken_out_with_their_entry() {
    let store = Store::new().await;
    let monthly = entry("a", "310", FixedPer::Month, "2026-01-17", None);
    let once = entry("b", "99.99", FixedPer::Once, "2026-02-03", Some("2026-02-04"));
    let entries = [monthly.clone(), once.clone()];
    assert_eq!(make(&store, &entries, "2026-02-03").await, ["2026-01", "2026-02"]);
    let expected = ["2026-01-17 2026-01-31 150.00", "2026-02-01 2026-02-28 310.00", "2026-02-03 2026-02-04 99.99"];
    assert_eq!(lines(&store).await, expected);
    assert!(make(&store, &entries, "2026-02-28").await.is_empty(), "the same again changes nothing");
    assert_eq!(make(&store, &entries, "2026-03-01").await, ["2026-03"]);
    assert_eq!(make(&store, &[monthly], "2026-03-01").await, ["2026-02"]);
    assert_eq!(lines(&store).await.len(), 3);
    assert_eq!(make(&store, &[], "2026-03-01").await, ["2026-01", "2026-02", "2026-03"]);
    assert_eq!((store.files().await, lines(&store).await.len()), (0, 0));
    let pinned = store.context.lake.pin_table(Table::CostLines).await.expect("a table");
    let imports = imports_of_lake(&pinned).await.expect("a log");
    assert!(imports.len() == 4 && imports.iter().all(|import| import.kind == "fixed"));
    assert_eq!(store.context.catalog.list_imports_all_tenants(None, 10).await.expect("rows").len(), 4);
}

#[tokio::test]
async fn a_day_of_23_hours_is_one_day() {
    let store = Store::in_zone("Europe/Berlin".parse::<Zone>().expect("a zone")).await;
    let daily = entry("a", "5", FixedPer::Day, "2026-03-28", Some("2026-03-30"));
    make(&store, &[daily], "2026-12-31").await;
    let expected = ["2026-03-28 2026-03-28 5.00", "2026-03-29 2026-03-29 5.00", "2026-03-30 2026-03-30 5.00"];
    assert_eq!(lines(&store).await, expected);
    assert_eq!(store.files().await, 1, "lines of one day stand together");
}

#[tokio::test]
async fn all_four_costs_are_the_amount() {
    let store = Store::new().await;
    make(&store, &[entry("a", "-12.345", FixedPer::Year, "2026-01-01", None)], "2026-01-01").await;
    for column in ["billed_cost", "effective_cost", "list_cost", "contracted_cost"] {
        assert_eq!(store.sums(column).await["USD"], -12_345_000_000_000_000, "{column}");
    }
}
