//! A blocked Bloom filter: says "surely not here" for nearly every new id with one memory access.
//!
//! A key belongs to one 64-byte block, the size of a cache line, and sets one bit in each of its
//! eight words. The block follows from the key's upper half in such a way that sorted keys fill the
//! blocks from first to last: a filter is written while its run is, and never held in memory twice.

use super::page::array_at;

/// Size of a block, that of a cache line.
pub const BLOCK_BYTES: usize = 64;
/// Words of a block.
pub const WORDS: usize = BLOCK_BYTES / 8;
/// Bits that choose one of a word's 64.
const CHOICE_BITS: usize = 6;

/// Sized and aligned to a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct Block([u64; WORDS]);

/// A key as filters see it: made once, asked of every filter.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    upper_half: u64,
    bits: Block,
}

impl Probe {
    /// Returns the probe of a key: its upper half chooses the block, its lower half the bits.
    pub fn new(key: u128) -> Self {
        let bits = std::array::from_fn(|word| 1 << ((key as u64 >> (word * CHOICE_BITS)) & 63));
        Self { upper_half: (key >> 64) as u64, bits: Block(bits) }
    }

    /// Returns which of so many blocks the key belongs to; never decreasing with the key.
    pub fn block_of(&self, blocks: usize) -> usize {
        ((u128::from(self.upper_half) * blocks as u128) >> 64) as usize
    }

    /// Returns the bit of each word.
    pub fn bits(&self) -> [u64; WORDS] {
        self.bits.0
    }

    /// Returns `false` only if the key was never added to these blocks; without any, nothing is ruled out.
    ///
    /// The words are compared without branches between them, which would be mispredicted, so that the
    /// processor goes on to the next filter while it waits for the memory of this one.
    pub fn may_be_in(&self, blocks: &[Block]) -> bool {
        let Some(block) = blocks.get(self.block_of(blocks.len())) else { return true };
        let missing = block.0.iter().zip(self.bits.0).fold(0, |missing, (word, bit)| missing | (!word & bit));
        missing == 0
    }
}

impl Block {
    /// Adds a key of this block.
    pub fn add(&mut self, probe: &Probe) {
        for (word, bit) in self.0.iter_mut().zip(probe.bits.0) {
            *word |= bit;
        }
    }

    /// Returns the block as stored.
    pub fn to_bytes(self) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Returns the block of these stored bytes.
    pub fn from_bytes(bytes: &[u8; BLOCK_BYTES]) -> Self {
        Self(std::array::from_fn(|word| u64::from_le_bytes(array_at(bytes, word * 8))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::tests::Random;

    /// Format 1 of guides. If these change, stored filters deny ids that they have.
    #[test]
    fn a_key_has_the_golden_block_and_bits_of_format_1() {
        let probe = Probe::new(0xc000_0000_0000_0000_ffff_fedc_ba98_7654);
        assert_eq!([1, 2, 3, 100, 1 << 31].map(|blocks| probe.block_of(blocks)), [0, 1, 2, 75, 3 << 29]);
        assert_eq!(probe.bits.0.map(u64::trailing_zeros), [20, 25, 7, 38, 58, 50, 45, 63]);
        let mut block = Block::default();
        block.add(&probe);
        assert_eq!(block.to_bytes()[..8], [0, 0, 16, 0, 0, 0, 0, 0]);
        assert_eq!(Block::from_bytes(&block.to_bytes()).0, block.0);
    }

    #[test]
    fn a_filter_of_16_bits_per_id_lets_one_new_id_in_five_hundred_pass_at_most() {
        const IDS: usize = 100_000;
        let probes = |seed| {
            let mut random = Random(seed);
            (0..IDS).map(move |_| Probe::new(u128::from(random.next()) << 64 | u128::from(random.next())))
        };
        let mut blocks = vec![Block::default(); IDS * 16 / 512];
        for probe in probes(0) {
            let block = probe.block_of(blocks.len());
            blocks[block].add(&probe);
        }
        assert!(probes(0).all(|probe| probe.may_be_in(&blocks)), "what was added is found");
        let passed = probes(1).filter(|probe| probe.may_be_in(&blocks)).count();
        println!("{passed} of {IDS} new ids passed");
        assert!(passed < 200, "{passed} of {IDS}");
        assert!(Probe::new(1).may_be_in(&[]), "without blocks nothing is ruled out");
    }
}
