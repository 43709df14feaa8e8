//! The worked example of the specification, digit by digit, with a second cluster beside it.

use crate::app::{POLICY, TestApp};
use serde_json::{Value, json};

const DAY: &str = "2026-11-18";

/// Quantities of the worked example; the other cluster uses the same meters and one of the tenants.
async fn example() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", DAY, "100.00"), ("shared-east", DAY, "70.00")]).await;
    let used = |cluster, tenant, quantities: [&'static str; 4]| {
        let meters = ["cpu_core_hours", "memory_gib_hours", "storage_gib_hours", "network_gib"];
        meters.into_iter().zip(quantities).map(move |(meter, quantity)| (cluster, tenant, DAY, meter, quantity))
    };
    let west = used("shared-west-us", "acme", ["10", "40", "100", "2"]);
    let west = west.chain(used("shared-west-us", "globex", ["30", "20", "50", "8"]));
    app.given_usage(&west.collect::<Vec<_>>()).await;
    let other = [("shared-east", "acme", "999"), ("shared-east", "initech", "1")];
    let other = other.map(|(cluster, tenant, cpu)| (cluster, tenant, DAY, "cpu_core_hours", cpu));
    // Ids are per tenant, source and id; the source is the cluster.
    app.given_usage(&other).await;
    app
}

/// The text of a JSON number, as it was printed.
fn printed(value: &Value) -> String {
    assert!(value.is_number(), "{value} is no number");
    value.to_string()
}

#[tokio::test]
async fn the_worked_example_comes_out_digit_by_digit() {
    let app = example().await;
    let answer =
        app.post(&format!("/cost-attribution/cluster/shared-west-us/attribute?date={DAY}"), &Value::Null).await;
    let body = answer.expect(200).json();
    assert_eq!(
        body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["clusterName", "date", "totalCost", "currency", "weights", "tenants", "idleCost", "unattributedCost"]
    );
    assert_eq!((body["clusterName"].as_str(), body["date"].as_str()), (Some("shared-west-us"), Some(DAY)));
    assert_eq!(printed(&body["totalCost"]), "100.00");
    assert_eq!([printed(&body["idleCost"]), printed(&body["unattributedCost"])], ["0.00", "0.00"]);
    let weights = ["cpu", "memory", "storage", "network"].map(|name| printed(&body["weights"][name]));
    assert_eq!(weights, ["0.50", "0.30", "0.15", "0.05"]);
    let expected = [
        (
            "acme",
            "52.622950819672131",
            "52.622951",
            ["27.868852459016394", "24.590163934426229", "0.163934426229508", "0.00"],
        ),
        (
            "globex",
            "47.377049180327869",
            "47.377049",
            ["34.426229508196721", "12.295081967213115", "0.655737704918033", "0.00"],
        ),
    ];
    for (tenant, (id, cost, percentage, parts)) in body["tenants"].as_array().unwrap().iter().zip(expected) {
        assert_eq!(tenant["tenantId"], id);
        assert_eq!([printed(&tenant["cost"]), printed(&tenant["percentage"])], [cost, percentage]);
        let breakdown = ["compute", "storage", "network", "other"].map(|part| printed(&tenant["breakdown"][part]));
        assert_eq!(breakdown, parts);
    }
    assert_eq!(printed(&body["tenants"][0]["usage"]["storage"]), "100.00");
}

#[tokio::test]
async fn all_shared_clusters_are_attributed_and_listed_by_name() {
    let app = example().await;
    let body = app.post(&format!("/cost-attribution/all/attribute?date={DAY}"), &Value::Null).await.expect(200).json();
    let names: Vec<&str> = body.as_array().unwrap().iter().map(|one| one["clusterName"].as_str().unwrap()).collect();
    assert_eq!(names, ["shared-east", "shared-west-us"]);
    assert_eq!(printed(&body[0]["tenants"][0]["cost"]), "69.93");
}

#[tokio::test]
async fn breakdown_trend_and_comparison_agree_with_it() {
    let app = example().await;
    app.given_run(DAY, DAY).await;
    let own = app.token("tenant_viewer", &["acme"]).await;
    let path = "/cost-attribution/tenant/acme/breakdown?startDate=2026-11-17&endDate=2026-11-20&cluster=shared-west-us";
    let body = app.get_as(&own, path).await.expect(200).json();
    assert_eq!(body["period"], json!({ "start": "2026-11-17T00:00:00Z", "end": "2026-11-20T00:00:00Z" }));
    assert_eq!(printed(&body["totalCost"]), "52.622950819672131");
    assert_eq!(printed(&body["breakdown"]["compute"]), "27.868852459016394");
    let days: Vec<String> = body["dailyCosts"].as_array().unwrap().iter().map(|day| printed(&day["cost"])).collect();
    assert_eq!(days, ["0.00", "52.622950819672131", "0.00"]);

    let trend = app
        .get_as(&own, "/cost-attribution/tenant/acme/trend?periods=3&cluster=shared-west-us")
        .await
        .expect(200)
        .json();
    assert_eq!(trend[0], serde_json::from_str::<Value>(r#"{"date":"2026-11-17","cost":0.00,"change":null}"#).unwrap());
    assert_eq!(printed(&trend[1]["change"]), "52.622950819672131");
    assert_eq!(printed(&trend[2]["change"]), "-52.622950819672131");

    let path = format!("/cost-attribution/cluster/shared-west-us/comparison?date={DAY}");
    let body = app.get(&path).await.expect(200).json();
    let first = &body["tenants"][0];
    assert_eq!((first["rank"].as_u64(), first["tenantId"].as_str()), (Some(1), Some("acme")));
    assert_eq!(printed(&first["costPercentage"]), "52.622951");
    assert_eq!(printed(&first["usagePercentage"]["cpu"]), "25.000000");
}

#[tokio::test]
async fn a_cluster_that_cannot_be_run_is_refused_by_itself_and_left_out_of_the_list() {
    let app = example().await;
    app.post(&format!("/cost-attribution/all/attribute?date={DAY}"), &Value::Null).await.expect(200);
    // Another bill of one of the clusters, in a currency that has no rate.
    let euros = crate::app::bill(&[("shared-west-us", DAY, "7.00")]).replace(",USD,", ",EUR,");
    let path = "/api/v1/cost-lines/imports?source=other";
    app.call("POST", path, Some(&app.admin), "text/csv", &euros).await.expect(200);

    let one = format!("/cost-attribution/cluster/shared-west-us/attribute?date={DAY}");
    app.post(&one, &Value::Null).await.expect_problem(422, "fx_missing");
    let all = app.post(&format!("/cost-attribution/all/attribute?date={DAY}"), &Value::Null).await.expect(200).json();
    let names: Vec<&Value> = all.as_array().unwrap().iter().map(|one| &one["clusterName"]).collect();
    assert_eq!(names, ["shared-east"]);
}

#[tokio::test]
async fn a_pool_that_was_not_run_is_refused_whatever_the_reason() {
    let app = TestApp::start().await;
    let recovering = POLICY.to_owned()
        + "[[pool]]\nname = \"mixed\"\nkind = \"cluster\"\nrecovers = { tags.cluster = \"mixed\" }\nsplit = { method = \"rated\", meters = [\"api_call_count_24h\"] }\n";
    app.given_policy(&recovering).await;
    app.given_bill("aws", &[("mixed", DAY, "1.00")]).await;
    let euros = crate::app::bill(&[("mixed", DAY, "1.00")]).replace(",USD,", ",EUR,");
    let path = "/api/v1/cost-lines/imports?source=other";
    app.call("POST", path, Some(&app.admin), "text/csv", &euros).await.expect(200);
    let answer = app.post(&format!("/cost-attribution/cluster/mixed/attribute?date={DAY}"), &Value::Null).await;
    answer.expect_problem(422, "currency_mixed");
}

#[tokio::test]
async fn lists_of_clusters_and_days_also_come_as_csv() {
    let app = example().await;
    let all = app.csv("POST", &format!("/cost-attribution/all/attribute?date={DAY}")).await.expect(200);
    let lines: Vec<&str> = all.text.split("\r\n").collect();
    assert!(lines[0].starts_with("clusterName,date,totalCost,currency,weights,tenants,idleCost"), "{}", lines[0]);
    assert!(lines[1].starts_with("shared-east,2026-11-18,70.00,USD,"), "{}", lines[1]);
    let trend = app.csv("GET", "/cost-attribution/tenant/acme/trend?periods=3&cluster=shared-east").await.expect(200);
    assert_eq!(
        trend.text,
        "date,cost,change\r\n2026-11-17,0.00,\r\n2026-11-18,69.93,69.93\r\n2026-11-19,0.00,-69.93\r\n"
    );
}

#[tokio::test]
async fn days_and_clusters_that_are_not_there_say_so() {
    let app = example().await;
    let attribute = async |cluster: &str, date: &str| {
        app.post(&format!("/cost-attribution/cluster/{cluster}/attribute?date={date}"), &Value::Null).await
    };
    attribute("shared-north", DAY).await.expect_problem(404, "cluster_not_found");
    attribute("shared-west-us", "2026-11-21").await.expect_problem(400, "invalid_parameter");
    attribute("shared-west-us", "yesterday").await.expect_problem(400, "invalid_parameter");
    let path = "/cost-attribution/cluster/shared-west-us/comparison?date=2026-11-10";
    app.get(path).await.expect_problem(404, "not_attributed");
}
