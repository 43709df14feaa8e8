//! Points through the real log and catalog: what counts, what does not, and what a crash leaves behind.

use super::point::{Point, PointKind, Protocol, PushLimits, Series};
use super::{MetricMap, MetricRule, Outcome, Streams};
use crate::live::{EventLog, EventLogOptions, Setup};
use crate::meters::MeterSet;
use crate::rules::{EventRules, KnownTenants};
use arrow::array::AsArray;
use arrow::datatypes::Decimal128Type;
use domain::meter::{Meter, MeterKind, builtin};
use domain::{FixedClock, Instant, TenantScope, Zone};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use storage::catalog::Catalog;
use storage::lake::{HotRows as _, Lake};

const NOW: &str = "2026-11-20T12:00:00Z";
/// An hour before now, in nanoseconds.
const EARLIER_NANOS: i64 = 1_795_172_400_000_000_000;
const SECOND_NANOS: i64 = 1_000_000_000;

pub(super) const LIMITS: PushLimits = PushLimits { decoded_bytes_max: 1 << 20, series_max: 1_000, points_max: 500 };

pub(super) fn meters() -> Vec<Meter> {
    builtin()
}

pub(super) fn map() -> MetricMap {
    let rule = |(name, meter, unit, kind): (&str, &str, Option<&str>, Option<MeterKind>)| MetricRule {
        name: name.to_owned(),
        meter: meter.to_owned(),
        tenant: vec!["tenant".to_owned()],
        attributes: [("user", "enduser.id"), ("model", "gen_ai.request.model")]
            .map(|(field, name)| (field.to_owned(), name.to_owned()))
            .into(),
        unit: unit.map(str::to_owned),
        kind,
    };
    let rules = [
        ("tokens", "llm_tokens", None, None),
        ("tokens_total", "llm_tokens", None, None),
        ("level", "member_count", None, None),
        ("seconds", "sandbox_seconds", None, None),
        ("seconds_sum", "sandbox_seconds", None, None),
        ("forced", "mcp_reads", None, Some(MeterKind::Counter)),
        ("bytes", "network_gib", Some("Bytes"), None),
    ];
    MetricMap::new(rules.map(rule).into()).unwrap()
}

pub(super) fn series(metric: &str, tenant: &str) -> Arc<Series> {
    let attributes = [("tenant", tenant), ("gen_ai.request.model", "small"), ("enduser.id", "ann"), ("secret", "x")];
    let attributes = attributes.into_iter().filter(|(_, value)| !value.is_empty());
    Arc::new(Series {
        protocol: Protocol::Otlp,
        metric: metric.to_owned(),
        point: attributes.map(|(name, value)| (name.to_owned(), Value::from(value))).collect(),
        resource: Arc::default(),
        scope: Arc::default(),
    })
}

/// A point so many seconds after the beginning; a start of 0 is none.
fn point(series: &Arc<Series>, kind: PointKind, (start, at, value): (i64, i64, &str)) -> Point {
    Point {
        series: Arc::clone(series),
        at_nanos: EARLIER_NANOS + at * SECOND_NANOS,
        start_nanos: (start != 0).then_some(EARLIER_NANOS + start * SECOND_NANOS),
        value: value.to_owned(),
        kind,
    }
}

fn cumulative(tenant: &str, readings: &[(i64, i64, &str)]) -> Vec<Point> {
    let series = series("seconds", tenant);
    readings.iter().map(|reading| point(&series, PointKind::Cumulative, *reading)).collect()
}

struct World {
    log: EventLog,
    catalog: Catalog,
    streams: Streams,
    map: MetricMap,
}

impl World {
    async fn open(folder: &Path) -> Self {
        let now: Instant = NOW.parse().unwrap();
        let options = EventLogOptions {
            wal: folder.join("wal"),
            ids: folder.join("wal/ids"),
            segment_bytes: 1 << 20,
            id_memory_bytes_max: 1 << 20,
        };
        let setup = Setup {
            rules: Arc::new(EventRules::new(Zone::utc())),
            meters: Arc::new(MeterSet::new(meters()).unwrap()),
            tenants: Arc::new(KnownTenants::default()),
        };
        let lake = Lake::open(&folder.join("lake"), now).await.unwrap();
        let catalog = Catalog::open(&folder.join("catalog.db")).await.unwrap();
        let log = EventLog::open(options, lake, catalog.clone(), Arc::new(FixedClock::at(now)), setup).await.unwrap();
        Self { log, streams: Streams::new(catalog.clone(), 100), catalog, map: map() }
    }

    /// What a new process knows.
    fn restart(&mut self) {
        self.streams = Streams::new(self.catalog.clone(), 100);
    }

    async fn push(&self, points: Vec<Point>) -> Outcome {
        self.push_as(TenantScope::All, points).await
    }

    async fn push_as(&self, scope: TenantScope, points: Vec<Point>) -> Outcome {
        let intake = self.streams.prepare(points, &self.map, self.log.preparer(scope)).await.unwrap();
        intake.store(&self.log).await.unwrap()
    }

    /// Pushes and dies: before the rows are written, before the events are appended, or before the sender is told.
    async fn push_and_die(&mut self, points: Vec<Point>, at: Death) {
        let preparer = self.log.preparer(TenantScope::All);
        let mut intake = self.streams.prepare(points, &self.map, preparer).await.unwrap();
        if at != Death::Rows {
            intake.write_rows().await.unwrap();
        }
        if at == Death::Answer {
            intake.append(&self.log).await.unwrap();
        }
        drop(intake);
        self.restart();
    }

    /// Σ of a tenant's usage in thousandths; all of it is hot.
    fn usage(&self, tenant: &str) -> i128 {
        let mut sum = 0;
        for batch in self.log.snapshot().unwrap().usage_after(None).unwrap() {
            let tenants = batch.column_by_name("tenant").unwrap().as_string::<i32>().clone();
            let sums = batch.column_by_name("sum").unwrap().as_primitive::<Decimal128Type>().clone();
            let of_tenant = (0..batch.num_rows()).filter(|row| tenants.value(*row) == tenant);
            sum += of_tenant.map(|row| sums.value(row) / 1_000_000).sum::<i128>();
        }
        sum
    }
}

/// A reading of one life of a counter, at a time in days before now.
fn days_ago(start: i64, at: i64, value: &str) -> Vec<Point> {
    let seconds = |days: i64| 3_600 - days * 86_400;
    vec![point(&series("seconds", "a"), PointKind::Cumulative, (seconds(start), seconds(at), value))]
}

#[tokio::test]
async fn a_stream_that_is_forgotten_and_comes_back_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path()).await;
    world.push(days_ago(398, 2, "5")).await;
    assert_eq!(world.usage("a"), 5_000, "it began in time to be known");
    let later = |days: i64| NOW.parse::<Instant>().unwrap().plus_micros(days * 86_400 * 1_000_000);
    assert_eq!(world.streams.forget_unseen(later(400)).await.unwrap(), 0);
    world.push(days_ago(398, 1, "5")).await;
    assert_eq!(world.streams.forget_unseen(later(401)).await.unwrap(), 1);
    world.restart();
    // Its row is gone, and it may have been counted: only what comes after this reading counts.
    let of_old = |at: i64, value: &str| {
        let series = series("seconds", "b");
        vec![point(&series, PointKind::Cumulative, (-400 * 86_400, 3_500 - at, value))]
    };
    world.push(of_old(20, "7")).await;
    assert_eq!(world.usage("b"), 0);
    world.push(of_old(10, "9")).await;
    assert_eq!(world.usage("b"), 2_000);
}

/// What the process died before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Rows,
    Events,
    Answer,
}

fn counts(outcome: &Outcome) -> (u64, u64, u64) {
    (outcome.accepted, outcome.duplicates, outcome.refused.count)
}

/// Pushes one after the other; returns the usage in thousandths after each.
async fn check(pushes: &[&[(i64, i64, &str)]], expected: &[i128]) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let mut found = Vec::new();
    for readings in pushes {
        world.push(cumulative("a", readings)).await;
        found.push(world.usage("a"));
    }
    assert_eq!(found, expected, "{pushes:?}");
}

#[tokio::test]
async fn a_cumulative_stream_counts_what_was_added() {
    check(&[&[(1, 10, "5")], &[(1, 20, "7.5")], &[(1, 30, "7.5")], &[(1, 40, "8")]], &[5_000, 7_500, 7_500, 8_000])
        .await;
}

#[tokio::test]
async fn without_a_start_the_first_reading_is_the_baseline() {
    check(&[&[(0, 10, "100")], &[(0, 20, "101.5")], &[(0, 20, "101.5")]], &[0, 1_500, 1_500]).await;
    check(&[&[(10, 10, "100")], &[(10, 20, "101")]], &[0, 1_000]).await;
}

#[tokio::test]
async fn a_counter_that_begins_again_counts_from_nothing() {
    check(&[&[(1, 10, "5")], &[(15, 20, "9")], &[(15, 30, "10")]], &[5_000, 14_000, 15_000]).await;
    check(&[&[(0, 10, "5")], &[(0, 20, "3")], &[(0, 30, "4")]], &[0, 3_000, 4_000]).await;
    // A restart that is seen at 0 is not forgotten.
    check(&[&[(0, 10, "5")], &[(0, 20, "0")], &[(0, 30, "7")]], &[0, 0, 7_000]).await;
}

#[tokio::test]
async fn what_comes_again_late_or_out_of_order_adds_nothing() {
    check(&[&[(1, 20, "7")], &[(1, 10, "5"), (1, 20, "7")], &[(1, 15, "6")]], &[7_000, 7_000, 7_000]).await;
    check(&[&[(1, 30, "9"), (1, 10, "5"), (1, 20, "7")]], &[9_000]).await;
    check(&[&[(15, 20, "2")], &[(1, 10, "5")]], &[2_000, 2_000]).await;
}

#[tokio::test]
async fn deltas_and_levels_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let (tokens, level) = (series("tokens", "a"), series("level", "b"));
    let points = vec![
        point(&tokens, PointKind::Delta, (1, 10, "5")),
        point(&tokens, PointKind::Delta, (10, 20, "2.5")),
        point(&level, PointKind::Gauge, (0, 20, "-4")),
    ];
    assert_eq!(counts(&world.push(points.clone()).await), (3, 0, 0));
    assert_eq!(counts(&world.push(points).await), (0, 3, 0));
    assert_eq!((world.usage("a"), world.usage("b")), (7_500, -4_000));
    let other = world.push(vec![point(&tokens, PointKind::Delta, (1, 10, "6"))]).await;
    assert_eq!(counts(&other), (0, 0, 1));
    assert!(other.refused.reasons[0].contains("id_conflict"), "{other:?}");
}

#[tokio::test]
async fn a_crash_at_any_step_counts_once() {
    for death in [Death::Rows, Death::Events, Death::Answer] {
        for first in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let mut world = World::open(folder.path()).await;
            if !first {
                world.push(cumulative("a", &[(1, 10, "5")])).await;
            }
            world.push_and_die(cumulative("a", &[(1, 20, "7"), (1, 30, "8")]), death).await;
            let counted = if death == Death::Answer { 8_000 } else { i128::from(!first) * 5_000 };
            assert_eq!(world.usage("a"), counted, "{death:?}");
            world.push(cumulative("a", &[(1, 20, "7"), (1, 30, "8")])).await;
            assert_eq!(world.usage("a"), 8_000, "{death:?}");
            world.push(cumulative("a", &[(1, 40, "10")])).await;
            assert_eq!(world.usage("a"), 10_000, "{death:?}");
        }
    }
}

#[tokio::test]
async fn the_sender_may_go_on_after_a_crash_without_sending_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path()).await;
    world.push(cumulative("a", &[(1, 10, "5")])).await;
    world.push_and_die(cumulative("a", &[(1, 20, "7")]), Death::Events).await;
    world.push(cumulative("a", &[(1, 30, "8")])).await;
    assert_eq!(world.usage("a"), 8_000);
}

#[tokio::test]
async fn a_log_that_is_opened_again_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.push(cumulative("a", &[(1, 10, "5")])).await;
    world.log.flush_all().await.unwrap();
    world.log.close().await.unwrap();
    drop(world);
    let world = World::open(folder.path()).await;
    let outcome = world.push(cumulative("a", &[(1, 10, "5"), (1, 20, "7")])).await;
    assert_eq!((counts(&outcome), world.usage("a")), ((1, 1, 0), 2_000), "the first five are in the table");
}

#[tokio::test]
async fn events_tell_what_was_counted_when_the_rows_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path()).await;
    world.push(cumulative("a", &[(1, 10, "5"), (1, 20, "7")])).await;
    world.streams = Streams::new(Catalog::open(&folder.path().join("other.db")).await.unwrap(), 100);
    assert_eq!(counts(&world.push(cumulative("a", &[(1, 20, "7"), (1, 30, "8")])).await), (1, 1, 0));
    assert_eq!(world.usage("a"), 8_000);
}

#[tokio::test]
async fn streams_that_are_not_held_in_memory_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path()).await;
    world.streams = Streams::new(world.catalog.clone(), 2);
    for (at, value) in [(10, "5"), (20, "7"), (30, "7.5")] {
        for tenant in ["a", "b", "c", "d", "e"] {
            world.push(cumulative(tenant, &[(1, at, value)])).await;
        }
    }
    assert_eq!(["a", "b", "c", "d", "e"].map(|tenant| world.usage(tenant)), [7_500; 5]);
}

#[tokio::test]
async fn a_refused_reading_is_counted_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let hours = 3_600;
    let outcome = world.push(cumulative("a", &[(1, 10, "5"), (1, 3 * hours, "7")])).await;
    assert_eq!(counts(&outcome), (1, 0, 1));
    assert!(outcome.refused.reasons[0].contains("time_in_future"), "{outcome:?}");
    world.push(cumulative("a", &[(1, hours, "9")])).await;
    assert_eq!(world.usage("a"), 9_000);
    let nobody = world.push(cumulative("", &[(1, 10, "5")])).await;
    assert!(nobody.refused.reasons[0].contains("tenant_missing"), "{nobody:?}");
    let negative = world.push(cumulative("b", &[(1, 10, "-5")])).await;
    assert!(negative.refused.reasons[0].contains("negative_quantity"), "{negative:?}");
    let huge = world.push(cumulative("b", &[(1, 10, "1e30")])).await;
    assert!(huge.refused.reasons[0].contains("out_of_bound"), "{huge:?}");
    let older = world.push(cumulative("a", &[(0, hours + 5, "9"), (-5, hours + 9, "20")])).await;
    assert!(older.refused.reasons[0].contains("began before"), "{older:?}");
}

#[tokio::test]
async fn tokens_of_two_tenants_have_streams_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let only = |tenant: &str| TenantScope::Only([tenant.parse().unwrap()].into());
    for tenant in ["a", "b"] {
        world.push_as(only(tenant), cumulative("", &[(1, 10, "5")])).await;
        world.push_as(only(tenant), cumulative("", &[(1, 20, "6")])).await;
    }
    assert_eq!((world.usage("a"), world.usage("b")), (6_000, 6_000));
    let foreign = world.push_as(only("a"), cumulative("b", &[(1, 10, "5")])).await;
    assert!(foreign.refused.reasons[0].contains("tenant_forbidden"), "{foreign:?}");
}

#[tokio::test]
async fn a_metric_is_of_the_kind_of_its_meter_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let one = async |metric: &str, kind| {
        let outcome = world.push(vec![point(&series(metric, "a"), kind, (1, 10, "1"))]).await;
        outcome.refused.reasons.first().map_or("ok".to_owned(), |reason| reason.split(", ").next().unwrap().to_owned())
    };
    assert_eq!(one("seconds", PointKind::Gauge).await, "metric `seconds`: it is a level");
    assert_eq!(one("level", PointKind::Cumulative).await, "metric `level`: it is a counter");
    assert_eq!(one("level", PointKind::Delta).await, "metric `level`: it says changes");
    assert_eq!(one("level", PointKind::Unsaid).await, "ok");
    assert_eq!(one("seconds", PointKind::Unsaid).await, "ok");
}

#[tokio::test]
async fn units_convert_before_readings_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let bytes = series("bytes", "a");
    for (at, value) in [(10, "1"), (20, "2"), (30, "3"), (40, "2147483648")] {
        world.push(vec![point(&bytes, PointKind::Cumulative, (1, at, value))]).await;
    }
    assert_eq!(world.usage("a"), 2_000, "what is rounded in one reading comes back in the next");
}

/// What a sender does.
#[derive(Clone, Debug)]
enum Act {
    /// Its counter grows by so many thousandths.
    Add(u32),
    /// It takes a reading.
    Read,
    /// It loses its counter.
    Reset,
    /// It sends what it has not sent, perhaps to a server that dies, and then again.
    Send(Option<Death>),
    /// It sends an earlier push again.
    Again(prop::sample::Index),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let death = prop::option::of(prop::sample::select(vec![Death::Rows, Death::Events, Death::Answer]));
    let act = prop_oneof![
        4 => (0..5_000_u32).prop_map(Act::Add),
        4 => Just(Act::Read),
        1 => Just(Act::Reset),
        4 => death.prop_map(Act::Send),
        1 => any::<prop::sample::Index>().prop_map(Act::Again),
    ];
    prop::collection::vec(act, 1..40)
}

/// A sender, and what it knows to have been used: all that its readings have shown.
struct Sender {
    has_starts: bool,
    start: i64,
    now: i64,
    value: u64,
    shown: u64,
    total: u64,
    /// Whether a reading of a counter without starts has been taken: the first is the baseline.
    is_known: bool,
    waiting: Vec<(i64, i64, String)>,
}

impl Sender {
    fn new(has_starts: bool) -> Self {
        Self { has_starts, start: 1, now: 1, value: 0, shown: 0, total: 0, is_known: has_starts, waiting: Vec::new() }
    }

    fn read(&mut self) {
        self.now += 1;
        if self.is_known {
            self.total += self.value - self.shown;
        }
        (self.shown, self.is_known) = (self.value, true);
        let start = if self.has_starts { self.start } else { 0 };
        self.waiting.push((start, self.now, format!("{}.{:03}", self.value / 1_000, self.value % 1_000)));
    }

    fn reset(&mut self) {
        self.now += 1;
        (self.start, self.value, self.shown) = (self.now, 0, 0);
        // Without starts nobody can tell a counter that has overtaken its old self, so it is read at 0.
        if !self.has_starts {
            self.read();
        }
    }
}

#[test]
fn usage_is_what_the_sender_used_whatever_is_lost_or_sent_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let world = tokio::sync::Mutex::new(runtime.block_on(World::open(folder.path())));
    let case = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
    let run = runner.run(&(acts(), any::<bool>()), |(acts, has_starts)| {
        case.set(case.get() + 1);
        let tenant = format!("t{}", case.get());
        let (used, found) =
            runtime.block_on(async { played(&mut *world.lock().await, &tenant, &acts, has_starts).await });
        prop_assert_eq!(used, found);
        Ok(())
    });
    run.unwrap();
}

/// What the sender used, and what was counted.
async fn played(world: &mut World, tenant: &str, acts: &[Act], has_starts: bool) -> (i128, i128) {
    let mut sender = Sender::new(has_starts);
    let mut sent: Vec<Vec<Point>> = Vec::new();
    let points = |readings: Vec<(i64, i64, String)>| {
        let readings: Vec<_> = readings.iter().map(|(start, at, value)| (*start, *at, value.as_str())).collect();
        cumulative(tenant, &readings)
    };
    for act in acts.iter().chain(&[Act::Read, Act::Send(None)]) {
        match act {
            Act::Add(thousandths) => sender.value += u64::from(*thousandths),
            Act::Read => sender.read(),
            Act::Reset => sender.reset(),
            Act::Send(death) => {
                let push = points(std::mem::take(&mut sender.waiting));
                if let Some(death) = death {
                    world.push_and_die(push.clone(), *death).await;
                }
                world.push(push.clone()).await;
                sent.push(push);
            }
            Act::Again(which) if !sent.is_empty() => {
                world.push(which.get(&sent).clone()).await;
            }
            Act::Again(_) => {}
        }
    }
    (i128::from(sender.total), world.usage(tenant))
}
