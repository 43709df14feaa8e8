//! Decimal text to scaled integers and back.

/// The result of parsing decimal text at a fixed scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The value in units of 10⁻ˢᶜᵃˡᵉ.
    pub atoms: i128,
    /// Whether digits beyond the scale were rounded away (half-even, once).
    pub rounded: bool,
}

/// Why a text is not a decimal of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text is not a decimal number at all.
    #[error("`{0}` is not a decimal number")]
    NotANumber(String),
    /// The number is too large to be stored.
    #[error("`{0}` is out of bound")]
    OutOfBound(String),
    /// The number is outside what a stored row may hold of its kind.
    #[error("`{text}` is out of bound: it must lie between {min} and {max}")]
    NotBetween {
        /// The number as it was spelled.
        text: String,
        /// Smallest value.
        min: String,
        /// Largest value.
        max: String,
    },
}

/// Longest number text accepted; real bills carry up to about 40 digits.
const TEXT_BYTES_MAX: usize = 512;
/// Most digits an `i128` below 10³⁸ can hold.
const DIGITS_MAX: usize = 38;
/// Numbers that are read at once: digits that fit in 64 bits, at a scale that keeps them in 128.
const SHORT_DIGITS_MAX: usize = 18;
const SHORT_SCALE_MAX: u32 = 18;

/// Returns the number that `text` spells, in units of 10⁻ˢᶜᵃˡᵉ, rounded half-even once.
///
/// Accepts an optional sign, digits with an optional point, and an exponent (`1e-7`, `0E-6176`).
/// Never goes through a float.
///
/// # Errors
/// [`DecimalError::NotANumber`] for anything else, [`DecimalError::OutOfBound`] from 10³⁸ atoms on.
///
/// # Example
/// ```
/// use domain::decimal::{parse_scaled, Parsed};
/// assert_eq!(parse_scaled("-1.25e1", 2), Ok(Parsed { atoms: -1250, rounded: false }));
/// assert_eq!(parse_scaled("0.125", 2), Ok(Parsed { atoms: 12, rounded: true }));
/// ```
pub fn parse_scaled(text: &str, scale: u32) -> Result<Parsed, DecimalError> {
    if let Some(atoms) = parse_short(text, scale) {
        return Ok(Parsed { atoms, rounded: false });
    }
    let trimmed = text.trim();
    let number = Spelled::read(trimmed).ok_or_else(|| not_a_number(trimmed))?;
    let digits = number.significant_digits();
    if digits.is_empty() {
        return Ok(Parsed { atoms: 0, rounded: false });
    }
    // The value is 0.d₁d₂… × 10^point; `kept` digits of it lie above the scale.
    let point = number.point_of_first_digit();
    let kept = point.saturating_add(i64::from(scale));
    if i64::try_from(DIGITS_MAX).is_ok_and(|max| kept > max) {
        return Err(DecimalError::OutOfBound(shorten(trimmed)));
    }
    let kept = usize::try_from(kept.max(-1)).ok();
    let Some(kept) = kept else {
        return Ok(Parsed { atoms: 0, rounded: true });
    };
    let (above, below) = digits.split_at(kept.min(digits.len()));
    let mut atoms = above.iter().fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    for _ in above.len()..kept {
        atoms *= 10;
    }
    if round_up_half_even(atoms, below) {
        atoms += 1;
    }
    let atoms = if number.negative { -atoms } else { atoms };
    Ok(Parsed { atoms, rounded: !below.is_empty() })
}

/// Returns the atoms of a number of a few digits and nothing else, as most are.
fn parse_short(text: &str, scale: u32) -> Option<i128> {
    let digits = text.as_bytes();
    // 10¹⁸ times 10¹⁸ is below 10³⁸.
    let is_short = (1..=SHORT_DIGITS_MAX).contains(&digits.len()) && scale <= SHORT_SCALE_MAX;
    if !is_short || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let whole = digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some(i128::from(whole) * 10_i128.pow(scale))
}

/// Returns `atoms` of 10⁻ˢᶜᵃˡᵉ as decimal text with at least `fraction_min` fractional digits and no
/// trailing zeros beyond them.
///
/// # Example
/// ```
/// assert_eq!(domain::decimal::format_scaled(127_500, 3, 2), "127.50");
/// assert_eq!(domain::decimal::format_scaled(-5, 3, 0), "-0.005");
/// ```
#[must_use]
pub fn format_scaled(atoms: i128, scale: u32, fraction_min: usize) -> String {
    let scale = scale as usize;
    let digits = format!("{:0>width$}", atoms.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let used = fraction.trim_end_matches('0').len().max(fraction_min);
    let sign = if atoms < 0 { "-" } else { "" };
    if used == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{fraction:0<used$}", fraction = &fraction[..used.min(scale)])
}

/// A number as it was spelled: sign, digits without the point, where the point stands.
struct Spelled<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Spelled<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, bytes) = match bytes[0] {
            b'-' => (true, &bytes[1..]),
            b'+' => (false, &bytes[1..]),
            _ => (false, bytes),
        };
        let (mantissa, exponent) = match bytes.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&bytes[..at], read_exponent(&bytes[at + 1..])?),
            None => (bytes, 0),
        };
        let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &mantissa[..0]),
        };
        let spelled = !(whole.is_empty() && fraction.is_empty());
        let digits_only = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        (spelled && digits_only).then_some(Self { negative, whole, fraction, exponent })
    }

    fn leading_zeros(&self) -> usize {
        self.whole.iter().chain(self.fraction).take_while(|digit| **digit == b'0').count()
    }

    fn significant_digits(&self) -> Vec<u8> {
        let mut digits: Vec<u8> = self.whole.iter().chain(self.fraction).skip(self.leading_zeros()).copied().collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        digits
    }

    fn point_of_first_digit(&self) -> i64 {
        let length = |count: usize| i64::try_from(count).expect("number text is at most 512 bytes");
        length(self.whole.len()).saturating_add(self.exponent).saturating_sub(length(self.leading_zeros()))
    }
}

fn read_exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes.first()? {
        b'-' => (true, &bytes[1..]),
        b'+' => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -size } else { size })
}

fn round_up_half_even(atoms: i128, below: &[u8]) -> bool {
    match below.first() {
        None => false,
        Some(first) if *first != b'5' => *first > b'5',
        // Trailing zeros were trimmed, so any digit after the five is worth something.
        Some(_) => below.len() > 1 || atoms % 2 != 0,
    }
}

fn not_a_number(text: &str) -> DecimalError {
    DecimalError::NotANumber(shorten(text))
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, scale: u32, expected: Option<(i128, bool)>) {
        let parsed = parse_scaled(text, scale).ok().map(|parsed| (parsed.atoms, parsed.rounded));
        assert_eq!(parsed, expected, "{text} at scale {scale}");
    }

    #[test]
    fn numbers_are_parsed_from_their_text_and_rounded_half_even_once() {
        check("0", 15, Some((0, false)));
        check("0E-6176", 15, Some((0, false)));
        check("1e-7", 9, Some((100, false)));
        check("1E+2", 0, Some((100, false)));
        check("+12.34", 2, Some((1234, false)));
        check(".5", 1, Some((5, false)));
        check("5.", 1, Some((50, false)));
        check("-0.0", 2, Some((0, false)));
        check("2.5", 0, Some((2, true)));
        check("3.5", 0, Some((4, true)));
        check("2.50000000000000000000000000001", 0, Some((3, true)));
        check("9.99", 1, Some((100, true)));
        check("0.05", 0, Some((0, true)));
        check("0.5", 0, Some((0, true)));
        check("0.51", 0, Some((1, true)));
        check("0.0000001", 2, Some((0, true)));
        check("1e-999999999999999999999", 2, Some((0, true)));
        check(" 7 ", 0, Some((7, false)));
        check("007", 2, Some((700, false)));
        check("999999999999999999", 18, Some((999_999_999_999_999_999 * 10_i128.pow(18), false)));
        check("1000000000000000000", 18, Some((10_i128.pow(36), false)));
        check("1000000000000000000", 19, Some((10_i128.pow(37), false)));
        check("999999999999.999999999999999", 15, Some((999_999_999_999_999_999_999_999_999, false)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", ".", "-", "e5", "1e", "1e+", "NaN", "inf", "1,000", "1_000", "0x10", "--1", "1.2.3", "١"] {
            check(text, 2, None);
        }
        check("1e38", 0, None);
        check("1e999999999999999999999", 0, None);
    }

    #[test]
    fn printing_keeps_two_decimals_and_no_further_zeros() {
        assert_eq!(format_scaled(0, 15, 2), "0.00");
        assert_eq!(format_scaled(127_500_000_000_000_000, 15, 2), "127.50");
        assert_eq!(format_scaled(-1, 15, 2), "-0.000000000000001");
        assert_eq!(format_scaled(5, 0, 2), "5.00");
        assert_eq!(format_scaled(5, 0, 0), "5");
    }
}
