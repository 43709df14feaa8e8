//! How much of providers' limits is used.

use super::provider_usage::ResourceDays;
use crate::{Engine, EngineError};
use domain::provider_limit::{Reading, Resets, pro_rata_rounded_down};
use domain::{Day, DayRange, Instant, ProviderLimit};
use std::collections::BTreeMap;

/// How far back a count may have begun, in days: as far as billing periods are looked for.
const CYCLE_DAYS_MAX: i32 = 93;

/// A limit, and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitStatus {
    /// The limit as it is configured.
    pub limit: ProviderLimit,
    /// The provider, in lower case.
    pub provider: String,
    /// The resource as bills or collectors name it, or as the limit does while nothing is known of it.
    pub resource: String,
    /// The days of the count.
    pub cycle: DayRange,
    /// Whether the cycle is the one that was asked for: a billing cycle that no bill names is taken for the month.
    pub is_cycle_known: bool,
    /// When the count starts anew.
    pub resets_at: Instant,
    /// What was used since the last reset, in atoms of 10⁻⁹ of the limit's unit; none if nothing is known of it.
    pub used: Option<i128>,
    /// The part of the whole cap that it is, in atoms of 10⁻⁹.
    pub used_ratio: Option<i128>,
    /// The last day of which something is known.
    pub through: Option<Day>,
    /// Units that were measured and do not convert to the limit's; what was measured in them is not counted.
    pub other_units: Vec<String>,
    /// The part of the cap that falls on the time since the reset: to look at, never for alerts.
    pub cap_to_date: Option<i128>,
    /// What the whole cycle comes to if it goes on like that: to look at, never for alerts. Only what is summed has one.
    pub forecast: Option<i128>,
}

impl Engine {
    /// Returns how much of each limit is used, in the order of the configuration.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn limits_all_tenants(&self, limits: &[ProviderLimit]) -> Result<Vec<LimitStatus>, EngineError> {
        if limits.is_empty() {
            return Ok(Vec::new());
        }
        let today = self.today();
        let range = DayRange::new(today.plus(-CYCLE_DAYS_MAX), today).expect("the past comes before today");
        let resources = self.provider_usage_all_tenants(range).await?;
        let billing = match limits.iter().any(|limit| limit.resets == Resets::BillingCycle) {
            true => self.billing_cycles_all_tenants().await?,
            false => BTreeMap::new(),
        };
        let status = |limit: &ProviderLimit| {
            let own: Vec<&ResourceDays> =
                resources.iter().filter(|found| limit.is_of(&found.provider, &found.resource)).collect();
            let billed = billing.get(&limit.provider.trim().to_lowercase()).copied();
            self.status_of(limit, &own, billed, today)
        };
        Ok(limits.iter().map(status).collect())
    }

    fn status_of(
        &self,
        limit: &ProviderLimit,
        own: &[&ResourceDays],
        billed: Option<DayRange>,
        today: Day,
    ) -> LimitStatus {
        let zone = &self.settings.zone;
        let cycle = limit.resets.cycle_on(today, billed);
        let (begun, resets_at) = (zone.start_of(cycle.from()), zone.start_of(cycle.to().plus(1)));
        let (days, other_units) = days_of(limit, own, cycle);
        let used = reading_of(limit.reading, &days);
        let seconds = |from: Instant, to: Instant| (to.micros() - from.micros()) / domain::time::MICROS_PER_SECOND;
        let (elapsed, whole) = (seconds(begun, self.clock.now()).max(1), seconds(begun, resets_at));
        LimitStatus {
            provider: limit.provider.trim().to_lowercase(),
            resource: own.first().map_or_else(|| limit.resource.clone(), |found| found.resource.clone()),
            cycle,
            is_cycle_known: limit.resets != Resets::BillingCycle || billed == Some(cycle),
            resets_at,
            used,
            used_ratio: used.map(|used| limit.used_ratio_rounded_up(used)),
            through: days.keys().next_back().copied(),
            other_units,
            cap_to_date: pro_rata_rounded_down(limit.cap.atoms(), elapsed, whole),
            forecast: used
                .filter(|_| limit.reading == Reading::Sum)
                .and_then(|used| pro_rata_rounded_down(used, whole, elapsed)),
            limit: limit.clone(),
        }
    }
}

/// The quantities of the cycle's days in the limit's unit, and the units that do not convert to it.
fn days_of(limit: &ProviderLimit, own: &[&ResourceDays], cycle: DayRange) -> (BTreeMap<Day, i128>, Vec<String>) {
    let (mut days, mut other_units): (BTreeMap<Day, i128>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for resource in own {
        for (day, atoms) in resource.days.iter().filter(|(day, _)| cycle.contains(**day)) {
            match limit.converted_rounded_up(*atoms, &resource.unit) {
                Some(converted) => *days.entry(*day).or_default() += converted,
                None if other_units.contains(&resource.unit) => {}
                None => other_units.push(resource.unit.clone()),
            }
        }
    }
    (days, other_units)
}

/// The one quantity of all days; none without a day: what nobody measured is not zero.
pub(crate) fn reading_of(reading: Reading, days: &BTreeMap<Day, i128>) -> Option<i128> {
    match reading {
        Reading::Sum => (!days.is_empty()).then(|| days.values().sum()),
        Reading::Last => days.values().next_back().copied(),
        Reading::Max => days.values().max().copied(),
    }
}
