//! What cost can be grouped by.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One thing that usage and entries carry and cost can be grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Who is charged.
    Tenant,
    /// A user of the tenant.
    User,
    /// A workflow of the tenant.
    Workflow,
    /// A repository.
    Repo,
    /// A class of tasks.
    TaskClass,
    /// A shared cluster.
    Cluster,
    /// A label by its key.
    Label(Arc<str>),
}

/// The plain dimensions, in the order in which tables and keys hold them.
pub const PLAIN: [Dimension; 6] = [
    Dimension::Tenant,
    Dimension::User,
    Dimension::Workflow,
    Dimension::Repo,
    Dimension::TaskClass,
    Dimension::Cluster,
];

/// The text names no dimension.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a dimension; known are tenant, user, workflow, repo, task_class, cluster and label:<key>")]
pub struct DimensionError(pub String);

impl FromStr for Dimension {
    type Err = DimensionError;

    fn from_str(text: &str) -> Result<Self, DimensionError> {
        Ok(match text {
            "tenant" => Self::Tenant,
            "user" => Self::User,
            "workflow" => Self::Workflow,
            "repo" => Self::Repo,
            "task_class" => Self::TaskClass,
            "cluster" => Self::Cluster,
            _ => match text.strip_prefix("label:") {
                Some(key) if !key.is_empty() => Self::Label(key.into()),
                _ => return Err(DimensionError(text.chars().take(60).collect())),
            },
        })
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Workflow => "workflow",
            Self::Repo => "repo",
            Self::TaskClass => "task_class",
            Self::Cluster => "cluster",
            Self::Label(key) => return write!(out, "label:{key}"),
        })
    }
}

impl<'de> serde::Deserialize<'de> for Dimension {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Dimension {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where one measured fact belongs: a value, or none, for each dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimensions {
    /// Values of [`PLAIN`], in its order.
    pub plain: [Option<Arc<str>>; 6],
    /// Labels by key, in byte order.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

impl Dimensions {
    /// Returns the value of a dimension.
    #[must_use]
    pub fn get(&self, dimension: &Dimension) -> Option<&Arc<str>> {
        match dimension {
            Dimension::Label(key) => self.labels.get(key),
            plain => self.plain[Self::index(plain)].as_ref(),
        }
    }

    /// Sets the value of a dimension.
    pub fn set(&mut self, dimension: &Dimension, value: Option<Arc<str>>) {
        match (dimension, value) {
            (Dimension::Label(key), Some(value)) => {
                self.labels.insert(Arc::clone(key), value);
            }
            (Dimension::Label(key), None) => {
                self.labels.remove(key);
            }
            (plain, value) => self.plain[Self::index(plain)] = value,
        }
    }

    fn index(plain: &Dimension) -> usize {
        PLAIN.iter().position(|dimension| dimension == plain).expect("labels are handled apart")
    }
}

/// Returns the canonical JSON of labels: one object, keys in byte order, no spaces; `{}` when empty.
///
/// Two maps with permuted keys are not equal to the query engine; their canonical text is.
#[must_use]
pub fn labels_key<K: AsRef<str>, V: AsRef<str>>(labels: &BTreeMap<K, V>) -> String {
    // Keys order as their text does, so they are sorted already.
    debug_assert!(labels.keys().is_sorted_by(|left, right| left.as_ref() < right.as_ref()));
    labels_key_of(labels.iter().map(|(key, value)| (key.as_ref(), value.as_ref())))
}

/// Returns the same of labels that come in byte order of their keys, each key once.
#[must_use]
pub fn labels_key_of<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> String {
    let mut text = String::with_capacity(USUAL_KEY_BYTES);
    text.push('{');
    for (key, value) in labels {
        if 1 < text.len() {
            text.push(',');
        }
        write_text(key, &mut text);
        text.push(':');
        write_text(value, &mut text);
    }
    text.push('}');
    text
}

/// Room for the labels of an event as they usually come.
const USUAL_KEY_BYTES: usize = 64;

/// Writes a JSON string.
fn write_text(text: &str, out: &mut String) {
    if text.bytes().all(|byte| 0x20 <= byte && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("text is always JSON"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_one_canonical_text() {
        let labels = BTreeMap::from([("b", "2\"\n"), ("a", "1"), ("ä", "\u{1}")]);
        assert_eq!(labels_key(&labels), r#"{"a":"1","b":"2\"\n","ä":"\u0001"}"#);
        assert_eq!(labels_key(&labels), serde_json::to_string(&labels).expect("a map of strings is JSON"));
        assert_eq!(labels_key(&BTreeMap::<&str, &str>::new()), "{}");
    }

    #[test]
    fn dimensions_print_as_they_parse() {
        for text in ["tenant", "task_class", "label:namespace"] {
            assert_eq!(text.parse::<Dimension>().map(|dimension| dimension.to_string()), Ok(text.to_owned()));
        }
        assert!("label:".parse::<Dimension>().is_err());
    }
}
