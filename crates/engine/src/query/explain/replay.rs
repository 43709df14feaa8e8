//! A day computed again from what its run read: lines, usage and snapshots at the versions that it noted, under its
//! policy and card, with tenants, meters and exchange rates as it knew them.

use super::bills::Inputs;
use super::by_resource::key_of;
use super::cells::{CellKey, ComponentKey};
use super::{Asked, policy_of};
use crate::books::Books;
use crate::due::SeenInputs;
use crate::inputs::windows::has_windows;
use crate::inputs::{lines, usage};
use crate::run::MonthUsage;
use crate::{Engine, EngineError};
use attribution::day::{DayInputs, DayOutcome, attribute_day};
use attribution::graduated::MonthSoFar;
use attribution::line::{AttributeSet, LinePart};
use attribution::pool::ComponentKey as LinesKey;
use attribution::usage::UsageCell;
use attribution::window::WindowPool;
use domain::policy::{Method, Policy};
use domain::rates::{PriceRow, RateCard};
use domain::{Day, DayRange};
use ledger::PoolDay;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What each cell of a pool pays, also one that pays nothing.
pub(super) type CellShares = BTreeMap<(ComponentKey, CellKey), CellShare>;

/// What one cell pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CellShare {
    /// In atoms of its component's currency.
    pub(super) amount: i128,
    /// Its weight in atoms, where amounts are divided by weights.
    pub(super) weight: Option<i128>,
}

/// What the inputs of a day give.
pub(super) struct Replay {
    pools: BTreeMap<String, CellShares>,
    month_so_far: MonthSoFar,
    card: Arc<RateCard>,
}

impl Replay {
    /// Returns how many values it holds, for whoever bounds what is kept.
    pub(super) fn cells(&self) -> usize {
        // The least is one, so that days without pools do not add up unseen.
        1 + self.pools.values().map(BTreeMap::len).sum::<usize>() + self.month_so_far.cells()
    }

    /// Returns a day that counts as so many cells.
    #[cfg(test)]
    pub(super) fn of_cells(count: usize) -> Self {
        let cell = |at: usize| ((ComponentKey::default(), (vec![at.to_string()], false, None)), CellShare::default());
        let pools = BTreeMap::from([("a".to_owned(), (1..count).map(cell).collect())]);
        let (version, valid_from) = (String::new(), "2026-11-01".parse().expect("a day"));
        let card = RateCard { version, currency: domain::Currency::USD, valid_from, prices: Vec::new() };
        Self { pools, month_so_far: MonthSoFar::default(), card: Arc::new(card) }
    }

    /// Returns the shares of a pool; none where they cannot be computed again.
    pub(super) fn pool(&self, pool: &str) -> Option<&CellShares> {
        self.pools.get(pool)
    }

    /// Returns what a tenant used at a graduated price on the days of the month before, in atoms; none when the run's
    /// card has no such price.
    pub(super) fn used_before(&self, pool: &str, price: &PriceRow, tenant: &str) -> Option<i128> {
        let row = self.card.prices.iter().position(|row| row == price)?;
        Some(self.month_so_far.quantity(pool, row, tenant))
    }
}

/// What a day was computed from.
struct Read<'r> {
    policy: &'r Policy,
    books: &'r Books,
    lines: &'r [LinePart],
    usage: &'r [UsageCell],
    windows: &'r BTreeMap<String, WindowPool>,
    month_so_far: &'r MonthSoFar,
}

/// Until when facts were recorded that a run saw, in microseconds.
#[derive(Clone, Copy)]
struct KnownUntil {
    tenants: i64,
    fx: i64,
    meters: i64,
}

impl Engine {
    /// Returns what the inputs that a run noted give; none when it noted nothing, or when its policy or card are not
    /// known any more.
    ///
    /// Events are kept by day, not by version: pools that look at windows are told only while the events are those that
    /// the last run saw.
    pub(super) async fn replay(
        &self,
        asked: &Asked<'_>,
        went_in: &[PoolDay],
        is_newest: bool,
    ) -> Result<Option<Arc<Replay>>, EngineError> {
        let date = asked.query.date;
        let Some((noted, run)) = Inputs::of(went_in) else { return Ok(None) };
        let Some(books) = self.books_of_run(asked, &noted, &run, is_newest).await? else { return Ok(None) };
        let state = state_of(date, &noted, &books);
        if let Some(replay) = self.kept_replays.find(&state) {
            return Ok(Some(replay));
        }
        let session = self.session(&self.lake.pin_at(&noted.versions()).await?)?;
        let Some(policy) = policy_of(&session, &books, &noted.policy_version, date).await? else { return Ok(None) };
        let day = DayRange::single(date);
        let rules = Arc::clone(&books.policy_on(date).content);
        let attributes = AttributeSet::needed_by([&policy]);
        let mut loaded = lines::load(&session, day, &self.settings.zone, &attributes).await?;
        let mut cells = usage::load(&session, day, &books, &[&*rules]).await?;
        let mut month = MonthUsage::before(&session, day, &books, &[&*rules]).await?;
        let month_so_far = month.up_to(date, &policy, &books).clone();
        let (windows, are_what_ran) = match has_windows(&policy) {
            true => self.windows_now(asked, &policy, &books).await?,
            false => (BTreeMap::new(), true),
        };
        let outcome = self.outcome_of(
            asked,
            &Read {
                policy: &policy,
                books: &books,
                lines: &loaded.days.remove(&date).unwrap_or_default(),
                usage: &cells.remove(&date).unwrap_or_default(),
                windows: &windows,
                month_so_far: &month_so_far,
            },
        );
        let card = Arc::clone(&books.card_on(date).content);
        let replay = Arc::new(Replay { pools: shares_by_pool(&outcome, are_what_ran), month_so_far, card });
        // Events have no version, so what they give is never the same for sure.
        if !has_windows(&policy) {
            self.kept_replays.keep(state, &replay);
        }
        Ok(Some(replay))
    }

    /// The books as the run knew them, in which its policy and card are the only ones.
    async fn books_of_run(
        &self,
        asked: &Asked<'_>,
        noted: &Inputs,
        run: &str,
        is_newest: bool,
    ) -> Result<Option<Books>, EngineError> {
        let date = asked.query.date;
        let (policy, card) = noted.versions_in(asked.books, date);
        let (Some(policy), Some(card)) = (policy.cloned(), card.cloned()) else { return Ok(None) };
        let known = self.known_until(asked, run, is_newest).await?;
        let mut books = asked.books.with_policy(policy).with_card(card);
        books.tenants = self.catalog.tenant_book_all_tenants(known.tenants).await?;
        if known.fx < books.fx_recorded {
            (books.fx, books.fx_recorded) = (self.books(known.fx).await?.fx, known.fx);
        }
        if known.meters < books.meters_recorded {
            (books.meters, books.meters_recorded) = (self.books(known.meters).await?.meters, known.meters);
        }
        Ok(Some(books))
    }

    /// Until when facts were recorded that the run saw; a later run that found the same saw more. What a newer run posted
    /// of the day, but not of pools that it could not run, says nothing of what an older one saw.
    async fn known_until(&self, asked: &Asked<'_>, run: &str, is_newest: bool) -> Result<KnownUntil, EngineError> {
        let Asked { head, query, .. } = asked;
        let all = |micros: i64| KnownUntil { tenants: micros, fx: micros, meters: micros };
        if head.is_now && is_newest {
            let seen = self.seen_inputs(Some(DayRange::single(query.date))).await?;
            let of_seen = |seen: &SeenInputs| KnownUntil { tenants: seen.tenants, fx: seen.fx, meters: seen.meters };
            return Ok(seen.get(&query.date).map_or(all(i64::MAX), of_seen));
        }
        let ended = self.catalog.run(run).await?.and_then(|run| run.finished_at);
        Ok(all(ended.map_or(head.recorded_up_to, |ended| ended.min(head.recorded_up_to))))
    }

    fn outcome_of(&self, asked: &Asked<'_>, read: &Read<'_>) -> DayOutcome {
        let (day, tenants) = (asked.query.date, &read.books.tenants);
        let resolve = |value: &str| {
            let tenant = tenants.resolve(value, day);
            (!self.settings.reject_unknown_tenants || tenants.knows(&tenant)).then_some(tenant)
        };
        let active: BTreeSet<Arc<str>> = tenants.entered_and_active(day).cloned().collect();
        attribute_day(&DayInputs {
            day,
            day_seconds: self.settings.zone.day_range(day).seconds(),
            policy: read.policy,
            lines: read.lines,
            usage: read.usage,
            windows: read.windows,
            month_so_far: read.month_so_far,
            active_tenants: &active,
            rate_card: Some(&*read.books.card_on(day).content),
            meters: &read.books.meters,
            reporting_currency: self.settings.reporting_currency,
            fx: &read.books.fx,
            resolve: &resolve,
        })
    }
}

/// What names everything that the day is computed from, events aside.
fn state_of(day: Day, noted: &Inputs, books: &Books) -> String {
    let tenants = books.tenants.recorded_up_to();
    let (policy, card) = (books.policy_on(day), books.card_on(day));
    format!(
        "{day} {:?} {:?} {} {:?} {} {tenants:?} {} {}",
        noted.versions(),
        noted.policy_version,
        policy.sha256,
        card.name,
        card.sha256,
        books.fx_recorded,
        books.meters_recorded
    )
}

/// The shares of every pool that was run; without those that look at events, if these are other ones by now.
fn shares_by_pool(outcome: &DayOutcome, windows_are_what_ran: bool) -> BTreeMap<String, CellShares> {
    let looks_at_events = |method: Method| matches!(method, Method::Window | Method::ByCost);
    let told = outcome
        .pools
        .iter()
        .filter(|pool| pool.not_run.is_none() && (windows_are_what_ran || !looks_at_events(pool.method)));
    let mut pools: BTreeMap<String, CellShares> = BTreeMap::new();
    for pool in told {
        let cells = pools.entry(pool.name.clone()).or_default();
        for share in &pool.shares {
            let key = (text_of(&share.component), key_of(&share.consumer, share.meter.as_deref()));
            let cell: &mut CellShare = cells.entry(key).or_default();
            *cell = CellShare { amount: cell.amount + share.amount, weight: share.weight.or(cell.weight) };
        }
    }
    pools
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
