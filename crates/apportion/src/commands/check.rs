//! `check`: validates all configuration and says what each pool selects.

use super::Context;
use super::versions::{refusal_line, refused_lines, share_text};
use crate::cli::Format;
use crate::client::{Call, Client};
use crate::config::{Config, provider_sources};
use crate::exit::{Exit, Failure};
use crate::publish::{Kind, TOML, read_text};
use crate::sources::{EnteredCost, check_sources, covered_twice, summed_levels};
use anyhow::Result;
use axum::body::Body;
use collectors::fixed::policy_entries;
use domain::meter::{Meter, read_meters};
use domain::policy::{BUILTIN_TEXT, Capacity, Policy, Pool};
use domain::rates::{RateCard, canonical};
use domain::{Clock as _, Month};
use engine::query::selection::shared_drivers;
use metering::rules::DimensionMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Checks every file; with `--range`, also what the policy would do to the imported lines of those days, and whether
/// the store would take the files as they are.
pub async fn run(context: &Context) -> Result<Exit> {
    let config = context.config()?.config;
    config.check_available()?;
    let refused = |error: &dyn std::fmt::Display| Failure::new(Exit::Conflict, error.to_string());
    DimensionMap::new(&config.ingest.map).map_err(|error| refused(&error))?;
    let meters = match config.files.meters.exists() {
        true => {
            let text = read_text(&config.files.meters)?;
            read_meters(&config.files.meters.display().to_string(), &text).map_err(|error| refused(&error))?
        }
        false => domain::meter::builtin(),
    };
    crate::config::adapter_secrets(&config)?;
    crate::wiring::metric_map(&config)?.check(&meters).map_err(|error| refused(&error))?;
    let mut warnings = check_sources(&config, &meters)?;
    let mut rates = None;
    if config.files.rates.exists() {
        let text = read_text(&config.files.rates)?;
        Kind::Rates.check(&config.files.rates, &text)?;
        let name = config.files.rates.display().to_string();
        warnings.extend(check_prices(&name, &RateCard::read(&name, &text)?, &meters)?);
        rates = Some(text);
    }
    let (policy, text) = match config.files.policy.exists() {
        true => {
            let text = read_text(&config.files.policy)?;
            Kind::Policy.check(&config.files.policy, &text)?;
            (Policy::read("policy.toml", &text)?, text)
        }
        false => (Policy::builtin(), BUILTIN_TEXT.to_owned()),
    };
    let selections = selections_of(&text);
    let rows: Vec<Value> = policy.pools.iter().map(|pool| row_of(pool, &selections)).collect();
    warnings.extend(warnings_of(&policy, &meters));
    let entered: Vec<EnteredCost> =
        policy_entries(std::slice::from_ref(&policy)).iter().map(EnteredCost::of_entry).collect();
    warnings.extend(covered_twice(&provider_sources(&config)?, &entered, this_month(&config)));
    warnings.extend(summed_levels(&config.provider_limits));
    for warning in &warnings {
        context.output.warn(warning);
    }
    let days = context.days();
    if days.is_empty() {
        context.output.answer(&json!({ "policy": policy.version, "rows": rows, "warnings": warnings }), &[])?;
    } else {
        if context.output.format == Format::Table {
            context.output.answer(&json!({ "rows": rows }), &[])?;
        }
        let client = context.client().await?;
        ask_store(context, &client, days, text, rates).await?;
        warn_of_fixed_costs(context, &client, &config).await?;
    }
    context.output.note("configuration is valid");
    Ok(Exit::Ok)
}

/// Asks the store what the policy would do on these days, and whether publishing the files would be refused.
async fn ask_store(
    context: &Context,
    client: &Client,
    days: Vec<(&'static str, String)>,
    policy: String,
    rates: Option<String>,
) -> Result<()> {
    let validate =
        |kind: Kind, text: String| Call::post(format!("{}/validate", kind.route())).body(TOML, Body::from(text));
    let answer = client.json(validate(Kind::Policy, policy).queries(days)).await?;
    context.output.answer(&answer, &[])?;
    // What two pools share was said already, from the file.
    for warning in refused_lines(&answer) {
        context.output.warn(&warning);
    }
    let confirmed = context.globals.yes;
    let mut refusals: Vec<String> = refusal_line(&answer, confirmed).into_iter().collect();
    if let Some(rates) = rates {
        let answer = client.json(validate(Kind::Rates, rates)).await?;
        refusals.extend(refusal_line(&answer, confirmed));
    }
    if refusals.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Conflict, refusals.join("\n")).into()) }
}

/// Warns of costs that were entered of a provider that a collector reads as well.
async fn warn_of_fixed_costs(context: &Context, client: &Client, config: &Config) -> Result<()> {
    let sources = provider_sources(config)?;
    if sources.is_empty() {
        return Ok(());
    }
    let rows = client.all_rows("/fixed-costs", &[]).await?;
    let entered: Vec<EnteredCost> = rows.iter().filter_map(EnteredCost::of_row).collect();
    for warning in covered_twice(&sources, &entered, this_month(config)) {
        context.output.warn(&warning);
    }
    Ok(())
}

fn this_month(config: &Config) -> Month {
    config.zone().day_of(crate::wiring::WallClock.now()).month()
}

/// Returns what each pool selects, in the words of the file.
fn selections_of(text: &str) -> BTreeMap<String, String> {
    let table: toml::Table = text.parse().unwrap_or_default();
    let pools = table.get("pool").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let describe = |pool: &toml::Value| {
        let name = pool.get("name")?.as_str()?.to_owned();
        let words = ["select", "recovers", "fixed"].iter().find_map(|word| Some((word, pool.get(*word)?)));
        let words = words.map_or_else(
            || "nothing (an internal estimate)".to_owned(),
            |(word, value)| match value {
                toml::Value::Table(table) if table.is_empty() => format!("{word}: everything"),
                value => format!("{word}: {}", value.to_string().replace('\n', " ")),
            },
        );
        Some((name, words))
    };
    pools.iter().filter_map(describe).collect()
}

fn row_of(pool: &Pool, selections: &BTreeMap<String, String>) -> Value {
    json!({
        "pool": pool.name,
        "kind": pool.kind.as_str(),
        "tier": pool.tier.as_str(),
        "method": pool.method().as_str(),
        "selects": selections.get(&pool.name).map_or("nothing (an internal estimate)", String::as_str),
    })
}

/// Refuses a price that does not fit its meter, as publishing would; returns meters that nobody defines.
fn check_prices(file: &str, card: &RateCard, meters: &[Meter]) -> Result<Vec<String>, Failure> {
    let meter_of = |name: &str| meters.iter().find(|meter| meter.name == name);
    card.check_meters(meter_of).map_err(|error| Failure::new(Exit::Conflict, format!("{file}: {error}")))?;
    let unknown = card.prices.iter().filter(|row| meter_of(canonical(&row.meter).0).is_none());
    let place = format!("rate card `{}`", card.version);
    Ok(unknown.map(|row| unknown_meter(&place, &row.meter, meters)).collect())
}

fn unknown_meter(place: &str, meter: &str, meters: &[Meter]) -> String {
    let near = domain::toml_text::nearest(meter, meters.iter().map(|known| known.name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("{place}: no meter `{meter}`{hint}")
}

/// Meters that nobody defines, and drivers that two pools share.
fn warnings_of(policy: &Policy, meters: &[Meter]) -> Vec<String> {
    let mut warnings = Vec::new();
    for pool in &policy.pools {
        let Some(split) = &pool.split else { continue };
        for capacity in pool.capacity.values() {
            if let Capacity::Meter(meter) = capacity
                && !meters.iter().any(|known| &known.name == meter)
            {
                warnings.push(unknown_meter(&format!("pool \"{}\", capacity", pool.name), meter, meters));
            }
        }
        for meter in split.weights.keys().chain(&split.meter) {
            if !meters.iter().any(|known| &known.name == meter) {
                warnings.push(unknown_meter(&format!("pool \"{}\"", pool.name), meter, meters));
            }
        }
    }
    let shared = shared_drivers(policy, meters);
    warnings.extend(shared.iter().map(|shared| share_text(&shared.pools[0], &shared.pools[1], &shared.meter)));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_meters_and_shared_drivers_are_warned_about() {
        let text = "version='v'\nvalid_from=2026-01-01\n\
            [[pool]]\nname='a'\nselect={provider='X'}\nsplit={method='proportional',meter='log_queris'}\n\
            [[pool]]\nname='b'\nselect={}\nsplit={method='proportional',meter='log_queris'}";
        let policy = Policy::read("p", text).expect("valid");
        let warnings = warnings_of(&policy, &domain::meter::builtin());
        assert_eq!(warnings[0], "pool \"a\": no meter `log_queris`; did you mean `log_queries`?");
        assert_eq!(warnings.last().map(String::as_str), Some("pools \"a\" and \"b\" share the driver log_queris"));
        let selections = selections_of(text);
        assert_eq!(selections["b"], "select: everything");
        assert!(selections["a"].contains("provider"), "{}", selections["a"]);
    }

    #[test]
    fn prices_are_of_meters_that_exist_and_those_of_gauges_say_per_what() {
        let check = |prices: &str| {
            let text = format!("version='v'\ncurrency='USD'\nvalid_from=2026-01-01\n{prices}");
            check_prices("r.toml", &RateCard::read("r.toml", &text).expect("valid"), &domain::meter::builtin())
        };
        let warnings = check("[[price]]\nmeter='api_cal'\nprice='1'\n[[price]]\nmeter='api_call'\nprice='1'");
        assert_eq!(warnings.expect("no error").len(), 1);
        let refused = check("[[price]]\nmeter='storage_gb'\nprice='1'").expect_err("a gauge").message;
        assert!(refused.starts_with("r.toml: rate card `v`: storage_gb is a gauge"), "{refused}");
        let refused = check("[[price]]\nmeter='api_call'\nprice='1'\nper='day'").expect_err("a counter").message;
        assert!(refused.starts_with("r.toml: rate card `v`: api_call is a counter"), "{refused}");
        assert_eq!(check("[[price]]\nmeter='storage_gb'\nprice='1'\nper='month'").expect("no error").len(), 0);
    }
}
