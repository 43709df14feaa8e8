use super::faults::faults;
use super::given::{Contract, Given, Variant, canary, cause_of, refresh};
use super::stand_in::{Asked, Reply, Wire};
use collectors::providers::Cause;
use serde_json::{Value, json};

static OPENAI: Contract = Contract {
    kind: "openai",
    keys: || json!({ "organization": "org-1" }),
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "amount",
    is_paged: true,
};

fn answer(asked: &Asked, variant: Variant) -> Reply {
    if asked.header("authorization") != Some(format!("Bearer {}", canary("api_key")).as_str()) {
        let body =
            r#"{"error":{"message":"Incorrect API key","type":"invalid_request_error","param":null,"code":null}}"#;
        return Reply::status(401, body);
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v1/organization/costs") => page(asked, variant, costs),
        ("GET", "/v1/organization/usage/completions") => page(asked, variant, completions),
        _ => Reply::unknown(asked),
    }
}

/// Two pages, of a day each.
fn page(asked: &Asked, variant: Variant, results: fn(usize, Variant) -> Value) -> Reply {
    let number = asked.param("page").map_or(1, |page| page.trim_start_matches("page_").parse().expect("a page"));
    let (shown, has_more) = match variant {
        Variant::Usual | Variant::Restated => (number, number < 2),
        Variant::SamePage => (1, true),
        Variant::EndlessPages => (number, true),
    };
    let start: i64 = asked.param("start_time").and_then(|text| text.parse().ok()).expect("a time");
    let next = has_more.then(|| format!("page_{}", number + 1));
    let bucket = json!({
        "object": "bucket", "start_time": start, "end_time": start + 86_400, "results": results(shown, variant),
    });
    Reply::json(&json!({ "object": "page", "data": [bucket], "has_more": has_more, "next_page": next }))
}

/// An amount as text with many digits, one as a number, and the zero of a decimal of 128 bits.
fn costs(page: usize, variant: Variant) -> Value {
    let value = if variant == Variant::Restated { "2.15" } else { "2.10000000000000000000000000000000000" };
    let result = |value: Value, item: &str| {
        json!({
            "object": "organization.costs.result", "amount": { "value": value, "currency": "usd" },
            "line_item": format!("{item} {page}"), "project_id": "proj_1", "project_name": "shop",
            "quantity": 84_000, "quantity_unit": "tokens", "user_email": "somebody@example.com",
        })
    };
    json!([result(json!(value), "input"), result(json!(0.06), "search"), result(json!("0E-6176"), "cached input")])
}

fn completions(page: usize, _: Variant) -> Value {
    json!([{
        "object": "organization.usage.completions.result", "input_tokens": 84_000, "input_cached_tokens": 12_000,
        "output_tokens": 9_100, "num_model_requests": 312, "project_id": "proj_1", "model": format!("gpt-{page}"),
    }])
}

#[tokio::test]
async fn s6_faults_of_openai() {
    faults(&OPENAI).await;
}

#[tokio::test]
async fn days_are_asked_for_in_seconds_and_no_mail_is_kept() {
    let given = Given::new(&OPENAI).await;
    let report = refresh(&given.patient(&OPENAI), "openai").await.expect("a collection");
    let current = &report.periods[0];
    assert_eq!((current.period.as_str(), current.account.as_str(), current.lines), ("2026-11", "org-1", 6));
    assert_eq!(current.totals[0].billed, "4.32");
    let asked = given.server.asked();
    // 1 and 25 November 2026, midnight UTC.
    assert_eq!((asked[0].param("start_time"), asked[0].param("end_time")), (Some("1793491200"), Some("1795564800")));
    assert!(given.kept().contains("proj_1") && !given.kept().contains("somebody@example.com"));
}

#[tokio::test]
async fn a_day_that_comes_on_two_pages_is_not_counted_twice() {
    let given = Given::new(&OPENAI).await;
    let before = given.stored().await;
    given.server.then(|asked| {
        let mut second: Value =
            serde_json::from_slice(&answer(asked, Variant::Usual).body).expect("what the contract answers");
        if asked.param("page").is_some() {
            // The first page shifted: its day stands here as well, before a new one.
            let first = Asked {
                query: asked.query.iter().filter(|(key, _)| key != "page").cloned().collect(),
                ..asked.clone()
            };
            let first: Value = serde_json::from_slice(&answer(&first, Variant::Usual).body).expect("the first page");
            let days = second["data"].as_array_mut().expect("days");
            days.insert(0, first["data"][0].clone());
        }
        Wire::Whole(Reply::json(&second))
    });
    let result = refresh(&given.patient(&OPENAI), "openai").await;
    assert_eq!(cause_of(&result), Some(Cause::Paging), "{result:?}");
    assert_eq!(given.stored().await, before);
}
