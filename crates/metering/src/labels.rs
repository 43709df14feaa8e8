use crate::wire::{Malformed, Reader, put_number, put_text};
use domain::dimension::labels_key_of;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Canonical JSON of no labels.
const NONE_KEY: &str = "{}";

/// Labels in byte order of their keys, each key once, and their canonical JSON.
#[derive(Clone, Debug, Default)]
pub struct Labels<'a> {
    pairs: Vec<Label<'a>>,
    /// Their canonical JSON, if that is what they were read from.
    read: Option<&'a str>,
    /// The same made of the pairs, once somebody asks: few do.
    made: OnceLock<Box<str>>,
}

/// Key and value of a label.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

impl PartialEq for Labels<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs
    }
}

impl Eq for Labels<'_> {}

impl<'a> Labels<'a> {
    /// Returns the labels, given in any order; of two with one key the later one counts.
    #[must_use]
    pub fn new(mut pairs: Vec<Label<'a>>) -> Self {
        if !pairs.is_sorted_by(|(left, _), (right, _)| left < right) {
            pairs.reverse();
            pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
            pairs.dedup_by(|(later, _), (kept, _)| later == kept);
        }
        Self { pairs, ..Self::default() }
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
        Ok(Self { pairs, read: Some(key), ..Self::default() })
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns their canonical JSON.
    #[must_use]
    pub fn key(&self) -> &str {
        if self.pairs.is_empty() {
            return NONE_KEY;
        }
        let make = || labels_key_of(self.pairs.iter().map(|(key, value)| (&**key, &**value))).into();
        match self.read {
            Some(key) => key,
            None => self.made.get_or_init(make),
        }
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
        let made = if self.is_empty() { OnceLock::new() } else { OnceLock::from(Box::from(self.key())) };
        Labels { pairs, read: None, made }
    }
}

/// Labels as records of the log hold them: their number, then keys and values, in byte order of the keys. Equal lists have
/// equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LabelList<'a>(&'a [u8]);

impl<'a> LabelList<'a> {
    /// No labels.
    pub const NONE: Self = Self(&[0]);

    /// Reads a list; its texts are checked when somebody wants them.
    pub fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let bytes = from.rest();
        for _ in 0..from.number()? {
            from.raw_text()?;
            from.raw_text()?;
        }
        Ok(Self(&bytes[..bytes.len() - from.rest().len()]))
    }

    /// Returns the list of these labels, written into the buffer.
    pub fn write(pairs: &[Label<'_>], buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self::append(pairs, buffer);
        Self(buffer)
    }

    /// Writes the list behind other bytes.
    pub fn append(pairs: &[Label<'_>], out: &mut Vec<u8>) {
        put_number(pairs.len() as u64, out);
        for (key, value) in pairs {
            put_text(key, out);
            put_text(value, out);
        }
    }

    /// Returns its bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the labels.
    ///
    /// # Errors
    /// If one of the texts is none.
    pub fn labels(self) -> Result<Labels<'a>, Malformed> {
        let mut reader = Reader::new(self.0);
        let len = reader.number()?;
        let mut text = || reader.text().map(Cow::Borrowed);
        let pairs = (0..len).map(|_| Ok((text()?, text()?)));
        Ok(Labels::new(pairs.collect::<Result<_, Malformed>>()?))
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

    #[test]
    fn a_list_of_labels_gives_them_back() {
        for pairs in [&[][..], &[("a", "1")], &[("a", "\u{e9}"), ("b", ""), ("c", "x\"y")]] {
            let (expected, mut buffer) = (labels(pairs), vec![7; 3]);
            let list = LabelList::write(expected.pairs(), &mut buffer);
            let found = list.labels().expect("labels");
            assert_eq!((&found, found.key()), (&expected, expected.key()));
            let followed = [list.bytes(), &[9]].concat();
            let mut reader = Reader::new(&followed);
            assert_eq!(LabelList::read(&mut reader), Ok(list));
            assert_eq!(reader.rest(), [9], "what follows is not part of it");
            assert!(list.bytes().len() < 2 || LabelList::read(&mut Reader::new(&followed[..2])).is_err(), "cut off");
        }
    }
}
