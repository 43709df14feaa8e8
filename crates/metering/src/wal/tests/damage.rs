use super::*;
use crate::wal::disk::Disk;
use crate::wal::segment::{list_segments, segment_path};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A cleanly closed log of three segments and a blank one, and what it holds.
fn closed_log() -> (SimDisk, Vec<(u64, u64)>) {
    let disk = SimDisk::new(1);
    let (wal, seen) = start(&disk, Options { segment_bytes: 8 << 10, ..SMALL });
    run(async {
        for id in 1..50 {
            wal.append(vec![id, 1_000 + id]).await.unwrap();
        }
        wal.close().await.unwrap();
    });
    let committed = std::mem::take(&mut seen.lock().unwrap().committed);
    assert!(3 <= committed.last().unwrap().0);
    (disk, committed)
}

/// Reads a copy of the log; `None` if it is found damaged, which must leave it as it was.
fn reopen(disk: &SimDisk, first_expected: Option<u64>) -> Option<Vec<(u64, u64)>> {
    let (disk, before) = (disk.copy(), disk.files());
    let opened = open(&disk, SMALL, first_expected).and_then(|mut recovery| {
        let found = read(&mut recovery)?;
        let wal = recovery.start(Ids::new(&seen_of(found.clone())))?;
        run(wal.append(vec![5_555]))?;
        run(wal.close())?;
        Ok(found)
    });
    match opened {
        Ok(found) => {
            // What was harmless must stay so.
            let mut expected = ids(&found);
            expected.push(5_555);
            assert_eq!(ids(&read(&mut open(&disk, SMALL, first_expected).unwrap()).unwrap()), expected);
            Some(found)
        }
        Err(WalError::Damaged { .. }) => {
            assert!(before == disk.files(), "a damaged log was changed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Flips one bit; returns whether that was found. If not, nothing may be missing.
fn is_found(disk: &SimDisk, committed: &[(u64, u64)], path: &Path, bit: usize) -> bool {
    let damaged = disk.copy();
    damaged.flip_bit(path, bit);
    let found = reopen(&damaged, Some(1));
    assert!(
        found.as_ref().is_none_or(|found| found == committed),
        "bit {bit} of {} changed the answer",
        path.display()
    );
    found.is_none()
}

#[test]
fn d9_a_flipped_bit_in_a_closed_log_is_found_or_harmless() {
    let (wanted, seed) = (cases(200).min(10_000), seed());
    let (disk, committed) = closed_log();
    let mut random = StdRng::seed_from_u64(seed);
    let files = Vec::from_iter(disk.files());
    let mut found = 0;
    for _ in 0..wanted {
        let (path, content) = &files[random.random_range(0..files.len())];
        found += u64::from(is_found(&disk, &committed, path, random.random_range(0..8 * content.len())));
    }
    println!("seed {seed}: {wanted} flipped bits, {found} found, {} harmless", wanted - found);
    assert!(0 < found && found < wanted);
}

#[test]
fn d9_every_byte_that_holds_something_is_guarded() {
    let (disk, committed) = closed_log();
    let (mut flips, mut found) = (0, 0);
    for (path, content) in disk.files() {
        for (byte, _) in content.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            flips += 1;
            found += u64::from(is_found(&disk, &committed, &path, 8 * byte + flips as usize % 8));
        }
    }
    println!("{flips} bytes in use, one bit of each flipped: {found} found, {} harmless", flips - found);
    // Harmless are the seals only: 24 bytes of each frame of about 700.
    assert!(flips * 9 / 10 < found);
}

#[test]
fn d9_a_closed_log_keeps_its_last_seal_when_power_fails() {
    let (disk, committed) = closed_log();
    let path = segment_path(&dir(), committed.last().unwrap().0);
    let end = disk.files()[&path].iter().rposition(|byte| *byte != 0).unwrap();
    for seed in 0..20 {
        let disk = disk.copy().power_cut(&mut StdRng::seed_from_u64(seed));
        assert!(is_found(&disk, &committed, &path, 8 * (end - 100)), "the last frame passed for a torn write");
    }
}

#[test]
fn a_log_without_one_of_its_segments_is_damaged() {
    let (disk, committed) = closed_log();
    let last = committed.last().unwrap().0;
    for number in 1..=last {
        let cut = disk.copy();
        cut.remove(&segment_path(&dir(), number)).unwrap();
        assert_eq!(reopen(&cut, Some(1)), None, "segment {number}");
    }
    // The blank one behind the last holds nothing.
    let cut = disk.copy();
    cut.remove(&segment_path(&dir(), last + 1)).unwrap();
    assert_eq!(reopen(&cut, Some(1)), Some(committed));
}

#[test]
fn a_log_that_is_gone_altogether_is_missed_by_who_expects_it() {
    assert_eq!(reopen(&SimDisk::new(1), Some(7)), None);
    assert_eq!(reopen(&SimDisk::new(1), Some(1)), Some(Vec::new()));
    assert_eq!(reopen(&SimDisk::new(1), None), Some(Vec::new()));
}

#[test]
fn zeroes_over_any_acknowledged_frame_are_found() {
    let (disk, committed) = closed_log();
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..100 {
        let damaged = disk.copy();
        let segment = random.random_range(1..=committed.last().unwrap().0);
        let path = segment_path(&dir(), segment);
        // The first frame of each segment is longer than 400 bytes.
        let offset = 4096 + random.random_range(0..100);
        damaged.open(&path).unwrap().write_at(&vec![0; random.random_range(1..300)], offset).unwrap();
        let found = reopen(&damaged, Some(1));
        assert!(found.is_none_or(|found| found == committed));
    }
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on() {
    let (disk, committed) = closed_log();
    let path = segment_path(&dir(), committed.last().unwrap().0);
    let content = &disk.files()[&path];
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 8;
    let mark = content[4096..4104].to_vec();
    let mut random = StdRng::seed_from_u64(seed());
    for begins_with_the_mark in [true, false] {
        let torn = disk.copy();
        let mut tail: Vec<u8> = (0..600).map(|_| random.random()).collect();
        if begins_with_the_mark {
            tail[..8].copy_from_slice(&mark);
        }
        torn.open(&path).unwrap().write_at(&tail, end).unwrap();
        assert_eq!(reopen(&torn, Some(1)).as_ref(), Some(&committed));
        run(start(&torn, SMALL).0.close()).unwrap();
        assert!(torn.files()[&path] == *content, "something of the tail was left");
    }
    // A second frame behind the torn one shows that the first was acknowledged.
    let damaged = disk.copy();
    damaged.open(&path).unwrap().write_at(&[&[1; 64], &*mark].concat(), end).unwrap();
    assert_eq!(reopen(&damaged, Some(1)), None);
}

#[test]
fn a_segment_that_was_never_begun_is_made_again() {
    for content in [vec![0; 16 << 10], vec![0; 100], Vec::new(), [vec![7; 512], vec![0; 15_872]].concat()] {
        let (disk, committed) = closed_log();
        let last = *list_segments(&disk, &dir()).unwrap().last().unwrap();
        disk.remove(&segment_path(&dir(), last)).unwrap();
        disk.create(&segment_path(&dir(), last), 0).unwrap().write_at(&content, 0).unwrap();
        assert_eq!(reopen(&disk, Some(1)), Some(committed));
    }
}

#[test]
fn a_file_cut_short_is_damaged() {
    let (disk, committed) = closed_log();
    for number in 1..=committed.last().unwrap().0 {
        let cut = disk.copy();
        let path = segment_path(&dir(), number);
        let content = cut.files()[&path][..6_000].to_vec();
        cut.remove(&path).unwrap();
        cut.create(&path, 0).unwrap().write_at(&content, 0).unwrap();
        assert_eq!(reopen(&cut, Some(1)), None);
    }
}
