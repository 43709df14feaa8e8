//! Snapshots sent by HTTP: stored by tenant, read back by those who may, usage for attribution.

use crate::app::TestApp;
use api::ApiLimits;
use engine::Settings;
use serde_json::{Value, json};

const DAY: &str = "2026-11-18";

/// A real pool split by members and a memo pool over all snapshots.
const POLICY: &str = r#"
version = "s0"
valid_from = 2020-01-01

[[pool]]
name = "office"
tier = "direct"
select = { tags.cluster = "office" }
split = { method = "proportional", by = ["tenant"], meter = "member_count", where = { origin = "snapshot" } }

[[pool]]
name = "platform-usage"
split = { method = "rated", by = ["tenant"], meters = ["*"], where = { origin = "snapshot" } }
"#;

fn row(tenant: &str, members: &str, calls: &str) -> Value {
    json!({ "tenant": tenant, "metrics": { "member_count": members, "api_call_count_24h": calls },
        "taken_at": "2026-11-18T00:10:00Z" })
}

async fn put(app: &TestApp, day: &str, source: &str, rows: &Value) -> Value {
    app.put(&format!("/snapshots/{day}?source={source}"), rows).await.expect(200).json()
}

async fn listed(app: &TestApp, query: &str) -> Vec<String> {
    let rows = app.get(&format!("/snapshots{query}")).await.expect(200).json()["rows"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let shown = |row: &Value| {
        format!(
            "{} {} {} {}",
            text(&row["snapshot_date"]),
            text(&row["tenant"]),
            text(&row["source"]),
            row["metrics"]["member_count"].as_str().unwrap_or("-")
        )
    };
    rows.as_array().unwrap().iter().map(shown).collect()
}

#[tokio::test]
async fn a_tenant_has_what_was_sent_last_and_others_keep_theirs() {
    let app = TestApp::start().await;
    let first = put(&app, DAY, "app", &json!({ "rows": [row("acme", "3", "10"), row("globex", "5", "20")] })).await;
    assert_eq!((&first["tenants"], &first["rows"], &first["unchanged"]), (&json!(2), &json!(4), &json!(false)));
    let again = put(&app, DAY, "app", &json!([row("globex", "5.0", "20"), row("acme", "3", "10")])).await;
    assert_eq!((&again["rows"], &again["unchanged"]), (&json!(4), &json!(true)));
    put(&app, DAY, "app", &json!([{ "tenant": "acme", "metrics": { "member_count": 4 } }])).await;
    put(&app, DAY, "cron", &json!([{ "tenant": "acme", "metrics": { "logins_24h": 7 } }])).await;
    put(&app, "2026-11-20", "app", &json!([row("acme", "6", "1")])).await;

    let all = ["2026-11-18 acme app 4", "2026-11-18 acme cron -", "2026-11-18 globex app 5", "2026-11-20 acme app 6"];
    assert_eq!(listed(&app, "").await, all, "the default range ends today");
    assert_eq!(listed(&app, "?source=app&tenant=acme&range=2d").await, ["2026-11-20 acme app 6"]);
    let rows = app.get("/snapshots?tenant=acme&source=app&range=2026-11-18").await.json()["rows"].clone();
    assert_eq!(rows[0]["metrics"], json!({ "member_count": "4" }), "what was not sent again is gone");
    assert_eq!(rows[0]["taken_at"], crate::app::NOW);
}

#[tokio::test]
async fn sources_tell_who_sends_and_who_never_did() {
    let app = TestApp::start().await;
    let rows = json!([row("acme", "3", "10"), row("globex", "5", "20")]);
    for (day, source) in [("2026-11-19", "cron"), (DAY, "cron"), (DAY, "cron")] {
        put(&app, day, source, &rows).await;
    }
    let sources = app.get("/sources").await.expect(200).json()["rows"].clone();
    let shown = |at: usize| ["name", "kind", "state", "rows", "through"].map(|key| sources[at][key].clone());
    assert_eq!(json!(shown(0)), json!(["declared", "http_snapshot", "never", 0, null]));
    let through = "2026-11-19T00:00:00Z";
    assert_eq!(json!(shown(1)), json!(["cron", "http_snapshot", "ok", 4, through]), "what changed nothing is not new");
    for name in ["declared", "cron"] {
        app.post(&format!("/sources/{name}/refresh"), &Value::Null).await.expect_problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn pages_show_one_state() {
    let app = TestApp::start().await;
    let rows: Vec<Value> = (0..5).map(|at| row(&format!("t{at}"), "1", "1")).collect();
    put(&app, DAY, "app", &json!(rows)).await;
    let first = app.get("/snapshots?limit=2").await.expect(200).json();
    let mut seen = vec![first["rows"].clone()];
    put(&app, DAY, "app", &json!([row("t2", "9", "1"), row("a", "9", "1")])).await;
    let mut next = first["next_cursor"].clone();
    while let Some(cursor) = next.as_str() {
        let page = app.get(&format!("/snapshots?limit=2&cursor={cursor}")).await.expect(200).json();
        seen.push(page["rows"].clone());
        next = page["next_cursor"].clone();
    }
    let pages: Vec<usize> = seen.iter().map(|rows| rows.as_array().unwrap().len()).collect();
    assert_eq!(pages, [2, 2, 1]);
    assert_eq!(seen[1][0]["metrics"]["member_count"], "1", "as it was when the first page was read");
    assert_eq!(listed(&app, "").await.len(), 6);
    app.get("/snapshots?cursor=00").await.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn pages_of_any_size_go_over_days_with_and_without_rows() {
    let app = TestApp::start().await;
    let mut expected = Vec::new();
    for day in ["2026-10-25", "2026-10-26", "2026-11-01", "2026-11-02", "2026-11-03", "2026-11-17", "2026-11-20"] {
        put(&app, day, "app", &json!([row("acme", "1", "1"), row("globex", "2", "1")])).await;
        expected.extend([format!("{day} acme app 1"), format!("{day} globex app 2")]);
    }
    let own: Vec<String> = expected.iter().filter(|row| row.contains("globex")).cloned().collect();
    for limit in 1..=expected.len() + 1 {
        for (query, expected) in [("range=90d", &expected), ("range=90d&tenant=globex", &own)] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("?{query}&limit={limit}{cursor}");
                let page = listed(&app, &path).await;
                assert!(page.len() <= limit, "{path}");
                seen.extend(page);
                let next = app.get(&format!("/snapshots{path}")).await.expect(200).json()["next_cursor"].clone();
                let Some(next) = next.as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen, *expected, "{query}, {limit} rows a page");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_nothing_is() {
    let app = TestApp::start().await;
    let check = async |path: &str, body: Value, status: u16, code: &str| {
        app.put(path, &body).await.expect_problem(status, code);
    };
    let path = "/snapshots/2026-11-18?source=app";
    let one = |metrics: Value| json!([row("globex", "1", "1"), { "tenant": "acme", "metrics": metrics }]);
    check(path, one(json!({ "api_call_count_24h": "-1" })), 400, "negative_quantity").await;
    check(path, one(json!({ "storage_bytes": "1e30" })), 400, "out_of_bound").await;
    check(path, one(json!({ "storage_bytes": "many" })), 400, "invalid_body").await;
    check(path, one(json!({ " storage": "1" })), 400, "invalid_body").await;
    check(path, one(json!({})), 400, "invalid_body").await;
    check(path, json!([]), 400, "invalid_body").await;
    check(path, json!([row("acme", "1", "1"), row("acme", "1", "1")]), 400, "invalid_body").await;
    check(path, json!([row("__idle__", "1", "1")]), 400, "invalid_body").await;
    check(path, json!([{ "tenant": "acme", "metrics": { "m": null }, "quality": { "m": "ok" } }]), 400, "invalid_body")
        .await;
    check(
        path,
        json!([{ "tenant": "acme", "metrics": { "m": 1 }, "quality": { "m": "missing" } }]),
        400,
        "invalid_body",
    )
    .await;
    check(path, json!([{ "tenant": "acme", "metrics": { "m": 1 }, "quality": { "m": "fine" } }]), 400, "invalid_body")
        .await;
    check(
        path,
        json!([{ "tenant": "acme", "metrics": { "m": 1 }, "taken_at": "2026-11-20T13:00:01Z" }]),
        400,
        "invalid_body",
    )
    .await;
    check(
        path,
        json!([{ "tenant": "acme", "metrics": { "m": 1 }, "snapshot_date": "2026-11-19" }]),
        400,
        "invalid_body",
    )
    .await;
    check(path, json!([{ "tenant": "acme", "metrics": { "m": 1 }, "source": "other" }]), 400, "invalid_body").await;
    let good = json!([row("acme", "1", "1")]);
    check("/snapshots/2026-11-21?source=app", good.clone(), 400, "invalid_parameter").await;
    check("/snapshots/2026-11-18", good.clone(), 400, "invalid_parameter").await;
    check("/snapshots/2026-11-18?source=__x", good.clone(), 400, "invalid_parameter").await;
    check("/snapshots/today?source=app", good, 400, "invalid_parameter").await;
    assert_eq!(listed(&app, "").await, [] as [&str; 0]);
    assert_eq!(app.get("/tenants").await.json()["rows"], json!([]), "no tenant came to be either");
}

#[tokio::test]
async fn unknown_tenants_are_created_or_refused_and_aliases_stand_for_theirs() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "aliases": ["acme-inc"] })).await.expect(201);
    put(&app, DAY, "app", &json!([row("acme-inc", "3", "1"), row("new", "1", "1")])).await;
    assert_eq!(listed(&app, "?tenant=acme").await, ["2026-11-18 acme app 3"]);
    app.get("/tenants/new").await.expect(200);
    app.get("/tenants/acme-inc").await.expect_problem(404, "tenant_not_found");

    let strict = Settings { reject_unknown_tenants: true, ..Settings::default() };
    let app = TestApp::with(strict, ApiLimits::default()).await;
    app.put("/tenants/acme", &json!({})).await.expect(201);
    let rows = json!([row("acme", "3", "1"), row("new", "1", "1")]);
    let refused = app.put("/snapshots/2026-11-18?source=app", &rows).await.expect_problem(400, "tenant_unknown");
    assert!(refused["detail"].as_str().unwrap().contains("`new`"), "{refused}");
    assert_eq!(listed(&app, "").await, [] as [&str; 0]);
}

#[tokio::test]
async fn snapshots_of_others_are_the_platform_admins() {
    let app = TestApp::start().await;
    put(&app, DAY, "app", &json!([row("acme", "3", "10"), row("globex", "5", "20")])).await;
    app.given_usage(&[("c", "globex", DAY, "member_count", "2")]).await;
    let owner = app.token("tenant_owner", &["acme"]).await;
    let own = app.get_as(&owner, "/snapshots").await.expect(200);
    assert!(own.text.contains("acme") && !own.text.contains("globex"), "{}", own.text);
    app.get_as(&owner, "/snapshots?tenant=globex").await.expect_problem(404, "tenant_not_found");
    for role in ["admin", "finance", "ingest", "metrics"] {
        let token = app.token(role, &[]).await;
        app.get_as(&token, "/snapshots").await.expect_problem(403, "platform_admin_required");
    }

    let usage = "/usage?meter=member_count&range=2026-11-18&group_by=tenant,origin";
    let quantities = async |token: &str| {
        let rows = app.get_as(token, usage).await.expect(200).json()["rows"].clone();
        let shown = |row: &Value| {
            ["tenant", "origin"].map(|key| row["key"][key].as_str().unwrap().to_owned()).join(" ")
                + &format!(" {} {}", row["quantity"].as_str().unwrap(), row["unit"].as_str().unwrap())
        };
        rows.as_array().unwrap().iter().map(shown).collect::<Vec<_>>()
    };
    let all = ["acme snapshot 3 Members", "globex events 2 Members", "globex snapshot 5 Members"];
    assert_eq!(quantities(&app.admin).await, all);
    assert_eq!(quantities(&owner).await, all[..1]);
    let admin = app.token("admin", &[]).await;
    assert_eq!(quantities(&admin).await, all[1..2], "an admin reads events of everybody, snapshots of nobody");
}

#[tokio::test]
async fn snapshots_drive_pools_and_make_their_days_due() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("office", DAY, "80.00")]).await;
    put(&app, DAY, "app", &json!([row("acme", "3", "1000000"), row("globex", "5", "0")])).await;
    let due = async || {
        let days = app.app.engine.due_days().await.unwrap().due;
        days.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [DAY]);
    app.given_run(DAY, DAY).await;
    assert_eq!(due().await, [] as [&str; 0]);
    let costs = async |filter: &str| {
        let path = format!("/costs?range=2026-11-18&group_by=tenant&filter={filter}");
        let rows = app.get(&path).await.expect(200).json()["rows"].clone();
        let shown =
            |row: &Value| format!("{} {}", row["key"]["tenant"].as_str().unwrap(), row["cost"].as_str().unwrap());
        rows.as_array().unwrap().iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(costs("pool:office").await, ["globex 50.00", "acme 30.00"]);
    // The built-in card: 5.00 for a member, 0.000002 for a call.
    assert_eq!(costs("memo:true").await, ["globex 25.00", "acme 17.00"]);

    put(
        &app,
        DAY,
        "app",
        &json!([{ "tenant": "acme", "metrics": { "member_count": "3", "api_call_count_24h": "1000000" } }]),
    )
    .await;
    assert_eq!(due().await, [] as [&str; 0], "it was only taken at another time");
    put(&app, DAY, "app", &json!([row("acme", "5", "0")])).await;
    assert_eq!(due().await, [DAY]);
    app.given_run(DAY, DAY).await;
    assert_eq!(costs("pool:office").await, ["acme 40.00", "globex 40.00"]);
    let entries = app.get("/ledger/entries?pool=office&tenant=acme").await.expect(200).json()["rows"].clone();
    let causes: Vec<&str> = entries.as_array().unwrap().iter().map(|row| row["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["first", "late_usage"]);
}

#[tokio::test]
async fn degraded_and_missing_metrics_are_gaps_of_the_pools_that_rest_on_them() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("office", DAY, "80.00")]).await;
    let rows = json!([row("globex", "5", "0"),
        { "tenant": "acme", "metrics": { "member_count": "0", "storage_bytes": null },
            "quality": { "member_count": "degraded", "storage_bytes": "missing" } }]);
    put(&app, DAY, "app", &rows).await;
    let listed = app.get("/snapshots?tenant=acme").await.expect(200).json()["rows"][0].clone();
    assert_eq!(listed["metrics"], json!({ "member_count": "0" }));
    assert_eq!(listed["quality"], json!({ "member_count": "degraded", "storage_bytes": "missing" }));

    let run = app.given_run(DAY, DAY).await;
    let gaps = run["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "driver_gap");
    let gaps: Vec<String> =
        gaps.map(|gap| format!("{}: {}", gap["pool"].as_str().unwrap(), gap["detail"].as_str().unwrap())).collect();
    assert_eq!(
        gaps,
        [
            "office: member_count of acme is degraded in the snapshot of `app`; the others may pay its part",
            "platform-usage: member_count of acme is degraded in the snapshot of `app`; its own cost rests on that",
            "platform-usage: storage_bytes of acme is missing in the snapshot of `app`; its own cost rests on that",
        ]
    );
    let coverage = app.get("/coverage?range=2026-11-18").await.expect(200).json();
    assert_eq!(coverage["driver_gaps_total"], 3);

    put(&app, DAY, "app", &json!([row("acme", "3", "0")])).await;
    let run = app.given_run(DAY, DAY).await;
    assert!(!run["warnings"].to_string().contains("driver_gap"), "{run}");
}

#[tokio::test]
async fn a_tenant_has_at_most_as_many_metrics_as_the_limit_says() {
    let limits = ApiLimits { snapshot_metrics_max: 2, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    let rows = |metrics: Value| json!([{ "tenant": "acme", "metrics": metrics }]);
    let path = format!("/snapshots/{DAY}?source=app");
    app.put(&path, &rows(json!({ "a": 1, "b": 2 }))).await.expect(200);
    let refused = app.put(&path, &rows(json!({ "a": 1, "b": 2, "c": 3 }))).await.expect_problem(400, "invalid_body");
    assert!(refused.to_string().contains("more than 2 metrics (limits.snapshot_metrics)"), "{refused}");
}
