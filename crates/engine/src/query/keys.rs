//! What rows can be grouped and filtered by.

use crate::EngineError;
use domain::dimension::Dimension;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most keys that one question may group by.
pub const GROUP_KEYS_MAX: usize = 4;

/// One key of `group_by` and `filter`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// A dimension that entries carry.
    Dimension(Dimension),
    /// The tenant's plan on the day of each entry.
    Plan,
    /// The tenant's parent on the day of each entry.
    Parent,
    /// Any other column.
    Column(Column),
}

/// A column that is neither a dimension nor looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Name of the pool.
    Pool,
    /// direct, amortized or overhead.
    Tier,
    /// pending or final.
    Status,
    /// billed, event, rated or adjustment.
    Basis,
    /// Whether the entry is an estimate beside the money.
    Memo,
    /// Where usage came from. Entries do not carry it: empty in the posted view.
    Origin,
    /// FOCUS ChargeCategory.
    ChargeCategory,
    /// Category of the meter or service.
    Category,
    /// The meter.
    Meter,
}

const WORDS: [(&str, GroupKey); 17] = [
    ("tenant", GroupKey::Dimension(Dimension::Tenant)),
    ("user", GroupKey::Dimension(Dimension::User)),
    ("workflow", GroupKey::Dimension(Dimension::Workflow)),
    ("repo", GroupKey::Dimension(Dimension::Repo)),
    ("task_class", GroupKey::Dimension(Dimension::TaskClass)),
    ("cluster", GroupKey::Dimension(Dimension::Cluster)),
    ("plan", GroupKey::Plan),
    ("parent", GroupKey::Parent),
    ("pool", GroupKey::Column(Column::Pool)),
    ("tier", GroupKey::Column(Column::Tier)),
    ("status", GroupKey::Column(Column::Status)),
    ("basis", GroupKey::Column(Column::Basis)),
    ("memo", GroupKey::Column(Column::Memo)),
    ("origin", GroupKey::Column(Column::Origin)),
    ("charge_category", GroupKey::Column(Column::ChargeCategory)),
    ("category", GroupKey::Column(Column::Category)),
    ("meter", GroupKey::Column(Column::Meter)),
];

impl GroupKey {
    /// Grouping by tenant, the default.
    pub const TENANT: Self = Self::Dimension(Dimension::Tenant);
    /// The memo column.
    pub const MEMO: Self = Self::Column(Column::Memo);

    /// Returns whether the key says something about the consumer, so that a reserved consumer shows its word here.
    #[must_use]
    pub fn is_of_consumer(&self) -> bool {
        !matches!(self, Self::Column(_))
    }

    /// Returns the keys of a `group_by` text.
    ///
    /// # Errors
    /// For an unknown key, one given twice, or more than [`GROUP_KEYS_MAX`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EngineError> {
        let mut keys: Vec<Self> = Vec::new();
        for word in text.split(',') {
            let key: Self = word.trim().parse().map_err(|error: KeyError| error.of("group_by"))?;
            if keys.contains(&key) {
                return Err(EngineError::parameter("group_by", format!("`{key}` is given twice")));
            }
            keys.push(key);
        }
        if GROUP_KEYS_MAX < keys.len() {
            return Err(EngineError::parameter("group_by", format!("group by at most {GROUP_KEYS_MAX} keys")));
        }
        Ok(keys)
    }
}

/// The text names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown key `{key}`{hint}")]
pub struct KeyError {
    key: String,
    hint: String,
}

impl KeyError {
    /// Returns the error of a request's parameter.
    #[must_use]
    pub fn of(&self, parameter: &str) -> EngineError {
        EngineError::parameter(parameter, self.to_string())
    }
}

impl FromStr for GroupKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if let Some(label) = text.strip_prefix("label:").filter(|label| !label.is_empty()) {
            return Ok(Self::Dimension(Dimension::Label(Arc::from(label))));
        }
        if let Some((_, key)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(key.clone());
        }
        let words = || WORDS.iter().map(|(word, _)| *word).chain(["label:<key>"]);
        let hint = match domain::toml_text::nearest(text, words()) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!("; known are {}", words().collect::<Vec<_>>().join(", ")),
        };
        Err(KeyError { key: super::params::shorten(text), hint })
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Dimension(dimension) = self {
            return dimension.fmt(out);
        }
        let word = WORDS.iter().find(|(_, key)| key == self).map(|(word, _)| *word);
        out.write_str(word.expect("every key but labels has its word"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let printed = GroupKey::parse_list(text).map_or_else(
            |error| error.to_string(),
            |keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        );
        assert_eq!(printed, expected, "{text}");
    }

    #[test]
    fn keys_print_as_they_are_written() {
        for (word, key) in &WORDS {
            assert_eq!(key.to_string(), *word);
        }
        check("tenant,pool", "tenant pool");
        check("label:team:x, task_class", "label:team:x task_class");
    }

    #[test]
    fn unknown_doubled_and_too_many_keys_are_refused() {
        check("tennant", "unknown key `tennant`; did you mean `tenant`?");
        check(
            "tenant,",
            "unknown key ``; known are tenant, user, workflow, repo, task_class, cluster, plan, parent, pool, tier, status, basis, memo, origin, charge_category, category, meter, label:<key>",
        );
        check("pool,pool", "`pool` is given twice");
        check("tenant,user,pool,tier,meter", "group by at most 4 keys");
    }
}
