use super::given::{Given, Store, given, only};
use domain::money::parse_atoms;
use domain::{Day, TenantScope};
use engine::EngineError;

const POLICY: &str = r#"
version = "2026-11"
valid_from = 2026-11-01
[[pool]]
name = "shared-west-us"
kind = "cluster"
select = { tags.cluster = "shared-west-us" }
split = { method = "weighted", by = ["tenant"], weights = { cpu_core_hours = "0.5", memory_gib_hours = "0.3", storage_gib_hours = "0.15", network_gib = "0.05" } }
[[pool]]
name = "rent"
tier = "overhead"
select = { provider = "own" }
"#;

/// The worked example of the method: 100.00 by weights 32.1 and 28.9.
const CELLS: [(&str, &str, &str, &str, &str); 8] = [
    ("acme", "cpu_core_hours", "compute", "10", "8.196721311475410"),
    ("acme", "memory_gib_hours", "compute", "40", "19.672131147540984"),
    ("acme", "network_gib", "network", "2", "0.163934426229508"),
    ("acme", "storage_gib_hours", "storage", "100", "24.590163934426229"),
    ("globex", "cpu_core_hours", "compute", "30", "24.590163934426229"),
    ("globex", "memory_gib_hours", "compute", "20", "9.836065573770492"),
    ("globex", "network_gib", "network", "8", "0.655737704918033"),
    ("globex", "storage_gib_hours", "storage", "50", "12.295081967213115"),
];

fn example(day: &str) -> Vec<Given> {
    let cell =
        |(tenant, meter, category, quantity, amount): (&'static str, &'static str, &'static str, &str, &str)| Given {
            meter: Some(meter),
            category,
            quantity: Some(quantity.parse::<domain::Quantity>().unwrap().atoms()),
            ..given(day, "shared-west-us", tenant, amount)
        };
    CELLS.map(cell).to_vec()
}

fn atoms(text: &str) -> i128 {
    parse_atoms(text).unwrap().atoms
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

async fn store() -> Store {
    let mut store = Store::new().await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    let entries =
        [example("2026-11-18"), example("2026-11-19"), vec![given("2026-11-19", "rent", "acme", "5.00")]].concat();
    store.post(&entries, &entries).await;
    store
}

#[tokio::test]
async fn the_worked_example_is_answered_digit_by_digit() {
    let store = store().await;
    let answer = store.engine.cluster_attribution_all_tenants("shared-west-us", day("2026-11-19")).await.unwrap();
    assert_eq!((answer.total, answer.idle, answer.unattributed), (atoms("100.00"), 0, 0));
    let [acme, globex] = &answer.tenants[..] else { panic!("two tenants") };
    assert_eq!(
        (acme.tenant.as_str(), acme.cost, acme.percentage),
        ("acme", atoms("52.622950819672131"), Some(52_622_951))
    );
    assert_eq!((globex.cost, globex.percentage), (atoms("47.377049180327869"), Some(47_377_049)));
    assert_eq!(acme.breakdown.compute, atoms("27.868852459016394"));
    assert_eq!((acme.breakdown.total(), acme.breakdown.other), (acme.cost, 0));
    let usage: Vec<(&str, i128)> =
        acme.usage.iter().map(|(name, used)| (name.as_str(), used / 1_000_000_000)).collect();
    assert_eq!(usage, [("cpu", 10), ("memory", 40), ("network", 2), ("storage", 100)]);
    let weights: Vec<String> = answer.weights.iter().map(|(name, weight)| format!("{name} {weight}")).collect();
    assert_eq!(weights, ["cpu 0.5", "memory 0.3", "network 0.05", "storage 0.15"]);

    let comparison = store.engine.cluster_comparison_all_tenants("shared-west-us", day("2026-11-19")).await.unwrap();
    let cpu: Vec<Option<i64>> = comparison.usage_percentages.iter().map(|used| used["cpu"]).collect();
    assert_eq!(cpu, [Some(25_000_000), Some(75_000_000)]);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let store = store().await;
    let ask = async |cluster: &str, date: &str| {
        store.engine.cluster_attribution_all_tenants(cluster, day(date)).await.unwrap_err()
    };
    assert!(matches!(ask("shared-west-us", "2026-11-17").await, EngineError::NotAttributed { .. }));
    assert!(matches!(ask("rent", "2026-11-19").await, EngineError::ClusterNotFound(_)));
    assert!(matches!(ask("shared-west-us", "2026-10-31").await, EngineError::ClusterNotFound(_)));
    assert!(matches!(ask("shared-west-us", "2026-11-21").await, EngineError::InvalidParameter { .. }));
}

#[tokio::test]
async fn parts_and_days_of_a_tenant_add_up_without_overhead() {
    let store = store().await;
    let engine = &store.engine;
    let (start, end) = (day("2026-11-17"), day("2026-11-20"));
    let answer = engine.tenant_breakdown(&only("acme"), "acme", start, end, None).await.unwrap();
    assert_eq!(answer.breakdown.total(), atoms("105.245901639344262"));
    assert_eq!(answer.daily.len(), 3);
    assert_eq!(answer.daily.iter().map(|(_, cost)| cost).sum::<i128>(), answer.breakdown.total());
    assert_eq!(answer.daily[0].1, 0);
    let trend = engine.tenant_trend(&only("acme"), "acme", 3, Some("shared-west-us")).await.unwrap();
    let changes: Vec<Option<i128>> = trend.iter().map(|point| point.change).collect();
    assert_eq!(changes, [None, Some(atoms("52.622950819672131")), Some(0)]);
    assert_eq!(trend[2].date, day("2026-11-19"));

    let foreign = engine.tenant_breakdown(&only("acme"), "globex", start, end, None).await.unwrap_err();
    assert!(matches!(foreign, EngineError::TenantNotFound(_)));
    let unknown = engine.tenant_trend(&TenantScope::All, "acme", 3, Some("east")).await.unwrap_err();
    assert!(matches!(unknown, EngineError::ClusterNotFound(_)));
    let empty = engine.tenant_breakdown(&TenantScope::All, "acme", end, end, None).await.unwrap_err();
    assert!(matches!(empty, EngineError::InvalidParameter { .. }));
}
