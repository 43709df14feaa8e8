//! Snapshots that are degraded or missing, and the pools that rest on them: gaps of drivers as well.

use super::gaps::{DRIVER_GAP, NAMED_MAX, is_driven, is_watched};
use super::view::RunWarning;
use crate::EngineError;
use crate::inputs::rows::{Rows, literal};
use attribution::day::PoolOutcome;
use datafusion::prelude::SessionContext;
use domain::condition::{Pattern, UsageAttribute};
use domain::dimension::Dimension;
use domain::policy::{Method, Policy, Split};
use domain::snapshot::{ORIGIN_SNAPSHOT, Quality};
use domain::tenant::TenantBook;
use domain::{Day, DayRange};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was not measured as it should be, by day.
#[derive(Debug, Default)]
pub(super) struct DegradedDays(BTreeMap<Day, Vec<Degraded>>);

#[derive(Debug)]
struct Degraded {
    tenant: Arc<str>,
    source: Arc<str>,
    metric: Arc<str>,
    quality: Arc<str>,
}

impl DegradedDays {
    /// Returns what the snapshots of the days say, if some pool of the policies looks at quantities.
    ///
    /// # Errors
    /// When the query fails.
    pub(super) async fn of_range(
        session: &SessionContext,
        range: DayRange,
        policies: &[&Policy],
    ) -> Result<Self, EngineError> {
        let mut days = Self::default();
        if !policies.iter().flat_map(|policy| &policy.pools).any(|pool| is_driven(pool.method())) {
            return Ok(days);
        }
        let sql = format!(
            "SELECT snapshot_date, tenant, source, metric, quality FROM snapshots \
             WHERE snapshot_date >= DATE '{}' AND snapshot_date <= DATE '{}' AND quality <> {} \
             ORDER BY snapshot_date, tenant, metric, source",
            range.from(),
            range.to(),
            literal(Quality::Ok.as_str()),
        );
        for batch in session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            let (tenants, sources) = (rows.texts("tenant")?, rows.texts("source")?);
            let (metrics, qualities) = (rows.texts("metric")?, rows.texts("quality")?);
            for (row, day) in rows.days("snapshot_date")?.into_iter().enumerate() {
                let text = |column: &[Option<Arc<str>>]| column[row].clone().unwrap_or_default();
                let (tenant, source) = (text(&tenants), text(&sources));
                let (metric, quality) = (text(&metrics), text(&qualities));
                days.0.entry(day).or_default().push(Degraded { tenant, source, metric, quality });
            }
        }
        Ok(days)
    }

    /// Returns what of the day's snapshots the pools rest on although it is degraded or missing, pool by pool.
    pub(super) fn gaps(
        &self,
        day: Day,
        policy: &Policy,
        pools: &[PoolOutcome],
        tenants: &TenantBook,
    ) -> Vec<RunWarning> {
        let Some(degraded) = self.0.get(&day) else { return Vec::new() };
        let mut warnings = Vec::new();
        for pool in pools.iter().filter(|pool| is_driven(pool.method) && pool.not_run.is_none()) {
            let rule = policy.pools.iter().find(|rule| rule.name == pool.name);
            let Some(split) = rule.and_then(|rule| rule.split.as_ref()) else { continue };
            let effect = match is_watched(pool.method, pool.basis, pool.memo) {
                true => "the others may pay its part",
                false => "its own cost rests on that",
            };
            let warning = |detail: String| RunWarning {
                code: DRIVER_GAP.to_owned(),
                day: Some(day),
                pool: Some(pool.name.clone()),
                detail,
            };
            let resolved = degraded.iter().map(|found| (tenants.resolve(&found.tenant, day), found));
            let mut driving = resolved.filter(|(tenant, found)| drives(split, tenant, &found.metric));
            warnings.extend(driving.by_ref().take(NAMED_MAX).map(|(tenant, found)| {
                let Degraded { source, metric, quality, .. } = found;
                warning(format!("{metric} of {tenant} is {quality} in the snapshot of `{source}`; {effect}"))
            }));
            let more = driving.count();
            if more > 0 {
                warnings.push(warning(format!("and {more} more metrics of snapshots that are degraded or missing")));
            }
        }
        warnings
    }
}

/// Whether the pool is split by this metric of the tenant's snapshot.
fn drives(split: &Split, tenant: &str, metric: &str) -> bool {
    let is_looked_at = match split.method {
        Method::Weighted => split.weights.contains_key(metric),
        Method::Proportional => split.meter.as_deref() == Some(metric),
        Method::Rated => split.meters.iter().any(|meter| Pattern::new(meter).matches(metric)),
        Method::Direct | Method::Even | Method::Fixed | Method::ByCost | Method::Window | Method::None => false,
    };
    is_looked_at
        && split.drivers.hold(|attribute| match attribute {
            UsageAttribute::Origin => Some(ORIGIN_SNAPSHOT),
            UsageAttribute::Dimension(Dimension::Tenant) => Some(tenant),
            UsageAttribute::Dimension(_) => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_drives_the_pools_whose_meters_and_conditions_it_fits() {
        let check = |pool: &str, expected: bool| {
            let text = format!("version='v'\nvalid_from=2026-01-01\n[[pool]]\nname='p'\n{pool}");
            let policy = Policy::read("p", &text).expect("a policy");
            let split = policy.pools[0].split.as_ref().expect("a split");
            assert_eq!(drives(split, "acme", "storage_bytes"), expected, "{pool}");
        };
        check("split={method='rated'}", true);
        check("split={method='rated',meters=['storage_*'],where={origin='snapshot'}}", true);
        check("split={method='rated',meters=['member_count']}", false);
        check("split={method='rated',where={origin='events'}}", false);
        check("split={method='rated',where={tenant='globex'}}", false);
        check("select={provider='A'}\nsplit={method='proportional',meter='storage_bytes'}", true);
        check("kind='cluster'\nselect={provider='A'}\nsplit={method='weighted',weights={storage_bytes='1'}}", false);
        check("select={provider='A'}\nsplit={method='even'}", false);
    }
}
