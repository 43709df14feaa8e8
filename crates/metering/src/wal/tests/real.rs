use super::*;

#[test]
fn a_log_on_real_files_goes_on_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data").join("wal");
    for round in 0..3_u64 {
        let disk = Arc::new(RealDisk::default());
        let mut recovery = Recovery::open(disk, &dir, SMALL, None).unwrap();
        let seen = seen_of(read(&mut recovery).unwrap());
        assert_eq!(ids(&seen.lock().unwrap().committed), Vec::from_iter(0..50 * round));
        let wal = recovery.start(Ids::new(&seen)).unwrap();
        run(async {
            for id in 0..50 {
                wal.append(vec![50 * round + id]).await.unwrap();
            }
            assert!(wal.rotate().await.unwrap().is_some());
            wal.close().await.unwrap();
        });
    }
}

#[test]
fn a_segment_that_would_use_up_the_reserve_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk { reserve_bytes: u64::MAX / 2 });
    let recovery = Recovery::open(disk, folder.path(), SMALL, None).unwrap();
    assert!(matches!(recovery.start(Ids::default()), Err(WalError::DiskFull { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
