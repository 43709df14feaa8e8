//! Tokens: minted once, bound to role and tenants, ended at once.

use crate::app::TestApp;
use domain::Instant;
use serde_json::json;

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_ended() {
    let app = TestApp::start().await;
    let minted = app.post("/tokens", &json!({ "role": "admin", "name": "ci" })).await.expect(201).json();
    let token = minted["token"].as_str().unwrap();
    app.get_as(token, "/costs").await.expect(200);
    let listed = app.get("/tokens").await.expect(200);
    assert!(!listed.text.contains(token));
    assert!(!app.get("/audit").await.expect(200).text.contains(token));
    app.delete(&format!("/tokens/{}", minted["id"].as_str().unwrap())).await.expect(204);
    app.get_as(token, "/costs").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_ends_when_it_says() {
    let app = TestApp::start().await;
    let body = json!({ "role": "admin", "expires_at": "2026-11-21" });
    let token = app.post("/tokens", &body).await.expect(201).json()["token"].as_str().unwrap().to_owned();
    app.get_as(&token, "/costs").await.expect(200);
    app.clock.set("2026-11-22T00:00:00Z".parse::<Instant>().unwrap());
    let answer = app.get_as(&token, "/costs").await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    answer.expect_problem(401, "unauthenticated");
    app.post("/tokens", &body).await.expect_problem(400, "invalid_body");
}

#[tokio::test]
async fn t2_only_the_platform_admin_mints_and_nobody_more_than_they_have() {
    let app = TestApp::start().await;
    let roles = ["finance", "admin", "tenant_owner", "tenant_viewer", "ingest", "metrics"];
    for minter in roles {
        let tenants: &[&str] = if minter.starts_with("tenant") { &["acme"] } else { &[] };
        let token = app.token(minter, tenants).await;
        for wanted in roles.into_iter().chain(["platform_admin"]) {
            let body = json!({ "role": wanted, "tenants": tenants }).to_string();
            let answer = app.call("POST", "/api/v1/tokens", Some(&token), "application/json", &body).await;
            answer.expect_problem(403, "forbidden");
        }
    }
    let short = json!({ "role": "platform_admin", "expires_at": "2026-11-25T00:00:00Z" });
    let short = app.post("/tokens", &short).await.expect(201).json()["token"].as_str().unwrap().to_owned();
    let mint = async |expires: serde_json::Value| {
        let body = json!({ "role": "admin", "expires_at": expires }).to_string();
        app.call("POST", "/api/v1/tokens", Some(&short), "application/json", &body).await
    };
    mint(json!("2026-11-26T00:00:00Z")).await.expect_problem(403, "forbidden");
    assert_eq!(mint(json!(null)).await.expect(201).json()["expires_at"], "2026-11-25T00:00:00Z");
}

#[tokio::test]
async fn a_token_with_the_scope_read_changes_nothing() {
    let app = TestApp::start().await;
    let asked = json!({ "role": "platform_admin", "scopes": ["read", "read"] });
    let minted = app.post("/tokens", &asked).await.expect(201).json();
    assert_eq!(minted["scopes"], json!(["read"]));
    let token = minted["token"].as_str().unwrap();
    app.get_as(token, "/tokens").await.expect(200);
    app.call("HEAD", "/api/v1/costs", Some(token), "", "").await.expect(200);
    for (method, path) in [
        ("PUT", "/api/v1/tenants/acme"),
        ("POST", "/api/v1/tokens"),
        ("POST", "/api/v1/cost-attribution/all/attribute"),
        ("DELETE", "/api/v1/tokens/none"),
    ] {
        let answer = app.call(method, path, Some(token), "application/json", "{}").await;
        answer.expect_problem(403, "forbidden");
    }
    app.get("/tenants/acme").await.expect_problem(404, "tenant_not_found");
    let full = app.post("/tokens", &json!({ "role": "platform_admin" })).await.expect(201).json();
    assert_eq!(full["scopes"], json!([]));
}

#[tokio::test]
async fn the_first_token_is_kept_before_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = storage::catalog::Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
    let conflict = || storage::catalog::CatalogError::Conflict { what: "disk", id: "full".to_owned() };
    api::auth::mint_first(&catalog, 1, |_| Err(conflict())).await.unwrap_err();
    assert!(catalog.list_tokens(None, 1).await.unwrap().is_empty());
    let mut kept = String::new();
    let keep = |token: &str| {
        kept.push_str(token);
        Ok::<(), storage::catalog::CatalogError>(())
    };
    let minted = api::auth::mint_first(&catalog, 1, keep).await.unwrap();
    assert_eq!(minted, Some(kept));
}

#[tokio::test]
async fn roles_and_tenants_of_a_new_token_must_fit() {
    let app = TestApp::start().await;
    for body in [
        json!({ "role": "root" }),
        json!({ "role": "tenant_viewer" }),
        json!({ "role": "tenant_viewer", "tenants": [] }),
        json!({ "role": "admin", "tenants": ["acme"] }),
        json!({ "role": "tenant_viewer", "tenants": ["__idle__"] }),
        json!({ "role": "admin", "scope": "all" }),
        json!({ "role": "admin", "scopes": ["write"] }),
    ] {
        app.post("/tokens", &body).await.expect_problem(400, "invalid_body");
    }
}

#[tokio::test]
async fn the_operators_own_token_and_wrong_ones() {
    let mut app = TestApp::start().await;
    let own = "operator-token-0123456789-0123456789";
    app.change(|parts| parts.admin_token = Some(own.parse().unwrap()));
    app.get_as(own, "/tokens").await.expect(200);
    let nearly = app.admin.replace("apn_", "apn-");
    for wrong in ["operator-token-0123456789-012345678X", "", "apn_wrong", &nearly] {
        app.get_as(wrong, "/tokens").await.expect_problem(401, "unauthenticated");
    }
}
