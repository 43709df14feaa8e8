use domain::Quantity;

/// One value of a cumulative stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Since when it counts, in nanoseconds since 1970.
    pub start_nanos: Option<i64>,
    /// When it was taken.
    pub at_nanos: i64,
    /// The count, in the metric's own unit.
    pub value: Quantity,
}

/// What a reading is after the one counted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Not newer: whatever it says is counted.
    Known,
    /// Of an earlier life of the counter than the one counted last.
    Behind,
    /// Counted from this value on.
    From(Quantity),
    /// Counted in full: the counter began again, or its start is known and nothing of it was counted yet.
    Full,
    /// The first that is known of this life, whose beginning is not: nothing is counted.
    Baseline,
}

/// Returns what the reading adds to the one counted last.
///
/// # Source
/// OpenTelemetry metrics data model, "Resets and gaps"; Prometheus, `increase`, without its extrapolation.
pub(super) fn step(last: Option<&Reading>, next: &Reading) -> Step {
    // A start at the very time says that the real start is not known.
    let is_unknown_start = next.start_nanos == Some(next.at_nanos);
    let fresh = if is_unknown_start { Step::Baseline } else { Step::Full };
    let Some(last) = last else {
        return if next.start_nanos.is_none() { Step::Baseline } else { fresh };
    };
    match (last.start_nanos, next.start_nanos) {
        (Some(before), Some(now)) if now < before => return Step::Behind,
        (Some(before), Some(now)) if before < now => return fresh,
        _ if next.at_nanos <= last.at_nanos => return Step::Known,
        (None, Some(now)) if last.at_nanos < now => return fresh,
        _ => {}
    }
    if next.value < last.value { Step::Full } else { Step::From(last.value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading((start_nanos, at_nanos, value): (Option<i64>, i64, &str)) -> Reading {
        Reading { start_nanos, at_nanos, value: value.parse().unwrap() }
    }

    fn check(last: Option<(Option<i64>, i64, &str)>, next: (Option<i64>, i64, &str), expected: Step) {
        let (last, next) = (last.map(reading), reading(next));
        assert_eq!(step(last.as_ref(), &next), expected, "{next:?} after {last:?}");
    }

    fn from(value: &str) -> Step {
        Step::From(value.parse().unwrap())
    }

    #[test]
    fn the_first_reading_counts_in_full_if_its_start_is_known() {
        check(None, (Some(1), 10, "5"), Step::Full);
        check(None, (None, 10, "5"), Step::Baseline);
        check(None, (Some(10), 10, "5"), Step::Baseline);
    }

    #[test]
    fn a_later_reading_counts_what_was_added() {
        check(Some((Some(1), 10, "5")), (Some(1), 20, "7.5"), from("5"));
        check(Some((None, 10, "5")), (None, 20, "5"), from("5"));
        check(Some((Some(10), 10, "5")), (Some(10), 20, "7"), from("5"));
    }

    #[test]
    fn what_came_before_adds_nothing() {
        check(Some((Some(1), 10, "5")), (Some(1), 10, "5"), Step::Known);
        check(Some((Some(1), 10, "5")), (Some(1), 9, "4"), Step::Known);
        check(Some((None, 10, "5")), (None, 10, "9"), Step::Known);
        check(Some((Some(8), 10, "5")), (Some(1), 20, "7"), Step::Behind);
    }

    #[test]
    fn a_lower_value_or_a_newer_start_is_a_new_life() {
        check(Some((None, 10, "5")), (None, 20, "3"), Step::Full);
        check(Some((Some(1), 10, "5")), (Some(1), 20, "0"), Step::Full);
        check(Some((Some(1), 10, "5")), (Some(11), 20, "9"), Step::Full);
        check(Some((Some(1), 10, "5")), (Some(20), 20, "9"), Step::Baseline);
    }

    #[test]
    fn a_sender_may_learn_to_tell_its_start() {
        check(Some((None, 10, "5")), (Some(3), 20, "8"), from("5"));
        check(Some((None, 10, "5")), (Some(12), 20, "8"), Step::Full);
        check(Some((None, 10, "5")), (Some(3), 10, "5"), Step::Known);
        check(Some((Some(3), 10, "5")), (None, 20, "8"), from("5"));
    }
}
