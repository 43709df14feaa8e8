//! What a change says about a tenant, as dated facts and aliases to be entered beside those that are known.
//!
//! A fact says everything about its days, and the one recorded last counts. So a change becomes one fact for each
//! stretch of its days on which something else was known, and none of them takes back what began later.

use super::tenants::TenantChange;
use crate::problem::ApiError;
use domain::Day;
use std::collections::BTreeSet;
use storage::catalog::{ALWAYS, NewTenantAlias, NewTenantFact, TenantAliasRow, TenantFactRow, aliases_on, fact_on};

/// The days on which a change holds.
pub(super) struct ChangeDays {
    /// First day of facts, and of the end of aliases.
    from: String,
    /// First day of new aliases.
    alias_from: String,
    /// Last day; open for none.
    to: Option<String>,
}

impl ChangeDays {
    /// Returns the days of a change: what is not said is always for a new tenant or alias, from today on otherwise.
    ///
    /// # Errors
    /// When the last day lies before the first.
    pub(super) fn of(change: &TenantChange, is_new: bool, today: &str) -> Result<Self, ApiError> {
        let (given, to) = (change.valid_from.map(|day| day.to_string()), change.valid_to.map(|day| day.to_string()));
        let from = given.clone().unwrap_or_else(|| if is_new { ALWAYS } else { today }.to_owned());
        if to.as_ref().is_some_and(|to| *to < from) {
            return Err(ApiError::body("/valid_to", format!("`valid_to` lies before `valid_from`, which is {from}")));
        }
        Ok(Self { from, alias_from: given.unwrap_or_else(|| ALWAYS.to_owned()), to })
    }

    fn contain(&self, day: &str) -> bool {
        self.from.as_str() <= day && self.to.as_deref().is_none_or(|to| day <= to)
    }
}

macro_rules! given_fields {
    ($($field:ident: $kind:ty,)*) => {
        /// The fields that a change names, each with its new value.
        struct Given { $($field: Option<$kind>,)* }

        impl Given {
            fn apply_to(&self, fact: &mut NewTenantFact) {
                $(if let Some(new) = &self.$field { fact.$field.clone_from(new); })*
            }

            /// Forgets the fields that a later fact changed itself.
            fn leave_to(&mut self, later: &NewTenantFact, before: &NewTenantFact) {
                $(self.$field.take_if(|new| later.$field != before.$field && later.$field != *new);)*
            }
        }
    };
}

given_fields! {
    name: Option<String>,
    slug: Option<String>,
    plan: Option<String>,
    status: String,
    parent: Option<String>,
    owners: String,
    cost_center: Option<String>,
    gl_account: Option<String>,
    billing_mode: String,
    merged_into: Option<String>,
}

impl Given {
    fn of(change: &TenantChange) -> Self {
        let json = |owners: &Vec<String>| serde_json::to_string(owners).expect("a list of texts is JSON");
        Self {
            name: change.name.clone(),
            slug: change.slug.clone(),
            plan: change.plan.clone(),
            status: change.status.clone(),
            parent: change.parent.clone(),
            owners: change.owners.as_ref().map(json),
            cost_center: change.cost_center.clone(),
            gl_account: change.gl_account.clone(),
            billing_mode: change.billing_mode.clone(),
            merged_into: change.merged_into.clone(),
        }
    }
}

/// Returns the facts to be entered, by day; none where everything is known already.
///
/// A field changes from the first day of the change until its last, or until a later fact changed it itself.
pub(super) fn new_facts(
    known: &[TenantFactRow],
    tenant: &str,
    change: &TenantChange,
    days: &ChangeDays,
) -> Vec<NewTenantFact> {
    let on = |day: &str| {
        let fact = fact_on(known, day).or(known.last());
        fact.map_or_else(|| NewTenantFact::system(tenant), TenantFactRow::to_new)
    };
    let (before, starts) = (on(&days.from), starts_of_stretches(known, days));
    let mut given = Given::of(change);
    let mut found: Vec<NewTenantFact> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let stands = on(start);
        given.leave_to(&stands, &before);
        let mut fact = NewTenantFact { entered_by: "put".to_owned(), ..stands.clone() };
        given.apply_to(&mut fact);
        if fact == stands && fact_on(known, start).is_some() {
            continue;
        }
        fact.valid_from.clone_from(start);
        fact.valid_to = starts.get(index + 1).map_or_else(|| days.to.clone(), |next| Some(day_before(next)));
        match found.last_mut() {
            Some(last) if goes_on(last, &fact) => last.valid_to = fact.valid_to,
            _ => found.push(fact),
        }
    }
    found
}

/// The days of the change on which something else begins to be known.
fn starts_of_stretches(known: &[TenantFactRow], days: &ChangeDays) -> Vec<String> {
    let mut starts = BTreeSet::from([days.from.clone()]);
    for fact in known {
        starts.insert(fact.valid_from.clone());
        starts.extend(fact.valid_to.as_deref().map(|last| moved(last, 1)));
    }
    starts.retain(|start| days.contain(start));
    starts.into_iter().collect()
}

/// Whether the second fact says the same as the first, from the day after it on.
fn goes_on(first: &NewTenantFact, second: &NewTenantFact) -> bool {
    let is_next = first.valid_to == Some(day_before(&second.valid_from));
    let (valid_from, valid_to) = (first.valid_from.clone(), first.valid_to.clone());
    is_next && *first == NewTenantFact { valid_from, valid_to, ..second.clone() }
}

/// Returns the aliases that begin, and those that end because the list leaves them out. What somebody entered for
/// later days stays.
pub(super) fn new_aliases(
    known: &[TenantAliasRow],
    tenant: &str,
    wanted: &[String],
    days: &ChangeDays,
) -> Vec<NewTenantAlias> {
    let held = aliases_on(known, tenant, &days.from);
    let begins = wanted.iter().filter(|alias| !held.contains(&alias.as_str())).map(|alias| NewTenantAlias {
        alias: alias.clone(),
        tenant: Some(tenant.to_owned()),
        valid_from: days.alias_from.clone(),
        valid_to: days.to.clone(),
    });
    let later = |alias: &str| {
        let rows = known.iter().filter(|row| row.alias == alias && days.from < row.valid_from);
        rows.map(|row| day_before(&row.valid_from)).min()
    };
    let ends = held.iter().filter(|alias| !wanted.iter().any(|wanted| wanted == *alias)).map(|alias| NewTenantAlias {
        alias: (*alias).to_owned(),
        tenant: None,
        valid_from: days.from.clone(),
        valid_to: later(alias).into_iter().chain(days.to.clone()).min(),
    });
    begins.chain(ends).collect()
}

fn day_before(day: &str) -> String {
    moved(day, -1)
}

/// The day so many days later; days are `YYYY-MM-DD`, whose order as text is their order in time.
fn moved(day: &str, days: i32) -> String {
    let day: Day = day.parse().expect("the catalog holds days");
    day.plus(days).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: &str = "2026-11-20";

    fn change(text: &str) -> TenantChange {
        serde_json::from_str(text).expect("a change")
    }

    /// Enters the changes one after the other and returns `first..last name/plan` of every stretch that counts then.
    fn check(changes: &[&str], expected: &[&str]) {
        let mut known: Vec<TenantFactRow> = Vec::new();
        for text in changes {
            let change = change(text);
            let days = ChangeDays::of(&change, known.is_empty(), TODAY).expect("days");
            for fact in new_facts(&known, "acme", &change, &days) {
                known.push(recorded(&fact, known.len()));
            }
        }
        let all = ChangeDays { from: ALWAYS.to_owned(), alias_from: ALWAYS.to_owned(), to: None };
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
        let mut found: Vec<String> = Vec::new();
        for start in starts_of_stretches(&known, &all) {
            let Some(fact) = fact_on(&known, &start) else { continue };
            let line = format!("{}/{}", text(&fact.name), text(&fact.plan));
            if !found.last().is_some_and(|last| last.ends_with(&format!(" {line}"))) {
                found.push(format!("{start} {line}"));
            }
        }
        assert_eq!(found, expected, "{changes:?}");
    }

    fn recorded(fact: &NewTenantFact, index: usize) -> TenantFactRow {
        let seq = i64::try_from(index).expect("few facts") + 1;
        let fact = fact.clone();
        TenantFactRow {
            seq,
            recorded_at: seq,
            tenant: fact.tenant,
            valid_from: fact.valid_from,
            valid_to: fact.valid_to,
            name: fact.name,
            slug: fact.slug,
            plan: fact.plan,
            status: fact.status,
            parent: fact.parent,
            owners: fact.owners,
            cost_center: fact.cost_center,
            gl_account: fact.gl_account,
            billing_mode: fact.billing_mode,
            merged_into: fact.merged_into,
            entered_by: fact.entered_by,
        }
    }

    #[test]
    fn a_change_holds_from_its_day_on_and_leaves_the_rest() {
        check(
            &[r#"{"name":"Acme","plan":"free"}"#, r#"{"plan":"pro"}"#],
            &["0001-01-01 Acme/free", "2026-11-20 Acme/pro"],
        );
    }

    #[test]
    fn a_change_for_earlier_days_does_not_take_back_a_later_one() {
        let first = r#"{"name":"Acme","plan":"free"}"#;
        let later = r#"{"plan":"pro","valid_from":"2026-06-01"}"#;
        check(
            &[first, later, r#"{"plan":"trial","valid_from":"2026-03-01"}"#],
            &["0001-01-01 Acme/free", "2026-03-01 Acme/trial", "2026-06-01 Acme/pro"],
        );
        check(
            &[first, later, r#"{"name":"Acme Inc","valid_from":"2026-03-01"}"#],
            &["0001-01-01 Acme/free", "2026-03-01 Acme Inc/free", "2026-06-01 Acme Inc/pro"],
        );
    }

    #[test]
    fn a_change_with_a_last_day_ends_with_it() {
        check(
            &[r#"{"plan":"free"}"#, r#"{"plan":"pro","valid_from":"2026-03-01","valid_to":"2026-03-31"}"#],
            &["0001-01-01 -/free", "2026-03-01 -/pro", "2026-04-01 -/free"],
        );
    }

    #[test]
    fn what_is_known_already_is_not_entered_again() {
        let first = change(r#"{"name":"Acme","valid_from":"2026-01-01"}"#);
        let days = ChangeDays::of(&first, true, TODAY).expect("days");
        let known = [recorded(&new_facts(&[], "acme", &first, &days)[0], 0)];
        for same in [r#"{"name":"Acme","valid_from":"2026-01-01"}"#, r#"{"name":"Acme"}"#, "{}"] {
            let change = change(same);
            let days = ChangeDays::of(&change, false, TODAY).expect("days");
            assert!(new_facts(&known, "acme", &change, &days).is_empty(), "{same}");
        }
    }

    #[test]
    fn a_last_day_before_the_first_is_refused_also_when_the_first_is_not_said() {
        let refused = |text: &str, is_new: bool| ChangeDays::of(&change(text), is_new, TODAY).is_err();
        assert!(refused(r#"{"valid_to":"2026-11-19"}"#, false));
        assert!(refused(r#"{"valid_from":"2026-11-02","valid_to":"2026-11-01"}"#, true));
        assert!(!refused(r#"{"valid_to":"2026-11-20"}"#, false) && !refused(r#"{"valid_to":"2026-11-19"}"#, true));
    }
}
