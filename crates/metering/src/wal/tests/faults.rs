use super::*;
use crate::wal::sim::{Failure, Operation};

/// Appends one number after the other, a rotation now and then, until something fails.
async fn append_until_it_fails(wal: &Wal<Ids>, from: u64) -> (Vec<u64>, Option<WalError>) {
    let mut answered = Vec::new();
    for id in from..from + 120 {
        match wal.append(vec![id]).await {
            Ok(_) => answered.push(id),
            Err(error) => return (answered, Some(error)),
        }
    }
    (answered, None)
}

/// Starts a log, lets the n-th operation fail and checks what came of it; returns whether it failed the log.
fn one_failure(operation: Operation, nth: u64, failure: Failure) -> bool {
    let disk = SimDisk::new(nth);
    let (wal, seen) = start(&disk, SMALL);
    disk.fail(operation, nth, failure);
    let (answered, error) = run(append_until_it_fails(&wal, 0));
    let mut failed_for_good = matches!(error, Some(WalError::SyncFailed { .. }));
    run(async {
        if failed_for_good {
            for id in 1_000..1_003 {
                assert!(matches!(wal.append(vec![id]).await, Err(WalError::SyncFailed { .. })));
            }
            assert!(matches!(wal.rotate().await, Err(WalError::SyncFailed { .. })));
            assert!(matches!(wal.failed().await, WalError::SyncFailed { .. }));
            assert!(matches!(wal.close().await, Err(WalError::SyncFailed { .. })));
        } else {
            assert!(error.is_none(), "{operation:?} {nth} {failure:?}: {error:?}");
            failed_for_good = wal.close().await.is_err();
        }
    });
    let committed = ids(&seen.lock().unwrap().committed);
    assert_eq!(answered, committed);

    // The process is started again and finds in the page cache what may never have reached the disk:
    // it may keep it, but then it must keep it for good.
    let disk = disk.kill();
    let (wal, seen) = start(&disk, SMALL);
    let found = ids(&seen.lock().unwrap().committed);
    assert!(found.starts_with(&committed) && found.len() <= committed.len() + 1);
    run(wal.close()).unwrap();
    let disk = disk.power_cut(&mut rand::rng());
    assert_eq!(ids(&read(&mut open(&disk, SMALL, None).unwrap()).unwrap()), found);
    failed_for_good
}

#[test]
fn d7_nobody_is_answered_after_a_sync_that_failed() {
    let syncs = cases(200);
    for failure in [Failure::Io, Failure::NoSpace] {
        let failed = (1..=syncs).filter(|nth| one_failure(Operation::Sync, *nth, failure)).count();
        println!("{failure:?}: {syncs} failing syncs, {failed} of them of a segment in use");
        assert!(syncs < 20 || 10 < failed);
    }
}

#[test]
fn d8_a_failed_write_to_an_existing_segment_is_a_failed_sync() {
    let writes = cases(200);
    for failure in [Failure::Io, Failure::NoSpace] {
        let failed = (1..=writes).filter(|nth| one_failure(Operation::Write, *nth, failure)).count();
        println!("{failure:?}: {writes} failing writes, {failed} of them to a segment in use");
        assert!(writes < 20 || 10 < failed);
    }
}

#[test]
fn d8_a_full_disk_refuses_appends_until_there_is_room_and_nothing_else() {
    let disk = SimDisk::new(1);
    let (wal, seen) = start(&disk, SMALL);
    // The spare of the first segment may be made or not: half a segment is too little for either.
    disk.set_room(8 << 10);
    run(async {
        let (mut answered, error) = append_until_it_fails(&wal, 0).await;
        assert!(matches!(error, Some(WalError::DiskFull { bytes: 16_384, .. })), "{error:?}");
        assert!(!answered.is_empty());
        for id in (97 * 97..).step_by(97).take(10) {
            assert!(matches!(wal.append(vec![id]).await, Err(WalError::DiskFull { .. })));
        }
        assert!(matches!(wal.rotate().await, Err(WalError::DiskFull { .. })));
        assert_eq!(wal.append(vec![answered[0]]).await.unwrap(), None, "a duplicate needs no room");

        disk.set_room(1 << 20);
        let (more, error) = append_until_it_fails(&wal, 1_000).await;
        assert!(error.is_none(), "{error:?}");
        answered.extend(more);
        assert_eq!(ids(&seen.lock().unwrap().committed), answered);
        wal.close().await.unwrap();
        let disk = disk.power_cut(&mut rand::rng());
        assert_eq!(ids(&read(&mut open(&disk, SMALL, None).unwrap()).unwrap()), answered);
    });
}

#[test]
fn d8_a_segment_that_cannot_be_made_fails_one_append_only() {
    let operations = [Operation::Create, Operation::SyncDir];
    for (operation, failure) in operations.into_iter().flat_map(|one| [(one, Failure::Io), (one, Failure::NoSpace)]) {
        let disk = SimDisk::new(1);
        let (wal, seen) = start(&disk, SMALL);
        // The spare and the second attempt.
        disk.fail(operation, 1, failure);
        disk.fail(operation, 2, failure);
        let (mut answered, error) = run(append_until_it_fails(&wal, 0));
        match (&error, failure) {
            // The spare of the first segment was made before the disk began to fail.
            (None, _) => {}
            (Some(WalError::DiskFull { .. }), Failure::NoSpace) | (Some(WalError::Io { .. }), Failure::Io) => {
                let (more, error) = run(append_until_it_fails(&wal, 1_000));
                assert!(error.is_none(), "{error:?}");
                answered.extend(more);
            }
            other => panic!("{operation:?}: {other:?}"),
        }
        assert_eq!(ids(&seen.lock().unwrap().committed), answered);
        run(wal.close()).unwrap();
        assert_eq!(ids(&read(&mut open(&disk, SMALL, None).unwrap()).unwrap()), answered);
    }
}

#[test]
fn a_full_disk_does_not_keep_a_log_from_starting() {
    let disk = SimDisk::new(1);
    let (wal, _) = start(&disk, SMALL);
    run(async { wal.append(vec![1]).await.and(wal.close().await) }).unwrap();
    let disk = disk.kill();
    disk.set_room(0);
    let (wal, _) = start(&disk, SMALL);
    assert!(run(wal.append(vec![2])).is_ok());
}
