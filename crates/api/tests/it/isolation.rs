//! A tenant's answers are a function of its own data: nothing from which a neighbour's cost follows.

use crate::app::{POLICY, TestApp};

const DAY: &str = "2026-11-18";

/// A pool in which acme pays 50.00 whatever the others do.
async fn world(total: &str, others: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", DAY, total)]).await;
    let mut used = vec![("shared-west-us", "acme", DAY, "cpu_core_hours", "10")];
    used.extend(others.iter().map(|(tenant, quantity)| ("shared-west-us", *tenant, DAY, "cpu_core_hours", *quantity)));
    app.given_usage(&used).await;
    app.given_run("2026-11-10", DAY).await;
    app
}

/// Every question that a tenant may ask, in many forms.
fn questions() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/explain?tenant=acme&date=2026-11-18",
        "/explain?tenant=acme&date=2026-11-18&pool=shared-west-us",
        "/cost-attribution/tenant/acme/breakdown",
        "/cost-attribution/tenant/acme/breakdown?cluster=shared-west-us",
        "/cost-attribution/tenant/acme/trend",
        "/costs?key=acme",
        "/costs/changes",
        "/costs/changes?tenant=acme&range=2026-11-18",
        "/costs/changes?range=2026-11-17&compare=2026-11-18",
    ]
    .map(str::to_owned)
    .to_vec();
    let groups = [
        "tenant",
        "pool",
        "cluster",
        "pool,meter",
        "tier,status,basis,memo",
        "charge_category",
        "category,user",
        "plan,parent",
    ];
    for group in groups {
        for more in [
            "",
            "&compare=prev",
            "&granularity=day",
            "&measure=billed_amount&currency=USD",
            "&round=minor",
            "&filter=memo:true",
            "&filter=-tenant:x*",
            "&names=true",
        ] {
            paths.push(format!("/costs?group_by={group}{more}"));
        }
    }
    paths
}

#[tokio::test]
async fn t8_two_worlds_that_differ_in_the_neighbour_only_look_the_same_to_a_tenant() {
    // Whatever the others use, the pool costs 5.00 for each of the hours used.
    let worlds = [
        world("100.00", &[("globex", "10")]).await,
        world("200.00", &[("globex", "30")]).await,
        world("60.00", &[("initech", "2")]).await,
        world("50.000005", &[("globex", "0.000001")]).await,
        world("5000050.00", &[("globex", "1000000")]).await,
        world("115.00", &[("globex", "10"), ("initech", "3")]).await,
    ];
    let mut tokens = Vec::new();
    for app in &worlds {
        tokens.push(app.token("tenant_viewer", &["acme"]).await);
    }
    for path in questions() {
        let first = worlds[0].get_as(&tokens[0], &path).await.expect(200);
        assert!(
            !path.starts_with("/costs?group_by=tenant") || path.contains("memo:true") || first.text.contains("50.00"),
            "{path}: {}",
            first.text
        );
        for (app, token) in worlds.iter().zip(&tokens).skip(1) {
            let other = app.get_as(token, &path).await.expect(200);
            assert_eq!(first.text, other.text, "{path}");
            assert_eq!(first.header("etag"), other.header("etag"), "{path}");
        }
    }
}

#[tokio::test]
async fn t8_the_percent_of_a_pool_that_is_not_disclosed_tells_nothing_of_what_it_costs() {
    // acme pays 60.00 in both worlds, globex 40.00 or 140.00.
    let mut told: Vec<Vec<String>> = Vec::new();
    for (own, other, total) in [("60", "40", "100.00"), ("30", "70", "200.00")] {
        let app = TestApp::start().await;
        let split = format!(r#"{{ method = "fixed", percent = {{ acme = "{own}", globex = "{other}" }} }}"#);
        let pool = format!("[[pool]]\nname = \"agreed\"\nselect = {{}}\nsplit = {split}\n");
        app.given_policy(&format!("version = \"agreed\"\nvalid_from = 2020-01-01\n{pool}")).await;
        app.given_bill("aws", &[("shared-west-us", DAY, total)]).await;
        app.given_usage(&[("shared-west-us", "acme", DAY, "cpu_core_hours", "1")]).await;
        app.given_run("2026-11-10", DAY).await;
        let token = app.token("tenant_viewer", &["acme"]).await;
        let mut texts = Vec::new();
        for path in ["/explain?tenant=acme&date=2026-11-18", "/costs/changes", "/costs?group_by=pool"] {
            texts.push(app.get_as(&token, path).await.expect(200).text);
        }
        assert!(texts[0].contains("60.00"), "{}", texts[0]);
        told.push(texts);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn t3_a_foreign_tenant_looks_like_a_missing_one() {
    let app = world("100.00", &[("globex", "10")]).await;
    let token = app.token("tenant_owner", &["acme"]).await;
    let asked = |name: &str| {
        [
            format!("/costs?filter=tenant:{name}"),
            format!("/explain?tenant={name}&date={DAY}"),
            format!("/costs/changes?tenant={name}&range={DAY}"),
            format!("/cost-attribution/tenant/{name}/breakdown"),
            format!("/cost-attribution/tenant/{name}/trend"),
        ]
    };
    for (foreign, missing) in asked("globex").into_iter().zip(asked("nobody")) {
        let one = app.get_as(&token, &foreign).await.expect_problem(404, "tenant_not_found");
        let other = app.get_as(&token, &missing).await.expect_problem(404, "tenant_not_found");
        assert_eq!(one["detail"].as_str().unwrap().replace("globex", "nobody"), other["detail"].as_str().unwrap());
        assert_eq!((&one["title"], &one["errors"]), (&other["title"], &other["errors"]));
    }
}

#[tokio::test]
async fn t3_nothing_of_a_neighbour_is_in_any_answer() {
    let app = world("200.00", &[("globex-canary", "30")]).await;
    let token = app.token("tenant_viewer", &["acme"]).await;
    for facts in api::route_facts().into_iter().filter(|facts| facts.method == "GET") {
        let path =
            facts.path.replace("{tenantId}", "acme").replace("{clusterName}", "shared-west-us").replace("{id}", "x");
        if facts.access == api::Access::Public {
            continue;
        }
        let answer = app.call("GET", &path, Some(&token), "", "").await;
        for secret in ["globex-canary", "150.00", "200.00"] {
            assert!(!answer.text.contains(secret), "{secret} in {path}: {}", answer.text);
        }
    }
}
