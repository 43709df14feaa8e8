//! CUR 2.0 of AWS, and the older report, whose column names differ by their separators only.
//!
//! Covered usage is billed with the plan or reservation that covers it, so its billed cost is 0 and its effective
//! cost is what it used of them. Rows of split cost allocation divide the cost of a row that is there too: they
//! cost 0 here and keep their figures in `x`.

use std::collections::BTreeMap;

use super::super::row::CellError;
use super::super::tags::{self, Tags};
use super::row::ForeignRow;

/// Columns without which no line can be made.
pub(super) const REQUIRED: [&str; 7] = [
    "line_item_line_item_type",
    "line_item_unblended_cost",
    "line_item_currency_code",
    "line_item_usage_start_date",
    "line_item_usage_account_id",
    "bill_payer_account_id",
    "bill_billing_period_start_date",
];

const NET_COST: &str = "lineitemnetunblendedcost";
const COST: &str = "lineitemunblendedcost";
const TYPE: &str = "lineitemlineitemtype";
const SPLIT_PARENT: &str = "splitlineitemparentresourceid";

/// FOCUS columns and the cells that fill them.
const MOVED: [(&str, &str); 22] = [
    ("BillingAccountId", "billpayeraccountid"),
    ("BillingAccountName", "billpayeraccountname"),
    ("SubAccountId", "lineitemusageaccountid"),
    ("SubAccountName", "lineitemusageaccountname"),
    ("BillingCurrency", "lineitemcurrencycode"),
    ("BillingPeriodStart", "billbillingperiodstartdate"),
    ("BillingPeriodEnd", "billbillingperiodenddate"),
    ("ChargePeriodStart", "lineitemusagestartdate"),
    ("ChargePeriodEnd", "lineitemusageenddate"),
    ("InvoiceId", "billinvoiceid"),
    ("InvoiceIssuerName", "billinvoicingentity"),
    ("PublisherName", "lineitemlegalentity"),
    ("ResourceId", "lineitemresourceid"),
    ("AvailabilityZone", "lineitemavailabilityzone"),
    ("RegionId", "productregioncode"),
    ("ChargeDescription", "lineitemlineitemdescription"),
    ("SkuId", "productsku"),
    ("SkuPriceId", "pricingrateid"),
    ("SkuMeter", "lineitemusagetype"),
    ("PricingUnit", "pricingunit"),
    ("ListCost", "pricingpublicondemandcost"),
    ("ListUnitPrice", "pricingpublicondemandrate"),
];

/// Translates one row.
pub(super) fn translate(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    let kind = row.text(TYPE).unwrap_or_default().to_owned();
    let (billed, effective) = costs(row, &kind)?;
    row.put_atoms("BilledCost", billed);
    row.put_atoms("EffectiveCost", effective);
    row.put("ChargeCategory", category(&kind));
    if kind == "Refund" {
        row.put("ChargeClass", "Correction");
    }
    row.put("ChargeFrequency", frequency(&kind));
    row.put("ServiceProviderName", "AWS");
    row.put("HostProviderName", "AWS");
    put_service(row);
    put_usage(row, &kind);
    let commitment = ["savingsplansavingsplanarn", "reservationreservationarn"];
    row.move_first("CommitmentDiscountId", &commitment);
    for (focus, name) in MOVED {
        row.move_to(focus, name);
    }
    put_tags(row);
    Ok(())
}

/// Billed and effective cost, in atoms.
fn costs(row: &mut ForeignRow<'_>, kind: &str) -> Result<(i128, i128), CellError> {
    if row.text(SPLIT_PARENT).is_some() {
        return Ok((0, 0));
    }
    let cost = row.first_atoms(&[NET_COST, COST])?.unwrap_or(0);
    let sum = |one: Option<i128>, other: Option<i128>| one.unwrap_or(0) + other.unwrap_or(0);
    Ok(match kind {
        "SavingsPlanCoveredUsage" => {
            let names = ["savingsplannetsavingsplaneffectivecost", "savingsplansavingsplaneffectivecost"];
            (0, row.first_atoms(&names)?.unwrap_or(0))
        }
        "DiscountedUsage" => {
            let names = ["reservationneteffectivecost", "reservationeffectivecost"];
            (0, row.first_atoms(&names)?.unwrap_or(0))
        }
        "RIFee" => {
            let upfront = row.first_atoms(&[
                "reservationnetunusedamortizedupfrontfeeforbillingperiod",
                "reservationunusedamortizedupfrontfeeforbillingperiod",
            ])?;
            let recurring = row.first_atoms(&["reservationnetunusedrecurringfee", "reservationunusedrecurringfee"])?;
            (cost, sum(upfront, recurring))
        }
        "SavingsPlanRecurringFee" => {
            let committed = row.atoms("savingsplantotalcommitmenttodate")?;
            let used = row.atoms("savingsplanusedcommitment")?;
            (cost, sum(committed, used.map(|used| -used)))
        }
        // It takes back what covered usage would have cost, which is not billed here in the first place.
        "SavingsPlanNegation" => (0, 0),
        "SavingsPlanUpfrontFee" => (cost, 0),
        "Fee" if row.text("reservationreservationarn").is_some() => (cost, 0),
        _ => (cost, cost),
    })
}

fn category(kind: &str) -> &'static str {
    match kind {
        "Usage" | "DiscountedUsage" | "SavingsPlanCoveredUsage" => "Usage",
        "Fee" | "RIFee" | "SavingsPlanUpfrontFee" | "SavingsPlanRecurringFee" => "Purchase",
        "Tax" => "Tax",
        "Credit" => "Credit",
        // Refunds, discounts, negations, and types to come: the row's own type is in `x`.
        _ => "Adjustment",
    }
}

fn frequency(kind: &str) -> &'static str {
    match kind {
        "Fee" | "SavingsPlanUpfrontFee" | "Refund" | "Credit" => "One-Time",
        "RIFee" | "SavingsPlanRecurringFee" => "Recurring",
        _ => "Usage-Based",
    }
}

fn put_service(row: &mut ForeignRow<'_>) {
    let named = row.member("product", "product_name").or_else(|| row.text("productproductname").map(str::to_owned));
    match named {
        Some(name) => row.put("ServiceName", name),
        // The code stays in `x` beside the name, so it is copied and not moved.
        None => {
            if let Some(code) = row.text("lineitemproductcode").map(str::to_owned) {
                row.put("ServiceName", code);
            }
        }
    }
}

/// Quantities of usage; amounts of fees and taxes count nothing that was used.
fn put_usage(row: &mut ForeignRow<'_>, kind: &str) {
    if category(kind) != "Usage" {
        return;
    }
    let of = |name: &str| row.text(name).map(str::to_owned);
    if let (Some(amount), Some(unit)) = (of("lineitemusageamount"), of("pricingunit")) {
        row.put("ConsumedQuantity", amount.clone());
        row.put("PricingQuantity", amount);
        row.put("ConsumedUnit", unit);
    }
    let pricing = match (kind, row.text("pricingterm")) {
        ("DiscountedUsage" | "SavingsPlanCoveredUsage", _) | (_, Some("Reserved")) => "Committed",
        (_, Some("Spot")) => "Dynamic",
        _ => "Standard",
    };
    row.put("PricingCategory", pricing);
}

/// Tags of resources. AWS puts `user_` before the keys that its customers chose; they are known without it.
fn put_tags(row: &mut ForeignRow<'_>) {
    let Some(Tags::Map { map: found, .. }) = row.text("resourcetags").map(tags::parse) else { return };
    let mut tags = BTreeMap::new();
    for (key, text) in found {
        let Some(text) = text else { continue };
        let key = key.strip_prefix("user_").or_else(|| key.strip_prefix("user:")).unwrap_or(&key).to_owned();
        if !text.is_empty() {
            tags.insert(key, text);
        }
    }
    row.put_tags(&tags);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, costs, other_costs, read, text};

    const USAGE: [(&str, &str); 16] = [
        ("line_item_line_item_type", "Usage"),
        ("line_item_unblended_cost", "0.0464000000000001"),
        ("line_item_currency_code", "USD"),
        ("line_item_usage_start_date", "2026-11-18T13:00:00.000Z"),
        ("line_item_usage_end_date", "2026-11-18T14:00:00.000Z"),
        ("line_item_usage_account_id", "444455556666"),
        ("line_item_usage_amount", "1.0"),
        ("line_item_product_code", "AmazonEC2"),
        ("line_item_resource_id", "i-0composed"),
        ("pricing_unit", "Hrs"),
        ("pricing_public_on_demand_cost", "0.0464"),
        ("product", r#"{"product_name":"Amazon Elastic Compute Cloud","region":"eu-central-1"}"#),
        ("resource_tags", r#"{"user_team":"checkout","aws:eks:namespace":"shop"}"#),
        ("bill_payer_account_id", "111122223333"),
        ("bill_billing_period_start_date", "2026-11-01T00:00:00.000Z"),
        ("identity_line_item_id", "composed"),
    ];

    #[test]
    fn usage_becomes_a_line_and_nothing_is_dropped() {
        let line = read(&USAGE).expect("a line");
        // The sixteenth decimal is rounded once for the one cell that holds it.
        assert_eq!((costs(&line), line.rounded), (("0.0464".to_owned(), "0.0464".to_owned()), 1));
        let found = ["SubAccountId", "ServiceName", "ConsumedUnit", "ChargeCategory", "BillingAccountId", "ResourceId"];
        let expected = ["444455556666", "Amazon Elastic Compute Cloud", "Hrs", "Usage", "111122223333", "i-0composed"];
        assert_eq!(found.map(|focus| text(&line, focus)), expected);
        assert_eq!(line.tags["team"].as_deref(), Some("checkout"));
        assert_eq!(line.tags["aws:eks:namespace"].as_deref(), Some("shop"));
        for kept in ["line_item_line_item_type", "line_item_unblended_cost", "identity_line_item_id", "product"] {
            assert!(line.x.contains_key(kept), "{kept}: {:?}", line.x.keys());
        }
        let told = ("0.0464".to_owned(), "0.0464".to_owned(), "ContractedCost".to_owned());
        assert_eq!(other_costs(&line), told, "what is not told is no zero");
    }

    #[test]
    fn maps_that_come_as_lists_of_pairs_are_read_too() {
        let pairs = [
            ("product", r#"[{"key":"product_name","value":"Amazon Elastic Compute Cloud"}]"#),
            ("resource_tags", r#"[{"key":"user_team","value":"checkout"},{"key":"user_empty","value":null}]"#),
        ];
        let line = read(&changed(&USAGE, &pairs)).expect("a line");
        assert_eq!(text(&line, "ServiceName"), "Amazon Elastic Compute Cloud");
        assert_eq!((line.tags["team"].as_deref(), line.tags.len()), (Some("checkout"), 1));
    }

    #[test]
    fn commitments_are_billed_once_and_their_use_is_effective_cost() {
        let of = |changes: &[(&str, &str)]| {
            let line = read(&changed(&USAGE, changes)).expect("a line");
            (costs(&line), text(&line, "ChargeCategory"))
        };
        let kind = "line_item_line_item_type";
        let check = |changes: &[(&str, &str)], billed: &str, effective: &str, category: &str| {
            let expected = ((billed.to_owned(), effective.to_owned()), category.to_owned());
            assert_eq!(of(changes), expected, "{changes:?}");
        };
        let covered = [(kind, "SavingsPlanCoveredUsage"), ("savings_plan_savings_plan_effective_cost", "0.0312")];
        check(&covered, "0.00", "0.0312", "Usage");
        check(&[(kind, "SavingsPlanNegation"), ("line_item_unblended_cost", "-0.0464")], "0.00", "0.00", "Adjustment");
        let fee = [
            (kind, "SavingsPlanRecurringFee"),
            ("line_item_unblended_cost", "1"),
            ("savings_plan_total_commitment_to_date", "1"),
            ("savings_plan_used_commitment", "0.75"),
        ];
        check(&fee, "1.00", "0.25", "Purchase");
        let unused = [
            (kind, "RIFee"),
            ("line_item_unblended_cost", "30"),
            ("reservation_unused_amortized_upfront_fee_for_billing_period", "2"),
            ("reservation_unused_recurring_fee", "3.5"),
        ];
        check(&unused, "30.00", "5.50", "Purchase");
        check(&[(kind, "DiscountedUsage"), ("reservation_effective_cost", "0.02")], "0.00", "0.02", "Usage");
        check(&[(kind, "Credit"), ("line_item_unblended_cost", "-5")], "-5.00", "-5.00", "Credit");
        let net = [("line_item_net_unblended_cost", "0.04")];
        check(&net, "0.04", "0.04", "Usage");
    }

    #[test]
    fn split_rows_cost_nothing_and_keep_their_figures() {
        let split = [("split_line_item_parent_resource_id", "i-0composed"), ("split_line_item_split_cost", "0.01")];
        let line = read(&changed(&USAGE, &split)).expect("a line");
        assert_eq!(costs(&line), ("0.00".to_owned(), "0.00".to_owned()));
        assert_eq!(line.x["split_line_item_split_cost"], "0.01");
    }

    #[test]
    fn a_cost_that_is_no_number_names_the_providers_own_column() {
        let error = read(&changed(&USAGE, &[("line_item_unblended_cost", "n/a")])).expect_err("no number");
        assert!(error.starts_with("line_item_unblended_cost: "), "{error}");
        let error = read(&changed(&USAGE, &[("line_item_usage_start_date", "soon")])).expect_err("no time");
        assert!(error.starts_with("line_item_usage_start_date: "), "{error}");
    }
}
