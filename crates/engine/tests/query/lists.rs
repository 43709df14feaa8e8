use super::given::{Given, Store, days, given, only};
use domain::TenantScope;
use domain::tenant::IDLE;
use engine::query::{EntryFilter, ProofFilter};
use futures::TryStreamExt;
use ledger::ProofState;
use std::path::{Path, PathBuf};
use storage::lake::Table;

const ALL: TenantScope = TenantScope::All;

fn entries() -> Vec<Given> {
    let mut entries = vec![
        given("2026-11-01", "west", "acme", "30.00"),
        given("2026-11-01", "west", "globex", "20.00"),
        given("2026-11-01", "west", IDLE, "5.00"),
        given("2026-11-02", "east", "acme", "1.00"),
    ];
    for entry in &mut entries {
        entry.weight = Some(1);
    }
    entries
}

async fn store() -> Store {
    let mut store = Store::new().await;
    store.post(&entries(), &entries()).await;
    let more = vec![given("2026-11-02", "east", "globex", "2.00")];
    store.post(&more, &[given("2026-11-02", "east", "acme", "3.00")]).await;
    store
}

#[tokio::test]
async fn entries_come_in_order_page_by_page_and_stay_as_they_were() {
    let mut store = store().await;
    let mut filter = EntryFilter { limit: 2, ..EntryFilter::all() };
    let mut found = Vec::new();
    loop {
        let page = store.engine.ledger_entries(&ALL, &filter).await.unwrap();
        assert_eq!(page.posting, Some(2));
        found.extend(page.rows.iter().map(|entry| (entry.posting, entry.line)));
        if found.len() == 2 {
            let late = vec![given("2026-11-05", "west", "acme", "9.00")];
            store.post(&late, &late).await;
        }
        match page.next_cursor {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found, [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]);
    let as_of = EntryFilter { as_of: Some("posting:1".parse().unwrap()), ..EntryFilter::all() };
    let streamed: Vec<Vec<ledger::Entry>> =
        store.engine.stream_entries(&ALL, &as_of).await.unwrap().try_collect().await.unwrap();
    assert_eq!(streamed.concat().len(), 4);
}

#[tokio::test]
async fn entries_are_narrowed_and_a_tenant_sees_own_ones_without_totals() {
    let store = store().await;
    let limits = store.engine.query_limits(100, 1000);
    let count = async |params: &[(&str, &str)]| {
        let filter = EntryFilter::parse(params, &limits).unwrap();
        store.engine.ledger_entries(&ALL, &filter).await.unwrap().rows.len()
    };
    assert_eq!(count(&[("pool", "west")]).await, 3);
    assert_eq!(count(&[("tenant", "globex"), ("posting", "2")]).await, 1);
    assert_eq!(count(&[("charge_date", "2026-11-02")]).await, 2);
    assert_eq!(count(&[("tenant", "nobody")]).await, 0);
    assert_eq!(count(&[("filter", "pool:west -tenant:__idle__")]).await, 2);
    assert_eq!(count(&[("filter", "tenant:g*"), ("posting", "1")]).await, 1);
    assert!(EntryFilter::parse(&[("pol", "west")], &limits).is_err());
    let looked_up = EntryFilter::parse(&[("filter", "plan:pro")], &limits).unwrap_err().to_string();
    assert!(looked_up.contains("`plan` is no column of an entry"), "{looked_up}");
    let own = store.engine.ledger_entries(&only("acme"), &EntryFilter::all()).await.unwrap().rows;
    assert!(own.iter().all(|entry| entry.tenant.as_deref() == Some("acme") && entry.weight.is_none()));
    let foreign = EntryFilter { tenant: Some("globex".to_owned()), ..EntryFilter::all() };
    assert!(store.engine.ledger_entries(&only("acme"), &foreign).await.is_err());
    let foreign = EntryFilter::parse(&[("filter", "tenant:globex")], &limits).unwrap();
    assert!(store.engine.ledger_entries(&only("acme"), &foreign).await.is_err());
}

#[tokio::test]
async fn postings_are_listed_newest_first() {
    let store = store().await;
    let first = store.engine.postings_all_tenants(1, None).await.unwrap();
    assert_eq!((first.rows[0].posting, first.posting), (2, Some(2)));
    let second = store.engine.postings_all_tenants(1, first.next_cursor.as_deref()).await.unwrap();
    assert_eq!((second.rows[0].posting, second.next_cursor), (1, None));
    assert_eq!(second.rows[0].days, ["2026-11-01", "2026-11-02"]);
}

#[tokio::test]
async fn every_pool_and_day_is_proved_by_both_measures() {
    let store = store().await;
    let proof = store.engine.proof_all_tenants(&ProofFilter::all()).await.unwrap();
    assert_eq!(proof.rows.len(), 4);
    assert!(proof.rows.iter().all(|row| row.state == ProofState::Proved && row.difference == 0));
    assert_eq!(proof.rows[2].postings, [1, 2]);
    assert!(proof.totals.iter().all(|total| total.difference == 0 && total.failed == 0));
    let west = ProofFilter { pool: Some("west".to_owned()), ..ProofFilter::all() };
    let west = store.engine.proof_all_tenants(&west).await.unwrap().rows;
    let unit = domain::money::ATOMS_PER_UNIT;
    assert_eq!((west.len(), west[0].amount_in, west[0].shares, west[0].idle), (2, 55 * unit, 50 * unit, 5 * unit));
    let touched = ProofFilter { posting: Some(2), ..ProofFilter::all() };
    assert_eq!(store.engine.proof_all_tenants(&touched).await.unwrap().rows.len(), 2);
    let earlier = ProofFilter { as_of: Some("posting:1".parse().unwrap()), ..ProofFilter::all() };
    let earlier = store.engine.proof_all_tenants(&earlier).await.unwrap();
    assert_eq!((earlier.rows[2].amount_in, earlier.rows[2].difference), (unit, 0));
}

#[tokio::test]
async fn a_whole_ledger_verifies_and_a_missing_atom_does_not() {
    let mut store = store().await;
    let report = store.engine.verify_all_tenants(None).await.unwrap();
    assert_eq!((report.ok, report.postings, report.entries, report.proofs_checked), (true, 2, 5, 4), "{report:?}");
    let head = report.head.unwrap();
    assert!(store.engine.verify_all_tenants(Some(&head)).await.unwrap().ok);
    assert!(!store.engine.verify_all_tenants(Some("sha256:00")).await.unwrap().ok);
    let wrong = vec![given("2026-11-03", "west", "acme", "1.00")];
    store.post(&wrong, &[given("2026-11-03", "west", "acme", "1.000000000000001")]).await;
    let report = store.engine.verify_all_tenants(Some(&head)).await.unwrap();
    assert_eq!((report.ok, report.faults[0].posting), (false, Some(3)));
}

#[tokio::test]
async fn damage_to_what_went_into_pools_is_named() {
    let store = store().await;
    let files = walk(&store.table_folder(Table::PoolDays));
    let file = files.iter().find(|path| path.extension().is_some_and(|end| end == "parquet")).unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();

    let engine = store.reopened().await;
    let error = engine.proof_all_tenants(&ProofFilter::all()).await.unwrap_err();
    let (damaged, _) = error.damage().unwrap();
    assert!(damaged.starts_with("pool_days/") && damaged.ends_with(name), "{damaged}");
    let report = engine.verify_all_tenants(None).await.unwrap();
    assert!(!report.ok && report.faults[0].what.starts_with(damaged), "{report:?}");
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn coverage_and_overhead_answer_for_a_range() {
    let store = store().await;
    let november = days("2026-11-01", "2026-11-30");
    let coverage = store.engine.coverage_all_tenants(november, None).await.unwrap();
    let shares = coverage.shares;
    assert_eq!((shares.measured, shares.idle), (913_793, 86_207));
    let overhead = store.engine.overhead_all_tenants(november, None).await.unwrap();
    assert_eq!((overhead.total, overhead.lines.len()), (0, 0));
}
