//! Publishing policies and rate cards.

use crate::books::{Version, corrupt};
use crate::{Engine, EngineError};
use domain::meter::MeterKind;
use domain::policy::{Policy, Pool};
use domain::rates::{RateCard, RateError, canonical};
use domain::{Day, Price};
use sha2::{Digest, Sha256};
use storage::catalog::{CatalogError, Publication, Published, RuleKind, RuleVersionRow};

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
}

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
    /// Hash of its text.
    pub sha256: String,
}

/// A pool as the policy of a day describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSummary {
    /// The pool, `for_each` expanded.
    pub pool: Pool,
    /// The policy's version.
    pub policy_version: String,
}

/// From this factor on, a changed price is probably a mistake of unit.
const SUSPICIOUS_FACTOR: i128 = 100;

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
        let is_new = known.is_none_or(|row| row.sha256 != sha256(text));
        if is_new && !confirmed {
            self.refuse_suspicious_prices(&card).await?;
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
    /// [`EngineError::Rates`]; a gauge's price must say what it is per.
    pub async fn validate_rate_card(&self, text: &str, file: &str) -> Result<RateCard, EngineError> {
        let card = RateCard::read(file, text)?;
        let books = self.books_now().await?;
        for row in &card.prices {
            let kind = books.meters.get(canonical(&row.meter).0).map(|meter| meter.kind);
            if kind == Some(MeterKind::Gauge) && row.per.is_none() {
                let problem = format!("{} is a gauge: say `per = \"unit\"`, \"hour\", \"day\" or \"month\"", row.meter);
                return Err(RateError::Invalid { version: card.version.clone(), problem }.into());
            }
        }
        Ok(card)
    }

    async fn publish(
        &self,
        kind: RuleKind,
        word: &'static str,
        version: &str,
        valid_from: Day,
        text: &str,
    ) -> Result<PublishedVersion, EngineError> {
        let publication = Publication {
            version: version.to_owned(),
            valid_from: valid_from.to_string(),
            body: text.to_owned(),
            format: "toml".to_owned(),
            sha256: sha256(text),
        };
        let outcome = self.catalog.publish_rule(kind, &publication, self.clock.now().micros()).await.map_err(
            |error| match error {
                CatalogError::VersionInUse { version, .. } => EngineError::VersionInUse { kind: word, version },
                other => other.into(),
            },
        )?;
        let into_the_past = outcome != Published::Unchanged && valid_from < self.today();
        Ok(PublishedVersion { version: version.to_owned(), outcome, affected_from: valid_from, into_the_past })
    }

    async fn refuse_suspicious_prices(&self, card: &RateCard) -> Result<(), EngineError> {
        let books = self.books_now().await?;
        let Some(previous) = books.cards().last().filter(|previous| *previous.name != *card.version) else {
            return Ok(());
        };
        for row in &card.prices {
            let before =
                previous.content.prices.iter().find(|before| before.meter == row.meter && before.labels == row.labels);
            let Some(before) = before.filter(|before| before.price.atoms() != 0 && row.price.atoms() != 0) else {
                continue;
            };
            if is_suspicious(before.price, row.price) {
                let (meter, old, new) = (&row.meter, before.price, row.price);
                return Err(EngineError::SuspiciousPrice(format!(
                    "{meter} goes from {old} to {new}, 100 times or more: did you enter a per-thousand price? Publish with --yes (confirm=true) if it is meant"
                )));
            }
        }
        Ok(())
    }

    /// Returns the published policies in the order of publication, the built-in one first.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn policies(&self) -> Result<Vec<VersionSummary>, EngineError> {
        let books = self.books_now().await?;
        self.summaries(RuleKind::Policy, &books.policies()[0]).await
    }

    /// Returns the published rate cards in the order of publication, the built-in one first.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn rate_cards(&self) -> Result<Vec<VersionSummary>, EngineError> {
        let books = self.books_now().await?;
        self.summaries(RuleKind::RateCard, &books.cards()[0]).await
    }

    async fn summaries<T>(&self, kind: RuleKind, builtin: &Version<T>) -> Result<Vec<VersionSummary>, EngineError> {
        let mut summaries = vec![VersionSummary {
            version: builtin.name.to_string(),
            valid_from: builtin.valid_from,
            published_at: None,
            used: false,
            sha256: String::new(),
        }];
        for row in self.catalog.list_rules(kind, i64::MAX).await? {
            summaries.push(summary(&row)?);
        }
        Ok(summaries)
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
        Ok((version.name.to_string(), attribution::expand::expand(&version.content, &values.up_to(day))))
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

fn is_suspicious(before: Price, after: Price) -> bool {
    let (before, after) = (before.atoms().abs(), after.atoms().abs());
    let (small, large) = (before.min(after), before.max(after));
    large / SUSPICIOUS_FACTOR >= small
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
