//! S1 to S3: several processes, kills, stops past the lease, clocks that jump, days that were missed.

use super::super::job::{CatchUp, Job};
use super::*;
use anyhow::{Result, bail};
use domain::FixedClock;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use tokio::sync::Notify;

const FIRST: &str = "2025-01-01";
/// Days that are simulated, per change and in the long run.
const DAYS: i32 = 200;
const DAYS_LONG: i32 = 10_000;
const LEASE: Duration = Duration::from_millis(60);
const HOUR: i64 = 3_600_000_000;

/// What all processes do to the outside: replaces the day's effect, as the tables do.
#[derive(Default)]
struct Effects {
    /// How often each day's effect was made whole.
    made: Mutex<BTreeMap<Day, u32>>,
    /// The days in the order in which they were first made whole.
    order: Mutex<Vec<Day>>,
    /// Days that fail, and how often yet.
    failing: Mutex<BTreeMap<Day, u32>>,
    begun: Notify,
}

struct Recorded {
    effects: Arc<Effects>,
    catch_up: CatchUp,
}

impl Job for Recorded {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn catch_up(&self) -> CatchUp {
        self.catch_up
    }

    fn run(&self, day: Day) -> BoxFuture<'_, Result<()>> {
        record(&self.effects, day).boxed()
    }
}

async fn record(effects: &Effects, day: Day) -> Result<()> {
    effects.begun.notify_waiters();
    tokio::task::yield_now().await;
    if let Some(left) = effects.failing.lock().expect("no panic").get_mut(&day).filter(|left| 0 < **left) {
        *left -= 1;
        bail!("no answer");
    }
    if effects.made.lock().expect("no panic").insert(day, 1).is_none() {
        effects.order.lock().expect("no panic").push(day);
    }
    Ok(())
}

fn day(text: &str) -> Day {
    text.parse().expect("a day")
}

/// A process with connections and a clock of its own.
async fn process(path: &Path, name: &str, effects: &Arc<Effects>, catch_up: CatchUp) -> (Nightly, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at(Zone::utc().start_of(day(FIRST))));
    let nightly = Nightly {
        job: Arc::new(Recorded { effects: Arc::clone(effects), catch_up }),
        daily: Daily::at_minutes(10),
        post: Post {
            catalog: Catalog::open(path).await.expect("a catalog"),
            node: name.to_owned(),
            lease: LEASE,
            renew_every: LEASE / 3,
            zone: Zone::utc(),
            clock: clock.clone(),
        },
    };
    (nightly, clock)
}

/// As many days as the scale of the random tests wants.
fn days_wanted() -> i32 {
    let cases = std::env::var("APPORTION_TEST_CASES").map_or(0, |count| count.parse::<i32>().expect("a count"));
    (cases / 100).clamp(DAYS, DAYS_LONG)
}

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    kills: u32,
    stops: u32,
    jumps: u32,
    missed: i32,
}

/// One process works and something happens to it.
async fn turn(nodes: &[(Nightly, Arc<FixedClock>)], effects: &Effects, random: &mut StdRng, tried: &mut Tried) {
    let chosen = random.random_range(0..nodes.len());
    let (node, _) = &nodes[chosen];
    match random.random_range(0..4) {
        0 => {
            tried.kills += 1;
            let life = Duration::from_micros(random.random_range(0..5_000));
            // Dropped wherever it is, also within a transaction.
            let _ = tokio::time::timeout(life, node.do_due()).await;
        }
        1 => {
            let mut work = Box::pin(node.do_due());
            let begun = effects.begun.notified();
            tokio::select! {
                done = &mut work => drop(done.expect("the catalog answers")),
                () = begun => {
                    tried.stops += 1;
                    // Nobody lets it go on until its lease is over and another one has taken its turn.
                    tokio::time::sleep(LEASE).await;
                    let (other, _) = &nodes[(chosen + 1) % nodes.len()];
                    // Stopped within a transaction, the first one keeps SQLite's lock: then the other one gives up.
                    drop(other.do_due().await);
                    work.await.expect("the catalog answers");
                }
            }
        }
        _ => {
            let all = futures::future::join_all(nodes.iter().map(|(node, _)| node.do_due())).await;
            let done: Vec<Day> = all.into_iter().flat_map(|done| done.expect("the catalog answers")).collect();
            assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), done.len(), "a day was done by two: {done:?}");
        }
    }
}

#[tokio::test]
async fn s1_s2_s3_every_day_has_one_effect_in_order_whatever_happens_to_the_processes() {
    let days = days_wanted();
    let seed = rand::random::<u64>();
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalog.db");
    let effects = Arc::new(Effects::default());
    let mut nodes = Vec::new();
    for number in 0..random.random_range(2..=8) {
        nodes.push(process(&path, &format!("node-{number}"), &effects, CatchUp::EachDay).await);
    }
    nodes[0].0.do_due().await.expect("the catalog answers");
    let (mut tried, mut passed) = (Tried::default(), 0);
    let end = Zone::utc().start_of(day(FIRST).plus(days)).plus_micros(HOUR);
    while passed < days {
        let missed = if random.random_bool(0.1) { random.random_range(2..=5) } else { 1 };
        passed = (passed + missed).min(days);
        tried.missed += missed - 1;
        let now = Zone::utc().start_of(day(FIRST).plus(passed)).plus_micros(HOUR);
        for (_, clock) in &nodes {
            // Hours by which it is wrong, behind or ahead; nobody comes to days after the last one.
            let wrong = if random.random_bool(0.2) { random.random_range(-48..=48) } else { 0 };
            tried.jumps += u32::from(wrong != 0);
            clock.set(now.plus_micros(wrong * HOUR).min(end));
        }
        for _ in 0..2 {
            turn(&nodes, &effects, &mut random, &mut tried).await;
        }
    }
    nodes.iter().for_each(|(_, clock)| clock.set(end));
    tokio::time::sleep(LEASE).await;
    nodes[0].0.do_due().await.expect("the catalog answers");

    println!("S1-S3: seed {seed}, {} processes, {days} days, {tried:?}", nodes.len());
    assert!(0 < tried.kills && 0 < tried.stops && 0 < tried.jumps && 0 < tried.missed, "all of it happened: {tried:?}");
    // The schedule began on the day before the first, whose moment had come.
    let expected: Vec<Day> = (0..=days).map(|number| day(FIRST).plus(number)).collect();
    assert_eq!(*effects.order.lock().expect("no panic"), expected);
    let rows = nodes[0].0.post.catalog.jobs_between("snapshot", FIRST, "9999-12-31").await.expect("rows");
    assert!(rows.iter().all(|row| row.status == "succeeded"));
    assert_eq!(rows.len(), expected.len());
}

/// A schedule that began on the day before [`FIRST`], at 01:00 of a later day.
async fn begun(catch_up: CatchUp, later: i32) -> (Nightly, Arc<Effects>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let effects = Arc::new(Effects::default());
    let (node, clock) = process(&folder.path().join("catalog.db"), "node", &effects, catch_up).await;
    assert_eq!(node.do_due().await.expect("an answer"), [], "what was before the schedule counts as done");
    clock.set(Zone::utc().start_of(day(FIRST).plus(later)).plus_micros(HOUR));
    (node, effects, folder)
}

#[tokio::test]
async fn the_last_day_does_for_all_when_the_job_looks_at_everything() {
    let (node, _effects, _folder) = begun(CatchUp::LastDay, 9).await;
    assert_eq!(node.do_due().await.expect("an answer"), [day("2025-01-10")]);
    assert_eq!(node.do_due().await.expect("an answer"), []);
}

#[tokio::test]
async fn a_day_that_fails_is_tried_later_and_holds_up_the_days_after_it() {
    let (node, effects, _folder) = begun(CatchUp::EachDay, 2).await;
    effects.failing.lock().expect("no panic").insert(day("2025-01-02"), 1);
    assert_eq!(node.do_due().await.expect("an answer"), [day("2025-01-01")]);
    assert_eq!(node.do_due().await.expect("an answer"), [], "it waits a minute");
    assert_eq!([again_after(1), again_after(3), again_after(9)], [AGAIN_AFTER, 4 * AGAIN_AFTER, AGAIN_AFTER_MAX]);
}

#[tokio::test]
async fn a_day_that_never_succeeds_is_left_behind_in_the_end() {
    let (node, _effects, _folder) = begun(CatchUp::EachDay, 2).await;
    let catalog = &node.post.catalog;
    for _ in 0..ATTEMPTS_MAX {
        let attempt = catalog.begin_job("snapshot", "2025-01-01", "other").await.expect("an answer").expect("not done");
        let failed = JobEnd::Failed { error: "no answer".to_owned(), again_after: HOUR };
        assert!(catalog.end_job("snapshot", "2025-01-01", attempt, &failed).await.expect("an answer"));
    }
    assert_eq!(node.do_due().await.expect("an answer"), [day("2025-01-02"), day("2025-01-03")]);
    let rows = catalog.jobs_between("snapshot", FIRST, FIRST).await.expect("rows");
    assert_eq!((rows[0].status.as_str(), rows[0].error.as_deref()), ("failed", Some("no answer")));
}

#[tokio::test]
async fn a_clock_that_is_years_ahead_starts_nothing_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let effects = Arc::new(Effects::default());
    let (node, clock) = process(&folder.path().join("catalog.db"), "node", &effects, CatchUp::EachDay).await;
    let now = Instant::from_micros(node.post.catalog.now().await.expect("an answer"));
    clock.set(now.plus_micros(-48 * HOUR));
    node.do_due().await.expect("an answer");
    clock.set(now.plus_micros(1_000 * 24 * HOUR));

    let done = node.do_due().await.expect("an answer");

    // At midnight the database may have come to another day since.
    assert!((2..=3).contains(&done.len()), "{done:?}");
    assert!(done.iter().all(|day| node.daily.on(&Zone::utc(), *day) <= now.plus_micros(HOUR)), "{done:?}");
}
