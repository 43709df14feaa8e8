use super::*;
use std::time::{Duration, Instant};

const SEED: u64 = 0x1d5;
/// Share of `make test` for this file; `make soak` sets the count and has no limit of its own.
const TIME_MAX: Duration = Duration::from_secs(30);

#[test]
fn an_index_decides_like_a_map_whatever_happens_in_between() {
    let wanted = std::env::var("APPORTION_TEST_CASES").ok();
    let (wanted, time_max) = wanted.map_or((100, TIME_MAX), |count| (count.parse().unwrap(), Duration::MAX));
    let (started, mut random, mut cases, mut decisions) = (Instant::now(), Random(SEED), 0, 0);
    while cases < wanted && started.elapsed() < time_max {
        let seed = random.0;
        decisions += run_case(&mut random, seed);
        cases += 1;
    }
    println!("seed {SEED}: {cases} of {wanted} cases, {decisions} ids, {:.1?}", started.elapsed());
    assert!(cases * 4 >= wanted, "only {cases} of {wanted} cases in {time_max:?}");
}

/// Returns how many ids were accepted.
fn run_case(random: &mut Random, seed: u64) -> usize {
    let folder = folder();
    let memory = |random: &mut Random| options(random.pick(&[0, 700, 5_000, 1 << 30]));
    let mut owner = Owner::open(folder.path(), memory(random));
    for step in 0..random.below(40) {
        let what = format!("case {seed:#x}, step {step}");
        match random.below(12) {
            0..=4 => {
                let count = random.below(600);
                owner.accept(random.ids(count));
            }
            5 => owner.seal(),
            6 | 7 => {
                owner.seal();
                let through = owner.segment - 1 - random.below(2) as u64;
                owner.index.persist(through).unwrap();
            }
            8 => drop(owner.index.merge_step().unwrap()),
            9 => {
                let count = random.below(400);
                import(&mut owner, random.ids(count), random);
            }
            _ => owner = owner.reopen(folder.path(), memory(random)),
        }
        if random.below(4) == 0 {
            owner.check(random, &what);
        }
    }
    owner.check(random, &format!("case {seed:#x}, end"));
    owner.ids().count()
}

/// Imports new ids, and some that are known with another content, which must not matter.
fn import(owner: &mut Owner, new: Vec<(IdKey, IdContent)>, random: &mut Random) {
    let mut ids = new.clone();
    let known: Vec<_> = owner.ids().step_by(7).map(|(key, _)| *key).collect();
    ids.extend(known.into_iter().chain(new.first().map(|(key, _)| *key)).map(|key| (key, random.content())));
    assert_eq!(owner.index.import(&ids).unwrap(), new.len());
    owner.log.entry(0).or_default().extend(new);
}
