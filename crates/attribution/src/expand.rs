//! Pools that stand for many: `for_each`.

use domain::dimension::Dimension;
use domain::policy::{Policy, Pool};
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
    let mut pools = Vec::with_capacity(policy.pools.len());
    for pool in &policy.pools {
        match &pool.for_each {
            None => pools.push(pool.clone()),
            Some(dimension) => {
                pools.extend(values.get(dimension).into_iter().flatten().map(|value| for_value(pool, value)))
            }
        }
    }
    Policy { pools, ..policy.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pool_per_value_in_byte_order() {
        let text = "version='v'\nvalid_from=2026-01-01\n[[pool]]\nname='c-{each}'\nkind='cluster'\nfor_each='cluster'\n\
                    select={tags.cluster='{each}'}\nsplit={method='even',where={cluster='{each}'}}";
        let policy = Policy::read("p", text).expect("a valid policy");
        let values = BTreeMap::from([(Dimension::Cluster, BTreeSet::from(["b".into(), "a".into()]))]);
        let names: Vec<String> = expand(&policy, &values).pools.into_iter().map(|pool| pool.name).collect();
        assert_eq!(names, ["c-a", "c-b"]);
    }
}
