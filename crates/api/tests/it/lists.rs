//! Lists: pages, links, ETags, CSV.

use crate::app::{POLICY, TestApp};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

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
async fn an_answer_that_the_caller_has_is_304() {
    let app = with_tenants(&["a"]).await;
    let first = app.get("/tenants").await.expect(200);
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"'), "{etag}");
    let again = get(&app, "/tenants", "if-none-match", &etag).await.expect(304);
    assert_eq!((again.text.as_str(), again.header("etag")), ("", etag.as_str()));
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
    for path in
        ["/ledger/entries", "/ledger/proof", "/ledger/postings", "/cost-lines", "/imports", "/runs", "/coverage"]
    {
        let answer = get(&app, path, "accept", "text/csv, */*").await.expect(200);
        let columns = answer.text.lines().next().unwrap().split(',').count();
        assert!(columns > 2 && answer.text.lines().count() > 1, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_list_without_rows_is_a_csv_header() {
    let app = TestApp::start().await;
    for path in ["/tenants", "/fixed-costs", "/fx-rates", "/runs", "/imports", "/ledger/entries", "/cost-lines"] {
        let answer = get(&app, path, "accept", "text/csv").await.expect(200);
        assert_eq!(answer.text.lines().count(), 1, "{path}: {}", answer.text);
        assert!(answer.text.contains(','), "{path}: {}", answer.text);
    }
}
