//! Lists: pages, links, ETags, CSV.

use crate::app::{POLICY, TestApp};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

async fn with_tenants(names: &[&str]) -> TestApp {
    let app = TestApp::start().await;
    for name in names {
        app.put(&format!("/tenants/{name}"), &json!({ "name": format!("=cmd|'{name}"), "plan": "-x" }))
            .await
            .expect(201);
    }
    app
}

async fn get(app: &TestApp, path: &str, name: &'static str, value: &str) -> crate::app::Answer {
    let request =
        Request::builder().uri(format!("/api/v1{path}")).header("authorization", format!("Bearer {}", app.admin));
    app.send(request.header(name, value).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn pages_follow_each_other_by_cursor_and_link() {
    let app = with_tenants(&["a", "b", "c", "d", "e"]).await;
    let (mut path, mut seen) = ("/tenants?limit=2".to_owned(), Vec::new());
    loop {
        let answer = app.get(&path).await.expect(200);
        let body = answer.json();
        seen.extend(body["rows"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = body["next_cursor"].as_str() else {
            assert_eq!(answer.header("link"), "");
            break;
        };
        assert_eq!(answer.header("link"), format!("</api/v1/tenants?limit=2&cursor={cursor}>; rel=\"next\""));
        path = format!("/tenants?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let cursor = app.get("/tenants?limit=2").await.json()["next_cursor"].as_str().unwrap().to_owned();
    app.get(&format!("/tokens?cursor={cursor}")).await.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn tenants_are_found_by_what_is_known_of_them_page_by_page() {
    let app = with_tenants(&["a", "b", "c", "d", "e"]).await;
    app.put("/tenants/b", &json!({ "owners": ["Kim"], "aliases": ["old-b"] })).await.expect(200);
    app.put("/tenants/d", &json!({ "name": "Kimberly", "plan": "free" })).await.expect(200);
    let ids = async |search: &str| {
        let body = app.get(&format!("/tenants?{search}")).await.expect(200).json();
        let ids: Vec<String> = body["rows"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
        (ids.join(" "), body["next_cursor"].clone())
    };
    assert_eq!(ids("search=KIM").await, (r#""b" "d""#.to_owned(), Value::Null));
    assert_eq!(ids("search=kim%20free").await.0, r#""d""#);
    assert_eq!(ids("search=OLD-").await.0, r#""b""#);
    assert_eq!(ids("search=nobody").await, (String::new(), Value::Null));
    let (first, next) = ids("search=-x&limit=3").await;
    assert_eq!(first, r#""a" "b" "c""#);
    let rest = ids(&format!("search=-x&limit=3&cursor={}", next.as_str().unwrap())).await;
    assert_eq!(rest, (r#""e""#.to_owned(), Value::Null), "the plan of d is another one");
}

#[tokio::test]
async fn rows_of_cost_have_names_and_a_rank_when_they_are_asked_for() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-18", "100.00")]).await;
    let used = |tenant, hours| ("shared-west-us", tenant, "2026-11-18", "cpu_core_hours", hours);
    app.given_usage(&[used("acme", "10"), used("globex", "30")]).await;
    app.given_run("2026-11-18", "2026-11-18").await;
    app.put("/tenants/acme", &json!({ "name": "Acme Inc", "slug": "acme-inc" })).await.expect(200);
    let rows = async |question: &str| app.get(&format!("/costs?{question}")).await.expect(200).json()["rows"].clone();
    let named = rows("names=true").await;
    assert_eq!(
        (&named[1]["name"], &named[1]["slug"], &named[0]["name"]),
        (&json!("Acme Inc"), &json!("acme-inc"), &Value::Null)
    );
    assert_eq!(rows("").await[1]["name"], Value::Null);
    assert_eq!(rows("group_by=pool&names=true").await[0]["name"], Value::Null);
    let acme = rows("key=acme&limit=1").await;
    assert_eq!((&acme[0]["rank"], &acme[0]["share"]), (&json!({ "place": 2, "of": 2 }), &json!("0.250000")));
    assert_eq!(acme.as_array().unwrap().len(), 1);
    let own = app.token("tenant_viewer", &["acme"]).await;
    let own = app.get_as(&own, "/costs?key=acme&names=true").await.expect(200).json()["rows"][0].clone();
    assert_eq!((&own["rank"], &own["name"], &own["share"]), (&Value::Null, &json!("Acme Inc"), &json!("1.000000")));
    app.get("/costs?names=yes").await.expect_problem(400, "invalid_parameter");
    app.get("/costs?names=true&names=true").await.expect_problem(400, "invalid_parameter");
    app.get("/costs?key=acme&group_by=tenant,pool").await.expect_problem(400, "invalid_parameter");
}

#[tokio::test]
async fn lists_beside_totals_and_lists_of_one_file_have_pages_too() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    for (provider, day) in [("a", "2026-11-10"), ("b", "2026-11-11"), ("c", "2026-11-12")] {
        let cost =
            json!({ "provider": provider, "amount": "1.00", "currency": "USD", "per": "once", "from": day, "to": day });
        app.post("/fixed-costs", &cost).await.expect(201);
    }
    app.given_run("2026-11-10", "2026-11-12").await;
    for (list, name, expected) in [
        ("/pools?", "name", &["shared-west-us", "shared-east"][..]),
        ("/overhead?range=2026-11&", "provider", &["a", "b", "c"]),
        ("/unattributed?range=2026-11&", "provider", &["a", "b", "c"]),
        ("/coverage?range=2026-11&", "kind", &["measured", "proxy", "idle", "overhead", "variance", "unattributed"]),
    ] {
        let whole = app.get(list.trim_end_matches(['?', '&'])).await.expect(200).json();
        assert!(whole["next_cursor"].is_null(), "{list}: {whole}");
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("{list}limit=1{cursor}")).await.expect(200).json();
            seen.push(page["rows"][0][name].as_str().unwrap().to_owned());
            assert_eq!((&page["total"], &page["posting"]), (&whole["total"], &whole["posting"]), "{list}");
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expected, "{list}");
        app.get(&format!("{list}limit=1001")).await.expect_problem(400, "invalid_parameter");
    }
}

/// A cursor is the hexadecimal text of `{"q":…,"at":…}`; anybody can put another place into it.
#[tokio::test]
async fn a_cursor_that_somebody_changed_is_never_our_failure() {
    let app = with_tenants(&["a", "b"]).await;
    app.given_policy(POLICY).await;
    for day in ["2026-11-17", "2026-11-18"] {
        app.given_bill(day, &[("shared-west-us", day, "1.00")]).await;
        app.given_run(day, day).await;
        let rates = json!([{ "date": day, "from": "EUR", "to": "USD", "rate": "1.05" }]);
        app.put("/fx-rates", &rates).await.expect(200);
        let cost =
            json!({ "provider": "own", "amount": "1.00", "currency": "USD", "per": "once", "from": day, "to": day });
        app.post("/fixed-costs", &cost).await.expect(201);
        app.post("/tokens", &json!({ "role": "admin" })).await.expect(201);
    }
    let card = json!({ "version": "v", "currency": "USD", "valid_from": "2026-01-01" });
    app.post("/rate-cards", &card).await.expect(201);
    let places =
        [json!(-1), json!(i64::MIN), json!(u64::MAX), json!("\u{0}'\""), json!([i64::MAX, i64::MIN]), json!({})];
    let event = |id: &str, kind: &str| json!({ "specversion": "1.0", "id": id, "source": "/s", "type": kind, "tenant": "a", "time": "2026-11-18T10:00:00Z" });
    app.post("/events", &json!([event("1", "build"), event("2", "log_queries")])).await.expect(200);
    for list in [
        "/events",
        "/events/types",
        "/tenants",
        "/tokens",
        "/audit",
        "/imports",
        "/runs",
        "/fx-rates",
        "/fixed-costs",
        "/policies",
        "/rate-cards",
        "/pools",
        "/coverage",
        "/overhead",
    ] {
        let page = app.get(&format!("{list}?limit=1")).await.expect(200).json();
        let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("{list} has one page only"));
        let sealed: Value = serde_json::from_slice(&hex::decode(cursor).unwrap()).unwrap();
        let parts: Vec<String> = match &sealed["at"] {
            Value::Array(parts) => (0..parts.len()).map(|part| format!("/at/{part}")).collect(),
            Value::Object(parts) => parts.keys().map(|part| format!("/at/{part}")).collect(),
            _ => Vec::new(),
        };
        for (part, place) in parts.iter().flat_map(|part| places.iter().map(move |place| (part.as_str(), place))) {
            check(&app, list, &sealed, part, place).await;
        }
        for place in &places {
            check(&app, list, &sealed, "/at", place).await;
        }
    }

    async fn check(app: &TestApp, list: &str, sealed: &Value, part: &str, place: &Value) {
        let mut changed = sealed.clone();
        *changed.pointer_mut(part).unwrap() = place.clone();
        let answer = app.get(&format!("{list}?limit=1&cursor={}", hex::encode(changed.to_string()))).await;
        assert!([200, 400].contains(&answer.status), "{list} {changed}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_answer_that_the_caller_has_is_304() {
    let app = with_tenants(&["a"]).await;
    let first = app.get("/tenants").await.expect(200);
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"'), "{etag}");
    let again = get(&app, "/tenants", "if-none-match", &etag).await.expect(304);
    assert_eq!((again.text.as_str(), again.header("etag")), ("", etag.as_str()));
    let head = app.call("HEAD", "/api/v1/tenants", Some(&app.admin), "", "").await.expect(200);
    assert_eq!((head.text.as_str(), head.header("etag")), ("", etag.as_str()));
    assert_eq!(head.header("content-length"), first.text.len().to_string());
    app.put("/tenants/b", &json!({})).await.expect(201);
    get(&app, "/tenants", "if-none-match", &etag).await.expect(200);
}

#[tokio::test]
async fn x1_csv_disarms_formulas_and_keeps_numbers() {
    let app = with_tenants(&["a"]).await;
    let answer = get(&app, "/tenants", "accept", "text/csv").await.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<&str> = answer.text.split("\r\n").collect();
    assert!(lines[0].starts_with("id,name,slug,plan,status,aliases"), "{}", lines[0]);
    assert!(lines[1].starts_with("a,'=cmd|'a,,'-x,active"), "{}", lines[1]);

    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-18", "-12.50"), ("shared-west-us", "2026-11-17", "2.00")])
        .await;
    app.given_run("2026-11-17", "2026-11-18").await;
    let path = "/costs?range=2026-11-17..2026-11-18&group_by=tenant,pool&granularity=day";
    let answer = get(&app, path, "accept", "text/csv").await.expect(200);
    assert_eq!(
        answer.text,
        "tenant,pool,cost,direct,amortized,pending,share,2026-11-17,2026-11-18\r\n\
         __unattributed__,shared-west-us,-10.50,-10.50,0.00,0.00,,2.00,-12.50\r\n"
    );
    for path in [
        "/ledger/entries",
        "/ledger/proof",
        "/ledger/postings",
        "/cost-lines",
        "/imports",
        "/runs",
        "/coverage",
        "/unattributed",
    ] {
        let answer = get(&app, path, "accept", "text/csv, */*").await.expect(200);
        let columns = answer.text.lines().next().unwrap().split(',').count();
        assert!(columns > 2 && answer.text.lines().count() > 1, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn every_list_has_the_members_of_its_rows_as_columns() {
    let app = with_tenants(&["acme"]).await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-18", "10.00")]).await;
    app.given_usage(&[("shared-west-us", "acme", "2026-11-18", "cpu_core_hours", "1")]).await;
    app.given_run("2026-11-18", "2026-11-18").await;
    // Maps and series of rows are columns of their own.
    let spread = ["key", "series", "usage", "by_category"];
    let (document, mut lists) = (api::openapi(), 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let content = &item["get"]["responses"]["200"]["content"];
        if content["text/csv"].is_null() || content["application/json"].is_null() || path.contains('{') {
            continue;
        }
        let path = path.strip_prefix("/api/v1").unwrap();
        let needed = match path {
            "/ledger/changes" => "?from_booked=posting:0",
            "/reconciliation/parts" => "?source=aws&billing_period=2026-11&currency=USD",
            _ => "",
        };
        let path = format!("{path}{needed}");
        let rows = app.get(&path).await.expect(200).json()["rows"].clone();
        let csv = get(&app, &path, "accept", "text/csv").await.expect(200);
        let columns: Vec<&str> = csv.text.lines().next().unwrap().split(',').collect();
        assert!(columns.len() > 1, "{path}: {}", csv.text);
        for name in rows.as_array().into_iter().flatten().flat_map(|row| row.as_object().unwrap().keys()) {
            assert!(columns.contains(&&**name) || spread.contains(&&**name), "{path} has no column {name}");
        }
        lists += 1;
    }
    assert!(lists > 25, "{lists}");
    let usage =
        get(&app, "/usage?meter=cpu_core_hours&group_by=tenant,cluster", "accept", "text/csv").await.expect(200);
    let expected = "tenant,cluster,start,quantity,unit,events\r\nacme,shared-west-us,2026-10-21,1,Core-Hours,1\r\n";
    assert_eq!(usage.text, expected);
    let none = get(&app, "/usage?meter=log_queries&group_by=user", "accept", "text/csv").await.expect(200);
    assert_eq!(none.text, "user,start,quantity,unit,events\r\n");
}

#[tokio::test]
async fn every_answer_over_days_echoes_them_and_the_zone() {
    let app = with_tenants(&["acme"]).await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-11", "10.00")]).await;
    app.given_run("2026-11-11", "2026-11-11").await;
    let (document, mut asked) = (api::openapi(), 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        let operation = &item["get"];
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        let is_of_days = parameters.any(|parameter| parameter["name"] == "range");
        if !is_of_days || operation["responses"]["200"]["content"]["application/json"].is_null() {
            continue;
        }
        let path = path.strip_prefix("/api/v1").unwrap();
        let more = match path {
            "/costs/changes" => "&tenant=acme",
            "/ledger/changes" => "&from_booked=posting:0",
            _ => "",
        };
        let body = app.get(&format!("{path}?range=2026-11-10..2026-11-12{more}")).await.expect(200).json();
        let range = if body["range"].is_object() { &body["range"] } else { &body["meta"]["range"] };
        let expected = json!({ "from": "2026-11-10", "to": "2026-11-12", "timezone": "UTC" });
        assert_eq!(*range, expected, "{path}: {body}");
        asked += 1;
    }
    assert!(asked > 15, "{asked}");
    assert_eq!(app.get("/ledger/entries").await.expect(200).json()["range"], Value::Null);
}

#[tokio::test]
async fn a_list_without_rows_is_a_csv_header() {
    let app = TestApp::start().await;
    for path in [
        "/tenants",
        "/fixed-costs",
        "/fx-rates",
        "/runs",
        "/imports",
        "/ledger/entries",
        "/cost-lines",
        "/events",
        "/events/types",
    ] {
        let answer = get(&app, path, "accept", "text/csv").await.expect(200);
        assert_eq!(answer.text.lines().count(), 1, "{path}: {}", answer.text);
        assert!(answer.text.contains(','), "{path}: {}", answer.text);
    }
}
