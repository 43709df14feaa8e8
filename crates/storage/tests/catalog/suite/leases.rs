use std::collections::BTreeSet;

use storage::catalog::{CatalogError, JobEnd, RefreshRow, RunRow, SnapshotRunRow};

use super::open;

const HOUR: i64 = 3_600_000_000;

#[tokio::test]
async fn a_lease_has_one_holder_until_it_runs_out() {
    let (catalog, _place) = open().await;
    assert!(catalog.acquire_lease("nightly", "a", HOUR).await.unwrap());
    assert!(!catalog.acquire_lease("nightly", "b", HOUR).await.unwrap());
    assert!(catalog.acquire_lease("nightly", "a", 0).await.unwrap(), "one's own is renewed, here until now");
    assert!(catalog.acquire_lease("nightly", "b", HOUR).await.unwrap(), "run out");
    assert!(!catalog.renew_lease("nightly", "a", HOUR).await.unwrap());
    assert!(catalog.renew_lease("nightly", "b", HOUR).await.unwrap());
    catalog.release_lease("nightly", "a").await.unwrap();
    assert!(!catalog.acquire_lease("nightly", "a", HOUR).await.unwrap(), "not a's to release");
    catalog.release_lease("nightly", "b").await.unwrap();
    assert!(catalog.acquire_lease("nightly", "a", HOUR).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_ask_at_once_one_gets_the_lease() {
    let (catalog, place) = open().await;
    let other = place.open().await.unwrap();
    for round in 0..20 {
        let name = format!("job/{round}");
        let asking = (0..8).map(|number: usize| {
            let (catalog, name) =
                (if number.is_multiple_of(2) { catalog.clone() } else { other.clone() }, name.clone());
            tokio::spawn(async move { catalog.acquire_lease(&name, &number.to_string(), HOUR).await.unwrap() })
        });
        let mut holders = 0;
        for asked in asking.collect::<Vec<_>>() {
            holders += usize::from(asked.await.unwrap());
        }
        assert_eq!(holders, 1, "round {round}");
    }
}

#[tokio::test]
async fn a_job_of_a_day_is_done_once_and_the_newest_attempt_says_so() {
    let (catalog, _place) = open().await;
    let day = "2026-11-20";
    assert_eq!(catalog.begin_job("snapshot", day, "a").await.unwrap(), Some(1));
    assert_eq!(catalog.begin_job("snapshot", day, "b").await.unwrap(), Some(2), "a is taken for dead");
    assert!(!catalog.end_job("snapshot", day, 1, &JobEnd::Done).await.unwrap(), "a is not dead, but too late");
    assert_eq!(catalog.last_job_done("snapshot", day).await.unwrap(), None);

    let failed = JobEnd::Failed { error: "no answer".to_owned(), again_after: HOUR };
    assert!(catalog.end_job("snapshot", day, 2, &failed).await.unwrap());
    let row = catalog.jobs_between("snapshot", day, day).await.unwrap().remove(0);
    assert_eq!((row.status.as_str(), row.attempts, row.error.as_deref()), ("failed", 2, Some("no answer")));
    let now = catalog.now().await.unwrap();
    assert!(row.run_after > now + HOUR / 2 && row.finished_at.is_some_and(|at| at <= now), "{row:?} at {now}");

    assert_eq!(catalog.begin_job("snapshot", day, "b").await.unwrap(), Some(3));
    assert!(catalog.end_job("snapshot", day, 3, &JobEnd::Done).await.unwrap());
    assert!(!catalog.end_job("snapshot", day, 3, &failed).await.unwrap(), "what is done stays done");
    assert_eq!(catalog.begin_job("snapshot", day, "a").await.unwrap(), None);
    assert_eq!(catalog.last_job_done("snapshot", "2026-12-31").await.unwrap().as_deref(), Some(day));
    assert_eq!(catalog.last_job_done("snapshot", "2026-11-19").await.unwrap(), None);
    assert_eq!(catalog.last_job_done("attribute", "2026-12-31").await.unwrap(), None);
    assert_eq!(catalog.last_job_begun("snapshot").await.unwrap().map(|row| row.attempts), Some(3));
}

#[tokio::test]
async fn a_schedule_begins_once() {
    let (catalog, _place) = open().await;
    catalog.begin_schedule("snapshot", "2026-11-20").await.unwrap();
    catalog.begin_schedule("snapshot", "2026-11-25").await.unwrap();
    let rows = catalog.jobs_between("snapshot", "2026-01-01", "2026-12-31").await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.target.as_str(), row.attempts)).collect::<Vec<_>>(), [("2026-11-20", 0)]);
    assert_eq!(catalog.last_job_begun("snapshot").await.unwrap(), None);
    catalog.begin_schedule("snapshot", "2026-11-18").await.unwrap();
    let done = catalog.last_job_done("snapshot", "2026-11-19").await.unwrap();
    assert_eq!(done.as_deref(), Some("2026-11-18"), "a clock was put back");
}

#[tokio::test]
async fn the_clock_of_the_database_goes_on() {
    let (catalog, _place) = open().await;
    let times = [catalog.now().await.unwrap(), catalog.now().await.unwrap()];
    assert!(1_700_000_000_000_000 < times[0] && times[0] <= times[1], "{times:?}");
}

fn run(id: &str, day: &str) -> RunRow {
    RunRow {
        id: id.to_owned(),
        status: "running".to_owned(),
        from_day: day.to_owned(),
        to_day: day.to_owned(),
        pools: None,
        dry_run: false,
        created_at: 100,
        started_at: None,
        finished_at: None,
        posting: None,
        entries: 0,
        warnings: "[]".to_owned(),
        error: None,
        requested_by: "tok-1".to_owned(),
        body: "{}".to_owned(),
    }
}

#[tokio::test]
async fn only_runs_that_nobody_carries_out_are_ended() {
    let (catalog, _place) = open().await;
    let starts = [("mine", "me", "2026-01-01"), ("theirs", "they", "2026-01-02"), ("left", "gone", "2026-01-03")];
    for (id, holder, day) in starts {
        let micros = if holder == "gone" { 0 } else { HOUR };
        assert_eq!(catalog.insert_run(&run(id, day), holder, micros).await.unwrap(), None);
    }
    let running = async || {
        let rows = catalog.list_runs(None, 10).await.unwrap().into_iter();
        rows.filter(|row| row.status == "running").map(|row| row.id).collect::<BTreeSet<_>>()
    };

    assert_eq!(catalog.fail_abandoned_runs(200, None).await.unwrap(), 1);
    assert_eq!(running().await, BTreeSet::from(["mine".to_owned(), "theirs".to_owned()]));
    assert!(catalog.hold_run("mine", "me", HOUR).await.unwrap());
    assert!(!catalog.hold_run("theirs", "me", HOUR).await.unwrap());
    assert_eq!(catalog.fail_abandoned_runs(300, Some("me")).await.unwrap(), 1, "a process that starts has no runs");
    assert_eq!(running().await, BTreeSet::from(["theirs".to_owned()]));
}

#[tokio::test]
async fn runs_over_workspaces_are_listed_newest_first_and_none_is_a_scheduled_job() {
    let (catalog, _folder) = open().await;
    let run = |id: &str, created_at: i64| SnapshotRunRow {
        id: id.to_owned(),
        date: "2026-11-20".to_owned(),
        status: "running".to_owned(),
        created_at,
        finished_at: None,
        error: None,
        body: "{}".to_owned(),
    };
    let (first, second) = (run("snap-1", 100), run("snap-2", 200));
    catalog.insert_snapshot_run(&first, "me", HOUR).await.unwrap();
    catalog.insert_snapshot_run(&second, "me", HOUR).await.unwrap();
    let taken = catalog.insert_snapshot_run(&first, "me", HOUR).await.unwrap_err();
    assert!(matches!(taken, CatalogError::Conflict { .. }), "{taken}");
    assert_eq!(catalog.list_snapshot_runs(None, 10).await.unwrap(), [second.clone(), first.clone()]);

    let ended = SnapshotRunRow {
        status: "failed".to_owned(),
        finished_at: Some(110),
        error: Some("refused".to_owned()),
        body: "{\"tenants\":0}".to_owned(),
        ..first
    };
    catalog.end_snapshot_run(&ended).await.unwrap();
    assert_eq!(catalog.snapshot_run("snap-1").await.unwrap(), Some(ended.clone()));
    assert_eq!(catalog.list_snapshot_runs(None, 10).await.unwrap(), [second, ended.clone()]);
    assert_eq!(catalog.list_snapshot_runs(Some((200, "snap-2")), 10).await.unwrap(), [ended]);
    let missing = catalog.end_snapshot_run(&run("snap-3", 1)).await.unwrap_err();
    assert!(matches!(missing, CatalogError::NotFound { .. }), "{missing}");
    assert_eq!(catalog.last_job_done("snapshot", "2026-11-20").await.unwrap(), None);
}

#[tokio::test]
async fn only_a_run_over_workspaces_that_is_not_over_can_be_cancelled() {
    let (catalog, _folder) = open().await;
    let run = SnapshotRunRow {
        id: "snap-1".to_owned(),
        date: "2026-11-20".to_owned(),
        status: "running".to_owned(),
        created_at: 100,
        finished_at: None,
        error: None,
        body: "{}".to_owned(),
    };
    let over = SnapshotRunRow { id: "snap-2".to_owned(), status: "succeeded".to_owned(), ..run.clone() };
    catalog.insert_snapshot_run(&run, "me", HOUR).await.unwrap();
    catalog.insert_snapshot_run(&over, "me", HOUR).await.unwrap();
    for (id, who) in [("snap-1", "ann"), ("snap-1", "bob"), ("snap-2", "ann"), ("none", "ann")] {
        catalog.cancel_snapshot_run(id, who, 110).await.unwrap();
    }
    catalog.cancel_run("snap-2", "ann", 110).await.unwrap();
    assert_eq!(catalog.run_cancelled_by("snap-1").await.unwrap().as_deref(), Some("ann"));
    assert_eq!(catalog.run_cancelled_by("snap-2").await.unwrap(), None);
    assert_eq!(catalog.run_cancelled_by("none").await.unwrap(), None);
}

#[tokio::test]
async fn only_runs_over_workspaces_that_nobody_carries_out_are_ended() {
    let (catalog, _place) = open().await;
    let run = |id: &str| SnapshotRunRow {
        id: id.to_owned(),
        date: "2026-11-20".to_owned(),
        status: "running".to_owned(),
        created_at: 100,
        finished_at: None,
        error: None,
        body: "{}".to_owned(),
    };
    for (id, holder, micros) in [("mine", "me", HOUR), ("theirs", "they", HOUR), ("left", "gone", 0)] {
        catalog.insert_snapshot_run(&run(id), holder, micros).await.unwrap();
    }
    let running = async || {
        let rows = catalog.list_snapshot_runs(None, 10).await.unwrap().into_iter();
        rows.filter(|row| row.status == "running").map(|row| row.id).collect::<BTreeSet<_>>()
    };

    assert_eq!(catalog.fail_abandoned_snapshot_runs(200, None).await.unwrap(), 1);
    assert_eq!(running().await, BTreeSet::from(["mine".to_owned(), "theirs".to_owned()]));
    let left = catalog.snapshot_run("left").await.unwrap().unwrap();
    assert_eq!((left.status.as_str(), left.finished_at), ("failed", Some(200)));
    assert!(left.error.is_some_and(|error| error.starts_with("interrupted before it ended: the server")));
    assert!(catalog.hold_snapshot_run("mine", "me", HOUR).await.unwrap());
    assert!(!catalog.hold_snapshot_run("theirs", "me", HOUR).await.unwrap());
    let ended = catalog.fail_abandoned_snapshot_runs(300, Some("me")).await.unwrap();
    assert_eq!(ended, 1, "a process that starts has no runs");
    assert_eq!(running().await, BTreeSet::from(["theirs".to_owned()]));

    // The lease of what ended is gone, so whoever comes late takes nothing from anybody.
    let ended = SnapshotRunRow { status: "succeeded".to_owned(), finished_at: Some(400), ..run("theirs") };
    catalog.end_snapshot_run(&ended).await.unwrap();
    assert!(catalog.hold_snapshot_run("theirs", "me", HOUR).await.unwrap());
    assert_eq!(catalog.fail_abandoned_snapshot_runs(500, None).await.unwrap(), 0);
    assert!(catalog.acquire_lease("snapshot-run/theirs", "another", HOUR).await.unwrap(), "swept");
}

#[tokio::test]
async fn refreshes_under_way_are_told_to_end_and_those_that_are_over_are_forgotten() {
    let (catalog, _place) = open().await;
    let refresh = |id: &str, source: &str| RefreshRow {
        id: id.to_owned(),
        source: source.to_owned(),
        status: "running".to_owned(),
        created_at: 100,
        finished_at: None,
        error: None,
        progress: String::new(),
    };
    assert_eq!(catalog.last_refresh("east").await.unwrap(), None);
    let (first, other) = (refresh("refresh-1", "east"), refresh("refresh-2", "west"));
    catalog.insert_refresh(&first, HOUR).await.unwrap();
    catalog.insert_refresh(&other, HOUR).await.unwrap();
    let taken = catalog.insert_refresh(&first, HOUR).await.unwrap_err();
    assert!(matches!(taken, CatalogError::Conflict { .. }), "{taken}");
    for (source, who) in [("east", "ann"), ("east", "bob"), ("none", "ann")] {
        let is_told = catalog.cancel_refreshes(source, who, 110).await.unwrap();
        assert_eq!(is_told, source == "east", "{source} by {who}");
    }
    let under_way = async |prefix: &str| {
        let found = catalog.refreshes_under_way(prefix).await.unwrap();
        found.into_iter().map(|refresh| refresh.id).collect::<Vec<_>>()
    };
    assert_eq!(under_way("").await, ["refresh-1", "refresh-2"]);
    assert_eq!((under_way("we").await, under_way("w_").await), (vec!["refresh-2".to_owned()], Vec::new()));
    catalog.cancel_run("refresh-2", "ann", 110).await.unwrap();
    catalog.cancel_snapshot_run("refresh-2", "ann", 110).await.unwrap();
    let cancelled_by = async |id: &str| catalog.run_cancelled_by(id).await.unwrap();
    assert_eq!(cancelled_by("refresh-1").await.as_deref(), Some("ann"));
    assert_eq!(cancelled_by("refresh-2").await, None, "it is no run, and of another source");
    assert_eq!(catalog.last_refresh("east").await.unwrap(), Some(first.clone()));
    catalog.note_refresh("refresh-1", "half").await.unwrap();
    catalog.note_refresh("none", "half").await.unwrap();
    let first = RefreshRow { progress: "half".to_owned(), ..first };
    assert_eq!(catalog.last_refresh("east").await.unwrap(), Some(first.clone()));

    let ended = RefreshRow {
        status: "cancelled".to_owned(),
        finished_at: Some(120),
        error: Some("by ann".to_owned()),
        ..first.clone()
    };
    catalog.end_refresh(&ended).await.unwrap();
    assert_eq!(under_way("").await, ["refresh-2"], "what is over is not under way");
    assert_eq!(catalog.last_refresh("east").await.unwrap(), Some(ended));
    assert!(!catalog.cancel_refreshes("east", "cleo", 130).await.unwrap());
    assert_eq!(cancelled_by("refresh-1").await.as_deref(), Some("ann"), "it is over");
    catalog.insert_refresh(&first, HOUR).await.unwrap();
    assert_eq!(cancelled_by("refresh-1").await, None, "what is over is forgotten, the wish to cancel it as well");

    // Whoever carried it out died: it is neither under way nor told anything, and another one is under way yet.
    let left = RefreshRow { created_at: 200, ..refresh("refresh-3", "west") };
    catalog.insert_refresh(&left, 0).await.unwrap();
    assert_eq!(catalog.last_refresh("west").await.unwrap(), Some(other.clone()));
    for (id, is_under_way) in [("none", false), ("refresh-3", false), ("refresh-2", true)] {
        assert_eq!(catalog.cancel_refresh(id, "ann", 210).await.unwrap(), is_under_way, "{id}");
    }
    assert!(catalog.cancel_refreshes("west", "bob", 211).await.unwrap());
    assert_eq!((cancelled_by("refresh-3").await, under_way("west").await), (None, vec!["refresh-2".to_owned()]));
    assert_eq!(cancelled_by("refresh-2").await.as_deref(), Some("ann"), "that one is under way yet");
    let over = RefreshRow { status: "succeeded".to_owned(), finished_at: Some(220), ..other };
    catalog.end_refresh(&over).await.unwrap();
    let found = catalog.last_refresh("west").await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.status.as_str()), ("refresh-3", "failed"));
    catalog.hold_refresh(&left, HOUR).await.unwrap();
    assert_eq!(catalog.last_refresh("west").await.unwrap(), Some(left.clone()));

    // It was silent for too long, and is under way nevertheless.
    catalog.hold_refresh(&left, 0).await.unwrap();
    let newer = RefreshRow { created_at: 300, ..refresh("refresh-4", "west") };
    catalog.insert_refresh(&newer, HOUR).await.unwrap();
    catalog.hold_refresh(&left, HOUR).await.unwrap();
    let ended = RefreshRow { status: "succeeded".to_owned(), finished_at: Some(310), ..newer };
    catalog.end_refresh(&ended).await.unwrap();
    assert_eq!(catalog.last_refresh("west").await.unwrap(), Some(left), "one that began later has ended");
    assert!(catalog.cancel_refreshes("west", "ann", 320).await.unwrap());
    assert_eq!(cancelled_by("refresh-3").await.as_deref(), Some("ann"));
    catalog.forget_refresh("refresh-3").await.unwrap();
    assert_eq!((under_way("west").await, cancelled_by("refresh-3").await), (Vec::new(), None));
}
