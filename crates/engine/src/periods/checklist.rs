//! What stands against closing a month.

use super::Obstacle;
use super::sources::SourceState;
use crate::due::{DueDays, ranges_of};
use crate::inputs::rows::{Rows, literal};
use crate::{Engine, EngineError};
use datafusion::prelude::SessionContext;
use domain::money::format_atoms;
use domain::tenant::UNATTRIBUTED;
use domain::{Day, DayRange, Month, Weight};
use ledger::Periods;
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::{PinnedLake, Table};

/// Things of one kind that are named; further ones are counted.
const NAMED_MAX: usize = 100;
/// Code of warnings of runs about imported quantities below zero.
const NEGATIVE_DRIVER: &str = "negative_driver";

/// What a person looks at before a month is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checklist {
    /// What stands against it, and can be overruled.
    pub obstacles: Vec<Obstacle>,
    /// What should be known, and stands in nobody's way.
    pub notes: Vec<Obstacle>,
}

impl Engine {
    /// Returns what stands against closing an ended month whose turn it is.
    ///
    /// # Source
    /// Spec 3-attribution, section 4, "Periods".
    ///
    /// # Errors
    /// When a store fails.
    pub(crate) async fn checklist(&self, pinned: &PinnedLake, month: Month) -> Result<Checklist, EngineError> {
        let days = days_of(month);
        let session = self.session(pinned)?;
        let DueDays { due, stale } = self.due_days().await?;
        let mut obstacles = days_not_run(days, due);
        obstacles.extend(self.pools_not_run(days).await?);
        obstacles.extend(pending(&session, month).await?);
        obstacles.extend(self.sources_not_closed(pinned, month).await?);
        let gaps = self.driver_gaps_all_tenants(days).await?;
        let gaps = gaps.into_iter().map(|gap| (format!("{} {}", gap.pool, gap.day), gap.detail));
        obstacles.extend(named("driver_gap", "gaps of drivers", gaps));
        obstacles.extend(too_much_unattributed(&session, month, self.settings.unattributed_ratio_max).await?);
        let negative = self.warnings_of_last_runs(days, NEGATIVE_DRIVER).await?;
        let negative = negative.into_iter().map(|found| {
            let about = format!(
                "{} {}",
                found.pool.unwrap_or_default(),
                found.day.map_or_else(String::new, |day| day.to_string())
            );
            (about, found.detail)
        });
        let mut notes = days_stale(days, stale);
        notes.extend(named(NEGATIVE_DRIVER, "quantities below zero", negative));
        Ok(Checklist { obstacles, notes })
    }

    /// Returns the first month that can be closed: the one after the latest closed one, else the first with entries.
    pub(crate) fn next_to_close(&self, pinned: &PinnedLake, periods: Periods) -> Option<Month> {
        let months = pinned.table(Table::Ledger).files().filter_map(|file| file.partition("charge_month"));
        let first = || months.filter_map(|text| text.parse::<Month>().ok()).min();
        periods.latest_closed().map(Month::next).or_else(first)
    }

    async fn pools_not_run(&self, days: DayRange) -> Result<Vec<Obstacle>, EngineError> {
        let states = self.catalog.run_pool_states(&days.from().to_string(), &days.to().to_string()).await?;
        let mut not_run: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for row in states.into_iter().filter(|row| row.state == "not_run") {
            not_run.entry((row.pool, row.reason.unwrap_or_default())).or_default().insert(row.day);
        }
        let pools = not_run.into_iter().map(|((pool, reason), days)| {
            let first = days.first().cloned().unwrap_or_default();
            let detail = format!("pool {pool} was not run on {} days from {first} on: {reason}", days.len());
            (pool, detail)
        });
        Ok(named("pool_not_run", "pools that were not run", pools))
    }

    async fn sources_not_closed(&self, pinned: &PinnedLake, month: Month) -> Result<Vec<Obstacle>, EngineError> {
        let bills = pinned.table(Table::CostLines);
        let (mut open, mut missing) = (Vec::new(), Vec::new());
        for period in self.source_periods_in(bills, |wanted| wanted == month).await? {
            let name = period.name();
            match period.state {
                SourceState::Closed => {}
                SourceState::Open => {
                    let why = "the provider may still change its bill: import the final one, enter its invoice, or say \
                               that it is closed (PUT /source-periods)";
                    open.push((name.clone(), format!("{name} is open; {why}")));
                }
                SourceState::Missing => {
                    let why = "the month before has a bill: import it, or say that there is none by saying that it is \
                               closed (PUT /source-periods)";
                    missing.push((name.clone(), format!("{name} has no bill; {why}")));
                }
            }
        }
        let mut obstacles = named("source_period_open", "open billing periods", open);
        obstacles.extend(named("source_period_missing", "missing bills", missing));
        Ok(obstacles)
    }
}

/// Days up to the month's end with inputs that no run has seen.
fn days_not_run(days: DayRange, due: Vec<Day>) -> Vec<Obstacle> {
    let due = due.into_iter().filter(|day| *day <= days.to());
    let ranges = ranges_of(due, i32::MAX).into_iter().map(|due| {
        let text = range_text(due);
        let detail = format!("{text} changed since its last run: run `apportion attribute --due`");
        (text, detail)
    });
    named("days_due", "stretches of days to be attributed", ranges)
}

/// Days of the month that no run takes by itself, although something was entered since their last one.
fn days_stale(days: DayRange, stale: Vec<Day>) -> Vec<Obstacle> {
    let stale = stale.into_iter().filter(|day| days.contains(*day));
    let ranges = ranges_of(stale, i32::MAX).into_iter().map(|stale| {
        let (text, from, to) = (range_text(stale), stale.from(), stale.to());
        let detail = format!(
            "tenants, meters, exchange rates, policy or prices of {text} were entered since its last run: `apportion \
             attribute --range {from}..{to}` takes them in"
        );
        (text, detail)
    });
    named("days_stale", "stretches of days with other rules or facts", ranges)
}

/// Returns the days of a month.
pub(crate) fn days_of(month: Month) -> DayRange {
    DayRange::new(month.first_day(), month.last_day()).expect("a month has days")
}

fn range_text(days: DayRange) -> String {
    match days.len() {
        1 => days.from().to_string(),
        _ => format!("{} to {}", days.from(), days.to()),
    }
}

/// Obstacles of one kind: the first ones by name, the others as a number.
fn named(code: &str, what: &str, found: impl IntoIterator<Item = (String, String)>) -> Vec<Obstacle> {
    let mut found = found.into_iter();
    let first = found.by_ref().take(NAMED_MAX).map(|(about, detail)| Obstacle::new(code, about, detail));
    let mut obstacles: Vec<Obstacle> = first.collect();
    let more = found.count();
    if more > 0 {
        obstacles.push(Obstacle::new(code, "", format!("and {more} more {what}")));
    }
    obstacles
}

/// Pools with cost that a window can still move.
async fn pending(session: &SessionContext, month: Month) -> Result<Vec<Obstacle>, EngineError> {
    let sql = format!(
        "SELECT charge_date, pool, consumer, currency, sum(amount) AS amount FROM ledger \
         WHERE kind = 'cost' AND status = 'pending' AND charge_month = {} \
         GROUP BY charge_date, pool, consumer, currency HAVING sum(amount) <> 0",
        literal(&month.to_string())
    );
    let mut pools: BTreeMap<String, BTreeSet<Day>> = BTreeMap::new();
    for batch in session.sql(&sql).await?.collect().await? {
        let rows = Rows(&batch);
        for (day, pool) in rows.days("charge_date")?.into_iter().zip(rows.texts("pool")?) {
            pools.entry(pool.unwrap_or_default().to_string()).or_default().insert(day);
        }
    }
    let pools = pools.into_iter().map(|(pool, days)| {
        let last = days.last().map_or_else(String::new, ToString::to_string);
        let detail =
            format!("pool {pool} has pending cost on {} days up to {last}: its windows are not over", days.len());
        (pool, detail)
    });
    Ok(named("pending", "pools with pending cost", pools))
}

/// Whether too much of what the month bills went to nobody.
async fn too_much_unattributed(
    session: &SessionContext,
    month: Month,
    ratio_max: Weight,
) -> Result<Option<Obstacle>, EngineError> {
    let sql = format!(
        "SELECT consumer = {} AS is_unattributed, sum(amount_reporting) AS amount FROM ledger \
         WHERE kind IN ('cost', 'adjustment') AND NOT memo AND billing_month = {} \
         GROUP BY consumer = {}",
        literal(UNATTRIBUTED),
        literal(&month.to_string()),
        literal(UNATTRIBUTED),
    );
    let (mut unattributed, mut total) = (0_i128, 0_i128);
    for batch in session.sql(&sql).await?.collect().await? {
        let rows = Rows(&batch);
        for (which, atoms) in rows.texts("is_unattributed")?.into_iter().zip(rows.decimals("amount")?) {
            total += atoms.unwrap_or(0);
            unattributed += atoms.unwrap_or(0) * i128::from(which.as_deref() == Some("true"));
        }
    }
    if unattributed.abs() <= part_of(total, ratio_max) {
        return Ok(None);
    }
    let (found, all) = (format_atoms(unattributed), format_atoms(total));
    let detail =
        format!("{found} of {all} went to nobody; periods.unattributed_ratio_max allows a part of {ratio_max}");
    Ok(Some(Obstacle::new("unattributed", month, detail)))
}

/// The part of a magnitude, rounded down to an atom.
fn part_of(total: i128, ratio: Weight) -> i128 {
    let one = Weight::ONE.atoms();
    let magnitude = total.abs();
    // Divided first, so that no product leaves 128 bits.
    (magnitude / one).saturating_mul(ratio.atoms()).saturating_add(magnitude % one * ratio.atoms() / one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_exact_and_never_wraps() {
        let ratio = |text: &str| text.parse::<Weight>().expect("a ratio");
        assert_eq!(part_of(1_000, ratio("0.05")), 50);
        assert_eq!(part_of(-1_019, ratio("0.05")), 50);
        assert_eq!(part_of(7_999_999, ratio("0.5")), 3_999_999);
        assert_eq!(part_of(7, ratio("0")), 0);
        let largest = 10_i128.pow(37);
        assert_eq!(part_of(largest, ratio("0.05")), largest / 20);
        assert_eq!(part_of(largest, ratio("1000000000")), i128::MAX);
    }

    #[test]
    fn many_obstacles_are_counted() {
        let found = (0..NAMED_MAX + 2).map(|at| (at.to_string(), format!("no. {at}")));
        let obstacles = named("x", "things", found);
        assert_eq!(obstacles.len(), NAMED_MAX + 1);
        assert_eq!(obstacles[NAMED_MAX], Obstacle::new("x", "", "and 2 more things"));
    }
}
