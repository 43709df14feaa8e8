use domain::TenantScope;
use domain::snapshot::ORIGIN_SNAPSHOT;

/// Whose usage a caller may see. Snapshots say more about a tenant than what it is charged for, so fewer callers see
/// those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageScope {
    /// Whose usage of every other origin.
    pub tenants: TenantScope,
    /// Whose snapshots.
    pub snapshots: TenantScope,
}

impl UsageScope {
    /// Returns whether usage of the tenant may be seen that has this origin.
    pub(super) fn allows(&self, tenant: &str, origin: &str) -> bool {
        let scope = if origin == ORIGIN_SNAPSHOT { &self.snapshots } else { &self.tenants };
        scope.allows(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::TenantId;

    #[test]
    fn snapshots_have_a_scope_of_their_own() {
        let acme: TenantId = "acme".parse().expect("an id");
        let scope = UsageScope { tenants: TenantScope::All, snapshots: TenantScope::Only([acme].into()) };
        assert!(scope.allows("globex", "events") && scope.allows("acme", "snapshot"));
        assert!(!scope.allows("globex", "snapshot"));
    }
}
