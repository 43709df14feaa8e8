//! `unit-costs`: what a merged pull request and a completed workflow cost.

use super::Context;
use crate::cli::{Format, UnitCostsArgs};
use crate::client::Call;
use crate::exit::Exit;
use crate::output::plain;
use anyhow::Result;
use serde_json::Value;

/// Columns of the table after the key.
const COLUMNS: [&str; 11] = [
    "cost",
    "direct",
    "amortized",
    "pending",
    "n",
    "cost_per_merged_pr",
    "workflows_completed",
    "cost_per_completed_workflow",
    "failed_cost",
    "in_progress_cost",
    "memo_cost",
];

/// Runs `unit-costs`.
pub async fn run(context: &Context, args: UnitCostsArgs) -> Result<Exit> {
    let columns: Vec<&str> = std::iter::once(args.by.as_str()).chain(COLUMNS).collect();
    let call = Call::get("/unit-costs")
        .queries(context.days())
        .query("by", &args.by)
        .maybe("cohort", args.cohort.as_deref())
        .maybe("mode", args.mode.as_deref())
        .maybe("as_of", args.as_of.as_deref())
        .maybe("sort", args.sort.as_deref())
        .maybe("limit", args.top)
        .maybe("cursor", args.cursor.as_deref());
    let client = context.client().await?;
    let answer = client.json(call).await?;
    context.output.answer(&answer, &columns)?;
    if context.output.format == Format::Table {
        context.output.text(&summary_of(&answer))?;
    }
    Ok(Exit::Ok)
}

/// Returns the lines below the table: days, both ratios of all rows, what stands beside them, and the caps.
fn summary_of(answer: &Value) -> String {
    let (meta, totals) = (&answer["meta"], &answer["totals"]);
    let text = |value: &Value| if value.is_null() { "none".to_owned() } else { plain(value) };
    let mut summary = format!(
        "\n{} to {} ({}), {}, cohort {}, mode {}: cost {} · per merged PR {} (n {}) · per completed workflow {} ({})\n",
        plain(&meta["range"]["from"]),
        plain(&meta["range"]["to"]),
        plain(&meta["range"]["timezone"]),
        plain(&meta["currency"]),
        plain(&meta["cohort"]),
        plain(&meta["mode"]),
        plain(&totals["cost"]),
        text(&totals["cost_per_merged_pr"]),
        plain(&totals["n"]),
        text(&totals["cost_per_completed_workflow"]),
        plain(&totals["workflows_completed"]),
    );
    summary.push_str(&format!(
        "overhead {} · without a workflow {} · estimates {} · pending {} · failed {} · in progress {}\n",
        plain(&totals["overhead"]),
        plain(&totals["without_workflow"]),
        plain(&totals["memo_cost"]),
        plain(&totals["pending"]),
        plain(&totals["failed_cost"]),
        plain(&totals["in_progress_cost"]),
    ));
    for cap in answer["caps"].as_array().into_iter().flatten() {
        summary.push_str(&format!(
            "cap {} per {}: {} of {} used ({})\n",
            plain(&cap["task_class"]),
            plain(&cap["per"]),
            plain(&cap["used"]),
            plain(&cap["amount"]),
            text(&cap["share_used"]),
        ));
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_beside_the_ratios() {
        let answer = serde_json::json!({
            "totals": { "cost": "12.00", "n": 3, "cost_per_merged_pr": "4.00", "workflows_completed": 0,
                        "cost_per_completed_workflow": null, "overhead": "310.00", "without_workflow": "0.00",
                        "memo_cost": "2.00", "pending": "1.00", "failed_cost": "0.50", "in_progress_cost": "0.25" },
            "caps": [{ "task_class": "fix", "per": "month", "amount": "20.00", "used": "10.00", "share_used": "0.500000" }],
            "meta": { "range": { "from": "2026-10-21", "to": "2026-11-19", "timezone": "UTC" }, "currency": "USD",
                      "cohort": "period", "mode": "tiered" },
        });
        let expected = "\n2026-10-21 to 2026-11-19 (UTC), USD, cohort period, mode tiered: cost 12.00 · per merged PR 4.00 \
                        (n 3) · per completed workflow none (0)\n\
                        overhead 310.00 · without a workflow 0.00 · estimates 2.00 · pending 1.00 · failed 0.50 · in \
                        progress 0.25\n\
                        cap fix per month: 10.00 of 20.00 used (0.500000)\n";
        assert_eq!(summary_of(&answer), expected);
    }
}
