use super::collector::ProviderUsage;
use super::decimal::Decimal;
use super::error::CollectError;
use domain::{Day, Quantity};
use std::collections::BTreeMap;

/// Quantities added up by day, resource, unit and labels, for providers whose rows are finer than that.
#[derive(Debug, Default)]
pub(super) struct Quantities(BTreeMap<(Day, String, String, BTreeMap<String, String>), i128>);

impl Quantities {
    /// Adds a quantity. What has no resource or no unit is no quantity of anything and left out.
    ///
    /// # Errors
    /// [`Cause::Schema`](super::Cause::Schema) if it is out of bound, or the sum is.
    pub fn add(
        &mut self,
        day: Day,
        resource: &str,
        unit: &str,
        labels: BTreeMap<String, String>,
        quantity: &Decimal,
    ) -> Result<(), CollectError> {
        if resource.is_empty() || unit.is_empty() {
            return Ok(());
        }
        let refused = || CollectError::schema(format!("the quantity of `{resource}` on {day} is out of bound"));
        let (quantity, _) = Quantity::parse_rounding(quantity.as_str()).map_err(|_| refused())?;
        let sum = self.0.entry((day, resource.to_owned(), unit.to_owned(), labels)).or_default();
        *sum = sum.checked_add(quantity.atoms()).ok_or_else(refused)?;
        Ok(())
    }

    /// Returns the sums.
    pub fn into_usage(self) -> Vec<ProviderUsage> {
        let usage = |((day, resource, unit, mut labels), atoms): ((Day, String, String, BTreeMap<_, _>), i128)| {
            // One resource may be counted in several units; the label tells them apart.
            labels.insert("unit".to_owned(), unit.clone());
            let quantity = domain::decimal::format_scaled(atoms, domain::quantity::QUANTITY_SCALE, 0);
            ProviderUsage { resource, unit, day, quantity, labels }
        };
        self.0.into_iter().map(usage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn rows_of_the_same_kind_are_one_quantity() {
        let day: Day = "2026-11-18".parse().expect("a day");
        let mut sums = Quantities::default();
        for (resource, unit, quantity) in [("a", "Hours", "1.5"), ("a", "Hours", "2"), ("a", "GB", "1"), ("a", "", "7")]
        {
            let quantity = Decimal::of(&Value::from(quantity)).expect("a number");
            sums.add(day, resource, unit, BTreeMap::new(), &quantity).expect("a sum");
        }
        let usage = sums.into_usage();
        let found: Vec<String> = usage.iter().map(|one| format!("{} {}", one.quantity, one.unit)).collect();
        assert_eq!(found, ["1 GB", "3.5 Hours"]);
        let huge = Decimal::of(&Value::from("1e30")).expect("a number");
        assert!(Quantities::default().add(day, "a", "Hours", BTreeMap::new(), &huge).is_err());
    }
}
