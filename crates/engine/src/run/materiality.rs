//! Differences of closed months that are too small to be corrected by themselves.
//!
//! They are not posted but noted, and posted when somebody asks for it. What is left undone that way is bounded: of a
//! tenant, a pool and a closed month, the magnitudes of all noted differences together stay within `[periods] materiality`.
//! Runs at once keep to it together: each notes what it leaves undone only if what others noted is what it reckoned with.

use super::compute::Computed;
use super::view::RunWarning;
use crate::books::corrupt;
use crate::{Engine, EngineError};
use domain::money::MONEY_SCALE;
use domain::{Currency, Day, DayRange, Month, Price, decimal};
use ledger::{Line, Periods, PoolState, Status};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::catalog::PendingCorrectionRow;

/// Code of such warnings, and the state of the pool in such a run.
pub(crate) const PENDING_CORRECTION: &str = "pending_correction";

/// A pool on a day of a closed month that is not corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCorrection {
    /// The day.
    pub day: Day,
    /// The pool.
    pub pool: String,
    /// What each tenant or reserved word would be corrected by, in its order.
    pub consumers: Vec<ConsumerCorrection>,
}

/// What a tenant or reserved word would be corrected by, in atoms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerCorrection {
    /// The tenant or reserved word.
    pub consumer: String,
    /// The cost metric in the reporting currency.
    pub amount_reporting: i128,
    /// BilledCost by currency.
    pub billed_amount: BTreeMap<Currency, i128>,
}

/// The same as the catalog keeps it, amounts as text.
#[derive(Serialize, Deserialize)]
struct Stored {
    consumer: String,
    amount_reporting: String,
    billed_amount: BTreeMap<String, String>,
}

impl PendingCorrection {
    /// Returns the correction of a catalog row.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the row is not what the engine wrote.
    pub(crate) fn of_row(row: &PendingCorrectionRow) -> Result<Self, EngineError> {
        let wrong = |error: &dyn std::fmt::Display| corrupt("a pending correction", error);
        let stored: Vec<Stored> = serde_json::from_str(&row.consumers).map_err(|error| wrong(&error))?;
        let atoms = |text: &str| {
            let parsed = decimal::parse_scaled(text, MONEY_SCALE).map_err(|error| wrong(&error))?;
            Ok::<i128, EngineError>(parsed.atoms)
        };
        let billed = |(code, text): (String, String)| {
            let currency = code.parse::<Currency>().map_err(|error| wrong(&error))?;
            Ok::<(Currency, i128), EngineError>((currency, atoms(&text)?))
        };
        let correction = |stored: Stored| {
            Ok::<ConsumerCorrection, EngineError>(ConsumerCorrection {
                consumer: stored.consumer,
                amount_reporting: atoms(&stored.amount_reporting)?,
                billed_amount: stored.billed_amount.into_iter().map(billed).collect::<Result<_, _>>()?,
            })
        };
        Ok(Self {
            day: row.day.parse().map_err(|error| wrong(&error))?,
            pool: row.pool.clone(),
            consumers: stored.into_iter().map(correction).collect::<Result<_, _>>()?,
        })
    }

    fn to_row(&self, run: &str, noted_at: i64) -> PendingCorrectionRow {
        let text = domain::money::format_atoms;
        let stored = self.consumers.iter().map(|correction| Stored {
            consumer: correction.consumer.clone(),
            amount_reporting: text(correction.amount_reporting),
            billed_amount: correction
                .billed_amount
                .iter()
                .map(|(code, atoms)| (code.to_string(), text(*atoms)))
                .collect(),
        });
        let stored: Vec<Stored> = stored.collect();
        PendingCorrectionRow {
            day: self.day.to_string(),
            pool: self.pool.clone(),
            month: self.day.month().to_string(),
            run: run.to_owned(),
            noted_at,
            consumers: serde_json::to_string(&stored).expect("texts are JSON"),
        }
    }
}

/// What a run would change of a pool on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Change {
    /// Net by what the pool's lines are told apart by: not zero where its cost lines changed.
    components: BTreeMap<Vec<Option<Arc<str>>>, (i128, i128)>,
    /// Whether something pending is settled or begins to wait.
    settles: bool,
    /// Net by tenant or reserved word.
    consumers: BTreeMap<Arc<str>, Net>,
}

/// Net differences, in atoms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Net {
    reporting: i128,
    billed: BTreeMap<Currency, i128>,
}

impl Change {
    fn add(&mut self, line: &Line) {
        let (key, says) = (&line.difference.key, &line.difference.says);
        let who = key.tenant.as_ref().unwrap_or(&key.consumer);
        let net = self.consumers.entry(Arc::clone(who)).or_default();
        net.reporting += says.amount_reporting;
        *net.billed.entry(key.currency).or_default() += says.billed_amount;
        self.settles |= key.status == Status::Pending;
        if !key.memo {
            let told_apart = [
                Some(Arc::from(key.currency.code())),
                key.charge_category.clone(),
                key.provider.clone(),
                key.service.clone(),
                key.source.clone(),
                key.commitment_status.clone(),
                key.invoice_id.clone(),
            ];
            let (amount, billed) = self.components.entry(told_apart.into()).or_default();
            *amount += says.amount;
            *billed += says.billed_amount;
        }
    }

    /// Whether it is posted however small it is: its cost lines changed, or something pending is settled.
    fn must_be_posted(&self) -> bool {
        self.settles || self.components.values().any(|net| *net != (0, 0))
    }
}

/// Magnitudes of what is not corrected of a tenant, a pool and a month.
#[derive(Default)]
struct Undone(BTreeMap<(String, Month, String), Net>);

impl Undone {
    fn add(&mut self, pool: &str, month: Month, consumer: &str, net: &Net) {
        let sum = self.0.entry((pool.to_owned(), month, consumer.to_owned())).or_default();
        sum.reporting += net.reporting.abs();
        for (currency, atoms) in &net.billed {
            *sum.billed.entry(*currency).or_default() += atoms.abs();
        }
    }

    /// The pools and months of which some tenant's magnitudes exceed what may stay undone.
    fn too_much(&self, materiality: Price) -> BTreeSet<(String, Month)> {
        let exceeds = |net: &Net| net.billed.values().chain([&net.reporting]).any(|atoms| materiality.atoms() < *atoms);
        let over = self.0.iter().filter(|(_, net)| exceeds(net));
        over.map(|((pool, month, _), _)| (pool.clone(), *month)).collect()
    }
}

impl Engine {
    /// Takes out of what a run posts the differences of closed months that are too small, and notes them.
    ///
    /// # Errors
    /// When the catalog fails.
    pub(super) async fn hold_back_small(&self, computed: &mut Computed, range: DayRange) -> Result<(), EngineError> {
        let is_any_material = self.settings.materiality.atoms() <= 0;
        if is_any_material || !computed.periods.is_closed(range.from().month()) {
            return Ok(());
        }
        let mut rows = self.catalog.pending_corrections_all_tenants().await?;
        let (from, to) = texts_of(range);
        rows.retain(|row| row.day < from || to < row.day);
        let elsewhere = rows.iter().map(PendingCorrection::of_row).collect::<Result<Vec<_>, _>>()?;
        hold_back(computed, self.settings.materiality, &elsewhere);
        computed.noted_elsewhere = rows;
        Ok(())
    }

    /// Notes what a run holds back before it posts the rest; false when what is noted of other days is no longer what
    /// that was decided by: then nothing is noted, and the run must start again.
    ///
    /// What was noted of its days and is to be posted now stays noted until it is posted.
    ///
    /// # Errors
    /// When the catalog fails.
    pub(super) async fn claim_undone(
        &self,
        run: &str,
        range: DayRange,
        computed: &Computed,
    ) -> Result<bool, EngineError> {
        if computed.pending.is_empty() {
            return Ok(true);
        }
        let now = self.clock.now().micros();
        let rows: Vec<_> = computed.pending.iter().map(|pending| pending.to_row(run, now)).collect();
        let (from, to) = texts_of(range);
        let claimed = self.catalog.note_pending_corrections((&from, &to), &computed.noted_elsewhere, &rows).await?;
        Ok(claimed)
    }

    /// Replaces what is noted of the days of a run.
    pub(super) async fn note_pending(&self, run: &str, computed: &Computed, now: i64) -> Result<(), EngineError> {
        let noted = self.pending_corrections_all_tenants().await?;
        let is_of_run = |one: &PendingCorrection| computed.seen.contains_key(&one.day);
        if computed.pending.is_empty() && !noted.iter().any(is_of_run) {
            return Ok(());
        }
        let days: Vec<String> = computed.seen.keys().map(ToString::to_string).collect();
        let rows: Vec<_> = computed.pending.iter().map(|pending| pending.to_row(run, now)).collect();
        Ok(self.catalog.replace_pending_corrections(&days, &rows).await?)
    }

    /// Returns the days of which something is noted although their month is open again: now it can be posted.
    ///
    /// # Errors
    /// As [`Engine::pending_corrections_all_tenants`].
    pub(crate) async fn noted_of_open_months(&self, periods: Periods) -> Result<BTreeSet<Day>, EngineError> {
        let noted = self.pending_corrections_all_tenants().await?;
        Ok(noted.into_iter().map(|one| one.day).filter(|day| !periods.is_closed(day.month())).collect())
    }

    /// Returns what of closed months is not corrected, by day and pool.
    ///
    /// # Errors
    /// When the catalog fails or a row is unreadable.
    pub async fn pending_corrections_all_tenants(&self) -> Result<Vec<PendingCorrection>, EngineError> {
        self.catalog.pending_corrections_all_tenants().await?.iter().map(PendingCorrection::of_row).collect()
    }
}

/// The first and the last day, in whose order their texts are.
fn texts_of(range: DayRange) -> (String, String) {
    (range.from().to_string(), range.to().to_string())
}

/// Takes out of what a run posts the differences of closed months that are too small, and notes them.
///
/// `elsewhere` are the noted ones of days that the run does not compute.
fn hold_back(computed: &mut Computed, materiality: Price, elsewhere: &[PendingCorrection]) {
    let held = held(&computed.lines, |month| computed.periods.is_closed(month), materiality, elsewhere);
    if held.is_empty() {
        return;
    }
    let of = |day: Day, pool: &str| held.binary_search_by(|one| (one.day, &*one.pool).cmp(&(day, pool))).is_ok();
    computed.lines.retain(|line| !of(line.difference.key.charge_date, &line.difference.key.pool));
    let posted: BTreeSet<Day> = computed.lines.iter().map(|line| line.difference.key.charge_date).collect();
    computed.pool_days.retain(|row| posted.contains(&row.charge_date));
    // The pool keeps its entries, so what an earlier run put into it keeps counting.
    for row in computed.pool_days.iter_mut().filter(|row| of(row.charge_date, &row.pool)) {
        row.state = PoolState::NotRun(PENDING_CORRECTION.into());
    }
    computed.warnings.extend(held.iter().map(warning));
    computed.pending = held;
}

fn warning(held: &PendingCorrection) -> RunWarning {
    let largest = held.consumers.iter().map(|one| one.amount_reporting.abs()).max().unwrap_or(0);
    let detail = format!(
        "the month is closed and the largest difference is {}: it is not corrected but noted; \
         `apportion period sweep` posts what is noted",
        domain::money::format_atoms(largest)
    );
    let (day, pool) = (Some(held.day), Some(held.pool.clone()));
    RunWarning { code: PENDING_CORRECTION.to_owned(), day, pool, detail }
}

/// Returns what is not posted of these lines, by day and pool.
fn held(
    lines: &[Line],
    is_closed: impl Fn(Month) -> bool,
    materiality: Price,
    elsewhere: &[PendingCorrection],
) -> Vec<PendingCorrection> {
    let mut changes: BTreeMap<(Day, Arc<str>), Change> = BTreeMap::new();
    for line in lines.iter().filter(|line| is_closed(line.difference.key.charge_date.month())) {
        let key = &line.difference.key;
        changes.entry((key.charge_date, Arc::clone(&key.pool))).or_default().add(line);
    }
    changes.retain(|_, change| !change.must_be_posted());
    let mut undone = Undone::default();
    for ((day, pool), change) in &changes {
        for (consumer, net) in &change.consumers {
            undone.add(pool, day.month(), consumer, net);
        }
    }
    for pending in elsewhere {
        for one in &pending.consumers {
            let net = Net { reporting: one.amount_reporting, billed: one.billed_amount.clone() };
            undone.add(&pending.pool, pending.day.month(), &one.consumer, &net);
        }
    }
    let too_much = undone.too_much(materiality);
    let small = changes.into_iter().filter(|((day, pool), _)| !too_much.contains(&(pool.to_string(), day.month())));
    let noted = small.map(|((day, pool), change)| PendingCorrection {
        day,
        pool: pool.to_string(),
        consumers: change.consumers.into_iter().map(|(consumer, net)| to_correction(&consumer, net)).collect(),
    });
    noted.collect()
}

fn to_correction(consumer: &str, net: Net) -> ConsumerCorrection {
    ConsumerCorrection {
        consumer: consumer.to_owned(),
        amount_reporting: net.reporting,
        billed_amount: net.billed.into_iter().filter(|(_, atoms)| *atoms != 0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::entry_key;
    use ledger::{Cause, Desired, Difference, EntryKey};

    /// A difference on a day of October.
    fn line(day: &str, pool: &str, tenant: &str, cents: i128) -> Line {
        let category = Some("Usage".into());
        let key = EntryKey { charge_category: category, ..entry_key(day, pool, tenant) };
        let atoms = cents * (domain::money::ATOMS_PER_UNIT / 100);
        let says = Desired { amount: atoms, billed_amount: atoms, amount_reporting: atoms, ..Desired::default() };
        let billing_month = "2026-11".parse().expect("a month");
        Line { difference: Difference { key, existed: true, says }, cause: Cause::LateUsage, billing_month }
    }

    /// What moves from one tenant to another.
    fn moved(day: &str, pool: &str, cents: i128) -> [Line; 2] {
        [line(day, pool, "acme", cents), line(day, pool, "globex", -cents)]
    }

    fn check(lines: &[Line], elsewhere: &[PendingCorrection], expected: &[(&str, &str)]) -> Vec<PendingCorrection> {
        let october: Month = "2026-10".parse().expect("a month");
        let found = held(lines, |month| month <= october, "1.00".parse().expect("a price"), elsewhere);
        let named: Vec<(String, &str)> = found.iter().map(|one| (one.day.to_string(), one.pool.as_str())).collect();
        assert!(named.iter().map(|(day, pool)| (day.as_str(), *pool)).eq(expected.iter().copied()), "{named:?}");
        found
    }

    #[test]
    fn what_exceeds_materiality_in_a_month_is_corrected_and_the_rest_is_noted() {
        check(&moved("2026-10-05", "a", 100), &[], &[("2026-10-05", "a")]);
        check(&moved("2026-10-05", "a", 101), &[], &[]);
        let two_days = [moved("2026-10-05", "a", 60), moved("2026-10-06", "a", -60)].concat();
        check(&two_days, &[], &[]);
        let two_pools = [moved("2026-10-05", "a", 60), moved("2026-10-05", "b", 60)].concat();
        check(&two_pools, &[], &[("2026-10-05", "a"), ("2026-10-05", "b")]);
        let two_months = [moved("2026-09-30", "a", 60), moved("2026-10-01", "a", 60)].concat();
        check(&two_months, &[], &[("2026-09-30", "a"), ("2026-10-01", "a")]);
    }

    #[test]
    fn what_was_noted_on_other_days_of_the_month_counts_too() {
        let noted = check(&moved("2026-10-05", "a", 60), &[], &[("2026-10-05", "a")]);
        check(&moved("2026-10-06", "a", 41), &noted, &[]);
        check(&moved("2026-10-06", "a", 40), &noted, &[("2026-10-06", "a")]);
        check(&moved("2026-09-06", "a", 60), &noted, &[("2026-09-06", "a")]);
    }

    #[test]
    fn open_months_changed_lines_and_what_was_pending_are_always_posted() {
        check(&moved("2026-11-05", "a", 1), &[], &[]);
        check(&[line("2026-10-05", "a", "acme", 1)], &[], &[]);
        let mut restated = moved("2026-10-05", "a", 1);
        restated[0].difference.key.charge_category = Some("Tax".into());
        check(&restated, &[], &[]);
        let mut settled = moved("2026-10-05", "a", 1);
        settled[0].difference.key.status = Status::Pending;
        check(&settled, &[], &[]);
        let mut estimate = line("2026-10-05", "a", "acme", 1);
        estimate.difference.key.memo = true;
        check(&[estimate], &[], &[("2026-10-05", "a")]);
    }

    #[test]
    fn a_noted_correction_comes_back_from_its_row() {
        for noted in check(&moved("2026-10-05", "a", 60), &[], &[("2026-10-05", "a")]) {
            assert_eq!(PendingCorrection::of_row(&noted.to_row("run-1", 7)).expect("a row"), noted);
        }
    }
}
