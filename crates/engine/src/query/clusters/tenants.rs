//! What a tenant paid for clusters, day by day: without overhead and estimates.

use super::super::columns::rows;
use super::super::select::{self, all_of, charged_in};
use super::CostBreakdown;
use crate::books::Books;
use crate::inputs::repeated::first_days;
use crate::{Engine, EngineError};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use domain::policy::PoolKind;
use domain::{Currency, Day, DayRange, InstantRange, TenantScope};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// What a tenant paid for clusters in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantBreakdown {
    /// Who.
    pub tenant: String,
    /// The period, from the organisation's midnight to its midnight.
    pub period: InstantRange,
    /// Currency of every amount.
    pub currency: Currency,
    /// What it paid by kind of resource, in atoms.
    pub breakdown: CostBreakdown,
    /// What it paid on each day of the period, in atoms.
    pub daily: Vec<(Day, i128)>,
}

/// What a tenant paid on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrendPoint {
    /// The day.
    pub date: Day,
    /// What it paid, in atoms.
    pub cost: i128,
    /// The cost less that of the day before; none on the first day.
    pub change: Option<i128>,
}

/// Names of the pools of kind cluster, by version of the policy.
struct Clusters {
    books: Books,
    by_version: BTreeMap<String, BTreeSet<String>>,
}

impl Clusters {
    fn has(&self, day: Day, pool: &str) -> bool {
        self.by_version.get(&*self.books.policy_on(day).name).is_some_and(|pools| pools.contains(pool))
    }
}

impl Engine {
    /// Returns what the tenant paid for clusters from `start` up to, but not including, `end`.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an empty or too long period, [`EngineError::TenantNotFound`] also
    /// for a tenant outside the scope, [`EngineError::ClusterNotFound`], or when a store fails.
    pub async fn tenant_breakdown(
        &self,
        scope: &TenantScope,
        tenant: &str,
        start: Day,
        end: Day,
        cluster: Option<&str>,
    ) -> Result<TenantBreakdown, EngineError> {
        self.check_tenant_exists(scope, tenant).await?;
        self.check_not_future("startDate", start)?;
        let range = DayRange::new(start, end.plus(-1)).ok_or_else(|| {
            EngineError::parameter("endDate", "`endDate` is exclusive and must lie after `startDate`")
        })?;
        if self.settings.range_days_max < range.len() {
            let detail = format!("{} days are more than {}", range.len(), self.settings.range_days_max);
            return Err(EngineError::parameter("endDate", detail));
        }
        let (breakdown, days) = self.tenant_cluster_days(tenant, range, cluster).await?;
        let zone = &self.settings.zone;
        Ok(TenantBreakdown {
            tenant: tenant.to_owned(),
            period: InstantRange { start: zone.start_of(start), end: zone.start_of(end) },
            currency: self.settings.reporting_currency,
            breakdown,
            daily: range.days().map(|day| (day, days.get(&day).copied().unwrap_or_default())).collect(),
        })
    }

    /// Returns what the tenant paid for clusters on each of the last `periods` complete days.
    ///
    /// # Errors
    /// As [`Engine::tenant_breakdown`].
    pub async fn tenant_trend(
        &self,
        scope: &TenantScope,
        tenant: &str,
        periods: i32,
        cluster: Option<&str>,
    ) -> Result<Vec<TrendPoint>, EngineError> {
        self.check_tenant_exists(scope, tenant).await?;
        if !(1..=self.settings.range_days_max).contains(&periods) {
            let detail = format!("`periods` is a number of days from 1 to {}", self.settings.range_days_max);
            return Err(EngineError::parameter("periods", detail));
        }
        let last = self.today().plus(-1);
        let range = DayRange::new(last.plus(1 - periods), last).expect("at least one day");
        let (_, days) = self.tenant_cluster_days(tenant, range, cluster).await?;
        let mut before = None;
        let points = range.days().map(|date| {
            let cost = days.get(&date).copied().unwrap_or_default();
            let change = before.replace(cost).map(|before: i128| cost - before);
            TrendPoint { date, cost, change }
        });
        Ok(points.collect())
    }

    /// Refuses a tenant outside the scope or unknown to the catalog, both alike.
    pub(crate) async fn check_tenant_exists(&self, scope: &TenantScope, tenant: &str) -> Result<(), EngineError> {
        let found = self.catalog.tenant(scope, tenant).await?;
        found.map(drop).ok_or_else(|| EngineError::TenantNotFound(super::super::params::shorten(tenant)))
    }

    async fn tenant_cluster_days(
        &self,
        tenant: &str,
        range: DayRange,
        cluster: Option<&str>,
    ) -> Result<(CostBreakdown, BTreeMap<Day, i128>), EngineError> {
        let head = self.head(None).await?;
        let session = self.session_now().await?;
        let clusters = self.clusters(&session, range).await?;
        if let Some(name) = cluster
            && !range.days().any(|day| clusters.has(day, name))
        {
            return Err(EngineError::ClusterNotFound(super::super::params::shorten(name)));
        }
        let conditions = [
            select::of_cost(),
            select::up_to_posting(head.number()),
            charged_in(range),
            ident("tenant").eq(lit(tenant)),
            ident("tier").not_eq(lit("overhead")),
            Expr::IsNotTrue(Box::new(ident("memo"))),
        ];
        let of_cluster = cluster.map(|name| ident("pool").eq(lit(name)));
        let batches = session
            .table(Table::Ledger.name())
            .await?
            .filter(all_of(conditions.into_iter().chain(of_cluster)))?
            .aggregate(
                vec![ident("charge_date"), ident("pool"), ident("category")],
                vec![sum(ident("amount_reporting")).alias("cost")],
            )?
            .collect()
            .await?;
        let (mut breakdown, mut days) = (CostBreakdown::default(), BTreeMap::new());
        for row in rows(&batches) {
            let Some(day) = row.day(0).filter(|day| clusters.has(*day, row.text_or_empty(1))) else { continue };
            breakdown.add(row.text_or_empty(2), row.atoms(3));
            *days.entry(day).or_default() += row.atoms(3);
        }
        Ok((breakdown, days))
    }

    /// The clusters of every policy that can apply in the range.
    async fn clusters(&self, session: &SessionContext, range: DayRange) -> Result<Clusters, EngineError> {
        let books = self.books_now().await?;
        let policies: Vec<&domain::policy::Policy> = books.policies().iter().map(|version| &*version.content).collect();
        let values = first_days(session, &policies, range.to()).await?.up_to(range.to(), &books.tenants);
        let names = |policy: &domain::policy::Policy| {
            let pools = attribution::expand::expand(policy, &values).pools;
            pools.into_iter().filter(|pool| pool.kind == PoolKind::Cluster).map(|pool| pool.name).collect()
        };
        let by_version =
            books.policies().iter().map(|version| (version.name.to_string(), names(&version.content))).collect();
        Ok(Clusters { books, by_version })
    }
}
