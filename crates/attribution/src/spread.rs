//! A line's amount, day by day.

use crate::split::split_small;
use domain::{Day, Instant, InstantRange, Zone};

/// When a line was charged, as its bill says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTimes {
    /// ChargePeriodStart.
    pub charge_start: Option<Instant>,
    /// ChargePeriodEnd.
    pub charge_end: Option<Instant>,
    /// BillingPeriodStart.
    pub billing_start: Instant,
    /// BillingPeriodEnd.
    pub billing_end: Option<Instant>,
}

/// The days a line touches and how many of its seconds fall on each, in order; never empty.
pub type DaySeconds = Vec<(Day, u64)>;

/// Longest charge period that is spread day by day, a century; imports refuse longer ones, so this only
/// bounds the work of a broken date.
pub const SPREAD_DAYS_MAX: i32 = 36_600;

/// Returns the days over which a line's cost (all but BilledCost) is spread.
///
/// A period that ends before it begins, or has no end, lies whole on its first day; without a start on the
/// first day of the billing period.
///
/// # Source
/// Spec 3-attribution, section 2, and 2-model, section 4 (edge lines).
#[must_use]
pub fn cost_days(times: &LineTimes, zone: &Zone) -> DaySeconds {
    let start = times.charge_start.unwrap_or(times.billing_start);
    match times.charge_end {
        Some(end) if start < end && times.charge_start.is_some() => days_of(InstantRange { start, end }, zone),
        _ => vec![(zone.day_of(start), 1)],
    }
}

/// Returns the days over which a line's BilledCost is spread: those of its cost that lie inside its own
/// billing period, or else the first day of that period.
#[must_use]
pub fn billed_days(times: &LineTimes, zone: &Zone) -> DaySeconds {
    let start = times.charge_start.unwrap_or(times.billing_start);
    let billing_end = times.billing_end.filter(|end| times.billing_start < *end);
    let inside = |instant: Instant| times.billing_start <= instant && billing_end.is_none_or(|end| instant < end);
    let first_day = vec![(zone.day_of(times.billing_start), 1)];
    match times.charge_end {
        Some(end) if start < end && times.charge_start.is_some() => {
            let clipped = InstantRange {
                start: start.max(times.billing_start),
                end: billing_end.map_or(end, |until| end.min(until)),
            };
            if clipped.start < clipped.end { days_of(clipped, zone) } else { first_day }
        }
        _ if inside(start) => vec![(zone.day_of(start), 1)],
        _ => first_day,
    }
}

/// Returns the amount's part of each day; the parts add up to it exactly.
///
/// # Source
/// Spec 3-attribution, section 2: in proportion to overlapping seconds, by the split rule.
#[must_use]
pub fn spread(amount: i128, days: &[(Day, u64)]) -> Vec<i128> {
    if let [_] = days {
        return vec![amount];
    }
    let seconds: Vec<u64> = days.iter().map(|(_, seconds)| *seconds).collect();
    split_small(amount, &seconds).expect("a line's days have seconds")
}

fn days_of(range: InstantRange, zone: &Zone) -> DaySeconds {
    let first = zone.day_of(range.start);
    let last = zone.day_of(Instant::from_micros(range.end.micros() - 1)).min(first.plus(SPREAD_DAYS_MAX));
    if first == last {
        return vec![(first, 1)];
    }
    let days = (first.epoch_days()..=last.epoch_days()).map(Day::from_epoch_days);
    let overlap = |day: Day| {
        let of_day = zone.day_range(day);
        let (start, end) = (of_day.start.max(range.start), of_day.end.min(range.end));
        (day, u64::try_from(InstantRange { start, end }.seconds()).unwrap_or(0))
    };
    let days: DaySeconds = days.map(overlap).filter(|(_, seconds)| *seconds > 0).collect();
    if days.is_empty() { vec![(first, 1)] } else { days }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(charge: (&str, &str), billing: (&str, &str)) -> LineTimes {
        let instant = |text: &str| Instant::parse_lenient(text).ok();
        LineTimes {
            charge_start: instant(charge.0),
            charge_end: instant(charge.1),
            billing_start: instant(billing.0).expect("a billing period has a start"),
            billing_end: instant(billing.1),
        }
    }

    fn check(days: &DaySeconds, expected: &[(&str, u64)]) {
        let days: Vec<(String, u64)> = days.iter().map(|(day, seconds)| (day.to_string(), *seconds)).collect();
        let expected: Vec<(String, u64)> =
            expected.iter().map(|(day, seconds)| ((*day).to_owned(), *seconds)).collect();
        assert_eq!(days, expected);
    }

    #[test]
    fn a_charge_is_spread_over_the_days_it_overlaps() {
        let line = times(("2026-05-01T18:00:00Z", "2026-05-03T00:00:00Z"), ("2026-05-01", "2026-06-01"));
        check(&cost_days(&line, &Zone::utc()), &[("2026-05-01", 21_600), ("2026-05-02", 86_400)]);
        let berlin: Zone = "Europe/Berlin".parse().expect("a zone");
        let month = times(("2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z"), ("2026-03-01", "2026-04-01"));
        check(&cost_days(&month, &berlin), &[("2026-03-28", 86_400), ("2026-03-29", 82_800)]);
    }

    #[test]
    fn a_period_without_length_lies_on_its_first_day() {
        let backwards = times(("2026-05-03", "2026-05-02"), ("2026-05-01", "2026-06-01"));
        check(&cost_days(&backwards, &Zone::utc()), &[("2026-05-03", 1)]);
        let open = times(("", ""), ("2026-05-01", "2026-06-01"));
        check(&cost_days(&open, &Zone::utc()), &[("2026-05-01", 1)]);
    }

    #[test]
    fn billed_cost_stays_inside_its_billing_period() {
        let year = times(("2026-05-30", "2026-06-03"), ("2026-05-01", "2026-06-01"));
        check(&billed_days(&year, &Zone::utc()), &[("2026-05-30", 86_400), ("2026-05-31", 86_400)]);
        let stray = times(("2026-07-01", "2026-07-02"), ("2026-05-01", "2026-06-01"));
        check(&billed_days(&stray, &Zone::utc()), &[("2026-05-01", 1)]);
    }

    #[test]
    fn the_parts_of_a_month_add_up() {
        let month = times(("2026-01-01", "2026-02-01"), ("2026-01-01", "2026-02-01"));
        let parts = spread(310_000_000_000_000_001, &cost_days(&month, &Zone::utc()));
        assert_eq!(
            (parts.len(), parts[0], parts.iter().sum::<i128>()),
            (31, 10_000_000_000_000_001, 310_000_000_000_000_001)
        );
    }
}
