//! Which lines each pool takes, by component.

use crate::line::{FIXED_POOL_TAG, LinePart};
use domain::Currency;
use domain::condition::ChargeAttribute;
use domain::meter::Category;
use domain::policy::{CostMetric, Detail, Method, Policy, Pool};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a pool's amount is held by; the split rule is applied to each component on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentKey {
    /// Currency of the lines.
    pub currency: Currency,
    /// ChargeCategory of the lines.
    pub charge_category: Option<Arc<str>>,
    /// ServiceName, on request.
    pub service: Option<Arc<str>>,
    /// Provider, on request.
    pub provider: Option<Arc<str>>,
    /// Source, on request.
    pub source: Option<Arc<str>>,
    /// CommitmentDiscountStatus, on request.
    pub commitment_status: Option<Arc<str>>,
    /// InvoiceId, on request.
    pub invoice_id: Option<Arc<str>>,
}

impl ComponentKey {
    /// Returns the component of usage-based cost without any detail.
    #[must_use]
    pub fn usage(currency: Currency) -> Self {
        Self {
            currency,
            charge_category: Some("Usage".into()),
            service: None,
            provider: None,
            source: None,
            commitment_status: None,
            invoice_id: None,
        }
    }

    /// Returns whether the component is usage-based cost, whatever its details.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.charge_category.as_deref() == Some("Usage")
    }
}

/// Where a cost came from, as far as `follow = "invoice"` looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trail {
    /// Source.
    pub source: Option<Arc<str>>,
    /// SubAccountId.
    pub sub_account: Option<Arc<str>>,
    /// ServiceName.
    pub service: Option<Arc<str>>,
}

/// Both measures of an amount, in atoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// The cost metric.
    pub amount: i128,
    /// BilledCost.
    pub billed: i128,
}

impl Amounts {
    /// Adds both measures.
    pub fn add(&mut self, other: Self) {
        self.amount += other.amount;
        self.billed += other.billed;
    }
}

/// What goes into a pool on a day under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// Both measures.
    pub amounts: Amounts,
    /// The measures by category of the lines' services, for consumers without a meter.
    pub by_category: BTreeMap<Category, Amounts>,
    /// The measures by their trail, for `by_cost` pools that follow it.
    pub by_trail: BTreeMap<Trail, Amounts>,
    /// The measures by the tenant that the rules map the lines to, for method `direct`.
    pub by_tenant: BTreeMap<(Option<Arc<str>>, Category, Trail), Amounts>,
    /// How many lines contributed.
    pub lines: u64,
}

impl Component {
    /// Returns whether no part of it costs anything, so that there is nothing to convert.
    #[must_use]
    pub fn costs_nothing(&self) -> bool {
        let mut parts = self.by_trail.values().chain(self.by_tenant.values());
        self.amounts.amount == 0 && parts.all(|amounts| amounts.amount == 0)
    }
}

/// The components of one pool on one day.
pub type Components = BTreeMap<ComponentKey, Component>;

/// The lines of a day, handed to pools.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Components by the pool's position in the policy.
    pub pools: BTreeMap<usize, Components>,
    /// Components that no pool takes, by service.
    pub unattributed: BTreeMap<Option<Arc<str>>, Components>,
}

/// Returns the day's lines, each handed to the first pool that matches it: a pool's own fixed cost first,
/// then pools in the order of the policy.
///
/// `tenant_of` maps a line to its tenant by the policy's rules.
///
/// # Source
/// Spec 3-attribution, section 1.
pub fn take_lines(policy: &Policy, lines: &[LinePart], tenant_of: impl Fn(&LinePart) -> Option<Arc<str>>) -> Taken {
    let mut taken = Taken::default();
    for line in lines {
        let pool = pool_of(policy, line);
        let (metric, detail) = pool.map_or((policy.cost_metric, &[][..]), |at| {
            let pool = &policy.pools[at];
            (pool.cost_metric.unwrap_or(policy.cost_metric), &pool.detail[..])
        });
        let components = match pool {
            Some(at) => taken.pools.entry(at).or_default(),
            None => taken.unattributed.entry(line.get(&ChargeAttribute::Service).cloned()).or_default(),
        };
        let is_direct = pool.is_some_and(|at| policy.pools[at].method() == Method::Direct);
        let tenant = is_direct.then(|| tenant_of(line));
        let component = components.entry(component_key(line, detail)).or_default();
        add_line(component, line, metric, tenant);
    }
    taken
}

/// Returns the position of the pool that takes the line.
#[must_use]
pub fn pool_of(policy: &Policy, line: &LinePart) -> Option<usize> {
    let fixed = line
        .get(&ChargeAttribute::Tag(FIXED_POOL_TAG.into()))
        .filter(|_| line.get(&ChargeAttribute::Source).is_some_and(|source| &**source == "fixed"));
    let own = fixed.and_then(|name| policy.pools.iter().position(|pool| pool.fixed.is_some() && *pool.name == **name));
    let takes = |pool: &Pool| pool.select.iter().chain(&pool.recovers).any(|conditions| line.fits(conditions));
    own.or_else(|| policy.pools.iter().position(takes))
}

fn component_key(line: &LinePart, detail: &[Detail]) -> ComponentKey {
    let kept = |wanted: Detail, attribute: ChargeAttribute| {
        detail.contains(&wanted).then(|| line.get(&attribute).cloned()).flatten()
    };
    ComponentKey {
        currency: line.currency,
        charge_category: line.get(&ChargeAttribute::ChargeCategory).cloned(),
        service: kept(Detail::Service, ChargeAttribute::Service),
        provider: kept(Detail::Provider, ChargeAttribute::Provider),
        source: kept(Detail::Source, ChargeAttribute::Source),
        commitment_status: kept(Detail::CommitmentStatus, ChargeAttribute::CommitmentStatus),
        invoice_id: kept(Detail::InvoiceId, ChargeAttribute::InvoiceId),
    }
}

fn add_line(component: &mut Component, line: &LinePart, metric: CostMetric, tenant: Option<Option<Arc<str>>>) {
    let amounts = Amounts { amount: line.cost.by(metric), billed: line.cost.billed };
    let value = |attribute| line.get(&attribute).cloned();
    let category = Category::of_service_category(line.get(&ChargeAttribute::ServiceCategory).map(|value| &**value));
    let trail = Trail {
        source: value(ChargeAttribute::Source),
        sub_account: value(ChargeAttribute::SubAccount),
        service: value(ChargeAttribute::Service),
    };
    component.amounts.add(amounts);
    component.by_category.entry(category).or_default().add(amounts);
    component.lines += line.lines;
    if let Some(tenant) = tenant {
        component.by_tenant.entry((tenant, category, trail.clone())).or_default().add(amounts);
    }
    component.by_trail.entry(trail).or_default().add(amounts);
}
