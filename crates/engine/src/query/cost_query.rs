//! The one query object: it serves API, CLI, dashboard, exports and metrics alike.

use super::as_of::AsOf;
use super::filter::Filter;
use super::keys::GroupKey;
use super::params::{Params, QueryLimits};
use crate::EngineError;
use domain::{Currency, DayRange};

/// Rows of a page that says nothing.
pub const COST_ROWS_DEFAULT: usize = 100;
/// Most rows of a page.
pub const COST_ROWS_MAX: usize = 10_000;

/// By which of its two dates an entry is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// By charge_date: when the cost arose, corrections included.
    #[default]
    Charged,
    /// By billing_month: on whose statement it stands. The range is widened to the whole months it touches.
    Billed,
}

/// Length of the buckets of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// No series.
    #[default]
    None,
    /// Days.
    Day,
    /// Weeks, from Monday.
    Week,
    /// Calendar months.
    Month,
}

/// What a row's cost is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// Nothing.
    #[default]
    None,
    /// The range of equal length just before.
    Prev,
    /// As many days just before, for the days up to the last one that is complete and final.
    Final,
}

/// Where the amounts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The ledger.
    #[default]
    Posted,
    /// Usage × the card in force: an estimate.
    CurrentRates,
}

/// Which measure is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The cost metric.
    #[default]
    Amount,
    /// What the invoices say.
    BilledAmount,
}

impl Measure {
    /// Returns the measure's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::BilledAmount => "billed_amount",
        }
    }
}

/// What rows are sorted by; equal rows by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The column.
    pub key: SortKey,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// A column that rows can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// The cost.
    Cost,
    /// The group's key.
    Key,
    /// Cost of tier direct.
    Direct,
    /// Cost of tier amortized.
    Amortized,
    /// Pending cost.
    Pending,
    /// Cost of the range before.
    Previous,
    /// Cost less that of the range before.
    Change,
}

const SORT_KEYS: [(&str, SortKey); 8] = [
    ("cost", SortKey::Cost),
    ("share", SortKey::Cost),
    ("key", SortKey::Key),
    ("direct", SortKey::Direct),
    ("amortized", SortKey::Amortized),
    ("pending", SortKey::Pending),
    ("previous", SortKey::Previous),
    ("change", SortKey::Change),
];

/// A question about cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostQuery {
    /// The days asked for.
    pub range: DayRange,
    /// By which date entries are selected.
    pub clock: Clock,
    /// What a row is.
    pub group_by: Vec<GroupKey>,
    /// Buckets of each row's series.
    pub granularity: Granularity,
    /// Which entries count.
    pub filter: Filter,
    /// What is shown beside.
    pub compare: Compare,
    /// Where the amounts come from.
    pub view: View,
    /// Which measure is summed.
    pub measure: Measure,
    /// Only entries booked in this currency; otherwise everything in the reporting currency.
    pub currency: Option<Currency>,
    /// Whether rows are rounded to minor units.
    pub round_minor: bool,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
    /// Only the row with this value of the one grouped key, with its rank; shares and totals stay those of all rows.
    pub key: Option<String>,
    /// Order of rows.
    pub sort: Sort,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl CostQuery {
    /// Returns the question "what did each tenant cost in this range", with every default.
    #[must_use]
    pub fn of(range: DayRange) -> Self {
        Self {
            range,
            clock: Clock::Charged,
            group_by: vec![GroupKey::TENANT],
            granularity: Granularity::None,
            filter: Filter::default(),
            compare: Compare::None,
            view: View::Posted,
            measure: Measure::Amount,
            currency: None,
            round_minor: false,
            as_of: None,
            key: None,
            sort: Sort { key: SortKey::Cost, descending: true },
            limit: COST_ROWS_DEFAULT,
            cursor: None,
        }
    }

    /// Returns the question that the query parameters of a request ask.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter, key or word and for contradictions.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let view = params.word("view", &[("posted", View::Posted), ("current_rates", View::CurrentRates)])?;
        let query = Self {
            // A day of usage is complete as it goes, a day of the ledger when it is over.
            range: match view {
                View::Posted => params.range_or_default(limits)?,
                View::CurrentRates => params.range_to_today_or_default(limits)?,
            },
            clock: params.word("clock", &[("charged", Clock::Charged), ("billed", Clock::Billed)])?,
            group_by: match params.text("group_by") {
                None => vec![GroupKey::TENANT],
                Some(text) => GroupKey::parse_list(&text)?,
            },
            granularity: params.word("granularity", &GRANULARITIES)?,
            filter: Filter::parse(&params.text("filter").unwrap_or_default())?,
            compare: params.word("compare", &COMPARISONS)?,
            view,
            measure: params
                .word("measure", &[("amount", Measure::Amount), ("billed_amount", Measure::BilledAmount)])?,
            currency: params.parsed("currency")?,
            round_minor: params.word("round", &[("none", false), ("minor", true)])?,
            as_of: params.parsed("as_of")?,
            key: params.text("key"),
            sort: sort(params.text("sort"))?,
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        query.check()?;
        Ok(query)
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.view == View::CurrentRates && self.as_of.is_some() {
            let detail = "`as_of` asks the ledger; current rates have no earlier state, use view=posted";
            return Err(EngineError::parameter("as_of", detail));
        }
        if self.key.is_some() && self.group_by.len() != 1 {
            return Err(EngineError::parameter("key", "`key` names a value of the one key that rows are grouped by"));
        }
        let needs_previous = matches!(self.sort.key, SortKey::Previous | SortKey::Change);
        if needs_previous && self.compare == Compare::None {
            return Err(EngineError::parameter("sort", "sorting by the range before needs compare=prev or final"));
        }
        if self.compare == Compare::Final && self.clock == Clock::Billed {
            let detail = "statements are compared by whole months; use compare=prev, or clock=charged";
            return Err(EngineError::parameter("compare", detail));
        }
        Ok(())
    }

    /// Returns the days as the clock selects them: by billing month, the whole months that the range touches.
    #[must_use]
    pub fn selected_days(&self) -> DayRange {
        match self.clock {
            Clock::Charged => self.range,
            Clock::Billed => DayRange::new(self.range.from().month().first_day(), self.range.to().month().last_day())
                .expect("a month ends after it began"),
        }
    }

    /// Returns the range of equal length just before such days; by billing month, as many whole months before.
    #[must_use]
    pub fn days_before(&self, days: DayRange) -> DayRange {
        let to = days.from().plus(-1);
        let from = match self.clock {
            Clock::Charged => days.from().plus(-days.len()),
            Clock::Billed => {
                let months = std::iter::successors(Some(days.from().month()), |month| Some(month.next()))
                    .take_while(|month| *month <= days.to().month())
                    .count();
                (0..months).fold(days.from().month(), |month, _| month.previous()).first_day()
            }
        };
        DayRange::new(from, to).expect("a range is at least one day long")
    }

    /// Returns whether rows may hold memo entries: only when the question names them.
    #[must_use]
    pub fn shows_memo(&self) -> bool {
        self.group_by.contains(&GroupKey::MEMO) || self.filter.tests(&GroupKey::MEMO)
    }
}

const COMPARISONS: [(&str, Compare); 3] = [("none", Compare::None), ("prev", Compare::Prev), ("final", Compare::Final)];
const GRANULARITIES: [(&str, Granularity); 4] = [
    ("none", Granularity::None),
    ("day", Granularity::Day),
    ("week", Granularity::Week),
    ("month", Granularity::Month),
];

fn sort(text: Option<String>) -> Result<Sort, EngineError> {
    let Some(text) = text else { return Ok(Sort { key: SortKey::Cost, descending: true }) };
    let (descending, word) = text.strip_prefix('-').map_or((false, text.as_str()), |word| (true, word));
    let found = SORT_KEYS.iter().find(|(known, _)| *known == word).map(|(_, key)| *key);
    found.map(|key| Sort { key, descending }).ok_or_else(|| {
        let known: Vec<&str> = SORT_KEYS.iter().map(|(known, _)| *known).collect();
        let word = super::params::shorten(word);
        EngineError::parameter(
            "sort",
            format!("cannot sort by `{word}`; use one of {}, `-` before it for descending", known.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<CostQuery, String> {
        let today = "2026-11-20".parse().expect("a day");
        let limits =
            QueryLimits { today, range_days_max: 3660, rows_default: COST_ROWS_DEFAULT, rows_max: COST_ROWS_MAX };
        CostQuery::parse(given, &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        let query = parse(&[("group_by", ""), ("round", ""), ("as_of", ""), ("cursor", "")]).expect("defaults");
        assert_eq!(query, CostQuery::of(query.range));
        assert_eq!(query.range.to_string_pair(), "2026-10-21 2026-11-19");
    }

    #[test]
    fn rolling_ranges_of_current_rates_end_today() {
        let query = parse(&[("view", "current_rates"), ("range", "7d")]).expect("a query");
        assert_eq!(
            (query.view, query.range.to_string_pair()),
            (View::CurrentRates, "2026-11-14 2026-11-20".to_owned())
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |given: &[(&str, &str)]| parse(given).expect_err("refused");
        assert!(refused(&[("view", "current_rates"), ("as_of", "posting:1")]).contains("as_of"));
        assert!(refused(&[("view", "draft")]).contains("posted, current_rates"));
        assert!(refused(&[("sort", "-change")]).contains("compare=prev"));
        assert!(refused(&[("compare", "final"), ("clock", "billed")]).contains("whole months"));
        assert!(refused(&[("sort", "size")]).starts_with("cannot sort by `size`"));
        assert!(refused(&[("clock", "wall")]).contains("charged, billed"));
        assert!(refused(&[("currency", "usd")]).contains("currency code"));
        assert!(refused(&[("limit", "10001")]).contains("10000"));
        assert!(refused(&[("key", "acme"), ("group_by", "tenant,pool")]).contains("the one key"));
        assert!(refused(&[("groupby", "tenant")]).contains("did you mean `group_by`"));
    }

    #[test]
    fn the_range_before_has_the_same_length() {
        let previous = |given: &[(&str, &str)]| {
            let query = parse(given).expect("a query");
            query.days_before(query.selected_days()).to_string_pair()
        };
        assert_eq!(previous(&[("range", "30d")]), "2026-09-21 2026-10-20");
        assert_eq!(previous(&[("range", "2026-10")]), "2026-08-31 2026-09-30");
        assert_eq!(previous(&[("range", "2026-10"), ("clock", "billed")]), "2026-09-01 2026-09-30");
        assert_eq!(previous(&[("range", "30d"), ("clock", "billed")]), "2026-08-01 2026-09-30");
    }

    trait Pair {
        fn to_string_pair(&self) -> String;
    }

    impl Pair for DayRange {
        fn to_string_pair(&self) -> String {
            format!("{} {}", self.from(), self.to())
        }
    }
}
