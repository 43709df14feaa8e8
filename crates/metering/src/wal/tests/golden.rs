use super::*;
use crate::wal::disk::Disk;
use crate::wal::format::Header;
use crate::wal::log::Log;
use crate::wal::segment::{Segment, make_blank, segment_path};
use crate::wal::segment_reader::SegmentReader;

/// Format 1: a segment of 8192 bytes with two frames. Never edit; a new format gets a file of its own.
const GOLDEN: &[(usize, &str)] = &[
    (0, "89 41 50 50 4f 57 41 4c  07 00 00 00 00 00 00 00  29 00 00 00 00 00 00 00"),
    (24, "00 20 00 00 00 00 00 00  a9 a7 a6 a5 a4 a3 a2 a1  01 00 00 00 62 38 e2 a9"),
    (4096, "a9 a7 a6 a5 a4 a3 a2 a1  29 00 00 00 00 00 00 00  0d 00 00 00 0c 55 91 11"),
    (4120, "05 00 00 00 66 69 72 73  74 00 00 00 00"),
    (4136, "56 58 59 5a 5b 5c 5d 5e  29 00 00 00 00 00 00 00  0c 55 91 11 a2 d7 95 80"),
    (4160, "a9 a7 a6 a5 a4 a3 a2 a1  2a 00 00 00 00 00 00 00  0a 00 00 00 eb 39 01 39"),
    (4184, "06 00 00 00 73 65 63 6f  6e 64"),
    (4200, "56 58 59 5a 5b 5c 5d 5e  2a 00 00 00 00 00 00 00  eb 39 01 39 77 6c 9a b9"),
];

fn bytes_of(golden: &[(usize, &str)]) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    for (offset, hex) in golden {
        let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        for (at, digits) in hex.chunks(2).enumerate() {
            bytes[offset + at] = u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        }
    }
    bytes
}

#[test]
fn format_1_is_written_byte_for_byte() {
    let disk = Arc::new(SimDisk::new(1));
    let header = Header { number: 7, first_sequence: 41, bytes: 8192, mark: 0xA1A2_A3A4_A5A6_A7A9 };
    let file = make_blank(&*disk, &dir(), 7, 8192).unwrap();
    Segment::begin(&dir(), file, header).unwrap();
    let reader = SegmentReader::open(&*disk, &dir(), 7, None).unwrap();
    let mut log = Log::resume(disk.clone(), dir(), 8192, reader);
    for records in [vec!["first", ""], vec!["second"]] {
        let mut group = log.begin_group();
        records.iter().for_each(|record| group.push(record.as_bytes()));
        log.write_group().unwrap();
    }
    log.join_spare();
    let written = &disk.files()[&segment_path(&dir(), 7)];
    let expected = bytes_of(GOLDEN);
    if *written != expected {
        for (at, line) in written.chunks(8).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0)) {
            println!("{:5} {line:02x?}", 8 * at);
        }
        panic!("the format changed");
    }
}

#[test]
fn format_1_is_read() {
    let disk = SimDisk::new(1);
    let file = disk.create(&segment_path(&dir(), 7), 8192).unwrap();
    file.write_at(&bytes_of(GOLDEN), 0).unwrap();
    let mut recovery = open(&disk, SMALL, Some(7)).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = recovery.next_frame().unwrap() {
        let records: Vec<String> = frame.records().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect();
        found.push((frame.position.segment, frame.position.sequence, records.join("|")));
    }
    assert_eq!(found, [(7, 41, "first|".to_owned()), (7, 42, "second".to_owned())]);
}
