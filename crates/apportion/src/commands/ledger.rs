//! `ledger`: verify, prove and list.

use super::Context;
use crate::cli::{Format, LedgerChangesArgs, LedgerCommand, LedgerFilter, ProofArgs};
use crate::client::{Call, Client};
use crate::exit::Exit;
use crate::output::{plain, rows_of};
use crate::progress::spinner;
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use storage::lake::{FileFault, LakeError, SyncedLocalStore, Table};

/// Columns of the entries' table; the other formats have all.
const ENTRY_COLUMNS: [&str; 12] = [
    "posting",
    "line",
    "charge_date",
    "pool",
    "tier",
    "method",
    "consumer",
    "meter",
    "amount",
    "billed_amount",
    "currency",
    "cause",
];
/// Columns of the postings' table.
const POSTING_COLUMNS: [&str; 5] = ["posting", "booked_at", "run", "entries", "hash"];
/// Columns of the changes' table; the other formats have all.
const CHANGE_COLUMNS: [&str; 8] =
    ["charge_date", "pool", "tenant", "cause", "correction", "amount", "currency", "amount_reporting"];
/// Columns of the proof's table.
const PROOF_COLUMNS: [&str; 13] = [
    "charge_date",
    "pool",
    "currency",
    "measure",
    "state",
    "amount_in",
    "shares",
    "idle",
    "unattributed",
    "unconsumed",
    "variance",
    "overhead",
    "difference",
];

/// Columns of the table of bills that were added up again.
const BILL_COLUMNS: [&str; 10] = [
    "source",
    "billing_account",
    "billing_period",
    "currency",
    "state",
    "lines",
    "billed",
    "billed_difference",
    "effective_difference",
    "reason",
];

/// Runs `ledger …`.
pub async fn run(context: &Context, command: LedgerCommand) -> Result<Exit> {
    match command {
        LedgerCommand::Verify { expect_head } => verify(context, expect_head).await,
        LedgerCommand::Proof(args) => proof(context, args).await,
        LedgerCommand::Entries(filter) => {
            let client = context.client().await?;
            context.print_list(&client, "/ledger/entries", query_of(context, filter), &ENTRY_COLUMNS).await
        }
        LedgerCommand::Postings(page) => {
            let given = [("limit", page.limit.map(|limit| limit.to_string())), ("cursor", page.cursor)];
            let query = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let client = context.client().await?;
            context.print_list(&client, "/ledger/postings", query, &POSTING_COLUMNS).await
        }
        LedgerCommand::Changes(args) => changes(context, args).await,
    }
}

async fn changes(context: &Context, args: LedgerChangesArgs) -> Result<Exit> {
    let mut query = context.days();
    let given = [
        ("from_booked", Some(args.from_booked)),
        ("to_booked", args.to_booked),
        ("tenant", args.tenant),
        ("pool", args.pool),
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("cursor", args.cursor),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let client = context.client().await?;
    context.print_list(&client, "/ledger/changes", query, &CHANGE_COLUMNS).await
}

fn query_of(context: &Context, filter: LedgerFilter) -> Vec<(&'static str, String)> {
    let mut query = context.days();
    let given = [
        ("charge_date", filter.charge_date),
        ("pool", filter.pool),
        ("tenant", filter.tenant),
        ("posting", filter.posting.map(|posting| posting.to_string())),
        ("as_of", filter.as_of),
        ("filter", context.globals.filter.clone()),
        ("limit", filter.limit.map(|limit| limit.to_string())),
        ("cursor", filter.cursor),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    query
}

async fn verify(context: &Context, expect_head: Option<String>) -> Result<Exit> {
    let client = match context.client().await {
        Ok(client) => client,
        Err(error) => return damaged(context, error).await,
    };
    let bar = spinner(context.output.shows_progress(), "verifying the ledger");
    let answer = client.json(Call::get("/ledger/verify").maybe("expect_head", expect_head)).await?;
    bar.finish_and_clear();
    context.output.answer(&answer, &[])?;
    Ok(exit_of_verify(&answer))
}

/// Names the damaged files of a ledger that no longer opens; any other failure stays what it is.
async fn damaged(context: &Context, error: anyhow::Error) -> Result<Exit> {
    if !matches!(error.downcast_ref::<LakeError>(), Some(LakeError::Damaged { .. })) || context.globals.server.is_some()
    {
        return Err(error);
    }
    let store = SyncedLocalStore::new(&crate::wiring::lake_folder(&context.config()?.config))?;
    let report = storage::lake::verify_files(Arc::new(store), Table::Ledger, None).await?;
    if report.faults.is_empty() {
        return Err(error);
    }
    // The commit that made version N of the table is posting N: version 0 created it.
    let fault =
        |fault: &FileFault| json!({ "posting": fault.version, "what": format!("{}: {}", fault.file, fault.reason) });
    let faults: Vec<Value> = report.faults.iter().map(fault).collect();
    let answer = json!({ "ok": false, "files": report.data_files, "faults": faults, "note": "posting: restore the files named from a backup" });
    context.output.answer(&answer, &[])?;
    Ok(Exit::Partial)
}

/// Partial when the answer says that it is not ok, or names a fault.
fn exit_of_verify(answer: &Value) -> Exit {
    let says_no = ["ok", "verified", "valid"].iter().any(|key| answer.get(*key) == Some(&Value::Bool(false)));
    let names_fault = ["faults", "problems", "failures"]
        .iter()
        .any(|key| answer.get(*key).and_then(Value::as_array).is_some_and(|faults| !faults.is_empty()));
    if says_no || names_fault { Exit::Partial } else { Exit::Ok }
}

async fn proof(context: &Context, args: ProofArgs) -> Result<Exit> {
    let query = query_of(context, args.filter);
    let client = context.client().await?;
    if args.independent {
        return independent(context, &client, query).await;
    }
    let is_page = query.iter().any(|(name, _)| matches!(*name, "limit" | "cursor"));
    let answer = if is_page || context.output.format == Format::Json {
        client.json(Call::get("/ledger/proof").queries(query)).await?
    } else {
        Value::Array(client.all_rows("/ledger/proof", &query).await?)
    };
    context.output.answer(&answer, &PROOF_COLUMNS)?;
    Ok(exit_of_proof(&answer))
}

/// Prints what every bill adds up to by its cost lines and by its files; as JSON, the proof beside it.
async fn independent(context: &Context, client: &Client, mut query: Vec<(&'static str, String)>) -> Result<Exit> {
    query.push(("independent", "true".to_owned()));
    let bar = spinner(context.output.shows_progress(), "adding up the bills again");
    let answer = client.json(Call::get("/ledger/proof").queries(query)).await?;
    bar.finish_and_clear();
    let shown = if context.output.format == Format::Json { &answer } else { &answer["bills"] };
    context.output.answer(shown, &BILL_COLUMNS)?;
    Ok(if exit_of_bills(&answer) == Exit::Ok { exit_of_proof(&answer) } else { Exit::Partial })
}

/// Partial when a bill differs from its files, or could not be added up again.
fn exit_of_bills(answer: &Value) -> Exit {
    let bills = answer["bills"].as_array().map_or(&[][..], Vec::as_slice);
    let is_right = |bill: &Value| bill["state"] == "proved" || bill["state"] == "no_files";
    if bills.iter().all(is_right) { Exit::Ok } else { Exit::Partial }
}

/// Partial when a difference is not zero, or a pool was not run. The totals of a page tell of all pages.
fn exit_of_proof(answer: &Value) -> Exit {
    let is_zero = |row: &Value| plain(&row["difference"]).bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-'));
    let rows = rows_of(answer).unwrap_or_default();
    let totals = answer.get("totals").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let rows_proved = rows.iter().all(|row| row["state"] == "proved" && is_zero(row));
    let none = |total: &Value, key: &str| total[key].as_u64().unwrap_or(0) == 0;
    let totals_proved = totals.iter().all(|total| none(total, "not_run") && none(total, "failed") && is_zero(total));
    if rows_proved && totals_proved { Exit::Ok } else { Exit::Partial }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bill_that_differs_from_its_files_is_partial() {
        let check = |states: &[&str], expected: Exit| {
            let bills: Vec<Value> = states.iter().map(|state| json!({ "state": state })).collect();
            assert_eq!(exit_of_bills(&json!({ "bills": bills })), expected, "{states:?}");
        };
        check(&[], Exit::Ok);
        check(&["proved", "no_files"], Exit::Ok);
        check(&["proved", "failed"], Exit::Partial);
        check(&["not_counted"], Exit::Partial);
    }

    #[test]
    fn a_proof_that_does_not_reconcile_is_partial() {
        let row = |state: &str, difference: &str| json!({ "state": state, "difference": difference });
        assert_eq!(exit_of_proof(&json!([row("proved", "0.00"), row("proved", "0.00")])), Exit::Ok);
        assert_eq!(exit_of_proof(&json!([row("proved", "0.00"), row("proved", "0.000000000000001")])), Exit::Partial);
        assert_eq!(exit_of_proof(&json!([row("not_run", "0.00")])), Exit::Partial);
        let page = |not_run: u64| json!({ "rows": [row("proved", "0.00")], "totals": [{ "not_run": not_run, "failed": 0, "difference": "0.00" }] });
        assert_eq!((exit_of_proof(&page(0)), exit_of_proof(&page(1))), (Exit::Ok, Exit::Partial));
    }

    #[test]
    fn a_fault_found_by_verify_is_partial() {
        assert_eq!(exit_of_verify(&json!({ "ok": true, "faults": [] })), Exit::Ok);
        assert_eq!(exit_of_verify(&json!({ "ok": false })), Exit::Partial);
        assert_eq!(exit_of_verify(&json!({ "faults": [{ "posting": 3 }] })), Exit::Partial);
    }
}
