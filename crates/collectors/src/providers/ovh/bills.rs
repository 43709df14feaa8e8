use super::super::collector::Collected;
use super::super::decimal::Decimal;
use super::super::error::CollectError;
use super::super::fetch::Request;
use super::super::line::Line;
use super::super::period::BillingPeriod;
use super::price::Price;
use super::{BILL, BILL_DETAIL, BILL_DETAILS, BILLS, Client, REFUND, REFUND_DETAIL, REFUND_DETAILS, REFUNDS};
use domain::money::format_atoms;
use domain::{Day, Instant, InstantRange};
use serde::Deserialize;

/// The addresses of bills, or of refunds, which look alike.
struct Family {
    list: &'static str,
    one: &'static str,
    details: &'static str,
    detail: &'static str,
    is_refund: bool,
}

const FAMILIES: [Family; 2] = [
    Family { list: BILLS, one: BILL, details: BILL_DETAILS, detail: BILL_DETAIL, is_refund: false },
    Family { list: REFUNDS, one: REFUND, details: REFUND_DETAILS, detail: REFUND_DETAIL, is_refund: true },
];

/// Only what is kept. A bill's password and links are bearer credentials and stay where they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bill {
    date: String,
    price_without_tax: Price,
    tax: Price,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    domain: Option<String>,
    #[serde(default)]
    period_start: Option<CivilDay>,
    #[serde(default)]
    period_end: Option<CivilDay>,
    #[serde(default)]
    quantity: Option<Decimal>,
    total_price: Price,
}

/// A day, as text.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct CivilDay(Day);

impl TryFrom<String> for CivilDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let day = text.get(..10).unwrap_or(&text);
        day.parse().map(Self).map_err(|error: domain::time::TimeError| error.to_string())
    }
}

/// Reads the bills and refunds that are dated in a month.
pub(super) async fn collect(
    client: &Client<'_>,
    period: &BillingPeriod,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let range = period.range();
    for family in FAMILIES {
        let ask = Request::get(family.list).query("date.from", range.start).query("date.to", range.end);
        let mut ids: Vec<String> = client.get(ask).await?;
        ids.sort();
        ids.dedup();
        for id in ids {
            let bill: Bill = client.get(Request::get(family.one).argument(&id)).await?;
            let date = bill.date.parse::<Instant>();
            let date = date.map_err(|error| CollectError::schema(format!("the date of bill {id}: {error}")))?;
            // Whether the days of a question are part of it is not documented.
            if !(range.start..range.end).contains(&date) {
                continue;
            }
            let details = details(client, &family, &id).await?;
            put_bill(&family, &id, &bill, date, &details, period, collected)?;
        }
    }
    Ok(())
}

async fn details(client: &Client<'_>, family: &Family, id: &str) -> Result<Vec<Detail>, CollectError> {
    let mut ids: Vec<String> = client.get(Request::get(family.details).argument(id)).await?;
    ids.sort();
    ids.dedup();
    let mut details = Vec::with_capacity(ids.len());
    for detail in ids {
        details.push(client.get(Request::get(family.detail).argument(id).argument(detail)).await?);
    }
    Ok(details)
}

/// A bill's lines, one for what its details leave out, and one for its tax: they add up to the bill.
fn put_bill(
    family: &Family,
    id: &str,
    bill: &Bill,
    date: Instant,
    details: &[Detail],
    period: &BillingPeriod,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let Some(currency) = bill.price_without_tax.currency() else {
        let code = crate::prometheus::shown(bill.price_without_tax.code());
        collected.warnings.push(format!("bill {id} is in `{code}`, which is no money; it is left out"));
        return Ok(());
    };
    let code = currency.to_string();
    let day = period.zone().day_range(period.zone().day_of(date));
    let mut rest = signed(family, bill.price_without_tax.atoms()?);
    for detail in details {
        let atoms = signed(family, detail.total_price.atoms_in(currency)?);
        rest -= atoms;
        collected.lines.push(detail_line(family, id, detail, day, period).cost(format_atoms(atoms), &code));
    }
    let category = if family.is_refund { "Credit" } else { "Purchase" };
    if rest != 0 {
        let line =
            bill_line(category, id, day).cell("ChargeDescription", "Difference between the bill and its details");
        collected.lines.push(line.cost(format_atoms(rest), &code));
    }
    let tax = signed(family, bill.tax.atoms_in(currency)?);
    if tax != 0 {
        let line = bill_line("Tax", id, day).cell("ChargeDescription", "Tax");
        collected.lines.push(line.cost(format_atoms(tax), &code));
    }
    Ok(())
}

/// What is refunded lowers the cost, whichever sign it was written with.
fn signed(family: &Family, atoms: i128) -> i128 {
    if family.is_refund { -atoms.abs() } else { atoms }
}

fn detail_line(family: &Family, id: &str, detail: &Detail, day: InstantRange, period: &BillingPeriod) -> Line {
    let charged = match (&detail.period_start, &detail.period_end) {
        (Some(CivilDay(from)), Some(CivilDay(to))) if from <= to => {
            let zone = period.zone();
            InstantRange { start: zone.start_of(*from), end: zone.start_of(to.plus(1)) }
        }
        _ => day,
    };
    let category = if family.is_refund { "Credit" } else { "Purchase" };
    bill_line(category, id, charged)
        .maybe("ChargeDescription", detail.description.clone())
        .maybe("ResourceId", detail.domain.clone().filter(|domain| !domain.is_empty()))
        .maybe("x_Quantity", detail.quantity.clone())
}

fn bill_line(category: &'static str, id: &str, charged: InstantRange) -> Line {
    Line::new(category, charged).cell("InvoiceId", id).cell("ServiceName", "OVHcloud").cell("ServiceCategory", "Other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Zone;

    const BILL: &str = r#"{"billId":"FR1","date":"2026-11-02T04:00:00+01:00","orderId":1,"password":"canary","pdfUrl":"https://x",
        "url":"https://x","priceWithTax":{"currencyCode":"EUR","value":14.39,"text":""},
        "priceWithoutTax":{"currencyCode":"EUR","value":11.99,"text":""},"tax":{"currencyCode":"EUR","value":2.4,"text":""}}"#;
    const DETAIL: &str = r#"{"billDetailId":"EU1234567-1","description":"VPS vps-le-2-2-40 - 1 month",
        "domain":"vps-composed.vps.ovh.net","periodStart":"2026-11-01","periodEnd":"2026-11-30","quantity":"1",
        "unitPrice":{"currencyCode":"EUR","text":"5.99 €","value":5.99},
        "totalPrice":{"currencyCode":"EUR","text":"5.99 €","value":5.99,"priceInUcents":599000000}}"#;

    fn lines(family: &Family, details: usize) -> Collected {
        let now = "2026-11-20T05:00:00Z".parse().expect("an instant");
        let zone: Zone = "Europe/Paris".parse().expect("a zone");
        let period = BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &zone, now);
        let bill: Bill = serde_json::from_str(BILL).expect("a bill");
        let details: Vec<Detail> = (0..details).map(|_| serde_json::from_str(DETAIL).expect("a detail")).collect();
        let date = bill.date.parse().expect("an instant");
        let mut collected = Collected::default();
        put_bill(family, "FR1", &bill, date, &details, &period, &mut collected).expect("lines");
        collected
    }

    fn amounts(collected: &Collected) -> Vec<(String, String)> {
        let text = |line: &Line, column: &str| line.text(column).unwrap_or("-").to_owned();
        collected.lines.iter().map(|line| (text(line, "ChargeCategory"), text(line, "BilledCost"))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(category, amount)| ((*category).to_owned(), (*amount).to_owned())).collect()
    }

    #[test]
    fn a_bill_adds_up_with_tax_and_with_what_its_details_leave_out() {
        let collected = lines(&FAMILIES[0], 2);
        assert_eq!(
            amounts(&collected),
            pairs(&[("Purchase", "5.99"), ("Purchase", "5.99"), ("Purchase", "0.01"), ("Tax", "2.40"),])
        );
        let line = &collected.lines[0];
        let found = ["InvoiceId", "ResourceId", "ChargePeriodStart", "ChargePeriodEnd", "x_Quantity"];
        let found = found.map(|column| line.text(column).unwrap_or("-"));
        assert_eq!(found, ["FR1", "vps-composed.vps.ovh.net", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z", "1"]);
        assert!(!format!("{collected:?}").contains("canary"), "a bill's password is not read");
    }

    #[test]
    fn a_refund_lowers_the_cost() {
        assert_eq!(
            amounts(&lines(&FAMILIES[1], 1)),
            pairs(&[("Credit", "-5.99"), ("Credit", "-6.00"), ("Tax", "-2.40"),])
        );
    }
}
