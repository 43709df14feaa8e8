//! The room on disk that the files of a billing period take together, and how long they rest.

use super::exports::{Bucket, FILES, Folder, bill, billed, bucket_keys, is_listing, process};
use super::given::{Given, cause_of, refresh, source, status};
use super::stand_in::{Reply, Wire};
use collectors::providers::{Cause, ProviderSource, kind};
use std::time::Duration;

pub(super) fn spooled(given: &Given) -> Vec<String> {
    let entries = std::fs::read_dir(given.store.folder.path()).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".tmp")).collect()
}

#[tokio::test]
async fn a_period_whose_files_have_no_room_together_is_refused_and_holds_no_other_up() {
    let mut given = Given::new(&FILES).await;
    let folder = Folder::new(&given);
    let november = bill("2026-11", &["2", "3"]);
    folder.put("billing_period=2026-10/a.csv", &bill("2026-10", &["1"]));
    folder.put("billing_period=2026-11/a.csv", &november);
    folder.put("billing_period=2026-11/b.csv", &november);
    let together = 2 * november.len() as u64;
    given.store.context.limits.set_bytes_max = together - 1;
    let providers = process(&given, &FILES, folder.keys());
    let refused = refresh(&providers, "files").await;
    assert_eq!(cause_of(&refused), Some(Cause::TooLarge), "{refused:?}");
    let error = status(&providers).await.last_error.expect("a reason");
    let expected = format!(
        "2026-11: its 2 files have {together} bytes together, and the files of a billing period may have {}; raise \
         limits.upload_body",
        together - 1
    );
    assert!(error.contains(&expected), "{error}");
    assert_eq!(billed(&given).await, "1.00", "October has room of its own");
    given.store.context.limits.set_bytes_max = together;
    refresh(&process(&given, &FILES, folder.keys()), "files").await.expect("there is room for both");
    assert_eq!((billed(&given).await, spooled(&given)), ("11.00".to_owned(), Vec::new()));
}

#[tokio::test]
async fn a_period_of_too_many_files_is_refused_before_one_is_copied() {
    let mut given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["2"]));
    bucket.put("focus/b.csv", &bill("2026-11", &["3"]));
    given.server.then(move |asked| Wire::Whole(bucket.answer(asked)));
    given.store.context.limits.files_max = 1;
    let refused = refresh(&process(&given, &FILES, bucket_keys(&given)), "files").await;
    assert_eq!(cause_of(&refused), Some(Cause::TooLarge), "{refused:?}");
    assert!(refused.is_err_and(|error| error.to_string().contains("raise limits.upload_files")));
    assert!(given.server.asked().iter().all(is_listing), "nothing but the list was asked for");
}

#[tokio::test]
async fn a_bucket_that_takes_too_long_is_late_and_leaves_nothing() {
    let given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["2"]));
    given.server.then(move |asked| match is_listing(asked) {
        true => Wire::Whole(bucket.answer(asked)),
        false => Wire::Silence,
    });
    let build = kind("files").expect("the kind is registered").build;
    let usual = source(&FILES, "http://127.0.0.1:9", Duration::from_secs(20));
    let collector = build(bucket_keys(&given)).expect("valid keys");
    let providers = given.process(vec![ProviderSource { collector, total: Duration::from_millis(300), ..usual }]);
    let refused = refresh(&providers, "files").await;
    assert_eq!(cause_of(&refused), Some(Cause::Timeout), "{refused:?}");
    assert_eq!((given.store.version().await, spooled(&given)), (0, Vec::new()));
}

#[tokio::test]
async fn s6_a_bucket_that_sends_more_than_it_lists_takes_no_more_room() {
    let mut given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    let november = bill("2026-11", &["2", "3"]);
    bucket.put("focus/a.csv", &november);
    bucket.put("focus/b.csv", &november);
    let listed = format!("<Size>{}</Size>", november.len());
    given.server.then(move |asked| {
        let reply = bucket.answer(asked);
        if !is_listing(asked) {
            return Wire::Whole(reply);
        }
        let text = String::from_utf8(reply.body).expect("XML").replace(&listed, "<Size>1</Size>");
        Wire::Whole(Reply { body: text.into_bytes(), ..reply })
    });
    let bytes_max = 2 * november.len() as u64 - 1;
    given.store.context.limits.set_bytes_max = bytes_max;
    let providers = process(&given, &FILES, bucket_keys(&given));
    let refused = refresh(&providers, "files").await;
    assert_eq!(cause_of(&refused), Some(Cause::TooLarge), "{refused:?}");
    let error = status(&providers).await.last_error.expect("a reason");
    let expected = format!("focus/b.csv is too large: more than {bytes_max} bytes in all files of a billing period");
    assert!(error.contains(&expected) && error.contains("limits.upload_body"), "{error}");
    assert_eq!((given.store.version().await, spooled(&given)), (0, Vec::new()));
}

#[tokio::test]
async fn a_source_of_files_says_how_long_they_rest() {
    let given = Given::new(&FILES).await;
    let folder = Folder::new(&given);
    let settle = Duration::from_secs(300);
    let usual = ProviderSource { settle, ..source(&FILES, "http://127.0.0.1:9", Duration::from_secs(3)) };
    let vercel = kind("vercel").expect("the kind is registered");
    let other = ProviderSource {
        name: "vercel".to_owned(),
        collector: (vercel.build)(serde_json::json!({ "team": "team_1" })).expect("valid keys"),
        ..usual.clone()
    };
    let files = kind("files").expect("the kind is registered");
    let files = ProviderSource { collector: (files.build)(folder.keys()).expect("valid keys"), ..usual };
    let statuses = given.process(vec![files, other]).statuses().await.expect("a catalog");
    let shown: Vec<u64> = statuses.iter().map(|status| status.settle_seconds).collect();
    assert_eq!(shown, [300, 0], "answers of a provider do not rest");
}
