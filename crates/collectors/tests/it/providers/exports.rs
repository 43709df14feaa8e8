//! Files of clouds: from a folder, and from a stand-in that speaks as much of S3 as a reader needs.

use super::given::{Contract, Given, cause_of, refresh, source, status};
use super::stand_in::{Asked, Reply, Wire};
use collectors::providers::{Cause, CollectAsked, CollectReport, ProviderSource, Providers, kind};
use collectors::sources::{SourceError, SourceState};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HEADER: &str = "BilledCost,EffectiveCost,BillingCurrency,BillingAccountId,BillingPeriodStart,BillingPeriodEnd,\
                      ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName";

static AWS: Contract = contract("aws_export");
pub(super) static FILES: Contract = contract("files");
static AZURE: Contract = contract("azure_export");

pub(super) const fn contract(kind: &'static str) -> Contract {
    Contract {
        kind,
        keys: || json!({ "path": "/nowhere" }),
        now: "2026-11-25T12:00:00Z",
        answer: |asked, _| Reply::unknown(asked),
        needed: "",
        is_paged: false,
    }
}

/// Rows of the first days of a month, of these amounts.
pub(super) fn bill(month: &str, amounts: &[&str]) -> String {
    let next = if month == "2026-11" { "2026-12" } else { "2026-11" };
    let row = |(at, amount): (usize, &&str)| {
        let day = at + 1;
        format!(
            "{amount},{amount},USD,acct,{month}-01,{next}-01,{month}-{day:02} 00:00:00,{month}-{day:02} 01:00:00,Usage,EC2\n"
        )
    };
    format!("{HEADER}\n{}", amounts.iter().enumerate().map(row).collect::<String>())
}

/// A collector of these keys, as a process that has just started has it.
pub(super) fn process(given: &Given, contract: &Contract, keys: Value) -> Providers {
    let build = kind(contract.kind).expect("the kind is registered").build;
    let usual = source(contract, "http://127.0.0.1:9", Duration::from_secs(3));
    given.process(vec![ProviderSource { collector: build(keys).expect("valid keys"), ..usual }])
}

/// A folder with files, below the folder of the store.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn new(given: &Given) -> Self {
        Self(given.store.folder.path().join("exports"))
    }

    pub fn put(&self, key: &str, content: &str) {
        let path = self.0.join(key);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, content).expect("a written file");
    }

    /// A run of an export that makes a folder for each run.
    fn put_run(&self, month: &str, run: &str, amounts: &[&str]) {
        let data = format!("data/BILLING_PERIOD={month}/{run}/acme-00001.csv");
        self.put(&format!("focus/acme/{data}"), &bill(month, amounts));
        let manifest = json!({ "executionId": run, "dataFiles": [format!("s3://acme-billing/focus/acme/{data}")] });
        let path = format!("focus/acme/metadata/BILLING_PERIOD={month}/{run}/acme-Manifest.json");
        self.put(&path, &manifest.to_string());
    }

    pub fn keys(&self) -> Value {
        json!({ "path": self.0 })
    }
}

pub(super) async fn billed(given: &Given) -> String {
    let sums = given.store.sums("billed_cost").await;
    domain::money::format_atoms(sums.get("USD").copied().unwrap_or(0))
}

fn read(report: &CollectReport) -> Vec<&str> {
    report.periods.iter().map(|period| period.period.as_str()).collect()
}

#[tokio::test]
async fn of_each_period_the_last_run_counts_and_what_did_not_change_is_not_read_again() {
    let given = Given::new(&AWS).await;
    let folder = Folder::new(&given);
    folder.put_run("2026-10", "2026-11-01T03:00:00.000Z-aa", &["1", "2"]);
    folder.put_run("2026-11", "2026-11-19T03:00:00.000Z-bb", &["10", "20"]);
    folder.put_run("2026-11", "2026-11-20T03:00:00.000Z-01", &["10", "20.5"]);
    let first = refresh(&process(&given, &AWS, folder.keys()), "aws_export").await.expect("a collection");
    assert_eq!((read(&first), billed(&given).await), (vec!["2026-11", "2026-10"], "33.50".to_owned()));
    // A process that starts later knows what was read.
    let providers = process(&given, &AWS, folder.keys());
    let again = refresh(&providers, "aws_export").await.expect("a collection");
    assert_eq!((read(&again), status(&providers).await.state), (Vec::new(), SourceState::Ok));
    // A restated month replaces the month and nothing else.
    folder.put_run("2026-10", "2026-11-24T03:00:00.000Z-cc", &["1", "2.25"]);
    let restated = refresh(&providers, "aws_export").await.expect("a collection");
    assert_eq!((read(&restated), billed(&given).await), (vec!["2026-10"], "33.75".to_owned()));
    let from = CollectAsked { from: Some("2026-11-20T00:00:00Z".parse().expect("a time")), ..CollectAsked::default() };
    let asked = providers.refresh("aws_export", &from).await.expect("a collection");
    assert!(asked.periods.iter().all(|period| period.unchanged), "{asked:?}");
}

#[tokio::test]
async fn a_run_that_would_lose_a_month_or_a_file_changes_nothing_and_holds_no_other_up() {
    let given = Given::new(&AWS).await;
    let folder = Folder::new(&given);
    folder.put_run("2026-10", "2026-11-01T03:00:00.000Z-aa", &["1", "2"]);
    folder.put_run("2026-11", "2026-11-19T03:00:00.000Z-bb", &["10", "20"]);
    let providers = process(&given, &AWS, folder.keys());
    refresh(&providers, "aws_export").await.expect("a collection");
    folder.put_run("2026-10", "2026-11-24T03:00:00.000Z-cc", &["1", "2.25"]);
    folder.put_run("2026-11", "2026-11-20T03:00:00.000Z-dd", &["10"]);
    let refused = refresh(&providers, "aws_export").await;
    assert_eq!(cause_of(&refused), Some(Cause::WouldShrink), "{refused:?}");
    assert_eq!(billed(&given).await, "33.25", "October was replaced, November stays");
    assert_eq!(status(&providers).await.state, SourceState::Stale);
    let confirm = CollectAsked { confirm: true, ..CollectAsked::default() };
    providers.refresh("aws_export", &confirm).await.expect("confirmed");
    assert_eq!(billed(&given).await, "13.25");
    // A manifest that names a file which is not there is no month without cost.
    let before = given.stored().await;
    let manifest = json!({ "executionId": "x", "dataFiles": ["s3://acme-billing/focus/acme/data/none.csv"] });
    let path = "focus/acme/metadata/BILLING_PERIOD=2026-11/2026-11-25T03:00:00.000Z-ee/acme-Manifest.json";
    folder.put(path, &manifest.to_string());
    let refused = refresh(&providers, "aws_export").await;
    assert_eq!(cause_of(&refused), Some(Cause::NotFound), "{refused:?}");
    folder.put(path, "{\"executionId\":");
    assert_eq!(cause_of(&refresh(&providers, "aws_export").await), Some(Cause::Truncated));
    assert_eq!(given.stored().await, before);
}

#[tokio::test]
async fn a_file_that_a_manifest_names_twice_counts_once_and_none_stands_for_two() {
    let given = Given::new(&AWS).await;
    let folder = Folder::new(&given);
    let run = "2026-11-20T03:00:00.000Z-aa";
    folder.put_run("2026-11", run, &["10", "20"]);
    let data = format!("focus/acme/data/BILLING_PERIOD=2026-11/{run}/acme-00001.csv");
    let names = |keys: [&str; 2]| {
        let files: Vec<String> = keys.iter().map(|key| format!("s3://acme-billing/{key}")).collect();
        let path = format!("focus/acme/metadata/BILLING_PERIOD=2026-11/{run}/acme-Manifest.json");
        folder.put(&path, &json!({ "executionId": run, "dataFiles": files }).to_string());
    };
    names([data.as_str(), data.as_str()]);
    let providers = process(&given, &AWS, folder.keys());
    refresh(&providers, "aws_export").await.expect("a collection");
    assert_eq!(billed(&given).await, "30.00");
    // The folder is a copy of a part of the bucket, and the other file is not in it.
    names([data.as_str(), format!("other/{data}").as_str()]);
    let refused = refresh(&providers, "aws_export").await;
    assert_eq!(cause_of(&refused), Some(Cause::NotFound), "{refused:?}");
    assert_eq!(billed(&given).await, "30.00");
}

#[tokio::test]
async fn runs_of_azure_are_told_by_their_manifests_wherever_they_lie() {
    let given = Given::new(&AZURE).await;
    let folder = Folder::new(&given);
    let put = |run: &str, submitted: &str, kind: &str, amounts: &[&str]| {
        let blob = format!("focus/mtd/20261101-20261130/{run}/part_0_0001.csv");
        folder.put(&blob, &bill("2026-11", amounts));
        let manifest = json!({
            "blobCount": 1, "exportConfig": { "exportName": "mtd", "type": kind },
            "runInfo": { "submittedTime": submitted, "runId": run, "startDate": "2026-11-01T00:00:00" },
            "blobs": [{ "blobName": blob, "byteCount": 1 }],
        });
        folder.put(&format!("focus/mtd/20261101-20261130/{run}/manifest.json"), &manifest.to_string());
    };
    put("ffff", "2026-11-19T03:12:45.1234567Z", "FocusCost", &["10", "20"]);
    put("aaaa", "2026-11-20T03:12:45.1234567Z", "FocusCost", &["10", "21"]);
    put("bbbb", "2026-11-21T03:12:45.1234567Z", "AmortizedCost", &["10", "99"]);
    let providers = process(&given, &AZURE, folder.keys());
    let report = refresh(&providers, "azure_export").await.expect("a collection");
    assert_eq!((read(&report), billed(&given).await), (vec!["2026-11"], "31.00".to_owned()));
}

#[tokio::test]
async fn weeks_of_azure_never_take_the_place_of_their_month() {
    let given = Given::new(&AZURE).await;
    let folder = Folder::new(&given);
    let put = |run: &str, start: &str, amounts: &[&str]| {
        let blob = format!("focus/weekly/{run}/part_0_0001.csv");
        folder.put(&blob, &bill(&start[..7], amounts));
        let manifest = json!({
            "exportConfig": { "exportName": "weekly", "type": "FocusCost" },
            "runInfo": { "submittedTime": "2026-11-20T03:12:45Z", "runId": run, "startDate": format!("{start}T00:00:00") },
            "blobs": [{ "blobName": blob, "byteCount": 1 }],
        });
        folder.put(&format!("focus/weekly/{run}/manifest.json"), &manifest.to_string());
    };
    put("aaaa", "2026-10-01", &["1", "2"]);
    put("bbbb", "2026-11-01", &["10", "20"]);
    put("cccc", "2026-11-08", &["11", "21"]);
    let providers = process(&given, &AZURE, folder.keys());
    let refused = refresh(&providers, "azure_export").await;
    assert_eq!(cause_of(&refused), Some(Cause::Schema), "{refused:?}");
    let error = status(&providers).await.last_error.expect("a reason");
    assert!(error.contains("2026-11-01") && error.contains("2026-11-08"), "{error}");
    assert_eq!(billed(&given).await, "3.00", "October is whole, of November nothing is stored");
}

#[tokio::test]
async fn plain_files_are_one_set_and_an_empty_folder_is_not_zero() {
    let given = Given::new(&FILES).await;
    let folder = Folder::new(&given);
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let providers = process(&given, &FILES, folder.keys());
    assert_eq!(cause_of(&refresh(&providers, "files").await), Some(Cause::NotFound));
    folder.put("october.csv", &bill("2026-10", &["1"]));
    folder.put("more/november.csv", &bill("2026-11", &["2", "3"]));
    let dry = CollectAsked { dry_run: true, ..CollectAsked::default() };
    assert_eq!(read(&providers.refresh("files", &dry).await.expect("a list")), ["all"]);
    assert_eq!(given.store.version().await, 0, "a dry run stores nothing");
    refresh(&providers, "files").await.expect("a collection");
    assert_eq!(billed(&given).await, "6.00");
    std::fs::remove_dir_all(&folder.0).expect("a folder");
    assert_eq!(cause_of(&refresh(&providers, "files").await), Some(Cause::NotFound));
    assert_eq!(billed(&given).await, "6.00", "what was read stays");
}

#[tokio::test]
async fn a_file_that_is_replaced_in_a_folder_is_not_read_half_from_each() {
    let given = Given::new(&FILES).await;
    let folder = Folder::new(&given);
    folder.put("november.csv", &bill("2026-11", &["2", "3"]));
    let providers = process(&given, &FILES, folder.keys());
    refresh(&providers, "files").await.expect("a collection");
    folder.put("november.csv", &bill("2026-11", &["2", "3.25"]));
    refresh(&providers, "files").await.expect("a collection");
    assert_eq!(billed(&given).await, "5.25");
    let left = std::fs::read_dir(given.store.folder.path()).expect("a folder");
    let names: Vec<String> = left.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into()).collect();
    assert!(!names.iter().any(|name| name.starts_with(".tmp")), "copies are gone: {names:?}");
}

/// Objects of a bucket and what a stand-in does with requests for them.
#[derive(Clone, Default)]
pub(super) struct Bucket(Arc<Mutex<BTreeMap<String, String>>>);

impl Bucket {
    pub fn put(&self, key: &str, content: &str) {
        self.0.lock().expect("no thread died").insert(key.to_owned(), content.to_owned());
    }

    fn fill(&self, folder: &Path, below: &Path) {
        for entry in std::fs::read_dir(below).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.fill(folder, &path);
            } else {
                let key = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
                let content = std::fs::read_to_string(&path).expect("a file");
                self.0.lock().expect("no thread died").insert(key, content);
            }
        }
    }

    pub fn answer(&self, asked: &Asked) -> Reply {
        let signed = asked.header("authorization").unwrap_or_default();
        if asked.method != "GET" || !signed.starts_with("AWS4-HMAC-SHA256 Credential=canary-of-access_key-9f3b2c7d/") {
            return Reply::status(403, "<Error><Code>AccessDenied</Code></Error>");
        }
        let objects = self.0.lock().expect("no thread died");
        let path = asked.path.strip_prefix("/acme-billing").unwrap_or_default().trim_start_matches('/');
        if path.is_empty() {
            let prefix = asked.param("prefix").unwrap_or_default();
            let contents: String = objects
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(key, content)| {
                    format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-11-20T03:00:00.000Z</LastModified>\
                         <ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
                        content.len(),
                        content.len()
                    )
                })
                .collect();
            let text = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
            return Reply::status(200, text).header("content-type", "application/xml");
        }
        let key = path.replace("%3D", "=").replace("%3A", ":");
        match objects.get(&key) {
            Some(content) => Reply::status(200, content.clone())
                .header("etag", format!("\"{}\"", content.len()))
                .header("last-modified", "Fri, 20 Nov 2026 03:00:00 GMT"),
            None => Reply::status(404, "<Error><Code>NoSuchKey</Code></Error>"),
        }
    }
}

pub(super) fn bucket_keys(given: &Given) -> Value {
    json!({ "bucket": "s3://acme-billing/focus", "endpoint": given.server.url })
}

/// A bucket with one run of a month, behind the stand-in.
async fn bucket(given: &Given) -> Bucket {
    let folder = Folder::new(given);
    folder.put_run("2026-11", "2026-11-20T03:00:00.000Z-aa", &["10", "20"]);
    let bucket = Bucket::default();
    bucket.fill(&folder.0, &folder.0);
    let answers = bucket.clone();
    given.server.then(move |asked| Wire::Whole(answers.answer(asked)));
    bucket
}

#[tokio::test]
async fn a_bucket_is_read_with_signed_requests_that_only_read() {
    let given = Given::new(&AWS).await;
    bucket(&given).await;
    let report = refresh(&process(&given, &AWS, bucket_keys(&given)), "aws_export").await.expect("a collection");
    assert_eq!((read(&report), billed(&given).await), (vec!["2026-11"], "30.00".to_owned()));
    let asked = given.server.asked();
    assert!(asked.iter().all(|asked| asked.method == "GET") && asked.len() >= 3, "{asked:?}");
    assert!(asked.iter().all(|asked| !asked.head.contains("canary-of-secret_key")));
    let spooled = std::fs::read_dir(given.store.folder.path()).expect("a folder");
    let left: Vec<String> =
        spooled.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into()).collect();
    assert!(!left.iter().any(|name| name.starts_with(".tmp")), "copies are gone: {left:?}");
}

/// A collector of plain files in the bucket, written at the moment at which it looks; it waits that long for them to rest.
pub(super) fn of_new_files(given: &Given, settle: Duration) -> Providers {
    given.clock.set("2026-11-20T03:00:00Z".parse().expect("an instant"));
    let build = kind("files").expect("the kind is registered").build;
    let usual = source(&FILES, "http://127.0.0.1:9", Duration::from_secs(3));
    let collector = build(bucket_keys(given)).expect("valid keys");
    given.process(vec![ProviderSource { collector, settle, ..usual }])
}

pub(super) fn is_listing(asked: &Asked) -> bool {
    asked.param("list-type").is_some()
}

#[tokio::test]
async fn files_that_are_being_written_wait_until_two_listings_are_the_same() {
    let given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["10"]));
    let (answers, listings) = (bucket.clone(), AtomicUsize::new(0));
    given.server.then(move |asked| {
        // The second file comes between the first listing and the second one.
        if is_listing(asked) && listings.fetch_add(1, Ordering::SeqCst) == 1 {
            answers.put("focus/b.csv", &bill("2026-11", &["20", "30"]));
        }
        Wire::Whole(answers.answer(asked))
    });
    let providers = of_new_files(&given, Duration::from_millis(20));
    let report = refresh(&providers, "files").await.expect("a collection");
    assert_eq!((read(&report), billed(&given).await), (vec!["all"], "60.00".to_owned()));
    assert_eq!(given.store.version().await, 1, "the first file alone was never stored");
    let asked = given.server.asked();
    // Two that differ, two that do not, and one after everything was read.
    assert_eq!(asked.iter().filter(|asked| is_listing(asked)).count(), 5);
}

#[tokio::test]
async fn files_that_never_rest_are_an_error_and_what_is_stored_stays() {
    let given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["10"]));
    let (answers, listings) = (bucket.clone(), AtomicUsize::new(0));
    given.server.then(move |asked| {
        if is_listing(asked) {
            let key = format!("focus/{}.csv", listings.fetch_add(1, Ordering::SeqCst));
            answers.put(&key, &bill("2026-11", &["20"]));
        }
        Wire::Whole(answers.answer(asked))
    });
    let providers = of_new_files(&given, Duration::from_millis(5));
    let refused = refresh(&providers, "files").await;
    assert_eq!(cause_of(&refused), Some(Cause::Truncated), "{refused:?}");
    assert!(status(&providers).await.last_error.expect("a reason").contains("are being written"));
    assert_eq!(given.store.version().await, 0);
}

#[tokio::test]
async fn a_set_that_changes_while_it_is_read_is_read_again_and_published_once() {
    let given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["10"]));
    bucket.put("focus/b.csv", &bill("2026-11", &["20"]));
    let (answers, reads) = (bucket.clone(), AtomicUsize::new(0));
    given.server.then(move |asked| {
        let reply = answers.answer(asked);
        // The first file is replaced, and one added, just after it was read; the stand-in takes no notice of If-Match.
        if asked.path.ends_with("/a.csv") && reads.fetch_add(1, Ordering::SeqCst) == 0 {
            answers.put("focus/a.csv", &bill("2026-11", &["11", "12"]));
            answers.put("focus/c.csv", &bill("2026-11", &["30"]));
        }
        Wire::Whole(reply)
    });
    let report = refresh(&of_new_files(&given, Duration::ZERO), "files").await.expect("a collection");
    assert_eq!((read(&report), billed(&given).await), (vec!["all"], "73.00".to_owned()));
    assert_eq!(given.store.version().await, 1, "nothing of the first reading was stored");
}

#[tokio::test]
async fn s6_faults_of_a_bucket() {
    let given = Given::new(&AWS).await;
    let bucket = bucket(&given).await;
    let providers = process(&given, &AWS, bucket_keys(&given));
    refresh(&providers, "aws_export").await.expect("a collection");
    let before = given.stored().await;
    type Spoil = fn(Reply) -> Wire;
    let cases: [(&str, Cause, Spoil); 7] = [
        ("403", Cause::Auth, |_| Wire::Whole(Reply::status(403, "<Error/>"))),
        ("404", Cause::NotFound, |_| Wire::Whole(Reply::status(404, "<Error><Code>NoSuchBucket</Code></Error>"))),
        ("500", Cause::Server, |_| Wire::Whole(Reply::status(500, ""))),
        ("503", Cause::Server, |_| Wire::Whole(Reply::status(503, "<Error><Code>SlowDown</Code></Error>"))),
        ("no XML", Cause::NotJson, |_| Wire::Whole(Reply::status(200, "{\"sign\":\"in\"}"))),
        // For AWS it lacks manifests; it is never a month without cost.
        ("an empty bucket", Cause::Schema, |_| {
            Wire::Whole(Reply::status(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"))
        }),
        ("silence", Cause::Timeout, |_| Wire::Silence),
    ];
    for (name, cause, spoil) in cases {
        let answers = bucket.clone();
        given.server.then(move |asked| spoil(answers.answer(asked)));
        let refused: Result<CollectReport, SourceError> = refresh(&providers, "aws_export").await;
        assert_eq!(cause_of(&refused), Some(cause), "{name}: {refused:?}");
        assert_eq!(given.stored().await, before, "{name}");
        let error = status(&providers).await.last_error.expect("a reason");
        assert!(!error.contains("canary"), "{name}: {error}");
    }
}

#[tokio::test]
async fn s6_a_bucket_at_an_address_that_is_not_public_is_never_connected_to() {
    let given = Given::new(&AWS).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    for endpoint in [
        format!("https://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        "http://169.254.169.254".to_owned(),
        "https://10.0.0.1".to_owned(),
        "file:///etc".to_owned(),
    ] {
        let keys = json!({ "bucket": "s3://acme-billing/focus", "endpoint": endpoint });
        let refused = refresh(&process(&given, &AWS, keys), "aws_export").await;
        let cause = cause_of(&refused);
        assert!(matches!(cause, Some(Cause::NotAllowed | Cause::Unreachable)), "{endpoint}: {refused:?}");
    }
    assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 0);
}
