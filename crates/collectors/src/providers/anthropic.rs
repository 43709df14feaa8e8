//! Anthropic: costs and tokens of an organisation, from the analytics API or from the older admin API.
//!
//! Amounts are fractional cents, before credits. Both APIs tell the same money, so a source reads one of them.

use super::collector::{Collected, Collector, Gigabyte, Kind, ProviderUsage, Spec, Task, as_usual};
use super::credentials::{CredentialSpec, secret_header};
use super::cursor::read_pages;
use super::decimal::Decimal;
use super::error::CollectError;
use super::fetch::{Allowed, Fetch, Request};
use super::keys::{is_id, read_keys};
use super::line::Line;
use super::period::BillingPeriod;
use domain::{Instant, InstantRange};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const COST: &str = "/v1/organizations/analytics/cost";
const USAGE: &str = "/v1/organizations/analytics/usage";
const OLDER_COST: &str = "/v1/organizations/cost_report";
const OLDER_USAGE: &str = "/v1/organizations/usage_report/messages";
/// Version of the API that is spoken.
const VERSION: &str = "2023-06-01";
/// Name of the analytics API while it is a beta.
const BETA: &str = "analytics-usage-cost-2026-08-24";
/// Rows of a page of the analytics API, days of a page of the older one: the most that they allow.
const ROWS_MAX: u32 = 1000;
const DAYS_MAX: u32 = 31;

/// What is the same for all of them.
pub static SPEC: Spec = Spec {
    name: "anthropic",
    provider: "Anthropic",
    bases: &["https://api.anthropic.com"],
    allowed: &[Allowed::get(COST), Allowed::get(USAGE), Allowed::get(OLDER_COST), Allowed::get(OLDER_USAGE)],
    credentials: &[CredentialSpec { key: "api_key", env: "ANTHROPIC_ADMIN_KEY", is_required: true }],
    gigabyte: Gigabyte::Gb,
    zone: "UTC",
    final_after_days: 7,
    levels: &[],
    reclassify: as_usual,
};

/// The kind `anthropic`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Which of the two APIs is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Api {
    #[default]
    Analytics,
    Admin,
}

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Anthropic {
    /// Which API is read.
    api: Api,
    /// Value of the header `anthropic-beta`, which is dated and changes.
    beta: String,
    /// Id of the organisation: BillingAccountId of all lines, because costs do not name it.
    organization: String,
}

impl Default for Anthropic {
    fn default() -> Self {
        Self { api: Api::Analytics, beta: BETA.to_owned(), organization: "anthropic".to_owned() }
    }
}

fn build(keys: serde_json::Value) -> Result<Arc<dyn Collector>, String> {
    let collector: Anthropic = read_keys(keys)?;
    if !is_id(&collector.organization) {
        return Err("`organization` is the organisation's id, as its settings show it".to_owned());
    }
    HeaderValue::from_str(&collector.beta).map_err(|_| "`beta` cannot be sent in a header".to_owned())?;
    Ok(Arc::new(collector))
}

impl Collector for Anthropic {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.read(fetch, &task.period).boxed()
    }
}

impl Anthropic {
    async fn read(&self, fetch: &Fetch, period: &BillingPeriod) -> Result<Collected, CollectError> {
        let mut collected = Collected { account: self.organization.clone(), ..Collected::default() };
        let Some(range) = period.closed_range() else { return Ok(collected) };
        collected.usage_days = period.closed();
        match self.api {
            Api::Analytics => {
                let groups = ["workspace_id", "api_key_id", "model", "service_tier", "context_window"];
                let split = [groups.as_slice(), &["cost_type", "token_type"]].concat();
                let rows: Vec<CostRow> = read_pages(fetch, || self.question(fetch, COST, range, &split)).await?;
                collected.lines = lines(&rows, range)?;
                let groups = ["workspace_id", "model"];
                let rows: Vec<UsageRow> = read_pages(fetch, || self.question(fetch, USAGE, range, &groups)).await?;
                collected.usage = usage(&rows, range, period)?;
            }
            Api::Admin => {
                let groups = ["workspace_id", "description"];
                let days: Vec<CostDay> = read_pages(fetch, || self.question(fetch, OLDER_COST, range, &groups)).await?;
                collected.lines = older_lines(&days, range)?;
                let groups = ["workspace_id", "model"];
                let days: Vec<UsageDay> =
                    read_pages(fetch, || self.question(fetch, OLDER_USAGE, range, &groups)).await?;
                collected.usage = older_usage(days, range, period)?;
            }
        }
        Ok(collected)
    }

    fn question(
        &self,
        fetch: &Fetch,
        path: &'static str,
        range: InstantRange,
        groups: &[&str],
    ) -> Result<Request<'static>, CollectError> {
        let key = secret_header(fetch.credentials().get("api_key")?)?;
        let mut request = Request::get(path)
            .header(HeaderName::from_static("x-api-key"), key)
            .header(HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION))
            .query("starting_at", range.start)
            .query("ending_at", range.end);
        request = match self.api {
            Api::Analytics => request
                .header(HeaderName::from_static("anthropic-beta"), secret_header(&self.beta)?)
                .query("time_bucket_width", "1d")
                .query("limit", ROWS_MAX),
            Api::Admin => request.query("bucket_width", "1d").query("limit", DAYS_MAX),
        };
        Ok(groups.iter().fold(request, |request, group| request.query("group_by[]", group)))
    }
}

/// A row of the analytics API about costs.
#[derive(Deserialize)]
struct CostRow {
    starting_at: String,
    ending_at: String,
    group: Group,
    cost: Cost,
}

#[derive(Deserialize)]
struct Cost {
    amount: Decimal,
    #[serde(default)]
    list_amount: Option<Decimal>,
    currency: String,
}

/// What a row is about; the older API has the same words beside the amount.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    workspace_id: Option<String>,
    api_key_id: Option<String>,
    model: Option<String>,
    cost_type: Option<String>,
    token_type: Option<String>,
    service_tier: Option<String>,
    context_window: Option<String>,
    inference_geo: Option<String>,
    description: Option<String>,
}

fn lines(rows: &[CostRow], range: InstantRange) -> Result<Vec<Line>, CollectError> {
    rows.iter()
        .map(|row| {
            let day = within(&row.starting_at, &row.ending_at, range)?;
            let line = line(&row.group, day).cost(row.cost.amount.shifted(-2), &currency(&row.cost.currency));
            Ok(line.maybe("ListCost", row.cost.list_amount.as_ref().map(|amount| amount.shifted(-2))))
        })
        .collect()
}

/// A day of the older API about costs.
#[derive(Deserialize)]
struct CostDay {
    starting_at: String,
    ending_at: String,
    results: Vec<OlderCost>,
}

#[derive(Deserialize)]
struct OlderCost {
    amount: Decimal,
    currency: String,
    #[serde(flatten)]
    group: Group,
}

fn older_lines(days: &[CostDay], range: InstantRange) -> Result<Vec<Line>, CollectError> {
    let mut lines = Vec::new();
    for day in days {
        let time = within(&day.starting_at, &day.ending_at, range)?;
        lines.extend(
            day.results
                .iter()
                .map(|result| line(&result.group, time).cost(result.amount.shifted(-2), &currency(&result.currency))),
        );
    }
    Ok(lines)
}

fn line(group: &Group, day: InstantRange) -> Line {
    let sku = [&group.model, &group.token_type, &group.service_tier, &group.context_window, &group.inference_geo];
    let sku: Vec<&str> = sku.into_iter().flatten().map(String::as_str).collect();
    let description = group.description.clone().or_else(|| group.model.clone()).or_else(|| group.cost_type.clone());
    let meter = group.token_type.clone().or_else(|| group.cost_type.clone());
    let is_key = group.api_key_id.as_ref().map(|_| "API Key");
    Line::new("Usage", day)
        .cell("ServiceName", "Claude API")
        .cell("ServiceCategory", "AI and Machine Learning")
        .cell("ServiceSubcategory", "Generative AI")
        .cell("PricingCategory", "Standard")
        .cell("ChargeFrequency", "Usage-Based")
        // Grouped by workspace, no id means the default workspace.
        .cell("SubAccountId", group.workspace_id.as_deref().unwrap_or("default"))
        .cell("SubAccountType", "Workspace")
        .maybe("ResourceId", group.api_key_id.clone())
        .maybe("ResourceType", is_key)
        .maybe("SkuId", (!sku.is_empty()).then(|| sku.join("/")))
        .maybe("SkuMeter", meter)
        .maybe("ChargeDescription", description)
        .maybe("x_Model", group.model.clone())
        .maybe("x_CostType", group.cost_type.clone())
}

/// A row of the analytics API about usage.
#[derive(Deserialize)]
struct UsageRow {
    starting_at: String,
    ending_at: String,
    group: Group,
    usage: Tokens,
}

/// A day of the older API about usage.
#[derive(Deserialize)]
struct UsageDay {
    starting_at: String,
    ending_at: String,
    results: Vec<OlderUsage>,
}

#[derive(Deserialize)]
struct OlderUsage {
    #[serde(default)]
    workspace_id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    uncached_input_tokens: Decimal,
    cache_read_input_tokens: Decimal,
    output_tokens: Decimal,
    #[serde(default)]
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    server_tool_use: Option<ServerTools>,
}

impl OlderUsage {
    fn split(self) -> (Group, Tokens) {
        let group = Group { workspace_id: self.workspace_id, model: self.model, ..Group::default() };
        let tokens = Tokens {
            uncached_input_tokens: self.uncached_input_tokens,
            cache_read_input_tokens: self.cache_read_input_tokens,
            output_tokens: self.output_tokens,
            cache_creation: self.cache_creation,
            server_tool_use: self.server_tool_use,
        };
        (group, tokens)
    }
}

#[derive(Deserialize)]
struct Tokens {
    uncached_input_tokens: Decimal,
    cache_read_input_tokens: Decimal,
    output_tokens: Decimal,
    #[serde(default)]
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    server_tool_use: Option<ServerTools>,
}

#[derive(Deserialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Decimal,
    ephemeral_1h_input_tokens: Decimal,
}

#[derive(Deserialize)]
struct ServerTools {
    #[serde(default)]
    web_search_requests: Option<Decimal>,
}

fn usage(rows: &[UsageRow], range: InstantRange, period: &BillingPeriod) -> Result<Vec<ProviderUsage>, CollectError> {
    let mut usage = Vec::new();
    for row in rows {
        let day = within(&row.starting_at, &row.ending_at, range)?;
        put_usage(&mut usage, &row.group, &row.usage, day, period);
    }
    Ok(usage)
}

fn older_usage(
    days: Vec<UsageDay>,
    range: InstantRange,
    period: &BillingPeriod,
) -> Result<Vec<ProviderUsage>, CollectError> {
    let mut usage = Vec::new();
    for day in days {
        let time = within(&day.starting_at, &day.ending_at, range)?;
        for result in day.results {
            let (group, tokens) = result.split();
            put_usage(&mut usage, &group, &tokens, time, period);
        }
    }
    Ok(usage)
}

fn put_usage(
    usage: &mut Vec<ProviderUsage>,
    group: &Group,
    tokens: &Tokens,
    day: InstantRange,
    period: &BillingPeriod,
) {
    let cache = tokens.cache_creation.as_ref();
    let searches = tokens.server_tool_use.as_ref().and_then(|tools| tools.web_search_requests.as_ref());
    let quantities = [
        ("uncached_input_tokens", "Tokens", Some(&tokens.uncached_input_tokens)),
        ("cache_read_input_tokens", "Tokens", Some(&tokens.cache_read_input_tokens)),
        ("cache_write_5m_input_tokens", "Tokens", cache.map(|cache| &cache.ephemeral_5m_input_tokens)),
        ("cache_write_1h_input_tokens", "Tokens", cache.map(|cache| &cache.ephemeral_1h_input_tokens)),
        ("output_tokens", "Tokens", Some(&tokens.output_tokens)),
        ("web_search_requests", "Requests", searches),
    ];
    let workspace = group.workspace_id.clone().unwrap_or_else(|| "default".to_owned());
    let labels: BTreeMap<String, String> =
        [("workspace".to_owned(), workspace), ("model".to_owned(), group.model.clone().unwrap_or_default())].into();
    for (resource, unit, quantity) in quantities {
        if let Some(quantity) = quantity {
            usage.push(ProviderUsage {
                resource: resource.to_owned(),
                unit: unit.to_owned(),
                day: period.zone().day_of(day.start),
                quantity: quantity.to_string(),
                labels: labels.clone(),
            });
        }
    }
}

/// Returns the time of a row, which must lie in what was asked for.
fn within(start: &str, end: &str, range: InstantRange) -> Result<InstantRange, CollectError> {
    let read = |text: &str| {
        text.parse::<Instant>().map_err(|error| CollectError::schema(format!("the time of a row: {error}")))
    };
    let (start, end) = (read(start)?, read(end)?);
    if start < range.start || range.end < end || end <= start {
        let detail = format!("a row is of {start} to {end}, asked for was {} to {}", range.start, range.end);
        return Err(CollectError::schema(detail));
    }
    Ok(InstantRange { start, end })
}

fn currency(text: &str) -> String {
    text.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Zone;

    const COSTS: &str = r#"[
        {"starting_at":"2026-11-18T00:00:00Z","ending_at":"2026-11-19T00:00:00Z",
         "group":{"workspace_id":"wrkspc_01composed","model":"claude-sonnet-4-5","token_type":"output_tokens","new":1},
         "cost":{"amount":"48213.7285","list_amount":"53570.8094","currency":"USD","requests":null}},
        {"starting_at":"2026-11-18T00:00:00Z","ending_at":"2026-11-19T00:00:00Z",
         "group":{"workspace_id":null,"model":"claude-haiku-4-5","token_type":"uncached_input_tokens"},
         "cost":{"amount":"0.00425","list_amount":"0.00425","currency":"USD","requests":null}}]"#;

    const OLDER: &str = r#"[
        {"starting_at":"2026-11-18T00:00:00Z","ending_at":"2026-11-19T00:00:00Z","results":[
         {"amount":"123.45","currency":"USD","cost_type":"tokens","description":"Claude Sonnet 4.5 Usage - Input Tokens",
          "model":"claude-sonnet-4-5","token_type":"uncached_input_tokens","service_tier":"standard",
          "context_window":"0-200k","inference_geo":"global","workspace_id":"wrkspc_01composed"},
         {"amount":"30","currency":"USD","cost_type":"web_search","description":"Web Search Usage","model":null,
          "token_type":null,"service_tier":null,"context_window":null,"inference_geo":null,"workspace_id":null}]},
        {"starting_at":"2026-11-19T00:00:00Z","ending_at":"2026-11-20T00:00:00Z","results":[]}]"#;

    const TOKENS: &str = r#"[{"starting_at":"2026-11-18T00:00:00Z","ending_at":"2026-11-19T00:00:00Z","results":[
        {"uncached_input_tokens":4115000,"cache_read_input_tokens":9100000,
         "cache_creation":{"ephemeral_5m_input_tokens":120000,"ephemeral_1h_input_tokens":0},"output_tokens":812000,
         "server_tool_use":{"web_search_requests":3},"api_key_id":null,"workspace_id":"wrkspc_01composed",
         "model":"claude-sonnet-4-5","service_tier":"standard","context_window":"0-200k"}]}]"#;

    fn period() -> BillingPeriod {
        let now = "2026-11-20T05:00:00Z".parse().expect("an instant");
        BillingPeriod::containing("2026-11-20".parse().expect("a day"), 1, &Zone::utc(), now)
    }

    fn range() -> InstantRange {
        period().closed_range().expect("days that are over")
    }

    #[test]
    fn amounts_are_cents_and_lose_no_digit() {
        let lines = lines(&serde_json::from_str::<Vec<CostRow>>(COSTS).expect("rows"), range()).expect("lines");
        let atoms = |line: &Line, column: &str| {
            domain::money::parse_atoms(line.text(column).expect("an amount")).map(|parsed| parsed.atoms)
        };
        assert_eq!(atoms(&lines[0], "BilledCost"), Ok(482_137_285_000_000_000));
        assert_eq!(atoms(&lines[0], "ListCost"), Ok(535_708_094_000_000_000));
        assert_eq!(atoms(&lines[1], "EffectiveCost"), Ok(42_500_000_000));
        let found = ["SubAccountId", "SkuMeter", "SkuId"].map(|column| lines[1].text(column).unwrap_or_default());
        assert_eq!(found, ["default", "uncached_input_tokens", "claude-haiku-4-5/uncached_input_tokens"]);
    }

    #[test]
    fn the_older_report_says_the_same_in_other_words_and_empty_days_are_none() {
        let days: Vec<CostDay> = serde_json::from_str(OLDER).expect("days");
        let lines = older_lines(&days, range()).expect("lines");
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].text("BilledCost"), lines[1].text("BilledCost")), (Some("123.45e-2"), Some("30e-2")));
        assert_eq!(lines[1].text("ChargeDescription"), Some("Web Search Usage"));
    }

    #[test]
    fn tokens_are_counted_by_kind() {
        let days: Vec<UsageDay> = serde_json::from_str(TOKENS).expect("days");
        let usage = older_usage(days, range(), &period()).expect("usage");
        let found: Vec<String> =
            usage.iter().map(|one| format!("{} {} {}", one.day, one.resource, one.quantity)).collect();
        assert_eq!(
            found,
            [
                "2026-11-18 uncached_input_tokens 4115000",
                "2026-11-18 cache_read_input_tokens 9100000",
                "2026-11-18 cache_write_5m_input_tokens 120000",
                "2026-11-18 cache_write_1h_input_tokens 0",
                "2026-11-18 output_tokens 812000",
                "2026-11-18 web_search_requests 3",
            ]
        );
    }

    #[test]
    fn what_is_missing_or_lies_outside_is_refused() {
        let without = COSTS.replace(r#""amount":"48213.7285","#, "");
        assert!(serde_json::from_str::<Vec<CostRow>>(&without).is_err());
        let other_month = COSTS.replace("2026-11-18", "2026-10-18").replace("2026-11-19", "2026-10-19");
        let rows: Vec<CostRow> = serde_json::from_str(&other_month).expect("rows");
        assert!(lines(&rows, range()).expect_err("another month").detail.contains("asked for"));
    }

    #[test]
    fn keys_of_a_source_are_checked() {
        let built = |keys: serde_json::Value| build(keys).map(|_| ());
        assert_eq!(built(serde_json::json!({"api": "admin", "organization": "acme"})), Ok(()));
        assert!(built(serde_json::json!({"api": "both"})).is_err());
        assert!(built(serde_json::json!({"api_kye": "x"})).is_err());
    }
}
