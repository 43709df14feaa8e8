//! `invoices` and `reconciliation`: what providers say that they billed, and whether it is what was attributed.

use super::Context;
use crate::cli::{InvoiceArgs, InvoicesCommand};
use crate::client::Call;
use crate::exit::Exit;
use anyhow::Result;
use serde_json::{Map, Value};

/// Columns of the reconciliation's table; the other formats have all.
const COLUMNS: [&str; 12] = [
    "billing_period",
    "source",
    "invoice_id",
    "currency",
    "invoice_total",
    "billed",
    "attributed",
    "not_yet_due",
    "invoice_difference",
    "attribution_difference",
    "estimated",
    "mark",
];

/// Runs `invoices …`.
pub async fn run(context: &Context, command: InvoicesCommand) -> Result<Exit> {
    let client = context.client().await?;
    match command {
        InvoicesCommand::Add(args) => context.print(&client, Call::put("/invoices").json(&body_of(args)), &[]).await,
        InvoicesCommand::List => context.print_list(&client, "/invoices", Vec::new(), &[]).await,
    }
}

fn body_of(args: InvoiceArgs) -> Value {
    let given = [
        ("source", Some(args.source)),
        ("billing_period", Some(args.period)),
        ("invoice_id", Some(args.id)),
        ("total", Some(args.total)),
        ("currency", Some(args.currency)),
        ("issued_on", args.issued),
        ("due_on", args.due),
        ("note", args.note),
    ];
    let members = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
    Value::Object(members.collect::<Map<String, Value>>())
}

/// Runs `reconciliation`; it ends as partly done when something differs.
pub async fn reconcile(context: &Context, source: Option<String>) -> Result<Exit> {
    let mut query = context.days();
    query.extend(source.map(|source| ("source", source)));
    let client = context.client().await?;
    let rows = client.all_rows("/reconciliation", &query).await?;
    let differs = rows.iter().filter(|row| is_off(row)).count();
    context.output.answer(&Value::Array(rows), &COLUMNS)?;
    if differs == 0 {
        return Ok(Exit::Ok);
    }
    context.output.warn(&format!("{differs} rows differ from their invoice, or are not attributed as they are billed"));
    Ok(Exit::Partial)
}

/// Whether a row differs from its invoice, or the ledger from it. A row without an invoice is not compared with one.
fn is_off(row: &Value) -> bool {
    let is_zero =
        |name: &str| row[name].as_str().is_none_or(|text| text.bytes().all(|byte| matches!(byte, b'0' | b'.')));
    !is_zero("invoice_difference") || !is_zero("attribution_difference")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_off_when_one_difference_is_not_zero() {
        let row = |invoice: Value, attribution: &str| json!({ "invoice_difference": invoice, "attribution_difference": attribution });
        assert!(!is_off(&row(Value::Null, "0.00")));
        assert!(!is_off(&row(json!("0.00"), "0.00")));
        assert!(is_off(&row(json!("-0.01"), "0.00")));
        assert!(is_off(&row(Value::Null, "0.000000000000001")));
    }
}
