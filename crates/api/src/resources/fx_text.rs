//! Tables of exchange rates as text: `date,from,to,rate`, and the wide table that the ECB publishes.

use crate::problem::ApiError;
use domain::{Currency, Day, Month, Price};

/// A rate of a table: one `from` costs `rate` `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) date: Day,
    pub(super) from: Currency,
    pub(super) to: Currency,
    pub(super) rate: Price,
    pub(super) source: &'static str,
}

/// 1 ÷ rate in atoms of 10⁻¹⁵ is 10³⁰ ÷ the rate's atoms.
const ONE_SQUARED: i128 = 10_i128.pow(30);

/// Returns the rates of a CSV text.
pub(super) fn read(text: &str) -> Result<Vec<Rate>, ApiError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| ApiError::body("line 1", error.to_string()))?.clone();
    let names: Vec<String> = header.iter().map(str::to_ascii_lowercase).collect();
    let narrow = ["date", "from", "to", "rate"].map(|name| names.iter().position(|known| known == name));
    let mut rates = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| ApiError::body("", error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        match narrow {
            [Some(date), Some(from), Some(to), Some(rate)] => {
                let cell = |at: usize| record.get(at).unwrap_or_default();
                let place = |name: &str| format!("line {line}, column {name}");
                rates.push(Rate {
                    date: parsed(cell(date), &place("date"))?,
                    from: parsed(cell(from), &place("from"))?,
                    to: parsed(cell(to), &place("to"))?,
                    rate: positive(cell(rate), &place("rate"))?,
                    source: "csv",
                });
            }
            _ if names.first().is_some_and(|first| first == "date") => ecb_row(&header, &record, line, &mut rates)?,
            _ => {
                return Err(ApiError::body(
                    "line 1",
                    "the columns are neither date,from,to,rate nor those of the ECB (Date,USD,JPY,…)",
                ));
            }
        }
    }
    Ok(rates)
}

/// A row of the ECB's table: units of each currency that one euro costs; `N/A` where there is none.
fn ecb_row(
    header: &csv::StringRecord,
    record: &csv::StringRecord,
    line: u64,
    rates: &mut Vec<Rate>,
) -> Result<(), ApiError> {
    let date = ecb_day(record.get(0).unwrap_or_default(), line)?;
    for (name, cell) in header.iter().zip(record.iter()).skip(1) {
        if name.is_empty() || matches!(cell, "" | "N/A") {
            continue;
        }
        let place = format!("line {line}, column {name}");
        let currency: Currency = parsed(name, &place)?;
        let rate = positive(cell, &place)?;
        let inverse = inverse(rate).ok_or_else(|| ApiError::body(&place, format!("1 ÷ {rate} cannot be stored")))?;
        rates.push(Rate { date, from: Currency::EUR, to: currency, rate, source: "ecb" });
        rates.push(Rate { date, from: currency, to: Currency::EUR, rate: inverse, source: "ecb" });
    }
    Ok(())
}

/// `2026-11-19`, or `19 November 2026` as in the daily file.
fn ecb_day(text: &str, line: u64) -> Result<Day, ApiError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [day, month, year] = words.as_slice() else { return parsed(text, &format!("line {line}, column Date")) };
    let number = Month::NAMES.iter().position(|name| name.eq_ignore_ascii_case(month)).map_or(0, |at| at + 1);
    parsed(&format!("{year}-{number:02}-{day:0>2}"), &format!("line {line}, column Date"))
}

/// Returns 1 ÷ rate, rounded half-even to 15 digits.
fn inverse(rate: Price) -> Option<Price> {
    let atoms = rate.atoms();
    let (quotient, rest) = (ONE_SQUARED.checked_div(atoms)?, ONE_SQUARED.checked_rem(atoms)?);
    let rounds_up = match (rest * 2).cmp(&atoms) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Less => false,
    };
    Price::from_atoms(quotient + i128::from(rounds_up)).filter(|inverse| inverse.atoms() > 0)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, place: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error: T::Err| ApiError::body(place, format!("{place}: {error}")))
}

/// Returns a rate that somebody can pay.
pub(super) fn positive(text: &str, place: &str) -> Result<Price, ApiError> {
    let rate: Price = parsed(text, place)?;
    let refuse = || ApiError::body(place, format!("{place}: a rate is above 0, not `{rate}`"));
    (rate.atoms() > 0).then_some(rate).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let rates = read(text).unwrap_or_else(|error| panic!("{error}"));
        let rates: Vec<String> =
            rates.iter().map(|rate| format!("{} {} {} {}", rate.date, rate.from, rate.to, rate.rate)).collect();
        assert_eq!(rates, expected, "{text}");
    }

    #[test]
    fn narrow_tables_may_have_their_columns_in_any_order() {
        check("date,from,to,rate\n2026-11-19,EUR,USD,1.0555\n", &["2026-11-19 EUR USD 1.0555"]);
        check("rate,date,to,from\r\n0.5,2026-11-19,USD,GBP\r\n", &["2026-11-19 GBP USD 0.5"]);
    }

    #[test]
    fn the_ecb_prints_euro_and_the_inverse_is_computed() {
        let expected = [
            "2026-11-19 EUR USD 1.6",
            "2026-11-19 USD EUR 0.625",
            "2026-11-19 EUR JPY 163",
            "2026-11-19 JPY EUR 0.006134969325153",
        ];
        check("Date,USD,CYP,JPY,\n2026-11-19,1.6,N/A,163,\n", &expected);
        check("Date, USD, JPY, \n19 November 2026, 1.6, 163, \n", &expected);
    }

    #[test]
    fn an_inverse_is_rounded_half_even() {
        let inverse_of = |text: &str| inverse(text.parse().expect("a rate")).map(|inverse| inverse.to_string());
        assert_eq!(inverse_of("3"), Some("0.333333333333333".to_owned()));
        assert_eq!(inverse_of("0.7"), Some("1.428571428571429".to_owned()));
        // 1 ÷ 2¹⁶ = 0.0000152587890625 has sixteen digits and ends in 25: the even neighbour is below.
        assert_eq!(inverse_of("65536"), Some("0.000015258789062".to_owned()));
        assert_eq!(inverse_of("1000000000000"), Some("0.000000000001".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let refused = |text: &str| read(text).expect_err("refused").to_string();
        assert!(refused("date,from,to,rate\n2026-11-19,EUR,usd,1\n").starts_with("line 2, column to"));
        assert!(refused("date,from,to,rate\n2026-11-19,EUR,USD,-1\n").contains("above 0"));
        assert!(refused("Date,USD\n19.11.2026,1\n").starts_with("line 2, column Date"));
        assert!(refused("day,usd\n1,2\n").contains("date,from,to,rate"));
    }
}
