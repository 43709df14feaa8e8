use std::collections::BTreeMap;
use std::sync::Arc;

use collectors::snapshots::{Replaced, SnapshotContext, SnapshotError, TenantSnapshot, replace_snapshots};
use collectors::snapshots::{read_quantity, stored_snapshots};
use domain::snapshot::{Measured, Measurement, SnapshotKind};
use domain::{Day, TenantId, TenantScope};
use storage::lake::Table;

use super::support::{NOON, Store};

fn context(store: &Store) -> SnapshotContext {
    SnapshotContext {
        lake: store.context.lake.clone(),
        catalog: store.context.catalog.clone(),
        reject_unknown_tenants: false,
        metrics_max: 200,
        now: NOON,
    }
}

fn day() -> Day {
    "2026-09-21".parse().expect("a day")
}

fn tenant(id: &str) -> TenantId {
    id.parse().expect("an id")
}

/// What was measured `seconds` after noon.
fn snapshot(seconds: i64, metrics: &[(&str, &str)]) -> TenantSnapshot {
    let one = |(metric, quantity): &(&str, &str)| {
        let measured = Measured::Exactly(quantity.parse().expect("a quantity"));
        (Arc::<str>::from(*metric), Measurement { kind: SnapshotKind::of_metric(metric), measured, note: None })
    };
    let taken_at = NOON.plus_micros(seconds * 1_000_000);
    TenantSnapshot { taken_at, metrics: metrics.iter().map(one).collect(), kept: BTreeMap::new() }
}

async fn replace(store: &Store, source: &str, tenants: &[(&str, TenantSnapshot)]) -> Result<Replaced, SnapshotError> {
    let tenants = tenants.iter().map(|(id, snapshot)| (tenant(id), snapshot.clone())).collect();
    replace_snapshots(&context(store), source, day(), &tenants).await
}

async fn stored(store: &Store, source: &str) -> Vec<String> {
    let rows = stored_snapshots(&store.context.lake, source, day()).await.expect("rows");
    let shown = |row: &domain::snapshot::SnapshotRow| {
        let measured = row.measurement.measured;
        let quantity = measured.quantity().map_or("-".to_owned(), |quantity| quantity.to_string());
        format!("{} {} {quantity} {}", row.tenant, row.metric, measured.quality().as_str())
    };
    rows.iter().map(shown).collect()
}

async fn touched_days(store: &Store) -> Vec<serde_json::Value> {
    let pinned = store.context.lake.pin_table(Table::Snapshots).await.expect("a table");
    let records = pinned.commits_since(Some(0)).await.expect("commits");
    records.iter().map(|record| record.metadata["touched_days"].clone()).collect()
}

#[tokio::test]
async fn rows_are_replaced_per_source_tenant_and_day() {
    let store = Store::new().await;
    let (acme, globex) =
        (snapshot(0, &[("member_count", "3"), ("logins_24h", "7")]), snapshot(0, &[("member_count", "5")]));
    replace(&store, "app", &[("acme", acme.clone()), ("globex", globex)]).await.expect("stored");
    replace(&store, "other", &[("acme", snapshot(0, &[("member_count", "1")]))]).await.expect("stored");
    let again = replace(&store, "app", &[("acme", acme.clone())]).await.expect("stored");
    assert_eq!((again.changed, again.version, again.tenants, again.rows), (false, 2, 1, 2));
    let replaced = replace(&store, "app", &[("acme", snapshot(9, &[("member_count", "4")]))]).await.expect("stored");
    assert_eq!((replaced.changed, replaced.version, replaced.rows), (true, 3, 1));
    assert_eq!(stored(&store, "app").await, ["acme member_count 4 ok", "globex member_count 5 ok"]);
    assert_eq!(stored(&store, "other").await, ["acme member_count 1 ok"]);
    let pinned = store.context.lake.pin_table(Table::Snapshots).await.expect("a table");
    assert_eq!(
        (pinned.files().len(), pinned.txn("snapshots:app"), pinned.txn("snapshots:other")),
        (2, Some(2), Some(1))
    );
    for id in ["acme", "globex"] {
        assert!(store.context.catalog.tenant(&TenantScope::All, id).await.expect("a catalog").is_some());
    }
    assert!(store.context.catalog.meter_in_use("logins_24h").await.expect("a catalog"));
}

#[tokio::test]
async fn a_day_is_touched_by_what_was_found_not_by_when() {
    let store = Store::new().await;
    replace(&store, "app", &[("acme", snapshot(0, &[("member_count", "3")]))]).await.expect("stored");
    replace(&store, "app", &[("acme", snapshot(9, &[("member_count", "3")]))]).await.expect("stored");
    replace(&store, "app", &[("acme", snapshot(9, &[("member_count", "4")]))]).await.expect("stored");
    let day = serde_json::json!(["2026-09-21"]);
    assert_eq!(touched_days(&store).await, [day.clone(), serde_json::json!([]), day]);
}

#[tokio::test]
async fn levels_that_cannot_be_measured_any_more_keep_their_row_or_are_missing() {
    let store = Store::new().await;
    replace(&store, "app", &[("acme", snapshot(0, &[("member_count", "3"), ("logins_24h", "7")]))])
        .await
        .expect("stored");
    let again = |logins: &str| {
        let kept = BTreeMap::from([(Arc::<str>::from("member_count"), SnapshotKind::Gauge)]);
        TenantSnapshot { kept, ..snapshot(9, &[("logins_24h", logins)]) }
    };
    replace(&store, "app", &[("acme", again("8")), ("globex", again("1"))]).await.expect("stored");
    let expected =
        ["acme logins_24h 8 ok", "acme member_count 3 ok", "globex logins_24h 1 ok", "globex member_count - missing"];
    assert_eq!(stored(&store, "app").await, expected);
}

#[tokio::test]
async fn what_cannot_be_stored_changes_nothing() {
    let store = Store::new().await;
    let good = || snapshot(0, &[("member_count", "3")]);
    let bad_source = replace(&store, "__x", &[("acme", good())]).await;
    assert!(matches!(bad_source, Err(SnapshotError::BadSource(_))), "{bad_source:?}");
    let negative = replace(&store, "app", &[("acme", good()), ("b", snapshot(0, &[("logins_24h", "-1")]))]).await;
    assert!(matches!(negative, Err(SnapshotError::Negative { .. })), "{negative:?}");
    let bad_metric = replace(&store, "app", &[("acme", snapshot(0, &[("a\nb", "1")]))]).await;
    assert!(matches!(bad_metric, Err(SnapshotError::BadMetric { .. })), "{bad_metric:?}");
    let strict = SnapshotContext { reject_unknown_tenants: true, ..context(&store) };
    let unknown = replace_snapshots(&strict, "app", day(), &BTreeMap::from([(tenant("acme"), good())])).await;
    assert_eq!(unknown.expect_err("refused").to_string(), "tenant `acme` does not exist; enter it first");
    assert_eq!(touched_days(&store).await, [] as [serde_json::Value; 0]);
    assert!(store.context.catalog.tenant(&TenantScope::All, "acme").await.expect("a catalog").is_none());

    let read = |text: &str| read_quantity(&tenant("acme"), &"storage_bytes".into(), text);
    assert_eq!(read("0.0000000015").map(|(quantity, rounded)| (quantity.atoms(), rounded)).ok(), Some((2, true)));
    assert!(matches!(read("1e19"), Err(SnapshotError::OutOfBound { .. })));
    assert!(matches!(read("x"), Err(SnapshotError::BadMetric { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_lose_nothing() {
    let store = Store::new().await;
    let writing = (0..8).map(|at| {
        let context = context(&store);
        tokio::spawn(async move {
            let tenants = BTreeMap::from([(tenant(&format!("t{at}")), snapshot(0, &[("member_count", "1")]))]);
            replace_snapshots(&context, "app", day(), &tenants).await.expect("stored")
        })
    });
    for writer in writing.collect::<Vec<_>>() {
        assert!(writer.await.expect("no panic").changed);
    }
    assert_eq!(stored(&store, "app").await.len(), 8);
}
