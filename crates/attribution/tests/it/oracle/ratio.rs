//! Fractions of integers of any size, and the oracle's own split rule.

use num_bigint::BigInt;
use num_integer::Integer;
use std::cmp::{Ordering, Reverse};

/// An exact fraction in lowest terms; the denominator is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    top: BigInt,
    bottom: BigInt,
}

impl Ratio {
    pub fn new(top: impl Into<BigInt>, bottom: impl Into<BigInt>) -> Self {
        let (mut top, mut bottom) = (top.into(), bottom.into());
        assert_ne!(bottom, BigInt::ZERO, "a fraction has a denominator");
        if bottom < BigInt::ZERO {
            (top, bottom) = (-top, -bottom);
        }
        let common = top.gcd(&bottom);
        Self { top: top / &common, bottom: bottom / &common }
    }

    pub fn whole(value: impl Into<BigInt>) -> Self {
        Self { top: value.into(), bottom: 1.into() }
    }

    pub fn zero() -> Self {
        Self::whole(0)
    }

    /// Reads plain decimal text such as `-12.50`.
    pub fn decimal(text: &str) -> Self {
        let digits = text.trim_start_matches('-');
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let top: BigInt = format!("{before}{after}").parse().expect("digits");
        let bottom = BigInt::from(10).pow(u32::try_from(after.len()).expect("short"));
        Self::new(if text.starts_with('-') { -top } else { top }, bottom)
    }

    pub fn plus(&self, other: &Self) -> Self {
        Self::new(&self.top * &other.bottom + &other.top * &self.bottom, &self.bottom * &other.bottom)
    }

    pub fn times(&self, other: &Self) -> Self {
        Self::new(&self.top * &other.top, &self.bottom * &other.bottom)
    }

    pub fn over(&self, other: &Self) -> Self {
        Self::new(&self.top * &other.bottom, &self.bottom * &other.top)
    }

    pub fn sum<'r>(all: impl IntoIterator<Item = &'r Self>) -> Self {
        all.into_iter().fold(Self::zero(), |total, next| total.plus(next))
    }

    pub fn is_positive(&self) -> bool {
        self.top > BigInt::ZERO
    }

    pub fn is_negative(&self) -> bool {
        self.top < BigInt::ZERO
    }

    /// The largest integer that is not above the fraction.
    pub fn floor(&self) -> BigInt {
        self.top.div_floor(&self.bottom)
    }

    /// The nearest integer; of two equally near the even one.
    pub fn half_even(&self) -> BigInt {
        let below = self.floor();
        let distance = self.plus(&Self::whole(-below.clone()));
        match distance.cmp(&Self::new(1, 2)) {
            Ordering::Less => below,
            Ordering::Greater => below + 1,
            Ordering::Equal => &below + below.mod_floor(&BigInt::from(2)),
        }
    }

    /// The fraction in units of 10^-`digits`; it must have no more digits.
    pub fn atoms(&self, digits: u32) -> i128 {
        let scaled = self.times(&Self::whole(BigInt::from(10).pow(digits)));
        assert_eq!(scaled.bottom, BigInt::from(1), "the number has at most {digits} digits");
        small(&scaled.top)
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.top * &other.bottom).cmp(&(&other.top * &self.bottom))
    }
}

pub fn small(value: &BigInt) -> i128 {
    value.try_into().expect("a bounded number")
}

/// Shares of an amount by keyed weights, or `None` when they weigh nothing (spec 3-attribution, section 3).
pub fn split<K: Ord>(amount: i128, cells: &[(K, Ratio)]) -> Option<Vec<i128>> {
    let total = Ratio::sum(cells.iter().map(|(_, weight)| weight));
    if !total.is_positive() {
        return None;
    }
    let size = Ratio::whole(amount.unsigned_abs());
    let exact: Vec<Ratio> = cells.iter().map(|(_, weight)| size.times(weight).over(&total)).collect();
    let mut shares: Vec<BigInt> = exact.iter().map(Ratio::floor).collect();
    let left = BigInt::from(amount.unsigned_abs()) - shares.iter().sum::<BigInt>();
    let mut queue: Vec<usize> = (0..cells.len()).collect();
    queue.sort_by_key(|at| (Reverse(exact[*at].plus(&Ratio::whole(-shares[*at].clone()))), &cells[*at].0));
    for at in queue.into_iter().take(usize::try_from(&left).expect("fewer atoms than cells")) {
        shares[at] += 1;
    }
    Some(shares.iter().map(|share| small(share) * amount.signum()).collect())
}
