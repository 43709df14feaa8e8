use super::delta::Reading;
use std::collections::HashMap;

/// A hash of a stream's tenant and source.
pub(super) type StreamKey = [u8; 32];

/// What is known of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What was counted last.
    pub reading: Reading,
    /// When the catalog was told that the stream was seen, in microseconds.
    pub noted_at: i64,
}

/// What was counted last, of the streams seen lately. What is forgotten is read from the catalog again.
///
/// Two generations: when the young one is half of what may be held it becomes the old one, and the old one goes.
#[derive(Debug)]
pub(super) struct Memory {
    held_max: usize,
    young: HashMap<StreamKey, Held>,
    old: HashMap<StreamKey, Held>,
}

impl Memory {
    pub fn new(held_max: usize) -> Self {
        Self { held_max, young: HashMap::new(), old: HashMap::new() }
    }

    /// Returns the reading and forgets it: only what was stored comes back.
    pub fn take(&mut self, key: &StreamKey) -> Option<Held> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub fn put(&mut self, key: StreamKey, held: Held) {
        if self.held_max / 2 <= self.young.len() {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_allowed_and_the_oldest_goes_first() {
        let mut memory = Memory::new(10);
        let key = |number: u8| [number; 32];
        for number in 0..100 {
            let reading = Reading { start_nanos: None, at_nanos: i64::from(number), value: "1".parse().unwrap() };
            memory.put(key(number), Held { reading, noted_at: 0 });
            assert!(memory.young.len() + memory.old.len() <= 10);
        }
        assert_eq!(memory.take(&key(99)).map(|held| held.reading.at_nanos), Some(99));
        assert_eq!(memory.take(&key(99)), None);
        assert!(memory.take(&key(95)).is_some() && memory.take(&key(80)).is_none());
    }
}
