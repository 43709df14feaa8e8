//! Azure: actual costs in Microsoft's own columns (EA and MCA), and repairs of its FOCUS exports.

use super::super::row::CellError;
use super::row::ForeignRow;
use domain::{Instant, Zone};

/// Columns without which no line can be made.
pub(super) const REQUIRED: [&str; 6] =
    ["CostInBillingCurrency", "ChargeType", "Date", "BillingAccountId", "BillingPeriodStartDate", "MeterCategory"];

/// FOCUS columns and the cells that fill them.
const MOVED: [(&str, &[&str]); 19] = [
    ("BillingAccountId", &["billingaccountid"]),
    ("BillingAccountName", &["billingaccountname"]),
    ("SubAccountId", &["subscriptionid"]),
    ("SubAccountName", &["subscriptionname"]),
    ("BillingCurrency", &["billingcurrency", "billingcurrencycode"]),
    ("InvoiceId", &["invoiceid"]),
    ("ResourceId", &["resourceid", "instanceid", "instancename"]),
    ("ResourceName", &["resourcename"]),
    ("RegionId", &["resourcelocation"]),
    ("ServiceName", &["metercategory"]),
    ("ServiceSubcategory", &["metersubcategory"]),
    ("SkuId", &["meterid"]),
    ("SkuMeter", &["metername"]),
    ("ChargeDescription", &["productname", "product"]),
    ("ConsumedQuantity", &["quantity"]),
    ("ConsumedUnit", &["unitofmeasure"]),
    ("ContractedUnitPrice", &["effectiveprice"]),
    ("ListUnitPrice", &["paygprice"]),
    ("Tags", &["tags"]),
];

/// Translates a row of an export of actual costs.
pub(super) fn translate_costs(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    let charge_type = row.text("chargetype").unwrap_or_default().to_ascii_lowercase();
    if charge_type.starts_with("unused") {
        let reason = "this is an export of amortized costs, which tells the same money another way; export actual \
                      costs, or better FocusCost, which has both";
        return Err(row.refused("chargetype", reason));
    }
    let cost = row.atoms("costinbillingcurrency")?.unwrap_or(0);
    row.put_atoms("BilledCost", cost);
    row.put_atoms("EffectiveCost", cost);
    let category = match charge_type.as_str() {
        "usage" => "Usage",
        "purchase" => "Purchase",
        "tax" => "Tax",
        "credit" => "Credit",
        // Refunds, rounding, and types to come: the row's own type is in `x`.
        _ => "Adjustment",
    };
    row.put("ChargeCategory", category);
    if charge_type == "refund" {
        row.put("ChargeClass", "Correction");
    }
    let frequency = match row.text("frequency") {
        Some("OneTime") => "One-Time",
        Some("Recurring") => "Recurring",
        _ => "Usage-Based",
    };
    row.put("ChargeFrequency", frequency);
    put_times(row)?;
    row.put("ServiceProviderName", "Microsoft");
    row.put("InvoiceIssuerName", "Microsoft");
    row.put_missing("PublisherName", "publishername", "Microsoft");
    row.move_to("PublisherName", "publishername");
    row.move_first("CommitmentDiscountId", &["benefitid", "reservationid"]);
    row.move_first("CommitmentDiscountName", &["benefitname", "reservationname"]);
    for (focus, names) in MOVED {
        row.move_first(focus, names);
    }
    Ok(())
}

/// A row is of one day; the billing period's end is its last day.
fn put_times(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    let day = date(row, "date")?;
    row.put("ChargePeriodStart", day.to_string());
    row.put("ChargePeriodEnd", day.saturating_add(jiff::Span::new().days(1)).to_string());
    let first = date(row, "billingperiodstartdate")?;
    row.put("BillingPeriodStart", first.to_string());
    if row.text("billingperiodenddate").is_some() {
        let last = date(row, "billingperiodenddate")?;
        row.put("BillingPeriodEnd", last.saturating_add(jiff::Span::new().days(1)).to_string());
    }
    Ok(())
}

/// The day in a cell: `11/18/2026` (month first, whatever the country), or as everybody writes it.
fn date(row: &ForeignRow<'_>, name: &str) -> Result<jiff::civil::Date, CellError> {
    let text = row.text(name).unwrap_or_default().trim();
    let american = || {
        let mut parts = text.split('/');
        let mut number = || parts.next()?.parse::<i16>().ok();
        let (month, day, year) = (number()?, number()?, number()?);
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        jiff::civil::Date::new(year, month, day).ok()
    };
    let date_part = text.get(..10).unwrap_or(text);
    let found = if text.contains('/') { american() } else { date_part.parse().ok() };
    found.ok_or_else(|| row.refused(name, "it is not a day; Azure writes 11/18/2026 or 2026-11-18"))
}

/// Repairs a FOCUS row of Azure: renamed columns of 1.0r2, and names that Microsoft leaves out.
pub(super) fn translate_focus(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    for (focus, plain, older) in [
        ("InvoiceId", "invoiceid", "xinvoiceid"),
        ("PricingCurrency", "pricingcurrency", "xpricingcurrency"),
        ("SkuMeter", "skumeter", "xskumetername"),
    ] {
        if row.text(plain).is_none() {
            row.move_to(focus, older);
        }
    }
    row.put_missing("PublisherName", "publishername", "Microsoft");
    if row.text("servicename").is_none() {
        let instead = row.text("publishername").filter(|name| !name.eq_ignore_ascii_case("microsoft"));
        let instead = instead.or_else(|| row.text("xskumetersubcategory")).map(str::to_owned);
        if let Some(name) = instead {
            row.put("ServiceName", name);
        }
    }
    put_billing_month(row);
    row.move_focus_columns();
    Ok(())
}

/// Bills of Microsoft are of calendar months, but some accounts name a later day as the first one of a period. Such a
/// period is its month, and what was named stays in `x`.
fn put_billing_month(row: &mut ForeignRow<'_>) {
    let named = row.text("billingperiodstart").and_then(|text| Instant::parse_lenient(text.trim()).ok());
    let Some(day) = named.map(|start| Zone::utc().day_of(start)) else { return };
    let month = day.month();
    if day == month.first_day() {
        return;
    }
    row.set_apart("billingperiodstart", "x_BillingPeriodStart");
    row.set_apart("billingperiodend", "x_BillingPeriodEnd");
    row.put("BillingPeriodStart", month.first_day().to_string());
    row.put("BillingPeriodEnd", month.last_day().plus(1).to_string());
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, costs, other_costs, read, text};

    const ROW: [(&str, &str); 13] = [
        ("CostInBillingCurrency", "1.284"),
        ("ChargeType", "Usage"),
        ("Date", "11/18/2026"),
        ("BillingAccountId", "1234567"),
        ("BillingPeriodStartDate", "11/01/2026"),
        ("BillingPeriodEndDate", "11/30/2026"),
        ("BillingCurrency", "EUR"),
        ("MeterCategory", "Virtual Machines"),
        ("SubscriptionId", "00000000-0000-0000-0000-000000000001"),
        ("Quantity", "24"),
        ("UnitOfMeasure", "1 Hour"),
        ("Tags", r#""team": "checkout""#),
        ("CostCenter", "4711"),
    ];

    #[test]
    fn actual_costs_become_lines_of_a_day() {
        let line = read(&ROW).expect("a line");
        assert_eq!(costs(&line), ("1.284".to_owned(), "1.284".to_owned()));
        let derived = "ListCost, ContractedCost".to_owned();
        assert_eq!(other_costs(&line), ("1.284".to_owned(), "1.284".to_owned(), derived));
        let times = line.times().map(|time| time.map(|time| time.to_string()));
        let expected = ["2026-11-18", "2026-11-19", "2026-11-01", "2026-12-01"];
        assert_eq!(times, expected.map(|day| Some(format!("{day}T00:00:00Z"))));
        assert_eq!((line.tags["team"].as_deref(), line.x["CostCenter"].as_str()), (Some("checkout"), "4711"));
        assert_eq!(text(&line, "PublisherName"), "Microsoft");
        let iso = changed(&ROW, &[("Date", "2026-11-18T00:00:00Z"), ("BillingPeriodStartDate", "2026-11-01")]);
        assert_eq!(read(&iso).expect("a line").times(), line.times());
    }

    #[test]
    fn amortized_costs_and_dates_of_nowhere_are_refused() {
        let error = read(&changed(&ROW, &[("ChargeType", "UnusedReservation")])).expect_err("amortized");
        assert!(error.contains("amortized") && error.contains("FocusCost"), "{error}");
        let error = read(&changed(&ROW, &[("Date", "31/12/2026")])).expect_err("no month 31");
        assert!(error.starts_with("Date: "), "{error}");
    }

    const FOCUS: [(&str, &str); 13] = [
        ("BilledCost", "1.5"),
        ("EffectiveCost", "1.5"),
        ("BillingCurrency", "EUR"),
        ("BillingAccountId", "a"),
        ("BillingPeriodStart", "2026-11-01T00:00:00Z"),
        ("ChargePeriodStart", "2026-11-18T00:00:00Z"),
        ("ChargePeriodEnd", "2026-11-19T00:00:00Z"),
        ("ChargeCategory", "Purchase"),
        ("ProviderName", "Microsoft"),
        ("Tags", ""),
        ("x_SkuMeterName", "P1"),
        ("x_SkuMeterSubcategory", "Savings plan"),
        ("x_InvoiceId", "G1"),
    ];

    #[test]
    fn the_focus_export_is_repaired() {
        let line = read(&FOCUS).expect("a line");
        let found = ["SkuMeter", "ServiceName", "InvoiceId", "PublisherName", "ServiceProviderName"];
        assert_eq!(found.map(|focus| text(&line, focus)), ["P1", "Savings plan", "G1", "Microsoft", "Microsoft"]);
        assert_eq!(line.x.keys().collect::<Vec<_>>(), ["x_SkuMeterSubcategory"]);
    }

    #[test]
    fn a_billing_period_that_begins_later_is_its_month_and_stays_in_x() {
        let later = [("BillingPeriodStart", "2026-11-05T00:00:00Z"), ("BillingPeriodEnd", "2026-12-05T00:00:00Z")];
        let line = read(&changed(&FOCUS, &later)).expect("a line");
        let period = [line.billing_period_start(), line.billing_period_end()].map(|time| time.to_string());
        assert_eq!(period, ["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]);
        let kept = ["x_BillingPeriodStart", "x_BillingPeriodEnd"].map(|name| line.x[name].as_str());
        assert_eq!(kept, [later[0].1, later[1].1]);
        let first = read(&FOCUS).expect("a line");
        assert_eq!(first.billing_period_start(), line.billing_period_start());
        assert!(!first.x.contains_key("x_BillingPeriodStart"));
        let error = read(&changed(&FOCUS, &[("BillingPeriodStart", "soon")])).expect_err("no time");
        assert!(error.starts_with("BillingPeriodStart: "), "{error}");
    }
}
