//! A collection that somebody cancels: what was stored stays, and nothing partial is.

use super::exports::{Bucket, FILES, bill, billed, bucket_keys, is_listing, of_new_files, process};
use super::given::{Given, refresh, status};
use super::room::spooled;
use super::runner::{CONTRACT, charges};
use super::stand_in::{Asked, Wire};
use collectors::providers::{CollectAsked, CollectReport, Providers};
use collectors::sources::{SourceError, SourceState, SourceStatus};
use collectors::workspaces::RunState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Longer than any of this takes, and far shorter than what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers until a request is one that never is, and tells that it came.
fn silent_at(
    given: &Given,
    is_silent: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    answer: impl Fn(&Asked) -> Wire + Send + Sync + 'static,
) -> Arc<Notify> {
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    given.server.then(move |asked| match is_silent(asked) {
        true => {
            told.notify_one();
            Wire::Silence
        }
        false => answer(asked),
    });
    came
}

/// Refreshes, and cancels by another process once the request came.
async fn cancelled(
    providers: &Providers,
    other: &Providers,
    name: &str,
    came: &Notify,
) -> (Result<CollectReport, SourceError>, SourceStatus) {
    let telling = async {
        came.notified().await;
        let (told, is_told) = other.cancel(name, "ann").await.expect("a catalog");
        assert!(is_told, "it is under way");
        told
    };
    let both = async { tokio::join!(refresh(providers, name), telling) };
    tokio::time::timeout(PATIENCE, both).await.expect("nobody waits for what is cancelled")
}

#[tokio::test]
async fn a_cancelled_collection_leaves_everything_as_it_was_whichever_process_is_asked() {
    let given = Given::new(&CONTRACT).await;
    let (providers, other) = (given.patient(&CONTRACT), given.patient(&CONTRACT));
    refresh(&providers, "vercel").await.expect("a collection");
    let before = given.stored().await;
    let came = silent_at(&given, |_| true, |_| Wire::Silence);
    let (refused, told) = cancelled(&providers, &other, "vercel", &came).await;
    assert_eq!(told.refresh, Some(RunState::Running));
    assert_eq!(
        refused.map_err(|error| error.to_string()),
        Err("the refresh of source `vercel` was cancelled by ann; what it had not stored yet stays as it was"
            .to_owned())
    );
    assert_eq!((given.stored().await, spooled(&given)), (before, Vec::new()));
    let found = status(&providers).await;
    assert_eq!(
        (found.refresh, found.state, found.last_error, found.progress),
        (Some(RunState::Cancelled), SourceState::Ok, None, None),
        "it says nothing of the provider"
    );
    let errors: u64 = providers.figures().await.expect("a catalog")["vercel"].errors.values().sum();
    assert_eq!(errors, 0);
    let (over, is_told) = other.cancel("vercel", "bob").await.expect("a catalog");
    assert_eq!((over.refresh, is_told), (Some(RunState::Cancelled), false), "nothing is under way");
    given.server.then(|asked| Wire::Whole(charges(asked, &[10, 20, 30])));
    refresh(&providers, "vercel").await.expect("the wish to cancel was that of the refresh before");
    assert_eq!(status(&other).await.refresh, Some(RunState::Succeeded));
    assert!(matches!(providers.cancel("none", "ann").await, Err(SourceError::NotFound(_))));
}

#[tokio::test]
async fn billing_periods_that_were_stored_before_stay_and_the_others_are_read_later() {
    let given = Given::new(&CONTRACT).await;
    let providers = given.patient(&CONTRACT);
    let is_october = |asked: &Asked| asked.param("from") != Some("2026-11-01T07:00:00Z");
    let came = silent_at(&given, is_october, |asked| Wire::Whole(charges(asked, &[10, 20, 30])));
    let (refused, told) = cancelled(&providers, &providers, "vercel", &came).await;
    assert!(matches!(refused, Err(SourceError::Cancelled { .. })), "{refused:?}");
    let counted = told.refresh_progress.expect("it is under way").counted;
    assert_eq!(
        (counted.done, counted.total, counted.unit.as_str()),
        (30, 61, "day"),
        "November is read, October is not"
    );
    let lines = given.store.lines().await;
    assert!(lines.len() == 3 && lines.iter().all(|(from, _, _)| from.starts_with("2026-11")), "{lines:?}");
    let found = status(&providers).await;
    assert_eq!((found.rows, found.refresh, found.state), (3, Some(RunState::Cancelled), SourceState::Never));
    given.server.then(|asked| Wire::Whole(charges(asked, &[10, 20, 30])));
    let report = refresh(&providers, "vercel").await.expect("a collection");
    let unchanged: Vec<bool> = report.periods.iter().map(|period| period.unchanged).collect();
    assert_eq!((unchanged, billed(&given).await), (vec![true, false], "120.00".to_owned()));
}

#[tokio::test]
async fn a_cancelled_collection_takes_back_nothing_that_another_server_stored_meanwhile() {
    let given = Given::new(&CONTRACT).await;
    let (slow, other) = (given.patient(&CONTRACT), given.patient(&CONTRACT));
    let is_first = AtomicBool::new(true);
    let is_silent = move |asked: &Asked| {
        asked.param("from") != Some("2026-11-01T07:00:00Z") && is_first.swap(false, Ordering::Relaxed)
    };
    let came = silent_at(&given, is_silent, |asked| Wire::Whole(charges(asked, &[10, 20, 30])));
    let telling = async {
        came.notified().await;
        refresh(&other, "vercel").await.expect("a collection");
        other.cancel("vercel", "ann").await.expect("a catalog");
    };
    let asked = CollectAsked::default();
    let both = async { tokio::join!(slow.refresh_as_far("vercel", &asked), telling) };
    let ((report, refused), ()) =
        tokio::time::timeout(PATIENCE, both).await.expect("nobody waits for what is cancelled");
    assert!(matches!(refused, Err(SourceError::Cancelled { .. })), "{refused:?}");
    assert_eq!(report.periods.len(), 1, "November, which it had stored before");
    let found = status(&other).await;
    assert_eq!((found.state, found.last_success_at.is_some(), found.rows), (SourceState::Ok, true, 6));
    assert_eq!(billed(&given).await, "120.00");
}

#[tokio::test]
async fn a_cancelled_export_stores_nothing_and_leaves_no_copy() {
    let given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["10"]));
    bucket.put("focus/b.csv", &bill("2026-11", &["20"]));
    let answers = bucket.clone();
    let answer = move |asked: &Asked| Wire::Whole(answers.answer(asked));
    let came = silent_at(&given, |asked| asked.path.ends_with("/b.csv"), answer);
    let providers = process(&given, &FILES, bucket_keys(&given));
    let (refused, _) = cancelled(&providers, &providers, "files", &came).await;
    assert!(matches!(refused, Err(SourceError::Cancelled { .. })), "{refused:?}");
    assert_eq!((given.store.version().await, spooled(&given)), (0, Vec::new()));
    given.server.then(move |asked| Wire::Whole(bucket.answer(asked)));
    refresh(&providers, "files").await.expect("a collection");
    assert_eq!(billed(&given).await, "30.00");
}

#[tokio::test]
async fn nobody_waits_for_files_to_rest_once_the_refresh_is_cancelled() {
    let given = Given::new(&FILES).await;
    let bucket = Bucket::default();
    bucket.put("focus/a.csv", &bill("2026-11", &["10"]));
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    given.server.then(move |asked| {
        if is_listing(asked) {
            told.notify_one();
        }
        Wire::Whole(bucket.answer(asked))
    });
    let providers = of_new_files(&given, Duration::from_secs(3600));
    let (refused, _) = cancelled(&providers, &providers, "files", &came).await;
    assert!(matches!(refused, Err(SourceError::Cancelled { .. })), "{refused:?}");
    assert_eq!(given.store.version().await, 0);
}
