use super::super::collector::Collected;
use super::super::decimal::{Decimal, rated};
use super::super::error::CollectError;
use super::super::line::Line;
use super::super::period::BillingPeriod;
use super::{Amount, Client, DataCenter, INVOICE, INVOICES, line};
use domain::money::{ATOMS_PER_UNIT, format_atoms};
use domain::{Currency, Day, InstantRange};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Days after the end of a month in which its invoice is looked for.
const LATE_DAYS_MAX: i32 = 60;
/// Atoms of a quantity in a unit of it.
const QUANTITY_SCALE: u32 = domain::quantity::QUANTITY_SCALE;

#[derive(Deserialize)]
struct List {
    invoices: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    date: String,
}

#[derive(Deserialize)]
struct Invoice {
    metadata: Metadata,
    datacenters: Vec<DataCenter<Meter>>,
    total: Amount,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    invoice_id: String,
    start_date: String,
    end_date: String,
    posting_period: String,
    finally_posted: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meter {
    meter_id: String,
    #[serde(default)]
    meter_desc: Option<String>,
    quantity: Amount,
    rate: Amount,
    #[serde(default)]
    amount: Option<Amount>,
}

/// Reads the invoices of a month; returns whether there is one.
pub(super) async fn collect(
    client: &Client<'_>,
    period: &BillingPeriod,
    collected: &mut Collected,
) -> Result<bool, CollectError> {
    let list: List = client.get(INVOICES, None).await?;
    let (first, last) = (period.days().from(), period.days().to().plus(LATE_DAYS_MAX));
    let (mut is_final, mut seen) = (None, BTreeSet::new());
    for listed in list.invoices {
        // One that is listed twice is one.
        if !(first..=last).contains(&day(&listed.date)?) || !seen.insert(listed.id.clone()) {
            continue;
        }
        let invoice: Invoice = client.get(INVOICE, Some(&listed.id)).await?;
        if invoice.metadata.posting_period != period.name() {
            continue;
        }
        is_final = Some(is_final.unwrap_or(true) && invoice.metadata.finally_posted);
        put_invoice(&invoice, period, collected)?;
    }
    collected.is_final = is_final;
    Ok(is_final.is_some())
}

fn day(text: &str) -> Result<Day, CollectError> {
    let date = text.get(..10).unwrap_or(text);
    date.parse().map_err(|error| CollectError::schema(format!("the date of an invoice: {error}")))
}

/// A line for each meter and rebate, and one for what they leave out of the total: they add up to the invoice.
fn put_invoice(invoice: &Invoice, period: &BillingPeriod, collected: &mut Collected) -> Result<(), CollectError> {
    let metadata = &invoice.metadata;
    let zone = period.zone();
    let (from, to) = (day(&metadata.start_date)?, day(&metadata.end_date)?);
    let charged = InstantRange { start: zone.start_of(from), end: zone.start_of(to.plus(1)) };
    let (currency, mut rest) = invoice.total.money()?;
    let mut put = |line: Line, atoms: i128| {
        rest -= atoms;
        let line = line.cell("InvoiceId", metadata.invoice_id.as_str());
        collected.lines.push(line.cost(format_atoms(atoms), currency.code()));
    };
    for center in &invoice.datacenters {
        for meter in &center.meters {
            let line = line("Usage", charged, center)
                .cell("SkuId", meter.meter_id.as_str())
                .maybe("ChargeDescription", meter.meter_desc.clone())
                .cell("ConsumedQuantity", meter.quantity.quantity.as_str())
                .cell("ConsumedUnit", meter.quantity.focus_unit())
                .cell("ListUnitPrice", meter.rate.quantity.as_str());
            put(line, same(currency, amount(meter)?)?);
        }
        if let Some(rebate) = &center.rebate {
            // A rebate lowers the cost, whichever sign it was written with.
            let atoms = -same(currency, rebate.money()?)?.abs();
            if atoms != 0 {
                put(line("Credit", charged, center).cell("ChargeDescription", "Rebate"), atoms);
            }
        }
    }
    if rest != 0 {
        let line = Line::new("Adjustment", charged)
            .cell("ServiceName", "IONOS Cloud")
            .cell("ServiceCategory", "Other")
            .cell("InvoiceId", metadata.invoice_id.as_str())
            .cell("ChargeDescription", "Difference between the invoice's total and its meters");
        collected.lines.push(line.cost(format_atoms(rest), currency.code()));
    }
    Ok(())
}

/// What a meter costs; where the invoice leaves it out, its quantity at its rate.
fn amount(meter: &Meter) -> Result<(Currency, i128), CollectError> {
    if let Some(amount) = &meter.amount {
        return amount.money();
    }
    let (currency, price) = meter.rate.money()?;
    let out_of_bound = || CollectError::schema(format!("meter {} is out of bound", meter.meter_id));
    let atoms = at_price(&meter.quantity.quantity, price).ok_or_else(out_of_bound)?;
    Ok((currency, atoms))
}

/// Returns a quantity at a price in atoms, rounded half-even once; nothing if it is out of bound.
pub(super) fn at_price(quantity: &Decimal, price: i128) -> Option<i128> {
    // In parts, because both have many digits: the product of their atoms need not fit.
    let quantity = quantity.scaled(QUANTITY_SCALE)?;
    let per_unit = 10_i128.pow(QUANTITY_SCALE);
    let (whole, part) = (quantity / per_unit, quantity % per_unit);
    let total = whole.checked_mul(price)?.checked_add(rated(part, price, per_unit)?)?;
    (total.abs() <= 10_i128.pow(12) * ATOMS_PER_UNIT).then_some(total)
}

/// An invoice has one currency.
fn same(currency: Currency, (other, atoms): (Currency, i128)) -> Result<i128, CollectError> {
    match other == currency {
        true => Ok(atoms),
        false => Err(CollectError::schema(format!("an invoice in {currency} has an amount in {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Zone;
    use serde_json::Value;

    const INVOICE: &str = r#"{
        "metadata":{"invoiceId":"GY00000001","contractId":"12345678","customerId":"87654321","createdDate":"2026-11-02",
         "startDate":"2026-10-01","endDate":"2026-10-31","postingPeriod":"2026-10","finallyPosted":true,"reference":null},
        "datacenters":[{"id":"38400000","name":"prod","location":"de/fra","productGroup":null,"meters":[
          {"meterId":"C01000","meterDesc":"1h core","quantity":{"quantity":2976,"unit":"1hour"},
           "rate":{"quantity":0.05,"unit":"EUR"},"amount":{"quantity":148.8,"unit":"EUR"}},
          {"meterId":"S1","meterDesc":"storage","quantity":{"quantity":"0.5","unit":"1G*30Days"},
           "rate":{"quantity":"0.04","unit":"EUR"},"amount":null}],
         "rebate":{"quantity":1,"unit":"EUR"}}],
        "total":{"quantity":147.83,"unit":"EUR"}}"#;

    fn lines(text: &str) -> Result<Vec<Line>, CollectError> {
        let now = "2026-11-20T05:00:00Z".parse().expect("an instant");
        let period = BillingPeriod::containing("2026-10-20".parse().expect("a day"), 1, &Zone::utc(), now);
        let mut collected = Collected::default();
        put_invoice(&serde_json::from_str(text).expect("an invoice"), &period, &mut collected)?;
        Ok(collected.lines)
    }

    #[test]
    fn an_invoice_adds_up_to_its_total() {
        let lines = lines(INVOICE).expect("lines");
        let found: Vec<String> = lines
            .iter()
            .map(|line| ["ChargeCategory", "BilledCost"].map(|column| line.text(column).unwrap_or("-")).join(" "))
            .collect();
        assert_eq!(found, ["Usage 148.80", "Usage 0.02", "Credit -1.00", "Adjustment 0.01"]);
        let cells = ["ConsumedUnit", "SkuId", "SubAccountName", "InvoiceId", "ChargePeriodEnd"];
        let cells = cells.map(|column| lines[0].text(column).unwrap_or("-"));
        assert_eq!(cells, ["Hours", "C01000", "prod", "GY00000001", "2026-11-01T00:00:00Z"]);
    }

    #[test]
    fn an_amount_in_another_currency_is_refused() {
        let mixed = INVOICE.replace(r#"148.8,"unit":"EUR""#, r#"148.8,"unit":"USD""#);
        assert!(lines(&mixed).expect_err("two currencies").detail.contains("USD"));
    }

    #[test]
    fn a_price_is_applied_exactly_to_large_quantities() {
        let at = |quantity: &str, price: i128| at_price(&Decimal::of(&Value::from(quantity)).expect("a number"), price);
        assert_eq!(at("1000000000.5", 2), Some(2_000_000_001));
        assert_eq!(at("123456789012", 50_000_000_000_000), Some(6_172_839_450_600_000_000_000_000));
        assert_eq!(at("1e18", ATOMS_PER_UNIT), None);
    }
}
