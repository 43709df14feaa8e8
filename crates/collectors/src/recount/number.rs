use domain::money::MONEY_SCALE;

/// Zeros that may be written after a number's digits: more of them make an amount that no row can hold.
const ZEROS_MAX: i64 = 40;

/// Amounts from here on have more digits than a decimal of the lake.
const ATOMS_END: i128 = 10_i128.pow(38);

/// Returns the atoms of an amount, rounded half-even; `None` if it is no number or too large.
pub(super) fn atoms_of(text: &str) -> Option<i128> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let places = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(i64::from(MONEY_SCALE))?;
    let magnitude: i128 = match places {
        0..=ZEROS_MAX => format!("{digits}{}", "0".repeat(usize::try_from(places).ok()?)).parse().ok()?,
        places if ZEROS_MAX < places => return None,
        places => without_last(digits, usize::try_from(places.checked_neg()?).ok()?)?,
    };
    (magnitude < ATOMS_END).then_some(if is_negative { -magnitude } else { magnitude })
}

/// The number of these digits without the last ones, at least one, by which it is rounded.
fn without_last(digits: &str, dropped: usize) -> Option<i128> {
    let Some(kept) = digits.len().checked_sub(dropped) else {
        return Some(0); // less than a tenth of an atom
    };
    let (head, tail) = digits.split_at(kept);
    let head: i128 = if head.is_empty() { 0 } else { head.parse().ok()? };
    // Of equal length, digits compare as their numbers do.
    let half = format!("5{}", "0".repeat(dropped - 1));
    Some(match tail.cmp(&half) {
        std::cmp::Ordering::Less => head,
        std::cmp::Ordering::Equal => head + head % 2,
        std::cmp::Ordering::Greater => head + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::decimal::parse_scaled;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "-", ".", "1,5", "NaN", "1e", "1e400", "0x1", "--1", "1.2.3"] {
            assert_eq!(atoms_of(text), None, "{text}");
        }
        assert_eq!(
            (atoms_of("0E-6176"), atoms_of("1e-6176"), atoms_of("0.05e1")),
            (Some(0), Some(0), Some(10_i128.pow(15) / 2))
        );
    }

    proptest! {
        /// The import reads numbers by other code, and both must come to the same atoms.
        #[test]
        fn amounts_are_what_imports_read(
            text in "[+-]?([0-9]{1,14}(\\.[0-9]{0,20})?|\\.[0-9]{1,20}|[0-9]{0,6}\\.?[0-9]{1,6}[eE][+-]?[0-9]{1,2}|0\\.0{14}[0-9]5?0{0,3})",
        ) {
            let parsed = parse_scaled(&text, MONEY_SCALE).ok().map(|parsed| parsed.atoms);
            prop_assert_eq!(atoms_of(&text), parsed, "{}", text);
        }
    }
}
