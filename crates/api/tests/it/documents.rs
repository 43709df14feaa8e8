//! The OpenAPI document says what the routes do.

use crate::app::TestApp;
use std::collections::BTreeSet;

#[tokio::test]
async fn o1_every_documented_parameter_is_known_and_nothing_else_is() {
    let app = TestApp::start().await;
    let document = api::openapi();
    for facts in api::route_facts() {
        let method = facts.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][&facts.path][&method];
        let filled = facts.path.replace("{tenantId}", "acme").replace(['{', '}'], "");
        let names =
            operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "query");
        let names: BTreeSet<&str> = names.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        // What a route needs is given, so that it comes to look at the others.
        let needed = [("tenant", "acme"), ("date", "2026-11-18"), ("source", "aws"), ("meter", "log_queries")];
        for name in names.iter().copied().chain(["no_such_parameter"]) {
            let given = needed.iter().filter(|(needed, _)| names.contains(needed) && *needed != name);
            let given: String = given.map(|(name, value)| format!("&{name}={value}")).collect();
            let path = format!("{filled}?{name}={given}");
            let answer = app.call(facts.method.as_str(), &path, Some(&app.admin), "application/json", "{}").await;
            let is_unknown = answer.text.contains("unknown parameter");
            // A body that cannot be used is found first on some routes.
            let body_first = facts.method != "GET" && answer.text.contains("invalid_body");
            assert!(is_unknown != names.contains(name) || body_first, "{method} {path}: {}", answer.text);
        }
    }
}

#[test]
fn o1_every_operation_says_who_what_and_how_it_fails() {
    let document = api::openapi();
    let mut ids = BTreeSet::new();
    for facts in api::route_facts() {
        let operation = &document["paths"][&facts.path][facts.method.as_str().to_ascii_lowercase()];
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{} has no id", facts.path));
        assert!(ids.insert(id.to_owned()), "{id} stands twice");
        assert!(operation["summary"].is_string(), "{id} says nothing");
        assert!(operation["responses"]["4XX"]["content"]["application/problem+json"].is_object(), "{id}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{id}: {parameter}");
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let committed = include_str!("../../../../openapi.json");
    let generated = serde_json::to_string_pretty(&api::openapi()).unwrap() + "\n";
    assert!(committed == generated, "openapi.json is out of date; run `make openapi`");
}

#[test]
fn o1_every_reference_leads_somewhere() {
    let document = api::openapi();
    let text = document.to_string();
    for piece in text.split("\"$ref\":\"#").skip(1) {
        let pointer = piece.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_served_to_anybody() {
    let app = TestApp::start().await;
    let served = app.call("GET", "/api/v1/openapi.json", None, "", "").await.expect(200);
    assert_eq!(served.json(), api::openapi());
    for path in ["/docs/api", "/docs/api.js", "/docs/api.css", "/healthz", "/readyz"] {
        app.call("GET", path, None, "", "").await.expect(200);
    }
    // The page at `/` is one of the dashboard's, which are not part of the interface.
    app.call("GET", "/", None, "", "").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn below_a_base_path_every_address_begins_with_it() {
    let mut app = TestApp::start().await;
    app.router = api::router_at(app.app.clone(), "/cost/");
    let call = async |method: &str, path: &str, body: &str| {
        app.call(method, path, Some(&app.admin), "application/json", body).await
    };
    for (path, location) in [("/cost/", "/cost"), ("/cost/?r=7d", "/cost?r=7d")] {
        assert_eq!(call("GET", path, "").await.expect(303).header("location"), location, "{path}");
    }
    call("GET", "/cost/docs/api", "").await.expect(200);
    let run = call("POST", "/cost/api/v1/runs", r#"{"from":"2026-11-18","to":"2026-11-18"}"#).await.expect(202);
    let address = run.header("location").to_owned();
    assert!(address.starts_with("/cost/api/v1/runs/run-"), "{address}");
    call("GET", &address, "").await.expect(200);
    let problem = call("GET", "/cost/api/v1/costs?x=1", "").await.expect_problem(400, "invalid_parameter");
    assert_eq!(
        (&problem["type"], &problem["instance"]),
        (&"/cost/docs/api#problem-invalid_parameter".into(), &"/cost/api/v1/costs".into())
    );
    for path in ["/api/v1/costs", "/", "/elsewhere", "/cost/elsewhere"] {
        let answer = call("GET", path, "").await;
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.expect_problem(404, "not_found")["instance"], path);
    }
    let document = call("GET", "/cost/api/v1/openapi.json", "").await.expect(200).json();
    assert_eq!(document["servers"][0]["url"], "/cost");
}
