use serde_json::{Map, Value, json};

use super::support::Store;

/// Two hours of usage, the plan that covers one of them, and what takes the covered hour back.
fn cur() -> Vec<Value> {
    let row = |kind: &str, cost: &str, more: Value| {
        let mut row = json!({
            "line_item_line_item_type": kind,
            "line_item_unblended_cost": cost,
            "line_item_currency_code": "USD",
            "line_item_usage_start_date": "2026-11-18T13:00:00.000Z",
            "line_item_usage_end_date": "2026-11-18T14:00:00.000Z",
            "line_item_usage_account_id": "444455556666",
            "bill_payer_account_id": "111122223333",
            "bill_billing_period_start_date": "2026-11-01T00:00:00.000Z",
            "bill_billing_period_end_date": "2026-12-01T00:00:00.000Z",
            "product": {"product_name": "Amazon Elastic Compute Cloud"},
            "savings_plan_savings_plan_effective_cost": "",
            "savings_plan_total_commitment_to_date": "",
            "savings_plan_used_commitment": "",
        });
        let members = row.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        row
    };
    let plan = json!({"savings_plan_total_commitment_to_date": "0.04", "savings_plan_used_commitment": "0.0312"});
    vec![
        row("Usage", "0.0464", json!({})),
        row("SavingsPlanCoveredUsage", "0.0464", json!({"savings_plan_savings_plan_effective_cost": "0.0312"})),
        row("SavingsPlanNegation", "-0.0464", json!({})),
        row("SavingsPlanRecurringFee", "0.04", plan),
        row("Tax", "0.01", json!({})),
    ]
}

fn csv(rows: &[Value]) -> Vec<u8> {
    let names: Vec<&String> = rows[0].as_object().expect("an object").keys().collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).expect("a header");
    for row in rows {
        let cell = |name: &&String| match &row[name.as_str()] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        writer.write_record(names.iter().map(cell)).expect("a row");
    }
    writer.into_inner().expect("written rows")
}

fn jsonl(rows: &[Value]) -> Vec<u8> {
    rows.iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes()
}

#[tokio::test]
async fn a_report_of_aws_adds_up_on_both_clocks_in_any_format() {
    let store = Store::new().await;
    let report = store.import(csv(&cur())).await.expect("an import");
    assert_eq!(report.rows, 5);
    // Billed: usage, fee, tax. Effective: usage, covered usage, the unused rest of the plan, tax.
    let sums = [store.sums("billed_cost").await["USD"], store.sums("effective_cost").await["USD"]];
    assert_eq!(sums.map(domain::money::format_atoms), ["0.0964", "0.0964"]);
    let again = store.import(jsonl(&cur())).await.expect("an import");
    assert!(again.unchanged, "the same rows as JSON lines");
    // A month that is restated replaces; nothing is doubled.
    let mut restated = cur();
    restated[4]["line_item_unblended_cost"] = json!("0.02");
    store.import(csv(&restated)).await.expect("an import");
    assert_eq!(domain::money::format_atoms(store.sums("billed_cost").await["USD"]), "0.1064");
}

#[tokio::test]
async fn a_report_without_a_needed_column_says_whose_it_is_and_what_is_missing() {
    let store = Store::new().await;
    let without: Vec<Value> = cur()
        .into_iter()
        .map(|row| {
            let Value::Object(members) = row else { panic!("rows are objects") };
            let kept = members.into_iter().filter(|(name, _)| name != "line_item_currency_code");
            Value::Object(kept.collect::<Map<_, _>>())
        })
        .collect();
    let error = store.import(csv(&without)).await.expect_err("no currency");
    let text = error.to_string();
    assert!(text.contains("(CUR) of AWS") && text.contains("line_item_currency_code"), "{text}");
    assert_eq!((error.code(), store.version().await), ("unreadable_file", 0));
}
