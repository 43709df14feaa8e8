//! Shares of pools of the methods `direct` and `window`, recomputed from the lines that the run read and from events.

use super::bills::Inputs;
use super::by_resource::key_of;
use super::cells::{CellKey, ComponentKey};
use super::{Asked, policy_of};
use crate::inputs::lines;
use crate::{Engine, EngineError};
use attribution::day::{DayInputs, attribute_day};
use attribution::graduated::MonthSoFar;
use attribution::line::{AttributeSet, LinePart};
use attribution::pool::ComponentKey as LinesKey;
use attribution::window::WindowPool;
use domain::policy::{Policy, Pool, Split, Tier};
use domain::{Day, DayRange, tenant::TenantBook};
use ledger::PoolDay;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::lake::Table;

/// What each consumer's own lines or windows cost, by component.
pub(super) type DirectShares = BTreeMap<(ComponentKey, CellKey), i128>;

impl Engine {
    /// Returns what the lines of the day, or the windows of the pool, give each consumer, in atoms of the component's
    /// currency.
    ///
    /// Lines and policy are those that the run noted, and tenants are known as it knew them. None when the run noted
    /// nothing, or when its policy is not known any more.
    pub(super) async fn direct_shares(
        &self,
        asked: &Asked<'_>,
        pool: &str,
        went_in: &[PoolDay],
        windows: &BTreeMap<String, WindowPool>,
    ) -> Result<Option<DirectShares>, EngineError> {
        let date = asked.query.date;
        let Some((noted, run)) = Inputs::of(went_in) else { return Ok(None) };
        let pinned = self.lake.pin_at(&BTreeMap::from([(Table::CostLines, noted.cost_lines)])).await?;
        let session = self.session(&pinned)?;
        let policy = policy_of(&session, asked.books, &noted.policy_version, date).await?;
        let Some(policy) = policy else { return Ok(None) };
        let attributes = AttributeSet::needed_by([&policy]);
        let mut loaded = lines::load(&session, DayRange::single(date), &self.settings.zone, &attributes).await?;
        let lines = loaded.days.remove(&date).unwrap_or_default();
        let known_until = self.tenants_known_until(asked, &run).await?;
        let tenants = self.catalog.tenant_book_all_tenants(known_until).await?;
        Ok(self.shares_of_lines(asked, &only_direct(&policy, pool), pool, (lines.as_slice(), windows), &tenants))
    }

    /// Until when facts about tenants were recorded that the run saw; a later run that found the same saw more.
    async fn tenants_known_until(&self, asked: &Asked<'_>, run: &str) -> Result<i64, EngineError> {
        let Asked { head, query, .. } = asked;
        if head.is_now {
            let seen = self.seen_inputs(Some(DayRange::single(query.date))).await?;
            return Ok(seen.get(&query.date).map_or(i64::MAX, |seen| seen.tenants));
        }
        let ended = self.catalog.run(run).await?.and_then(|run| run.finished_at);
        Ok(ended.map_or(head.recorded_up_to, |ended| ended.min(head.recorded_up_to)))
    }

    /// None where the pool cannot be run with what is known now.
    fn shares_of_lines(
        &self,
        asked: &Asked<'_>,
        policy: &Policy,
        pool: &str,
        (lines, windows): (&[LinePart], &BTreeMap<String, WindowPool>),
        tenants: &TenantBook,
    ) -> Option<DirectShares> {
        let day: Day = asked.query.date;
        let resolve = |value: &str| {
            let tenant = tenants.resolve(value, day);
            (!self.settings.reject_unknown_tenants || tenants.knows(&tenant)).then_some(tenant)
        };
        let outcome = attribute_day(&DayInputs {
            day,
            day_seconds: self.settings.zone.day_range(day).seconds(),
            policy,
            lines,
            usage: &[],
            windows,
            month_so_far: &MonthSoFar::default(),
            active_tenants: &BTreeSet::new(),
            rate_card: None,
            meters: &asked.books.meters,
            reporting_currency: self.settings.reporting_currency,
            fx: &asked.books.fx,
            resolve: &resolve,
        });
        let outcome = outcome.pools.iter().find(|outcome| outcome.name == pool && outcome.not_run.is_none())?;
        let mut found = DirectShares::new();
        for share in &outcome.shares {
            let key = (text_of(&share.component), key_of(&share.consumer, share.meter.as_deref()));
            *found.entry(key).or_default() += share.amount;
        }
        Some(found)
    }
}

/// The policy with the other pools reduced to the lines that they take: how they share them out does not matter here.
fn only_direct(policy: &Policy, wanted: &str) -> Policy {
    let reduced = |pool: &Pool| match pool.name == wanted {
        true => pool.clone(),
        false => Pool {
            tier: Tier::Overhead,
            select: pool.select.clone().or_else(|| pool.recovers.clone()),
            recovers: None,
            source: None,
            split: Some(Split::none()),
            capacity: BTreeMap::new(),
            ..pool.clone()
        },
    };
    let is_kept = |pool: &&Pool| pool.name == wanted || !pool.is_memo();
    let pools = policy.pools.iter().filter(is_kept).map(reduced).collect();
    Policy { pools, ..policy.clone() }
}

/// The component as entries name it.
fn text_of(key: &LinesKey) -> ComponentKey {
    let text = |value: &Option<Arc<str>>| value.as_deref().map(str::to_owned);
    [
        Some(key.currency.code().to_owned()),
        text(&key.charge_category),
        text(&key.service),
        text(&key.provider),
        text(&key.source),
        text(&key.commitment_status),
        text(&key.invoice_id),
    ]
}
