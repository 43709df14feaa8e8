//! OpenAI: costs of an organisation by project and line item, and tokens of completions.
//!
//! Amounts are dollars, as text or as numbers, with many more digits than money has: they are rounded once, when they
//! are stored. Mails of users are not kept.

use super::collector::{Collected, Collector, Gigabyte, Kind, ProviderUsage, Spec, Task, as_usual};
use super::credentials::{CredentialSpec, bearer};
use super::cursor::read_pages;
use super::decimal::Decimal;
use super::error::CollectError;
use super::fetch::{Allowed, Fetch, Request};
use super::keys::{is_id, read_keys};
use super::line::Line;
use super::period::BillingPeriod;
use domain::time::MICROS_PER_SECOND;
use domain::{Instant, InstantRange};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const COSTS: &str = "/v1/organization/costs";
const COMPLETIONS: &str = "/v1/organization/usage/completions";
/// Days of a page of costs and of usage: the most that are allowed.
const COST_DAYS_MAX: u32 = 180;
const USAGE_DAYS_MAX: u32 = 31;
/// Units of OpenAI, and what they are in FOCUS. Others stay as they are.
const UNITS: [(&str, &str); 6] = [
    ("tokens", "Tokens"),
    ("1000_tokens", "1000 Tokens"),
    ("duration_seconds", "Seconds"),
    ("gibibyte_hours", "GiB-Hours"),
    ("images", "Images"),
    ("characters", "Characters"),
];

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "openai",
    provider: "OpenAI",
    bases: &["https://api.openai.com"],
    allowed: &[Allowed::get(COSTS), Allowed::get(COMPLETIONS)],
    credentials: &[CredentialSpec { key: "api_key", env: "OPENAI_ADMIN_KEY", is_required: true }],
    gigabyte: Gigabyte::Gib,
    zone: "UTC",
    final_after_days: 7,
    levels: &[],
    reclassify: as_usual,
};

/// The kind `openai`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OpenAi {
    /// Id of the organisation: BillingAccountId of all lines, because not every answer names it.
    organization: String,
}

impl Default for OpenAi {
    fn default() -> Self {
        Self { organization: "openai".to_owned() }
    }
}

fn build(keys: serde_json::Value) -> Result<Arc<dyn Collector>, String> {
    let collector: OpenAi = read_keys(keys)?;
    match is_id(&collector.organization) {
        true => Ok(Arc::new(collector)),
        false => Err("`organization` is the organisation's id, such as org-abc".to_owned()),
    }
}

impl Collector for OpenAi {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.read(fetch, &task.period).boxed()
    }
}

impl OpenAi {
    async fn read(&self, fetch: &Fetch, period: &BillingPeriod) -> Result<Collected, CollectError> {
        let mut collected = Collected { account: self.organization.clone(), ..Collected::default() };
        let Some(range) = period.closed_range() else { return Ok(collected) };
        let costs = || question(fetch, COSTS, range, COST_DAYS_MAX, &["project_id", "line_item"]);
        let days: Vec<Bucket<Cost>> = read_pages(fetch, costs).await?;
        collected.lines = lines(&days, range)?;
        let completions = || question(fetch, COMPLETIONS, range, USAGE_DAYS_MAX, &["project_id", "model"]);
        let days: Vec<Bucket<Completions>> = read_pages(fetch, completions).await?;
        collected.usage = usage(&days, range, period)?;
        collected.usage_days = period.closed();
        Ok(collected)
    }
}

fn question(
    fetch: &Fetch,
    path: &'static str,
    range: InstantRange,
    days_max: u32,
    groups: &[&str],
) -> Result<Request<'static>, CollectError> {
    let request = Request::get(path)
        .header(AUTHORIZATION, bearer(fetch.credentials(), "api_key")?)
        .query("start_time", range.start.micros().div_euclid(MICROS_PER_SECOND))
        .query("end_time", range.end.micros().div_euclid(MICROS_PER_SECOND))
        .query("bucket_width", "1d")
        .query("limit", days_max);
    Ok(groups.iter().fold(request, |request, group| request.query("group_by[]", group)))
}

/// A day.
#[derive(Deserialize)]
struct Bucket<T> {
    start_time: i64,
    end_time: i64,
    results: Vec<T>,
}

#[derive(Deserialize)]
struct Cost {
    amount: Amount,
    #[serde(default)]
    line_item: Option<String>,
    #[serde(default)]
    project_id: Option<String>,
    #[serde(default)]
    project_name: Option<String>,
    #[serde(default)]
    api_key_id: Option<String>,
    #[serde(default)]
    api_source: Option<String>,
    #[serde(default)]
    quantity: Option<Decimal>,
    #[serde(default)]
    quantity_unit: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    value: Decimal,
    currency: String,
}

fn lines(days: &[Bucket<Cost>], range: InstantRange) -> Result<Vec<Line>, CollectError> {
    let mut lines = Vec::new();
    for day in days {
        let time = time_of(day, range)?;
        lines.extend(day.results.iter().map(|cost| line(cost, time)));
    }
    Ok(lines)
}

fn line(cost: &Cost, day: InstantRange) -> Line {
    let is_of_project = cost.project_id.as_ref().map(|_| "Project");
    let is_of_key = cost.api_key_id.as_ref().map(|_| "API Key");
    // A quantity of several units at once has none, and would be a number of nothing.
    let used = cost.quantity.as_ref().zip(cost.quantity_unit.as_deref());
    let line = Line::new("Usage", day)
        .cost(cost.amount.value.as_str(), &cost.amount.currency.to_ascii_uppercase())
        .cell("ServiceName", "OpenAI API")
        .cell("ServiceCategory", "AI and Machine Learning")
        .cell("ServiceSubcategory", "Generative AI")
        .cell("PricingCategory", "Standard")
        .cell("ChargeFrequency", "Usage-Based")
        .maybe("SubAccountId", cost.project_id.clone())
        .maybe("SubAccountName", cost.project_name.clone())
        .maybe("SubAccountType", is_of_project)
        .maybe("ResourceId", cost.api_key_id.clone())
        .maybe("ResourceType", is_of_key)
        .maybe("ChargeDescription", cost.line_item.clone())
        .maybe("SkuMeter", cost.line_item.clone())
        .maybe("x_ApiSource", cost.api_source.clone());
    match used {
        Some((quantity, unit)) => {
            line.cell("ConsumedQuantity", quantity.as_str()).cell("ConsumedUnit", focus_unit(unit))
        }
        None => line,
    }
}

fn focus_unit(unit: &str) -> &str {
    UNITS.into_iter().find(|(own, _)| *own == unit).map_or(unit, |(_, focus)| focus)
}

#[derive(Deserialize)]
struct Completions {
    input_tokens: Decimal,
    output_tokens: Decimal,
    num_model_requests: Decimal,
    #[serde(default)]
    input_cached_tokens: Option<Decimal>,
    #[serde(default)]
    project_id: Option<String>,
    #[serde(default)]
    model: Option<String>,
}

fn usage(
    days: &[Bucket<Completions>],
    range: InstantRange,
    period: &BillingPeriod,
) -> Result<Vec<ProviderUsage>, CollectError> {
    let mut usage = Vec::new();
    for bucket in days {
        let day = period.zone().day_of(time_of(bucket, range)?.start);
        for result in &bucket.results {
            let labels: BTreeMap<String, String> = [
                ("project".to_owned(), result.project_id.clone().unwrap_or_default()),
                ("model".to_owned(), result.model.clone().unwrap_or_default()),
            ]
            .into();
            let quantities = [
                // Cached tokens are part of them already.
                ("input_tokens", "Tokens", Some(&result.input_tokens)),
                ("input_cached_tokens", "Tokens", result.input_cached_tokens.as_ref()),
                ("output_tokens", "Tokens", Some(&result.output_tokens)),
                ("model_requests", "Requests", Some(&result.num_model_requests)),
            ];
            for (resource, unit, quantity) in quantities {
                let Some(quantity) = quantity.map(Decimal::to_string) else { continue };
                let (resource, unit, labels) = (resource.to_owned(), unit.to_owned(), labels.clone());
                usage.push(ProviderUsage { resource, unit, day, quantity, labels });
            }
        }
    }
    Ok(usage)
}

/// The time of a bucket, which must lie in what was asked for.
fn time_of<T>(bucket: &Bucket<T>, range: InstantRange) -> Result<InstantRange, CollectError> {
    let instant = |seconds: i64| Instant::from_micros(seconds.saturating_mul(MICROS_PER_SECOND));
    let (start, end) = (instant(bucket.start_time), instant(bucket.end_time));
    if start < range.start || range.end < end || end <= start {
        let detail = format!("a bucket is of {start} to {end}, asked for was {} to {}", range.start, range.end);
        return Err(CollectError::schema(detail));
    }
    Ok(InstantRange { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Zone, money};

    const DAYS: &str = r#"[
        {"object":"bucket","start_time":1794960000,"end_time":1795046400,"results":[
         {"object":"organization.costs.result","amount":{"value":"0.02100000000000000000000000000000000","currency":"usd"},
          "line_item":"gpt-5-mini, input","project_id":"proj_composed1","api_key_id":null,"user_id":null,"api_source":null,
          "quantity":84000,"quantity_unit":"tokens","organization_id":"org-composed","project_name":"checkout"},
         {"object":"organization.costs.result","amount":{"value":"0E-6176","currency":"usd"},
          "line_item":"gpt-5-mini, cached input","project_id":"proj_composed1","quantity":0,"quantity_unit":"tokens"}]},
        {"object":"bucket","start_time":1795046400,"end_time":1795132800,"results":[
         {"object":"organization.costs.result","amount":{"value":0.06,"currency":"usd"},"line_item":"web search tool calls",
          "project_id":null,"api_key_id":null,"user_id":null,"quantity":null,"quantity_unit":null}]}]"#;

    const TOKENS: &str = r#"[{"object":"bucket","start_time":1794960000,"end_time":1795046400,"results":[
        {"input_tokens":84000,"input_cached_tokens":12000,"input_cache_write_tokens":0,"input_uncached_tokens":72000,
         "output_tokens":9100,"num_model_requests":312,"project_id":"proj_composed1","user_id":null,
         "api_key_id":"key_composed1","model":"gpt-5-mini","batch":false}]}]"#;

    fn period() -> BillingPeriod {
        let now = "2026-11-20T05:00:00Z".parse().expect("an instant");
        BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &Zone::utc(), now)
    }

    fn range() -> InstantRange {
        period().closed_range().expect("days that are over")
    }

    #[test]
    fn amounts_are_read_as_text_and_as_numbers_however_long() {
        let days: Vec<Bucket<Cost>> = serde_json::from_str(DAYS).expect("days");
        let lines = lines(&days, range()).expect("lines");
        let atoms = lines.iter().map(|line| {
            let text = line.text("BilledCost").expect("an amount");
            money::parse_atoms(text).expect("money").atoms
        });
        assert_eq!(atoms.collect::<Vec<_>>(), [21_000_000_000_000, 0, 60_000_000_000_000]);
        let found = ["BillingCurrency", "ConsumedUnit", "SubAccountName", "SkuMeter"];
        let found = found.map(|column| lines[0].text(column).unwrap_or("-"));
        assert_eq!(found, ["USD", "Tokens", "checkout", "gpt-5-mini, input"]);
        assert_eq!((lines[2].text("ConsumedQuantity"), lines[2].text("SubAccountId")), (None, None));
    }

    #[test]
    fn cached_tokens_are_told_apart_and_not_added() {
        let days: Vec<Bucket<Completions>> = serde_json::from_str(TOKENS).expect("days");
        let usage = usage(&days, range(), &period()).expect("usage");
        let found: Vec<String> =
            usage.iter().map(|one| format!("{} {} {}", one.day, one.resource, one.quantity)).collect();
        assert_eq!(
            found,
            [
                "2026-11-18 input_tokens 84000",
                "2026-11-18 input_cached_tokens 12000",
                "2026-11-18 output_tokens 9100",
                "2026-11-18 model_requests 312",
            ]
        );
    }

    #[test]
    fn what_is_missing_or_lies_outside_is_refused() {
        let without = DAYS.replace(r#""value":0.06,"#, "");
        assert!(serde_json::from_str::<Vec<Bucket<Cost>>>(&without).is_err());
        let later: Vec<Bucket<Cost>> = serde_json::from_str(&DAYS.replace("179", "189")).expect("days");
        assert!(lines(&later, range()).is_err());
    }
}
