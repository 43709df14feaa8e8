//! Policies, rate cards, tenants, meters and exchange rates as they applied on a day.

use crate::{Engine, EngineError};
use attribution::fx::FxTable;
use attribution::usage::MeterBook;
use domain::meter::{Meter, builtin};
use domain::policy::Policy;
use domain::rates::RateCard;
use domain::tenant::TenantBook;
use domain::{Currency, Day, DayRange};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::catalog::{RuleKind, RuleVersionRow};

/// A version of a policy or rate card, read.
#[derive(Clone, Debug)]
pub struct Version<T> {
    /// Its name.
    pub name: Arc<str>,
    /// First day on which it may apply.
    pub valid_from: Day,
    /// Hash of its content; empty for the built-in one.
    pub sha256: Arc<str>,
    /// What it says.
    pub content: Arc<T>,
}

impl<T> Version<T> {
    /// Returns a version that nobody published.
    pub(crate) fn draft(name: &str, valid_from: Day, content: T) -> Self {
        Self { name: name.into(), valid_from, sha256: "".into(), content: Arc::new(content) }
    }

    /// Returns the name with the hash, which together say which content is meant.
    pub(crate) fn name_and_hash(&self) -> (Arc<str>, Arc<str>) {
        (Arc::clone(&self.name), Arc::clone(&self.sha256))
    }
}

/// All dated rows of the catalog that feed attribution, as recorded up to one moment.
#[derive(Clone, Debug)]
pub struct Books {
    policies: Vec<Version<Policy>>,
    cards: Vec<Version<RateCard>>,
    /// Tenants, facts and aliases.
    pub tenants: TenantBook,
    /// Meters by name.
    pub meters: MeterBook,
    /// Exchange rates.
    pub fx: FxTable,
    /// When the newest exchange rate was recorded.
    pub fx_recorded: i64,
    /// When the newest meter was recorded.
    pub meters_recorded: i64,
}

impl Books {
    /// Returns the policy that applies on the day: the greatest `valid_from` not after it, the last published of
    /// equals. Before the first one the built-in policy applies.
    #[must_use]
    pub fn policy_on(&self, day: Day) -> &Version<Policy> {
        version_on(&self.policies, day)
    }

    /// Returns the rate card that applies on the day, by the same rule.
    #[must_use]
    pub fn card_on(&self, day: Day) -> &Version<RateCard> {
        version_on(&self.cards, day)
    }

    /// Returns the policy of this name, as entries of the day name it.
    #[must_use]
    pub fn policy_named(&self, name: &str, day: Day) -> Option<&Version<Policy>> {
        version_named(&self.policies, name, self.policy_on(day))
    }

    /// Returns the rate card of this name, as entries of the day name it.
    #[must_use]
    pub fn card_named(&self, name: &str, day: Day) -> Option<&Version<RateCard>> {
        version_named(&self.cards, name, self.card_on(day))
    }

    /// Returns the policies that apply on days of the range, each once.
    #[must_use]
    pub fn policies_in(&self, range: DayRange) -> Vec<&Policy> {
        let mut names = BTreeSet::new();
        let versions = range.days().map(|day| self.policy_on(day));
        versions
            .filter(|version| names.insert((&version.name, &version.sha256)))
            .map(|version| &*version.content)
            .collect()
    }

    /// Returns the books in which this policy applies on every day.
    pub(crate) fn with_policy(&self, policy: Version<Policy>) -> Self {
        Self { policies: vec![policy], ..self.clone() }
    }

    /// Returns the books in which this rate card applies on every day.
    pub(crate) fn with_card(&self, card: Version<RateCard>) -> Self {
        Self { cards: vec![card], ..self.clone() }
    }

    /// Returns every policy that can apply, the built-in one first, then in the order of publication.
    #[must_use]
    pub fn policies(&self) -> &[Version<Policy>] {
        &self.policies
    }

    /// Returns every rate card, the built-in one first, then in the order of publication.
    #[must_use]
    pub fn cards(&self) -> &[Version<RateCard>] {
        &self.cards
    }
}

/// The built-in version applies wherever no published one does, also before the date that it shows. Versions are in
/// the order of publication, and of equal dates the last one wins.
fn version_on<T>(versions: &[Version<T>], day: Day) -> &Version<T> {
    let (builtin, published) = versions.split_first().expect("the built-in version stands first");
    published
        .iter()
        .filter(|version| version.valid_from <= day)
        .max_by_key(|version| version.valid_from)
        .unwrap_or(builtin)
}

/// Names are unique among published versions, but one of them may be called as the built-in one is: of the two, the
/// one that applies is meant.
fn version_named<'v, T>(versions: &'v [Version<T>], name: &str, applies: &'v Version<T>) -> Option<&'v Version<T>> {
    std::iter::once(applies).chain(versions.iter().rev()).find(|version| *version.name == *name)
}

impl Engine {
    /// Returns the books as recorded up to the watermark.
    ///
    /// # Errors
    /// When the catalog fails, or holds a text that this version cannot read.
    pub async fn books(&self, recorded_up_to: i64) -> Result<Books, EngineError> {
        let mut policies = vec![builtin_version(Policy::builtin(), |policy| (&policy.version, policy.valid_from))];
        for row in self.catalog.list_rules(RuleKind::Policy, recorded_up_to).await? {
            policies.push(read_version(&row, Policy::read)?);
        }
        let mut cards = vec![builtin_version(RateCard::starter(), |card| (&card.version, card.valid_from))];
        for row in self.catalog.list_rules(RuleKind::RateCard, recorded_up_to).await? {
            cards.push(read_version(&row, RateCard::read)?);
        }
        let (fx, fx_recorded) = self.fx_table(recorded_up_to).await?;
        let (meters, meters_recorded) = self.meter_book(recorded_up_to).await?;
        let tenants = self.catalog.tenant_book_all_tenants(recorded_up_to).await?;
        Ok(Books { policies, cards, tenants, meters, fx, fx_recorded, meters_recorded })
    }

    /// Returns the books as they are now.
    ///
    /// # Errors
    /// As [`Engine::books`].
    pub async fn books_now(&self) -> Result<Books, EngineError> {
        self.books(i64::MAX).await
    }

    async fn fx_table(&self, recorded_up_to: i64) -> Result<(FxTable, i64), EngineError> {
        let mut rows = self.catalog.fx_rates_upto(recorded_up_to).await?;
        rows.sort_by_key(|row| row.recorded_at);
        let mut table = FxTable::default();
        for row in &rows {
            let currency = |code: &str| code.parse::<Currency>().map_err(|error| corrupt("an exchange rate", &error));
            let date: Day = row.day.parse().map_err(|error| corrupt("an exchange rate", &error))?;
            let rate = row.rate.parse().map_err(|error| corrupt("an exchange rate", &error))?;
            table.insert(date, currency(&row.from_currency)?, currency(&row.to_currency)?, rate);
        }
        Ok((table, rows.last().map_or(0, |row| row.recorded_at)))
    }

    async fn meter_book(&self, recorded_up_to: i64) -> Result<(MeterBook, i64), EngineError> {
        let mut rows = self.catalog.meters_upto(recorded_up_to).await?;
        rows.sort_by_key(|row| row.recorded_at);
        let mut meters = builtin();
        for row in &rows {
            let meter: Meter = serde_json::from_str(&row.body).map_err(|error| corrupt("a meter", &error))?;
            meters.push(meter);
        }
        Ok((MeterBook::new(meters), rows.last().map_or(0, |row| row.recorded_at)))
    }
}

fn builtin_version<T>(content: T, name: impl Fn(&T) -> (&String, Day)) -> Version<T> {
    let (version, valid_from) = name(&content);
    let version = version.clone();
    Version::draft(&version, valid_from, content)
}

fn read_version<T, E: std::fmt::Display>(
    row: &RuleVersionRow,
    read: impl Fn(&str, &str) -> Result<T, E>,
) -> Result<Version<T>, EngineError> {
    let content =
        read(&row.version, &row.body).map_err(|error| corrupt(&format!("version `{}`", row.version), &error))?;
    let valid_from = row.valid_from.parse().map_err(|error| corrupt(&format!("version `{}`", row.version), &error))?;
    Ok(Version {
        name: row.version.as_str().into(),
        valid_from,
        sha256: row.sha256.as_str().into(),
        content: Arc::new(content),
    })
}

pub(crate) fn corrupt(what: &str, error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Corrupt { what: what.to_owned(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(published: &[&str], day: &str, expected: &str) {
        let day_of = |text: &str| text.parse::<Day>().expect("a day");
        let version = |name: &str, from: &str| Version {
            name: name.into(),
            valid_from: day_of(from),
            sha256: "".into(),
            content: Arc::new(()),
        };
        let mut versions = vec![version("built-in", "1970-01-01")];
        versions.extend(published.iter().enumerate().map(|(at, from)| version(&at.to_string(), from)));
        assert_eq!(&*version_on(&versions, day_of(day)).name, expected, "{published:?} on {day}");
    }

    #[test]
    fn the_built_in_version_applies_wherever_no_published_one_does() {
        check(&[], "1969-12-31", "built-in");
        check(&[], "0001-01-01", "built-in");
        check(&["2026-01-01"], "2025-12-31", "built-in");
        check(&["1960-01-01"], "1959-12-31", "built-in");
        check(&["1960-01-01"], "1980-01-01", "0");
    }

    #[test]
    fn the_latest_date_applies_and_of_equal_ones_the_last_published() {
        check(&["2026-02-01", "2026-01-01"], "2026-03-01", "0");
        check(&["2026-01-01", "2026-01-01"], "2026-03-01", "1");
        check(&["1970-01-01"], "1970-01-01", "0");
    }
}
