//! Pools that stand for many: `for_each`.

use crate::day::Finding;
use domain::dimension::Dimension;
use domain::policy::{OneOrMany, Policy, Pool, pool_name_problem};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The dimensions that pools of the policy are repeated for.
pub fn repeated_dimensions(policy: &Policy) -> impl Iterator<Item = &Dimension> {
    policy.pools.iter().filter_map(|pool| pool.for_each.as_ref())
}

/// Returns the policy with each `for_each` pool replaced by one pool per value, in byte order of the values.
///
/// # Source
/// Spec 3-attribution, section 1.
#[must_use]
pub fn expand(policy: &Policy, values: &BTreeMap<Dimension, BTreeSet<Arc<str>>>) -> Policy {
    expand_with_findings(policy, values).0
}

/// Returns the same with a finding (`pool_name_taken`) for each value that makes no pool, because another pool
/// has its name or none may have it.
///
/// Where `of` names a `for_each` pool, it then names all the pools made of it.
#[must_use]
pub fn expand_with_findings(
    policy: &Policy,
    values: &BTreeMap<Dimension, BTreeSet<Arc<str>>>,
) -> (Policy, Vec<Finding>) {
    let mut taken: BTreeSet<String> =
        policy.pools.iter().filter(|pool| pool.for_each.is_none()).map(|pool| pool.name.clone()).collect();
    let mut made: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut pools, mut findings) = (Vec::with_capacity(policy.pools.len()), Vec::new());
    for pool in &policy.pools {
        let Some(dimension) = &pool.for_each else {
            pools.push(pool.clone());
            continue;
        };
        let names = made.entry(pool.name.as_str()).or_default();
        for value in values.get(dimension).into_iter().flatten() {
            let one = for_value(pool, value);
            let problem = pool_name_problem(&one.name).or_else(|| taken.contains(&one.name).then_some("it is taken"));
            if let Some(problem) = problem {
                findings.push(not_made(pool, one.name, problem));
                continue;
            }
            taken.insert(one.name.clone());
            names.push(one.name.clone());
            pools.push(one);
        }
    }
    pools.iter_mut().for_each(|pool| name_bases(pool, &made));
    (Policy { pools, ..policy.clone() }, findings)
}

fn for_value(pool: &Pool, value: &str) -> Pool {
    let mut pool = pool.clone();
    pool.name = pool.name.replace("{each}", value);
    pool.for_each = None;
    pool.select = pool.select.map(|conditions| conditions.for_each(value));
    pool.recovers = pool.recovers.map(|conditions| conditions.for_each(value));
    if let Some(split) = &mut pool.split {
        split.drivers = split.drivers.for_each(value);
    }
    pool
}

fn not_made(pool: &Pool, name: String, problem: &str) -> Finding {
    let detail = format!("`{}` makes no pool of this name: {problem}", pool.name);
    Finding { code: "pool_name_taken", pool: name, detail }
}

fn name_bases(pool: &mut Pool, made: &BTreeMap<&str, Vec<String>>) {
    let Some(of) = pool.split.as_mut().and_then(|split| split.of.as_mut()) else { return };
    let named = |word: &String| made.get(word.as_str()).cloned().unwrap_or_else(|| vec![word.clone()]);
    *of = OneOrMany::Many(of.words().iter().flat_map(named).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pools: &str, clusters: &[&str]) -> (Policy, Vec<Finding>) {
        let policy = Policy::read("p", &format!("version='v'\nvalid_from=2026-01-01\n{pools}"));
        let clusters = clusters.iter().map(|cluster| Arc::from(*cluster)).collect();
        expand_with_findings(&policy.expect("a valid policy"), &BTreeMap::from([(Dimension::Cluster, clusters)]))
    }

    fn names(policy: &Policy) -> Vec<&str> {
        policy.pools.iter().map(|pool| pool.name.as_str()).collect()
    }

    /// Names of the last pool's bases.
    fn bases(policy: &Policy) -> Vec<&str> {
        let bases = policy.bases(policy.pools.len() - 1);
        bases.into_iter().map(|base| policy.pools[base].name.as_str()).collect()
    }

    const EACH: &str = "[[pool]]\nname='c-{each}'\nkind='cluster'\nfor_each='cluster'\n\
                        select={tags.cluster='{each}'}\nsplit={method='even',where={cluster='{each}'}}\n";

    #[test]
    fn one_pool_per_value_in_byte_order() {
        let (policy, findings) = expanded(EACH, &["b", "a"]);
        assert_eq!((names(&policy), findings), (vec!["c-a", "c-b"], Vec::new()));
    }

    #[test]
    fn a_follower_names_all_repeated_pools_or_one_of_them() {
        let following = |of: &str| format!("{EACH}[[pool]]\nname='f'\nselect={{}}\nsplit={{method='by_cost',of={of}}}");
        assert_eq!(bases(&expanded(&following("['c-{each}']"), &["b", "a"]).0), ["c-a", "c-b"]);
        assert_eq!(bases(&expanded(&following("'c-b'"), &["b", "a"]).0), ["c-b"]);
        // Of clusters without usage there is nothing to follow, which is not the same as following everything.
        assert!(bases(&expanded(&following("['c-{each}']"), &[]).0).is_empty());
        assert!(bases(&expanded(&following("'c-b'"), &["a"]).0).is_empty());
    }

    #[test]
    fn no_two_pools_have_one_name_and_none_a_reserved_one() {
        let pools = "[[pool]]\nname='{each}'\nfor_each='cluster'\nselect={tags.cluster='{each}'}\nsplit={method='even'}\n\
                     [[pool]]\nname='own'\nselect={}\nsplit={method='even'}";
        let (policy, findings) = expanded(pools, &["a", "own", "unattributed", "__idle__"]);
        assert_eq!(names(&policy), ["a", "own"]);
        let skipped: Vec<_> = findings.iter().map(|finding| (finding.code, finding.pool.as_str())).collect();
        assert_eq!(skipped, ["__idle__", "own", "unattributed"].map(|name| ("pool_name_taken", name)));
    }
}
