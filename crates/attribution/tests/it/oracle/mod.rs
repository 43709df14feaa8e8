//! A slow reference of a day's attribution, and random days on which the implementation must equal it.

/// Random days, in the oracle's words and as inputs of the implementation.
mod case;
/// Whose a line is, what was used and what that is worth.
mod drivers;
/// Values at the bounds.
mod edges;
/// The generator.
mod random;
/// Fractions and the split rule.
mod ratio;
/// The day.
mod reference;
/// Windows.
mod windows;

use attribution::cells::Consumer;
use attribution::day::{DayOutcome, PoolOutcome};
use attribution::pool::ComponentKey;
use case::Case;
use random::Random;
use reference::{Component, Done, Key, Sums, reference};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const SEED: u64 = 20_261_110;
/// Cases of the gate.
const GATE: u64 = 10_000;
/// Share of the gate that this test may take, and of the long run; below a quarter of the count it fails.
const TIME_MAX: Duration = Duration::from_secs(200);
const TIME_LONG_MAX: Duration = Duration::from_secs(6 * 3_600);

#[derive(Default)]
struct Seen {
    cases: u64,
    pools: u64,
    entries: u64,
    not_run: BTreeMap<&'static str, u64>,
    methods: BTreeMap<&'static str, u64>,
    reserved: BTreeMap<String, u64>,
}

#[test]
fn c1_ten_thousand_random_days_equal_the_reference() {
    let wanted = std::env::var("APPORTION_TEST_CASES").map_or(GATE, |count| count.parse().expect("a count"));
    let time_max = if wanted <= GATE { TIME_MAX } else { TIME_LONG_MAX };
    let (started, mut random, mut seen) = (Instant::now(), Random(SEED), Seen::default());
    while seen.cases < wanted && started.elapsed() < time_max {
        let before = random.0;
        let case = random::case(&mut random);
        check(&case, &mut seen).unwrap_or_else(|difference| report(&case, before, &difference));
        seen.cases += 1;
    }
    println!(
        "C1: seed {SEED}: {} of {wanted} days, {} pools {:?}, {} entries {:?}, not run {:?}, {:.1?}",
        seen.cases,
        seen.pools,
        seen.methods,
        seen.entries,
        seen.reserved,
        seen.not_run,
        started.elapsed()
    );
    assert!(seen.cases * 4 >= wanted, "only {} of {wanted} days in {time_max:?}", seen.cases);
    assert!(wanted < 1_000 || (seen.not_run.len() >= 3 && seen.methods.len() >= 8 && seen.reserved.len() >= 4));
}

#[test]
fn c7_two_hundred_days_in_another_order_are_identical() {
    let mut random = Random(SEED + 1);
    for _ in 0..200 {
        let before = random.0;
        let mut case = random::case(&mut random);
        let outcome = format!("{:?}", case.attribute());
        for _ in 0..3 {
            random.shuffle(&mut case.lines);
            random.shuffle(&mut case.usage);
            let again = format!("{:?}", case.attribute());
            assert!(again == outcome, "{}\n{outcome}\n{again}", describe(&case, before));
        }
    }
    println!("C7: seed {}: 200 days, each in 4 orders", SEED + 1);
}

fn report(case: &Case, seed: u64, difference: &str) {
    let mut least = case.clone();
    let fails = |case: &Case| check(case, &mut Seen::default()).is_err();
    for keep_going in [true, true] {
        let mut at = 0;
        while keep_going && at < least.lines.len() + least.usage.len() + least.fx.len() {
            let mut smaller = least.clone();
            let (lines, usage) = (least.lines.len(), least.usage.len());
            match at {
                at if at < lines => drop(smaller.lines.remove(at)),
                at if at < lines + usage => drop(smaller.usage.remove(at - lines)),
                at => drop(smaller.fx.remove(at - lines - usage)),
            }
            if fails(&smaller) { least = smaller } else { at += 1 }
        }
    }
    let difference = check(&least, &mut Seen::default()).err().unwrap_or_else(|| difference.to_owned());
    panic!("{difference}\n{}", describe(&least, seed));
}

fn describe(case: &Case, seed: u64) -> String {
    let mut text = format!("day from Random({seed}), {} hours\n{}", case.day_hours, case.policy_toml());
    for line in &case.lines {
        writeln!(text, "line {} {:?} {:?}", line.currency, line.costs, line.values).expect("text grows");
    }
    for used in &case.usage {
        let row = (&used.meter, &used.sum, &used.last, used.count, &used.values);
        writeln!(text, "usage {row:?}").expect("text grows");
    }
    writeln!(text, "active {:?}\ncard {:?}\nfx {:?}", case.active, case.card, case.fx).expect("text grows");
    text
}

fn check(case: &Case, seen: &mut Seen) -> Result<(), String> {
    let (outcome, expected) = (case.attribute(), reference(case));
    if outcome.pools.len() != expected.len() {
        return Err(format!("{} pools instead of {}", outcome.pools.len(), expected.len()));
    }
    for (pool, expected) in outcome.pools.iter().zip(&expected) {
        check_pool(pool, expected)?;
        seen.pools += 1;
        *seen.methods.entry(pool.method.as_str()).or_default() += 1;
        match &pool.not_run {
            Some(not_run) => *seen.not_run.entry(not_run.code).or_default() += 1,
            None => count(pool, seen),
        }
    }
    check_findings(&outcome)
}

fn count(pool: &PoolOutcome, seen: &mut Seen) {
    seen.entries += u64::try_from(pool.shares.len()).expect("few");
    for share in &pool.shares {
        if let Consumer::Reserved(word) = share.consumer {
            *seen.reserved.entry(word.to_owned()).or_default() += 1;
        }
    }
}

fn check_findings(outcome: &DayOutcome) -> Result<(), String> {
    let known = ["negative_driver", "over_capacity", "unpriced"];
    outcome.findings.iter().find(|finding| !known.contains(&finding.code)).map_or(Ok(()), |odd| Err(format!("{odd:?}")))
}

fn check_pool(pool: &PoolOutcome, expected: &Done) -> Result<(), String> {
    if pool.name != expected.name || pool.not_run.as_ref().map(|not_run| not_run.code) != expected.not_run {
        return Err(format!("{} {:?} instead of {} {:?}", pool.name, pool.not_run, expected.name, expected.not_run));
    }
    if pool.not_run.is_some() {
        return if pool.shares.is_empty() { Ok(()) } else { Err(format!("{} was not run but has shares", pool.name)) };
    }
    conserved(pool, expected)?;
    let mut rows: BTreeMap<Key, Sums> = BTreeMap::new();
    let mut quantities: BTreeMap<_, i128> = BTreeMap::new();
    for share in &pool.shares {
        let service = share.labels.get("service").map(|service| service.to_string());
        let (consumer, meter) = (consumer(&share.consumer), share.meter.as_ref().map(|meter| meter.to_string()));
        if let Some(quantity) = share.quantity {
            *quantities.entry((consumer.clone(), meter.clone())).or_default() += quantity;
        }
        let row = rows.entry((component(&share.component), consumer, meter, service)).or_default();
        *row = [row[0] + share.amount, row[1] + share.billed, row[2] + share.reporting];
    }
    rows.retain(|_, sums| *sums != [0; 3]);
    quantities.retain(|_, quantity| *quantity != 0);
    let (mut wanted_rows, mut wanted_quantities) = (expected.rows.clone(), expected.quantities.clone());
    wanted_rows.retain(|_, sums| *sums != [0; 3]);
    wanted_quantities.retain(|_, quantity| *quantity != 0);
    equal(&pool.name, &rows, &wanted_rows)?;
    equal(&pool.name, &quantities, &wanted_quantities)
}

fn equal<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    pool: &str,
    got: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Result<(), String> {
    let mut text = String::new();
    for key in got.keys().chain(wanted.keys().filter(|key| !got.contains_key(*key))) {
        if got.get(key) != wanted.get(key) {
            writeln!(text, "{pool} {key:?}: {:?} instead of {:?}", got.get(key), wanted.get(key)).expect("text grows");
        }
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

/// What the bill says went in, minus the shares, is zero for every component and measure.
fn conserved(pool: &PoolOutcome, expected: &Done) -> Result<(), String> {
    let mut left: BTreeMap<Component, Sums> = BTreeMap::new();
    for ((key, _), sums) in &expected.into {
        let entry = left.entry(key.clone()).or_default();
        (0..3).for_each(|measure| entry[measure] += sums[measure]);
    }
    let mut stated = left.clone();
    for share in &pool.shares {
        let entry = left.entry(component(&share.component)).or_default();
        *entry = [entry[0] - share.amount, entry[1] - share.billed, entry[2] - share.reporting];
    }
    for part in &pool.components {
        let entry = stated.entry(component(&part.key)).or_default();
        *entry = [entry[0] - part.amounts.amount, entry[1] - part.amounts.billed, entry[2] - part.reporting];
    }
    let nothing = |left: &BTreeMap<Component, Sums>| left.values().all(|sums| *sums == [0; 3]);
    if nothing(&left) && nothing(&stated) {
        return Ok(());
    }
    Err(format!("{}: in − shares is {left:?}, in − stated is {stated:?}", pool.name))
}

fn consumer(consumer: &Consumer) -> drivers::Consumer {
    match consumer {
        Consumer::Reserved(word) => drivers::reserved(word),
        Consumer::Values(values) => values.iter().map(|value| value.as_ref().map(|value| value.to_string())).collect(),
    }
}

fn component(key: &ComponentKey) -> Component {
    let mut all = vec![Some(key.currency.to_string())];
    let details =
        [&key.charge_category, &key.service, &key.provider, &key.source, &key.commitment_status, &key.invoice_id];
    all.extend(details.map(|value| value.as_ref().map(|value| value.to_string())));
    all
}
