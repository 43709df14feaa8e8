//! Imports of bills and events, runs and their progress.

use crate::app::{POLICY, TestApp, bill, event};
use axum::body::{Body, Bytes};
use axum::http::Request;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::task::Poll;

#[tokio::test]
async fn a_set_of_files_is_one_import_and_repeats_change_nothing() {
    let app = TestApp::start().await;
    let (one, other) = (bill(&[("west", "2026-11-17", "1.00")]), bill(&[("west", "2026-11-18", "2.50")]));
    let part = |name: &str, text: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let body = format!("{}{}--B--\r\n", part("a.csv", &one), part("b.csv", &other));
    let import = async |body: &str| {
        let path = "/api/v1/cost-lines/imports?source=aws";
        app.call("POST", path, Some(&app.admin), "multipart/form-data; boundary=B", body).await
    };
    let report = import(&body).await.expect(200).json();
    assert_eq!((&report["rows"], &report["unchanged"]), (&json!(2), &json!(false)));
    assert_eq!(report["totals"], json!([{ "currency": "USD", "billed": "3.50", "effective": "3.50" }]));
    let again = import(&body).await.expect(200).json();
    assert_eq!((&again["unchanged"], &again["import_id"]), (&json!(true), &report["import_id"]));
    let problem = import(&format!("{}--B--\r\n", part("a.csv", &one))).await.expect_problem(409, "would_shrink");
    assert_eq!(problem["errors"][0]["pointer"], "payer 2026-11");
    assert_eq!(app.get("/imports").await.json()["rows"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("/cost-lines?range=2026-11").await.json()["rows"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(&app.app.spool).unwrap().count(), 0, "uploads are removed");
}

/// As when the body comes while the server looks for it.
#[tokio::test]
async fn a_set_of_files_that_comes_all_at_once_is_whole() {
    let app = TestApp::start().await;
    let bill = bill(&[("west", "2026-11-17", "1.00")]);
    let text =
        format!("--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n{bill}\r\n--B--\r\n");
    let (mut looks, mut pieces) = (0, vec![Bytes::from(text)]);
    let comes_late = futures::stream::poll_fn(move |looking| {
        looks += 1;
        if looks == 1 {
            looking.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(pieces.pop().map(Ok::<_, Infallible>))
    });
    let request = Request::post("/api/v1/cost-lines/imports?source=aws")
        .header("authorization", format!("Bearer {}", app.admin))
        .header("content-type", "multipart/form-data; boundary=B");
    let report = app.send(request.body(Body::from_stream(comes_late)).unwrap()).await.expect(200).json();
    assert_eq!(report["rows"], 1);
}

#[tokio::test]
async fn a_broken_bill_names_its_place_and_changes_nothing() {
    let app = TestApp::start().await;
    let import = async |path: &str, body: &str| {
        app.call("POST", &format!("/api/v1/cost-lines/imports{path}"), Some(&app.admin), "text/csv", body).await
    };
    import("", "x").await.expect_problem(400, "invalid_parameter");
    import("?source=fixed", &bill(&[("w", "2026-11-17", "1")])).await.expect_problem(422, "invalid_source");
    import("?source=aws", "").await.expect_problem(400, "invalid_body");
    import("?source=aws", "a,b\n1,2\n").await.expect_problem(422, "not_focus");
    let problem = import("?source=aws", &bill(&[("w", "2026-11-17", "one")])).await.expect_problem(422, "invalid_row");
    assert_eq!(problem["errors"][0]["pointer"], "body: line 2");
    import("?source=aws", &bill(&[("w", "2026-11-17", "1e13")])).await.expect_problem(400, "out_of_bound");
    assert_eq!(app.get("/imports").await.json()["rows"], json!([]));
}

#[tokio::test]
async fn events_count_once_and_bad_ones_are_listed() {
    let app = TestApp::start().await;
    let good = event(("west", "acme", "2026-11-17", "cpu_core_hours", "1"));
    let lines = format!("{good}\n{{}}\n{good}\n");
    let import = async || {
        app.call("POST", "/api/v1/events/imports?name=u", Some(&app.admin), "application/x-ndjson", &lines).await
    };
    let report = import().await.expect(200).json();
    assert_eq!(
        (&report["accepted"], &report["duplicates"], &report["rejected_total"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(report["rejected"][0]["code"], "invalid_event");
    assert_eq!(report["tenants_created"], json!(["acme"]));
    assert_eq!(import().await.expect(200).json()["duplicates"], 2);
}

#[tokio::test]
async fn a_run_is_started_followed_and_listed() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-17", "1.00")]).await;
    let answer = app.post("/runs", &json!({ "from": "2026-11-17", "to": "2026-11-18" })).await.expect(202);
    let run = answer.json();
    let id = run["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/runs/{id}"));
    let events = app.get(&format!("/runs/{id}/events")).await.expect(200);
    assert_eq!(events.header("content-type"), "text/event-stream");
    assert!(events.text.contains("event: done") && events.text.contains("\"status\":\"succeeded\""), "{}", events.text);
    let run = app.get(&format!("/runs/{id}")).await.expect(200).json();
    assert_eq!((&run["status"], &run["posting"]), (&json!("succeeded"), &json!(1)));
    let again = app.given_run("2026-11-17", "2026-11-18").await;
    assert_eq!((&again["posting"], &again["entries"]), (&json!(null), &json!(0)));
    assert_eq!(app.get("/runs").await.json()["rows"].as_array().unwrap().len(), 2);
    let proof = app.get("/ledger/proof").await.expect(200).json();
    assert!(
        proof["rows"].as_array().unwrap().iter().all(|row| row["difference"] == "0.00" && row["state"] == "proved"),
        "{proof}"
    );
    assert_eq!(proof["bills"], Value::Null);
    let proof = app.get("/ledger/proof?independent=true&range=2026-11-17..2026-11-17").await.expect(200).json();
    let bill = |name: &str| proof["bills"][0][name].clone();
    let names = ["source", "state", "billed", "billed_difference", "effective_difference", "reason"];
    assert_eq!(json!(names.map(bill)), json!(["aws", "proved", "1.00", "0.00", "0.00", null]), "{proof}");
    assert_eq!((&proof["bills"][1], &bill("lines")), (&Value::Null, &bill("lines_in_files")));
    let before = app.get("/ledger/proof?independent=true&range=2026-10-17..2026-10-17").await.expect(200).json();
    assert_eq!(before["bills"], json!([]));
    app.get("/ledger/proof?independent=maybe").await.expect_problem(400, "invalid_parameter");
    let report = app.get("/ledger/verify").await.expect(200).json();
    assert_eq!((&report["ok"], &report["faults"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn due_days_run_by_themselves() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-17", "1.00")]).await;
    let done = app.post("/runs", &json!({ "due": true })).await.expect(200).json();
    assert_eq!((&done["status"], &done["posting"]), (&json!("succeeded"), &json!(1)));
    let done = app.post("/runs", &json!({ "due": true })).await.expect(200).json();
    assert_eq!((&done["runs"], &done["posting"]), (&json!([]), &json!(null)));
    app.post("/runs", &json!({ "due": true, "from": "2026-11-17" })).await.expect_problem(400, "invalid_body");
}

#[tokio::test]
async fn a_write_is_finished_when_its_caller_goes_away() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    app.given_bill("aws", &[("shared-west-us", "2026-11-17", "1.00")]).await;
    let days = json!({ "from": "2026-11-01", "to": "2026-11-18" });
    let mut asked = Box::pin(app.post("/runs?wait=true", &days));
    let run = loop {
        assert!(futures::poll!(asked.as_mut()).is_pending(), "the run was done before its caller could leave");
        let runs = app.get("/runs").await.json();
        if let Some(run) = runs["rows"].get(0) {
            break run["id"].as_str().unwrap().to_owned();
        }
    };
    drop(asked);
    let events = app.get(&format!("/runs/{run}/events")).await.expect(200);
    assert!(events.text.contains("\"status\":\"succeeded\""), "{}", events.text);
}
