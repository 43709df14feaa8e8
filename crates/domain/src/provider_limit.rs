//! Limits of providers: how much of a resource a plan includes, and when the count starts anew.
//!
//! Alerts compare what was used with the whole cap. Parts of a cap and forecasts are for people to look at.

use crate::time::{Day, DayRange};
use crate::{Quantity, unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Fractional digits of ratios.
pub const RATIO_SCALE: u32 = 9;
/// One, as a ratio.
const RATIO_ONE: i128 = 10_i128.pow(RATIO_SCALE);
/// The last day of a month on which a limit may reset: every month has it.
const RESET_DAY_MAX: u8 = 28;
/// Longest name of a provider, resource or unit.
const NAME_LETTERS_MAX: usize = 200;

/// `[[limit]]`: how much of a resource may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderLimit {
    /// Whose resource; upper and lower case are the same.
    pub provider: String,
    /// What is limited, as bills or collectors name it; upper and lower case are the same.
    pub resource: String,
    /// How much may be used between two resets.
    pub cap: Quantity,
    /// What the cap counts in.
    pub unit: String,
    /// When the count starts anew.
    #[serde(default)]
    pub resets: Resets,
    /// How the quantities of days become one.
    #[serde(default)]
    pub reading: Reading,
}

/// When a limit starts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resets {
    /// On the first of each month.
    #[default]
    CalendarMonth,
    /// With the billing period that the provider's bills name.
    BillingCycle,
    /// On this day of each month, 1 to 28.
    OnDay(u8),
}

/// How the quantities of days become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Their sum: what is counted.
    #[default]
    Sum,
    /// That of the last day: a level, such as stored bytes.
    Last,
    /// The largest.
    Max,
}

/// A limit that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A name is missing or too long.
    #[error("limit {at}: `{key}` must have 1 to {NAME_LETTERS_MAX} letters")]
    BadName {
        /// Which limit of the file, from 1.
        at: usize,
        /// Which key.
        key: &'static str,
    },
    /// Nothing may be used, or less.
    #[error("limit {at} ({provider} {resource}): `cap` must be more than 0")]
    BadCap {
        /// Which limit of the file, from 1.
        at: usize,
        /// Its provider.
        provider: String,
        /// Its resource.
        resource: String,
    },
    /// Two limits of one resource.
    #[error("limit {at} ({provider} {resource}): there is a limit of this provider and resource before it")]
    Twice {
        /// Which limit of the file, from 1.
        at: usize,
        /// Its provider.
        provider: String,
        /// Its resource.
        resource: String,
    },
}

/// Refuses limits that make no sense: without names, without a positive cap, or two of one resource.
///
/// # Errors
/// [`LimitError`] names the limit by its place in the file.
pub fn check_limits(limits: &[ProviderLimit]) -> Result<(), LimitError> {
    for (before, limit) in limits.iter().enumerate() {
        let at = before + 1;
        let names = [("provider", &limit.provider), ("resource", &limit.resource), ("unit", &limit.unit)];
        let is_bad = |name: &str| name.trim().is_empty() || NAME_LETTERS_MAX < name.chars().count();
        if let Some((key, _)) = names.into_iter().find(|(_, name)| is_bad(name)) {
            return Err(LimitError::BadName { at, key });
        }
        let (provider, resource) = (limit.provider.clone(), limit.resource.clone());
        if limit.cap.atoms() <= 0 {
            return Err(LimitError::BadCap { at, provider, resource });
        }
        if limits[..before].iter().any(|other| other.is_of(&provider, &resource)) {
            return Err(LimitError::Twice { at, provider, resource });
        }
    }
    Ok(())
}

impl ProviderLimit {
    /// Returns whether the limit is of this resource of this provider.
    #[must_use]
    pub fn is_of(&self, provider: &str, resource: &str) -> bool {
        same(&self.provider, provider) && same(&self.resource, resource)
    }

    /// Returns a quantity that was measured in `unit` in the limit's unit, or `None` if the two do not convert.
    ///
    /// What does not divide is rounded up, so that a limit is never reached later than it should be.
    ///
    /// # Units
    /// Atoms of 10⁻⁹.
    #[must_use]
    pub fn converted_rounded_up(&self, atoms: i128, unit: &str) -> Option<i128> {
        let (numerator, denominator) = match same(unit, &self.unit) {
            true => (1, 1),
            false => unit::conversion(unit, &self.unit)?,
        };
        let (numerator, denominator) = (i128::try_from(numerator).ok()?, i128::try_from(denominator).ok()?);
        divided_rounded_up(atoms.checked_mul(numerator)?, denominator)
    }

    /// Returns the part of the whole cap that `used` is, in atoms of 10⁻⁹; rounded up, so that what is above the cap
    /// shows more than 1.
    ///
    /// # Units
    /// `used` in atoms of 10⁻⁹ of the limit's unit.
    #[must_use]
    pub fn used_ratio_rounded_up(&self, used: i128) -> i128 {
        let cap = self.cap.atoms();
        let (whole, rest) = (used.div_euclid(cap), used.rem_euclid(cap));
        // The rest is below the cap, at most 10²⁷ atoms, so its product with 10⁹ stays below 10³⁸.
        let part = divided_rounded_up(rest * RATIO_ONE, cap).unwrap_or(0);
        whole.saturating_mul(RATIO_ONE).saturating_add(part)
    }
}

impl Resets {
    /// Returns the days from the last reset to the day before the next one, on this day.
    ///
    /// `billing` is the provider's billing period of the day, if one is known; without it a billing cycle is taken for
    /// the calendar month.
    #[must_use]
    pub fn cycle_on(self, day: Day, billing: Option<DayRange>) -> DayRange {
        let month = day.month();
        let of_month = || DayRange::new(month.first_day(), month.last_day()).expect("a month ends after it began");
        match self {
            Self::CalendarMonth => of_month(),
            Self::BillingCycle => billing.filter(|cycle| cycle.contains(day)).unwrap_or_else(of_month),
            Self::OnDay(reset) => {
                let offset = i32::from(reset) - 1;
                let this = month.first_day().plus(offset);
                let (first, next) = match this <= day {
                    true => (this, month.next().first_day().plus(offset)),
                    false => (month.previous().first_day().plus(offset), this),
                };
                DayRange::new(first, next.plus(-1)).expect("the next reset comes after this one")
            }
        }
    }
}

/// Returns the part of an amount that falls on `part` of `whole` units of time, rounded down; `None` when it cannot be
/// told.
#[must_use]
pub fn pro_rata_rounded_down(amount: i128, part: i64, whole: i64) -> Option<i128> {
    if whole <= 0 {
        return None;
    }
    Some(amount.checked_mul(i128::from(part))?.div_euclid(i128::from(whole)))
}

/// The quotient by a positive divisor, toward the larger number.
fn divided_rounded_up(dividend: i128, divisor: i128) -> Option<i128> {
    let down = dividend.checked_div_euclid(divisor)?;
    Some(if dividend.rem_euclid(divisor) == 0 { down } else { down + 1 })
}

fn same(left: &str, right: &str) -> bool {
    left.trim().to_lowercase() == right.trim().to_lowercase()
}

const RESETS_EXPECTED: &str = "expected \"calendar_month\", \"billing_cycle\" or a day of the month from 1 to 28";

impl<'de> Deserialize<'de> for Resets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected \"calendar_month\", \"billing_cycle\" or a day of the month from 1 to 28"
        )]
        enum Written {
            Day(u8),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Day(day) if (1..=RESET_DAY_MAX).contains(&day) => Ok(Self::OnDay(day)),
            Written::Word(word) if word == "calendar_month" => Ok(Self::CalendarMonth),
            Written::Word(word) if word == "billing_cycle" => Ok(Self::BillingCycle),
            Written::Day(_) | Written::Word(_) => Err(D::Error::custom(RESETS_EXPECTED)),
        }
    }
}

impl Serialize for Resets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::CalendarMonth => serializer.serialize_str("calendar_month"),
            Self::BillingCycle => serializer.serialize_str("billing_cycle"),
            Self::OnDay(day) => serializer.serialize_u8(*day),
        }
    }
}

impl Resets {
    /// Returns the word, or the day of the month.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::CalendarMonth => "calendar_month".to_owned(),
            Self::BillingCycle => "billing_cycle".to_owned(),
            Self::OnDay(day) => day.to_string(),
        }
    }
}

impl Reading {
    /// Returns the word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Last => "last",
            Self::Max => "max",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml_text::parse_toml;

    #[derive(Debug, Deserialize)]
    struct File {
        limit: Vec<ProviderLimit>,
    }

    const VERCEL: &str = "[[limit]]\nprovider = 'vercel'\nresource = 'Function Invocations'\nunit = 'Invocations'\n";

    fn read(more: &str) -> Result<Vec<ProviderLimit>, String> {
        let file: File = parse_toml("t", &format!("{VERCEL}{more}")).map_err(|error| error.to_string())?;
        check_limits(&file.limit).map(|()| file.limit).map_err(|error| error.to_string())
    }

    fn limit(more: &str) -> ProviderLimit {
        read(more).expect("a limit").remove(0)
    }

    /// On 2026-11-20.
    fn check_cycle(resets: Resets, billing: Option<(&str, &str)>, expected: &str) {
        let day = |text: &str| text.parse().expect("a day");
        let billing = billing.and_then(|(from, to)| DayRange::new(day(from), day(to)));
        let cycle = resets.cycle_on("2026-11-20".parse().expect("a day"), billing);
        assert_eq!(format!("{}..{}", cycle.from(), cycle.to()), expected, "{resets:?}");
    }

    #[test]
    fn a_limit_is_written_with_words_or_a_day() {
        assert_eq!((limit("cap = 1").resets, limit("cap = 1").reading), (Resets::CalendarMonth, Reading::Sum));
        let written = limit("cap = '0.5'\nresets = 15\nreading = 'last'");
        assert_eq!(
            (written.resets, written.reading, written.cap.to_string()),
            (Resets::OnDay(15), Reading::Last, "0.5".to_owned())
        );
        assert_eq!(limit("cap = 1\nresets = 'billing_cycle'").resets, Resets::BillingCycle);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (more, expected) in [
            ("cap = 0", "limit 1 (vercel Function Invocations): `cap` must be more than 0"),
            ("cap = -1", "limit 1 (vercel Function Invocations): `cap` must be more than 0"),
            ("cap = 1\nresets = 29", RESETS_EXPECTED),
            ("cap = 1\nresets = 0", RESETS_EXPECTED),
            ("cap = 1\nresets = 'weekly'", RESETS_EXPECTED),
            ("cap = 1\nreading = 'mean'", "unknown value `mean`"),
            ("cap = 1\nperiod = 1", "unknown key `period`"),
            ("unitt = 'x'", "unknown key `unitt`; did you mean `unit`?"),
            (
                "cap = 1\n[[limit]]\nprovider='Vercel'\nresource='function invocations'\nunit='x'\ncap=1",
                "limit 2 (Vercel function invocations): there is a limit of this provider and resource before it",
            ),
            ("cap = 1\n[[limit]]\nprovider=' '\nresource='r'\nunit='x'\ncap=1", "limit 2: `provider` must have"),
        ] {
            let refused = read(more).expect_err(more);
            assert!(refused.contains(expected), "{more}: {refused}");
        }
    }

    #[test]
    fn a_cycle_reaches_from_reset_to_reset() {
        check_cycle(Resets::CalendarMonth, None, "2026-11-01..2026-11-30");
        check_cycle(Resets::OnDay(20), None, "2026-11-20..2026-12-19");
        check_cycle(Resets::OnDay(21), None, "2026-10-21..2026-11-20");
        check_cycle(Resets::OnDay(1), None, "2026-11-01..2026-11-30");
        let billing = Some(("2026-11-05", "2026-12-04"));
        check_cycle(Resets::BillingCycle, billing, "2026-11-05..2026-12-04");
        check_cycle(Resets::BillingCycle, Some(("2026-10-05", "2026-11-04")), "2026-11-01..2026-11-30");
        check_cycle(Resets::BillingCycle, None, "2026-11-01..2026-11-30");
    }

    #[test]
    fn the_ratio_is_of_the_whole_cap_and_never_shows_less_than_it_is() {
        let ratio = |cap: &str, used: i128| limit(&format!("cap = '{cap}'")).used_ratio_rounded_up(used);
        assert_eq!(ratio("1", 5_000_000_000), 5_000_000_000);
        assert_eq!(ratio("100", 80_000_000_000), 800_000_000);
        assert_eq!(ratio("100", 80_000_000_001), 800_000_001, "just above four fifths");
        assert_eq!(ratio("3", 1_000_000_000), 333_333_334);
        assert_eq!(ratio("100", 0), 0);
        assert_eq!(ratio("100", -50_000_000_000), -500_000_000, "a correction may be larger than the use");
        assert_eq!(ratio("1000000000000000000", 10_i128.pow(27)), RATIO_ONE);
        assert_eq!(ratio("0.000000001", i128::MAX), i128::MAX, "beyond any number");
    }

    #[test]
    fn quantities_come_in_units_that_convert() {
        let gigabytes = ProviderLimit { unit: "GB".to_owned(), ..limit("cap = 1") };
        assert_eq!(gigabytes.converted_rounded_up(1_500_000_000_000_000_000, "Bytes"), Some(1_500_000_000));
        assert_eq!(gigabytes.converted_rounded_up(1, "Bytes"), Some(1), "never less than it is");
        assert_eq!(gigabytes.converted_rounded_up(7, "gb"), Some(7));
        assert_eq!(gigabytes.converted_rounded_up(7, "Requests"), None);
    }

    #[test]
    fn a_part_of_time_has_its_part_of_the_amount() {
        assert_eq!(pro_rata_rounded_down(300, 10, 30), Some(100));
        assert_eq!(pro_rata_rounded_down(100, 30, 10), Some(300));
        assert_eq!(pro_rata_rounded_down(100, 1, 3), Some(33));
        assert_eq!(pro_rata_rounded_down(100, 1, 0), None);
        assert_eq!(pro_rata_rounded_down(i128::MAX, 2, 1), None);
    }
}
