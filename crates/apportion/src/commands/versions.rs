//! `rates` and `policy`: versions of prices and of pools and rules.

use super::{Context, what_if};
use crate::cli::{Format, PolicyCommand, RatesCommand, SimulateView, VersionCommand};
use crate::client::{Call, Client, percent_encode};
use crate::exit::{Exit, Failure};
use crate::output::plain;
use crate::publish::{Kind, TOML, moved_text, publish, read_text};
use anyhow::Result;
use axum::body::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Runs `rates …`.
pub async fn rates(context: &Context, command: RatesCommand) -> Result<Exit> {
    match command {
        RatesCommand::Version(command) => run(context, Kind::Rates, command).await,
        RatesCommand::Simulate { file, top, view: SimulateView::CurrentRates } => {
            what_if::of_usage(context, &file, top).await
        }
        RatesCommand::Simulate { file, top, view: SimulateView::Posted } => {
            what_if::of_ledger(context, Kind::Rates, &file, top).await
        }
    }
}

/// Runs `policy …`.
pub async fn policy(context: &Context, command: PolicyCommand) -> Result<Exit> {
    match command {
        PolicyCommand::Version(command) => run(context, Kind::Policy, command).await,
        PolicyCommand::Simulate(args) => what_if::of_ledger(context, Kind::Policy, &args.file, args.top).await,
    }
}

/// The columns of a card's prices.
const PRICE_COLUMNS: [&str; 7] = ["key", "labels", "above", "price", "per", "per_month", "text"];

/// Prints a version, or one that could be published; of a rate card every price with its month.
fn print_version(context: &Context, kind: Kind, answer: &Value) -> Result<()> {
    if kind == Kind::Policy || context.output.format != Format::Table {
        return context.output.answer(answer, &[]);
    }
    context.output.text(&format!(
        "rate card {}, {}, valid from {}; months of {}",
        plain(&answer["version"]),
        plain(&answer["currency"]),
        plain(&answer["valid_from"]),
        plain(&answer["month"])
    ))?;
    context.output.answer(&json!({ "rows": answer["prices"] }), &PRICE_COLUMNS)
}

/// Runs `rates …` or `policy …`.
async fn run(context: &Context, kind: Kind, command: VersionCommand) -> Result<Exit> {
    match command {
        VersionCommand::List => {
            let client = context.client().await?;
            let columns = ["version", "valid_from", "currency", "published_at", "used", "in_force"];
            let columns: &[&str] = if context.output.format == Format::Table { &columns } else { &[] };
            context.print_list(&client, kind.route(), Vec::new(), columns).await
        }
        VersionCommand::Show { version } => {
            let client = context.client().await?;
            let answer = show(&client, kind, version).await?;
            print_version(context, kind, &answer)?;
            Ok(Exit::Ok)
        }
        VersionCommand::Validate { file } => {
            let text = read_text(&file)?;
            kind.check(&file, &text)?;
            let client = context.client().await?;
            let call = Call::post(format!("{}/validate", kind.route())).queries(context.days());
            let answer = client.json(call.body(TOML, Body::from(text))).await?;
            print_version(context, kind, &answer)?;
            let refusal = refusal_line(&answer, context.globals.yes);
            for warning in shared_lines(&answer).into_iter().chain(refused_lines(&answer)).chain(refusal) {
                context.output.warn(&warning);
            }
            Ok(Exit::Ok)
        }
        VersionCommand::Diff { left, right } => {
            let client = context.client().await?;
            let left = show(&client, kind, Some(left)).await?;
            let right = show(&client, kind, Some(right)).await?;
            let mut rows = price_differences(&left, &right);
            rows.extend(differences(&without_prices(left), &without_prices(right)));
            context.output.answer(&json!({ "rows": rows }), &[])?;
            Ok(Exit::Ok)
        }
        VersionCommand::Publish { file } => {
            let client = context.client().await?;
            let answer = publish(&client, kind, &file, context.globals.yes).await?;
            context.output.answer(&answer, &[])?;
            if let Some(line) = moved_text(kind, &answer) {
                context.output.warn(&line);
            }
            Ok(Exit::Ok)
        }
    }
}

/// Returns what to say of a meter that drives two pools.
pub(super) fn share_text(one: &str, other: &str, meter: &str) -> String {
    format!("pools \"{one}\" and \"{other}\" share the driver {meter}")
}

/// Returns what a validation says of meters that drive two pools.
fn shared_lines(answer: &Value) -> Vec<String> {
    let shared = answer.get("shared_drivers").and_then(Value::as_array);
    let line =
        |shared: &Value| share_text(&plain(&shared["pools"][0]), &plain(&shared["pools"][1]), &plain(&shared["meter"]));
    shared.into_iter().flatten().map(line).collect()
}

/// Returns what a validation says of pools that a run would leave as they are.
pub(super) fn refused_lines(answer: &Value) -> Vec<String> {
    let refused = answer.get("rows").and_then(Value::as_array).into_iter().flatten().filter_map(|row| {
        let reason = row.get("refused").and_then(Value::as_str)?;
        Some(format!("a run would leave pool \"{}\" as it is: {reason}", plain(&row["pool"])))
    });
    refused.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns what a validation says of publishing: why it would be refused, unless `confirmed` lifts that.
pub(super) fn refusal_line(answer: &Value, confirmed: bool) -> Option<String> {
    let refusal = answer.get("refusal").filter(|refusal| refusal.is_object())?;
    let code = plain(&refusal["code"]);
    let is_lifted = confirmed && code == "suspicious_price";
    (!is_lifted).then(|| format!("{code}: {}", plain(&refusal["detail"])))
}

/// Returns one version, by default the one in force today.
async fn show(client: &Client, kind: Kind, version: Option<String>) -> Result<Value> {
    let version = match version {
        Some(version) => version,
        None => {
            let all = client.all_rows(kind.route(), &[]).await?;
            let in_force = all.iter().find(|row| row["in_force"] == true).and_then(|row| row["version"].as_str());
            let in_force = in_force.ok_or_else(|| Failure::new(Exit::NotFound, "nothing is in force"))?;
            in_force.to_owned()
        }
    };
    client.json(Call::get(format!("{}/{}", kind.route(), percent_encode(&version)))).await
}

/// Returns every price that two rate cards do not share, with the months of both; none for policies.
fn price_differences(left: &Value, right: &Value) -> Vec<Value> {
    let prices = |card: &Value| -> BTreeMap<String, Value> {
        let rows = card["prices"].as_array().cloned().unwrap_or_default();
        let place = |row: &Value| {
            let labels = row["labels"].as_object().filter(|labels| !labels.is_empty());
            let labels = labels.map_or_else(String::new, |labels| Value::Object(labels.clone()).to_string());
            let above = row["above"].as_str().map_or_else(String::new, |above| format!("/above {above}"));
            format!("/price/{}{labels}{above}", plain(&row["key"]))
        };
        rows.into_iter().map(|row| (place(&row), row)).collect()
    };
    let (old, new) = (prices(left), prices(right));
    let places: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let told = |row: Option<&Value>, field: &str| row.map_or(Value::Null, |row| row[field].clone());
    let changed = places.into_iter().filter(|place| {
        let facts = |row: Option<&Value>| [told(row, "price"), told(row, "per")];
        facts(old.get(*place)) != facts(new.get(*place))
    });
    let row = |place: &String| {
        let (left, right) = (old.get(place), new.get(place));
        json!({ "at": place, "left": told(left, "price"), "right": told(right, "price"),
                "left_month": told(left, "per_month"), "right_month": told(right, "per_month") })
    };
    changed.map(row).collect()
}

/// The document without what [`price_differences`] compares.
fn without_prices(mut version: Value) -> Value {
    if let Some(object) = version.as_object_mut() {
        if object.remove("prices").is_some()
            && let Some(content) = object.get_mut("content").and_then(Value::as_object_mut)
        {
            content.remove("price");
        }
        object.remove("month");
    }
    version
}

/// Returns every place at which the two documents differ, with both values.
fn differences(left: &Value, right: &Value) -> Vec<Value> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    leaves("", left, &mut old);
    leaves("", right, &mut new);
    let places: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = places.into_iter().filter(|place| old.get(*place) != new.get(*place));
    changed.map(|place| json!({ "at": place, "left": old.get(place), "right": new.get(place) })).collect()
}

/// Collects the values by their path. Elements of a list that have a name are found by it, so that a moved pool
/// is not a changed one.
fn leaves(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (key, member) in object {
                leaves(&format!("{path}/{key}"), member, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = ["name", "meter"].iter().find_map(|key| item.get(*key)).and_then(Value::as_str);
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                leaves(&format!("{path}/{name}"), item, found);
            }
        }
        leaf => {
            found.insert(path.to_owned(), leaf.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::{Path, Query};
    use axum::routing::get;

    #[tokio::test]
    async fn the_version_in_force_is_found_on_whatever_page_it_stands() {
        let list = |Query(asked): Query<BTreeMap<String, String>>| async move {
            match asked.get("cursor") {
                None => axum::Json(json!({ "next_cursor": "n",
                    "rows": [{ "version": "planned", "valid_from": "2027-01-01", "in_force": false }] })),
                Some(_) => {
                    axum::Json(json!({ "rows": [{ "version": "now", "valid_from": "2026-01-01", "in_force": true }] }))
                }
            }
        };
        let one = |Path(version): Path<String>| async move { axum::Json(json!({ "version": version })) };
        let router = axum::Router::new().route("/api/v1/policies", get(list));
        let client = Client::Local(router.route("/api/v1/policies/{version}", get(one)));
        assert_eq!(show(&client, Kind::Policy, None).await.expect("a version")["version"], "now");
    }

    #[test]
    fn a_validation_warns_once_of_each_finding() {
        let refused = json!({ "pool": "llm", "refused": "currency_mixed" });
        let answer = json!({
            "shared_drivers": [{ "meter": "api_call", "pools": ["a", "b"] }],
            "rows": [{ "pool": "a" }, refused, refused],
        });
        assert_eq!(shared_lines(&answer), ["pools \"a\" and \"b\" share the driver api_call"]);
        assert_eq!(refused_lines(&answer), ["a run would leave pool \"llm\" as it is: currency_mixed"]);
        assert!(shared_lines(&json!({})).is_empty() && refused_lines(&json!({})).is_empty());
    }

    #[test]
    fn a_refusal_to_come_is_told_unless_it_is_lifted() {
        let jump = json!({ "refusal": { "code": "suspicious_price", "detail": "from 1 to 100" } });
        assert_eq!(refusal_line(&jump, false).as_deref(), Some("suspicious_price: from 1 to 100"));
        assert_eq!(refusal_line(&jump, true), None);
        let in_use = json!({ "refusal": { "code": "version_in_use", "detail": "v" } });
        assert_eq!(refusal_line(&in_use, true).as_deref(), Some("version_in_use: v"));
        assert_eq!(refusal_line(&json!({ "valid": true }), false), None);
    }

    #[test]
    fn prices_differ_with_their_months() {
        let price = |key: &str, price: &str, month: &str| json!({ "key": key, "labels": {}, "above": null, "price": price, "per": "unit", "per_month": month });
        let card = |version: &str, prices: Value| json!({ "version": version, "month": "2026-10", "prices": prices, "content": { "version": version, "price": [{ "meter": "x" }] } });
        let left = card("a", json!([price("member_count", "5.00", "155.00"), price("api_call", "1.00", "1.00")]));
        let right = card("b", json!([price("member_count", "6.00", "186.00"), price("api_call", "1.00", "1.00")]));
        let expected = json!([{ "at": "/price/member_count", "left": "5.00", "right": "6.00", "left_month": "155.00", "right_month": "186.00" }]);
        assert_eq!(Value::Array(price_differences(&left, &right)), expected);
        let rest: Vec<Value> = differences(&without_prices(left), &without_prices(right));
        let at: Vec<&str> = rest.iter().filter_map(|row| row["at"].as_str()).collect();
        assert_eq!(at, ["/content/version", "/version"]);
    }

    #[test]
    fn a_difference_names_its_place_and_both_values() {
        let left = json!({ "version": "a", "pool": [{ "name": "x", "tier": "direct" }, { "name": "y" }] });
        let right = json!({ "version": "a", "pool": [{ "name": "y" }, { "name": "x", "tier": "overhead" }] });
        let expected = json!([{ "at": "/pool/x/tier", "left": "direct", "right": "overhead" }]);
        assert_eq!(Value::Array(differences(&left, &right)), expected);
    }
}
