//! A slow reference of windows: every use is looked at for every cost, and shares are fractions.

use super::random::Random;
use super::ratio::{Ratio, split};
use crate::given::Given;
use attribution::cells::Consumer;
use attribution::window::{CostEvent, Ends, Length, Read, Reads, Terms, WindowPool, amortize};
use domain::{Currency, Instant};
use std::collections::BTreeMap;
use std::time::{Duration, Instant as Stopwatch};

const SEED: u64 = 20_261_128;
const WANTED: u64 = 3_000;
/// Below a quarter of the count in this time the test fails.
const TIME_MAX: Duration = Duration::from_secs(60);
const POOL: &str = "[[pool]]\nname='w'\ntier='amortized'\nsource={event_type='c',key='$.k',cost='$.c',currency='USD'}\n\
    split={method='window',by=['tenant','workflow'],event_type='r',key='$.k',window='24h'}\n";

/// Times are small numbers, so that many things happen at once and at the ends of windows.
#[derive(Clone, Debug)]
struct Case {
    has_keys: bool,
    /// Length, and whether an event may end it before.
    length: (i64, bool),
    grace: i64,
    now: i64,
    is_weighted: bool,
    /// Time, key, atoms.
    costs: Vec<(i64, Option<usize>, i128)>,
    /// Time, key, consumer, weight; odd consumers of 5 are left out by `where`.
    reads: Vec<(i64, Option<usize>, usize, i128)>,
    ends: Vec<(i64, Option<usize>)>,
}

const CONSUMERS: [&str; 6] = ["a/", "a/w1", "a/w2", "b/", "b/w1", "left/out"];

fn fields(who: usize) -> Vec<String> {
    CONSUMERS[who].split('/').map(str::to_owned).collect()
}

fn case(random: &mut Random) -> Case {
    let has_keys = random.chance(70);
    let key = |random: &mut Random| (has_keys && random.chance(90)).then(|| random.below(3));
    let time = |random: &mut Random| i64::try_from(random.below(40)).expect("small");
    let is_weighted = random.chance(50);
    let costs = (0..random.below(5)).map(|_| {
        let size = [0, 1, 7, 100, 1_000_000_000_000_001][random.below(5)];
        (time(random), key(random), if random.chance(15) { -size } else { size })
    });
    let costs = costs.collect();
    let reads = (0..random.below(25)).map(|_| {
        let weight = [0, 1, 3, 1_000_000_000, -2][random.below(5)];
        (time(random), key(random), random.below(CONSUMERS.len()), weight)
    });
    let reads = reads.collect();
    let ends = (0..random.below(6)).map(|_| (time(random), key(random))).collect();
    Case {
        has_keys,
        length: (1 + time(random), random.chance(40)),
        grace: time(random) / 4,
        now: time(random) * 2,
        is_weighted,
        costs,
        reads,
        ends,
    }
}

/// By consumer and whether it is pending.
type Sums = BTreeMap<(Vec<String>, bool), i128>;

fn reference(case: &Case) -> Sums {
    let mut sums = Sums::new();
    for (time, key, amount) in &case.costs {
        let is_nameless = case.has_keys && key.is_none();
        let mut end = time + case.length.0;
        for (ended, of) in &case.ends {
            if case.length.1 && !is_nameless && of == key && time < ended {
                end = end.min(*ended);
            }
        }
        let mut cells: BTreeMap<Vec<String>, i128> = BTreeMap::new();
        for (read, of, who, weight) in &case.reads {
            if is_nameless || of != key || read < time || *read >= end || CONSUMERS[*who] == "left/out" {
                continue;
            }
            let cell = cells.entry(fields(*who)).or_default();
            *cell = if case.is_weighted { *cell + weight } else { 1 };
        }
        let cells: Vec<(Vec<String>, Ratio)> =
            cells.into_iter().map(|(consumer, weight)| (consumer, Ratio::whole(weight.max(0)))).collect();
        let pending = case.now < end + case.grace;
        match split(*amount, &cells) {
            Some(shares) => {
                for ((consumer, _), share) in cells.into_iter().zip(shares) {
                    *sums.entry((consumer, pending)).or_default() += share;
                }
            }
            None => *sums.entry((vec!["__unconsumed__".to_owned()], pending)).or_default() += amount,
        }
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn attributed(case: &Case) -> Sums {
    let name = |key: &Option<usize>| key.map(|key| format!("k{key}").into());
    let instant = |time: &i64| Instant::from_micros(*time);
    let costs = case.costs.iter().map(|(time, key, amount)| CostEvent {
        time: instant(time),
        key: name(key),
        amount: *amount,
        name: None,
    });
    let reads = case.reads.iter().map(|(time, key, who, weight)| Read {
        time: instant(time),
        key: name(key),
        who: *who,
        weight: *weight,
    });
    let (reads, mut ends) = (Reads::new(reads.collect()), Ends::default());
    case.ends.iter().for_each(|(time, key)| ends.insert(name(key), instant(time)));
    let value = |field: String| (!field.is_empty()).then(|| field.as_str().into());
    let consumer = |who: usize| Consumer::Values(fields(who).into_iter().map(value).collect());
    let consumers: Vec<Option<Consumer>> =
        (0..CONSUMERS.len()).map(|who| (CONSUMERS[who] != "left/out").then(|| consumer(who))).collect();
    let (length, is_until) = case.length;
    let terms = Terms {
        has_keys: case.has_keys,
        length: if is_until { Length::Until(length) } else { Length::For(length) },
        grace: case.grace,
        is_weighted: case.is_weighted,
        reads: &reads,
        ends: &ends,
        consumers: &consumers,
    };
    let costs = amortize(costs.collect(), &terms, instant(&case.now));
    let mut given = Given::policy(POOL);
    given.windows.insert("w".to_owned(), WindowPool { costs, ..WindowPool::nothing(Currency::USD) });
    let outcome = given.attribute();
    let mut sums = Sums::new();
    for share in &outcome.pools[0].shares {
        assert_eq!(share.amount, share.reporting, "one currency");
        let consumer = match &share.consumer {
            Consumer::Reserved(word) => vec![(*word).to_owned()],
            Consumer::Values(values) => {
                values.iter().map(|value| value.as_deref().unwrap_or_default().to_owned()).collect()
            }
        };
        *sums.entry((consumer, share.pending)).or_default() += share.amount;
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

#[test]
fn random_windows_equal_the_reference_whatever_the_order_of_uses() {
    let (started, mut random, mut done) = (Stopwatch::now(), Random(SEED), 0);
    while done < WANTED && started.elapsed() < TIME_MAX {
        let before = random.0;
        let mut case = case(&mut random);
        let expected = reference(&case);
        let total: i128 = case.costs.iter().map(|(_, _, amount)| amount).sum();
        assert_eq!(expected.values().sum::<i128>(), total, "Random({before}): {case:?}");
        assert_eq!(attributed(&case), expected, "Random({before}): {case:?}");
        random.shuffle(&mut case.reads);
        random.shuffle(&mut case.ends);
        assert_eq!(attributed(&case), expected, "Random({before}), shuffled: {case:?}");
        done += 1;
    }
    println!("seed {SEED}: {done} of {WANTED} days of windows, each in 2 orders, {:.1?}", started.elapsed());
    assert!(done * 4 >= WANTED, "only {done} of {WANTED} in {TIME_MAX:?}");
}

#[test]
fn time_passing_changes_the_status_and_nothing_else() {
    let mut random = Random(SEED + 1);
    for _ in 0..500 {
        let before = random.0;
        let open = Case { now: -1, ..case(&mut random) };
        let closed = Case { now: 1_000, ..open.clone() };
        let without_status = |sums: Sums| {
            let mut amounts: BTreeMap<Vec<String>, i128> = BTreeMap::new();
            sums.into_iter().for_each(|((consumer, _), amount)| *amounts.entry(consumer).or_default() += amount);
            amounts
        };
        let (open, closed) = (attributed(&open), attributed(&closed));
        assert!(open.keys().all(|(_, pending)| *pending) && closed.keys().all(|(_, pending)| !*pending));
        assert_eq!(without_status(open), without_status(closed), "Random({before})");
    }
}
