//! S6: a server that fails in every way. Nothing crashes, each fault has its cause, and nothing else is ever asked for.

pub mod server;

use super::*;
use server::{Reply, Server, http, matrix};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn options(url: &str) -> ClientOptions {
    ClientOptions {
        url: Secret::Text(url.to_owned()),
        auth: Auth::Nobody,
        org_id: None,
        timeout: Duration::from_secs(20),
        retries: 2,
        retry_wait: Duration::from_millis(1),
        response_bytes_max: 1 << 20,
    }
}

pub fn source(options: ClientOptions, series_max: usize) -> PrometheusSource {
    let query = UsageQuery {
        name: "cpu".to_owned(),
        meter: "cpu_core_hours".to_owned(),
        expression: r#"sum by (tenant) (increase(x{a="b & c"}[1h]))"#.to_owned(),
        tenant_label: "tenant".to_owned(),
        cluster: None,
        attributes: BTreeMap::new(),
    };
    PrometheusSource { client: PrometheusClient::new(options).unwrap(), queries: vec![query], series_max }
}

fn span(hours: i64) -> HourSpan {
    HourSpan::before("2026-11-20T03:00:00Z".parse().unwrap(), hours).unwrap()
}

async fn pull(source: &PrometheusSource, hours: i64) -> Result<Pulled, PrometheusError> {
    source.pull("east", &source.queries[0], span(hours)).await.map_err(|error| error.error)
}

/// Pulls from a server with these replies and compares the cause of the failure and the number of attempts.
async fn check(what: &str, replies: &[Reply], expected: &str, attempts: usize) {
    let server = Server::start(replies).await;
    let patience = match replies[0] {
        Reply::Silence => Duration::from_millis(50),
        _ => Duration::from_secs(20),
    };
    let source = source(ClientOptions { timeout: patience, ..options(&server.url) }, 2);
    let found = pull(&source, 3).await.map_or_else(|error| error.cause(), |_| "ok");
    assert_eq!((found, server.asked().len()), (expected, attempts), "{what}");
}

#[tokio::test]
async fn s6_every_fault_has_its_cause_and_only_passing_ones_are_tried_again() {
    let error = |kind: &str| format!(r#"{{"status":"error","errorType":"{kind}","error":"no"}}"#);
    let series = |name: &str| format!(r#"{{"metric":{{"tenant":"{name}"}},"values":[[1795136400,"1"]]}}"#);
    let Reply::Bytes(whole) = matrix(&series("a")) else { unreachable!() };
    let cut = Reply::Bytes(whole[..whole.len() - 20].to_vec());
    let unmarked = Reply::Bytes(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"status\":\"succ".to_vec());
    let html = http("200 OK", "content-type: text/html\r\n", "<html>sign in</html>");
    let many = [series("a"), series("b"), series("c")].join(",");
    let large = matrix(&format!(r#"{{"metric":{{"tenant":"{}"}},"values":[]}}"#, "x".repeat(1 << 20)));
    let elsewhere = http("302 Found", "location: /base/api/v1/admin/tsdb/delete_series\r\n", "");
    let no = |status: &str| http(status, "", "no");
    for (what, reply, cause, attempts) in [
        ("401", no("401 Unauthorized"), "unauthorized", 1),
        ("403", no("403 Forbidden"), "forbidden", 1),
        ("404", no("404 Not Found"), "not_found", 1),
        ("418", no("418 I'm a teapot"), "status", 1),
        ("redirect", elsewhere, "status", 1),
        ("400", http("400 Bad Request", "", &error("bad_data")), "bad_query", 1),
        ("422", http("422 Unprocessable Entity", "", &error("execution")), "bad_query", 1),
        ("error in 200", http("200 OK", "", &error("internal")), "bad_query", 1),
        ("429", no("429 Too Many Requests"), "throttled", 3),
        ("429 for long", http("429 Too Many Requests", "retry-after: 3600\r\n", ""), "throttled", 1),
        ("500", no("500 Internal Server Error"), "server_error", 3),
        ("503", http("503 Service Unavailable", "", &error("timeout")), "server_error", 3),
        ("truncated", cut, "broken_off", 3),
        ("truncated without length", unmarked, "broken_off", 3),
        ("no HTTP", Reply::Bytes(b"\x00\x01\x02\r\n\r\n".to_vec()), "unreachable", 3),
        ("silence", Reply::Silence, "timeout", 3),
        ("HTML", html, "not_json", 1),
        ("too large", large, "too_large", 1),
        ("too many series", matrix(&many), "too_many_series", 1),
        ("nothing", matrix(""), "ok", 1),
    ] {
        check(what, &[reply], cause, attempts).await;
    }
    let bad = no("502 Bad Gateway");
    check("it recovers", &[bad.clone(), bad, matrix(&series("a"))], "ok", 3).await;
}

#[tokio::test]
async fn s6_nobody_there_is_unreachable() {
    let source = source(options("http://127.0.0.1:9"), 2);
    assert_eq!(pull(&source, 1).await.expect_err("nobody listens").cause(), "unreachable");
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_waited_for() {
    let busy = http("429 Too Many Requests", "retry-after: 1\r\n", "");
    let server = Server::start(&[busy, matrix("")]).await;
    let begun = std::time::Instant::now();
    pull(&source(options(&server.url), 2), 1).await.expect("an answer");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn one_request_is_sent_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let server = Server::start(&[Reply::Hours]).await;
    let source = source(ClientOptions { auth: Auth::Bearer(Secret::File(file.clone())), ..options(&server.url) }, 2);
    let pulled = pull(&source, 3).await.expect("an answer");
    assert_eq!((pulled.series, pulled.points.len()), (1, 3));
    std::fs::write(&file, "second\n").unwrap();
    pull(&source, 3).await.expect("an answer");
    let asked = server.asked();
    let request = &asked[0];
    assert_eq!(request.line, "POST /base/api/v1/query_range HTTP/1.1");
    assert!(request.head.contains("authorization: Bearer first\r\n"), "{}", request.head);
    assert!(asked[1].head.contains("authorization: Bearer second\r\n"), "a token is read anew each time");
    assert!(request.head.contains("content-type: application/x-www-form-urlencoded\r\n"));
    assert_eq!(request.field("query"), source.queries[0].expression);
    let times = ["start", "end", "step", "timeout"].map(|name| request.field(name));
    assert_eq!(times, ["1795136400", "1795143600", "3600", "20000ms"], "the first hour ends at the start");
}

#[tokio::test]
async fn a_store_of_several_organisations_is_told_whose_series_are_meant() {
    let server = Server::start(&[matrix("")]).await;
    let of_acme = ClientOptions { org_id: Some("acme|globex".to_owned()), ..options(&server.url) };
    pull(&source(of_acme, 2), 1).await.expect("an answer");
    pull(&source(options(&server.url), 2), 1).await.expect("an answer");
    let heads: Vec<String> = server.asked().into_iter().map(|request| request.head.to_lowercase()).collect();
    assert!(heads[0].contains("x-scope-orgid: acme|globex\r\n"), "{}", heads[0]);
    assert!(!heads[1].contains("x-scope-orgid"), "{}", heads[1]);
}

#[tokio::test]
async fn long_ranges_are_asked_for_in_pieces_that_a_server_answers() {
    let server = Server::start(&[Reply::Hours]).await;
    let pulled = pull(&source(options(&server.url), 2), 11_001).await.expect("an answer");
    assert_eq!((pulled.points.len(), pulled.series), (11_001, 1));
    assert!(pulled.points.windows(2).all(|pair| pair[0].hour < pair[1].hour));
    let lengths = server.asked().into_iter().map(|request| {
        let second = |name: &str| request.field(name).parse::<i64>().unwrap();
        (second("end") - second("start")) / 3600 + 1
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [11_000, 1]);
}

#[tokio::test]
async fn secrets_are_in_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Secret::File(folder.path().join("none"));
    let broken = Secret::Text("hunter2\nx".to_owned());
    for token in [missing, broken] {
        let options = ClientOptions { auth: Auth::Bearer(token), ..options("http://127.0.0.1:9") };
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = pull(&source(options, 2), 1).await.expect_err("no token");
        assert_eq!(error.cause(), "secret");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
