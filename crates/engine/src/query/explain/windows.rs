//! The windows of a pool, looked at again: what was caused on the day, until when it could be used, and who did.

use super::{Asked, DISCLOSED_FROM_TENANTS};
use crate::books::Books;
use crate::inputs::windows::{Around, WindowEvents, reach};
use crate::{Engine, EngineError};
use attribution::cells::Consumer;
use attribution::window::{Amortized, WindowPool, part_of};
use domain::policy::{Each, Policy, Pool};
use domain::tenant::UNCONSUMED;
use domain::{Currency, DayRange, Instant, TenantScope};
use std::collections::{BTreeMap, BTreeSet};

/// Cost events shown of a pool and day.
pub const COSTS_SHOWN_MAX: usize = 50;
/// Atoms of the weight one.
const ONE: i128 = 1_000_000_000;

/// The rule of a window pool, and the costs that the tenant used, as the events that are stored now tell it, whatever
/// state of the ledger is asked for: of events no versions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedWindow {
    /// Type of the events that carry the cost.
    pub cost_event_type: String,
    /// Type of the events that use it.
    pub event_type: String,
    /// Where a use names the cost; none when every use counts.
    pub key: Option<String>,
    /// Length, or the event that ends a window.
    pub window: String,
    /// What a use weighs: `consumer`, `read` or a meter.
    pub each: String,
    /// How long after its end a window waits for late uses, in seconds.
    pub grace_seconds: i64,
    /// Whether the raw events are still stored; without them nothing more can be told.
    pub events_stored: bool,
    /// How many costs of the day the tenant used.
    pub costs_used: usize,
    /// The first of them by time.
    pub shown: Vec<ExplainedCost>,
}

/// One cost event and what the tenant has to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCost {
    /// When it was caused.
    pub time: Instant,
    /// Tenant, source and id of the event; only for who sees all tenants.
    pub event: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// The first instant after its window.
    pub ends_at: Instant,
    /// `pending` or `final`.
    pub status: &'static str,
    /// Currency of cost and part.
    pub currency: Currency,
    /// What it cost, in atoms; none when not disclosed.
    pub cost: Option<i128>,
    /// How many consumers used it; none when not disclosed.
    pub readers: Option<usize>,
    /// How many tenants these are of; none when not disclosed.
    pub tenants: Option<usize>,
    /// Weight of all uses, in atoms of 10⁻⁹; none when not disclosed.
    pub total_weight: Option<i128>,
    /// Weight of the tenant's uses.
    pub weight: i128,
    /// The tenant's part, in atoms.
    pub part: i128,
}

impl ExplainedWindow {
    /// Leaves out whatever says something about the others: whose event a cost is, and how much it is and who used it
    /// unless pools are disclosed and enough tenants used this one. Each cost is shared on its own.
    pub(super) fn redact(&mut self, disclosed: bool) {
        for cost in &mut self.shown {
            cost.event = None;
            if !disclosed || cost.tenants.is_none_or(|tenants| tenants < DISCLOSED_FROM_TENANTS) {
                (cost.cost, cost.readers, cost.tenants, cost.total_weight) = (None, None, None, None);
            }
        }
    }
}

impl Engine {
    /// Returns the windows of a pool on the day; none for a pool that has none.
    pub(super) async fn explain_window(
        &self,
        asked: &Asked<'_>,
        policy: &Policy,
        pool: &Pool,
    ) -> Result<Option<ExplainedWindow>, EngineError> {
        let (Some(source), Some(split)) = (&pool.source, &pool.split) else { return Ok(None) };
        let (windows, _) = self.windows_now(asked, policy, asked.books).await?;
        let window = windows.get(&pool.name);
        let is_weighted = matches!(split.each, Some(Each::Read | Each::Meter(_)));
        let used = window.map(|window| costs_of(window, asked, is_weighted)).unwrap_or_default();
        Ok(Some(ExplainedWindow {
            cost_event_type: source.event_type.clone(),
            event_type: split.event_type.clone().unwrap_or_default(),
            key: split.key.as_ref().map(ToString::to_string),
            window: split.window.as_ref().map(ToString::to_string).unwrap_or_default(),
            each: split.each.clone().unwrap_or_default().to_string(),
            grace_seconds: self.settings.window_grace_micros / domain::time::MICROS_PER_SECOND,
            events_stored: window.is_some_and(|window| window.not_run.is_none()),
            costs_used: used.len(),
            shown: used.into_iter().take(COSTS_SHOWN_MAX).collect(),
        }))
    }

    /// Returns the windows of the day's pools as the stored events tell them, and whether these are the events that the
    /// last run of the day saw.
    pub(super) async fn windows_now(
        &self,
        asked: &Asked<'_>,
        policy: &Policy,
        books: &Books,
    ) -> Result<(BTreeMap<String, WindowPool>, bool), EngineError> {
        let date = asked.query.date;
        let seen = self.seen_inputs(Some(DayRange::single(date))).await?;
        let touched = self.touched_days(&self.lake.pin().await?).await?;
        let run = seen.get(&date).filter(|_| asked.head.is_now);
        let mut books = books.clone();
        if let Some(run) = run {
            books.tenants = self.catalog.tenant_book_all_tenants(run.tenants).await?;
        }
        let events = WindowEvents::load(self, asked.session, DayRange::single(date), &books, &[policy]).await?;
        let now = self.clock.now();
        let around = Around { books: &books, settings: &self.settings, now, expired: touched.expired() };
        let windows = events.of_day(date, policy, &around);
        let days = reach(policy, date, &self.settings);
        let are_what_ran = run.zip(days).is_some_and(|(run, days)| !touched.events_since(days, run));
        Ok((windows, are_what_ran))
    }
}

/// The costs that the tenant, or nobody if that is asked, used.
fn costs_of(window: &WindowPool, asked: &Asked<'_>, is_weighted: bool) -> Vec<ExplainedCost> {
    let tenant = asked.query.tenant.as_str();
    let is_of_nobody = tenant == UNCONSUMED && *asked.scope == TenantScope::All;
    let unit = if is_weighted { 1 } else { ONE };
    let is_own = |consumer: &Consumer| tenant_of(consumer) == Some(tenant);
    let explained = |cost: &Amortized| {
        let own: Vec<&Consumer> = cost.weights.keys().filter(|consumer| is_own(consumer)).collect();
        let weight: i128 = own.iter().map(|consumer| cost.weights[*consumer].max(0)).sum();
        let part = match is_of_nobody {
            true => part_of(cost, &Consumer::Reserved(UNCONSUMED)),
            false => own.iter().map(|consumer| part_of(cost, consumer)).sum(),
        };
        let is_shown = if is_of_nobody { !cost.is_consumed() } else { !own.is_empty() };
        is_shown.then(|| ExplainedCost {
            time: cost.cost.time,
            event: cost.cost.name.as_deref().map(str::to_owned),
            key: cost.cost.key.as_deref().map(str::to_owned),
            ends_at: cost.end,
            status: if cost.pending { "pending" } else { "final" },
            currency: window.currency,
            cost: Some(cost.cost.amount),
            readers: Some(cost.weights.len()),
            tenants: Some(cost.weights.keys().filter_map(tenant_of).collect::<BTreeSet<_>>().len()),
            total_weight: Some(cost.weights.values().map(|weight| (*weight).max(0)).sum::<i128>() * unit),
            weight: weight * unit,
            part,
        })
    };
    window.costs.iter().filter_map(explained).collect()
}

fn tenant_of(consumer: &Consumer) -> Option<&str> {
    match consumer {
        Consumer::Values(values) => values.first()?.as_deref(),
        Consumer::Reserved(_) => None,
    }
}
