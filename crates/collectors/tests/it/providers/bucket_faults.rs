//! S6 of files in buckets: every fault that a store can have, for each kind of bucket.

use super::exports::{FILES, bill, contract};
use super::faults::has_failed;
use super::given::{Contract, Given, cause_of, source};
use super::stand_in::{Asked, Reply, Wire};
use collectors::prometheus::Secret;
use collectors::providers::{Cause, CollectAsked, CollectReport, CredentialSet, ProviderSource, Providers, kind};
use collectors::sources::SourceError;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CANARY: &str = "canary-of-a-bucket-5d1c";
const RUN: &str = "2026-11-20T03:00:00.000Z-aa";

static AWS: Contract = contract("aws_export");
static AZURE: Contract = contract("azure_export");
static GOOGLE: Contract = contract("gcp_export");

/// Key of the data file, and keys and texts of whatever lies beside it.
type Objects = (String, Vec<(String, String)>);

/// A kind of bucket, with one run of a month in it.
struct Cloud {
    contract: &'static Contract,
    /// Keys of the source, given the stand-in's address.
    keys: fn(&str) -> Value,
    credentials: fn() -> Vec<(&'static str, String)>,
    /// Path of the bucket.
    root: &'static str,
    is_let_in: fn(&Asked) -> bool,
    /// The objects as a page, and whether there is another one.
    page: fn(&[(&str, usize)], bool) -> String,
    /// Key of the data file, and whatever lies beside it.
    objects: fn() -> Objects,
}

static CLOUDS: [Cloud; 4] = [
    Cloud {
        contract: &AWS,
        keys: |url| json!({ "bucket": "s3://acme-billing/focus", "endpoint": url }),
        credentials: || vec![("access_key", "AKIAEXAMPLE".to_owned()), ("secret_key", CANARY.to_owned())],
        root: "/acme-billing",
        is_let_in: |asked| asked.header("authorization").is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256 ")),
        page: contents,
        objects: || {
            let data = format!("focus/acme/data/BILLING_PERIOD=2026-11/{RUN}/acme-00001.csv");
            let manifest = json!({ "executionId": RUN, "dataFiles": [format!("s3://acme-billing/{data}")] });
            let key = format!("focus/acme/metadata/BILLING_PERIOD=2026-11/{RUN}/acme-Manifest.json");
            (data, vec![(key, manifest.to_string())])
        },
    },
    Cloud {
        contract: &AZURE,
        keys: |url| json!({ "bucket": "az://exports/focus", "account": "acme", "endpoint": format!("{url}/acme") }),
        credentials: || vec![("sas_token", format!("sv=2021-08-06&sig={CANARY}"))],
        root: "/acme/exports",
        is_let_in: |asked| asked.param("sig") == Some(CANARY),
        page: blobs,
        objects: || {
            let data = "focus/mtd/20261101-20261130/aa/part_0_0001.csv".to_owned();
            let manifest = json!({
                "exportConfig": { "exportName": "mtd", "type": "FocusCost" }, "blobs": [{ "blobName": data }],
                "runInfo": { "submittedTime": "2026-11-20T03:00:00Z", "runId": "aa", "startDate": "2026-11-01T00:00:00" },
            });
            (data, vec![("focus/mtd/20261101-20261130/aa/manifest.json".to_owned(), manifest.to_string())])
        },
    },
    Cloud {
        contract: &GOOGLE,
        keys: |url| json!({ "bucket": "gs://acme-billing/focus", "endpoint": url }),
        // Without signing: the stand-in of the tests in Python looks at signatures.
        credentials: || {
            let key = json!({
                "private_key": CANARY, "private_key_id": "1", "client_email": "a@example.com", "disable_oauth": true,
            });
            vec![("service_account", key.to_string())]
        },
        root: "/acme-billing",
        is_let_in: |asked| asked.header("authorization").is_none(),
        page: contents,
        objects: || {
            let folder = "focus/billing_period=2026-11/run=2026-11-20";
            (format!("{folder}/shard-0.csv"), vec![(format!("{folder}/_SUCCESS"), "{}".to_owned())])
        },
    },
    Cloud {
        contract: &FILES,
        keys: |url| json!({ "bucket": "s3://acme-billing/focus", "endpoint": url }),
        credentials: || vec![("access_key", "AKIAEXAMPLE".to_owned()), ("secret_key", CANARY.to_owned())],
        root: "/acme-billing",
        is_let_in: |asked| asked.header("authorization").is_some_and(|text| text.starts_with("AWS4-HMAC-SHA256 ")),
        page: contents,
        objects: || ("focus/billing_period=2026-11/part-0.csv".to_owned(), Vec::new()),
    },
];

/// A page of S3 and of Google's XML API.
fn contents(objects: &[(&str, usize)], has_more: bool) -> String {
    let one = |(key, size): &(&str, usize)| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-20T03:00:00.000Z</LastModified><ETag>\"{size}\"</ETag>\
             <Size>{size}</Size></Contents>"
        )
    };
    let more = if has_more { "<NextContinuationToken>more</NextContinuationToken>" } else { "" };
    format!("<ListBucketResult>{}{more}</ListBucketResult>", objects.iter().map(one).collect::<String>())
}

/// A page of Azure.
fn blobs(objects: &[(&str, usize)], has_more: bool) -> String {
    let one = |(key, size): &(&str, usize)| {
        format!(
            "<Blob><Name>{key}</Name><Properties><Last-Modified>Fri, 20 Nov 2026 03:00:00 GMT</Last-Modified>\
             <Etag>\"{size}\"</Etag><Content-Length>{size}</Content-Length><Content-Type>text/plain</Content-Type>\
             </Properties></Blob>"
        )
    };
    let (blobs, more) = (objects.iter().map(one).collect::<String>(), if has_more { "more" } else { "" });
    format!("<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>")
}

impl Cloud {
    /// What the store answers while nothing is wrong, with this as the data file.
    fn answer(&self, asked: &Asked, data: &[u8]) -> Reply {
        if asked.method != "GET" || !(self.is_let_in)(asked) {
            return Reply::status(403, "<Error><Code>AccessDenied</Code></Error>");
        }
        let (key, beside) = (self.objects)();
        let mut objects: BTreeMap<String, Vec<u8>> =
            beside.into_iter().map(|(key, content)| (key, content.into_bytes())).collect();
        objects.insert(key, data.to_vec());
        if self.is_listing(asked) {
            let listed: Vec<(&str, usize)> =
                objects.iter().map(|(key, content)| (key.as_str(), content.len())).collect();
            return Reply::status(200, (self.page)(&listed, false)).header("content-type", "application/xml");
        }
        let path = decoded(&asked.path);
        match path.strip_prefix(self.root).and_then(|key| objects.get(key.trim_start_matches('/'))) {
            Some(content) => Reply::status(200, content.clone())
                .header("etag", format!("\"{}\"", content.len()))
                .header("last-modified", "Fri, 20 Nov 2026 03:00:00 GMT"),
            None => Reply::status(404, "<Error><Code>NoSuchKey</Code></Error>"),
        }
    }

    fn is_listing(&self, asked: &Asked) -> bool {
        decoded(&asked.path).trim_end_matches('/') == self.root
    }

    /// A collector of the bucket in a process that has just started.
    fn process(&self, given: &Given, patience: Duration) -> Providers {
        let build = kind(self.contract.kind).expect("the kind is registered").build;
        let secrets = (self.credentials)().into_iter().map(|(key, text)| (key, Secret::Text(text)));
        let usual = source(self.contract, "http://127.0.0.1:9", patience);
        given.process(vec![ProviderSource {
            collector: build((self.keys)(&given.server.url)).expect("valid keys"),
            credentials: CredentialSet::new(secrets.collect()),
            ..usual
        }])
    }

    /// Reads the month, also if it was read before.
    async fn refresh(&self, providers: &Providers) -> Result<CollectReport, SourceError> {
        let from = Some("2026-11-01T00:00:00Z".parse().expect("a time"));
        providers.refresh(self.contract.kind, &CollectAsked { from, ..CollectAsked::default() }).await
    }
}

/// A path as it was before it was percent-encoded, which each client does in its own way.
fn decoded(path: &str) -> String {
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let hex = path.get(at..at + 3).and_then(|text| text.strip_prefix('%'));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                at += 3;
            }
            None => {
                bytes.push(path.as_bytes()[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(bytes).expect("text")
}

fn good() -> Vec<u8> {
    bill("2026-11", &["10", "20"]).into_bytes()
}

type Spoil = fn(Reply, &Asked) -> Wire;

/// Faults of every answer.
fn of_all() -> [(&'static str, Cause, Spoil); 12] {
    [
        ("401", Cause::Auth, |_, _| Wire::Whole(Reply::status(401, "<Error/>"))),
        ("403 that repeats what was sent", Cause::Auth, |_, asked| Wire::Whole(Reply::status(403, asked.head.clone()))),
        ("404", Cause::NotFound, |_, _| Wire::Whole(Reply::status(404, "<Error><Code>NoSuchBucket</Code></Error>"))),
        ("418", Cause::Refused, |_, _| Wire::Whole(Reply::status(418, "a teapot"))),
        ("429", Cause::RateLimited, |_, _| Wire::Whole(Reply::status(429, "").header("retry-after", "0"))),
        ("500", Cause::Server, |_, _| Wire::Whole(Reply::status(500, ""))),
        ("503", Cause::Server, |_, _| Wire::Whole(Reply::status(503, "<Error><Code>SlowDown</Code></Error>"))),
        ("redirect", Cause::Redirect, |_, _| Wire::Whole(Reply::status(302, "").header("location", "/base/else"))),
        ("no XML", Cause::NotJson, |_, _| Wire::Whole(Reply::status(200, "{\"sign\":\"in\"}"))),
        ("silence", Cause::Timeout, |_, _| Wire::Silence),
        ("slow body", Cause::Timeout, |reply, _| Wire::Slow(reply)),
        ("body that breaks off", Cause::Truncated, |reply, _| Wire::Half(reply)),
    ]
}

/// Data files that are of no use.
fn of_data() -> Vec<(&'static str, Cause, Vec<u8>)> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&good()).expect("memory");
    let packed = packed.finish().expect("memory");
    let text = bill("2026-11", &["10", "20"]);
    vec![
        ("HTML", Cause::Schema, b"<html><body>Sign in</body></html>".to_vec()),
        ("nothing but a header", Cause::Schema, text.lines().next().expect("a header").as_bytes().to_vec()),
        ("gzip that breaks off", Cause::Truncated, packed[..packed.len() / 2].to_vec()),
        ("a missing column", Cause::Schema, text.replace("BilledCost", "SomethingElse").into_bytes()),
        ("an amount that is none", Cause::Schema, text.replace("10,10,", "ten,10,").into_bytes()),
    ]
}

/// What is stored stays, and the cause is counted and no other.
async fn fails(given: &Given, cloud: &Cloud, cause: Cause, patience: Duration, place: &str) {
    let providers = cloud.process(given, patience);
    let refused = cloud.refresh(&providers).await;
    assert_eq!(cause_of(&refused), Some(cause), "{place}: {refused:?}");
    has_failed(given, &providers, cause, place).await;
    assert!(!format!("{refused:?}").contains(CANARY), "{place}: {refused:?}");
}

/// Runs every fault against a kind of bucket.
async fn faults(cloud: &'static Cloud) {
    let given = Given::new(cloud.contract).await;
    let patient = Duration::from_secs(20);
    given.server.then(move |asked| Wire::Whole(cloud.answer(asked, &good())));
    cloud.refresh(&cloud.process(&given, patient)).await.expect("a collection");
    given.server.asked();
    cloud.refresh(&cloud.process(&given, patient)).await.expect("a collection");
    let (before, requests) = (given.stored().await, given.server.asked().len());
    assert_eq!(before.lines.len(), 2);
    for (name, cause, spoil) in of_all() {
        given.server.then(move |asked| spoil(cloud.answer(asked, &good()), asked));
        let patience = if cause == Cause::Timeout { Duration::from_millis(300) } else { patient };
        let place = format!("{}: {name}", cloud.contract.kind);
        fails(&given, cloud, cause, patience, &place).await;
        assert_eq!(given.stored().await, before, "{place}");
    }
    for (name, cause, data) in of_data() {
        let data = Arc::new(data);
        given.server.then(move |asked| Wire::Whole(cloud.answer(asked, &data)));
        let place = format!("{}: {name}", cloud.contract.kind);
        fails(&given, cloud, cause, patient, &place).await;
        assert_eq!(given.stored().await, before, "{place}");
    }
    for at in 0..requests {
        let count = AtomicUsize::new(0);
        given.server.then(move |asked| match count.fetch_add(1, Ordering::SeqCst) == at {
            true => Wire::Whole(Reply::status(403, "no")),
            false => Wire::Whole(cloud.answer(asked, &good())),
        });
        let place = format!("{}: request {at}", cloud.contract.kind);
        fails(&given, cloud, Cause::Auth, patient, &place).await;
        assert_eq!(given.stored().await, before, "{place}");
    }
    repeats(&given, cloud).await;
    assert_eq!(given.stored().await, before, "{}: pages that repeat", cloud.contract.kind);
    recovers(&given, cloud).await;
}

/// A listing whose next page is the same again, for ever.
async fn repeats(given: &Given, cloud: &'static Cloud) {
    given.server.then(move |asked| {
        let reply = cloud.answer(asked, &good());
        if !cloud.is_listing(asked) {
            return Wire::Whole(reply);
        }
        Wire::Whole(Reply { body: (cloud.page)(&[("focus/a", 1)], true).into_bytes(), ..reply })
    });
    fails(given, cloud, Cause::Paging, Duration::from_secs(20), "the same page").await;
}

/// A store that asks to come back in a second, then answers, with a column that nobody knows: the same amounts.
async fn recovers(given: &Given, cloud: &'static Cloud) {
    let before = given.stored().await;
    let count = AtomicUsize::new(0);
    given.server.then(move |asked| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Wire::Whole(Reply::status(503, "").header("retry-after", "1")),
        _ => {
            let text = String::from_utf8(good()).expect("text").replace("\n", ",x\n").replacen(",x\n", ",x_Brand\n", 1);
            Wire::Whole(cloud.answer(asked, text.as_bytes()))
        }
    });
    let begun = Instant::now();
    cloud.refresh(&cloud.process(given, Duration::from_secs(20))).await.expect("a new column is no fault");
    assert!(Duration::from_secs(1) <= begun.elapsed(), "{}: nobody waited", cloud.contract.kind);
    assert_eq!(given.stored().await.lines, before.lines, "{}", cloud.contract.kind);
}

#[tokio::test]
async fn s6_faults_of_a_bucket_of_aws() {
    faults(&CLOUDS[0]).await;
}

#[tokio::test]
async fn s6_faults_of_a_bucket_of_azure() {
    faults(&CLOUDS[1]).await;
}

#[tokio::test]
async fn s6_faults_of_a_bucket_of_google() {
    faults(&CLOUDS[2]).await;
}

#[tokio::test]
async fn s6_faults_of_a_bucket_of_anybody() {
    faults(&CLOUDS[3]).await;
}
