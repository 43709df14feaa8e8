//! Shared clusters (S2): how the cost of a cluster's pool was shared out on a day, and what a tenant paid.
//!
//! Amounts are those of the ledger in the reporting currency. Which pools are clusters is a matter of the
//! policy of each day.

use super::columns::rows;
use super::select::{self, all_of, charged_in};
use super::shares::{HUNDRED_PERCENT, parts_of, parts_of_either_sign};
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, ident, lit};
use domain::policy::{Pool, PoolKind};
use domain::tenant::IDLE;
use domain::{Currency, Day, DayRange, Weight};
use std::collections::BTreeMap;
use storage::lake::Table;

/// Which clusters were shared on a day.
mod shared;
/// What a tenant paid for clusters, day by day.
mod tenants;

pub use tenants::{TenantBreakdown, TrendPoint};

/// Names in S2's answers of the four built-in meters of clusters.
const RESOURCES: [(&str, &str); 4] = [
    ("cpu_core_hours", "cpu"),
    ("memory_gib_hours", "memory"),
    ("storage_gib_hours", "storage"),
    ("network_gib", "network"),
];

/// Returns the name of a meter in S2's answers: cpu, memory, storage, network, or its own.
#[must_use]
pub fn resource_of(meter: &str) -> &str {
    RESOURCES.iter().find(|(known, _)| *known == meter).map_or(meter, |(_, resource)| resource)
}

/// Cost by kind of resource, in atoms; the four add up to the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostBreakdown {
    /// Processors and memory.
    pub compute: i128,
    /// Storage.
    pub storage: i128,
    /// Network.
    pub network: i128,
    /// Everything else, AI and labor included.
    pub other: i128,
}

impl CostBreakdown {
    fn add(&mut self, category: &str, atoms: i128) {
        match category {
            "compute" => self.compute += atoms,
            "storage" => self.storage += atoms,
            "network" => self.network += atoms,
            _ => self.other += atoms,
        }
    }

    /// Returns the sum of the four.
    #[must_use]
    pub fn total(&self) -> i128 {
        self.compute + self.storage + self.network + self.other
    }
}

/// How a cluster's cost of a day was shared out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAttribution {
    /// The cluster: the pool's name.
    pub cluster: String,
    /// The day.
    pub date: Day,
    /// Currency of every amount.
    pub currency: Currency,
    /// What it cost: tenants, idle and unattributed, in atoms.
    pub total: i128,
    /// Weight of each resource.
    pub weights: Vec<(String, Weight)>,
    /// What each tenant paid; the largest first, equal ones by id.
    pub tenants: Vec<ClusterTenant>,
    /// Paid, unused capacity, in atoms.
    pub idle: i128,
    /// Everything that no tenant caused, in atoms.
    pub unattributed: i128,
    /// Whether its month is closed, so that what is posted of it is a correction in a later one, or part of it was.
    pub correction: bool,
    /// The posting that the answer shows.
    pub posting: Option<i64>,
}

/// One tenant's part of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTenant {
    /// Who.
    pub tenant: String,
    /// What it paid, in atoms.
    pub cost: i128,
    /// Part of the total in millionths of a percent; none when the total is 0.
    pub percentage: Option<i64>,
    /// The cost by kind of resource.
    pub breakdown: CostBreakdown,
    /// What it used, in atoms of 10⁻⁹, by resource.
    pub usage: BTreeMap<String, i128>,
}

/// Tenants of a cluster side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterComparison {
    /// The cluster and what each tenant paid.
    pub attribution: ClusterAttribution,
    /// Part of the usage of all tenants, in millionths of a percent, by resource, for each tenant in order.
    pub usage_percentages: Vec<BTreeMap<String, Option<i64>>>,
}

impl Engine {
    /// Returns how the cluster's cost of the day was shared out.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a day that has not come, [`EngineError::ClusterNotFound`],
    /// [`EngineError::NotAttributed`], or when a store fails.
    pub async fn cluster_attribution_all_tenants(
        &self,
        cluster: &str,
        date: Day,
    ) -> Result<ClusterAttribution, EngineError> {
        let pool = self.cluster_pool(cluster, date).await?;
        let head = self.head(None).await?;
        let sums = self.cluster_sums(cluster, date, head.number()).await?;
        if !sums.has_entries && !self.was_run(date).await? {
            return Err(EngineError::NotAttributed { pool: cluster.to_owned(), day: date });
        }
        let weights = pool.split.iter().flat_map(|split| &split.weights);
        let weights: Vec<(String, Weight)> =
            weights.map(|(meter, weight)| (resource_of(meter).to_owned(), *weight)).collect();
        let found = sums.attribution(cluster, date, weights, self.settings.reporting_currency, head.posting);
        let is_closed = self.periods_now().await?.is_closed(date.month());
        Ok(ClusterAttribution { correction: found.correction || is_closed, ..found })
    }

    /// Returns the tenants of a cluster side by side.
    ///
    /// # Errors
    /// As [`Engine::cluster_attribution_all_tenants`].
    pub async fn cluster_comparison_all_tenants(
        &self,
        cluster: &str,
        date: Day,
    ) -> Result<ClusterComparison, EngineError> {
        let attribution = self.cluster_attribution_all_tenants(cluster, date).await?;
        let usage_percentages = usage_percentages(&attribution.tenants);
        Ok(ClusterComparison { attribution, usage_percentages })
    }

    /// Refuses a day that has not come.
    pub(super) fn check_not_future(&self, parameter: &str, day: Day) -> Result<(), EngineError> {
        if self.today() < day {
            return Err(EngineError::parameter(parameter, format!("{day} lies in the future")));
        }
        Ok(())
    }

    /// The cluster's pool in the policy of the day.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a day that has not come, [`EngineError::ClusterNotFound`].
    pub async fn cluster_pool(&self, cluster: &str, date: Day) -> Result<Pool, EngineError> {
        self.check_not_future("date", date)?;
        let (_, policy) = self.policy_for(date).await?;
        let found = policy.pools.into_iter().find(|pool| pool.kind == PoolKind::Cluster && pool.name == cluster);
        found.ok_or_else(|| EngineError::ClusterNotFound(super::params::shorten(cluster)))
    }

    async fn was_run(&self, date: Day) -> Result<bool, EngineError> {
        let day = date.to_string();
        Ok(!self.catalog.run_days(&day, &day).await?.is_empty())
    }

    async fn cluster_sums(&self, cluster: &str, date: Day, head: i64) -> Result<Sums, EngineError> {
        let money = Expr::IsNotTrue(Box::new(ident("memo")));
        let conditions = [
            select::of_cost(),
            select::up_to_posting(head),
            charged_in(DayRange::single(date)),
            ident("pool").eq(lit(cluster)),
            money,
        ];
        let columns = ["tenant", "category", "meter", "charge_class"].map(ident);
        let batches = self
            .session_now()
            .await?
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(conditions))?
            .aggregate(
                [vec![select::reserved_word().alias("word")], columns.to_vec()].concat(),
                vec![sum(ident("amount_reporting")).alias("cost"), sum(ident("quantity")).alias("quantity")],
            )?
            .collect()
            .await?;
        let mut sums = Sums::default();
        for row in rows(&batches) {
            sums.has_entries = true;
            sums.correction |= row.text(4) == Some("correction");
            let atoms = row.atoms(5);
            match row.text_or_empty(0) {
                IDLE => sums.idle += atoms,
                "" => {
                    let tenant = sums.tenants.entry(row.text_or_empty(1).to_owned()).or_default();
                    tenant.0.add(row.text_or_empty(2), atoms);
                    if let Some(meter) = row.text(3) {
                        *tenant.1.entry(resource_of(meter).to_owned()).or_default() += row.atoms(6);
                    }
                }
                _ => sums.unattributed += atoms,
            }
        }
        Ok(sums)
    }
}

/// Sums of a cluster's entries of a day.
#[derive(Default)]
struct Sums {
    tenants: BTreeMap<String, (CostBreakdown, BTreeMap<String, i128>)>,
    idle: i128,
    unattributed: i128,
    correction: bool,
    has_entries: bool,
}

impl Sums {
    fn attribution(
        self,
        cluster: &str,
        date: Day,
        weights: Vec<(String, Weight)>,
        currency: Currency,
        posting: Option<i64>,
    ) -> ClusterAttribution {
        // In the order of the reserved words and ids, in which ties of the split rule are broken.
        let mut parts: BTreeMap<&str, i128> =
            self.tenants.iter().map(|(tenant, (breakdown, _))| (tenant.as_str(), breakdown.total())).collect();
        parts.insert(IDLE, self.idle);
        parts.insert(domain::tenant::UNATTRIBUTED, self.unattributed);
        let amounts: Vec<i128> = parts.values().copied().collect();
        let percentages = parts_of_either_sign(HUNDRED_PERCENT, &amounts);
        let percentages: BTreeMap<String, i64> = parts
            .keys()
            .zip(percentages.into_iter().flatten())
            .map(|(consumer, part)| ((*consumer).to_owned(), part))
            .collect();
        let total = amounts.iter().sum();
        let mut tenants: Vec<ClusterTenant> = self
            .tenants
            .into_iter()
            .map(|(tenant, (breakdown, mut usage))| {
                for (resource, _) in &weights {
                    usage.entry(resource.clone()).or_default();
                }
                let percentage = percentages.get(&tenant).copied();
                ClusterTenant { cost: breakdown.total(), percentage, breakdown, usage, tenant }
            })
            .collect();
        // Sorting is stable: equal costs stay in the order of ids.
        tenants.sort_by_key(|tenant| std::cmp::Reverse(tenant.cost));
        let (idle, unattributed, correction) = (self.idle, self.unattributed, self.correction);
        let cluster = cluster.to_owned();
        ClusterAttribution { cluster, date, currency, total, weights, tenants, idle, unattributed, correction, posting }
    }
}

/// For each tenant, its part of what all tenants used of each resource.
fn usage_percentages(tenants: &[ClusterTenant]) -> Vec<BTreeMap<String, Option<i64>>> {
    let mut by_id: Vec<usize> = (0..tenants.len()).collect();
    by_id.sort_by_key(|at| &tenants[*at].tenant);
    let resources: std::collections::BTreeSet<&String> =
        tenants.iter().flat_map(|tenant| tenant.usage.keys()).collect();
    let mut found = vec![BTreeMap::new(); tenants.len()];
    for resource in resources {
        let used: Vec<i128> =
            by_id.iter().map(|at| tenants[*at].usage.get(resource).copied().unwrap_or_default()).collect();
        let parts = parts_of(HUNDRED_PERCENT, &used);
        for (order, at) in by_id.iter().enumerate() {
            found[*at].insert(resource.clone(), parts.as_ref().map(|parts| parts[order]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str, cpu: i128) -> ClusterTenant {
        ClusterTenant {
            tenant: name.to_owned(),
            cost: 0,
            percentage: None,
            breakdown: CostBreakdown::default(),
            usage: BTreeMap::from([("cpu".to_owned(), cpu), ("network".to_owned(), 0)]),
        }
    }

    #[test]
    fn usage_percentages_add_up_and_are_none_where_nothing_was_used() {
        let found = usage_percentages(&[tenant("b", 1), tenant("a", 1), tenant("c", 1)]);
        let cpu: Vec<Option<i64>> = found.iter().map(|tenant| tenant["cpu"]).collect();
        assert_eq!(cpu, [Some(33_333_333), Some(33_333_334), Some(33_333_333)]);
        assert!(found.iter().all(|tenant| tenant["network"].is_none()));
    }

    #[test]
    fn the_percentages_of_tenants_idle_and_unattributed_add_up_to_a_hundred() {
        let mut sums = Sums { idle: 10, unattributed: 10, ..Sums::default() };
        sums.tenants.entry("acme".to_owned()).or_default().0.add("compute", 10);
        let answer = sums.attribution("west", Day::from_epoch_days(0), vec![], Currency::USD, None);
        assert_eq!((answer.total, answer.tenants[0].percentage), (30, Some(33_333_333)));
    }

    #[test]
    fn a_day_of_refunds_has_percentages_too() {
        let mut sums = Sums { idle: -10, ..Sums::default() };
        sums.tenants.entry("acme".to_owned()).or_default().0.add("compute", -30);
        let answer = sums.attribution("west", Day::from_epoch_days(0), vec![], Currency::USD, None);
        assert_eq!((answer.total, answer.tenants[0].percentage), (-40, Some(75_000_000)));
    }
}
