use super::*;
use std::cell::RefCell;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const A: IdKey = [1; 16];
const B: IdKey = [2; 16];
const ONE: IdContent = [11; 16];
const TWO: IdContent = [22; 16];

#[test]
fn an_id_inserted_twice_keeps_its_first_content() {
    let folder = folder();
    let index = IdIndex::open(folder.path(), options(1 << 30)).unwrap();
    assert_eq!(index.insert(&A, &ONE), None);
    assert_eq!(index.insert(&A, &TWO).map(|found| found.content), Some(ONE));
    index.seal(1);
    assert_eq!(index.insert(&A, &TWO).map(|found| found.content), Some(ONE), "sealed segments count");
    index.persist(1).unwrap();
    assert_eq!(index.get(&A).unwrap().map(|found| found.content), Some(ONE));
}

#[test]
fn a_key_stored_twice_by_mistake_is_answered_alike_before_and_after_a_merge() {
    let folder = folder();
    let index = IdIndex::open(folder.path(), options(1 << 30)).unwrap();
    for (segment, key, content) in [(1, A, ONE), (2, A, TWO), (3, B, ONE)] {
        assert_eq!(index.insert(&key, &content), None);
        index.seal(segment);
        index.persist(segment).unwrap();
    }
    let before = index.get(&A).unwrap();
    assert!(index.merge_step().unwrap());
    assert_eq!(index.get(&A).unwrap(), before);
    assert_eq!((index.stats().stored_ids, index.stats().runs), (2, 1));
}

#[test]
#[should_panic(expected = "segment 2 is not sealed")]
fn an_open_segment_cannot_be_persisted() {
    let folder = folder();
    let index = IdIndex::open(folder.path(), options(0)).unwrap();
    index.seal(1);
    drop(index.persist(2));
}

#[test]
#[should_panic(expected = "segment 1 is sealed after Some(1)")]
fn a_durable_segment_cannot_be_sealed_again() {
    let folder = folder();
    let index = IdIndex::open(folder.path(), options(0)).unwrap();
    index.seal(1);
    index.persist(1).unwrap();
    index.seal(1);
}

#[test]
fn segments_without_ids_need_no_run() {
    let folder = folder();
    let index = IdIndex::open(folder.path(), options(0)).unwrap();
    index.seal(7);
    index.persist(7).unwrap();
    index.persist(3).unwrap();
    drop(index);
    let index = IdIndex::open(folder.path(), options(0)).unwrap();
    assert_eq!((index.through_segment(), index.stats().runs), (Some(7), 0));
}

#[test]
fn memory_stays_below_the_cap_and_answers_stay_exact() {
    const LENGTHS: [usize; 4] = [10_000, 5_000, 2_500, 2_500];
    for cap in [0, 500, 5_000, 30_000, 1 << 20] {
        let (mut random, folder) = (Random(3), folder());
        let check = |owner: &Owner, random: &mut Random, what: &str| {
            let used = owner.index.stats().filter_bytes;
            println!("cap {cap}, {what}: {used} bytes");
            assert!(used <= cap && (used > 0 || cap < 128), "{used} bytes of {cap}");
            owner.check(random, &format!("cap {cap}, {what}"));
        };
        let mut owner = Owner::open(folder.path(), options(1 << 20));
        LENGTHS[..3].iter().for_each(|length| owner.store(random.ids(*length)));
        owner = owner.reopen(folder.path(), options(cap));
        check(&owner, &mut random, "opened with a lower cap");
        owner.store(random.ids(LENGTHS[3]));
        check(&owner, &mut random, "one run more");
        while owner.index.merge_step().unwrap() {}
        check(&owner, &mut random, "merged");
        owner = owner.reopen(folder.path(), options(cap));
        check(&owner, &mut random, "opened again");
    }
}

#[test]
fn a_failed_attempt_leaves_no_files_and_may_be_repeated() {
    let (mut random, folder) = (Random(4), folder());
    let mut owner = Owner::open(folder.path(), options(1 << 30));
    owner.store(random.ids(300));
    owner.store(random.ids(300));
    owner.accept(random.ids(300));
    owner.seal();
    // A folder where the next manifest goes stands for a full disk.
    fs::create_dir(folder.path().join("manifest.new")).unwrap();
    let count = || fs::read_dir(folder.path()).unwrap().count();
    let before = count();
    owner.index.persist(3).unwrap_err();
    assert_eq!(count(), before);
    owner.check(&mut random, "after a failure");

    fs::remove_dir(folder.path().join("manifest.new")).unwrap();
    owner.index.persist(3).unwrap();
    assert!(owner.index.merge_step().unwrap());
    owner.check(&mut random, "after the repetition");
}

thread_local! {
    static MEANWHILE: RefCell<Option<(&'static str, Arc<IdIndex>)>> = const { RefCell::new(None) };
}

/// Persists an id at the step that was set, in the middle of a `merge_step`.
fn persist_meanwhile(step: &str) {
    let due = MEANWHILE.with_borrow_mut(|due| due.take_if(|(wanted, _)| *wanted == step));
    if let Some((_, index)) = due {
        assert_eq!(index.insert(&A, &ONE), None);
        index.seal(99);
        index.persist(99).unwrap();
    }
}

#[test]
fn an_id_persisted_in_the_middle_of_a_merge_step_is_found_afterwards() {
    for step in ["ids-sieve-filled", "ids-run-durable"] {
        let (mut random, folder) = (Random(6), folder());
        let options = IdOptions { at_step: persist_meanwhile, ..options(1 << 20) };
        let mut owner = Owner::open(folder.path(), options);
        (0..3).for_each(|_| owner.store(random.ids(300)));
        let Owner { index, log, .. } = owner.reopen(folder.path(), options);
        let index = Arc::new(index);
        MEANWHILE.set(Some((step, Arc::clone(&index))));
        while index.merge_step().unwrap() {}
        assert_eq!((MEANWHILE.take().is_none(), index.through_segment()), (true, Some(99)), "{step} was passed");
        for (key, content) in log.values().flatten().chain([&(A, ONE)]) {
            assert_eq!(index.get(key).unwrap().map(|found| found.content), Some(*content), "{step}");
        }
    }
}

#[test]
fn look_ups_are_right_while_other_threads_decide_persist_and_merge() {
    let (mut random, folder) = (Random(5), folder());
    let mut owner = Owner::open(folder.path(), options(20_000));
    owner.store(random.ids(2_000));
    let known: Vec<_> = owner.ids().copied().collect();
    let segments: Vec<_> = (0..38).map(|_| random.ids(400)).collect();
    let (index, done) = (&owner.index, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                for (key, content) in &known {
                    assert_eq!(index.get(key).unwrap().map(|found| found.content), Some(*content));
                }
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                index.merge_step().unwrap();
            }
        });
        for (segment, ids) in (2..).zip(&segments) {
            for ids in ids.chunks(100) {
                let mut batch = index.batch();
                batch.warm(ids.iter().map(|(key, _)| key));
                for (key, content) in ids {
                    assert_eq!(batch.get(key).unwrap(), None);
                    assert_eq!(batch.insert(key, content), None);
                }
            }
            index.seal(segment);
            index.persist(segment).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(index.stats().stored_ids, 2_000 + 38 * 400);
    for (key, content) in segments.iter().flatten() {
        assert_eq!(index.get(key).unwrap().map(|found| found.content), Some(*content));
    }
}
