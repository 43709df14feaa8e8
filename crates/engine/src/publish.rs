//! Publishing policies and rate cards.

use crate::books::{Version, corrupt};
use crate::due::ranges_of;
use crate::query::columns::rows;
use crate::query::select::{self, all_of, charged_in};
use crate::{Engine, EngineError};
use datafusion::prelude::ident;
use domain::policy::{Policy, Pool};
use domain::rates::RateCard;
use domain::{Day, DayRange};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::{CatalogError, Publication, Published, RuleKind, RuleVersionRow};
use storage::lake::Table;

/// A version that was published, or found to be there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedVersion {
    /// Its name.
    pub version: String,
    /// What publishing did.
    pub outcome: Published,
    /// First day that it may move.
    pub affected_from: Day,
    /// Whether days that lie before today are moved.
    pub into_the_past: bool,
    /// What of the past it moves; nothing unless `into_the_past`.
    pub moved: Moved,
}

/// Days that were attributed already and to which another version applies now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The days, as ranges without gaps.
    pub days: Vec<DayRange>,
    /// Tenants that have entries on them, in byte order, at most [`TENANTS_LISTED_MAX`].
    pub tenants: Vec<String>,
    /// How many tenants have.
    pub tenants_total: usize,
}

/// Most tenants that are listed as moved by a publication into the past.
pub const TENANTS_LISTED_MAX: usize = 1000;

/// What is known about a version without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionSummary {
    /// Its name.
    pub version: String,
    /// First day on which it may apply.
    pub valid_from: Day,
    /// When it was published, in microseconds since 1970; none for the built-in version.
    pub published_at: Option<i64>,
    /// Whether a posting rests on it.
    pub used: bool,
    /// Hash of its content; empty for the built-in version.
    pub sha256: String,
}

impl VersionSummary {
    /// Returns what is known about a version that nobody published: a built-in one, or the environment's.
    #[must_use]
    pub fn unpublished(version: &str, valid_from: Day) -> Self {
        Self { version: version.to_owned(), valid_from, published_at: None, used: false, sha256: String::new() }
    }
}

/// A version in the list of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// What is known about it.
    pub summary: VersionSummary,
    /// Whether it is in force today: one of the list is.
    pub in_force: bool,
}

/// A pool as the policy of a day describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSummary {
    /// The pool, `for_each` expanded.
    pub pool: Pool,
    /// The policy's version.
    pub policy_version: String,
}

impl Engine {
    /// Publishes a policy given as TOML.
    ///
    /// # Errors
    /// [`EngineError::Policy`] when it contradicts itself, [`EngineError::VersionInUse`] when a posting rests on
    /// other content of that version.
    pub async fn publish_policy(&self, text: &str, file: &str) -> Result<PublishedVersion, EngineError> {
        let policy = Policy::read(file, text)?;
        self.publish(RuleKind::Policy, "policy", &policy.version, policy.valid_from, text).await
    }

    /// Publishes a rate card given as TOML; a price 100 times away from the card before needs `confirmed`.
    ///
    /// # Errors
    /// [`EngineError::Rates`], [`EngineError::SuspiciousPrice`] or [`EngineError::VersionInUse`].
    pub async fn publish_rate_card(
        &self,
        text: &str,
        file: &str,
        confirmed: bool,
    ) -> Result<PublishedVersion, EngineError> {
        let card = self.validate_rate_card(text, file).await?;
        let known = self.catalog.rule(RuleKind::RateCard, &card.version).await?;
        let is_new = known.is_none_or(|row| content_sha256(&row.body) != content_sha256(text));
        if is_new && !confirmed {
            self.refuse_suspicious_prices(&self.books_now().await?, &card)?;
        }
        self.publish(RuleKind::RateCard, "rate card", &card.version, card.valid_from, text).await
    }

    /// Returns the policy that the TOML text describes, if it can be used.
    ///
    /// # Errors
    /// [`EngineError::Policy`].
    pub fn validate_policy(&self, text: &str, file: &str) -> Result<Policy, EngineError> {
        Ok(Policy::read(file, text)?)
    }

    /// Returns the rate card that the TOML text describes, if it can be used with the meters there are.
    ///
    /// # Errors
    /// [`EngineError::Rates`], also for a price that does not fit its meter.
    pub async fn validate_rate_card(&self, text: &str, file: &str) -> Result<RateCard, EngineError> {
        let card = RateCard::read(file, text)?;
        let books = self.books_now().await?;
        card.check_meters(|meter| books.meters.get(meter))?;
        Ok(card)
    }

    /// Returns why publishing the policy would be refused now; none when it would not.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn refusal_of_policy(&self, text: &str, policy: &Policy) -> Result<Option<EngineError>, EngineError> {
        let known = self.catalog.rule(RuleKind::Policy, &policy.version).await?;
        Ok(known
            .filter(|row| is_fixed(row, text))
            .map(|row| EngineError::VersionInUse { kind: "policy", version: row.version }))
    }

    /// Returns why publishing the rate card without a confirmation would be refused now; none when it would not.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn refusal_of_rate_card(&self, text: &str, card: &RateCard) -> Result<Option<EngineError>, EngineError> {
        match self.catalog.rule(RuleKind::RateCard, &card.version).await? {
            Some(row) if content_sha256(&row.body) == content_sha256(text) => Ok(None),
            Some(row) if is_fixed(&row, text) => {
                Ok(Some(EngineError::VersionInUse { kind: "rate card", version: row.version }))
            }
            _ => Ok(self.refuse_suspicious_prices(&self.books_now().await?, card).err()),
        }
    }

    async fn publish(
        &self,
        kind: RuleKind,
        word: &'static str,
        version: &str,
        valid_from: Day,
        text: &str,
    ) -> Result<PublishedVersion, EngineError> {
        let known = self.catalog.rule(kind, version).await?;
        let sha256 = content_sha256(text);
        // A version published when the text was hashed keeps its hash: what postings rest on is known by it.
        let same = known.filter(|row| content_sha256(&row.body) == sha256);
        let publication = Publication {
            version: version.to_owned(),
            valid_from: valid_from.to_string(),
            body: text.to_owned(),
            format: "toml".to_owned(),
            sha256: same.map_or(sha256, |row| row.sha256),
        };
        let outcome = self.catalog.publish_rule(kind, &publication, self.clock.now().micros()).await.map_err(
            |error| match error {
                CatalogError::VersionInUse { version, .. } => EngineError::VersionInUse { kind: word, version },
                other => other.into(),
            },
        )?;
        let into_the_past = outcome != Published::Unchanged && valid_from < self.today();
        let moved = if into_the_past { self.moved_by(kind, version, valid_from).await? } else { Moved::default() };
        Ok(PublishedVersion { version: version.to_owned(), outcome, affected_from: valid_from, into_the_past, moved })
    }

    /// The attributed days from `valid_from` up to the day before the next version applies, and who has entries there.
    async fn moved_by(&self, kind: RuleKind, version: &str, valid_from: Day) -> Result<Moved, EngineError> {
        let mut until = None;
        for row in self.catalog.list_rules(kind, i64::MAX).await?.iter().filter(|row| row.version != version) {
            let from = summary(row)?.valid_from;
            until = [until, Some(from)].into_iter().flatten().filter(|from| valid_from < *from).min();
        }
        let attributed = self.seen_inputs(None).await?.into_keys();
        let days: Vec<Day> =
            attributed.filter(|day| valid_from <= *day && until.is_none_or(|until| *day < until)).collect();
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(Moved::default()) };
        let range = DayRange::new(*first, *last).expect("days ascend");
        let on_days = ident("charge_date").in_list(days.iter().copied().map(select::day).collect(), false);
        let batches = self
            .session_now()
            .await?
            .table(Table::Ledger.name())
            .await?
            .filter(all_of([charged_in(range), on_days, ident("tenant").is_not_null()]))?
            .aggregate(vec![ident("tenant")], vec![])?
            .collect()
            .await?;
        let tenants: BTreeSet<&str> = rows(&batches).filter_map(|row| row.text(0)).collect();
        Ok(Moved {
            days: ranges_of(days, i32::MAX),
            tenants: tenants.iter().take(TENANTS_LISTED_MAX).map(|tenant| (*tenant).to_owned()).collect(),
            tenants_total: tenants.len(),
        })
    }

    /// Returns the published policies in the order of publication, the built-in one first.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn policies(&self) -> Result<Vec<ListedVersion>, EngineError> {
        let books = self.books_now().await?;
        self.listed(RuleKind::Policy, &books.policies()[0], books.policy_on(self.today())).await
    }

    /// Returns the rate cards: the built-in one, the published ones in their order, at last that of the environment. If
    /// there is one, it is in force; rated pools keep to the published ones.
    ///
    /// # Errors
    /// [`EngineError::Rates`] when the environment's card cannot be read, or when the catalog fails.
    pub async fn rate_cards(&self) -> Result<Vec<ListedVersion>, EngineError> {
        let books = self.books_now().await?;
        let mut listed = self.listed(RuleKind::RateCard, &books.cards()[0], books.card_on(self.today())).await?;
        let current = self.current_card(&books)?;
        if current.is_given {
            listed.iter_mut().for_each(|version| version.in_force = false);
            let summary = VersionSummary::unpublished(&current.version, current.card.valid_from);
            listed.push(ListedVersion { summary, in_force: true });
        }
        Ok(listed)
    }

    async fn listed<T>(
        &self,
        kind: RuleKind,
        builtin: &Version<T>,
        in_force: &Version<T>,
    ) -> Result<Vec<ListedVersion>, EngineError> {
        let mut summaries = vec![VersionSummary::unpublished(&builtin.name, builtin.valid_from)];
        for row in self.catalog.list_rules(kind, i64::MAX).await? {
            summaries.push(summary(&row)?);
        }
        let listed = |summary: VersionSummary| {
            let in_force = *summary.version == *in_force.name && *summary.sha256 == *in_force.sha256;
            ListedVersion { summary, in_force }
        };
        Ok(summaries.into_iter().map(listed).collect())
    }

    /// Returns a published policy with its text.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn policy(&self, version: &str) -> Result<(VersionSummary, String), EngineError> {
        self.rule(RuleKind::Policy, "policy", version).await
    }

    /// Returns a published rate card with its text.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub async fn rate_card(&self, version: &str) -> Result<(VersionSummary, String), EngineError> {
        self.rule(RuleKind::RateCard, "rate card", version).await
    }

    async fn rule(
        &self,
        kind: RuleKind,
        word: &'static str,
        version: &str,
    ) -> Result<(VersionSummary, String), EngineError> {
        let row = self.catalog.rule(kind, version).await?;
        let row = row.ok_or_else(|| EngineError::NotFound { kind: word, name: version.to_owned() })?;
        Ok((summary(&row)?, row.body))
    }

    /// Returns the policy of the day with `for_each` pools expanded.
    ///
    /// # Errors
    /// When catalog or lake fail.
    pub async fn policy_for(&self, day: Day) -> Result<(String, Policy), EngineError> {
        let books = self.books_now().await?;
        let version = books.policy_on(day);
        let pinned = self.lake.pin().await?;
        let session = self.session(&pinned)?;
        let values = crate::inputs::repeated::first_days(&session, &[&version.content], day).await?;
        let values = values.up_to(day, &books.tenants);
        Ok((version.name.to_string(), attribution::expand::expand(&version.content, &values)))
    }

    /// Returns the pools of the day's policy, `for_each` expanded.
    ///
    /// # Errors
    /// When catalog or lake fail.
    pub async fn pools(&self, day: Day) -> Result<Vec<PoolSummary>, EngineError> {
        let (policy_version, policy) = self.policy_for(day).await?;
        Ok(policy.pools.into_iter().map(|pool| PoolSummary { pool, policy_version: policy_version.clone() }).collect())
    }
}

fn summary(row: &RuleVersionRow) -> Result<VersionSummary, EngineError> {
    Ok(VersionSummary {
        version: row.version.clone(),
        valid_from: row.valid_from.parse().map_err(|error| corrupt("a version", &error))?,
        published_at: Some(row.published_at),
        used: row.first_used_at.is_some(),
        sha256: row.sha256.clone(),
    })
}

/// Whether a posting rests on the version and the text says something else.
fn is_fixed(row: &RuleVersionRow, text: &str) -> bool {
    row.first_used_at.is_some() && content_sha256(&row.body) != content_sha256(text)
}

/// Returns the hash of what a document says: comments, layout, the order of keys, and whether it came as TOML or as
/// JSON do not matter.
pub(crate) fn content_sha256(text: &str) -> String {
    // A text that cannot be read is never published; of a damaged store, the text itself is compared.
    let content = domain::toml_text::parse_toml::<Value>("", text)
        .map_or_else(|_| text.to_owned(), |value| sorted(value).to_string());
    hex::encode(Sha256::digest(content.as_bytes()))
}

/// As what the TOML parser hands a date to other formats.
const TOML_DATE: &str = "$__toml_private_datetime";

/// The same with sorted keys. Numbers and dates are texts, as which they may be given too.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => match object.get(TOML_DATE) {
            Some(date) => date.clone(),
            None => {
                let by_key: BTreeMap<String, Value> =
                    object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
                Value::Object(by_key.into_iter().collect())
            }
        },
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Number(number) => Value::String(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, is_same: bool) {
        assert_eq!(content_sha256(one) == content_sha256(other), is_same, "{one} and {other}");
    }

    #[test]
    fn only_what_a_document_says_is_hashed() {
        let text = "version = \"v\"\nvalid_from = 2026-11-01\n[[pool]]\nname = \"a\"\ncapacity = { m = 64 }\n";
        check(text, "# a comment\nvalid_from = 2026-11-01\n\nversion='v'\n[[pool]]\ncapacity.m=64\nname='a'", true);
        // As a JSON document becomes TOML: dates and numbers are texts.
        check(text, "version='v'\nvalid_from='2026-11-01'\n[[pool]]\nname='a'\n[pool.capacity]\nm='64'\n", true);
        check(text, &text.replace("64", "65"), false);
        check(text, &format!("{text}[[pool]]\nname = \"b\""), false);
        check("a = [1, 2]", "a = [2, 1]", false);
    }
}
