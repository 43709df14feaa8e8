//! `costs`, `explain` and `coverage`: questions to the ledger.

use super::Context;
use crate::cli::{CostChangesArgs, CostsArgs, CostsCommand, ExplainArgs, Format};
use crate::client::Call;
use crate::exit::Exit;
use crate::output::plain;
use anyhow::Result;
use serde_json::{Value, json};

/// Runs `costs` and `costs changes`.
pub async fn run(context: &Context, args: CostsArgs) -> Result<Exit> {
    if let Some(CostsCommand::Changes(args)) = args.command {
        return changes(context, args).await;
    }
    let call = Call::get("/costs")
        .queries(context.days())
        .query("group_by", &args.by)
        .maybe("filter", context.globals.filter.as_ref())
        .maybe("granularity", args.granularity)
        .maybe("compare", args.compare)
        .maybe("view", args.view)
        .maybe("clock", args.clock)
        .maybe("measure", args.measure)
        .maybe("currency", args.currency)
        .maybe("round", args.round)
        .maybe("as_of", args.as_of)
        .maybe("sort", args.sort)
        .maybe("limit", args.top)
        .maybe("cursor", args.cursor);
    let client = context.client().await?;
    let answer = client.json(call).await?;
    context.output.answer(&answer, &[])?;
    if context.output.format == Format::Table {
        context.output.text(&summary_of(&answer))?;
    }
    Ok(Exit::Ok)
}

/// Returns the lines below the table: days, totals and what proves them.
fn summary_of(answer: &Value) -> String {
    let meta = &answer["meta"];
    let totals = answer["totals"].as_object().into_iter().flatten();
    let parts = totals.filter(|(name, amount)| *name == "cost" || plain(amount) != "0.00");
    let parts: Vec<String> = parts.map(|(name, amount)| format!("{name} {}", plain(amount))).collect();
    let range = &meta["range"];
    let mut text = format!(
        "\n{} to {} ({}), {}: {}\n",
        plain(&range["from"]),
        plain(&range["to"]),
        plain(&range["timezone"]),
        plain(&meta["currency"]),
        parts.join(" · ")
    );
    if let Some(conservation) = meta.get("conservation").filter(|value| value.is_object()) {
        let (lines, difference) = (plain(&conservation["cost_lines"]), plain(&conservation["difference"]));
        text.push_str(&format!("imported cost lines {lines}, difference {difference}\n"));
        let unconverted = conservation.get("unconverted").and_then(Value::as_object).into_iter().flatten();
        let amounts: Vec<String> =
            unconverted.map(|(currency, amount)| format!("{} {currency}", plain(amount))).collect();
        if !amounts.is_empty() {
            text.push_str(&format!("not among them, for want of an exchange rate: {}\n", amounts.join(" · ")));
        }
    }
    if let Some(label) = meta.get("label").filter(|value| value.is_string()) {
        text.push_str(&format!(
            "{} (rate card {}); posted {}, posted estimates {}, calibration factor {}\n",
            plain(label),
            plain(&meta["rate_card_version"]),
            plain(&meta["posted"]),
            plain(&meta["posted_memo"]),
            meta["calibration"].as_str().unwrap_or("none")
        ));
        text.push_str(&findings_of(meta));
    }
    text
}

/// Returns what is to be said of the prices at current rates.
fn findings_of(meta: &Value) -> String {
    let listed = |key: &str| meta[key].as_array().map_or(&[][..], Vec::as_slice).iter().map(plain);
    let mut text: String = listed("price_warnings").map(|warning| format!("look at this price: {warning}\n")).collect();
    for (key, said) in [
        ("unpriced_metrics", "without a price, counted as 0"),
        ("unknown_keys", "priced, but no meter is called so"),
        ("gaps", "not measured, or not well"),
    ] {
        let names: Vec<String> = listed(key).collect();
        if !names.is_empty() {
            text.push_str(&format!("{said}: {}\n", names.join(", ")));
        }
    }
    text
}

/// Runs `costs changes`.
async fn changes(context: &Context, args: CostChangesArgs) -> Result<Exit> {
    let call = Call::get("/costs/changes")
        .queries(context.days())
        .maybe("tenant", args.tenant)
        .maybe("compare", args.compare)
        .maybe("as_of", args.as_of);
    let client = context.client().await?;
    let answer = client.json(call).await?;
    if context.output.format == Format::Json {
        context.output.answer(&answer, &[])?;
        return Ok(Exit::Ok);
    }
    context.output.answer(&json!({ "rows": rows_of_changes(&answer) }), &[])?;
    if context.output.format == Format::Table {
        let day = |range: &str, end: &str| plain(&answer[range][end]);
        context.output.text(&format!(
            "\n{}: {} to {} less {} to {}, {}: {} - {} = {}\n",
            plain(&answer["tenant"]),
            day("range", "from"),
            day("range", "to"),
            day("compare", "from"),
            day("compare", "to"),
            plain(&answer["currency"]),
            plain(&answer["cost"]),
            plain(&answer["previous"]),
            plain(&answer["change"])
        ))?;
    }
    Ok(Exit::Ok)
}

/// Returns a row for each pool and one for all of them, with a column for each term that is told anywhere.
fn rows_of_changes(answer: &Value) -> Vec<Value> {
    let names = answer["terms"].as_array().into_iter().flatten().map(|term| plain(&term["term"]));
    let names: Vec<String> = names.collect();
    let row = |name: &str, of: &Value| {
        let mut row = json!({ "pool": name, "previous": of["previous"], "cost": of["cost"], "change": of["change"] });
        for term in &names {
            let told = of["terms"].as_array().into_iter().flatten().find(|told| told["term"] == *term.as_str());
            row[term] = told.map_or(Value::Null, |told| told["amount"].clone());
        }
        row
    };
    let pools = answer["pools"].as_array().into_iter().flatten();
    pools.map(|pool| row(&plain(&pool["pool"]), pool)).chain([row("total", answer)]).collect()
}

/// Runs `explain`.
pub async fn explain(context: &Context, args: ExplainArgs) -> Result<Exit> {
    let call = Call::get("/explain")
        .query("tenant", args.tenant)
        .query("date", args.date)
        .maybe("pool", args.pool)
        .maybe("as_of", args.as_of);
    let client = context.client().await?;
    let answer = client.json(call).await?;
    context.output.answer(&answer, &[])?;
    let wrong = pools_that_do_not_match(&answer);
    for pool in &wrong {
        let text =
            format!("pool \"{pool}\": what is computed again is not what was posted; see `matches` of its cells");
        context.output.warn(&text);
    }
    Ok(if wrong.is_empty() { Exit::Ok } else { Exit::Partial })
}

fn pools_that_do_not_match(answer: &Value) -> Vec<String> {
    let pools = answer["pools"].as_array().into_iter().flatten();
    pools.filter(|pool| pool["matches"] == false).map(|pool| plain(&pool["pool"])).collect()
}

/// Runs `coverage`.
pub async fn coverage(context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    context.print(&client, Call::get("/coverage").queries(context.days()), &[]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_column_for_each_term_and_a_row_for_all_pools() {
        let term = |term: &str, amount: &str| json!({ "term": term, "amount": amount });
        let answer = json!({
            "previous": "3.00", "cost": "5.00", "change": "2.00", "terms": [term("own_volume", "1.50"), term("idle", "0.50")],
            "pools": [{ "pool": "a", "previous": "3.00", "cost": "5.00", "change": "2.00", "terms": [term("own_volume", "1.50")] }],
        });
        let expected = json!([
            { "pool": "a", "previous": "3.00", "cost": "5.00", "change": "2.00", "own_volume": "1.50", "idle": null },
            { "pool": "total", "previous": "3.00", "cost": "5.00", "change": "2.00", "own_volume": "1.50", "idle": "0.50" },
        ]);
        assert_eq!(Value::Array(rows_of_changes(&answer)), expected);
    }

    #[test]
    fn pools_whose_number_is_another_one_are_named() {
        let pool = |pool: &str, matches: Value| json!({ "pool": pool, "matches": matches });
        let answer = json!({ "pools": [pool("a", json!(true)), pool("b", json!(false)), pool("c", Value::Null)] });
        assert_eq!(pools_that_do_not_match(&answer), ["b"]);
    }

    #[test]
    fn the_summary_names_what_is_not_zero_and_the_difference() {
        let answer = serde_json::json!({
            "totals": { "cost": "48210.55", "idle": "144.48", "variance": "0.00" },
            "meta": { "range": { "from": "2026-10-21", "to": "2026-11-19", "timezone": "UTC" }, "currency": "USD",
                      "conservation": { "cost_lines": "48210.55", "difference": "0.00" } },
        });
        let expected = "\n2026-10-21 to 2026-11-19 (UTC), USD: cost 48210.55 · idle 144.48\n\
                        imported cost lines 48210.55, difference 0.00\n";
        assert_eq!(summary_of(&answer), expected);
    }

    #[test]
    fn the_summary_names_the_card_and_what_looks_wrong_with_it() {
        let answer = serde_json::json!({
            "meta": { "label": "at current rates: estimate, not a bill", "rate_card_version": "v1", "posted": "2.00",
                      "posted_memo": "1.00", "calibration": null, "price_warnings": ["api_call goes from 1 to 100"],
                      "unpriced_metrics": ["change_count_24h", "logins_24h"], "unknown_keys": ["api_cal"],
                      "gaps": ["degraded storage_bytes 12"] },
        });
        let expected = "at current rates: estimate, not a bill (rate card v1); posted 2.00, posted estimates 1.00, \
                        calibration factor none\n\
                        look at this price: api_call goes from 1 to 100\n\
                        without a price, counted as 0: change_count_24h, logins_24h\n\
                        priced, but no meter is called so: api_cal\n\
                        not measured, or not well: degraded storage_bytes 12\n";
        assert!(summary_of(&answer).ends_with(expected), "{}", summary_of(&answer));
    }

    #[test]
    fn the_summary_names_lines_that_have_no_rate() {
        let answer = serde_json::json!({
            "meta": { "conservation": { "cost_lines": "3.00", "difference": "0.00",
                                        "unconverted": { "CHF": "2.00", "EUR": "9.00" } } },
        });
        let expected = "not among them, for want of an exchange rate: 2.00 CHF · 9.00 EUR\n";
        assert!(summary_of(&answer).ends_with(expected), "{}", summary_of(&answer));
    }
}
