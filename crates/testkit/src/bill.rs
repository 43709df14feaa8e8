//! FOCUS files.

use std::fmt::Write as _;

const HEADER: &str = "BillingAccountId,SubAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,\
    ChargePeriodEnd,ChargeCategory,BilledCost,EffectiveCost,ListCost,ContractedCost,ProviderName,ServiceName,ServiceCategory,Tags\n";

/// A bill of one provider and one month, line by line.
#[derive(Clone, Debug)]
pub struct Bill {
    month: (String, String),
    text: String,
}

/// One line of a [`Bill`].
#[derive(Clone, Debug)]
pub struct BillLine<'l> {
    /// The day it is charged for, `2026-05-03`.
    pub day: &'l str,
    /// The day after.
    pub next_day: &'l str,
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
            next_day: "2026-05-04",
            sub_account: "acme",
            service: "AmazonEC2",
            charge_category: "Usage",
            cost: "1.00",
            tags: "{}",
        }
    }
}

impl Bill {
    /// Returns a bill without lines of the month from `start` up to `end`, both the first of a month.
    #[must_use]
    pub fn of_month(start: &str, end: &str) -> Self {
        Self { month: (start.to_owned(), end.to_owned()), text: HEADER.to_owned() }
    }

    /// Adds a line.
    #[must_use]
    pub fn line(mut self, line: &BillLine<'_>) -> Self {
        let BillLine { day, next_day, sub_account, service, charge_category, cost, tags } = line;
        let (start, end) = &self.month;
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
