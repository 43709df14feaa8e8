//! To which tenant the rules of a policy map a cost line.

use crate::line::LinePart;
use domain::policy::Policy;
use std::sync::Arc;

/// What the rules of a policy say of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// It belongs to this tenant.
    Tenant(Arc<str>),
    /// A rule names a tenant, and that one is refused. No later rule is asked.
    Refused,
    /// No rule fits it and yields a valid id.
    Nobody,
}

/// Returns what the policy's rules say of the line: the first one that fits and yields a valid id decides.
///
/// `resolve` maps what a rule yields to a tenant on the day; `None` refuses it.
///
/// # Source
/// Spec 3-attribution, section 1.
pub fn tenant_by_rules(policy: &Policy, line: &LinePart, resolve: &dyn Fn(&str) -> Option<Arc<str>>) -> Mapped {
    let rules = policy.tenant_rules.iter().filter(|rule| rule.usage.is_none());
    let decided = rules.filter(|rule| rule.when.as_ref().is_none_or(|when| line.fits(when))).find_map(|rule| {
        let value = |name: &str| name.parse().ok().and_then(|attribute| line.get(&attribute)).map(|value| &**value);
        let filled = rule.tenant.fill(value)?;
        filled.parse::<domain::TenantId>().ok()?;
        Some(resolve(&filled).map_or(Mapped::Refused, Mapped::Tenant))
    });
    decided.unwrap_or(Mapped::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{AttributeSet, Cost};
    use domain::Currency;
    use domain::condition::ChargeAttribute;

    const RULES: &str = "version='v'\nvalid_from=2026-01-01\n\
        [[tenant_rule]]\nwhen={ tags.owner='team-*' }\ntenant='{tags.owner}'\n\
        [[tenant_rule]]\nwhen={ sub_account='12*' }\ntenant='__{sub_account}'\n\
        [[tenant_rule]]\nwhen={ sub_account='123' }\ntenant='acme'\n";

    fn check(owner: Option<&str>, sub_account: Option<&str>, expected: &Mapped) {
        let policy = Policy::read("p", RULES).expect("valid");
        let attributes = AttributeSet::of([ChargeAttribute::SubAccount, ChargeAttribute::Tag("owner".into())]);
        let values = vec![sub_account.map(Into::into), owner.map(Into::into)];
        let line = LinePart { attributes, values, currency: Currency::USD, cost: Cost::default(), lines: 1 };
        let resolve = |value: &str| (value != "team-refused").then(|| Arc::<str>::from(value));
        assert_eq!(&tenant_by_rules(&policy, &line, &resolve), expected, "{owner:?} {sub_account:?}");
    }

    #[test]
    fn the_first_rule_that_yields_an_id_decides_and_one_that_is_refused_ends_the_search() {
        check(Some("team-a"), Some("123"), &Mapped::Tenant("team-a".into()));
        check(Some("team-refused"), Some("123"), &Mapped::Refused);
        check(Some("else"), Some("123"), &Mapped::Tenant("acme".into()));
        check(None, Some("124"), &Mapped::Nobody);
        check(None, None, &Mapped::Nobody);
    }
}
