//! Sessions of browsers: a cookie stands for a token, and no longer than the token does.

use crate::app::{Answer, TestApp};
use axum::body::Body;
use axum::http::Request;
use domain::Instant;
use serde_json::{Value, json};

const SESSION: &str = "/api/v1/session";
const JSON: &str = "application/json";

/// A browser that signed in.
struct Browser<'a> {
    app: &'a TestApp,
    cookies: String,
    csrf: String,
}

/// What `Set-Cookie` asks a browser to send.
fn cookies_of(answer: &Answer) -> String {
    let lines = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    lines.map(|line| line.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

impl<'a> Browser<'a> {
    async fn sign_in(app: &'a TestApp, token: &str) -> (Self, Value) {
        let body = json!({ "token": token }).to_string();
        let answer = app.call("POST", SESSION, None, JSON, &body).await.expect(200);
        let (cookies, body) = (cookies_of(&answer), answer.json());
        let csrf = body["csrf_token"].as_str().unwrap().to_owned();
        assert_eq!(cookies.split("; ").last(), Some(&*format!("__Host-apportion-csrf={csrf}")));
        assert!(!answer.text.contains(token) && !cookies.contains(token), "the token stays where it is");
        (Self { app, cookies, csrf }, body)
    }

    /// Asks as a browser does, with or without the second secret.
    async fn ask(&self, method: &str, path: &str, csrf: Option<&str>, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("cookie", &self.cookies);
        if let Some(csrf) = csrf {
            request = request.header("x-csrf-token", csrf);
        }
        self.app.send(request.header("content-type", JSON).body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, "").await
    }
}

#[tokio::test]
async fn a_session_may_do_what_its_token_may_until_it_is_closed() {
    let app = TestApp::start().await;
    app.put("/tenants/acme", &json!({ "name": "Acme" })).await.expect(201);
    let token = app.token("tenant_viewer", &["acme"]).await;
    let (browser, body) = Browser::sign_in(&app, &token).await;
    assert_eq!((&body["role"], &body["tenants"]), (&json!("tenant_viewer"), &json!(["acme"])));
    let seen = browser.get("/api/v1/settings").await.expect(200);
    assert_eq!(seen.json()["tenants"], json!(["acme"]));
    assert!(seen.header("vary").contains("cookie"));
    browser.get("/api/v1/costs/changes?tenant=globex").await.expect_problem(404, "tenant_not_found");
    browser.get("/api/v1/tokens").await.expect_problem(403, "forbidden");

    let closed = browser.ask("DELETE", SESSION, None, "").await.expect(204);
    assert!(closed.headers.get_all("set-cookie").iter().all(|line| line.to_str().unwrap().contains("Max-Age=0")));
    browser.get("/api/v1/settings").await.expect_problem(401, "unauthenticated");
    app.get_as(&token, "/settings").await.expect(200);
    browser.ask("DELETE", SESSION, None, "").await.expect(204);
}

#[tokio::test]
async fn a_change_repeats_the_second_secret_of_its_session() {
    let app = TestApp::start().await;
    let admin = app.admin.clone();
    let ((browser, _), (other, _)) = (Browser::sign_in(&app, &admin).await, Browser::sign_in(&app, &admin).await);
    let put = async |csrf: Option<&str>| browser.ask("PUT", "/api/v1/tenants/acme", csrf, "{}").await;
    for wrong in [None, Some(""), Some("wrong"), Some(&*other.csrf)] {
        put(wrong).await.expect_problem(403, "csrf_token_required");
    }
    app.get("/tenants/acme").await.expect_problem(404, "tenant_not_found");
    put(Some(&browser.csrf)).await.expect(201);
    // A token says more than a cookie: with it the second secret is not needed, and a wrong one is not helped by a cookie.
    let with_token = async |token: &str| {
        let request = Request::builder().method("PUT").uri("/api/v1/tenants/acme").header("cookie", &browser.cookies);
        let request = request.header("authorization", format!("Bearer {token}")).header("content-type", JSON);
        app.send(request.body(Body::from("{}")).unwrap()).await
    };
    with_token(&admin).await.expect(200);
    with_token("apn_wrong").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_by_itself() {
    let app = TestApp::start().await;
    let minted = app.post("/tokens", &json!({ "role": "admin" })).await.expect(201).json();
    let (revoked, body) = Browser::sign_in(&app, minted["token"].as_str().unwrap()).await;
    assert_eq!(body["expires_at"], "2026-11-21T00:00:00Z");
    let short = json!({ "role": "admin", "expires_at": "2026-11-20T13:00:00Z" });
    let short = app.post("/tokens", &short).await.expect(201).json();
    let (short, body) = Browser::sign_in(&app, short["token"].as_str().unwrap()).await;
    assert_eq!(body["expires_at"], "2026-11-20T13:00:00Z");
    let (long, _) = Browser::sign_in(&app, &app.token("admin", &[]).await).await;
    for browser in [&revoked, &short, &long] {
        browser.get("/api/v1/costs").await.expect(200);
    }
    app.delete(&format!("/tokens/{}", minted["id"].as_str().unwrap())).await.expect(204);
    revoked.get("/api/v1/costs").await.expect_problem(401, "unauthenticated");
    app.clock.set("2026-11-20T13:00:00Z".parse::<Instant>().unwrap());
    short.get("/api/v1/costs").await.expect_problem(401, "unauthenticated");
    long.get("/api/v1/costs").await.expect(200);
    app.clock.set("2026-11-21T00:00:00Z".parse::<Instant>().unwrap());
    long.get("/api/v1/costs").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn only_a_token_signs_in_and_its_scopes_stay() {
    let app = TestApp::start().await;
    let sign_in =
        async |token: Option<&str>, kind: &str, body: &str| app.call("POST", SESSION, token, kind, body).await;
    sign_in(Some(&app.admin), "", "").await.expect(200);
    for (token, body) in [(None, ""), (None, "{}"), (None, r#"{"token":"apn_wrong"}"#), (Some("apn_wrong"), "")] {
        sign_in(token, JSON, body).await.expect_problem(401, "unauthenticated");
    }
    let own = json!({ "token": app.admin }).to_string();
    sign_in(None, "text/plain", &own).await.expect_problem(415, "unsupported_media_type");
    sign_in(None, JSON, r#"{"tokn":"x"}"#).await.expect_problem(400, "invalid_body");
    let reads = json!({ "role": "platform_admin", "scopes": ["read"] });
    let reads = app.post("/tokens", &reads).await.expect(201).json()["token"].as_str().unwrap().to_owned();
    let (reads, _) = Browser::sign_in(&app, &reads).await;
    reads.get("/api/v1/tokens").await.expect(200);
    reads.ask("PUT", "/api/v1/tenants/acme", Some(&reads.csrf), "{}").await.expect_problem(403, "forbidden");
}
