//! Google Cloud: the detailed usage export, and tags for its FOCUS table.
//!
//! Credits are nested in the row that they lower, so billed and effective cost are the cost and its credits
//! together; both figures stay in `x`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::row::CellError;
use super::row::ForeignRow;

/// Columns without which no line can be made.
pub(super) const REQUIRED: [&str; 6] =
    ["billing_account_id", "invoice.month", "cost_type", "usage_start_time", "cost", "currency"];

/// Columns that hold records, unless the table was flattened.
pub(super) const RECORDS: [&str; 9] =
    ["invoice", "service", "sku", "project", "location", "resource", "usage", "price", "subscription"];

/// Where a row's labels come from, and what stands before their keys so that they cannot collide.
const DETAILED_TAGS: [(&str, &str); 4] =
    [("systemlabels", "system/"), ("projectlabels", "project/"), ("tags", "tag/"), ("labels", "")];
const FOCUS_TAGS: [(&str, &str); 4] =
    [("xsystemlabels", "system/"), ("xprojectlabels", "project/"), ("xtags", "tag/"), ("xlabels", "")];

/// Translates a row of the detailed export.
pub(super) fn translate_detailed(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    let cost = row.atoms("cost")?.unwrap_or(0);
    let net = cost + credits(row)?;
    row.put_atoms("BilledCost", net);
    row.put_atoms("EffectiveCost", net);
    row.put_atoms("ContractedCost", cost);
    row.move_to("ListCost", "costatlist");
    let category = match row.text("costtype").unwrap_or_default() {
        "regular" => "Usage",
        "tax" => "Tax",
        // Adjustments, rounding errors, and types to come: the row's own type is in `x`.
        _ => "Adjustment",
    };
    row.put("ChargeCategory", category);
    if category == "Usage" {
        row.put("ChargeFrequency", "Usage-Based");
    }
    put_billing_period(row)?;
    let tags = tags(row, &DETAILED_TAGS);
    row.put_tags(&tags);
    for (focus, record, member) in [
        ("ServiceName", "service", "description"),
        ("SkuId", "sku", "id"),
        ("ChargeDescription", "sku", "description"),
        ("SubAccountId", "project", "id"),
        ("SubAccountName", "project", "name"),
        ("ResourceName", "resource", "name"),
        ("ResourceId", "resource", "global_name"),
        ("RegionId", "location", "region"),
        ("AvailabilityZone", "location", "zone"),
        ("ConsumedQuantity", "usage", "amount"),
        ("ConsumedUnit", "usage", "unit"),
        ("PricingQuantity", "usage", "amount_in_pricing_units"),
        ("PricingUnit", "usage", "pricing_unit"),
    ] {
        row.put_member(focus, record, member);
    }
    if row.member("project", "id").is_some() {
        row.put("SubAccountType", "Project");
    }
    row.put("ServiceProviderName", "Google Cloud");
    row.put("HostProviderName", "Google Cloud");
    row.put_missing("InvoiceIssuerName", "sellername", "Google Cloud");
    row.move_to("InvoiceIssuerName", "sellername");
    for (focus, name) in [
        ("BillingAccountId", "billingaccountid"),
        ("BillingCurrency", "currency"),
        ("ChargePeriodStart", "usagestarttime"),
        ("ChargePeriodEnd", "usageendtime"),
    ] {
        row.move_to(focus, name);
    }
    Ok(())
}

/// The sum of a row's credits, which are negative.
fn credits(row: &mut ForeignRow<'_>) -> Result<i128, CellError> {
    let Some(text) = row.text("credits") else { return Ok(0) };
    let Ok(Value::Array(credits)) = serde_json::from_str(text) else {
        return Err(row.refused("credits", "it is not a list of credits"));
    };
    let mut sum = 0_i128;
    for credit in credits {
        let amount = match credit.get("amount") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null) | None => continue,
            Some(_) => return Err(row.refused("credits", "a credit has an amount that is no number")),
        };
        sum += row.atoms_of("credits", &amount)?;
    }
    Ok(sum)
}

/// A row belongs to its invoice's month, which at the edge of a month is not the month of the usage.
fn put_billing_period(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    let text = row.member("invoice", "month").unwrap_or_default();
    let month = (text.len() == 6 && text.is_ascii()).then(|| format!("{}-{}", &text[..4], &text[4..]));
    let month = month.and_then(|month| month.parse::<domain::Month>().ok());
    let month = month.ok_or_else(|| row.refused("invoice", "invoice.month must be written as 202611"))?;
    row.put("BillingPeriodStart", month.first_day().to_string());
    row.put("BillingPeriodEnd", month.last_day().plus(1).to_string());
    Ok(())
}

/// Labels and tags of a row under one name each; a row's own labels keep theirs.
fn tags(row: &ForeignRow<'_>, sources: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for (name, before) in sources {
        let of_project = || row.json("project").and_then(|project| project.get("labels").cloned());
        let list = row.json(name).or_else(|| if *name == "projectlabels" { of_project() } else { None });
        let Some(Value::Array(entries)) = list else { continue };
        for entry in entries {
            let text = |key: &str| {
                let value = entry.get(key).or_else(|| entry.get(capital(key)))?;
                value.as_str().map(str::to_owned)
            };
            if let (Some(key), Some(value)) = (text("key"), text("value")) {
                tags.insert(format!("{before}{key}"), value);
            }
        }
    }
    tags
}

fn capital(key: &str) -> &str {
    if key == "key" { "Key" } else { "Value" }
}

/// Fills what the FOCUS table of Google leaves out.
pub(super) fn translate_focus(row: &mut ForeignRow<'_>) -> Result<(), CellError> {
    if row.text("tags").is_none() {
        let tags = tags(row, &FOCUS_TAGS);
        row.put_tags(&tags);
    }
    row.put_missing("InvoiceIssuerName", "invoiceissuername", "Google Cloud");
    if row.text("subaccountid").is_some() {
        row.put_missing("SubAccountType", "subaccounttype", "Project");
    }
    if row.text("chargecategory") == Some("Usage") {
        row.put_missing("ChargeFrequency", "chargefrequency", "Usage-Based");
    }
    row.move_focus_columns();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, costs, read, text};

    const ROW: [(&str, &str); 14] = [
        ("billing_account_id", "012345-6789AB-CDEF01"),
        ("invoice", r#"{"month":"202611"}"#),
        ("cost_type", "regular"),
        ("service", r#"{"id":"6F81-5844-456A","description":"Compute Engine"}"#),
        ("sku", r#"{"id":"COMP-OSED-0001","description":"N2 Instance Core running in Frankfurt"}"#),
        ("usage_start_time", "2026-10-31 23:00:00 UTC"),
        ("usage_end_time", "2026-11-01 00:00:00 UTC"),
        ("project", r#"{"id":"shop-prod","name":"Shop production","labels":[{"key":"env","value":"prod"}]}"#),
        ("labels", r#"[{"key":"team","value":"checkout"}]"#),
        ("cost", "0.4123"),
        ("currency", "EUR"),
        ("usage", r#"{"amount":14400,"unit":"seconds","amount_in_pricing_units":4,"pricing_unit":"hour"}"#),
        ("credits", r#"[{"id":"sud","amount":-0.04123},{"id":"more","amount":"-1e-3"}]"#),
        ("export_time", "2026-11-19T02:13:04Z"),
    ];

    #[test]
    fn credits_lower_the_cost_once_and_the_invoice_tells_the_month() {
        let line = read(&ROW).expect("a line");
        assert_eq!(costs(&line), ("0.37007".to_owned(), "0.37007".to_owned()));
        assert_eq!(line.billing_period_start().to_string(), "2026-11-01T00:00:00Z");
        let found = ["SubAccountId", "ServiceName", "SkuId", "ConsumedUnit", "PricingUnit", "ChargeCategory"];
        let expected = ["shop-prod", "Compute Engine", "COMP-OSED-0001", "seconds", "hour", "Usage"];
        assert_eq!(found.map(|focus| text(&line, focus)), expected);
        let tag = |key: &str| line.tags.get(key).and_then(Option::as_deref);
        assert_eq!((tag("team"), tag("project/env")), (Some("checkout"), Some("prod")));
        for kept in ["cost", "credits", "export_time", "project", "cost_type"] {
            assert!(line.x.contains_key(kept), "{kept}");
        }
    }

    #[test]
    fn a_flattened_table_reads_the_same() {
        let records = ["invoice", "project", "service", "sku", "usage"];
        let flat: Vec<(&str, &str)> = ROW
            .iter()
            .copied()
            .filter(|(name, _)| !records.contains(name))
            .chain([
                ("invoice_month", "202611"),
                ("project.id", "shop-prod"),
                ("service_description", "Compute Engine"),
            ])
            .collect();
        let line = read(&flat).expect("a line");
        let found = ["SubAccountId", "ServiceName"].map(|focus| text(&line, focus));
        assert_eq!(found, ["shop-prod", "Compute Engine"]);
        assert_eq!(line.billing_period_end().to_string(), "2026-12-01T00:00:00Z");
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_column() {
        for (change, expected) in [
            (("credits", "all"), "credits: it is not a list"),
            (("credits", r#"[{"amount":"much"}]"#), "credits: it is not a decimal"),
            (("invoice", r#"{"month":"november"}"#), "invoice: invoice.month"),
            (("cost", "free"), "cost: it is not a decimal"),
        ] {
            let error = read(&changed(&ROW, &[change])).expect_err(change.1);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_focus_table_gets_tags_and_what_else_it_lacks() {
        let row = [
            ("BilledCost", "0.412300000"),
            ("EffectiveCost", "0.371070000"),
            ("BillingCurrency", "EUR"),
            ("BillingAccountId", "a"),
            ("BillingPeriodStart", "2026-11-01T00:00:00Z"),
            ("ChargePeriodStart", "2026-11-18T13:00:00Z"),
            ("ChargePeriodEnd", "2026-11-18T14:00:00Z"),
            ("ChargeCategory", "Usage"),
            ("SubAccountId", "shop-prod"),
            ("x_ExportTime", "2026-11-19T02:13:04Z"),
            ("x_Labels", r#"[{"Key":"team","Value":"checkout"}]"#),
            ("x_Tags", r#"[{"Key":"cost-centre","Value":"4711","x_Inherited":true}]"#),
        ];
        let line = read(&row).expect("a line");
        let tag = |key: &str| line.tags.get(key).and_then(Option::as_deref);
        assert_eq!((tag("team"), tag("tag/cost-centre")), (Some("checkout"), Some("4711")));
        let found = ["SubAccountType", "InvoiceIssuerName", "ChargeFrequency"].map(|focus| text(&line, focus));
        assert_eq!(found, ["Project", "Google Cloud", "Usage-Based"]);
        assert!(line.x.contains_key("x_Labels") && !line.x.contains_key("BilledCost"));
    }
}
