//! Parts of cost lines that fall on a day, and what conditions see of them.

use domain::Currency;
use domain::condition::{ChargeAttribute, Conditions};
use domain::policy::{CostMetric, Policy};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Tag by which the lines of a pool's own `fixed` cost are recognised.
pub const FIXED_POOL_TAG: &str = "apportion:pool";

/// The attributes that a policy looks at, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeSet(Arc<[ChargeAttribute]>);

impl AttributeSet {
    /// Returns the set of these attributes.
    #[must_use]
    pub fn of(attributes: impl IntoIterator<Item = ChargeAttribute>) -> Self {
        Self(attributes.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Returns every attribute that any of the policies can look at: those of its conditions and rules and
    /// those that components and entries always keep.
    #[must_use]
    pub fn needed_by<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        use ChargeAttribute::{
            ChargeCategory, CommitmentStatus, InvoiceId, Provider, Service, ServiceCategory, Source, SubAccount, Tag,
        };
        let mut needed: BTreeSet<ChargeAttribute> =
            [Source, Provider, Service, ServiceCategory, SubAccount, ChargeCategory, CommitmentStatus, InvoiceId]
                .into();
        needed.insert(Tag(FIXED_POOL_TAG.into()));
        for policy in policies {
            let rules = policy.tenant_rules.iter().filter(|rule| rule.usage.is_none());
            needed
                .extend(rules.clone().flat_map(|rule| rule.tenant.placeholders()).filter_map(|name| name.parse().ok()));
            let conditions = policy.pools.iter().flat_map(|pool| pool.select.iter().chain(&pool.recovers));
            for conditions in conditions.chain(rules.filter_map(|rule| rule.when.as_ref())) {
                needed.extend(conditions.tests().map(|(attribute, _)| attribute.clone()));
            }
        }
        Self(needed.into_iter().collect())
    }

    /// Returns the attributes in order.
    #[must_use]
    pub fn attributes(&self) -> &[ChargeAttribute] {
        &self.0
    }
}

/// What one or more cost lines with equal attributes cost on one day, in atoms of their currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePart {
    /// Which attributes `values` holds.
    pub attributes: AttributeSet,
    /// One value, or none, per attribute.
    pub values: Vec<Option<Arc<str>>>,
    /// Currency of the amounts.
    pub currency: Currency,
    /// The amounts.
    pub cost: Cost,
    /// How many lines contributed.
    pub lines: u64,
}

/// The four costs of a line, each spread and summed on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// BilledCost.
    pub billed: i128,
    /// EffectiveCost.
    pub effective: i128,
    /// ContractedCost.
    pub contracted: i128,
    /// ListCost.
    pub list: i128,
}

impl Cost {
    /// Returns the cost by the metric.
    #[must_use]
    pub fn by(&self, metric: CostMetric) -> i128 {
        match metric {
            CostMetric::Billed => self.billed,
            CostMetric::Effective => self.effective,
            CostMetric::Contracted => self.contracted,
            CostMetric::List => self.list,
        }
    }
}

impl LinePart {
    /// Returns the value of an attribute, `None` when it is absent or was not asked for.
    #[must_use]
    pub fn get(&self, attribute: &ChargeAttribute) -> Option<&Arc<str>> {
        let at = self.attributes.0.binary_search(attribute).ok()?;
        self.values[at].as_ref()
    }

    /// Returns whether the conditions hold for the line.
    #[must_use]
    pub fn fits(&self, conditions: &Conditions<ChargeAttribute>) -> bool {
        conditions.hold(|attribute| self.get(attribute).map(|value| &**value))
    }
}
