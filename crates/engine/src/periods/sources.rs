//! Billing periods of the sources of cost lines: which of them are still open at the provider, and which are missing.

use crate::books::corrupt;
use crate::{Engine, EngineError};
use domain::{Day, DayRange, Instant, Month, Zone};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use storage::catalog::SourcePeriodRow;
use storage::lake::{BILL_KEY_TAG, LakeFile, PinnedTable, Table};

/// Sources whose lines are entered here: their months are never open at a provider.
const OWN_SOURCES: [&str; 2] = ["fixed", "manual"];

/// How a billing period of a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceState {
    /// Its amounts may still change: they are estimates.
    Open,
    /// The provider has finished it.
    Closed,
    /// The month before has a bill and this one, which has ended, has none.
    Missing,
}

impl SourceState {
    /// Returns the state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Missing => "missing",
        }
    }

    /// Returns the state of a word that people and providers use; a period is not said to be missing.
    #[must_use]
    pub fn from_said(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "open" => Some(Self::Open),
            "closed" => Some(Self::Closed),
            _ => None,
        }
    }
}

/// What a period's state follows from. Of several the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SaidBy {
    /// A person entered it.
    Person,
    /// The provider's FOCUS BillingPeriod rows.
    BillingPeriod,
    /// The collector knows when its provider is done.
    Collector,
    /// An invoice was entered.
    Invoice,
    /// The costs are entered here.
    Own,
    /// Whether the bill was imported after the month had ended.
    Import,
    /// The month before has a bill.
    MonthBefore,
}

impl SaidBy {
    /// What can be said and stored, strongest first.
    pub const STORED: [Self; 3] = [Self::Person, Self::BillingPeriod, Self::Collector];

    /// Returns the word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::BillingPeriod => "billing_period",
            Self::Collector => "collector",
            Self::Invoice => "invoice",
            Self::Own => "own",
            Self::Import => "import",
            Self::MonthBefore => "month_before",
        }
    }
}

/// A billing period of a source and account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePeriod {
    /// The source.
    pub source: String,
    /// BillingAccountId; empty where something is said of all accounts and none has a bill.
    pub billing_account: String,
    /// The month in which the period begins.
    pub month: Month,
    /// How it stands.
    pub state: SourceState,
    /// What that follows from.
    pub said_by: SaidBy,
    /// Who said it, if somebody did.
    pub actor: Option<String>,
    /// Free text of whoever said it.
    pub note: Option<String>,
    /// Cost lines of the period.
    pub lines: u64,
    /// When its bill was imported last.
    pub imported_at: Option<Instant>,
}

impl SourcePeriod {
    /// Returns source, account and month for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self.billing_account.as_str() {
            "" | "*" => format!("{} {}", self.source, self.month),
            account => format!("{} {account} {}", self.source, self.month),
        }
    }
}

/// What is said of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidPeriod {
    /// The source.
    pub source: String,
    /// BillingAccountId; empty for all accounts of the source.
    pub billing_account: String,
    /// The month in which the period begins.
    pub month: Month,
    /// Open or closed.
    pub state: SourceState,
    /// Who says it: one of [`SaidBy::STORED`].
    pub said_by: SaidBy,
    /// Free text.
    pub note: Option<String>,
}

/// The bill of an account and month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bill {
    lines: u64,
    imported_ms: i64,
}

/// Bills by source and account, month by month.
type Bills = BTreeMap<(String, String), BTreeMap<Month, Bill>>;

/// What is said of periods: by invoices, and by whom else.
#[derive(Default)]
struct Said {
    rows: Vec<(Month, SaidBy, SourcePeriodRow)>,
    invoiced: BTreeSet<(String, String)>,
}

impl Engine {
    /// Returns the billing periods of all sources, by source, account and month.
    ///
    /// # Errors
    /// When a store fails.
    pub async fn source_periods_all_tenants(&self) -> Result<Vec<SourcePeriod>, EngineError> {
        let pinned = self.lake.pin_table(Table::CostLines).await?;
        self.source_periods_in(&pinned, |_| true).await
    }

    /// The same of the months that `is_wanted` names, in a pinned state of the bills.
    pub(crate) async fn source_periods_in(
        &self,
        pinned: &PinnedTable,
        is_wanted: impl Fn(Month) -> bool,
    ) -> Result<Vec<SourcePeriod>, EngineError> {
        // What is missing is told by the month before.
        let bills = bills(pinned, |month| is_wanted(month) || is_wanted(month.next()));
        let said = self.said_of_sources().await?;
        let mut periods = derive(&bills, &said, &self.settings.zone, self.today());
        periods.retain(|period| is_wanted(period.month));
        Ok(periods)
    }

    /// Returns the billing periods whose amounts are estimates and that the days touch.
    pub(crate) async fn estimated_in(
        &self,
        pinned: &PinnedTable,
        days: DayRange,
    ) -> Result<Vec<SourcePeriod>, EngineError> {
        let (first, last) = (days.from().month(), days.to().month());
        let mut periods = self.source_periods_in(pinned, |month| first <= month && month <= last).await?;
        periods.retain(|period| period.state == SourceState::Open && period.lines != 0);
        Ok(periods)
    }

    /// Stores what is said of some periods, in place of what the same kind of speaker said of them before.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn say_of_source_periods(&self, said: &[SaidPeriod], actor: &str) -> Result<(), EngineError> {
        let updated_at = self.clock.now().micros();
        let row = |said: &SaidPeriod| SourcePeriodRow {
            source: said.source.clone(),
            billing_account: said.billing_account.clone(),
            billing_month: said.month.to_string(),
            said_by: said.said_by.as_str().to_owned(),
            state: said.state.as_str().to_owned(),
            actor: actor.to_owned(),
            note: said.note.clone(),
            updated_at,
        };
        let rows: Vec<SourcePeriodRow> = said.iter().map(row).collect();
        Ok(self.catalog.put_source_periods(&rows).await?)
    }

    async fn said_of_sources(&self) -> Result<Said, EngineError> {
        let mut said =
            Said { rows: Vec::new(), invoiced: self.catalog.invoiced_periods().await?.into_iter().collect() };
        for row in self.catalog.source_periods().await? {
            let month: Month = row.billing_month.parse().map_err(|error| corrupt("a source's period", &error))?;
            let by = SaidBy::STORED.into_iter().find(|by| by.as_str() == row.said_by);
            let by = by.ok_or_else(|| corrupt("a source's period", &row.said_by))?;
            said.rows.push((month, by, row));
        }
        Ok(said)
    }
}

/// What a data file says of its lines.
#[derive(Default, Deserialize)]
struct BillKey {
    billing_account: String,
}

/// The bills of the months that are wanted, as the files of the table tell them.
fn bills(pinned: &PinnedTable, is_wanted: impl Fn(Month) -> bool) -> Bills {
    let mut bills = Bills::new();
    for file in pinned.files() {
        let month = file.partition("billing_month").and_then(|text| text.parse::<Month>().ok());
        let (Some(month), Some(source)) = (month.filter(|month| is_wanted(*month)), file.partition("source")) else {
            continue;
        };
        let months = bills.entry((source.to_owned(), account_of(file))).or_default();
        let bill = months.entry(month).or_default();
        bill.lines += file.rows;
        bill.imported_ms = bill.imported_ms.max(file.modified_ms);
    }
    bills
}

fn account_of(file: &LakeFile) -> String {
    let key = file.tags.get(BILL_KEY_TAG).and_then(|text| serde_json::from_str::<BillKey>(text).ok());
    key.unwrap_or_default().billing_account
}

/// Returns how every period stands that has a bill, of which something is said, or that is missing.
fn derive(bills: &Bills, said: &Said, zone: &Zone, today: Day) -> Vec<SourcePeriod> {
    let mut periods = Vec::new();
    for ((source, account), months) in bills {
        for (month, bill) in months {
            periods.push(period(source, account, *month, Some(*bill), said, zone));
            let next = month.next();
            let is_missing = !months.contains_key(&next) && next < today.month();
            if is_missing && !OWN_SOURCES.contains(&source.as_str()) {
                periods.push(period(source, account, next, None, said, zone));
            }
        }
    }
    let mut known: BTreeSet<(String, String, Month)> = periods.iter().map(place_of).collect();
    for (month, _, row) in &said.rows {
        let of_some = |period: &SourcePeriod| period.source == row.source && period.month == *month;
        let is_told = if row.billing_account.is_empty() {
            periods.iter().any(of_some)
        } else {
            known.contains(&(row.source.clone(), row.billing_account.clone(), *month))
        };
        if !is_told && known.insert((row.source.clone(), row.billing_account.clone(), *month)) {
            periods.push(period(&row.source, &row.billing_account, *month, None, said, zone));
        }
    }
    periods.sort_by_key(place_of);
    periods
}

fn place_of(period: &SourcePeriod) -> (String, String, Month) {
    (period.source.clone(), period.billing_account.clone(), period.month)
}

fn period(source: &str, account: &str, month: Month, bill: Option<Bill>, said: &Said, zone: &Zone) -> SourcePeriod {
    let imported_at = bill.map(|bill| Instant::from_micros(bill.imported_ms * 1000));
    let stated = said.of(source, account, month);
    let (state, said_by) = match (stated, imported_at) {
        (Some((by, row)), _) => (SourceState::from_said(&row.state).unwrap_or(SourceState::Open), by),
        (None, None) => (SourceState::Missing, SaidBy::MonthBefore),
        (None, Some(_)) if said.invoiced.contains(&(source.to_owned(), month.to_string())) => {
            (SourceState::Closed, SaidBy::Invoice)
        }
        (None, Some(_)) if OWN_SOURCES.contains(&source) => (SourceState::Closed, SaidBy::Own),
        (None, Some(at)) if zone.start_of(month.next().first_day()) <= at => (SourceState::Closed, SaidBy::Import),
        (None, Some(_)) => (SourceState::Open, SaidBy::Import),
    };
    SourcePeriod {
        source: source.to_owned(),
        billing_account: account.to_owned(),
        month,
        state,
        said_by,
        actor: stated.map(|(_, row)| row.actor.clone()),
        note: stated.and_then(|(_, row)| row.note.clone()),
        lines: bill.map_or(0, |bill| bill.lines),
        imported_at,
    }
}

impl Said {
    /// What counts of all that is said of a period: the strongest speaker, and of one what names the account.
    fn of(&self, source: &str, account: &str, month: Month) -> Option<(SaidBy, &SourcePeriodRow)> {
        let concerns = |row: &SourcePeriodRow| {
            row.source == source && (row.billing_account == account || row.billing_account.is_empty())
        };
        let found = self.rows.iter().filter(|(of, _, row)| *of == month && concerns(row));
        found.min_by_key(|(_, by, row)| (*by, row.billing_account != account)).map(|(_, by, row)| (*by, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().expect("a month")
    }

    fn imported(at: &str) -> Bill {
        let at: Instant = at.parse().expect("an instant");
        Bill { lines: 3, imported_ms: at.micros() / 1000 }
    }

    fn say(account: &str, of: &str, by: SaidBy, state: &str) -> (Month, SaidBy, SourcePeriodRow) {
        let row = SourcePeriodRow {
            source: "aws".to_owned(),
            billing_account: account.to_owned(),
            billing_month: of.to_owned(),
            said_by: by.as_str().to_owned(),
            state: state.to_owned(),
            actor: "someone".to_owned(),
            note: None,
            updated_at: 0,
        };
        (month(of), by, row)
    }

    fn check(said: &Said, expected: &[&str]) {
        let of_account = BTreeMap::from([
            (month("2026-09"), imported("2026-10-03T00:00:00Z")),
            (month("2026-10"), imported("2026-10-20T00:00:00Z")),
        ]);
        let gone = BTreeMap::from([(month("2026-08"), imported("2026-09-01T00:00:00Z"))]);
        let own = BTreeMap::from([(month("2026-08"), imported("2026-08-01T00:00:00Z"))]);
        let bills = Bills::from([
            (("aws".to_owned(), "1".to_owned()), of_account),
            (("aws".to_owned(), "2".to_owned()), gone),
            (("fixed".to_owned(), "*".to_owned()), own),
        ]);
        let today = "2026-11-20".parse().expect("a day");
        let found = derive(&bills, said, &Zone::utc(), today);
        let printed: Vec<String> = found
            .iter()
            .map(|period| format!("{} {} {}", period.name(), period.state.as_str(), period.said_by.as_str()))
            .collect();
        assert_eq!(printed, expected);
    }

    #[test]
    fn what_nobody_said_follows_from_when_the_bill_came() {
        check(
            &Said::default(),
            &[
                "aws 1 2026-09 closed import",
                "aws 1 2026-10 open import",
                "aws 2 2026-08 closed import",
                "aws 2 2026-09 missing month_before",
                "fixed 2026-08 closed own",
            ],
        );
    }

    #[test]
    fn a_person_counts_more_than_the_provider_and_an_account_more_than_all() {
        let rows = vec![
            say("", "2026-10", SaidBy::BillingPeriod, "closed"),
            say("1", "2026-09", SaidBy::BillingPeriod, "open"),
            say("2", "2026-09", SaidBy::Person, "closed"),
            say("", "2026-09", SaidBy::Person, "open"),
            say("", "2026-12", SaidBy::Person, "open"),
        ];
        let invoiced = BTreeSet::from([("aws".to_owned(), "2026-08".to_owned())]);
        check(
            &Said { rows, invoiced },
            &[
                "aws 2026-12 open person",
                "aws 1 2026-09 open person",
                "aws 1 2026-10 closed billing_period",
                "aws 2 2026-08 closed invoice",
                "aws 2 2026-09 closed person",
                "fixed 2026-08 closed own",
            ],
        );
    }
}
