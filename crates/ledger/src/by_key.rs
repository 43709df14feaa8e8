//! Values by entry key, in key order.

use domain::Day;

use crate::key::EntryKey;

/// One value for each of some keys, in key order.
///
/// A sorted list instead of a tree: a day has tens of thousands of keys, they mostly come in order, and what is done with
/// them is done from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByKey<T>(Vec<(EntryKey, T)>);

impl<T> Default for ByKey<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> ByKey<T> {
    /// Returns the values by key; `merge` puts a further value of a key into the one before it.
    #[must_use]
    pub fn merged(mut parts: Vec<(EntryKey, T)>, mut merge: impl FnMut(&EntryKey, &mut T, T)) -> Self {
        parts.sort_by(|(left, _), (right, _)| left.cmp(right));
        parts.dedup_by(|(key, further), (kept, value)| {
            let is_same = key == kept;
            if is_same {
                merge(kept, value, std::mem::take(further));
            }
            is_same
        });
        Self(parts)
    }
}

impl<T> ByKey<T> {
    /// Returns how many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &EntryKey) -> Option<&T> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Returns keys and values in key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&EntryKey, &T)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Keeps the keys for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&EntryKey) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }

    /// Returns the keys of each day, days in order.
    pub fn by_day(self) -> impl Iterator<Item = (Day, Self)> {
        let mut rest = self.0.into_iter().peekable();
        std::iter::from_fn(move || {
            let day = rest.peek()?.0.charge_date;
            let of_day = std::iter::from_fn(|| rest.next_if(|(key, _)| key.charge_date == day));
            Some((day, Self(of_day.collect())))
        })
    }
}

impl<T> IntoIterator for ByKey<T> {
    type Item = (EntryKey, T);
    type IntoIter = std::vec::IntoIter<(EntryKey, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
