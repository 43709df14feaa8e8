use super::collector::Spec;
use super::error::CollectError;
use super::period::BillingPeriod;
use domain::InstantRange;
use serde_json::{Map, Value};

/// One cost line, as cells of FOCUS columns by name. What is no FOCUS column is kept beside them, named `x_…`.
///
/// The billing account and the billing period are put in by whoever stores it, so that no line can land in another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    cells: Map<String, Value>,
}

impl Line {
    /// Returns a line of a category (`Usage`, `Purchase`, `Credit`, `Tax`, `Adjustment`) for a time.
    #[must_use]
    pub fn new(category: &'static str, charge: InstantRange) -> Self {
        Self { cells: Map::new() }
            .cell("ChargeCategory", category)
            .cell("ChargePeriodStart", charge.start.to_string())
            .cell("ChargePeriodEnd", charge.end.to_string())
    }

    /// Returns the line that a provider speaks FOCUS in; columns that nobody knows are kept.
    #[must_use]
    pub fn of_focus(cells: Map<String, Value>) -> Self {
        Self { cells }
    }

    /// Sets BilledCost and EffectiveCost to one amount.
    #[must_use]
    pub fn cost(self, amount: impl Into<String>, currency: &str) -> Self {
        let amount: String = amount.into();
        self.cell("BilledCost", amount.clone()).cell("EffectiveCost", amount).cell("BillingCurrency", currency)
    }

    /// Sets a column.
    #[must_use]
    pub fn cell(mut self, column: &str, value: impl Into<String>) -> Self {
        self.cells.insert(column.to_owned(), Value::String(value.into()));
        self
    }

    /// Sets a column if there is something to set.
    #[must_use]
    pub fn maybe(self, column: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.cell(column, value),
            None => self,
        }
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: impl Into<String>) -> Self {
        let tags = self.cells.entry("Tags").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(tags) = tags {
            tags.insert(key.to_owned(), Value::String(value.into()));
        }
        self
    }

    /// Returns what stands in a column, `None` also for null.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.cells.get(column).filter(|value| !value.is_null())
    }

    /// Returns the text of a column.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column).and_then(Value::as_str)
    }

    /// Puts the effective cost where list and contracted cost are not told: a null one would be stored as 0.
    fn derive_costs(&mut self) {
        let Some(effective) = self.get("EffectiveCost").cloned() else { return };
        let is_missing = |column: &&str| self.get(column).is_none();
        let derived: Vec<&str> = ["ListCost", "ContractedCost"].into_iter().filter(is_missing).collect();
        if derived.is_empty() {
            return;
        }
        for column in &derived {
            self.cells.insert((*column).to_owned(), effective.clone());
        }
        self.cells.insert("x_DerivedCosts".to_owned(), Value::from(derived.join(", ")));
    }

    /// Returns the whole row, in its billing account and period.
    ///
    /// # Errors
    /// [`Cause::Schema`](super::Cause::Schema) if a cost, its currency or its time is missing: that is no zero.
    pub(super) fn finish(
        mut self,
        spec: &Spec,
        account: &str,
        period: &BillingPeriod,
    ) -> Result<Map<String, Value>, CollectError> {
        for needed in ["BilledCost", "EffectiveCost", "BillingCurrency", "ChargePeriodStart", "ChargeCategory"] {
            if self.get(needed).is_none() {
                return Err(CollectError::schema(format!("a cost line has no `{needed}`")));
            }
        }
        let (start, end) = (period.billing_start().to_string(), period.range().end.to_string());
        let ours =
            [("BillingAccountId", account), ("BillingPeriodStart", start.as_str()), ("BillingPeriodEnd", end.as_str())];
        for (column, value) in ours {
            let sent = self.cells.insert(column.to_owned(), Value::from(value));
            if let Some(sent) = sent.filter(|sent| !sent.is_null() && sent.as_str() != Some(value)) {
                self.cells.insert(format!("x_Sent{column}"), sent);
            }
        }
        self.derive_costs();
        for column in ["ServiceProviderName", "InvoiceIssuerName"] {
            if self.get(column).is_none() {
                self.cells.insert(column.to_owned(), Value::from(spec.provider));
            }
        }
        Ok(self.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::super::vercel::KIND;
    use super::*;
    use domain::Zone;

    fn period() -> BillingPeriod {
        let now = "2026-11-20T00:00:00Z".parse().expect("an instant");
        BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &Zone::utc(), now)
    }

    #[test]
    fn a_line_lands_in_its_account_and_period_whatever_it_says_itself() {
        let line = Line::new("Usage", period().range())
            .cost("1.5", "USD")
            .cell("BillingAccountId", "other")
            .cell("BillingPeriodStart", "2020-01-01T00:00:00Z")
            .tag("project", "shop")
            .maybe("RegionId", None::<String>);
        let row = line.finish(KIND.spec, "acme", &period()).expect("a row");
        let text = |column: &str| row.get(column).and_then(Value::as_str);
        assert_eq!((text("BillingAccountId"), text("x_SentBillingAccountId")), (Some("acme"), Some("other")));
        assert_eq!(text("BillingPeriodStart"), Some("2026-11-01T00:00:00Z"));
        assert_eq!(text("BillingPeriodEnd"), Some("2026-12-01T00:00:00Z"));
        assert_eq!((text("ServiceProviderName"), text("RegionId")), (Some(KIND.spec.provider), None));
        assert_eq!(row["Tags"]["project"], "shop");
    }

    #[test]
    fn list_and_contracted_cost_are_no_zeros_where_they_are_not_told() {
        let line = |list: Option<&str>| {
            let line = Line::new("Usage", period().range()).cost("1.5", "USD").maybe("ListCost", list);
            let row = line.finish(KIND.spec, "acme", &period()).expect("a row");
            ["ListCost", "ContractedCost", "x_DerivedCosts"].map(|column| row[column].as_str().map(str::to_owned))
        };
        let cells = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned()));
        assert_eq!(line(None), cells(["1.5", "1.5", "ListCost, ContractedCost"]));
        assert_eq!(line(Some("2")), cells(["2", "1.5", "ContractedCost"]));
    }

    #[test]
    fn a_line_without_its_cost_is_no_zero() {
        let mut cells = Map::new();
        cells.insert("BilledCost".to_owned(), Value::Null);
        let refused = Line::of_focus(cells).finish(KIND.spec, "acme", &period()).expect_err("no cost");
        assert!(refused.detail.contains("`BilledCost`"), "{refused}");
    }
}
