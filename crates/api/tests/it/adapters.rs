//! Webhooks of GitHub and GitLab, exports of LiteLLM and Langfuse, as they are sent, through the real router.

use crate::app::{Answer, TestApp};
use api::ApiLimits;
use api::adapters::AdapterSetup;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use engine::Settings;
use metering::adapters::{AdapterKind, AdapterRule, Adapters};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

const JSON: &str = "application/json";
const SECRET: &str = "0123456789abcdef";
const GITHUB: &str = "/api/v1/webhooks/github";
const GITLAB: &str = "/api/v1/webhooks/gitlab";

/// An app with both webhooks; workflows of GitHub stand in the branch, those of GitLab in the description.
async fn start() -> TestApp {
    let mut app = TestApp::start().await;
    let given = |name: &str, place: &str| BTreeMap::from([(name.to_owned(), vec![place.to_owned()])]);
    let github = AdapterRule::new(AdapterKind::Github, &given("tenant", "acme"), Some("agent/*")).unwrap();
    let described = given("workflow", "$.object_attributes.description");
    let gitlab = AdapterRule::new(AdapterKind::Gitlab, &described, Some("Workflow-Id: *")).unwrap();
    let secrets = [AdapterKind::Github, AdapterKind::Gitlab].map(|kind| (kind, SECRET.to_owned()));
    app.change(|parts| parts.adapters = Arc::new(AdapterSetup::new(Adapters::new([github, gitlab]), secrets)));
    app
}

async fn deliver(app: &TestApp, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method("POST").uri(path).header("content-type", JSON);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

fn signature(secret: &str, body: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

async fn from_github(app: &TestApp, delivery: &str, body: &str) -> Answer {
    let signature = signature(SECRET, body);
    let headers =
        [("x-github-event", "pull_request"), ("x-github-delivery", delivery), ("x-hub-signature-256", &*signature)];
    deliver(app, GITHUB, &headers, body).await
}

/// A merged pull request, as far as anybody here reads it.
fn merged(id: u64) -> Value {
    json!({
        "action": "closed", "number": 42,
        "pull_request": {
            "id": id, "number": 42, "html_url": "https://github.com/acme/shop/pull/42", "state": "closed", "merged": true,
            "merged_at": "2026-11-19T10:15:00Z", "user": { "login": "agent-bot" }, "head": { "ref": "agent/wf-7" },
        },
        "repository": { "id": 99, "full_name": "acme/shop", "owner": { "login": "acme-github" } },
        "sender": { "login": "ann" },
    })
}

fn counts(answer: Answer) -> [u64; 3] {
    let body = answer.expect(200).json();
    ["accepted", "duplicates", "skipped"].map(|name| body[name].as_u64().unwrap())
}

/// Rows of usage: the values of the keys, then the quantity.
async fn usage(app: &TestApp, meter: &str, keys: &[&str]) -> BTreeSet<Vec<String>> {
    let path = format!("/usage?range=2026-11-19&meter={meter}&group_by={}", keys.join(","));
    let body = app.get(&path).await.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| {
        keys.iter().map(|key| text(&row["key"][*key])).chain([text(&row["quantity"])]).collect::<Vec<String>>()
    };
    body["rows"].as_array().unwrap().iter().map(row).collect()
}

fn rows<const N: usize>(expected: &[[&str; N]]) -> BTreeSet<Vec<String>> {
    expected.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect()
}

#[tokio::test]
async fn a_merged_pull_request_counts_once_for_its_workflow_and_repo() {
    let app = start().await;
    let body = merged(1).to_string();
    assert_eq!(counts(from_github(&app, "d-1", &body).await), [1, 0, 0]);
    assert_eq!(counts(from_github(&app, "d-1", &body).await), [0, 1, 0], "delivered again");
    let mut by_another = merged(1);
    by_another["sender"]["login"] = json!("bob");
    assert_eq!(counts(from_github(&app, "d-2", &by_another.to_string()).await), [0, 1, 0], "told by another webhook");
    let ping = json!({ "zen": "Keep it simple.", "hook_id": 1 }).to_string();
    assert_eq!(counts(from_github(&app, "d-3", &ping).await), [0, 0, 1]);

    let found = usage(&app, "prs_merged", &["tenant", "workflow", "repo"]).await;
    assert_eq!(found, rows(&[["acme", "wf-7", "acme/shop", "1"]]));
}

#[tokio::test]
async fn a_delivery_is_taken_although_its_sender_goes_away() {
    let app = start().await;
    let body = merged(1).to_string();
    let (mut pieces, stream) = futures::channel::mpsc::channel::<Result<String, Infallible>>(2);
    let request = Request::builder().method("POST").uri(GITHUB).header("content-type", JSON);
    let request = request.header("x-github-event", "pull_request").header("x-github-delivery", "d-1");
    let request = request.header("x-hub-signature-256", signature(SECRET, &body));
    let request = request.body(Body::from_stream(stream)).unwrap();

    let mut asked = Box::pin(app.router.clone().oneshot(request));
    assert!(futures::poll!(asked.as_mut()).is_pending(), "nothing of the body was sent");
    drop(asked);
    let (first, rest) = body.split_at(body.len() / 2);
    pieces.try_send(Ok(first.to_owned())).expect("the body is still read");
    pieces.try_send(Ok(rest.to_owned())).expect("the body is still read");
    drop(pieces);

    let stored = async {
        while usage(&app, "prs_merged", &["tenant"]).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stored).await.expect("the delivery is stored");
    assert_eq!(usage(&app, "prs_merged", &["tenant"]).await, rows(&[["acme", "1"]]));
}

#[tokio::test]
async fn a_delivery_that_is_not_signed_is_refused_and_stores_nothing() {
    let app = start().await;
    let body = merged(1).to_string();
    let (good, wrong) = (signature(SECRET, &body), signature("0123456789abcdeg", &body));
    let (good, wrong) = (good.as_str(), wrong.as_str());
    let refused: [&[(&str, &str)]; 5] = [
        &[],
        &[("x-hub-signature-256", wrong)],
        &[("x-hub-signature-256", "sha256=")],
        &[("x-hub-signature", good)],
        &[("x-hub-signature-256", good), ("x-hub-signature-256", good)],
    ];
    for headers in refused {
        deliver(&app, GITHUB, headers, &body).await.expect_problem(401, "bad_signature");
    }
    deliver(&app, GITHUB, &[("x-hub-signature-256", good)], &format!("{body} "))
        .await
        .expect_problem(401, "bad_signature");
    let refused: [&[(&str, &str)]; 3] = [&[], &[("x-gitlab-token", "0123456789abcdeg")], &[("x-gitlab-token", "")]];
    for headers in refused {
        deliver(&app, GITLAB, headers, &body).await.expect_problem(401, "bad_signature");
    }
    assert_eq!(usage(&app, "prs_merged", &["tenant"]).await, BTreeSet::new());

    let bare = TestApp::start().await;
    deliver(&bare, GITHUB, &[("x-hub-signature-256", good)], &body).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn what_a_signed_delivery_cannot_say_is_told() {
    let app = start().await;
    let mut broken = merged(1);
    broken["pull_request"]["merged_at"] = Value::Null;
    from_github(&app, "d-1", &broken.to_string()).await.expect_problem(400, "invalid_event");
    from_github(&app, "d-2", "{").await.expect_problem(400, "invalid_json");
    let mut other = merged(1);
    assert_eq!(counts(from_github(&app, "d-3", &other.to_string()).await), [1, 0, 0]);
    other["pull_request"]["head"]["ref"] = json!("agent/wf-8");
    from_github(&app, "d-4", &other.to_string()).await.expect_problem(409, "id_conflict");
    let form = signature(SECRET, "payload=x");
    let request = Request::builder().method("POST").uri(GITHUB).header("x-hub-signature-256", form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    app.send(request.body(Body::from("payload=x")).unwrap()).await.expect_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_merged_merge_request_counts_once() {
    let app = start().await;
    let merged = json!({
        "object_kind": "merge_request", "event_type": "merge_request", "user": { "username": "agent-bot" },
        "project": { "id": 5, "namespace": "Acme", "path_with_namespace": "acme/shop" },
        "object_attributes": {
            "id": 9001, "iid": 42, "source_branch": "feature", "state": "merged", "action": "merge",
            "description": "Text.\n\nWorkflow-Id: wf-9", "updated_at": "2026-11-19 10:15:00 UTC",
        },
    });
    let headers = [("x-gitlab-event", "Merge Request Hook"), ("x-gitlab-token", SECRET)];
    assert_eq!(counts(deliver(&app, GITLAB, &headers, &merged.to_string()).await), [1, 0, 0]);
    assert_eq!(counts(deliver(&app, GITLAB, &headers, &merged.to_string()).await), [0, 1, 0]);
    let push = json!({ "object_kind": "push" }).to_string();
    assert_eq!(counts(deliver(&app, GITLAB, &headers, &push).await), [0, 0, 1]);
    let found = usage(&app, "prs_merged", &["tenant", "workflow", "repo"]).await;
    assert_eq!(found, rows(&[["Acme", "wf-9", "acme/shop", "1"]]));
}

/// A logged call of which 700 of 1,000 tokens were read from a cache.
fn logged(id: &str, status: &str) -> Value {
    json!({
        "id": id, "call_type": "acompletion", "status": status, "model": "large-1", "cache_hit": false, "response_cost": 0.01,
        "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050, "startTime": 1_795_082_400.25,
        "metadata": {
            "user_api_key_team_alias": "acme", "requester_metadata": { "workflow": "wf-7" },
            "usage_object": { "prompt_tokens_details": { "cached_tokens": 700 } },
        },
    })
}

#[tokio::test]
async fn calls_that_litellm_logged_become_tokens_by_class_and_failed_calls() {
    let app = start().await;
    let meter = json!({ "unit": "Calls", "category": "ai", "kind": "counter", "event_type": "llm.failed",
        "aggregation": "count", "group_by": { "model": "$.model" } });
    app.put("/meters/llm_failed_calls", &meter).await.expect(200);
    let mut broken = logged("c-3", "success");
    broken["model"] = Value::Null;
    let export = json!([logged("c-1", "success"), broken, logged("c-2", "failure")]);
    let answer = app.post("/events/litellm", &export).await.expect(207).json();
    assert_eq!((&answer["accepted"], &answer["skipped"]), (&json!(7), &json!(0)), "{answer}");
    let rejected = json!([{ "index": 1, "id": null, "code": "invalid_event", "detail": "a call without `model`" }]);
    assert_eq!(answer["rejected"], rejected);
    let again = app.post("/events/litellm", &json!([logged("c-1", "success"), logged("c-2", "failure")])).await;
    assert_eq!(counts(again), [0, 7, 0]);

    let found = usage(&app, "llm_tokens", &["workflow", "label:direction", "label:cache", "label:outcome"]).await;
    let expected = [
        ["wf-7", "input", "", "", "300"],
        ["wf-7", "input", "read", "", "700"],
        ["wf-7", "output", "", "", "50"],
        ["wf-7", "input", "", "failed", "300"],
        ["wf-7", "input", "read", "failed", "700"],
        ["wf-7", "output", "", "failed", "50"],
    ];
    assert_eq!(found, rows(&expected));
    assert_eq!(usage(&app, "llm_failed_calls", &["label:model"]).await, rows(&[["large-1", "1"]]));
}

#[tokio::test]
async fn observations_of_langfuse_become_tokens_of_the_tenant_of_the_token() {
    let app = start().await;
    let observation = |id: &str, kind: &str| {
        json!({
            "id": id, "traceId": "t", "type": kind, "level": "DEFAULT", "startTime": "2026-11-19T10:00:00.250Z", "model": "large-1",
            "usageDetails": { "input": 300, "cache_read_input_tokens": 700, "output": 50, "total": 1050 },
            "metadata": { "workflow": "wf-7", "repo": "acme/shop" },
        })
    };
    let page = json!({ "data": [observation("o-1", "GENERATION"), observation("o-2", "SPAN")], "meta": { "page": 1 } });
    let token = app.token("ingest", &["acme"]).await;
    let path = "/api/v1/events/langfuse";
    let answer = app.call("POST", path, Some(&token), JSON, &page.to_string()).await;
    assert_eq!(counts(answer), [3, 0, 1]);
    let lines = format!("{}\n{}\n", observation("o-1", "GENERATION"), observation("o-3", "GENERATION"));
    let answer = app.call("POST", path, Some(&token), "application/x-ndjson", &lines).await;
    assert_eq!(counts(answer), [3, 3, 0]);
    let found = usage(&app, "llm_tokens", &["tenant", "repo", "label:direction", "label:cache"]).await;
    let expected = [
        ["acme", "acme/shop", "input", "", "600"],
        ["acme", "acme/shop", "input", "read", "1400"],
        ["acme", "acme/shop", "output", "", "100"],
    ];
    assert_eq!(found, rows(&expected));
    let missing = app.post("/events/langfuse", &observation("o-4", "GENERATION")).await.expect(207).json();
    let codes: Vec<&Value> = missing["rejected"].as_array().unwrap().iter().map(|row| &row["code"]).collect();
    assert_eq!(codes, ["tenant_missing", "tenant_missing", "tenant_missing"]);
}

#[tokio::test]
async fn many_short_values_are_more_than_there_is_memory_for() {
    let limits = ApiLimits { events_memory_bytes_max: 256 * 1024, ..ApiLimits::default() };
    let app = TestApp::with(Settings::default(), limits).await;
    let problem = app.post("/events/litellm", &json!(vec![0; 4_000])).await.expect_problem(413, "payload_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("limits.events_memory"), "{problem}");
    app.post("/events/litellm", &json!([logged("call-1", "success")])).await.expect(200);
}
