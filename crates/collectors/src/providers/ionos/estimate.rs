use super::super::collector::Collected;
use super::super::error::CollectError;
use super::super::keys::word_of;
use super::super::period::BillingPeriod;
use super::super::quantities::Quantities;
use super::invoice::at_price;
use super::{Amount, Client, DAILY, DataCenter, PRODUCTS, line};
use domain::money::format_atoms;
use domain::{Currency, Day};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    meter_id: String,
    unit_cost: Amount,
    #[serde(default)]
    deprecated: bool,
}

#[derive(Deserialize)]
struct Products {
    products: Vec<Product>,
}

#[derive(Deserialize)]
struct Utilization {
    datacenters: Vec<DataCenter<Meter>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meter {
    meter_id: String,
    #[serde(default)]
    meter_desc: Option<String>,
    quantity: Amount,
}

/// Prices by meter, in atoms.
type Prices = BTreeMap<String, (Currency, i128)>;

/// What a meter of a data centre cost in the days that are over.
struct Sum {
    center: DataCenter<Meter>,
    description: Option<String>,
    currency: Currency,
    atoms: i128,
}

/// Reads the utilization of each day that is over, at the prices of the contract.
pub(super) async fn collect(
    client: &Client<'_>,
    period: &BillingPeriod,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let Some(closed) = period.closed() else { return Ok(()) };
    let prices = prices(client.get(PRODUCTS, None).await?)?;
    let mut estimate =
        Estimate { prices, sums: BTreeMap::new(), usage: Quantities::default(), unpriced: BTreeSet::new() };
    for day in closed.days() {
        let utilization: Utilization = client.get(DAILY, Some(&day.to_string())).await?;
        for center in utilization.datacenters {
            estimate.add(day, center)?;
        }
    }
    estimate.finish(period, collected);
    collected.usage_days = Some(closed);
    Ok(())
}

fn prices(list: Products) -> Result<Prices, CollectError> {
    let mut prices = Prices::new();
    for product in list.products {
        let price = product.unit_cost.money()?;
        // A meter may be listed again with the price of before.
        if !product.deprecated || !prices.contains_key(&product.meter_id) {
            prices.insert(product.meter_id, price);
        }
    }
    Ok(prices)
}

struct Estimate {
    prices: Prices,
    sums: BTreeMap<(String, String), Sum>,
    usage: Quantities,
    unpriced: BTreeSet<String>,
}

impl Estimate {
    fn add(&mut self, day: Day, mut center: DataCenter<Meter>) -> Result<(), CollectError> {
        for meter in std::mem::take(&mut center.meters) {
            let name = meter.meter_desc.as_deref().unwrap_or(&meter.meter_id);
            let labels = [("datacenter", &center.id), ("meter", &meter.meter_id)];
            let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
            self.usage.add(day, &word_of(name), meter.quantity.focus_unit(), labels, &meter.quantity.quantity)?;
            let Some((currency, price)) = self.prices.get(&meter.meter_id).copied() else {
                self.unpriced.insert(meter.meter_id);
                continue;
            };
            let out_of_bound = || CollectError::schema(format!("meter {} is out of bound", meter.meter_id));
            let atoms = at_price(&meter.quantity.quantity, price).ok_or_else(out_of_bound)?;
            let sum = self.sums.entry((center.id.clone(), meter.meter_id.clone())).or_insert_with(|| Sum {
                center: DataCenter {
                    id: center.id.clone(),
                    name: center.name.clone(),
                    location: center.location.clone(),
                    meters: Vec::new(),
                    rebate: None,
                },
                description: meter.meter_desc.clone(),
                currency,
                atoms: 0,
            });
            sum.atoms = sum.atoms.checked_add(atoms).ok_or_else(out_of_bound)?;
        }
        Ok(())
    }

    fn finish(self, period: &BillingPeriod, collected: &mut Collected) {
        if let Some(charged) = period.closed_range() {
            collected.lines.extend(self.sums.into_iter().map(|((_, meter), sum)| {
                line("Usage", charged, &sum.center)
                    .cell("SkuId", meter)
                    .maybe("ChargeDescription", sum.description)
                    .cell("x_Estimated", "true")
                    .cost(format_atoms(sum.atoms), sum.currency.code())
            }));
        }
        collected.usage = self.usage.into_usage();
        if !self.unpriced.is_empty() {
            let meters: Vec<String> = self.unpriced.into_iter().take(10).collect();
            let meters = crate::prometheus::shown(&meters.join(", "));
            collected.warnings.push(format!("meters without a price in the contract's list, not estimated: {meters}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Zone;

    const PRICES: &str = r#"{"products":[
        {"meterId":"C01000","meterDesc":"1h core","unit":"1hour","unitCost":{"quantity":"0.05","unit":"EUR"},"deprecated":false},
        {"meterId":"C01000","meterDesc":"1h core","unit":"1hour","unitCost":{"quantity":"0.07","unit":"EUR"},"deprecated":true}]}"#;
    const DAY: &str = r#"{"datacenters":[{"id":"38400000","name":"prod","meters":[
        {"id":"m-1","resourceId":"5d9c","serverId":null,"name":"db-1","type":"SERVER","from":"2026-11-18T00:00:00Z",
         "to":"2026-11-19T00:00:00Z","meterId":"C01000","meterDesc":"1h core","region":"de/fra",
         "quantity":{"quantity":96,"unit":"1hour"}},
        {"id":"m-2","meterId":"C01000","meterDesc":"1h core","quantity":{"quantity":4,"unit":"1hour"}},
        {"id":"m-3","meterId":"NEW","quantity":{"quantity":1,"unit":"1item"}}]}]}"#;

    #[test]
    fn days_are_summed_by_meter_and_what_has_no_price_is_named() {
        let now = "2026-11-20T05:00:00Z".parse().expect("an instant");
        let period = BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &Zone::utc(), now);
        let prices = prices(serde_json::from_str(PRICES).expect("prices")).expect("prices");
        let mut estimate =
            Estimate { prices, sums: BTreeMap::new(), usage: Quantities::default(), unpriced: BTreeSet::new() };
        for day in ["2026-11-18", "2026-11-19"] {
            let utilization: Utilization = serde_json::from_str(DAY).expect("utilization");
            for center in utilization.datacenters {
                estimate.add(day.parse().expect("a day"), center).expect("sums");
            }
        }
        let mut collected = Collected::default();
        estimate.finish(&period, &mut collected);
        assert_eq!(collected.lines.len(), 1);
        assert_eq!(collected.lines[0].text("BilledCost"), Some("10.00"));
        assert!(collected.warnings[0].contains("NEW"), "{:?}", collected.warnings);
        let usage: Vec<String> = collected
            .usage
            .iter()
            .map(|one| format!("{} {} {} {}", one.day, one.resource, one.quantity, one.unit))
            .collect();
        assert_eq!(
            usage,
            [
                "2026-11-18 1h_core 100 Hours",
                "2026-11-18 new 1 Items",
                "2026-11-19 1h_core 100 Hours",
                "2026-11-19 new 1 Items",
            ]
        );
    }
}
