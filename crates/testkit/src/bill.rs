//! FOCUS files.

use domain::Day;
use std::fmt::Write as _;

const HEADER: &str = "BillingAccountId,SubAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,\
    ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory,Tags\n";

/// A bill of one provider, line by line.
#[derive(Clone, Debug)]
pub struct Bill {
    text: String,
}

/// One line of a [`Bill`].
#[derive(Clone, Debug)]
pub struct BillLine<'l> {
    /// The day it is charged for, `2026-05-03`; its month is the billing period.
    pub day: &'l str,
    /// SubAccountId.
    pub sub_account: &'l str,
    /// ServiceName.
    pub service: &'l str,
    /// ChargeCategory.
    pub charge_category: &'l str,
    /// All four costs, in USD.
    pub cost: &'l str,
    /// Tags as JSON.
    pub tags: &'l str,
}

impl Default for BillLine<'_> {
    fn default() -> Self {
        Self {
            day: "2026-05-03",
            sub_account: "acme",
            service: "AmazonEC2",
            charge_category: "Usage",
            cost: "1.00",
            tags: "{}",
        }
    }
}

impl Default for Bill {
    fn default() -> Self {
        Self { text: HEADER.to_owned() }
    }
}

impl Bill {
    /// Returns a bill without lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    ///
    /// # Panics
    /// When its day is none: a mistake of the test.
    #[must_use]
    pub fn line(mut self, line: &BillLine<'_>) -> Self {
        let BillLine { day, sub_account, service, charge_category, cost, tags } = line;
        let day: Day = day.parse().expect("a day such as 2026-05-03");
        let (start, end, next_day) = (day.month().first_day(), day.month().last_day().plus(1), day.plus(1));
        let tags = tags.replace('"', "\"\"");
        let row = format!(
            "payer,{sub_account},USD,{start}T00:00:00Z,{end}T00:00:00Z,{day}T00:00:00Z,{next_day}T00:00:00Z,{charge_category},\
             {cost},{cost},{cost},{cost},AWS,{service},Compute,\"{tags}\""
        );
        writeln!(self.text, "{row}").expect("writing to a string never fails");
        self
    }

    /// Returns the file as CSV.
    #[must_use]
    pub fn csv(&self) -> &str {
        &self.text
    }
}
