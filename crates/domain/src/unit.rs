//! Units in FOCUS terms and the one table of exact conversions.

/// Returns the exact factor as (numerator, denominator) that turns a quantity in `from` into `to`, or
/// `None` when the two are not declared to be convertible. An unknown unit converts only to itself.
///
/// GB = 10⁹ bytes, GiB = 2³⁰ bytes; `…-Hours` and `…-Months` convert with their base.
///
/// # Example
/// ```
/// assert_eq!(domain::unit::conversion("Bytes", "GB"), Some((1, 1_000_000_000)));
/// assert_eq!(domain::unit::conversion("Tokens", "GB"), None);
/// ```
#[must_use]
pub fn conversion(from: &str, to: &str) -> Option<(u128, u128)> {
    if from == to {
        return Some((1, 1));
    }
    let (from_base, from_time) = split_time(from);
    let (to_base, to_time) = split_time(to);
    if from_time != to_time {
        return None;
    }
    let (from_kind, from_size) = size_of(from_base)?;
    let (to_kind, to_size) = size_of(to_base)?;
    (from_kind == to_kind).then_some(())?;
    let common = gcd(from_size, to_size);
    Some((from_size / common, to_size / common))
}

fn split_time(unit: &str) -> (&str, &str) {
    for suffix in ["-Hours", "-Months", "-Days"] {
        if let Some(base) = unit.strip_suffix(suffix) {
            return (base, suffix);
        }
    }
    (unit, "")
}

/// Kind of unit and its size in the kind's smallest unit.
fn size_of(unit: &str) -> Option<(&'static str, u128)> {
    Some(match unit {
        "B" | "Bytes" => ("data", 1),
        "KB" => ("data", 1000),
        "MB" => ("data", 1000_u128.pow(2)),
        "GB" => ("data", 1000_u128.pow(3)),
        "TB" => ("data", 1000_u128.pow(4)),
        "PB" => ("data", 1000_u128.pow(5)),
        "KiB" => ("data", 1024),
        "MiB" => ("data", 1024_u128.pow(2)),
        "GiB" => ("data", 1024_u128.pow(3)),
        "TiB" => ("data", 1024_u128.pow(4)),
        "PiB" => ("data", 1024_u128.pow(5)),
        "Seconds" => ("time", 1),
        "Minutes" => ("time", 60),
        "Hours" => ("time", 3600),
        "Days" => ("time", 86_400),
        _ => return None,
    })
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_units_convert_and_exactly() {
        assert_eq!(conversion("GiB", "Bytes"), Some((1 << 30, 1)));
        assert_eq!(conversion("GB", "GiB"), Some((1_953_125, 2_097_152)));
        assert_eq!(conversion("GiB-Hours", "GB-Hours"), Some((2_097_152, 1_953_125)));
        assert_eq!(conversion("GiB-Hours", "GiB"), None);
        assert_eq!(conversion("Widgets", "Widgets"), Some((1, 1)));
        assert_eq!(conversion("Widgets", "Gadgets"), None);
    }
}
