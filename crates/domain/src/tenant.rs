//! Who is charged: ids, reserved consumers, dated facts, scopes.

use crate::{Day, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Paid, unused capacity.
pub const IDLE: &str = "__idle__";
/// No rule or no driver.
pub const UNATTRIBUTED: &str = "__unattributed__";
/// Amortized, nobody read it.
pub const UNCONSUMED: &str = "__unconsumed__";
/// Bill minus rated recovery.
pub const VARIANCE: &str = "__variance__";
/// Portfolio cost, never divided.
pub const OVERHEAD: &str = "__overhead__";
/// Every reserved consumer; always visible, never dropped.
pub const RESERVED: [&str; 5] = [IDLE, UNATTRIBUTED, UNCONSUMED, VARIANCE, OVERHEAD];

/// Longest tenant id.
pub const TENANT_ID_BYTES_MAX: usize = 200;

/// The stable id of who is charged: 1–200 bytes of printable UTF-8, compared byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// The text cannot be a tenant id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tenant id: use 1 to 200 bytes of printable text that does not start with `__`")]
pub struct TenantIdError(pub String);

impl TenantId {
    /// Checks that the text can be a tenant id.
    ///
    /// # Errors
    /// [`TenantIdError`] with the beginning of the text.
    pub fn check(text: &str) -> Result<(), TenantIdError> {
        let is_valid = (1..=TENANT_ID_BYTES_MAX).contains(&text.len())
            && !text.chars().any(char::is_control)
            && !text.starts_with("__");
        if is_valid { Ok(()) } else { Err(TenantIdError(text.chars().take(60).collect())) }
    }

    /// Returns the id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id's shared text.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        Self::check(text).map(|()| Self(text.into()))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// Whose data a caller may read. Every function that reads tenant data takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantScope {
    /// Everybody's.
    All,
    /// That of these tenants only.
    Only(BTreeSet<TenantId>),
}

impl TenantScope {
    /// Returns whether data of this tenant may be read.
    #[must_use]
    pub fn allows(&self, tenant: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(tenants) => tenants.iter().any(|allowed| allowed.as_str() == tenant),
        }
    }
}

/// Something known about a tenant for a stretch of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantFact {
    /// Whom it is about.
    pub tenant: Arc<str>,
    /// First day on which it holds; `None` means always.
    pub valid_from: Option<Day>,
    /// Last day on which it holds; `None` means until further notice.
    pub valid_to: Option<Day>,
    /// When it was recorded; of two facts for a day the later recorded one holds.
    pub recorded_at: Instant,
    /// Whether it was entered by a person rather than made by the system for an unknown id.
    pub entered: bool,
    /// Whether the tenant is active.
    pub active: bool,
    /// Display name.
    pub name: Option<Arc<str>>,
    /// Display slug.
    pub slug: Option<Arc<str>>,
    /// Commercial plan.
    pub plan: Option<Arc<str>>,
    /// Parent tenant.
    pub parent: Option<Arc<str>>,
    /// Into whom the tenant was merged: its days go there.
    pub merged_into: Option<Arc<str>>,
}

impl TenantFact {
    fn holds_on(&self, day: Day) -> bool {
        self.valid_from.is_none_or(|from| from <= day) && self.valid_to.is_none_or(|to| day <= to)
    }
}

/// Maps an incoming value to a tenant for a stretch of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantAlias {
    /// The incoming value.
    pub alias: Arc<str>,
    /// The tenant meant.
    pub tenant: Arc<str>,
    /// First day on which it holds; `None` means always.
    pub valid_from: Option<Day>,
    /// Last day on which it holds.
    pub valid_to: Option<Day>,
    /// When it was recorded.
    pub recorded_at: Instant,
}

/// All facts about all tenants as recorded up to one moment; answers for any day.
#[derive(Clone, Debug, Default)]
pub struct TenantBook {
    facts: BTreeMap<Arc<str>, Vec<TenantFact>>,
    aliases: BTreeMap<Arc<str>, Vec<TenantAlias>>,
    recorded_up_to: Option<Instant>,
}

/// Most merges followed from one id: a longer chain is a loop.
const MERGES_MAX: usize = 32;

impl TenantBook {
    /// Returns the book of these facts and aliases.
    #[must_use]
    pub fn new(facts: Vec<TenantFact>, aliases: Vec<TenantAlias>) -> Self {
        let mut book = Self::default();
        for fact in facts {
            book.recorded_up_to = book.recorded_up_to.max(Some(fact.recorded_at));
            book.facts.entry(Arc::clone(&fact.tenant)).or_default().push(fact);
        }
        for alias in aliases {
            book.recorded_up_to = book.recorded_up_to.max(Some(alias.recorded_at));
            book.aliases.entry(Arc::clone(&alias.alias)).or_default().push(alias);
        }
        for facts in book.facts.values_mut() {
            facts.sort_by_key(|fact| fact.recorded_at);
        }
        for aliases in book.aliases.values_mut() {
            aliases.sort_by_key(|alias| alias.recorded_at);
        }
        book
    }

    /// Returns when the newest fact was recorded.
    #[must_use]
    pub fn recorded_up_to(&self) -> Option<Instant> {
        self.recorded_up_to
    }

    /// Returns the fact about the tenant that holds on the day: the last recorded of those that cover it.
    #[must_use]
    pub fn fact(&self, tenant: &str, day: Day) -> Option<&TenantFact> {
        self.facts.get(tenant)?.iter().rev().find(|fact| fact.holds_on(day))
    }

    /// Returns whether the tenant is known at all.
    #[must_use]
    pub fn knows(&self, tenant: &str) -> bool {
        self.facts.contains_key(tenant)
    }

    /// Returns the tenant that an incoming value means on the day: aliases first, then merges.
    #[must_use]
    pub fn resolve(&self, value: &str, day: Day) -> Arc<str> {
        let alias = self.aliases.get(value).and_then(|aliases| {
            aliases.iter().rev().find(|alias| {
                alias.valid_from.is_none_or(|from| from <= day) && alias.valid_to.is_none_or(|to| day <= to)
            })
        });
        let mut tenant: Arc<str> = alias.map_or_else(|| value.into(), |alias| Arc::clone(&alias.tenant));
        for _ in 0..MERGES_MAX {
            match self.fact(&tenant, day).and_then(|fact| fact.merged_into.clone()) {
                Some(into) if into != tenant => tenant = into,
                _ => break,
            }
        }
        tenant
    }

    /// Returns whether the merges that hold on the day lead from the tenant back to itself.
    #[must_use]
    pub fn merges_in_a_circle(&self, tenant: &str, day: Day) -> bool {
        let next = |from: &str| self.fact(from, day).and_then(|fact| fact.merged_into.clone());
        let mut seen = BTreeSet::new();
        let mut at = next(tenant);
        while let Some(into) = at.take_if(|into| **into != *tenant && !seen.contains(into)) {
            at = next(&into);
            seen.insert(into);
        }
        at.is_some_and(|into| *into == *tenant)
    }

    /// Returns the tenants that a person entered and that are active on the day, in byte order.
    pub fn entered_and_active(&self, day: Day) -> impl Iterator<Item = &Arc<str>> {
        self.facts.keys().filter(move |tenant| {
            self.fact(tenant, day).is_some_and(|fact| fact.entered && fact.active && fact.merged_into.is_none())
        })
    }

    /// Returns the values that may mean another tenant than themselves: aliases, and tenants that were merged.
    pub fn moving(&self) -> impl Iterator<Item = &Arc<str>> {
        let merged = self.facts.iter().filter(|(_, facts)| facts.iter().any(|fact| fact.merged_into.is_some()));
        self.aliases.keys().chain(merged.map(|(tenant, _)| tenant))
    }

    /// Returns every known tenant in byte order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<str>> {
        self.facts.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(tenant: &str, from: Option<&str>, recorded: i64) -> TenantFact {
        TenantFact {
            tenant: tenant.into(),
            valid_from: from.map(|day| day.parse().expect("a day")),
            valid_to: None,
            recorded_at: Instant::from_micros(recorded),
            entered: true,
            active: true,
            name: None,
            slug: None,
            plan: None,
            parent: None,
            merged_into: None,
        }
    }

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn ids_are_printable_and_never_reserved() {
        for bad in ["", "__idle__", "__x", "a\u{0}b", &"x".repeat(201)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
        assert!("Team Ünïcode/1".parse::<TenantId>().is_ok());
    }

    #[test]
    fn a_merge_moves_days_from_its_date_on() {
        let mut merged = fact("b", Some("2026-11-10"), 2);
        merged.merged_into = Some("a".into());
        let book = TenantBook::new(vec![fact("a", None, 1), fact("b", None, 1), merged], vec![]);
        assert_eq!(&*book.resolve("b", day("2026-11-09")), "b");
        assert_eq!(&*book.resolve("b", day("2026-11-10")), "a");
    }

    #[test]
    fn the_last_recorded_fact_of_a_day_holds() {
        let mut archived = fact("a", Some("2026-11-10"), 2);
        archived.active = false;
        let book = TenantBook::new(vec![archived, fact("a", None, 1)], vec![]);
        assert_eq!(book.entered_and_active(day("2026-11-09")).count(), 1);
        assert_eq!(book.entered_and_active(day("2026-11-11")).count(), 0);
    }

    #[test]
    fn aliases_map_incoming_values_on_their_days() {
        let alias = TenantAlias {
            alias: "acme-inc".into(),
            tenant: "acme".into(),
            valid_from: None,
            valid_to: Some(day("2026-11-10")),
            recorded_at: Instant::from_micros(1),
        };
        let book = TenantBook::new(vec![fact("acme", None, 1)], vec![alias]);
        assert_eq!(&*book.resolve("acme-inc", day("2026-11-10")), "acme");
        assert_eq!(&*book.resolve("acme-inc", day("2026-11-11")), "acme-inc");
    }
}
