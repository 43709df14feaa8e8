use super::given::{Store, days};
use super::lake::{BillLine, bill_line, import, run};
use domain::money::parse_atoms;
use domain::{Currency, DayRange, TenantScope};
use engine::query::costs::Conservation;
use engine::query::{AsOf, CostTable, ProofAnswer, ProofFilter};
use ledger::ProofState;
use storage::catalog::{ALWAYS, NewTenantFact};

const ALL: TenantScope = TenantScope::All;
const DAY: &str = "2026-11-10";
const NEXT: &str = "2026-11-11";
const POLICY: &str = r#"
version = "v1"
valid_from = 2026-11-01
[[tenant_rule]]
when = {}
tenant = "acme"
[[pool]]
name = "dollars"
cost_metric = "billed"
select = { provider = "U" }
split = { method = "direct" }
[[pool]]
name = "euros"
select = { provider = "E" }
split = { method = "direct" }
"#;

fn atoms(text: &str) -> i128 {
    parse_atoms(text).unwrap().atoms
}

fn november() -> DayRange {
    days("2026-11-01", "2026-11-30")
}

fn euros(day: &'static str, amount: &'static str) -> BillLine {
    BillLine { currency: "EUR", ..bill_line(day, "E", amount) }
}

async fn store() -> Store {
    let store = Store::new().await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    store
}

async fn conservation(store: &Store) -> Conservation {
    store.costs(&ALL, november(), &[]).await.unwrap().meta.conservation.unwrap()
}

#[tokio::test]
async fn lines_count_by_the_metric_of_the_pool_that_takes_them_also_before_they_are_run() {
    let store = store().await;
    let dollars = BillLine { effective: "8.00", ..bill_line(DAY, "U", "10.00") };
    let nobodys = BillLine { effective: "4.00", ..bill_line(DAY, "X", "5.00") };
    import(&store, &[dollars, nobodys]).await;
    let before = conservation(&store).await;
    assert_eq!((before.cost_lines, before.difference), (atoms("14.00"), atoms("14.00")));
    run(&store, DAY, DAY).await;
    let after = conservation(&store).await;
    assert_eq!((after.cost_lines, after.difference), (atoms("14.00"), 0));
    let policy = store.engine.validate_policy(POLICY, "policy.toml").unwrap();
    let selected = store.engine.selection_all_tenants(&policy, november()).await.unwrap();
    let amounts: Vec<i128> = selected.iter().map(|selected| selected.amount).collect();
    assert_eq!(amounts, [atoms("10.00"), atoms("4.00")]);
}

#[tokio::test]
async fn lines_of_pools_that_could_not_be_run_do_not_vanish() {
    let store = store().await;
    import(&store, &[bill_line(DAY, "U", "3.00"), euros(DAY, "7.00"), euros(NEXT, "2.00")]).await;
    let done = run(&store, DAY, NEXT).await;
    assert_eq!(done.not_run, 2);
    let found = conservation(&store).await;
    assert_eq!((found.cost_lines, found.difference), (atoms("3.00"), 0));
    assert_eq!(found.unconverted.into_iter().collect::<Vec<_>>(), [(Currency::EUR, atoms("9.00"))]);

    // On the second day nothing was posted at all.
    let proof = store.engine.proof_all_tenants(&ProofFilter::all()).await.unwrap();
    let not_run: Vec<(String, i128)> = proof
        .rows
        .iter()
        .filter(|row| row.state == ProofState::NotRun && row.measure == ledger::Measure::Amount)
        .map(|row| (format!("{} {} {}", row.charge_date, row.pool, row.currency), row.amount_in))
        .collect();
    let told = |day: &str, amount: &str| (format!("{day} euros EUR"), atoms(amount));
    assert_eq!(not_run, [told(DAY, "7.00"), told(NEXT, "2.00")]);
    assert!(proof.rows.iter().all(|row| !row.memo && row.state != ProofState::Failed));
    assert!(store.engine.verify_all_tenants(None).await.unwrap().ok);

    // More of the pool's lines, and still no rate.
    import(&store, &[euros(DAY, "1.00")]).await;
    run(&store, DAY, DAY).await;
    assert_eq!(conservation(&store).await.unconverted[&Currency::EUR], atoms("10.00"));
}

#[tokio::test]
async fn a_state_that_is_asked_for_answers_the_same_for_ever() {
    let store = store().await;
    let put_plan = async |plan: &str| {
        let fact = NewTenantFact {
            plan: Some(plan.to_owned()),
            valid_from: ALWAYS.to_owned(),
            entered_by: "put".to_owned(),
            ..NewTenantFact::system("acme")
        };
        store.engine.catalog().put_tenant(&fact, &[], store.engine.clock().now().micros()).await.unwrap();
    };
    let later = |hour: &str| store.clock.set(format!("2026-11-20T{hour}:00:00Z").parse().unwrap());
    put_plan("free").await;
    later("13");
    let fixed = BillLine { source: "fixed", ..bill_line(DAY, "U", "1.00") };
    import(&store, &[bill_line(DAY, "U", "3.00"), fixed, euros(DAY, "7.00")]).await;
    later("14");
    run(&store, DAY, DAY).await;

    let as_of = AsOf::Posting(1);
    let ask = async || {
        let keys = [("group_by", "plan"), ("as_of", "posting:1")];
        let costs: CostTable = store.costs(&ALL, november(), &keys).await.unwrap();
        let filter = ProofFilter { as_of: Some(as_of), ..ProofFilter::all() };
        let proof: ProofAnswer = store.engine.proof_all_tenants(&filter).await.unwrap();
        (costs, proof, store.engine.overhead_all_tenants(november(), Some(&as_of)).await.unwrap())
    };
    let first = ask().await;
    assert_eq!((first.0.rows[0].key[0].1.as_str(), first.0.rows[0].cost), ("free", atoms("4.00")));
    assert_eq!(first.2.lines.len(), 1);

    later("15");
    put_plan("pro").await;
    import(&store, &[bill_line(DAY, "U", "1.00"), fixed, euros(NEXT, "2.00")]).await;
    assert_eq!(ask().await, first);
    let now = store.costs(&ALL, november(), &[("group_by", "plan")]).await.unwrap();
    assert_eq!((now.rows[0].key[0].1.as_str(), now.meta.conservation.unwrap().difference), ("pro", atoms("2.00")));
    run(&store, DAY, NEXT).await;
    assert_eq!(ask().await, first);
}
