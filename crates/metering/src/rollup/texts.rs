//! Texts and labels that rows have in common, so that rows hold numbers.

use crate::labels::{LabelList, Labels};
use crate::wire::{Malformed, RawText};
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::sync::Arc;

/// Where a text or a set of labels stands.
pub(super) type Place = u32;

/// Texts that rows have in common, each once. The first place is that of no text.
#[derive(Debug)]
pub(super) struct Texts {
    list: Vec<Arc<str>>,
    places: HashTable<(u64, Place)>,
}

pub(super) const NO_TEXT: Place = 0;

impl Default for Texts {
    fn default() -> Self {
        Self { list: vec!["".into()], places: HashTable::new() }
    }
}

impl Texts {
    /// Returns where the text stands, or says that the bytes are none.
    pub fn place(&mut self, text: &[u8], hashing: &RandomState) -> Result<Place, Malformed> {
        let Self { list, places } = self;
        let hash = hashing.hash_one(text);
        let is_same = |(other, at): &(u64, Place)| *other == hash && *list[*at as usize].as_bytes() == *text;
        Ok(match places.entry(hash, is_same, |(hash, _)| *hash) {
            Entry::Occupied(place) => place.get().1,
            Entry::Vacant(vacant) => {
                let text = RawText::new(text).text()?;
                let place = place_of(list.len());
                vacant.insert((hash, place));
                list.push(text.into());
                place
            }
        })
    }

    pub fn shared(&self, place: Place) -> Arc<str> {
        Arc::clone(&self.list[place as usize])
    }

    pub fn optional(&self, place: Place) -> Option<Arc<str>> {
        (place != NO_TEXT).then(|| self.shared(place))
    }

    /// Returns of each place how many texts come before its text in byte order; no text comes before all.
    pub fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<usize> = (1..self.list.len()).collect();
        order.sort_unstable_by(|left, right| self.list[*left].cmp(&self.list[*right]));
        let mut ranks = vec![0; self.list.len()];
        for (rank, at) in (1..).zip(order) {
            ranks[at] = rank;
        }
        ranks
    }
}

/// Labels that rows have in common, each set once.
#[derive(Debug, Default)]
pub(super) struct LabelSets {
    pub sets: Vec<LabelSet>,
    places: HashTable<(u64, Place)>,
    /// The one that was asked for last: neighbours often have the same.
    last: Place,
}

#[derive(Debug)]
pub(super) struct LabelSet {
    list: Box<[u8]>,
    /// Where the canonical JSON stands among the texts.
    pub key: Place,
    pub labels: Arc<Labels<'static>>,
}

impl LabelSets {
    pub fn place(&mut self, list: LabelList<'_>, texts: &mut Texts, hashing: &RandomState) -> Result<Place, Malformed> {
        let Self { sets, places, last } = self;
        if sets.get(*last as usize).is_some_and(|set| *set.list == *list.bytes()) {
            return Ok(*last);
        }
        let hash = hashing.hash_one(list.bytes());
        let is_same = |(other, at): &(u64, Place)| *other == hash && *sets[*at as usize].list == *list.bytes();
        *last = match places.entry(hash, is_same, |(hash, _)| *hash) {
            Entry::Occupied(place) => place.get().1,
            Entry::Vacant(vacant) => {
                let labels = list.labels()?.to_static();
                let key = texts.place(labels.key().as_bytes(), hashing)?;
                let place = place_of(sets.len());
                vacant.insert((hash, place));
                sets.push(LabelSet { list: list.bytes().into(), key, labels: Arc::new(labels) });
                place
            }
        };
        Ok(*last)
    }
}

fn place_of(position: usize) -> Place {
    Place::try_from(position).expect("a roll-up has far fewer than 4 billion texts")
}
