//! Pools and rules: who pays for what. One TOML file is one version.

/// What the work of a task class should not cost more than.
mod cap;
/// What contradicts itself.
mod check;
/// Pools and how they are shared out.
mod pool;
/// Costs that events carry, and the windows in which they are used.
mod window;
/// What a pool, tier, basis or method can be.
mod words;

pub use cap::{Cap, CapPer};
pub use check::pool_name_problem;
pub use pool::{Capacity, FIXED_COST_DAYS, FixedCost, OneOrMany, Pool, Split};
pub use window::{Each, EventPath, EventSource, WINDOW_DAYS_MAX, WindowError, WindowLength};
pub use words::{Basis, CostMetric, Detail, FixedPer, Follow, Idle, Method, Normalize, PoolKind, Tier};

use crate::Day;
use crate::condition::{ChargeAttribute, Conditions, Template, UsageAttribute};
use crate::toml_text::{TomlError, parse_toml};
use cap::check_caps;
use check::{check_rule, invalid};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A version of pools and rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Name of the version.
    pub version: String,
    /// First day on which it applies.
    pub valid_from: Day,
    /// What fills `amount` unless a pool says otherwise.
    #[serde(default)]
    pub cost_metric: CostMetric,
    /// To whom cost lines, usage rows and events belong; first match wins.
    #[serde(default, rename = "tenant_rule")]
    pub tenant_rules: Vec<TenantRule>,
    /// The pools in order; the first that matches a line takes it.
    #[serde(default, rename = "pool")]
    pub pools: Vec<Pool>,
    /// What the work of task classes should not cost more than.
    #[serde(default, rename = "cap")]
    pub caps: Vec<Cap>,
}

/// Maps what a line or usage row carries to a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRule {
    /// Conditions on cost lines.
    #[serde(default)]
    pub when: Option<Conditions<ChargeAttribute>>,
    /// Conditions on usage rows and events instead.
    #[serde(default)]
    pub usage: Option<Conditions<UsageAttribute>>,
    /// The tenant, with placeholders.
    pub tenant: Template,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not readable.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Readable but contradictory.
    #[error("{place}: {problem}")]
    Invalid {
        /// `pool "x"` or `policy`.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// Name of the pool of lines that no pool takes.
pub const UNATTRIBUTED_POOL: &str = "unattributed";
/// Name under which adjustments stand: they belong to no pool of a policy, and none can have this name.
pub const ADJUSTMENT_POOL: &str = "__adjustment__";
/// The built-in policy `default`: one memo pool over the snapshots.
pub const BUILTIN_TEXT: &str = r#"version = "default"
valid_from = 1970-01-01

[[pool]]
name = "platform-usage"
split = { method = "rated", by = ["tenant"], meters = ["*"], where = { origin = "snapshot" } }
"#;

impl Policy {
    /// Returns the policy that the TOML text describes, checked.
    ///
    /// # Errors
    /// [`PolicyError`] with file and line, or the pool that contradicts itself.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyError> {
        parse_toml::<Self>(file, text)?.checked()
    }

    /// Returns the policy with its defaults filled in.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] for the first pool that cannot be used.
    pub fn checked(mut self) -> Result<Self, PolicyError> {
        if self.version.is_empty() || self.version.len() > 100 {
            return Err(invalid("policy", "the version must have 1 to 100 bytes"));
        }
        for rule in &self.tenant_rules {
            check_rule(rule)?;
        }
        check_caps(&self.caps)?;
        for pool in &mut self.pools {
            pool.fill_defaults();
        }
        let mut names = BTreeSet::new();
        for (index, pool) in self.pools.iter().enumerate() {
            if !names.insert(pool.name.as_str()) {
                return Err(pool.invalid("the name is given twice"));
            }
            pool.check()?;
            self.check_bases(index)?;
        }
        self.check_cycles()?;
        Ok(self)
    }

    /// Returns the built-in policy: one memo pool over the snapshots.
    #[must_use]
    pub fn builtin() -> Self {
        Self::read("built-in policy", BUILTIN_TEXT).expect("the built-in policy is valid")
    }

    /// Returns the positions of the pools whose cost a `by_cost` pool follows.
    ///
    /// A name that no pool has stands for the repeated pools (`for_each`) that can make it.
    #[must_use]
    pub fn bases(&self, index: usize) -> Vec<usize> {
        let pool = &self.pools[index];
        match pool.split.as_ref().and_then(|split| split.of.as_ref()) {
            Some(of) => {
                of.words().iter().flat_map(|name| self.named(name)).collect::<BTreeSet<_>>().into_iter().collect()
            }
            None => {
                (0..index).filter(|other| matches!(self.pools[*other].tier, Tier::Direct | Tier::Amortized)).collect()
            }
        }
    }

    fn named(&self, name: &str) -> Vec<usize> {
        match self.pools.iter().position(|pool| pool.name == name) {
            Some(own) => vec![own],
            None => (0..self.pools.len()).filter(|other| self.pools[*other].can_make(name)).collect(),
        }
    }

    fn check_bases(&self, index: usize) -> Result<(), PolicyError> {
        let pool = &self.pools[index];
        let Some(split) = pool.split.as_ref().filter(|split| split.method == Method::ByCost) else { return Ok(()) };
        for name in split.of.iter().flat_map(OneOrMany::words) {
            if name == &pool.name {
                return Err(pool.invalid("`of` names the pool itself"));
            }
            if self.named(name).is_empty() {
                let names = self.pools.iter().map(|other| other.name.as_str());
                let hint = crate::toml_text::nearest(name, names)
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(pool.invalid(&format!("`of` names the unknown pool `{name}`{hint}")));
            }
        }
        Ok(())
    }

    fn check_cycles(&self) -> Result<(), PolicyError> {
        self.by_cost_order().map(|_| ())
    }

    /// Returns the positions of the `by_cost` pools in an order in which every pool comes after its bases.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] for a cycle.
    pub fn by_cost_order(&self) -> Result<Vec<usize>, PolicyError> {
        let is_by_cost = |index: &usize| self.pools[*index].method() == Method::ByCost;
        let mut waiting: Vec<usize> = (0..self.pools.len()).filter(is_by_cost).collect();
        let mut ordered = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|index| self.bases(*index).iter().all(|base| !waiting.contains(base)));
            let Some(ready) = ready else {
                let names: Vec<&str> = waiting.iter().map(|index| self.pools[*index].name.as_str()).collect();
                return Err(invalid(
                    "policy",
                    &format!("the by_cost pools {} follow each other in a circle", names.join(", ")),
                ));
            };
            ordered.push(waiting.remove(ready));
        }
        Ok(ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pools: &str, expected: &str) {
        let text = format!("version = 'v'\nvalid_from = 2026-01-01\n{pools}");
        let result = Policy::read("policy.toml", &text).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(result, expected, "{pools}");
    }

    #[test]
    fn every_method_is_accepted_with_its_keys() {
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='direct'}", "ok");
        check(
            "[[pool]]\nname='a'\nkind='cluster'\nselect={tags.cluster='a'}\nsplit={method='weighted',weights={cpu_core_hours='0.5'}}\ncapacity={cpu_core_hours='64'}",
            "ok",
        );
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='proportional',meter='log_queries'}", "ok");
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='even',of='users'}", "ok");
        check("[[pool]]\nname='a'\nselect={}\nsplit={method='fixed',percent={acme='60'}}", "ok");
        check("[[pool]]\nname='a'\nrecovers={provider='X'}\nsplit={method='rated',meters=['llm_*']}", "ok");
        check("[[pool]]\nname='a'\nselect={charge_category='Tax'}\nsplit={method='by_cost',follow='invoice'}", "ok");
        check(
            "[[pool]]\nname='a'\ntier='overhead'\nfixed={provider='own',amount='310.00',currency='USD',per='month',from=2026-01-01}",
            "ok",
        );
        check(
            "[[pool]]\nname='a-{each}'\nfor_each='cluster'\nselect={tags.cluster='{each}'}\nsplit={method='even'}",
            "ok",
        );
    }

    #[test]
    fn contradictions_are_named() {
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='weighted'}",
            "pool \"a\": method `weighted` needs `weights`",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='weighted',weights={x='-1'}}",
            "policy.toml:6:37: `-1` is out of bound: it must lie between 0 and 1000000000",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='fixed',percent={a='60',b='41'}}",
            "pool \"a\": the percents add up to more than 100",
        );
        check(
            "[[pool]]\nname='a'\nsplit={method='even'}",
            "pool \"a\": nothing is selected: add `select`, `recovers` or `fixed`, or use method `rated` or `window` for an internal estimate",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='none'}",
            "pool \"a\": method `none` is for tier overhead only",
        );
        let fixed = |days: &str| {
            format!(
                "[[pool]]\nname='a'\ntier='overhead'\nfixed={{provider='own',amount='1',currency='USD',per='once',{days}}}"
            )
        };
        check(&fixed("from=2026-10-10,to=2026-10-10"), "ok");
        check(&fixed("from=2026-10-10,to=2026-10-09"), "pool \"a\": `fixed` ends before it begins");
        let outside = "pool \"a\": the days of `fixed` must lie between 1970-01-01 and 2199-12-31";
        check(&fixed("from=1969-12-31"), outside);
        check(&fixed("from=2199-12-31,to=2200-01-01"), outside);
        check("[[pool]]\nname='a'\nselct={}", "policy.toml:5:1: unknown key `selct`; did you mean `select`?");
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='window',event_type='x'}",
            "pool \"a\": method `window` needs `source`: the events that carry the cost",
        );
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='by_cost',of=['b']}\n[[pool]]\nname='b'\nselect={}\nsplit={method='by_cost',of=['a']}",
            "policy: the by_cost pools a, b follow each other in a circle",
        );
        check(
            "[[pool]]\nname='a-{each}'\nfor_each='repo'\nselect={}\nsplit={method='by_cost',of='a-1'}",
            "policy: the by_cost pools a-{each} follow each other in a circle",
        );
        check(
            "[[pool]]\nname='a-{each}'\nfor_each='repo'\nselect={}\nsplit={method='even'}\n[[pool]]\nname='b'\nselect={}\nsplit={method='by_cost',of='c-1'}",
            "pool \"b\": `of` names the unknown pool `c-1`",
        );
        for method in ["method='direct'", "method='fixed',percent={acme='60'}", "method='by_cost'"] {
            check(
                &format!("[[pool]]\nname='a'\nselect={{}}\nsplit={{{method},where={{}}}}"),
                &format!("pool \"a\": `where` does not go with method `{}`", method.split('\'').nth(1).unwrap()),
            );
        }
        check(
            "[[pool]]\nname='a'\ntier='overhead'\nselect={}\nsplit={method='none',where={tenant='a'}}",
            "pool \"a\": `where` does not go with method `none`",
        );
        check(
            "[[tenant_rule]]\nwhen={}\ntenant='{subaccount}'",
            "tenant_rule \"{subaccount}\": unknown condition key `subaccount`; did you mean `sub_account`?",
        );
    }

    #[test]
    fn a_window_has_cost_events_and_events_that_use_them() {
        let window = |pool: &str, source: &str, split: &str, expected: &str| {
            check(&format!("[[pool]]\nname='a'\n{pool}source={{{source}}}\nsplit={{{split}}}"), expected);
        };
        let (cost, reads) =
            ("event_type='g',cost='$.usd',currency='USD'", "method='window',event_type='r',window='24h'");
        window("tier='amortized'\n", cost, reads, "ok");
        window("recovers={provider='X'}\n", cost, &format!("{reads},each='read',where={{cluster='c'}}"), "ok");
        let keyed = (format!("{cost},key='$.id'"), format!("{reads},key='$.gather.id'"));
        window("", &keyed.0, &keyed.1, "ok");
        window("", "event_type='g',meter='sandbox_seconds',quantity='$.s'", reads, "ok");
        window("", cost, "method='window',event_type='r',window='until:cooled',each='sandbox_seconds'", "ok");
        let refused =
            |source: &str, split: &str, problem: &str| window("", source, split, &format!("pool \"a\": {problem}"));
        refused(&keyed.0, reads, "`source` and `split` both have a `key`, or neither has");
        refused("event_type='g'", reads, "`source` has `cost` and `currency`, or `meter` and `quantity`");
        refused(&format!("{cost},meter='m'"), reads, "`source` has `cost` and `currency`, or `meter` and `quantity`");
        refused("event_type='g',meter='m'", reads, "`source` has `cost` and `currency`, or `meter` and `quantity`");
        refused(
            cost,
            "method='window',event_type='r'",
            "method `window` needs `window`: a length, or until:<event type>",
        );
        refused(
            cost,
            "method='window',window='1h'",
            "method `window` needs `event_type`: the events that use the cost",
        );
        refused(cost, "method='rated'", "`source` goes with method `window`");
        window("select={}\n", cost, reads, "pool \"a\": `source` goes with `recovers` or stands alone");
        check(
            "[[pool]]\nname='a'\nselect={}\nsplit={method='even',window='1h'}",
            "pool \"a\": `window` does not go with method `even`",
        );
    }

    #[test]
    fn a_cluster_without_where_reads_its_own_usage() {
        let drivers = |split: &str| {
            let pool = format!("[[pool]]\nname='west'\nkind='cluster'\nselect={{}}\nsplit={{{split}}}");
            let policy = Policy::read("p", &format!("version='v'\nvalid_from=2026-01-01\n{pool}"));
            policy.expect("valid").pools[0].split.clone().expect("a split").drivers
        };
        let own = drivers("method='proportional',meter='m'");
        assert!(own.hold(|_| Some("west")) && !own.hold(|_| Some("east")));
        assert!(drivers("method='proportional',meter='m',where={}").hold(|_| Some("east")), "an empty `where` is all");
    }
}
