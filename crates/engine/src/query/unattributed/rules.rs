//! Tenant rules that would give cost of nobody to somebody.

use super::NO_MAPPING;
use super::found::{Kind, SHOWN, Sum};
use crate::query::shares::{WHOLE, parts_of};
use domain::condition::ChargeAttribute;
use domain::toml_text::quoted;
use domain::{Currency, Day};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most rules for the cost in one currency.
pub const RULES_MAX: usize = 12;
/// Most values that one rule lists.
const VALUES_MAX: usize = 20;
/// Stands where somebody has to write the tenant. No policy with it is accepted, so that it cannot be forgotten.
pub const TENANT_TO_CHOOSE: &str = "{choose-a-tenant}";

/// Places in [`SHOWN`].
const PROVIDER: usize = 0;
const BILLING_ACCOUNT: usize = 1;
const SUB_ACCOUNT: usize = 2;
const SERVICE: usize = 3;

/// A rule, and what it would map of the lines that no other rule maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuggestedRule {
    /// Currency of the amount.
    pub currency: Currency,
    /// What it tests.
    pub attribute: ChargeAttribute,
    /// The values that fit; `*` for any.
    pub patterns: Vec<String>,
    /// Whether the value is the tenant: each of them is a known one, or an alias. Otherwise somebody has to choose.
    pub fills_tenant: bool,
    /// What it maps beyond the rules before it, in atoms.
    pub amount: i128,
    /// Lines that it maps beyond the rules before it, each counted on every day that it touches.
    pub lines: u64,
    /// What part of the cost of nobody in this currency it maps together with the rules before it, in millionths;
    /// amounts count without their sign, so that no credit hides a cost. None if there is no such cost.
    pub mapped_share: Option<i64>,
}

impl SuggestedRule {
    /// Returns the condition as a policy writes it.
    #[must_use]
    pub fn condition(&self) -> String {
        let key = match &self.attribute {
            ChargeAttribute::Tag(_) => quoted(&self.attribute.to_string()),
            plain => plain.to_string(),
        };
        let patterns: Vec<String> = self.patterns.iter().map(|pattern| quoted(pattern)).collect();
        match &patterns[..] {
            [only] => format!("{key} = {only}"),
            several => format!("{key} = [{}]", several.join(", ")),
        }
    }

    /// Returns the rule as it can be added at the end of a policy: there it takes no line from another rule.
    #[must_use]
    pub fn toml(&self) -> String {
        let tenant = match self.fills_tenant {
            true => format!("{{{}}}", self.attribute),
            false => TENANT_TO_CHOOSE.to_owned(),
        };
        format!("[[tenant_rule]]\nwhen = {{ {} }}\ntenant = {}\n", self.condition(), quoted(&tenant))
    }
}

/// The rules, and which of them maps what.
pub(super) struct Suggestions {
    /// By currency.
    pub(super) rules: Vec<SuggestedRule>,
    /// The place of the rule that maps each kind.
    pub(super) of_kind: Vec<Option<usize>>,
}

/// A rule that may be suggested.
struct Candidate {
    attribute: usize,
    patterns: Vec<String>,
    fills_tenant: bool,
    /// The places of the kinds that it maps.
    kinds: Vec<usize>,
}

/// What rules are looked for among.
pub(super) struct Search<'s> {
    /// What the values of kinds belong to.
    pub(super) attributes: &'s [ChargeAttribute],
    pub(super) kinds: &'s [(Kind, Sum)],
    /// Whether no line that a rule may map has values that are not among them.
    pub(super) is_all_seen: bool,
    /// Σ |amount| of the cost of nobody by currency.
    pub(super) magnitudes: &'s BTreeMap<Currency, i128>,
    /// Whether a value is the id or an alias of a known tenant on the day.
    pub(super) is_tenant: &'s dyn Fn(&str, Day) -> bool,
}

impl Search<'_> {
    /// Returns for each currency the rules that map most: first those that fill in the tenant by themselves, then those
    /// for which a tenant has to be chosen. Of either, each is the one that maps most of what is left.
    pub(super) fn suggest(&self) -> Suggestions {
        let mut found = Suggestions { rules: Vec::new(), of_kind: vec![None; self.kinds.len()] };
        for currency in self.magnitudes.keys() {
            let begun = found.rules.len();
            let unmapped = |(kind, _): &(Kind, Sum)| kind.currency == *currency && *kind.why == *NO_MAPPING;
            let kinds: Vec<usize> = (0..self.kinds.len()).filter(|at| unmapped(&self.kinds[*at])).collect();
            self.pick(&mut found, begun, &self.filling(&kinds));
            let left: Vec<usize> = kinds.iter().copied().filter(|at| found.of_kind[*at].is_none()).collect();
            self.pick(&mut found, begun, &self.to_choose(&kinds, &left));
        }
        found
    }

    fn magnitude(&self, kind: usize) -> i128 {
        self.kinds[kind].1.amount.abs()
    }

    fn value(&self, kind: usize, attribute: usize) -> Option<&Arc<str>> {
        self.kinds[kind].0.values[attribute].as_ref()
    }

    /// Takes the best of the candidates as long as one maps anything.
    fn pick(&self, found: &mut Suggestions, begun: usize, candidates: &[Candidate]) {
        while found.rules.len() < begun + RULES_MAX {
            let left = |candidate: &Candidate| -> Vec<usize> {
                candidate.kinds.iter().copied().filter(|at| found.of_kind[*at].is_none()).collect()
            };
            let gain = |candidate: &Candidate| left(candidate).into_iter().map(|at| self.magnitude(at)).sum::<i128>();
            let best = candidates.iter().enumerate().map(|(at, one)| (gain(one), Reverse(at))).max();
            let Some((1.., Reverse(at))) = best else { return };
            let candidate = &candidates[at];
            let mapped = left(candidate);
            let rule = self.rule(candidate, &mapped, &found.of_kind);
            for kind in mapped {
                found.of_kind[kind] = Some(found.rules.len());
            }
            found.rules.push(rule);
        }
    }

    /// The rule that maps these kinds, which none of those before it maps.
    fn rule(&self, candidate: &Candidate, mapped: &[usize], of_kind: &[Option<usize>]) -> SuggestedRule {
        let sums: Vec<&Sum> = mapped.iter().map(|at| &self.kinds[*at].1).collect();
        let currency = self.kinds[mapped[0]].0.currency;
        let is_mapped = |at: &usize| self.kinds[*at].0.currency == currency && of_kind[*at].is_some();
        let before: i128 = (0..self.kinds.len()).filter(is_mapped).map(|at| self.magnitude(at)).sum();
        let together = before + mapped.iter().map(|at| self.magnitude(*at)).sum::<i128>();
        let whole = self.magnitudes.get(&currency).copied().unwrap_or(0);
        SuggestedRule {
            currency,
            attribute: self.attributes[candidate.attribute].clone(),
            patterns: candidate.patterns.clone(),
            fills_tenant: candidate.fills_tenant,
            amount: sums.iter().map(|sum| sum.amount).sum(),
            lines: sums.iter().filter_map(|sum| sum.lines).sum(),
            mapped_share: parts_of(WHOLE, &[together, whole - together]).map(|parts| parts[0]),
        }
    }

    /// Rules by attributes whose values are tenants.
    fn filling(&self, kinds: &[usize]) -> Vec<Candidate> {
        let attributes = std::iter::once(SUB_ACCOUNT).chain(SHOWN.len()..self.attributes.len());
        attributes.filter_map(|attribute| self.filling_by(attribute, kinds)).collect()
    }

    fn filling_by(&self, attribute: usize, kinds: &[usize]) -> Option<Candidate> {
        // What stands between braces in a rule ends at the first closing one.
        if self.attributes[attribute].to_string().contains(['{', '}']) {
            return None;
        }
        let mut values: BTreeMap<&str, (i128, bool)> = BTreeMap::new();
        for at in kinds {
            let Some(value) = self.value(*at, attribute) else { continue };
            let (magnitude, are_tenants) = values.entry(&**value).or_insert((0, true));
            *magnitude += self.magnitude(*at);
            *are_tenants &= (self.is_tenant)(value, self.kinds[*at].1.last_day);
        }
        // The rule would map lines in every currency, and those whose values were not seen.
        let has_seen_others = self.kinds.iter().filter(|(kind, _)| *kind.why == *NO_MAPPING).any(|(kind, sum)| {
            kind.values[attribute].as_ref().is_some_and(|value| !(self.is_tenant)(value, sum.last_day))
        });
        let has_others = !self.is_all_seen || has_seen_others;
        let mut tenants: Vec<(&str, i128)> =
            values.into_iter().filter(|(_, (_, is))| *is).map(|(value, (magnitude, _))| (value, magnitude)).collect();
        if has_others {
            // Any value would make tenants of the others, and a star in a pattern stands for more than itself.
            tenants.retain(|(value, _)| !value.contains('*'));
            tenants.sort_by_key(|(value, magnitude)| (Reverse(*magnitude), *value));
            tenants.truncate(VALUES_MAX);
        }
        let listed: BTreeSet<&str> = tenants.into_iter().map(|(value, _)| value).collect();
        let maps = |at: &usize| self.value(*at, attribute).is_some_and(|value| listed.contains(&**value));
        let patterns = match has_others {
            true => listed.iter().map(|value| (*value).to_owned()).collect(),
            false => vec!["*".to_owned()],
        };
        let kinds: Vec<usize> = kinds.iter().copied().filter(maps).collect();
        (!kinds.is_empty()).then_some(Candidate { attribute, patterns, fills_tenant: true, kinds })
    }

    /// Rules for what is left, by one value each: of the first attribute that tells the lines without a tenant apart.
    fn to_choose(&self, kinds: &[usize], left: &[usize]) -> Vec<Candidate> {
        let order = self.order(left);
        let values = |attribute: usize| -> BTreeSet<&str> {
            kinds.iter().filter_map(|at| self.value(*at, attribute)).map(|value| &**value).collect()
        };
        let telling: BTreeSet<usize> = order.iter().copied().filter(|attribute| 1 < values(*attribute).len()).collect();
        let usable = |at: usize, attribute: usize| self.value(at, attribute).filter(|value| !value.contains('*'));
        let mut chosen: BTreeSet<(usize, &str)> = BTreeSet::new();
        for at in left {
            let known: Vec<(usize, &str)> =
                order.iter().filter_map(|attribute| Some((*attribute, &**usable(*at, *attribute)?))).collect();
            let telling_one = known.iter().find(|(attribute, _)| telling.contains(attribute));
            chosen.extend(telling_one.or(known.first()).copied());
        }
        let mut mapped: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
        for at in left {
            let known = order.iter().filter_map(|attribute| Some((*attribute, &**self.value(*at, *attribute)?)));
            for condition in known.filter(|condition| chosen.contains(condition)) {
                mapped.entry(condition).or_default().push(*at);
            }
        }
        let candidate = |((attribute, value), kinds): ((usize, &str), Vec<usize>)| Candidate {
            attribute,
            patterns: vec![value.to_owned()],
            fills_tenant: false,
            kinds,
        };
        mapped.into_iter().map(candidate).collect()
    }

    /// Attributes by how well they name whom a line belongs to: the account, tags by how much of the cost carries them,
    /// then what is shared by more and more.
    fn order(&self, kinds: &[usize]) -> Vec<usize> {
        let carried = |attribute: usize| -> i128 {
            kinds.iter().filter(|at| self.value(**at, attribute).is_some()).map(|at| self.magnitude(*at)).sum()
        };
        let mut tags: Vec<usize> = (SHOWN.len()..self.attributes.len()).collect();
        tags.sort_by_key(|attribute| Reverse(carried(*attribute)));
        let last = [BILLING_ACCOUNT, SERVICE, PROVIDER];
        std::iter::once(SUB_ACCOUNT).chain(tags).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Amount, account, service, tag `owner`.
    type Given = (i128, Option<&'static str>, Option<&'static str>, Option<&'static str>);

    fn given((amount, sub_account, service, owner): Given) -> (Kind, Sum) {
        let text = |value: Option<&str>| value.map(Into::into);
        let values = vec![Some("AWS".into()), None, text(sub_account), text(service), None, text(owner)];
        let day = "2026-11-18".parse().expect("a day");
        let sum = Sum { amount, lines: Some(1), first_day: day, last_day: day };
        (Kind { currency: Currency::USD, pool: "own".into(), why: NO_MAPPING.into(), values }, sum)
    }

    fn suggested(given_kinds: &[Given], beside: i128) -> Suggestions {
        suggested_of(given_kinds, beside, true)
    }

    fn suggested_of(given_kinds: &[Given], beside: i128, is_all_seen: bool) -> Suggestions {
        let kinds: Vec<(Kind, Sum)> = given_kinds.iter().copied().map(given).collect();
        let attributes: Vec<ChargeAttribute> =
            SHOWN.into_iter().chain([ChargeAttribute::Tag("owner".into())]).collect();
        let whole = beside + kinds.iter().map(|(_, sum)| sum.amount.abs()).sum::<i128>();
        let search = Search {
            attributes: &attributes,
            kinds: &kinds,
            is_all_seen,
            magnitudes: &BTreeMap::from([(Currency::USD, whole)]),
            is_tenant: &|value: &str, _: Day| ["acme", "globex"].contains(&value),
        };
        search.suggest()
    }

    /// Condition, whether it fills in the tenant, amount, share.
    fn check(given_kinds: &[Given], beside: i128, expected: &[(&str, bool, i128, i64)]) {
        let found = suggested(given_kinds, beside).rules;
        let told: Vec<(String, bool, i128, i64)> = found
            .iter()
            .map(|rule| (rule.condition(), rule.fills_tenant, rule.amount, rule.mapped_share.unwrap_or(-1)))
            .collect();
        let expected: Vec<(String, bool, i128, i64)> =
            expected.iter().map(|(text, fills, amount, share)| ((*text).to_owned(), *fills, *amount, *share)).collect();
        assert_eq!(told, expected, "{given_kinds:?}");
    }

    #[test]
    fn a_tag_whose_values_are_all_tenants_needs_no_choice() {
        let kinds = [(30, Some("1"), None, Some("acme")), (20, Some("2"), None, Some("globex"))];
        check(&kinds, 50, &[("\"tags.owner\" = \"*\"", true, 50, 500_000)]);
    }

    #[test]
    fn a_star_is_not_suggested_while_there_may_be_values_that_were_not_seen() {
        let kinds = [(30, Some("1"), None, Some("acme")), (20, Some("2"), None, Some("globex"))];
        let conditions = |is_all_seen: bool| -> Vec<String> {
            suggested_of(&kinds, 50, is_all_seen).rules.iter().map(SuggestedRule::condition).collect()
        };
        assert_eq!(conditions(false), ["\"tags.owner\" = [\"acme\", \"globex\"]"]);
        assert_eq!(conditions(true), ["\"tags.owner\" = \"*\""]);
    }

    #[test]
    fn values_that_are_no_tenants_are_left_out_and_get_a_rule_of_their_own() {
        let kinds =
            [(30, Some("1"), None, Some("acme")), (20, Some("2"), None, Some("ops")), (7, Some("3"), None, None)];
        check(
            &kinds,
            43,
            &[
                ("\"tags.owner\" = \"acme\"", true, 30, 300_000),
                ("sub_account = \"2\"", false, 20, 500_000),
                ("sub_account = \"3\"", false, 7, 570_000),
            ],
        );
    }

    #[test]
    fn an_account_that_all_share_tells_nobody_apart() {
        let kinds = [(30, Some("1"), Some("EC2"), Some("ops")), (40, Some("1"), Some("S3"), Some("web"))];
        check(
            &kinds,
            0,
            &[("\"tags.owner\" = \"web\"", false, 40, 571_429), ("\"tags.owner\" = \"ops\"", false, 30, 1_000_000)],
        );
        check(&[(30, Some("1"), Some("EC2"), None)], 0, &[("sub_account = \"1\"", false, 30, 1_000_000)]);
        check(&[(30, None, Some("EC2"), None)], 0, &[("service = \"EC2\"", false, 30, 1_000_000)]);
        check(&[], 30, &[]);
    }

    #[test]
    fn a_credit_neither_hides_cost_nor_is_hidden() {
        let kinds = [(30, Some("1"), None, None), (-60, Some("2"), None, None), (0, Some("3"), None, None)];
        check(&kinds, 10, &[("sub_account = \"2\"", false, -60, 600_000), ("sub_account = \"1\"", false, 30, 900_000)]);
    }

    #[test]
    fn a_star_in_a_value_stands_for_more_than_itself_so_no_rule_names_it() {
        check(&[(30, Some("1*"), Some("EC2"), None)], 0, &[("service = \"EC2\"", false, 30, 1_000_000)]);
    }

    #[test]
    fn a_rule_is_a_policys_text_that_nobody_can_publish_before_a_tenant_is_chosen() {
        let kinds = [
            (30, Some("a\"b\\\n"), None, Some("acme")),
            (20, Some("x"), None, Some("acme")),
            (9, Some("y\"'"), None, None),
        ];
        let rules = suggested(&kinds, 0).rules;
        let texts: Vec<String> = rules.iter().map(SuggestedRule::toml).collect();
        let pool = "[[pool]]\nname='own'\nselect={}\nsplit={method='direct'}\n";
        let read = |rule: &str| {
            let text = format!("version='v'\nvalid_from=2026-01-01\n{pool}{rule}");
            domain::policy::Policy::read("policy.toml", &text).map_err(|error| error.to_string())
        };
        let filled = read(&texts[0]).expect("the tag names the tenant");
        assert_eq!(filled.tenant_rules[0].tenant.as_str(), "{tags.owner}");
        assert!(read(&texts[1]).expect_err("nobody was chosen").contains("choose-a-tenant"), "{}", texts[1]);
        let chosen = read(&texts[1].replace(TENANT_TO_CHOOSE, "acme")).expect("a tenant was chosen");
        let tests: Vec<_> = chosen.tenant_rules[0].when.iter().flat_map(|when| when.tests()).collect();
        assert_eq!((&tests[0].0, tests[0].1[0].as_str()), (&ChargeAttribute::SubAccount, "y\"'"));
    }
}
