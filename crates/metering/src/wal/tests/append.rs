use super::*;
use crate::wal::sim::Operation;
use std::sync::mpsc;

#[test]
fn what_was_answered_is_there_after_a_power_cut_in_the_order_of_the_log() {
    let disk = SimDisk::new(1);
    let (wal, _) = start(&disk, SMALL);
    run(async {
        for id in 0..40 {
            wal.append(vec![2 * id, 2 * id + 1]).await.unwrap();
        }
    });
    let disk = disk.power_cut(&mut rand::rng());
    let found = read(&mut open(&disk, SMALL, None).unwrap()).unwrap();
    assert_eq!(ids(&found), Vec::from_iter(0..80));
}

#[test]
fn a_log_goes_on_after_it_was_closed_and_opened() {
    let disk = SimDisk::new(1);
    let first = run(async {
        let (wal, _) = start(&disk, SMALL);
        let first = wal.append(vec![1]).await.unwrap();
        wal.close().await.unwrap();
        first
    });
    let (wal, seen) = start(&disk, SMALL);
    let second = run(wal.append(vec![2])).unwrap();
    assert_eq!(first, Some(Position { segment: 1, sequence: 1 }));
    assert_eq!(second, Some(Position { segment: 1, sequence: 2 }));
    assert_eq!(seen.lock().unwrap().committed, [(1, 1), (1, 2)]);
}

#[test]
fn one_sync_covers_all_appends_that_wait() {
    let disk = SimDisk::new(1);
    let seen = seen_of(Vec::new());
    let (open_gate, gate) = mpsc::channel();
    let wal = Arc::new(open(&disk, SMALL, None).unwrap().start(Ids { gate: Some(gate), ..Ids::new(&seen) }).unwrap());
    // The spare is made by then or not; its sync must not be counted.
    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for id in 0..10 {
            let wal = Arc::clone(&wal);
            tasks.spawn(async move { wal.append(vec![id]).await.unwrap().unwrap().sequence });
        }
        tokio::task::yield_now().await;
        open_gate.send(()).unwrap();
        let sequences: HashSet<u64> = tasks.join_all().await.into_iter().collect();
        assert!(sequences.is_subset(&HashSet::from([1, 2])), "{sequences:?}");
        wal.close().await.unwrap();
    });
    // Segment 1 and its header, the spare, one or two groups, the last seal.
    assert!(disk.count(Operation::Sync) <= 6, "{}", disk.count(Operation::Sync));
    assert_eq!(ids(&seen.lock().unwrap().committed), Vec::from_iter(0..10));
}

#[test]
fn a_repeated_request_is_answered_without_a_sync() {
    let disk = SimDisk::new(1);
    let (wal, seen) = start(&disk, SMALL);
    run(async {
        wal.append(vec![1, 2, 2]).await.unwrap();
        wal.rotate().await.unwrap();
        wal.append(vec![3]).await.unwrap();
        let written = disk.files()[&dir().join("00000000000000000002.wal")].clone();
        assert_eq!(wal.append(vec![1, 3]).await.unwrap(), None);
        assert_eq!(written, disk.files()[&dir().join("00000000000000000002.wal")]);
    });
    let seen = seen.lock().unwrap();
    assert_eq!((ids(&seen.committed), seen.published), (vec![1, 2, 3], 3));
}

#[test]
fn a_full_segment_is_ended_and_the_next_one_begun() {
    let disk = SimDisk::new(1);
    let (wal, seen) = start(&disk, SMALL);
    run(async {
        for id in 0..200 {
            wal.append(vec![id]).await.unwrap();
        }
    });
    let seen = seen.lock().unwrap();
    let last = seen.committed.last().unwrap().0;
    assert!(2 < last);
    assert_eq!(seen.ended, Vec::from_iter(1..last));
    for number in 1..last {
        let expected: Vec<_> = seen.committed.iter().filter(|(segment, _)| *segment == number).copied().collect();
        assert_eq!(read_segment(&wal, number).unwrap(), ids(&expected));
    }
    assert!(matches!(wal.read_segment(last), Err(WalError::NotComplete { segment }) if segment == last));
}

#[test]
fn rotate_ends_a_segment_that_has_something_in_it() {
    let disk = SimDisk::new(1);
    let (wal, seen) = start(&disk, SMALL);
    run(async {
        assert_eq!(wal.rotate().await.unwrap(), None);
        wal.append(vec![1]).await.unwrap();
        assert_eq!(wal.rotate().await.unwrap(), Some(1));
        assert_eq!(wal.rotate().await.unwrap(), None);
        assert_eq!(wal.append(vec![2]).await.unwrap(), Some(Position { segment: 2, sequence: 2 }));
        assert_eq!(wal.rotate().await.unwrap(), Some(2));
    });
    assert_eq!(seen.lock().unwrap().ended, [1, 2]);
}

#[test]
fn complete_segments_are_removed_oldest_first_and_announced_again_after_a_start() {
    let disk = SimDisk::new(1);
    let (wal, _) = start(&disk, SMALL);
    run(async {
        for id in 1..=4 {
            wal.append(vec![id]).await.unwrap();
            wal.rotate().await.unwrap();
        }
        wal.remove_through(2).unwrap();
        wal.remove_through(2).unwrap();
        assert!(matches!(wal.remove_through(5), Err(WalError::NotComplete { segment: 5 })));
        wal.close().await.unwrap();
    });
    let disk = disk.power_cut(&mut rand::rng());
    let mut recovery = open(&disk, SMALL, Some(3)).unwrap();
    assert_eq!(read(&mut recovery).unwrap(), [(3, 3), (4, 4)]);
    let seen = Arc::default();
    let wal = recovery.start(Ids::new(&seen)).unwrap();
    assert_eq!(seen.lock().unwrap().ended, [3, 4]);
    assert_eq!(run(wal.append(vec![5])).unwrap(), Some(Position { segment: 5, sequence: 5 }));
}

#[test]
fn what_the_caller_has_elsewhere_is_not_read_and_is_removed() {
    let disk = SimDisk::new(1);
    let (wal, _) = start(&disk, SMALL);
    run(async {
        for id in 1..=3 {
            wal.append(vec![id]).await.unwrap();
            wal.rotate().await.unwrap();
        }
        wal.close().await.unwrap();
    });
    let mut recovery = open(&disk, SMALL, Some(3)).unwrap();
    assert_eq!(read(&mut recovery).unwrap(), [(3, 3)]);
    let wal = recovery.start(Ids::default()).unwrap();
    run(wal.close()).unwrap();
    let numbers: Vec<u64> = segment::list_segments(&disk, &dir()).unwrap();
    assert_eq!(numbers, [3, 4, 5], "the third, the current, the spare");
}

#[test]
fn an_append_that_no_segment_could_hold_is_refused_and_the_largest_fits() {
    let options = Options { segment_bytes: 8 << 10, queue_bytes_max: 1 << 20 };
    let (wal, _) = start(&SimDisk::new(1), options);
    let largest = 4096 - 2 * 24;
    let too_large = Vec::from_iter((1..).take(300));
    assert!(
        matches!(run(wal.append(too_large)), Err(WalError::AppendTooLarge { bytes_max, .. }) if bytes_max == largest)
    );
    // 97 and 194 have 1512 bytes each with prefix, 1 to 7 fill up.
    assert!(run(wal.append(vec![97, 194, 1, 2, 3])).is_ok());
    assert!(run(wal.append(vec![291, 388, 4, 5, 6])).is_ok(), "in the next segment");
}

#[test]
fn sizes_that_make_no_segment_are_refused() {
    for segment_bytes in [0, 4096, 10_000, 2 << 30] {
        let opened = open(&SimDisk::new(1), Options { segment_bytes, ..SMALL }, None);
        assert!(matches!(opened, Err(WalError::SegmentSize { bytes }) if bytes == segment_bytes));
    }
}

#[test]
fn a_machine_that_dies_answers_nobody_and_fails_the_log() {
    let seen = seen_of(Vec::new());
    let wal = open(&SimDisk::new(1), SMALL, None).unwrap().start(Ids::new(&seen)).unwrap();
    let poisoned = Arc::clone(&seen);
    drop(
        std::thread::spawn(move || {
            let _guard = poisoned.lock().unwrap();
            panic!("as a bug would");
        })
        .join(),
    );
    run(async {
        assert!(matches!(wal.append(vec![1]).await, Err(WalError::Closed)));
        assert!(matches!(wal.failed().await, WalError::Closed));
    });
}
