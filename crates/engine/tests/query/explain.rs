use super::given::{Given, Store, given, only};
use domain::TenantScope;
use domain::money::parse_atoms;
use engine::query::ExplainQuery;
use engine::{EngineError, Settings};

/// 100.00 split 1 : 2 between two tenants, so that an atom is left over.
fn two_tenants() -> Vec<Given> {
    let share = |tenant, amount, weight: &str| {
        let weight = parse_atoms(weight).unwrap().atoms;
        Given {
            weight: Some(weight),
            quantity: Some(weight / 1_000_000),
            ..given("2026-11-01", "west", tenant, amount)
        }
    };
    vec![share("acme", "33.333333333333333", "1"), share("globex", "66.666666666666667", "2")]
}

fn query(tenant: &str, date: &str) -> ExplainQuery {
    ExplainQuery { tenant: tenant.to_owned(), date: date.parse().unwrap(), pool: None, as_of: None }
}

#[tokio::test]
async fn an_amount_is_recomputed_from_pool_weight_and_ratio() {
    let mut store = Store::new().await;
    store.post(&two_tenants(), &two_tenants()).await;
    let explained = store.engine.explain(&TenantScope::All, &query("globex", "2026-11-01")).await.unwrap();
    let pool = &explained.pools[0];
    let (component, cell) = (&pool.components[0], &pool.components[0].cells[0]);
    assert_eq!(component.pool_amount, Some(parse_atoms("100.00").unwrap().atoms));
    assert_eq!((cell.ratio.as_deref(), cell.rounding_atom), (Some("2/3"), Some(true)));
    assert_eq!((cell.matches, pool.matches, pool.tenants), (Some(true), Some(true), Some(2)));
    assert_eq!((pool.changes.len(), pool.changes[0].posting), (1, 1));
    assert_eq!(pool.changes[0].cause.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_number_that_does_not_match_says_so() {
    let mut store = Store::new().await;
    let mut wrong = two_tenants();
    (wrong[0].amount, wrong[1].amount) = (wrong[0].amount + 1, wrong[1].amount - 1);
    store.post(&wrong, &two_tenants()).await;
    let explained = store.engine.explain(&TenantScope::All, &query("acme", "2026-11-01")).await.unwrap();
    assert_eq!(explained.pools[0].matches, Some(false));
}

#[tokio::test]
async fn t8_in_a_pool_of_two_a_tenant_learns_nothing_of_the_other() {
    let mut store = Store::with(Settings { disclose_pools: true, ..Settings::default() }).await;
    store.post(&two_tenants(), &two_tenants()).await;
    let own = store.engine.explain(&only("acme"), &query("acme", "2026-11-01")).await.unwrap();
    let told = format!("{own:?}");
    let globex = two_tenants()[1].amount.to_string();
    let pool = parse_atoms("100.00").unwrap().atoms.to_string();
    for secret in ["globex", &globex, &pool, "1/3"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    let cell = &own.pools[0].components[0].cells[0];
    assert_eq!((cell.weight, cell.rounding_atom, own.pools[0].tenants), (None, None, None));
    assert_eq!((own.pools[0].matches, cell.quantity), (Some(true), two_tenants()[0].quantity));
}

#[tokio::test]
async fn a_foreign_and_a_missing_tenant_are_the_same() {
    let mut store = Store::new().await;
    store.post(&two_tenants(), &two_tenants()).await;
    for tenant in ["globex", "nobody"] {
        let refused = store.engine.explain(&only("acme"), &query(tenant, "2026-11-01")).await.unwrap_err();
        assert!(matches!(refused, EngineError::TenantNotFound(_)));
    }
    let missing = store.engine.explain(&TenantScope::All, &query("acme", "2026-11-09")).await.unwrap_err();
    assert!(matches!(missing, EngineError::NotAttributed { .. }));
}
