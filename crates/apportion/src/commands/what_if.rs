//! `rates simulate` and `policy simulate`: what a draft would change.

use super::Context;
use super::attribute::warnings_of;
use crate::cli::Format;
use crate::client::Call;
use crate::exit::Exit;
use crate::output::plain;
use crate::progress::follow_question;
use crate::publish::{Kind, TOML, read_text};
use anyhow::Result;
use axum::body::Body;
use serde_json::Value;
use std::path::Path;

/// Columns of the table; the other formats have all.
const COLUMNS: [&str; 5] = ["tenant", "posted", "cost", "change", "change_memo"];

/// Prices all usage of the days by a draft and prints what it changes.
pub async fn of_usage(context: &Context, file: &Path, top: Option<u32>) -> Result<Exit> {
    let text = read_text(file)?;
    Kind::Rates.check(file, &text)?;
    let client = context.client().await?;
    let call = Call::post("/rate-cards/simulate")
        .queries(context.days())
        .maybe("filter", context.globals.filter.as_ref())
        .maybe("limit", top);
    let answer = client.json(call.body(TOML, Body::from(text))).await?;
    context.output.answer(&answer, &[])?;
    for warning in answer["price_warnings"].as_array().into_iter().flatten() {
        context.output.warn(&plain(warning));
    }
    if context.output.format == Format::Table {
        context.output.text(&summary_of(&answer))?;
    }
    Ok(Exit::Ok)
}

/// Attributes the days with a draft and prints what that would change in the ledger. Pools that could not be run keep
/// what is posted, so what is told of them is not the draft's.
pub async fn of_ledger(context: &Context, kind: Kind, file: &Path, top: Option<u32>) -> Result<Exit> {
    let text = read_text(file)?;
    kind.check(file, &text)?;
    let client = context.client().await?;
    let is_card = kind == Kind::Rates;
    let call = Call::post(format!("{}/simulate", kind.route()))
        .queries(context.days())
        .maybe("view", is_card.then_some("posted"))
        .maybe("filter", context.globals.filter.as_ref())
        .maybe("limit", top);
    let call = call.body(TOML, Body::from(text));
    let answer = follow_question(&client, call, context.output.shows_progress(), "trying the draft").await?;
    let columns: &[&str] = if context.output.format == Format::Table { &COLUMNS } else { &[] };
    context.output.answer(&answer, columns)?;
    for line in warnings_of(&answer).into_iter().chain(due_line(&answer)) {
        context.output.warn(&line);
    }
    if context.output.format == Format::Table {
        context.output.text(&summary_of(&answer))?;
    }
    let not_run = answer["not_run"].as_u64().unwrap_or(0);
    Ok(if not_run > 0 { Exit::Partial } else { Exit::Ok })
}

/// Returns what is to be said of days whose change is not the draft's alone.
fn due_line(answer: &Value) -> Option<String> {
    let days = answer["due_days"].as_array().filter(|days| !days.is_empty())?;
    let (first, last) = (plain(days.first()?), plain(days.last()?));
    Some(format!(
        "{} of the days must run anyway, {first} to {last}: part of their change is not the draft's; run `apportion attribute --due` first",
        days.len()
    ))
}

fn summary_of(answer: &Value) -> String {
    let (range, totals) = (&answer["range"], &answer["totals"]);
    format!(
        "\n{} to {}, {}: cost {} · posted {} · change {}\n",
        plain(&range["from"]),
        plain(&range["to"]),
        plain(&answer["currency"]),
        plain(&totals["cost"]),
        plain(&totals["posted"]),
        plain(&totals["change"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn days_that_are_due_are_told_with_the_remedy() {
        assert_eq!(due_line(&json!({ "due_days": [] })), None);
        let line = due_line(&json!({ "due_days": ["2026-11-01", "2026-11-05"] })).expect("a line");
        assert!(line.starts_with("2 of the days must run anyway, 2026-11-01 to 2026-11-05"), "{line}");
    }

    #[test]
    fn the_summary_tells_days_and_sums() {
        let answer = json!({ "range": { "from": "2026-11-01", "to": "2026-11-02" }, "currency": "USD",
                             "totals": { "cost": "3.00", "posted": "2.00", "change": "1.00" } });
        assert_eq!(summary_of(&answer), "\n2026-11-01 to 2026-11-02, USD: cost 3.00 · posted 2.00 · change 1.00\n");
    }
}
