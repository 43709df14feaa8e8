//! Unit costs over events that were just sent and a ledger that was just posted.

use crate::app::TestApp;
use serde_json::{Value, json};

const POLICY: &str = r#"
version = "agents"
valid_from = 2026-01-01

[[pool]]
name = "llm"
tier = "direct"
split = { method = "rated", by = ["tenant", "workflow"], meters = ["llm_tokens"] }

[[pool]]
name = "gather"
tier = "amortized"
fixed = { provider = "own", amount = "3.00", currency = "USD", per = "day", from = 2026-11-18, to = 2026-11-18 }
split = { method = "proportional", by = ["tenant", "workflow"], meter = "repo_context_reads" }

[[pool]]
name = "temporal"
tier = "overhead"
fixed = { provider = "temporal", amount = "31.00", currency = "USD", per = "day", from = 2026-11-18, to = 2026-11-18 }

[[cap]]
task_class = "fix"
amount = "20.00"
per = "workflow"
"#;
const DAY: &str = "range=2026-11-18";

fn event(id: &str, kind: &str, tenant: &str, workflow: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/agents", "type": kind, "tenant": tenant, "workflow": workflow,
        "time": "2026-11-18T10:00:00Z", "data": data,
    })
}

async fn store() -> TestApp {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    let card = json!({ "version": "c", "currency": "USD", "valid_from": "2026-01-01",
        "price": [{ "meter": "llm_tokens", "price": "0.01", "per": "unit" }] });
    app.post("/rate-cards", &card).await.expect(201);
    let tokens = |id, tenant, workflow, repo: &str, tokens: u32| {
        event(id, "llm.completion", tenant, workflow, &json!({ "tokens": tokens, "repo": repo, "task_class": "fix" }))
    };
    let read = |id, tenant, workflow, reads: u32| {
        event(id, "repo_context_reads", tenant, workflow, &json!({ "value": reads }))
    };
    let events = json!([
        tokens("1", "acme", "w1", "web", 1000),
        tokens("2", "acme", "w2", "web", 500),
        tokens("3", "globex", "w3", "=api", 200),
        read("4", "acme", "w1", 2),
        read("5", "globex", "w3", 1),
        event("6", "pr.merged", "acme", "w1", &json!({})),
        event("7", "workflow.completed", "acme", "w1", &json!({ "status": "succeeded" })),
        event("8", "workflow.failed", "acme", "w2", &json!({})),
    ]);
    app.post("/events", &events).await.expect(200);
    app.given_run("2026-11-18", "2026-11-18").await;
    app
}

#[tokio::test]
async fn a_repo_has_both_ratios_and_overhead_stands_beside() {
    let app = store().await;
    let body = app.get(&format!("/unit-costs?{DAY}&by=repo")).await.expect(200).json();
    let web = &body["rows"][0];
    assert_eq!(web["key"], json!({ "repo": "web" }));
    for (name, value) in [
        ("cost", json!("17.00")),
        ("direct", json!("15.00")),
        ("amortized", json!("2.00")),
        ("overhead_share", Value::Null),
        ("memo_cost", json!("15.00")),
        ("pending", json!("0.00")),
        ("pending_share", json!("0.000000")),
        ("n", json!(1)),
        ("cost_per_merged_pr", json!("17.00")),
        ("workflows_completed", json!(1)),
        ("cost_per_completed_workflow", json!("17.00")),
        ("failed_cost", json!("5.00")),
        ("workflows_failed", json!(1)),
        ("in_progress_cost", json!("0.00")),
        ("by_category", json!({ "ai": "15.00", "other": "2.00" })),
    ] {
        assert_eq!(web[name], value, "{name}");
    }
    assert_eq!(web["series"][0]["week"], "2026-11-16");
    assert_eq!(web["series"][0]["cost_per_merged_pr"], "17.00");
    let totals = &body["totals"];
    assert_eq!((&totals["cost"], &totals["overhead"]), (&json!("20.00"), &json!("31.00")));
    assert_eq!((&totals["in_progress_cost"], &totals["without_workflow"]), (&json!("3.00"), &json!("0.00")));
    assert_eq!(body["caps"][0]["share_used"], "0.600000");
    assert_eq!((&body["caps"][0]["used"], &body["caps"][0]["workflow"]), (&json!("12.00"), &json!("w1")));
    let meta = &body["meta"];
    assert_eq!((&meta["cohort"], &meta["mode"], &meta["by"]), (&json!("period"), &json!("tiered"), &json!("repo")));
    assert_eq!((&meta["events_from"], &meta["posting"]), (&json!("2026-11-18"), &json!(1)));

    let marginal = app.get(&format!("/unit-costs?{DAY}&by=repo&mode=marginal")).await.expect(200).json();
    assert_eq!(
        (&marginal["rows"][0]["cost"], &marginal["rows"][0]["overhead_share"]),
        (&json!("43.35"), &json!("26.35"))
    );
    let ledger = app.get(&format!("/costs?{DAY}&group_by=workflow&filter=tier:direct,amortized%20memo:*")).await;
    assert_eq!(ledger.expect(200).json()["totals"]["cost"], totals["cost"], "the ledger says the same");
}

#[tokio::test]
async fn an_outcome_counts_with_its_acknowledgement() {
    let app = store().await;
    let asked = format!("/unit-costs?{DAY}&cohort=merged");
    let keys = async || {
        let body = app.get(&asked).await.expect(200).json();
        let row = |row: &Value| format!("{} {} {}", row["key"]["workflow"], row["cost"], row["n"]);
        body["rows"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, [r#""w1" "12.00" 1"#, r#""w2" "0.00" 0"#, r#""w3" "0.00" 0"#]);
    app.post("/events", &event("9", "pr.merged", "globex", "w3", &json!({}))).await.expect(200);
    assert_eq!(keys().await, [r#""w1" "12.00" 1"#, r#""w3" "3.00" 1"#, r#""w2" "0.00" 0"#]);
    let retraction = json!({ "specversion": "1.0", "id": "r", "source": "/agents", "type": "apportion.retract",
        "tenant": "globex", "data": { "source": "/agents", "id": "9" } });
    app.post("/events", &retraction).await.expect(200);
    assert_eq!(keys().await, [r#""w1" "12.00" 1"#, r#""w2" "0.00" 0"#, r#""w3" "0.00" 0"#]);
}

#[tokio::test]
async fn a_day_whose_cost_was_corrected_after_it_was_posted_names_the_postings() {
    let app = store().await;
    let restated = async |question: &str| {
        let body = app.get(&format!("/unit-costs?{DAY}&{question}")).await.expect(200).json();
        body["meta"]["restated"].clone()
    };
    assert_eq!(restated("by=repo").await, json!([]), "posted once");

    let late = event("late", "repo_context_reads", "globex", "w3", &json!({ "value": 1 }));
    app.post("/events", &late).await.expect(200);
    app.given_run("2026-11-18", "2026-11-18").await;
    let corrected = json!([{ "date": "2026-11-18", "times": 1, "postings": [2] }]);
    for by in ["workflow", "repo", "task_class"] {
        assert_eq!(restated(&format!("by={by}")).await, corrected, "{by}");
    }
    assert_eq!(restated("limit=1").await, corrected, "of all pages");
    assert_eq!(restated("mode=workflow_local").await, json!([]), "only what is amortized moved");
    assert_eq!(restated("cohort=merged").await, json!([]), "its weeks are not those of the cost");
    assert_eq!(restated("as_of=posting:1").await, json!([]), "as it was known then");
}

#[tokio::test]
async fn it_is_a_list_with_pages_and_csv_for_who_reads_all_costs() {
    let app = store().await;
    let page = app.get(&format!("/unit-costs?{DAY}&limit=2&sort=key")).await.expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let last = app.get(&format!("/unit-costs?{DAY}&limit=2&sort=key&cursor={cursor}")).await.expect(200).json();
    assert_eq!((&last["rows"][0]["key"]["workflow"], &last["next_cursor"]), (&json!("w3"), &Value::Null));
    assert_eq!(last["totals"], page["totals"]);

    let csv = app.csv("GET", &format!("/unit-costs?{DAY}&by=repo&sort=-key")).await.expect(200);
    let lines: Vec<&str> = csv.text.lines().collect();
    assert!(lines[0].starts_with(
        "repo,cost,direct,amortized,overhead_share,pending,pending_share,memo_cost,n,cost_per_merged_pr,"
    ));
    assert!(lines[1].starts_with("web,17.00,15.00,2.00,,0.00,0.000000,15.00,1,17.00,1,17.00,5.00,1,"), "{}", lines[1]);
    assert!(lines[2].starts_with("'=api,3.00,2.00,1.00,"), "a cell is never a formula: {}", lines[2]);

    app.get("/unit-costs?rnage=7d").await.expect_problem(400, "invalid_parameter");
    app.get("/unit-costs?cohort=all").await.expect_problem(400, "invalid_parameter");
    app.get("/unit-costs?limit=1001").await.expect_problem(400, "invalid_parameter");
    let tenant = app.token("tenant_owner", &["acme"]).await;
    app.get_as(&tenant, "/unit-costs").await.expect_problem(403, "forbidden");
    let finance = app.token("finance", &[]).await;
    app.get_as(&finance, "/unit-costs").await.expect(200);
}
