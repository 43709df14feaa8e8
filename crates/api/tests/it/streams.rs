//! Pushed metrics through the real router: both protocols, their encodings, their answers, their errors.

use crate::app::{Answer, TestApp};
use api::ApiLimits;
use api::rates::EventRates;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use domain::meter::MeterKind;
use engine::Settings;
use metering::streams::{MetricMap, MetricRule};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt as _;

const OTLP: &str = "/api/v1/otlp/v1/metrics";
const WRITE: &str = "/api/v1/write";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
/// 2026-11-19T10:00:00Z.
const SECONDS: u64 = 1_795_082_400;

fn rule(name: &str, meter: &str, kind: Option<MeterKind>) -> MetricRule {
    MetricRule {
        name: name.to_owned(),
        meter: meter.to_owned(),
        tenant: vec!["tenant".to_owned(), "tenant.id".to_owned()],
        attributes: [("model".to_owned(), "gen_ai.request.model".to_owned())].into(),
        unit: None,
        kind,
    }
}

async fn start(limits: ApiLimits) -> TestApp {
    let mut app = TestApp::with(Settings::default(), limits).await;
    let rules = vec![
        rule("tokens", "llm_tokens", None),
        rule("queries_total", "log_queries", None),
        rule("level", "member_count", None),
    ];
    app.change(|parts| parts.metrics = Arc::new(MetricMap::new(rules).unwrap()));
    app
}

async fn push(app: &TestApp, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method("POST").uri(path);
    request = request.header("authorization", format!("Bearer {}", app.admin));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

async fn usage(app: &TestApp, meter: &str) -> Vec<(String, String)> {
    let body = app.get(&format!("/usage?range=2026-11-19&meter={meter}")).await.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = body["rows"].as_array().expect("rows").iter();
    rows.map(|row| (text(&row["key"]["tenant"]), text(&row["quantity"]))).collect()
}

fn acme(quantity: &str) -> Vec<(String, String)> {
    vec![("acme".to_owned(), quantity.to_owned())]
}

/// An export of one sum: its temporality, and for each data point seconds after its start, and value.
fn export(name: &str, temporality: u8, points: &[(u64, &str)]) -> Value {
    let point = |(after, value): &(u64, &str)| {
        json!({
            "startTimeUnixNano": format!("{SECONDS}000000000"), "timeUnixNano": format!("{}000000000", SECONDS + after),
            "attributes": [{ "key": "gen_ai.request.model", "value": { "stringValue": "small" } }], "asInt": value,
        })
    };
    let points: Vec<Value> = points.iter().map(point).collect();
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [{ "key": "tenant.id", "value": { "stringValue": "acme" } }] },
        "scopeMetrics": [{ "metrics": [{ "name": name,
            "sum": { "aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": points } }] }],
    }] })
}

/// Protobuf by hand: what a sender would write.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3) | 2];
    varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed64(number: u8, value: u64) -> Vec<u8> {
    let mut out = vec![(number << 3) | 1];
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn number(number: u8, value: u64) -> Vec<u8> {
    let mut out = vec![number << 3];
    varint(value, &mut out);
    out
}

/// The same as [`export`] with one data point, as protobuf.
fn export_protobuf(name: &str, temporality: u64, after: u64, value: u64) -> Vec<u8> {
    let pair = |key: &str, text: &str| [field(1, key.as_bytes()), field(2, &field(1, text.as_bytes()))].concat();
    let point = [
        fixed64(2, SECONDS * 1_000_000_000),
        fixed64(3, (SECONDS + after) * 1_000_000_000),
        fixed64(6, value),
        field(7, &pair("gen_ai.request.model", "small")),
    ];
    let sum = [field(1, &point.concat()), number(2, temporality), number(3, 1)].concat();
    let metric = [field(1, name.as_bytes()), field(7, &sum)].concat();
    let resource = field(1, &field(1, &pair("tenant.id", "acme")));
    field(1, &[resource, field(2, &field(2, &metric))].concat())
}

/// A snappy block that is one literal after the other.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(bytes.len() as u64, &mut out);
    for literal in bytes.chunks(60) {
        out.push((literal.len() as u8 - 1) << 2);
        out.extend_from_slice(literal);
    }
    out
}

fn write_v1(name: &str, tenant: &str, samples: &[(u64, f64)]) -> Vec<u8> {
    let label = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let sample = |(after, value): &(u64, f64)| {
        field(2, &[fixed64(1, value.to_bits()), number(2, (SECONDS + after) * 1_000)].concat())
    };
    let samples: Vec<u8> = samples.iter().flat_map(sample).collect();
    snappy(&field(1, &[label("__name__", name), label("tenant", tenant), samples].concat()))
}

fn write_v2(name: &str, samples: &[(u64, f64)], histogram: bool) -> Vec<u8> {
    let symbols = ["", "__name__", name, "tenant", "acme"].map(|text| field(4, text.as_bytes())).concat();
    let sample = |(after, value): &(u64, f64)| {
        let at = number(2, (SECONDS + after) * 1_000);
        field(2, &[fixed64(1, value.to_bits()), at, number(3, SECONDS * 1_000)].concat())
    };
    let samples: Vec<u8> = samples.iter().flat_map(sample).collect();
    let histogram = if histogram { field(3, &[]) } else { Vec::new() };
    let series = [field(1, &[1, 2, 3, 4]), samples, histogram, field(5, &number(1, 1))].concat();
    snappy(&[symbols, field(5, &series)].concat())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Stored, not compressed: header, one block, checksum, length.
    let length = u16::try_from(bytes.len()).unwrap();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&u32::from(length).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[tokio::test]
async fn json_protobuf_and_gzip_are_one_export_that_counts_once() {
    let app = start(ApiLimits::default()).await;
    let body = export("tokens", 1, &[(10, "1820")]).to_string().into_bytes();
    let answer = push(&app, OTLP, &[("content-type", JSON)], body.clone()).await.expect(200);
    assert_eq!((answer.text.as_str(), answer.header("content-type")), ("{}", JSON));
    assert_eq!(usage(&app, "llm_tokens").await, acme("1820"));
    let zipped = [("content-type", JSON), ("content-encoding", "gzip")];
    push(&app, OTLP, &zipped, gzip(&body)).await.expect(200);
    let body = export_protobuf("tokens", 1, 10, 1820);
    let answer = push(&app, OTLP, &[("content-type", PROTOBUF)], body).await.expect(200);
    assert_eq!((answer.text.as_str(), answer.header("content-type")), ("", PROTOBUF));
    assert_eq!(usage(&app, "llm_tokens").await, acme("1820"));
    let rows = app.get("/usage?range=2026-11-19&meter=llm_tokens&group_by=label:model,origin").await.expect(200).json();
    assert_eq!(rows["rows"][0]["key"], json!({ "label:model": "small", "origin": "metrics_server" }));
}

#[tokio::test]
async fn a_cumulative_export_counts_what_was_added() {
    let app = start(ApiLimits::default()).await;
    for (points, expected) in [
        (&[(10, "100")][..], "100"),
        (&[(20, "150")], "150"),
        (&[(20, "150")], "150"),
        (&[(15, "120"), (30, "175")], "175"),
    ] {
        let body = export("tokens", 2, points).to_string().into_bytes();
        push(&app, OTLP, &[("content-type", JSON)], body).await.expect(200);
        assert_eq!(usage(&app, "llm_tokens").await, acme(expected));
    }
    app.app.events.flush_all().await.unwrap();
    assert_eq!(usage(&app, "llm_tokens").await, acme("175"));
}

#[tokio::test]
async fn refused_points_are_told_and_the_others_stored() {
    let app = start(ApiLimits::default()).await;
    let mut body = export("tokens", 1, &[(10, "5"), (20, "-1"), (200_000, "1")]);
    body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array_mut().unwrap().extend([
        json!({ "name": "tokens", "sum": { "dataPoints": [{ "timeUnixNano": "1", "asInt": "1" }] } }),
        json!({ "name": "not.mapped", "sum": { "dataPoints": [{ "asDouble": "NaN" }] } }),
    ]);
    let answer = push(&app, OTLP, &[("content-type", JSON)], body.to_string().into_bytes()).await.expect(200).json();
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "3");
    let message = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    for reason in ["negative_quantity", "time_in_future", "unknown temporality"] {
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(usage(&app, "llm_tokens").await, acme("5"));
    let all = export_protobuf("tokens", 0, 10, 1);
    let answer = push(&app, OTLP, &[("content-type", PROTOBUF)], all).await.expect(200);
    assert!(answer.text.starts_with('\n') && answer.text.contains("unknown temporality"), "{:?}", answer.text);
}

#[tokio::test]
async fn otlp_errors_are_a_status_in_the_encoding_of_the_request() {
    let limits = ApiLimits {
        events_bytes_max: 1_000,
        events_decoded_bytes_max: 1_500,
        metric_series_max: 2,
        events_max: 1,
        ..ApiLimits::default()
    };
    let app = start(limits).await;
    let tokens = |points: &[(u64, &str)]| export("tokens", 1, points).to_string().into_bytes();
    let long = "x".repeat(1_001).into_bytes();
    let cases = [
        (JSON, "", b"{".to_vec(), 400, "invalid_body"),
        (PROTOBUF, "", b"\x0a\x05x".to_vec(), 400, "invalid_body"),
        (JSON, "gzip", b"{}".to_vec(), 400, "invalid_body"),
        (JSON, "br", b"{}".to_vec(), 415, "unsupported_media_type"),
        (PROTOBUF, "", long.clone(), 413, "limits.events_body"),
        (
            JSON,
            "",
            export("other", 1, &[(1, "1"), (2, "2"), (3, "3")]).to_string().into_bytes(),
            413,
            "limits.metric_series",
        ),
        (JSON, "", tokens(&[(1, "1"), (2, "2")]), 413, "limits.events"),
    ];
    for (kind, encoding, body, status, code) in cases {
        let mut headers = vec![("content-type", kind)];
        if !encoding.is_empty() {
            headers.push(("content-encoding", encoding));
        }
        let answer = push(&app, OTLP, &headers, body).await.expect(status);
        assert_eq!(answer.header("content-type"), kind);
        assert!(answer.text.contains(code), "{}", answer.text);
        match kind {
            JSON => assert!(answer.json()["message"].is_string()),
            _ => assert!(answer.text.starts_with('\u{12}'), "{:?}", answer.text),
        }
    }
    let bomb = gzip(&[b' '; 1_501]);
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    let app = start(ApiLimits { events_decoded_bytes_max: 1_500, ..ApiLimits::default() }).await;
    let answer = push(&app, OTLP, &headers, bomb).await.expect(413);
    assert!(answer.text.contains("limits.events_decoded"), "{}", answer.text);
    let app = start(ApiLimits { events_memory_bytes_max: 128 * 1024, ..ApiLimits::default() }).await;
    let answer = push(&app, OTLP, &headers, gzip(&[b' '; 65_000])).await.expect(413);
    assert!(answer.text.contains("limits.events_memory"), "{}", answer.text);
    let text = push(&app, OTLP, &[("content-type", "text/plain")], long).await;
    text.expect_problem(415, "unsupported_media_type");
    push(&app, &format!("{OTLP}?x=1"), &[("content-type", JSON)], b"{}".to_vec()).await.expect(400);
    let nobody = app.call("POST", OTLP, None, JSON, "{").await.expect(401);
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    assert!(nobody.json()["message"].as_str().unwrap().starts_with("unauthenticated"));
}

#[tokio::test]
async fn who_sends_too_much_is_told_when_to_try_again_and_loses_nothing() {
    let mut app = start(ApiLimits::default()).await;
    app.change(|parts| parts.rates = Arc::new(EventRates::new(1)));
    let send = async |points: &[(u64, &str)]| {
        push(&app, OTLP, &[("content-type", JSON)], export("tokens", 2, points).to_string().into_bytes()).await
    };
    send(&[(1, "1"), (2, "2")]).await.expect(200);
    let answer = send(&[(3, "3")]).await.expect(429);
    assert_eq!(answer.header("retry-after"), "2");
    assert!(answer.json()["message"].as_str().unwrap().starts_with("rate_limited"));
    let sample = write_v1("queries_total", "acme", &[(10, 5.0)]);
    let answer = push(&app, WRITE, &[("content-type", PROTOBUF), ("content-encoding", "snappy")], sample).await;
    assert_eq!(answer.header("retry-after"), "2");
    answer.expect_problem(429, "rate_limited");
    app.clock.set("2026-11-20T12:01:00Z".parse().unwrap());
    send(&[(3, "3")]).await.expect(200);
    assert_eq!(usage(&app, "llm_tokens").await, acme("3"));
}

#[tokio::test]
async fn remote_write_counts_once_in_both_versions() {
    let app = start(ApiLimits::default()).await;
    let headers = [("content-type", PROTOBUF), ("content-encoding", "snappy")];
    let first = write_v1("queries_total", "acme", &[(10, 100.0), (20, 101.5)]);
    for _ in 0..2 {
        let answer = push(&app, WRITE, &headers, first.clone()).await.expect(204);
        assert_eq!(answer.text, "");
        assert_eq!(usage(&app, "log_queries").await, acme("1.5"));
    }
    push(&app, WRITE, &headers, write_v1("not_mapped", "", &[(1, 1.0)])).await.expect(400);
    let headers = [("content-type", V2), ("content-encoding", "snappy")];
    let answer =
        push(&app, WRITE, &headers, write_v2("queries_total", &[(30, 2.0), (40, 4.0)], false)).await.expect(204);
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "2");
    assert_eq!(answer.header("x-prometheus-remote-write-histograms-written"), "0");
    assert_eq!(answer.header("x-prometheus-remote-write-exemplars-written"), "0");
    // The labels are the same, so it is the same stream, which says its start now: 2 is below 101.5.
    assert_eq!(usage(&app, "log_queries").await, acme("5.5"));
    let other = push(&app, WRITE, &headers, write_v2("not_mapped", &[(30, 2.0)], true)).await.expect(204);
    assert_eq!(other.header("x-prometheus-remote-write-samples-written"), "1");
}

#[tokio::test]
async fn a_write_with_refused_samples_is_400_and_the_others_are_stored() {
    let app = start(ApiLimits::default()).await;
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let samples = [(10, 7.0), (20, f64::NAN), (30, stale)];
    let v1 = [("content-type", PROTOBUF), ("content-encoding", "snappy")];
    let problem = push(&app, WRITE, &v1, write_v1("level", "acme", &samples)).await;
    let problem = problem.expect_problem(400, "samples_refused");
    assert!(problem["detail"].as_str().unwrap().starts_with("1 samples refused"), "{problem}");
    assert_eq!(usage(&app, "member_count").await, acme("7"));
    let v2 = [("content-type", V2), ("content-encoding", "snappy")];
    let answer = push(&app, WRITE, &v2, write_v2("queries_total", &[(10, 5.0), (20, f64::INFINITY)], false)).await;
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), "1");
    answer.expect_problem(400, "samples_refused");
    let answer = push(&app, WRITE, &v2, write_v2("queries_total", &[], true)).await;
    answer.expect_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn bodies_that_are_no_write_are_refused() {
    let app = start(ApiLimits { events_decoded_bytes_max: 100, ..ApiLimits::default() }).await;
    let snappy_of = |kind| [("content-type", kind), ("content-encoding", "snappy")];
    let send = async |headers: &[(&str, &str)], body: &[u8]| push(&app, WRITE, headers, body.to_vec()).await;
    send(&snappy_of(JSON), b"{}").await.expect_problem(415, "unsupported_media_type");
    send(&snappy_of("application/x-protobuf;proto=x"), b"").await.expect_problem(415, "unsupported_media_type");
    send(&[("content-type", PROTOBUF), ("content-encoding", "gzip")], b"")
        .await
        .expect_problem(415, "unsupported_media_type");
    send(&snappy_of(PROTOBUF), b"\x05hello").await.expect_problem(400, "invalid_body");
    send(&snappy_of(PROTOBUF), &snappy(b"\x0a\x05x")).await.expect_problem(400, "invalid_body");
    send(&snappy_of(PROTOBUF), &snappy(&[0; 101])).await.expect_problem(413, "payload_too_large");
    let unsorted = [field(4, b"x"), field(5, &field(1, &[0, 0]))].concat();
    send(&snappy_of(V2), &snappy(&unsorted)).await.expect_problem(400, "invalid_body");
}

#[tokio::test]
async fn a_token_of_one_tenant_needs_no_attribute_and_may_name_no_other() {
    let app = start(ApiLimits::default()).await;
    let writer = app.token("ingest", &["globex"]).await;
    let mut nameless = export("tokens", 2, &[(10, "5")]);
    nameless["resourceMetrics"][0].as_object_mut().unwrap().remove("resource");
    app.call("POST", OTLP, Some(&writer), JSON, &nameless.to_string()).await.expect(200);
    assert_eq!(usage(&app, "llm_tokens").await, [("globex".to_owned(), "5".to_owned())]);
    let foreign = export("tokens", 2, &[(10, "5")]).to_string();
    let answer = app.call("POST", OTLP, Some(&writer), JSON, &foreign).await.expect(200).json();
    assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("tenant_forbidden"), "{answer}");
    let missing = app.call("POST", OTLP, Some(&app.admin), JSON, &nameless.to_string()).await.expect(200).json();
    assert!(missing["partialSuccess"]["errorMessage"].as_str().unwrap().contains("tenant_missing"), "{missing}");
}

#[tokio::test]
async fn a_meter_that_is_gone_refuses_its_metrics() {
    let app = start(ApiLimits::default()).await;
    app.delete("/meters/llm_tokens").await.expect(204);
    let body = export("tokens", 2, &[(10, "5")]).to_string();
    let answer = app.call("POST", OTLP, Some(&app.admin), JSON, &body).await.expect(200).json();
    assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("there is no meter"), "{answer}");
}
