use domain::dimension::labels_key_of;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Canonical JSON of no labels.
const NONE_KEY: &str = "{}";

/// Labels in byte order of their keys, each key once, and their canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    pairs: Vec<Label<'a>>,
    key: Cow<'a, str>,
}

/// Key and value of a label.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

impl Default for Labels<'_> {
    fn default() -> Self {
        Self { pairs: Vec::new(), key: Cow::Borrowed(NONE_KEY) }
    }
}

impl<'a> Labels<'a> {
    /// Returns the labels, given in any order; of two with one key the later one counts.
    #[must_use]
    pub fn new(mut pairs: Vec<Label<'a>>) -> Self {
        if pairs.is_empty() {
            return Self::default();
        }
        if !pairs.is_sorted_by(|(left, _), (right, _)| left < right) {
            pairs.reverse();
            pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
            pairs.dedup_by(|(later, _), (kept, _)| later == kept);
        }
        let key = labels_key_of(pairs.iter().map(|(key, value)| (&**key, &**value)));
        Self { pairs, key: Cow::Owned(key) }
    }

    /// Returns the labels that have this canonical JSON.
    ///
    /// # Errors
    /// If it is no object of texts.
    pub fn of_key(key: &'a str) -> Result<Self, serde_json::Error> {
        // Most events have none, and need not be parsed for it.
        if key == NONE_KEY {
            return Ok(Self::default());
        }
        let labels: BTreeMap<String, String> = serde_json::from_str(key)?;
        let pairs = labels.into_iter().map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))).collect();
        Ok(Self { pairs, key: Cow::Borrowed(key) })
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns their canonical JSON.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns keys and values in byte order of the keys.
    #[must_use]
    pub fn pairs(&self) -> &[Label<'a>] {
        &self.pairs
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == key).map(|(_, value)| &**value)
    }

    /// Sets the value of a key.
    pub fn set(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.push((key, value));
        *self = Self::new(pairs);
    }

    /// Returns the same labels, borrowing nothing.
    #[must_use]
    pub fn to_static(&self) -> Labels<'static> {
        let owned = |text: &Cow<'a, str>| Cow::<'static, str>::Owned(text.to_string());
        let pairs = self.pairs.iter().map(|(key, value)| (owned(key), owned(value))).collect();
        Labels { pairs, key: owned(&self.key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&'static str, &'static str)]) -> Labels<'static> {
        Labels::new(pairs.iter().map(|(key, value)| (Cow::Borrowed(*key), Cow::Borrowed(*value))).collect())
    }

    #[test]
    fn whatever_their_order_labels_have_one_key_and_the_later_one_wins() {
        let found = labels(&[("b", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("a", "5")]);
        assert_eq!(found.key(), r#"{"a":"5","b":"3","c":"4"}"#);
        assert_eq!(found, labels(&[("a", "5"), ("b", "3"), ("c", "4")]));
        assert_eq!((found.get("b"), found.get("d")), (Some("3"), None));
        assert_eq!(found.to_static(), found);
        assert_eq!(Labels::of_key(found.key()).expect("a key"), found);
    }

    #[test]
    fn no_labels_have_a_key_too() {
        assert_eq!(labels(&[]), Labels::default());
        assert_eq!(Labels::default().key(), "{}");
    }

    #[test]
    fn a_label_that_is_set_changes_the_key() {
        let mut found = Labels::default();
        for (key, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
            found.set(Cow::Borrowed(key), Cow::Borrowed(value));
        }
        assert_eq!(found.key(), r#"{"a":"2","b":"3"}"#);
    }
}
