//! `statement`: a closed month's charge, as it was issued.

use super::Context;
use crate::cli::{Format, StatementArgs};
use crate::client::{Answer, Call, Client, percent_encode};
use crate::exit::Exit;
use crate::output::plain;
use anyhow::{Context as _, Result};
use serde_json::Value;

/// Columns of the table; the other formats have all.
const COLUMNS: [&str; 7] = ["consumer", "pool", "category", "charge_category", "amount", "rounding", "currency"];

/// Runs `statement`.
pub async fn run(context: &Context, args: StatementArgs) -> Result<Exit> {
    let client = context.client().await?;
    let month = percent_encode(&args.month);
    if args.journal {
        let call = Call::get(format!("/statements/{month}/journal.csv")).maybe("version", args.issue);
        let text = issued(context, &client, call).await?;
        context.output.text(&text)?;
        warn_of_missing_accounts(context, &text);
        return Ok(Exit::Ok);
    }
    let form = if context.output.format == Format::Csv { "csv" } else { "json" };
    let call = Call::get(format!("/statements/{month}.{form}"))
        .maybe("version", args.issue)
        .maybe("tenant", args.tenant.as_deref());
    let text = issued(context, &client, call).await?;
    match context.output.format {
        // The bytes as they were issued, so that their hash can be checked.
        Format::Csv | Format::Json => context.output.text(&text)?,
        Format::Ndjson => context.output.answer(&statement_of(&text)?, &[])?,
        Format::Table => {
            let statement = statement_of(&text)?;
            context.output.answer(&statement, &COLUMNS)?;
            context.output.text(&summary_of(&statement))?;
        }
    }
    Ok(Exit::Ok)
}

/// The text of a document; its number and hash go to standard error.
async fn issued(context: &Context, client: &Client, call: Call) -> Result<String> {
    let answer = client.send(call).await?;
    let (number, sha256) = (said(&answer, "apportion-statement-number"), said(&answer, "apportion-sha256"));
    let text = String::from_utf8(answer.bytes().await?.to_vec()).context("the statement is not UTF-8")?;
    context.output.note(&format!("statement {number}, SHA-256 {sha256}"));
    Ok(text)
}

fn said(answer: &Answer, header: &str) -> String {
    answer.headers.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn statement_of(text: &str) -> Result<Value> {
    serde_json::from_str(text).context("the server's answer is not a statement")
}

fn warn_of_missing_accounts(context: &Context, journal: &str) {
    let lines = journal.lines().skip(1).filter(|line| !line.trim_end().ends_with(',')).count();
    if 0 < lines {
        context.output.warn(&format!(
            "{lines} lines lack a cost centre or an account, see the column `missing`; enter them with `apportion tenants \
             set` and in [journal] of the configuration before the month is closed again"
        ));
    }
}

/// Returns the lines below the table: which statement it is, its sums, and what it replaces.
fn summary_of(statement: &Value) -> String {
    let mut summary = format!(
        "\n{} for {}, closed {} by posting {}\n",
        plain(&statement["number"]),
        plain(&statement["month"]),
        plain(&statement["closed_at"]),
        plain(&statement["posting"]),
    );
    for total in statement["totals"].as_array().into_iter().flatten() {
        summary.push_str(&format!(
            "total {} {}, exactly {} (rounding {})\n",
            plain(&total["amount"]),
            plain(&total["currency"]),
            plain(&total["exact"]),
            plain(&total["rounding"]),
        ));
        if !total["previous"].is_null() {
            summary.push_str(&format!(
                "before {} {}, difference {}\n",
                plain(&total["previous"]),
                plain(&total["currency"]),
                plain(&total["difference"]),
            ));
        }
    }
    if let Some(differences) = statement["differences"].as_array() {
        summary.push_str(&format!(
            "it replaces {}: {} lines differ\n",
            plain(&statement["replaces"]),
            differences.len()
        ));
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_which_statement_it_is_and_what_it_replaces() {
        let statement = serde_json::json!({
            "number": "ST-2026-10-2", "month": "2026-10", "closed_at": "2026-11-03T09:00:00Z", "posting": 13,
            "replaces": "ST-2026-10-1", "differences": [{}, {}],
            "totals": [{ "currency": "USD", "amount": "41.00", "exact": "41.004", "rounding": "-0.004",
                         "previous": "34.00", "difference": "7.00" }],
        });
        let expected = "\nST-2026-10-2 for 2026-10, closed 2026-11-03T09:00:00Z by posting 13\n\
                        total 41.00 USD, exactly 41.004 (rounding -0.004)\n\
                        before 34.00 USD, difference 7.00\n\
                        it replaces ST-2026-10-1: 2 lines differ\n";
        assert_eq!(summary_of(&statement), expected);
    }
}
