use super::super::collector::Collected;
use super::super::decimal::Decimal;
use super::super::error::CollectError;
use super::super::fetch::Request;
use super::super::line::Line;
use super::super::period::BillingPeriod;
use super::price::Price;
use super::{CURRENT, Client, HISTORY};
use domain::money::format_atoms;
use domain::{Instant, InstantRange};
use serde::Deserialize;

/// What a service consumed in a time.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    service_id: Decimal,
    begin_date: String,
    #[serde(default)]
    end_date: Option<String>,
    price: Price,
    #[serde(default)]
    elements: Vec<Element>,
}

/// One plan of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Element {
    plan_code: String,
    #[serde(default)]
    plan_family: Option<String>,
    #[serde(default)]
    quantity: Option<Decimal>,
    price: Price,
    #[serde(default)]
    details: Vec<Detail>,
}

/// One resource of it.
#[derive(Deserialize)]
struct Detail {
    #[serde(default, alias = "uniqueId")]
    unique_id: Option<String>,
    #[serde(default)]
    quantity: Option<Decimal>,
    price: Price,
}

/// Reads what was consumed in a month.
pub(super) async fn collect(
    client: &Client<'_>,
    period: &BillingPeriod,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let Some(closed) = period.closed_range() else { return Ok(()) };
    let request = match period.is_over() {
        false => Request::get(CURRENT),
        true => {
            let days = period.days();
            Request::get(HISTORY).query("beginDate", days.from()).query("endDate", days.to())
        }
    };
    let transactions: Vec<Transaction> = client.get(request).await?;
    for transaction in &transactions {
        put_transaction(transaction, period, closed, collected)?;
    }
    Ok(())
}

/// A line for each resource, one for what an element's resources leave out, one for what the elements leave out.
fn put_transaction(
    transaction: &Transaction,
    period: &BillingPeriod,
    closed: InstantRange,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let Some(charged) = charged(transaction, period, closed)? else { return Ok(()) };
    let Some(currency) = transaction.price.currency() else {
        let code = crate::prometheus::shown(transaction.price.code());
        collected.warnings.push(format!("consumption in `{code}`, which is no money, is left out"));
        return Ok(());
    };
    let code = currency.to_string();
    let service = transaction.service_id.as_str();
    let mut put = |line: Line, atoms: i128| {
        if atoms != 0 {
            collected.lines.push(line.cost(format_atoms(atoms), &code));
        }
    };
    let mut rest = transaction.price.atoms()?;
    for element in &transaction.elements {
        let mut element_rest = element.price.atoms_in(currency)?;
        rest -= element_rest;
        for detail in &element.details {
            let atoms = detail.price.atoms_in(currency)?;
            element_rest -= atoms;
            let line = line(service, charged)
                .maybe("ResourceId", detail.unique_id.clone())
                .maybe("x_Quantity", detail.quantity.clone());
            put(of_plan(line, element), atoms);
        }
        let line = line(service, charged).maybe("x_Quantity", element.quantity.clone());
        put(of_plan(line, element), element_rest);
    }
    put(line(service, charged).cell("ChargeDescription", "Consumption without a plan"), rest);
    Ok(())
}

/// The part of its time that lies in the days that are over; nothing if that is none of it.
fn charged(
    transaction: &Transaction,
    period: &BillingPeriod,
    closed: InstantRange,
) -> Result<Option<InstantRange>, CollectError> {
    let read = |text: &str| {
        text.parse::<Instant>().map_err(|error| CollectError::schema(format!("the time of a consumption: {error}")))
    };
    let begin = read(&transaction.begin_date)?;
    // The end is the last second, so the first instant after it is one second later.
    let end = transaction.end_date.as_deref().map(read).transpose()?;
    let end = end.map_or(closed.end, |end| end.plus_micros(domain::time::MICROS_PER_SECOND));
    let range = period.range();
    if begin < range.start || range.end <= begin {
        return Ok(None);
    }
    let (start, end) = (begin.max(closed.start), end.min(closed.end));
    Ok((start < end).then_some(InstantRange { start, end }))
}

fn line(service: &str, charged: InstantRange) -> Line {
    Line::new("Usage", charged)
        .cell("SubAccountId", service)
        .cell("SubAccountType", "Service")
        .cell("ChargeFrequency", "Usage-Based")
        .cell("ServiceName", "OVHcloud")
        .cell("ServiceCategory", "Other")
        .cell("x_Estimated", "true")
}

fn of_plan(line: Line, element: &Element) -> Line {
    line.cell("SkuId", element.plan_code.as_str())
        .cell("ChargeDescription", element.plan_code.as_str())
        .maybe("ServiceName", element.plan_family.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Zone;

    const TRANSACTION: &str = r#"{"id":880011,"serviceId":12345678,"beginDate":"2026-11-01T00:00:00+01:00",
        "endDate":"2026-11-30T23:59:59+01:00","price":{"currencyCode":"EUR","text":"","value":12.35,"valueInUcents":1234567890},
        "elements":[{"planCode":"b3-8.consumption","planFamily":"instance","quantity":456,
         "price":{"currencyCode":"EUR","text":"","value":12.35,"valueInUcents":1234567890},
         "details":[{"unique_id":"c0a80101","quantity":456,
          "price":{"currencyCode":"EUR","text":"","value":12.34,"valueInUcents":1234000000}}]}]}"#;

    fn collect_one(text: &str) -> Result<Collected, CollectError> {
        let now = "2026-11-20T05:00:00Z".parse().expect("an instant");
        let zone: Zone = "Europe/Paris".parse().expect("a zone");
        let period = BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &zone, now);
        let mut collected = Collected::default();
        let closed = period.closed_range().expect("days that are over");
        let transaction: Transaction = serde_json::from_str(text).expect("a transaction");
        put_transaction(&transaction, &period, closed, &mut collected)?;
        Ok(collected)
    }

    #[test]
    fn resources_and_what_they_leave_out_add_up_over_the_days_that_are_over() {
        let collected = collect_one(TRANSACTION).expect("lines");
        let amounts: Vec<&str> = collected.lines.iter().filter_map(|line| line.text("BilledCost")).collect();
        assert_eq!(amounts, ["12.34", "0.0056789"]);
        let line = &collected.lines[0];
        let found = ["ResourceId", "SkuId", "ServiceName", "ChargePeriodStart", "ChargePeriodEnd", "BillingCurrency"];
        let found = found.map(|column| line.text(column).unwrap_or("-"));
        let expected =
            ["c0a80101", "b3-8.consumption", "instance", "2026-10-31T23:00:00Z", "2026-11-19T23:00:00Z", "EUR"];
        assert_eq!(found, expected);
    }

    #[test]
    fn parts_in_another_currency_are_refused() {
        let mixed = TRANSACTION.replacen("EUR", "USD", 1);
        let refused = collect_one(&mixed).expect_err("dollars and euros");
        assert!(refused.detail.contains("`EUR` is part of one in USD"), "{refused}");
    }

    #[test]
    fn points_and_other_months_are_left_out() {
        let points = collect_one(&TRANSACTION.replace("EUR", "points")).expect("no lines");
        assert!(points.lines.is_empty() && points.warnings.len() == 1);
        let other = collect_one(&TRANSACTION.replace("2026-11", "2026-09")).expect("no lines");
        assert!(other.lines.is_empty() && other.warnings.is_empty());
    }
}
