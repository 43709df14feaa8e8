use super::given::{Given, Store, days, given, only};
use super::lake::{BillLine, Used, bill_line, import, measure, run};
use domain::money::parse_atoms;
use domain::policy::Method;
use domain::{Currency, TenantScope};
use engine::periods::CloseRequest;
use engine::query::explain::{ExplainedCell, ExplainedPool, RecomputedFrom};
use engine::query::{CostChangesQuery, ExplainQuery};
use engine::{EngineError, Settings};
use storage::catalog::{ALWAYS, NewFxRate, NewTenantAlias, NewTenantFact};

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
async fn t8_where_one_component_is_of_two_nothing_of_a_pool_of_five_is_told() {
    let mut store = Store::with(Settings { disclose_pools: true, ..Settings::default() }).await;
    let mut all = ["acme", "b", "c", "d", "e"].map(|tenant| given("2026-11-01", "west", tenant, "10.00")).to_vec();
    store.post(&all, &all).await;
    let (pool, is_told) = told_of_west(&store).await;
    assert_eq!((pool.disclosed, pool.tenants, is_told), (true, Some(5), true));
    assert_eq!(pool.components[0].pool_amount, Some(parse_atoms("50.00").unwrap().atoms));

    let euros =
        ["acme", "b"].map(|tenant| Given { currency: Currency::EUR, ..given("2026-11-01", "west", tenant, "7.00") });
    all.extend(euros.clone());
    store.post(&euros, &all).await;
    let (pool, is_told) = told_of_west(&store).await;
    assert_eq!((pool.disclosed, pool.tenants, is_told), (false, None, false));
    assert_eq!(pool.components.iter().map(|component| component.pool_amount).collect::<Vec<_>>(), [None, None]);
}

/// What acme is told of the pool, and whether `costs/changes` tells the others apart.
async fn told_of_west(store: &Store) -> (ExplainedPool, bool) {
    let explained = store.engine.explain(&only("acme"), &query("acme", "2026-11-01")).await.unwrap();
    let (range, compare) = (days("2026-11-01", "2026-11-01"), days("2026-10-31", "2026-10-31"));
    let query = CostChangesQuery { range, compare, tenant: None, as_of: None };
    let changes = store.engine.cost_changes(&only("acme"), &query).await.unwrap();
    (explained.pools[0].clone(), changes.pools[0].disclosed)
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

#[tokio::test]
async fn the_rule_that_stands_is_explained_not_the_one_before() {
    let mut store = Store::new().await;
    store.post(&two_tenants(), &two_tenants()).await;
    let taken_back = two_tenants().into_iter().map(|entry| Given {
        amount: -entry.amount,
        weight: None,
        quantity: entry.quantity.map(|quantity| -quantity),
        ..entry
    });
    let even = ["acme", "globex"].map(|tenant| Given {
        method: Method::Even,
        weight: Some(domain::money::ATOMS_PER_UNIT),
        ..given("2026-11-01", "west", tenant, "50.00")
    });
    store.post(&taken_back.chain(even.clone()).collect::<Vec<_>>(), &even).await;
    let explained = store.engine.explain(&TenantScope::All, &query("acme", "2026-11-01")).await.unwrap();
    let pool = &explained.pools[0];
    assert_eq!((pool.method.as_str(), pool.matches, pool.cost), ("even", Some(true), even[0].amount));
    let cells = &pool.components[0].cells;
    assert_eq!((cells.len(), cells[0].ratio.as_deref(), cells[0].quantity), (1, Some("1/2"), None));
    assert_eq!(pool.changes.len(), 2);
}

#[tokio::test]
async fn usage_below_nothing_is_named_as_the_reason() {
    let mut store = Store::new().await;
    let negative = Given { quantity: Some(-5), weight: Some(0), ..given("2026-11-01", "west", "acme", "0") };
    let all = Given { quantity: Some(5), weight: Some(1), ..given("2026-11-01", "west", "globex", "9.00") };
    store.post(&[negative.clone(), all.clone()], &[negative, all]).await;
    let explained = store.engine.explain(&TenantScope::All, &query("acme", "2026-11-01")).await.unwrap();
    let cell = &explained.pools[0].components[0].cells[0];
    assert_eq!((cell.reason.as_deref(), cell.matches), (Some("negative_driver"), Some(true)));
}

const DAY: &str = "2026-11-18";

fn used(tenant: &'static str, meter: &'static str, units: i128) -> Used {
    Used { day: DAY, tenant, cluster: "west", meter, quantity: units * 1_000_000_000 }
}

async fn check_all_match(store: &Store, tenants: &[&str]) {
    for tenant in tenants {
        let explained = store.engine.explain(&TenantScope::All, &query(tenant, DAY)).await.unwrap();
        assert_eq!(explained.pools[0].matches, Some(true), "{explained:?}");
    }
}

#[tokio::test]
async fn shares_of_own_lines_are_recomputed_from_what_the_run_read() {
    let policy = "version = 'v1'\nvalid_from = 2026-11-01\n[[tenant_rule]]\nwhen = { tags.cluster = '*' }\n\
                  tenant = '{tags.cluster}'\n[[pool]]\nname = 'own'\nselect = {}\nsplit = { method = 'direct' }\n";
    let store = Store::new().await;
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    let of = |tenant, amount| BillLine { cluster: Some(tenant), ..bill_line(DAY, "AWS", amount) };
    let unmapped = bill_line(DAY, "AWS", "7.00");
    import(&store, &[of("acme", "60.00"), of("acme", "1.50"), of("globex", "40.00"), unmapped]).await;
    run(&store, DAY, DAY).await;
    check_all_match(&store, &["acme", "globex", "__unattributed__"]).await;

    // What arrived or was entered after the run explains nothing of what it posted.
    import(&store, &[of("acme", "5.00")]).await;
    let alias = NewTenantAlias {
        alias: "acme".to_owned(),
        tenant: Some("globex".to_owned()),
        valid_from: ALWAYS.to_owned(),
        valid_to: None,
    };
    let now = store.engine.clock().now().micros();
    store.engine.catalog().put_tenant(&NewTenantFact::system("globex"), &[alias], now).await.unwrap();
    check_all_match(&store, &["acme", "globex", "__unattributed__"]).await;
}

#[tokio::test]
async fn a_pool_that_the_last_run_could_not_run_is_explained_by_what_its_own_run_knew() {
    let policy = "version = 'v1'\nvalid_from = 2026-11-01\n[[pool]]\nname = 'estimate'\n\
                  split = { method = 'rated', meters = ['llm_tokens'] }\n[[pool]]\nname = 'west'\nselect = {}\n\
                  split = { method = 'proportional', meter = 'llm_tokens' }\n";
    let card = |version: &str, meter: &str| {
        format!(
            "version = '{version}'\ncurrency = 'USD'\nvalid_from = 2026-11-01\n[[price]]\nmeter = '{meter}'\nprice = '2'\n"
        )
    };
    let store = Store::new().await;
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    store.engine.publish_rate_card(&card("priced", "llm_tokens"), "rates.toml", true).await.unwrap();
    import(&store, &[bill_line(DAY, "AWS", "100.00")]).await;
    measure(&store, &[used("acme", "llm_tokens", 1), used("globex", "llm_tokens", 6)]).await;
    run(&store, DAY, DAY).await;

    store.clock.set("2026-11-20T13:00:00Z".parse().unwrap());
    let alias = NewTenantAlias {
        alias: "acme".to_owned(),
        tenant: Some("globex".to_owned()),
        valid_from: ALWAYS.to_owned(),
        valid_to: None,
    };
    let now = store.engine.clock().now().micros();
    store.engine.catalog().put_tenant(&NewTenantFact::system("globex"), &[alias], now).await.unwrap();
    store.engine.publish_rate_card(&card("without", "log_queries"), "rates.toml", true).await.unwrap();
    assert_eq!(run(&store, DAY, DAY).await.not_run, 1, "its usage has no price any more");

    for tenant in ["acme", "globex"] {
        let explained = store.engine.explain(&TenantScope::All, &query(tenant, DAY)).await.unwrap();
        let of = |name: &str| explained.pools.iter().find(|pool| pool.pool == name).unwrap();
        assert_eq!(of("estimate").matches, Some(true), "{tenant}: {:?}", of("estimate"));
        assert_ne!(of("west").matches, Some(false), "{tenant}: {:?}", of("west"));
    }
}

#[tokio::test]
async fn shares_by_resource_are_recomputed_from_what_was_measured() {
    let policy = "version = 'v1'\nvalid_from = 2026-11-01\n[[pool]]\nname = 'west'\nkind = 'cluster'\n\
                  select = { tags.cluster = 'west' }\ncapacity = { cpu_core_hours = '1' }\n\
                  split = { method = 'weighted', normalize = 'resource_share', weights = { cpu_core_hours = '1', memory_gib_hours = '1' } }\n";
    let store = Store::new().await;
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    import(&store, &[BillLine { cluster: Some("west"), ..bill_line(DAY, "AWS", "100.00") }]).await;
    let measured = [
        used("acme", "cpu_core_hours", 1),
        used("globex", "cpu_core_hours", 6),
        used("acme", "memory_gib_hours", 1),
        used("globex", "memory_gib_hours", 2),
    ];
    measure(&store, &measured).await;
    run(&store, DAY, DAY).await;
    check_all_match(&store, &["acme", "globex", "__idle__"]).await;
}

#[tokio::test]
async fn what_is_recovered_in_another_currency_than_the_cards_matches() {
    let policy = "version = 'v1'\nvalid_from = 2026-11-01\n[[pool]]\nname = 'llm'\n\
                  recovers = { provider = 'Anthropic' }\nsplit = { method = 'rated', meters = ['llm_tokens'] }\n";
    let card = "version = 'e1'\ncurrency = 'EUR'\nvalid_from = 2026-11-01\n[[price]]\nmeter = 'llm_tokens'\nprice = '0.333333'\n";
    let store = Store::new().await;
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    store.engine.publish_rate_card(card, "rates.toml", false).await.unwrap();
    let rate = NewFxRate {
        day: DAY.to_owned(),
        from_currency: "EUR".to_owned(),
        to_currency: "USD".to_owned(),
        rate: "1.0937".to_owned(),
        source: "ecb".to_owned(),
    };
    store.engine.catalog().put_fx_rates(&[rate], store.engine.clock().now().micros()).await.unwrap();
    import(&store, &[bill_line(DAY, "Anthropic", "10.00")]).await;
    measure(&store, &[used("acme", "llm_tokens", 1), used("globex", "llm_tokens", 6)]).await;
    run(&store, DAY, DAY).await;
    check_all_match(&store, &["acme", "globex"]).await;
}

#[tokio::test]
async fn a_share_that_differs_by_a_noted_correction_names_it_and_is_not_called_wrong() {
    let policy = "version = 'v1'\nvalid_from = 2026-11-01\n[[pool]]\nname = 'shared'\nselect = {}\n\
                  split = { method = 'proportional', meter = 'cpu_core_hours' }\n";
    let store = Store::new().await;
    store.engine.publish_policy(policy, "policy.toml").await.unwrap();
    import(&store, &[bill_line(DAY, "AWS", "100.00")]).await;
    let measured = [("acme", 150), ("globex", 49), ("initech", 1)];
    measure(&store, &measured.map(|(tenant, units)| used(tenant, "cpu_core_hours", units))).await;
    run(&store, DAY, DAY).await;
    store.clock.set("2026-12-05T12:00:00Z".parse().unwrap());
    let close = CloseRequest {
        month: "2026-11".parse().unwrap(),
        force: true,
        reason: Some("a test".to_owned()),
        requested_by: "finance".to_owned(),
        request: None,
    };
    store.engine.close_period(&close).await.unwrap();
    let alias = NewTenantAlias {
        alias: "initech".to_owned(),
        tenant: Some("acme".to_owned()),
        valid_from: ALWAYS.to_owned(),
        valid_to: None,
    };
    let now = store.engine.clock().now().micros();
    store.engine.catalog().put_tenant(&NewTenantFact::system("acme"), &[alias], now).await.unwrap();
    assert_eq!(run(&store, DAY, DAY).await.posting, None, "50 cents are too small to be posted");

    let half = parse_atoms("0.50").unwrap().atoms;
    for (tenant, correction) in [("acme", Some(half)), ("initech", Some(-half)), ("globex", None)] {
        let scopes = [TenantScope::All, only(tenant)];
        for scope in &scopes {
            let explained = store.engine.explain(scope, &query(tenant, DAY)).await.unwrap();
            let pool = &explained.pools[0];
            let noted = pool.pending_correction.as_ref().map(|noted| (noted.consumer.as_str(), noted.amount_reporting));
            assert_eq!(noted, correction.map(|atoms| (tenant, atoms)), "{pool:?}");
            assert_eq!(pool.matches, Some(true), "{pool:?}");
            let from_inputs = |cell: &ExplainedCell| cell.recomputed_from.contains(&RecomputedFrom::Inputs);
            assert_eq!(pool.components[0].cells.iter().any(from_inputs), correction.is_none(), "{pool:?}");
        }
    }
    // A state that is asked for does not know what was noted later.
    let closed = ExplainQuery { as_of: Some("posting:2".parse().unwrap()), ..query("acme", DAY) };
    let explained = store.engine.explain(&TenantScope::All, &closed).await.unwrap();
    assert_eq!(explained.pools[0].pending_correction, None);

    store.engine.sweep_periods("finance").await.unwrap();
    let explained = store.engine.explain(&TenantScope::All, &query("acme", DAY)).await.unwrap();
    assert_eq!((&explained.pools[0].pending_correction, explained.pools[0].matches), (&None, Some(true)));
}
