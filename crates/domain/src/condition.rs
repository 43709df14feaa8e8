//! Patterns and conditions of policies: strings, lists, globs, placeholders.

use crate::dimension::Dimension;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An attribute of a cost line that conditions test and placeholders name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChargeAttribute {
    /// Our name of the bill's origin.
    Source,
    /// ServiceProviderName, else ProviderName.
    Provider,
    /// ServiceName.
    Service,
    /// ServiceCategory.
    ServiceCategory,
    /// SubAccountId.
    SubAccount,
    /// BillingAccountId.
    BillingAccount,
    /// RegionId.
    Region,
    /// ChargeCategory.
    ChargeCategory,
    /// ChargeClass.
    ChargeClass,
    /// CommitmentDiscountStatus.
    CommitmentStatus,
    /// CommitmentDiscountId.
    CommitmentId,
    /// PricingCategory.
    PricingCategory,
    /// InvoiceId.
    InvoiceId,
    /// ResourceId.
    Resource,
    /// A tag by its key.
    Tag(Arc<str>),
}

/// The attributes without tags, with their words.
pub const PLAIN_ATTRIBUTES: [(&str, ChargeAttribute); 14] = [
    ("source", ChargeAttribute::Source),
    ("provider", ChargeAttribute::Provider),
    ("service", ChargeAttribute::Service),
    ("service_category", ChargeAttribute::ServiceCategory),
    ("sub_account", ChargeAttribute::SubAccount),
    ("billing_account", ChargeAttribute::BillingAccount),
    ("region", ChargeAttribute::Region),
    ("charge_category", ChargeAttribute::ChargeCategory),
    ("charge_class", ChargeAttribute::ChargeClass),
    ("commitment_status", ChargeAttribute::CommitmentStatus),
    ("commitment_id", ChargeAttribute::CommitmentId),
    ("pricing_category", ChargeAttribute::PricingCategory),
    ("invoice_id", ChargeAttribute::InvoiceId),
    ("resource", ChargeAttribute::Resource),
];

/// The text names nothing that can be tested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown condition key `{key}`; {}", .nearest.as_ref().map_or_else(|| format!("known are {}", .known), |near| format!("did you mean `{near}`?")))]
pub struct ConditionKeyError {
    key: String,
    nearest: Option<String>,
    known: String,
}

impl ConditionKeyError {
    fn new(key: &str, known: &[&str]) -> Self {
        let nearest = crate::toml_text::nearest(key, known.iter().copied()).map(str::to_owned);
        Self { key: key.chars().take(60).collect(), nearest, known: known.join(", ") }
    }
}

impl FromStr for ChargeAttribute {
    type Err = ConditionKeyError;

    fn from_str(text: &str) -> Result<Self, ConditionKeyError> {
        if let Some(key) = text.strip_prefix("tags.").filter(|key| !key.is_empty()) {
            return Ok(Self::Tag(key.into()));
        }
        let found = PLAIN_ATTRIBUTES.iter().find(|(word, _)| *word == text);
        found.map(|(_, attribute)| attribute.clone()).ok_or_else(|| {
            let words: Vec<&str> = PLAIN_ATTRIBUTES.iter().map(|(word, _)| *word).chain(["tags.<key>"]).collect();
            ConditionKeyError::new(text, &words)
        })
    }
}

impl fmt::Display for ChargeAttribute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(key) => write!(out, "tags.{key}"),
            plain => {
                let word = PLAIN_ATTRIBUTES.iter().find(|(_, attribute)| attribute == plain).map(|(word, _)| *word);
                out.write_str(word.expect("every plain attribute has its word"))
            }
        }
    }
}

/// An attribute of usage that conditions test and placeholders name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageAttribute {
    /// A dimension or label.
    Dimension(Dimension),
    /// Where the measurement came from: events, metrics_server, collector, snapshot.
    Origin,
}

impl FromStr for UsageAttribute {
    type Err = ConditionKeyError;

    fn from_str(text: &str) -> Result<Self, ConditionKeyError> {
        if text == "origin" {
            return Ok(Self::Origin);
        }
        text.parse().map(Self::Dimension).map_err(|_| {
            ConditionKeyError::new(
                text,
                &["tenant", "user", "workflow", "repo", "task_class", "cluster", "label:<key>", "origin"],
            )
        })
    }
}

impl fmt::Display for UsageAttribute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin => out.write_str("origin"),
            Self::Dimension(dimension) => dimension.fmt(out),
        }
    }
}

/// A string or glob: `*` stands for any text, everything else for itself, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Returns the pattern of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the whole value fits the pattern.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = value.strip_prefix(first) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// Tests that must all hold; each value is a string, a list of alternatives or a glob. `{}` holds always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions<A>(Vec<(A, Vec<Pattern>)>);

impl<A> Default for Conditions<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A> Conditions<A> {
    /// Returns the conditions of these tests.
    #[must_use]
    pub fn new(tests: Vec<(A, Vec<Pattern>)>) -> Self {
        Self(tests)
    }

    /// Returns the tested attributes and their alternatives.
    pub fn tests(&self) -> impl Iterator<Item = &(A, Vec<Pattern>)> {
        self.0.iter()
    }

    /// Returns whether there is nothing to test, so that everything matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether every test holds; an absent value fits no pattern.
    pub fn hold<'v>(&self, value_of: impl Fn(&A) -> Option<&'v str>) -> bool {
        self.0.iter().all(|(attribute, alternatives)| {
            value_of(attribute).is_some_and(|value| alternatives.iter().any(|pattern| pattern.matches(value)))
        })
    }

    /// Returns the conditions with `{each}` in every pattern replaced.
    #[must_use]
    pub fn for_each(&self, value: &str) -> Self
    where
        A: Clone,
    {
        let fill = |pattern: &Pattern| Pattern::new(&pattern.0.replace("{each}", value));
        Self(
            self.0
                .iter()
                .map(|(attribute, patterns)| (attribute.clone(), patterns.iter().map(fill).collect()))
                .collect(),
        )
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawValue {
    One(String),
    Many(Vec<String>),
    Nested(BTreeMap<String, RawLeaf>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawLeaf {
    One(String),
    Many(Vec<String>),
}

impl RawLeaf {
    fn patterns(self) -> Vec<Pattern> {
        match self {
            Self::One(text) => vec![Pattern::new(&text)],
            Self::Many(texts) => texts.iter().map(|text| Pattern::new(text)).collect(),
        }
    }
}

impl<'de, A: FromStr<Err = ConditionKeyError>> Deserialize<'de> for Conditions<A> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: BTreeMap<String, RawValue> = BTreeMap::deserialize(deserializer)?;
        let mut tests = Vec::new();
        for (key, value) in raw {
            let mut push = |key: &str, leaf: RawLeaf| -> Result<(), D::Error> {
                tests.push((key.parse().map_err(serde::de::Error::custom)?, leaf.patterns()));
                Ok(())
            };
            match value {
                RawValue::One(text) => push(&key, RawLeaf::One(text))?,
                RawValue::Many(texts) => push(&key, RawLeaf::Many(texts))?,
                // `tags.Owner = "x"` in TOML is a table `tags` with the key `Owner`.
                RawValue::Nested(leaves) => {
                    for (inner, leaf) in leaves {
                        push(&format!("{key}.{inner}"), leaf)?;
                    }
                }
            }
        }
        Ok(Self(tests))
    }
}

/// Text with placeholders such as `{tags.Owner}` or `team-{sub_account}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Arc<str>,
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Literal(Arc<str>),
    Placeholder(Arc<str>),
}

impl Template {
    /// Returns the template's own text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names between braces.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Placeholder(name) => Some(&**name),
            TemplatePart::Literal(_) => None,
        })
    }

    /// Returns the text with every placeholder filled, or `None` when one of them has no value.
    pub fn fill<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Literal(text) => filled.push_str(text),
                TemplatePart::Placeholder(name) => filled.push_str(value_of(name)?),
            }
        }
        Some(filled)
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))? + open;
            if open > 0 {
                parts.push(TemplatePart::Literal(rest[..open].into()));
            }
            parts.push(TemplatePart::Placeholder(rest[open + 1..close].into()));
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Literal(rest.into()));
        }
        Ok(Self { text: text.into(), parts })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, value: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).matches(value), expected, "{pattern} on {value}");
    }

    #[test]
    fn globs_fit_whole_values_and_are_case_sensitive() {
        check("AWS", "AWS", true);
        check("AWS", "aws", false);
        check("AWS", "AWSX", false);
        check("team-*", "team-a", true);
        check("team-*", "team-", true);
        check("*a*a*", "banana", true);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("*", "", true);
        check("", "", true);
        check("", "x", false);
        check("a[b]?", "a[b]?", true);
    }

    #[test]
    fn an_absent_value_fits_nothing_and_no_tests_hold_always() {
        let any = Conditions::<ChargeAttribute>::default();
        assert!(any.hold(|_| None));
        let star = Conditions::new(vec![(ChargeAttribute::Region, vec![Pattern::new("*")])]);
        assert!(!star.hold(|_| None));
    }

    #[test]
    fn templates_need_every_placeholder() {
        let template: Template = "team-{tags.Owner}".parse().expect("a template");
        assert_eq!(template.fill(|name| (name == "tags.Owner").then_some("x")), Some("team-x".to_owned()));
        assert_eq!(template.fill(|_| None), None);
        assert!("{a".parse::<Template>().is_err());
    }

    #[test]
    fn nested_tables_are_tag_conditions() {
        let parsed: Conditions<ChargeAttribute> =
            toml::from_str("provider = ['AWS', 'GCP']\ntags.Owner = 'team-*'").expect("conditions");
        let value = |attribute: &ChargeAttribute| match attribute {
            ChargeAttribute::Provider => Some("GCP"),
            ChargeAttribute::Tag(_) => Some("team-9"),
            _ => None,
        };
        assert!(parsed.hold(value));
        let error = toml::from_str::<Conditions<ChargeAttribute>>("servic = 'x'").expect_err("an unknown key");
        assert!(error.message().contains("did you mean `service`"), "{error}");
    }
}
