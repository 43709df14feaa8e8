//! A source is read from where it ended, fails without harm, and says how it fared.

use super::*;
use crate::prometheus::tests::server::{Reply, Server, http, matrix};
use crate::prometheus::tests::{options, source as prometheus};
use crate::providers::Cause;
use crate::under_way::ProgressUnit;
use crate::workspaces::RunState;
use domain::{FixedClock, Instant};
use futures::FutureExt as _;
use futures::future::BoxFuture;

const HOUR: Duration = Duration::from_secs(3600);

/// Keeps the first value of each point, as the log of events does.
#[derive(Default)]
struct Kept {
    points: std::sync::Mutex<BTreeMap<(Arc<str>, Instant), String>>,
    fails: std::sync::atomic::AtomicBool,
}

impl UsageSink for Kept {
    fn take<'a>(&'a self, points: &'a [UsagePoint]) -> BoxFuture<'a, Result<Taken, SinkError>> {
        let mut taken = Taken::default();
        for point in points {
            let mut kept = self.points.lock().unwrap();
            let known = kept.get(&(Arc::clone(&point.series), point.hour)).cloned();
            match known {
                Some(value) if value == point.value => taken.duplicates += 1,
                Some(_) => taken.changed_later += 1,
                None => {
                    taken.accepted += 1;
                    kept.insert((Arc::clone(&point.series), point.hour), point.value.clone());
                }
            }
        }
        let fails = self.fails.load(std::sync::atomic::Ordering::SeqCst);
        async move { if fails { Err(SinkError::Failed("the disk is full".into())) } else { Ok(taken) } }.boxed()
    }
}

struct Given {
    server: Server,
    sources: Sources,
    clock: Arc<FixedClock>,
    kept: Arc<Kept>,
    _folder: tempfile::TempDir,
}

impl Given {
    async fn a_source(replies: &[Reply]) -> Self {
        let server = Server::start(replies).await;
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.unwrap();
        let clock = Arc::new(FixedClock::at("2026-11-20T12:09:59Z".parse().unwrap()));
        let kept = Arc::new(Kept::default());
        let source = Source {
            name: "east".to_owned(),
            every: HOUR,
            settle: Duration::from_secs(600),
            backfill_hours: 24,
            chunk_hours: 10,
            prometheus: prometheus(options(&server.url), 100),
        };
        let sources = Sources::new(vec![source], catalog, clock.clone(), kept.clone());
        Self { server, sources, clock, kept, _folder: folder }
    }

    fn it_is(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
    }

    async fn refresh(&self) -> Result<RefreshReport, SourceError> {
        self.sources.refresh("east", &Asked::default()).await
    }

    async fn status(&self) -> SourceStatus {
        self.sources.list().await.unwrap().remove(0)
    }

    fn kept(&self) -> usize {
        self.kept.points.lock().unwrap().len()
    }
}

fn counts(report: &RefreshReport) -> (u64, u64, u64) {
    (report.taken.accepted, report.taken.duplicates, report.taken.changed_later)
}

fn text(time: Option<Instant>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| time.to_string())
}

#[tokio::test]
async fn a_source_goes_on_where_it_ended_and_reads_its_last_hour_again() {
    let given = Given::a_source(&[Reply::Hours]).await;
    assert_eq!(given.status().await.state, SourceState::Never);
    let report = given.refresh().await.unwrap();
    assert_eq!((counts(&report), given.server.asked().len()), ((24, 0, 0), 3), "24 hours in pieces of 10");
    assert_eq!(text(report.hours.map(|(_, end)| end)), "2026-11-20T11:00:00Z", "12:00 rests until 12:10");
    let report = given.refresh().await.unwrap();
    assert_eq!((counts(&report), given.server.asked().len()), ((0, 1, 0), 1));
    given.it_is("2026-11-20T14:10:00Z");
    let report = given.refresh().await.unwrap();
    assert_eq!((counts(&report), given.kept()), ((3, 1, 0), 27));
    let status = given.status().await;
    assert_eq!((status.state, status.rows, status.last_error), (SourceState::Ok, 27, None));
    assert_eq!(text(status.through), "2026-11-20T14:00:00Z");
    given.it_is("2026-11-20T16:20:01Z");
    assert_eq!(given.status().await.state, SourceState::Stale, "two pulls and a rest ago");
}

#[tokio::test]
async fn s6_a_failed_pull_keeps_what_is_there_and_marks_it_stale() {
    let given = Given::a_source(&[Reply::Hours]).await;
    given.refresh().await.unwrap();
    given.it_is("2026-11-20T15:10:00Z");
    let counted = |cause: Cause| given.sources.figures()["east"].errors[&cause];
    for (reply, cause) in [
        (http("403 Forbidden", "", ""), Cause::Auth),
        (http("200 OK", "", "<html>"), Cause::NotJson),
        (http("404 Not Found", "", ""), Cause::NotFound),
    ] {
        given.server.then(&[reply]);
        assert_eq!(counted(cause), 0, "every cause stands there from the start");
        let error = given.refresh().await.expect_err("it fails");
        assert!(matches!(error, SourceError::Pull { .. }), "{error}");
        assert_eq!(counted(cause), 1);
        let status = given.status().await;
        assert_eq!((status.state, status.rows, given.kept()), (SourceState::Stale, 24, 24));
        assert_eq!(status.last_error, Some(error.to_string()));
        assert_eq!(text(status.through), "2026-11-20T11:00:00Z");
    }
    given.server.then(&[Reply::Hours]);
    assert_eq!(counts(&given.refresh().await.unwrap()), (4, 1, 0));
    assert_eq!((given.status().await.state, given.kept()), (SourceState::Ok, 28));
}

#[tokio::test]
async fn pieces_that_were_read_before_a_failure_are_not_read_again() {
    let given = Given::a_source(&[Reply::Hours, Reply::Hours, http("403 Forbidden", "", "")]).await;
    given.refresh().await.expect_err("the third piece fails");
    let status = given.status().await;
    assert_eq!((status.state, status.rows), (SourceState::Never, 20));
    assert_eq!(text(status.through), "2026-11-20T07:00:00Z");
    given.server.then(&[Reply::Hours]);
    assert_eq!(counts(&given.refresh().await.unwrap()), (4, 1, 0));
}

#[tokio::test]
async fn points_that_were_taken_without_being_noted_are_read_again_and_count_once() {
    let given = Given::a_source(&[Reply::Hours]).await;
    given.kept.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    given.refresh().await.expect_err("the disk is full");
    assert_eq!((given.kept(), text(given.status().await.through)), (10, "none".to_owned()));
    given.kept.fails.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(counts(&given.refresh().await.unwrap()), (14, 10, 0));
}

#[tokio::test]
async fn another_value_for_the_same_hour_is_counted_and_the_first_one_stays() {
    let at_eleven =
        |value: &str| matrix(&format!(r#"{{"metric":{{"tenant":"a"}},"values":[[1795172400,"{value}"]]}}"#));
    let nothing = matrix("");
    let given = Given::a_source(&[nothing.clone(), nothing, at_eleven("5")]).await;
    assert_eq!(counts(&given.refresh().await.unwrap()), (1, 0, 0), "hours without a value are no zeros");
    given.server.then(&[at_eleven("6")]);
    let report = given.refresh().await.unwrap();
    assert_eq!(counts(&report), (0, 0, 1));
    assert_eq!(report.warnings(), ["1 values differ from what was read before; the first ones stay"]);
    let status = given.status().await;
    assert_eq!((status.notes.changed_later, status.notes.warnings), (1, report.warnings()));
    assert_eq!(given.kept.points.lock().unwrap().values().collect::<Vec<_>>(), ["5"]);
    given.server.then(&[at_eleven("NaN")]);
    given.refresh().await.unwrap();
    assert_eq!(given.status().await.notes.skipped_values, 1);
}

#[tokio::test]
async fn a_dry_run_asks_for_one_hour_and_stores_nothing() {
    let given = Given::a_source(&[Reply::Hours]).await;
    let asked = Asked { dry_run: true, from: None };
    let report = given.sources.refresh("east", &asked).await.unwrap();
    assert_eq!((report.queries[0].points, counts(&report), given.kept()), (1, (0, 0, 0), 0));
    let status = given.status().await;
    assert_eq!((status.state, status.last_started_at), (SourceState::Never, None));
}

#[tokio::test]
async fn hours_can_be_read_again_from_a_time_that_is_not_too_far_back() {
    let given = Given::a_source(&[Reply::Hours]).await;
    given.refresh().await.unwrap();
    let from = |time: &str| Asked { from: Some(time.parse().unwrap()), dry_run: false };
    let report = given.sources.refresh("east", &from("2026-11-18T00:00:00Z")).await.unwrap();
    assert_eq!(counts(&report), (35, 24, 0));
    assert_eq!(text(given.status().await.through), "2026-11-20T11:00:00Z");
    let error = given.sources.refresh("east", &from("2025-01-01T00:00:00Z")).await.expect_err("too far");
    assert!(matches!(error, SourceError::TooFarBack { .. }), "{error}");
    assert_eq!(given.sources.figures()["east"].errors.values().sum::<u64>(), 0, "nothing was read wrongly");
    let error = given.sources.refresh("west", &Asked::default()).await.expect_err("nobody configured it");
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_cancelled_refresh_keeps_the_hours_that_it_took_and_says_nothing_of_the_source() {
    let given = Given::a_source(&[Reply::Hours, Reply::Silence]).await;
    let telling = async {
        let mut requests = 0;
        while requests < 2 {
            requests += given.server.asked().len();
            tokio::task::yield_now().await;
        }
        given.sources.cancel("east", "ann").await.unwrap()
    };
    let asked = Asked::default();
    let ((report, refreshed), (told, is_told)) = tokio::join!(given.sources.refresh_as_far("east", &asked), telling);
    assert_eq!(report.taken.accepted, 10, "what was taken is told");
    assert_eq!((told.refresh, is_told), (Some(RunState::Running), true));
    let counted = told.refresh_progress.expect("it is under way").counted;
    assert_eq!((counted.done, counted.total, counted.unit), (10, 24, ProgressUnit::Hour));
    assert_eq!(given.status().await.refresh_progress, None, "what is over has none");
    let error = refreshed.expect_err("the second piece never comes");
    assert!(matches!(&error, SourceError::Cancelled { by, .. } if by == "ann"), "{error}");
    let status = given.status().await;
    assert_eq!(
        (status.refresh, status.state, status.last_error, status.rows),
        (Some(RunState::Cancelled), SourceState::Never, None, 10)
    );
    assert_eq!(text(status.through), "2026-11-19T21:00:00Z");
    assert_eq!(given.sources.figures()["east"].errors.values().sum::<u64>(), 0);
    given.server.then(&[Reply::Hours]);
    assert_eq!(counts(&given.refresh().await.unwrap()), (14, 1, 0));
    let (over, is_told) = given.sources.cancel("east", "ann").await.unwrap();
    assert_eq!((over.refresh, is_told), (Some(RunState::Succeeded), false), "nothing is under way");
    assert!(matches!(given.sources.cancel("west", "ann").await, Err(SourceError::NotFound(_))));
}
