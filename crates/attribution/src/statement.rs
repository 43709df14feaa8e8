//! A month's charge in whole minor units: the only place where money is rounded.

use crate::minor_units::{round_all_to_total, round_to_minor_units};
use domain::Currency;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a line of a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    /// The pool; empty for adjustments that name none.
    pub pool: Arc<str>,
    /// Category of the meter or service; empty if there is none.
    pub category: Arc<str>,
    /// FOCUS ChargeCategory; empty if there is none.
    pub charge_category: Arc<str>,
}

/// An exact amount and what is printed of it, in atoms of 10⁻¹⁵.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The exact amount.
    pub exact: i128,
    /// The same in whole minor units.
    pub amount: i128,
}

impl Printed {
    /// Returns what rounding added, in atoms; negative when it took something away.
    #[must_use]
    pub fn rounding(&self) -> i128 {
        self.amount - self.exact
    }
}

/// What a tenant or a reserved consumer is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Tenant id or reserved word.
    pub consumer: Arc<str>,
    /// The sum of the lines.
    pub total: Printed,
    /// The lines in order of their keys.
    pub lines: Vec<(LineKey, Printed)>,
}

/// What a month charges in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The sum over all consumers.
    pub total: Printed,
    /// Tenants and reserved consumers in byte order.
    pub charged: Vec<Charged>,
}

/// Exact amounts by consumer and line, in atoms.
pub type ExactAmounts = BTreeMap<Arc<str>, BTreeMap<LineKey, i128>>;

/// Returns the statement of these amounts: every printed sum is the sum of the printed lines.
///
/// The exact total is rounded half-even to the minor unit of the currency; that is handed to the consumers, then each
/// consumer's amount to its lines, both by the split rule with the exact amounts as weights, positive and negative parts
/// apart. Lines of exactly zero are left out, and consumers without lines.
///
/// # Units
/// Atoms of 10⁻¹⁵.
///
/// # Source
/// Spec 3-attribution, section 6.
///
/// # Panics
/// When the printed lines would not add up: a wrong bill is worse than a crash.
#[must_use]
pub fn state(currency: Currency, mut amounts: ExactAmounts) -> Statement {
    amounts.values_mut().for_each(|lines| lines.retain(|_, atoms| *atoms != 0));
    amounts.retain(|_, lines| !lines.is_empty());
    let exact: Vec<i128> = amounts.values().map(|lines| lines.values().sum()).collect();
    let total = exact.iter().sum();
    let total = Printed { exact: total, amount: round_to_minor_units(total, currency) };
    let rounded = round_all_to_total(&exact, total.amount, currency);
    let charged: Vec<Charged> = amounts
        .into_iter()
        .zip(exact.into_iter().zip(rounded))
        .map(|((consumer, lines), (exact, amount))| charge(currency, consumer, lines, Printed { exact, amount }))
        .collect();
    let printed: i128 = charged.iter().map(|charged| charged.total.amount).sum();
    assert_eq!(printed, total.amount, "what is charged adds up to the printed total");
    Statement { total, charged }
}

fn charge(currency: Currency, consumer: Arc<str>, lines: BTreeMap<LineKey, i128>, total: Printed) -> Charged {
    let exact: Vec<i128> = lines.values().copied().collect();
    let rounded = round_all_to_total(&exact, total.amount, currency);
    assert_eq!(rounded.iter().sum::<i128>(), total.amount, "the lines of {consumer} add up to its printed total");
    let printed = exact.into_iter().zip(rounded).map(|(exact, amount)| Printed { exact, amount });
    Charged { consumer, total, lines: lines.into_keys().zip(printed).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::{format_atoms, parse_atoms};
    use domain::tenant::IDLE;

    fn stated(currency: &str, rows: &[(&str, &str, &str)]) -> Statement {
        let mut amounts = ExactAmounts::new();
        for (consumer, pool, amount) in rows {
            let key = LineKey { pool: (*pool).into(), category: "compute".into(), charge_category: "Usage".into() };
            let atoms = parse_atoms(amount).expect("an amount").atoms;
            *amounts.entry((*consumer).into()).or_default().entry(key).or_default() += atoms;
        }
        state(currency.parse().expect("a currency"), amounts)
    }

    fn check(currency: &str, rows: &[(&str, &str, &str)], total: &str, expected: &[(&str, &str, &str)]) {
        let statement = stated(currency, rows);
        let printed: Vec<(String, String, String)> = statement
            .charged
            .iter()
            .flat_map(|charged| {
                charged
                    .lines
                    .iter()
                    .map(|(key, line)| (charged.consumer.to_string(), key.pool.to_string(), format_atoms(line.amount)))
            })
            .collect();
        let expected: Vec<(String, String, String)> = expected
            .iter()
            .map(|(consumer, pool, amount)| ((*consumer).to_owned(), (*pool).to_owned(), (*amount).to_owned()))
            .collect();
        assert_eq!((format_atoms(statement.total.amount), printed), (total.to_owned(), expected));
    }

    #[test]
    fn the_total_goes_to_consumers_and_then_to_their_lines() {
        let thirds = [("acme", "west", "33.333333333333333"), ("globex", "west", "66.666666666666667")];
        check("USD", &thirds, "100.00", &[("acme", "west", "33.33"), ("globex", "west", "66.67")]);
        let lines = [("acme", "a", "0.004"), ("acme", "b", "0.004"), ("globex", "a", "0.002")];
        check("USD", &lines, "0.01", &[("acme", "a", "0.01"), ("acme", "b", "0.00"), ("globex", "a", "0.00")]);
        let reserved = [(IDLE, "west", "0.5"), ("acme", "west", "1.5"), ("globex", "west", "1.0")];
        check(
            "JPY",
            &reserved,
            "3.00",
            &[(IDLE, "west", "1.00"), ("acme", "west", "1.00"), ("globex", "west", "1.00")],
        );
    }

    #[test]
    fn credits_and_charges_are_rounded_apart() {
        let rows = [("acme", "usage", "10.005"), ("acme", "credit", "-2.005"), ("globex", "credit", "-1.001")];
        let expected = [("acme", "credit", "-2.00"), ("acme", "usage", "10.00"), ("globex", "credit", "-1.00")];
        check("USD", &rows, "7.00", &expected);
    }

    #[test]
    fn lines_without_money_are_left_out() {
        check("USD", &[("acme", "west", "1.00"), ("acme", "west", "-1.00"), ("globex", "west", "0")], "0.00", &[]);
        assert_eq!(stated("USD", &[]).total, Printed::default());
    }
}
