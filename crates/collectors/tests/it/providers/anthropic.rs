use super::faults::faults;
use super::given::{Contract, Given, Variant, canary, refresh};
use super::stand_in::{Asked, Reply};
use domain::Instant;
use serde_json::{Value, json};

const DAY: i64 = 86_400_000_000;

const ANTHROPIC: Contract = Contract {
    kind: "anthropic",
    keys: || json!({ "organization": "org-1" }),
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "amount",
    is_paged: true,
};

static ANALYTICS: Contract = ANTHROPIC;

static ADMIN: Contract = Contract { keys: || json!({ "organization": "org-1", "api": "admin" }), ..ANTHROPIC };

fn answer(asked: &Asked, variant: Variant) -> Reply {
    let is_known = asked.header("x-api-key") == Some(canary("api_key").as_str());
    if !is_known || asked.header("anthropic-version") != Some("2023-06-01") {
        let body = r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
        return Reply::status(401, body);
    }
    let is_beta = asked.header("anthropic-beta") == Some("analytics-usage-cost-2026-08-24");
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v1/organizations/analytics/cost") if is_beta => page(asked, variant, cost),
        ("GET", "/v1/organizations/analytics/usage") if is_beta => page(asked, variant, usage),
        ("GET", "/v1/organizations/cost_report") => page(asked, variant, older_cost),
        ("GET", "/v1/organizations/usage_report/messages") => page(asked, variant, older_usage),
        _ => Reply::unknown(asked),
    }
}

/// Two pages, of a row each.
fn page(asked: &Asked, variant: Variant, row: fn(&Asked, usize, Variant) -> Value) -> Reply {
    let number = asked.param("page").map_or(1, |page| page.trim_start_matches("page_").parse().expect("a page"));
    let (shown, has_more) = match variant {
        Variant::Usual | Variant::Restated => (number, number < 2),
        Variant::SamePage => (1, true),
        Variant::EndlessPages => (number, true),
    };
    let next = has_more.then(|| format!("page_{}", number + 1));
    Reply::json(&json!({ "data": [row(asked, shown, variant)], "has_more": has_more, "next_page": next }))
}

/// The first day that was asked for.
fn day(asked: &Asked) -> (String, String) {
    let start: Instant = asked.param("starting_at").and_then(|text| text.parse().ok()).expect("a time");
    (start.to_string(), start.plus_micros(DAY).to_string())
}

fn amount(variant: Variant) -> &'static str {
    if variant == Variant::Restated { "10100.00425" } else { "10000.00425" }
}

fn cost(asked: &Asked, page: usize, variant: Variant) -> Value {
    let (start, end) = day(asked);
    json!({
        "starting_at": start, "ending_at": end,
        "group": { "workspace_id": "wrkspc_1", "model": format!("claude-{page}"), "token_type": "output_tokens" },
        "cost": { "amount": amount(variant), "list_amount": "20000", "currency": "USD", "requests": null },
    })
}

fn usage(asked: &Asked, page: usize, _: Variant) -> Value {
    let (start, end) = day(asked);
    let group = json!({ "workspace_id": null, "model": format!("claude-{page}") });
    json!({ "starting_at": start, "ending_at": end, "group": group, "usage": tokens() })
}

fn tokens() -> Value {
    json!({
        "uncached_input_tokens": 4_115_000, "cache_read_input_tokens": 9_100_000, "output_tokens": 812_000,
        "cache_creation": { "ephemeral_5m_input_tokens": 120_000, "ephemeral_1h_input_tokens": 0 },
        "server_tool_use": { "web_search_requests": 3 },
    })
}

fn older_cost(asked: &Asked, page: usize, variant: Variant) -> Value {
    let (start, end) = day(asked);
    let result = json!({
        "amount": amount(variant), "currency": "USD", "cost_type": "tokens", "description": format!("Claude {page}"),
        "model": format!("claude-{page}"), "token_type": "output_tokens", "workspace_id": "wrkspc_1",
    });
    json!({ "starting_at": start, "ending_at": end, "results": [result] })
}

fn older_usage(asked: &Asked, page: usize, _: Variant) -> Value {
    let (start, end) = day(asked);
    let mut result = tokens();
    result["model"] = json!(format!("claude-{page}"));
    result["workspace_id"] = json!("wrkspc_1");
    json!({ "starting_at": start, "ending_at": end, "results": [result] })
}

#[tokio::test]
async fn s6_faults_of_anthropics_analytics() {
    faults(&ANALYTICS).await;
}

#[tokio::test]
async fn s6_faults_of_anthropics_older_reports() {
    faults(&ADMIN).await;
}

#[tokio::test]
async fn cents_become_dollars_and_both_apis_tell_the_same() {
    for contract in [&ANALYTICS, &ADMIN] {
        let given = Given::new(contract).await;
        let report = refresh(&given.patient(contract), "anthropic").await.expect("a collection");
        let current = &report.periods[0];
        assert_eq!((current.period.as_str(), current.account.as_str(), current.lines), ("2026-11", "org-1", 2));
        assert_eq!(current.totals[0].billed, "200.000085");
        assert_eq!(current.quantities, 12);
        let asked = given.server.asked();
        let ends: Vec<Option<&str>> = asked.iter().map(|asked| asked.param("ending_at")).collect();
        assert!(ends.contains(&Some("2026-11-25T00:00:00Z")) && ends.contains(&Some("2026-11-01T00:00:00Z")));
    }
}
