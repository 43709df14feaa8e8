//! One 4,096-byte page of a run: up to 127 entries in order of their keys, and a trailer.
//!
//! | bytes | content |
//! |---|---|
//! | 0..4064 | entries: key, content; unused space is zero |
//! | 4064..4072 | number of the run, little-endian like all below |
//! | 4072..4080 | number of the page in its run |
//! | 4080..4082 | how many entries |
//! | 4082..4092 | zero |
//! | 4092..4096 | CRC-32C of all before |
//!
//! The two numbers are there because a good page in the wrong place would pass a checksum.

use super::IdContent;

/// Size of a page, that of the operating system's.
pub const PAGE_BYTES: usize = 4096;
/// Entries of a full page.
pub const ENTRIES_PER_PAGE: usize = 127;
const ENTRY_BYTES: usize = 32;
const KEY_BYTES: usize = 16;
const TRAILER: usize = ENTRIES_PER_PAGE * ENTRY_BYTES;
const CHECKSUM: usize = PAGE_BYTES - 4;

/// A page as stored.
pub type Page = [u8; PAGE_BYTES];

/// An id in memory. The key is a number so that its order is that of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: u128,
    pub content: IdContent,
}

/// Writes the entry at this position.
pub fn put_entry(page: &mut Page, position: usize, entry: Entry) {
    let slot = &mut page[position * ENTRY_BYTES..][..ENTRY_BYTES];
    slot[..KEY_BYTES].copy_from_slice(&entry.key.to_be_bytes());
    slot[KEY_BYTES..].copy_from_slice(&entry.content);
}

/// Returns the entry at this position.
pub fn entry_at(page: &Page, position: usize) -> Entry {
    let content = array_at(page, position * ENTRY_BYTES + KEY_BYTES);
    Entry { key: key_at(page, position), content }
}

/// Returns the content of the key, if it is among the first `entries` of the page.
pub fn find(page: &Page, entries: usize, key: u128) -> Option<IdContent> {
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = usize::midpoint(low, high);
        if key_at(page, middle) < key { low = middle + 1 } else { high = middle }
    }
    (low < entries).then(|| entry_at(page, low)).filter(|entry| entry.key == key).map(|entry| entry.content)
}

/// Completes the page by its trailer.
pub fn close_page(page: &mut Page, run: u64, number: u64, entries: usize) {
    let entries = u16::try_from(entries).expect("a page has at most 127 entries");
    page[TRAILER..TRAILER + 8].copy_from_slice(&run.to_le_bytes());
    page[TRAILER + 8..TRAILER + 16].copy_from_slice(&number.to_le_bytes());
    page[TRAILER + 16..TRAILER + 18].copy_from_slice(&entries.to_le_bytes());
    let checksum = crc32c::crc32c(&page[..CHECKSUM]);
    page[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
}

/// Returns how many entries the page has, or what is wrong with it.
pub fn check_page(page: &Page, run: u64, number: u64) -> Result<usize, &'static str> {
    if crc32c::crc32c(&page[..CHECKSUM]) != u32::from_le_bytes(array_at(page, CHECKSUM)) {
        return Err("its checksum does not match");
    }
    if u64::from_le_bytes(array_at(page, TRAILER)) != run {
        return Err("it belongs to another run");
    }
    if u64::from_le_bytes(array_at(page, TRAILER + 8)) != number {
        return Err("it belongs elsewhere in the file");
    }
    let entries = usize::from(u16::from_le_bytes(array_at(page, TRAILER + 16)));
    if entries <= ENTRIES_PER_PAGE { Ok(entries) } else { Err("it has more entries than fit") }
}

/// Returns the bytes from this offset on.
///
/// # Panics
/// When they reach past the end: every caller's offset is a constant of a format or checked before.
pub fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("the slice has N bytes")
}

fn key_at(page: &Page, position: usize) -> u128 {
    u128::from_be_bytes(array_at(page, position * ENTRY_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut page = [0; PAGE_BYTES];
        put_entry(&mut page, 0, Entry { key: 0x0102 << 112, content: [0xaa; 16] });
        put_entry(&mut page, 1, Entry { key: u128::MAX - 1, content: [0xbb; 16] });
        close_page(&mut page, 7, 3, 2);
        page
    }

    /// Format 1. A change here needs a new magic in the footer and code that reads both.
    #[test]
    fn a_page_has_the_golden_bytes_of_format_1() {
        let page = page();
        assert_eq!(page[..16], [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(page[16..32], [0xaa; 16]);
        assert_eq!(page[32..48], [255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 254]);
        assert_eq!(page[48..64], [0xbb; 16]);
        assert!(page[64..4064].iter().all(|byte| *byte == 0));
        assert_eq!(page[4064..4082], [7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(page[4082..4092], [0; 10]);
        assert_eq!(page[4092..], [122, 10, 60, 90]);
    }

    #[test]
    fn every_flipped_bit_of_a_page_is_found() {
        let good = page();
        assert_eq!(check_page(&good, 7, 3), Ok(2));
        for bit in 0..PAGE_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check_page(&bad, 7, 3), Err("its checksum does not match"), "bit {bit}");
        }
    }

    #[test]
    fn a_good_page_in_the_wrong_place_is_found() {
        assert_eq!(check_page(&page(), 8, 3), Err("it belongs to another run"));
        assert_eq!(check_page(&page(), 7, 4), Err("it belongs elsewhere in the file"));
    }

    #[test]
    fn only_stored_keys_are_found() {
        let page = page();
        assert_eq!(find(&page, 2, 0x0102 << 112), Some([0xaa; 16]));
        assert_eq!(find(&page, 2, u128::MAX - 1), Some([0xbb; 16]));
        for key in [0, (0x0102 << 112) - 1, (0x0102 << 112) + 1, u128::MAX] {
            assert_eq!(find(&page, 2, key), None, "{key}");
        }
    }
}
