use super::given::{Store, days};
use super::lake::{BillLine, bill_line, import, run};
use engine::EngineError;
use engine::publish::Moved;
use storage::catalog::{Publication, Published, RuleKind};

fn policy(version: &str, from: &str, provider: &str) -> String {
    format!(
        "version = '{version}'\nvalid_from = {from}\n[[tenant_rule]]\nwhen = {{}}\ntenant = 'acme'\n\
         [[pool]]\nname = 'a'\nselect = {{ provider = '{provider}' }}\nsplit = {{ method = 'direct' }}\n"
    )
}

fn card(version: &str, meter: &str, price: &str) -> String {
    format!(
        "version = '{version}'\ncurrency = 'USD'\nvalid_from = 2026-11-01\n[[price]]\nmeter = '{meter}'\nprice = '{price}'\n"
    )
}

#[tokio::test]
async fn publishing_into_the_past_tells_which_days_and_tenants_it_moves() {
    let store = Store::new().await;
    let publish = async |version: &str, from: &str, provider: &str| {
        store.engine.publish_policy(&policy(version, from, provider), "policy.toml").await.unwrap()
    };
    assert_eq!(publish("v1", "2026-11-01", "A").await.moved, Moved::default());
    import(&store, &["2026-11-10", "2026-11-11", "2026-11-13"].map(|day| bill_line(day, "A", "1.00"))).await;
    run(&store, "2026-11-10", "2026-11-11").await;
    run(&store, "2026-11-13", "2026-11-13").await;

    let later = publish("v2", "2026-11-11", "B").await;
    assert!(later.into_the_past);
    assert_eq!(later.moved.days, [days("2026-11-11", "2026-11-11"), days("2026-11-13", "2026-11-13")]);
    assert_eq!((later.moved.tenants, later.moved.tenants_total), (vec!["acme".to_owned()], 1));
    let until_v2 = publish("v3", "2026-11-02", "B").await;
    assert_eq!(until_v2.moved.days, [days("2026-11-10", "2026-11-10")]);
    assert_eq!(publish("v3", "2026-11-02", "B").await.moved, Moved::default());
    assert_eq!(publish("v4", "2026-12-01", "B").await.moved, Moved::default());
}

#[tokio::test]
async fn a_used_version_is_the_same_whatever_its_comments_and_layout() {
    let store = Store::new().await;
    let text = policy("v1", "2026-11-01", "A");
    store.engine.publish_policy(&text, "policy.toml").await.unwrap();
    import(&store, &[bill_line("2026-11-10", "A", "1.00")]).await;
    run(&store, "2026-11-10", "2026-11-10").await;
    let publish = async |text: &str| store.engine.publish_policy(text, "policy.toml").await;
    for same in [format!("# why\n{text}"), text.replace("2026-11-01", "'2026-11-01'")] {
        assert_eq!(publish(&same).await.unwrap().outcome, Published::Unchanged, "{same}");
    }
    let other = publish(&policy("v1", "2026-11-01", "B")).await;
    assert!(matches!(other, Err(EngineError::VersionInUse { .. })), "{other:?}");
}

#[tokio::test]
async fn a_version_of_an_older_store_keeps_the_hash_of_its_text() {
    let store = Store::new().await;
    let text = policy("v1", "2026-11-01", "A");
    let older = Publication {
        version: "v1".to_owned(),
        valid_from: "2026-11-01".to_owned(),
        body: text.clone(),
        format: "toml".to_owned(),
        sha256: "hash-of-the-text".to_owned(),
    };
    store.engine.catalog().publish_rule(RuleKind::Policy, &older, 1).await.unwrap();
    let again = store.engine.publish_policy(&text, "policy.toml").await.unwrap();
    assert_eq!(again.outcome, Published::Unchanged);
    assert_eq!(store.engine.policy("v1").await.unwrap().0.sha256, "hash-of-the-text");
}

#[tokio::test]
async fn a_price_a_hundred_times_away_is_refused_also_when_an_unused_card_is_replaced() {
    let store = Store::new().await;
    let publish = async |version: &str, meter: &str, price: &str| {
        store.engine.publish_rate_card(&card(version, meter, price), "rates.toml", false).await
    };
    publish("one", "api_call", "1").await.unwrap_err();
    store.engine.publish_rate_card(&card("one", "api_call", "1"), "rates.toml", true).await.unwrap();
    publish("two", "api_call_count_24h", "2").await.unwrap();
    let mistaken = publish("two", "api_call_count_24h", "150").await;
    assert!(matches!(mistaken, Err(EngineError::SuspiciousPrice(_))), "{mistaken:?}");
    assert_eq!(publish("two", "api_call_count_24h", "99").await.unwrap().outcome, Published::Replaced);
}

#[tokio::test]
async fn a_counter_has_no_price_per_time() {
    let store = Store::new().await;
    let with_per = |meter: &str, per: &str| format!("{}per = '{per}'\n", card("c", meter, "1"));
    let check = async |meter: &str, per: &str| {
        store.engine.validate_rate_card(&with_per(meter, per), "rates.toml").await.map_err(|error| error.to_string())
    };
    for per in ["hour", "day", "month"] {
        let refused = check("llm_tokens", per).await.unwrap_err();
        assert!(refused.contains("llm_tokens is a counter"), "{refused}");
        check("member_count", per).await.unwrap();
    }
    check("llm_tokens", "unit").await.unwrap();
}

#[tokio::test]
async fn a_pool_that_would_recover_two_currencies_is_told_before_it_is_run() {
    let store = Store::new().await;
    let euros = BillLine { currency: "EUR", ..bill_line("2026-11-10", "A", "2.00") };
    import(&store, &[bill_line("2026-11-10", "A", "1.00"), euros, bill_line("2026-11-10", "B", "1.00")]).await;
    let text = "version = 'v'\nvalid_from = 2026-11-01\n\
                [[pool]]\nname = 'a'\nrecovers = { provider = 'A' }\nsplit = { method = 'rated', meters = ['llm_tokens'] }\n\
                [[pool]]\nname = 'b'\nrecovers = { provider = 'B' }\nsplit = { method = 'rated', meters = ['mcp_reads'] }\n";
    let policy = store.engine.validate_policy(text, "policy.toml").unwrap();
    let range = days("2026-11-10", "2026-11-10");
    let refused: Vec<Option<&str>> =
        store.engine.selection_all_tenants(&policy, range).await.unwrap().iter().map(|found| found.refused).collect();
    assert_eq!(refused, [Some("currency_mixed"), Some("currency_mixed"), None]);
}
