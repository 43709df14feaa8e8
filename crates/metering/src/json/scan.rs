/// Returns how many bytes stand for themselves within a JSON string before the first that does not; `None` if all do.
pub(super) fn plain_bytes(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    // Eight at a time, because there is no more frequent question.
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let special = below(word, 0x20) | below(word ^ repeated(b'"'), 1) | below(word ^ repeated(b'\\'), 1);
        if special != 0 {
            return Some(at + special.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
    rest.map(|found| at + found)
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Sets the highest bit of the first byte of the word that is below the limit, which is 128 at most; bytes behind it may
/// be wrong.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(repeated(limit)) & !word & repeated(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_needs_an_escape_is_found_wherever_it_stands() {
        for length in 0..30 {
            let plain = vec![b'a'; length];
            assert_eq!(plain_bytes(&plain), None);
            for (at, special) in (0..length).flat_map(|at| [b'"', b'\\', 0, 0x1f, b'\n'].map(|special| (at, special))) {
                for filler in [b' ', b'!', b'[', 0x7f, 0x80, 0xff] {
                    let mut bytes = vec![filler; length];
                    bytes[at] = special;
                    bytes[length - 1] = if at == length - 1 { special } else { b'"' };
                    assert_eq!(plain_bytes(&bytes), Some(at), "{bytes:?}");
                }
            }
        }
    }
}
