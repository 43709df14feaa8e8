//! Usage of many days at the prices of one card: what it would cost if that card had always applied.

use crate::graduated::add_between;
use crate::rating::{QUANTITY_ATOMS_PER_UNIT, Rated, price_of_day};
use crate::split::split_exact;
use domain::Day;
use domain::money::MONEY_ATOMS_MAX;
use domain::rates::{AmbiguousPrice, Match, Per, RateCard, canonical};
use num_bigint::BigUint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of which quantities a row of a card may be applied to a sum over days without another result than day by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Additive {
    /// Any: no product is ever rounded.
    Always,
    /// Whole units: their products are not rounded.
    WholeUnits,
    /// None: it is rounded by day, or it depends on the day or the month.
    Never,
}

/// A card that prices quantities in any number; the quantities of graduated prices come in the order of days.
#[derive(Clone, Debug)]
pub struct Repricer {
    card: Arc<RateCard>,
    /// Rows of the card by the meter that they price.
    rows: BTreeMap<String, Vec<usize>>,
    /// By row, what turns the meter's quantity into the row's own unit.
    divisors: Vec<u64>,
    /// The first of the month whose quantities are held.
    month: Option<Day>,
    /// By row and tenant, since the first of the month, in atoms.
    so_far: BTreeMap<(usize, Arc<str>), i128>,
}

/// An amount is more than a row can hold; 10¹⁰ of those that a row can hold add up to less than 2¹²⁷.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quantity costs more than can be counted")]
pub struct TooMuch;

impl Repricer {
    /// Returns the prices of the card.
    #[must_use]
    pub fn new(card: Arc<RateCard>) -> Self {
        let mut rows: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, row) in card.prices.iter().enumerate() {
            rows.entry(canonical(&row.meter).0.to_owned()).or_default().push(at);
        }
        let divisors = card.prices.iter().map(|row| canonical(&row.meter).1).collect();
        Self { card, rows, divisors, month: None, so_far: BTreeMap::new() }
    }

    /// Returns the card.
    #[must_use]
    pub fn card(&self) -> &RateCard {
        &self.card
    }

    /// Returns which row of the card prices a quantity; none if no row does.
    ///
    /// # Errors
    /// [`AmbiguousPrice`] when two rows fit equally well.
    pub fn row(&self, meter: &str, has_label: impl Fn(&str, &str) -> bool) -> Result<Option<usize>, AmbiguousPrice> {
        match self.rows.get(meter).map(Vec::as_slice) {
            None => Ok(None),
            // Nearly every meter has one price.
            Some([only]) => {
                let fits = self.card.prices[*only].labels.iter().all(|(key, value)| has_label(key, value));
                Ok(fits.then_some(*only))
            }
            Some(_) => {
                let found = self.card.price_where(meter, has_label)?;
                let at = |found: Match<'_>| self.card.prices.iter().position(|row| std::ptr::eq(row, found.row));
                Ok(found.and_then(at))
            }
        }
    }

    /// Returns whether a row has graduated prices: then [`Repricer::graduated`] prices it.
    #[must_use]
    pub fn is_graduated(&self, row: usize) -> bool {
        !self.card.prices[row].tiers.is_empty()
    }

    /// Returns of which quantities the row may be applied to a sum over days.
    #[must_use]
    pub fn additive(&self, row: usize) -> Additive {
        let (row, divisor) = (&self.card.prices[row], i128::from(self.divisor(row)));
        let is_same_each_day = row.tiers.is_empty() && matches!(row.per.unwrap_or_default(), Per::Unit | Per::Day);
        let price = row.price.atoms();
        match is_same_each_day {
            true if price % (divisor * QUANTITY_ATOMS_PER_UNIT) == 0 => Additive::Always,
            true if price % divisor == 0 => Additive::WholeUnits,
            _ => Additive::Never,
        }
    }

    /// Returns the least additive of the prices of a meter; always for one without a price, for that is nothing.
    #[must_use]
    pub fn additive_of(&self, meter: &str) -> Additive {
        let rows = self.rows.get(meter).into_iter().flatten();
        rows.map(|row| self.additive(*row)).max().unwrap_or(Additive::Always)
    }

    /// Returns the meters that the card prices.
    pub fn meters(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    fn divisor(&self, row: usize) -> u64 {
        self.divisors[row]
    }

    /// Returns what a quantity costs on a day, rounded half-even once, in atoms of 10⁻¹⁵. Usage below 0 costs nothing.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub fn amount(&self, row: usize, quantity: i128, day: Day, day_seconds: i64) -> Result<i128, TooMuch> {
        assert!(!self.is_graduated(row), "a graduated price is not one of a day alone");
        let found = Match { row: &self.card.prices[row], divisor: self.divisor(row) };
        let price = price_of_day(&found, day, day_seconds).ok_or(TooMuch)?;
        let divisor = i128::from(found.divisor) * QUANTITY_ATOMS_PER_UNIT;
        let amount = crate::exact::multiply_divide_half_even(quantity.max(0), price, divisor);
        amount.filter(|amount| *amount <= MONEY_ATOMS_MAX).ok_or(TooMuch)
    }

    /// Returns what each of a tenant's cells of a day costs at a graduated price, and goes on in the month. Days must
    /// ascend, and the cells of a row, tenant and day come in one call, in the order of their keys.
    ///
    /// # Errors
    /// [`TooMuch`].
    ///
    /// # Source
    /// Spec 2-model, section 6: F(Q(d)) − F(Q(d−1)) rounded half-even once, divided over the cells by quantity.
    pub fn graduated(
        &mut self,
        row: usize,
        tenant: &Arc<str>,
        day: Day,
        quantities: &[i128],
    ) -> Result<Vec<i128>, TooMuch> {
        let first = day.month().first_day();
        assert!(self.month.is_none_or(|month| month <= first), "days ascend");
        if self.month != Some(first) {
            self.so_far.clear();
            self.month = Some(first);
        }
        let weights: Vec<BigUint> = quantities.iter().map(|quantity| crate::cells::magnitude(*quantity)).collect();
        let used = quantities.iter().map(|quantity| (*quantity).max(0)).try_fold(0_i128, i128::checked_add);
        let so_far = self.so_far.entry((row, Arc::clone(tenant))).or_default();
        let before = *so_far;
        *so_far = used.and_then(|used| before.checked_add(used)).ok_or(TooMuch)?;
        let mut rated = Rated::default();
        let price = &self.card.prices[row];
        let found = Match { row: price, divisor: self.divisors[row] };
        add_between(&mut rated, &found, before, *so_far);
        let cost = rated.round_half_even().filter(|cost| *cost <= MONEY_ATOMS_MAX).ok_or(TooMuch)?;
        Ok(split_exact(cost, &weights).unwrap_or_else(|| vec![0; weights.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(rows: &str) -> Arc<RateCard> {
        let text = format!("version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n{rows}");
        Arc::new(RateCard::read("rates.toml", &text).expect("a valid card"))
    }

    fn check_additive(row: &str, expected: Additive) {
        assert_eq!(Repricer::new(card(&format!("[[price]]\n{row}"))).additive(0), expected, "{row}");
    }

    #[test]
    fn a_price_adds_up_over_days_where_nothing_is_rounded() {
        check_additive("meter='api_call'\nprice='0.000002'", Additive::Always);
        check_additive("meter='m'\nprice='0.0000000001'", Additive::WholeUnits);
        check_additive("meter='storage_gb'\nprice='0.10'\nper='unit'", Additive::WholeUnits);
        check_additive("meter='storage_gib'\nprice='0.10'\nper='unit'", Additive::Never);
        check_additive("meter='member_count'\nprice='5'\nper='month'", Additive::Never);
        check_additive("meter='member_count'\nprice='5'\nper='hour'", Additive::Never);
        check_additive("meter='m'\nprice='5'\ntiers=[{above='1',price='1'}]", Additive::Never);
        let two = card(
            "[[price]]\nmeter='storage_gb'\nprice='1'\nper='unit'\nlabels={a='b'}\n\
             [[price]]\nmeter='storage_gib'\nprice='0.1'\nper='unit'",
        );
        let two = Repricer::new(two);
        assert_eq!(two.additive_of("storage_bytes"), Additive::Never);
        assert_eq!(two.additive_of("api_call_count_24h"), Additive::Always);
    }

    #[test]
    fn a_quantity_costs_what_the_starter_card_says() {
        let repricer = Repricer::new(Arc::new(RateCard::starter()));
        let cost = |meter: &str, quantity: i128| {
            let row = repricer.row(meter, |_, _| false).expect("no tie").expect("a price");
            let day = "2026-10-01".parse().expect("a day");
            domain::money::format_atoms(
                repricer.amount(row, quantity * QUANTITY_ATOMS_PER_UNIT, day, 86_400).expect("small"),
            )
        };
        assert_eq!(cost("member_count", 3), "15.00");
        assert_eq!(cost("storage_bytes", 2_500_000_000), "0.25");
        assert_eq!(cost("storage_bytes", 1), "0.0000000001");
        assert_eq!(cost("api_call_count_24h", 1_000_001), "2.000002");
        assert_eq!(cost("api_call_count_24h", -1), "0.00");
        assert_eq!(repricer.row("change_count_24h", |_, _| false), Ok(None));
    }

    #[test]
    fn what_no_row_can_hold_is_refused() {
        let price = "price='500000000000'";
        let rows =
            format!("[[price]]\nmeter='m'\n{price}\n[[price]]\nmeter='n'\n{price}\ntiers=[{{above='9',price='1'}}]");
        let mut repricer = Repricer::new(card(&rows));
        let day = "2026-10-01".parse().expect("a day");
        let units = |units: i128| units * QUANTITY_ATOMS_PER_UNIT;
        let (most, more) = (repricer.amount(0, units(2), day, 86_400), repricer.amount(0, units(3), day, 86_400));
        assert_eq!((most, more), (Ok(MONEY_ATOMS_MAX), Err(TooMuch)));
        assert_eq!(repricer.graduated(1, &"acme".into(), day, &[units(2)]), Ok(vec![MONEY_ATOMS_MAX]));
        assert_eq!(repricer.graduated(1, &"globex".into(), day, &[units(3)]), Err(TooMuch));
    }

    #[test]
    fn a_graduated_price_begins_again_with_the_month() {
        let card = card("[[price]]\nmeter='m'\nprice='1'\ntiers=[{above='10',price='0'}]");
        let mut repricer = Repricer::new(card);
        let tenant: Arc<str> = "acme".into();
        let mut cost = |day: &str, units: &[i128]| {
            let quantities: Vec<i128> = units.iter().map(|units| units * QUANTITY_ATOMS_PER_UNIT).collect();
            let amounts = repricer.graduated(0, &tenant, day.parse().expect("a day"), &quantities).expect("small");
            amounts.into_iter().map(domain::money::format_atoms).collect::<Vec<_>>()
        };
        assert_eq!(cost("2026-10-30", &[6, 2]), ["6.00", "2.00"]);
        assert_eq!(cost("2026-10-31", &[3, 1]), ["1.50", "0.50"]);
        assert_eq!(cost("2026-11-01", &[3]), ["3.00"]);
    }
}
