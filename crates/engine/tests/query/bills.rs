//! Bills and usage in, a real run, and every answer about it.

use super::given::{Store, days, only};
use super::lake::{BillLine, Used, bill_line, import, measure, run};
use domain::TenantScope;
use domain::money::parse_atoms;
use engine::query::{ExplainQuery, ProofFilter};

const ALL: TenantScope = TenantScope::All;
const DAY: &str = "2026-11-18";
const POLICY: &str = r#"
version = "2026-11"
valid_from = 2026-11-01
[[pool]]
name = "west"
kind = "cluster"
select = { tags.cluster = "west" }
split = { method = "weighted", weights = { cpu_core_hours = "0.5" } }
"#;

#[tokio::test]
async fn a_posted_day_conserves_is_proved_and_can_be_explained_to_its_bill_lines() {
    let store = Store::new().await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    let line = |cluster, amount| BillLine { source: "aws", cluster, ..bill_line(DAY, "AWS", amount) };
    import(&store, &[line(Some("west"), "60.00"), line(Some("west"), "40.00"), line(None, "7.00")]).await;
    let cores = |tenant, cores: i128| Used {
        day: DAY,
        tenant,
        cluster: "west",
        meter: "cpu_core_hours",
        quantity: cores * 1_000_000_000,
    };
    measure(&store, &[cores("acme", 1), cores("globex", 2)]).await;
    assert_eq!(store.engine.shared_clusters_all_tenants(DAY.parse().unwrap()).await.unwrap(), ["west"]);
    run(&store, DAY, DAY).await;

    let november = days("2026-11-01", "2026-11-30");
    let table = store.costs(&ALL, november, &[]).await.unwrap();
    let conservation = table.meta.conservation.clone().unwrap();
    assert_eq!((conservation.cost_lines, conservation.difference), (parse_atoms("107.00").unwrap().atoms, 0));
    assert_eq!(table.totals.reserved.unwrap().unattributed, parse_atoms("7.00").unwrap().atoms);
    let proof = store.engine.proof_all_tenants(&ProofFilter::all()).await.unwrap();
    assert_eq!((proof.rows.len(), proof.totals[0].failed, proof.totals[0].difference), (4, 0, 0));
    let verified = store.engine.verify_all_tenants(None).await.unwrap();
    assert!(verified.ok, "{verified:?}");

    let query = |tenant: &str| ExplainQuery {
        tenant: tenant.to_owned(),
        date: DAY.parse().unwrap(),
        pool: Some("west".to_owned()),
        as_of: None,
    };
    let explained = store.engine.explain(&ALL, &query("globex")).await.unwrap();
    let pool = &explained.pools[0];
    assert_eq!((pool.matches, pool.components[0].cells[0].ratio.as_deref()), (Some(true), Some("1/1.5")));
    let bills = pool.bills.as_ref().unwrap();
    assert_eq!((bills.len(), bills[0].import_id.as_str(), bills[0].lines), (1, "import-1", 2));
    let shown: Vec<(i64, i128)> = bills[0].shown.iter().map(|line| (line.line_no, line.amount)).collect();
    assert_eq!(shown, [(1, parse_atoms("60.00").unwrap().atoms), (2, parse_atoms("40.00").unwrap().atoms)]);
    let own = store.engine.explain(&only("globex"), &query("globex")).await.unwrap();
    assert!(own.pools[0].bills.is_none() && own.pools[0].inputs.is_empty());

    let all_lines = engine::query::CostLineFilter {
        range: november,
        equal: vec![("source", "aws".to_owned())],
        limit: 2,
        cursor: None,
    };
    let first = store.engine.cost_lines_all_tenants(&all_lines).await.unwrap();
    let rest = engine::query::CostLineFilter { cursor: first.next_cursor.clone(), ..all_lines };
    let second = store.engine.cost_lines_all_tenants(&rest).await.unwrap();
    assert_eq!((first.rows.len(), second.rows.len(), second.next_cursor), (2, 1, None));
}
