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

/// Services by their id in Google's list of prices and by their name, and what they are in FOCUS. Others are `Other`.
const CATEGORIES: [(&str, &str, &str); 26] = [
    ("6F81-5844-456A", "Compute Engine", "Compute"),
    ("152E-C115-5142", "Cloud Run", "Compute"),
    ("29E7-DA93-CA13", "Cloud Run Functions", "Compute"),
    ("29E7-DA93-CA13", "Cloud Functions", "Compute"),
    ("CCD8-9BF1-090E", "Kubernetes Engine", "Compute"),
    ("CCD8-9BF1-090E", "Google Kubernetes Engine", "Compute"),
    ("F17B-412E-CB64", "App Engine", "Compute"),
    ("95FF-2EF5-5EA1", "Cloud Storage", "Storage"),
    ("D97E-AB26-5D95", "Cloud Filestore", "Storage"),
    ("E505-1604-58F8", "Networking", "Networking"),
    ("FA26-5236-B8B5", "Cloud DNS", "Networking"),
    ("24E6-581D-38E5", "BigQuery", "Databases"),
    ("9662-B51E-5089", "Cloud SQL", "Databases"),
    ("CC63-0873-48FD", "Cloud Spanner", "Databases"),
    ("C3BE-24A5-0975", "Cloud Bigtable", "Databases"),
    ("5AF5-2C11-D467", "Cloud Memorystore for Redis", "Databases"),
    ("A1E8-BE35-7EBC", "Cloud Pub/Sub", "Integration"),
    ("C7E2-9256-1C43", "Vertex AI", "AI and Machine Learning"),
    ("AEFD-7695-64FA", "Gemini API", "AI and Machine Learning"),
    ("5490-F7B7-8DF6", "Cloud Logging", "Management and Governance"),
    ("58CD-E7C3-72CA", "Cloud Monitoring", "Management and Governance"),
    ("5E18-9A83-2867", "VM Manager", "Management and Governance"),
    ("149C-F9EC-3994", "Artifact Registry", "Developer Tools"),
    ("CAE2-A537-4A95", "Source Repository", "Developer Tools"),
    ("EE82-7A5E-871C", "Secret Manager", "Security"),
    ("FBF2-FC68-171A", "Security Command Center", "Security"),
];

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
    if let Some(kind) = row.member("resource", "global_name").as_deref().and_then(resource_type) {
        row.put("ResourceType", kind);
    }
    let (id, name) = (row.member("service", "id"), row.member("service", "description"));
    row.put("ServiceCategory", service_category(id.as_deref(), name.as_deref()));
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

/// The category of a service, which no table of Google names.
fn service_category(id: Option<&str>, name: Option<&str>) -> &'static str {
    let by_id = CATEGORIES.iter().find(|(known, ..)| id == Some(*known));
    let by_name = || CATEGORIES.iter().find(|(_, known, _)| name == Some(*known));
    by_id.or_else(by_name).map_or("Other", |(_, _, category)| *category)
}

/// What a resource is, as its global name says: `instances` of `//compute.googleapis.com/projects/1/…/instances/555`.
fn resource_type(global_name: &str) -> Option<&str> {
    let mut parts = global_name.strip_prefix("//")?.split('/').rev();
    let (_, kind) = (parts.next()?, parts.next()?);
    // The host is no kind.
    parts.next().is_some().then_some(kind).filter(|kind| !kind.is_empty())
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
    let category = service_category(row.text("xserviceid"), row.text("servicename"));
    row.put_missing("ServiceCategory", "servicecategory", category);
    if let Some(kind) = row.text("resourceid").and_then(resource_type).map(str::to_owned) {
        row.put_missing("ResourceType", "resourcetype", &kind);
    }
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
    use super::super::tests::{changed, costs, other_costs, read, text};

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
        let found = ["SubAccountId", "ServiceName", "SkuId", "ConsumedUnit", "PricingUnit", "ServiceCategory"];
        let expected = ["shop-prod", "Compute Engine", "COMP-OSED-0001", "seconds", "hour", "Compute"];
        assert_eq!(found.map(|focus| text(&line, focus)), expected);
        assert_eq!(text(&line, "ChargeCategory"), "Usage");
        // Contracted is the cost before its credits; the price list's is not told.
        assert_eq!(other_costs(&line), ("0.37007".to_owned(), "0.4123".to_owned(), "ListCost".to_owned()));
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
    fn a_service_has_its_category_by_its_id_or_by_its_name() {
        use super::service_category;
        assert_eq!(service_category(Some("95FF-2EF5-5EA1"), Some("renamed")), "Storage");
        assert_eq!(service_category(Some("0000-0000-0000"), Some("Cloud SQL")), "Databases");
        assert_eq!(service_category(None, Some("Cloud Monitoring")), "Management and Governance");
        assert_eq!((service_category(Some("x"), Some("New")), service_category(None, None)), ("Other", "Other"));
    }

    #[test]
    fn a_global_name_tells_what_a_resource_is() {
        let check = |name: &str, expected: Option<&str>| assert_eq!(super::resource_type(name), expected, "{name}");
        check("//compute.googleapis.com/projects/1/zones/europe-west3-a/instances/555", Some("instances"));
        check("//storage.googleapis.com/projects/_/buckets/media", Some("buckets"));
        for unknown in ["", "shop-1", "projects/1", "//compute.googleapis.com", "//compute.googleapis.com/x", "//a//b"]
        {
            check(unknown, None);
        }
        let resource = ("resource", r#"{"global_name":"//compute.googleapis.com/projects/1/disks/7"}"#);
        let line = read(&changed(&ROW, &[resource])).expect("a line");
        assert_eq!(text(&line, "ResourceType"), "disks");
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
            ("ServiceName", "Cloud Run"),
            ("ResourceId", "//run.googleapis.com/projects/shop/locations/europe-west3/services/shop"),
            ("x_ServiceId", "152E-C115-5142"),
            ("x_ExportTime", "2026-11-19T02:13:04Z"),
            ("x_Labels", r#"[{"Key":"team","Value":"checkout"}]"#),
            ("x_Tags", r#"[{"Key":"cost-centre","Value":"4711","x_Inherited":true}]"#),
        ];
        let line = read(&row).expect("a line");
        let tag = |key: &str| line.tags.get(key).and_then(Option::as_deref);
        assert_eq!((tag("team"), tag("tag/cost-centre")), (Some("checkout"), Some("4711")));
        let found = ["SubAccountType", "InvoiceIssuerName", "ChargeFrequency", "ServiceCategory"];
        let found = found.map(|focus| text(&line, focus));
        assert_eq!(found, ["Project", "Google Cloud", "Usage-Based", "Compute"]);
        assert_eq!(text(&line, "ResourceType"), "services");
        let told: Vec<(&str, &str)> = row.iter().copied().chain([("ServiceCategory", "Web")]).collect();
        assert_eq!(text(&read(&told).expect("a line"), "ServiceCategory"), "Web", "what is told counts");
        assert!(line.x.contains_key("x_Labels") && !line.x.contains_key("BilledCost"));
    }
}
