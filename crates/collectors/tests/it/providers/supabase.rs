use super::faults::faults;
use super::given::{Contract, Given, Variant, canary, cause_of, refresh, source};
use super::stand_in::{Asked, Reply, Wire};
use collectors::prometheus::Secret;
use collectors::providers::{Cause, CredentialSet, ProviderSource};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The second project of a list of 101, read with everything that can be read.
static CONTRACT: Contract = Contract {
    kind: "supabase",
    keys: || json!({ "organization": "acme", "projects": ["p001"], "database": true, "functions": true }),
    now: "2026-11-25T02:00:00Z",
    answer,
    needed: "selected_addons",
    is_paged: true,
};

fn answer(asked: &Asked, variant: Variant) -> Reply {
    if asked.header("authorization") != Some(format!("Bearer {}", canary("token")).as_str()) {
        return Reply::status(401, r#"{"message":"Unauthorized"}"#);
    }
    let restated = i32::from(variant == Variant::Restated);
    let below = asked.path.strip_prefix("/v1/projects/p001/").unwrap_or_default();
    match (asked.method.as_str(), below) {
        ("GET", "analytics/endpoints/usage.api-counts") => Reply::json(&api_counts(restated)),
        ("GET", "functions") => Reply::json(&json!([{ "id": "fn-1", "slug": "hello" }])),
        ("GET", "analytics/endpoints/functions.combined-stats") => {
            assert_eq!(asked.param("function_id"), Some("fn-1"));
            let row = |count: i32| json!({ "timestamp": "2026-11-24T10:00:00Z", "requests_count": count });
            Reply::json(&json!({ "result": [row(40), row(2)], "error": null }))
        }
        ("GET", "config/disk/util") => Reply::json(&json!({
            "timestamp": "2026-11-25T02:00:04.112Z",
            "metrics": { "fs_size_bytes": 8_213_000_192_i64, "fs_avail_bytes": 1, "fs_used_bytes": 3_092_994_048_i64 },
        })),
        ("GET", "billing/addons") => Reply::json(&addons()),
        ("POST", "database/query/read-only") => {
            let query = asked.json()["query"].as_str().expect("a query").to_owned();
            assert!(query.starts_with("select pg_catalog.pg_database_size("), "{query}");
            Reply::status(201, r#"[{"database_bytes":734003200,"estimated_rows":"1840233"}]"#)
        }
        _ if asked.path == "/v1/organizations/acme/projects" => projects(asked, variant),
        _ => Reply::unknown(asked),
    }
}

fn projects(asked: &Asked, variant: Variant) -> Reply {
    let offset: usize = asked.param("offset").and_then(|text| text.parse().ok()).expect("a number");
    let (first, count) = match variant {
        Variant::SamePage => (0, 101),
        Variant::EndlessPages => (offset, 1_000_000),
        Variant::Usual | Variant::Restated => (offset, 101),
    };
    let project = |number: usize| {
        json!({ "ref": format!("p{number:03}"), "name": format!("Project {number}"), "region": "eu-central-1",
                "cloud_provider": "AWS", "is_branch": false, "status": "ACTIVE_HEALTHY" })
    };
    let rows: Vec<Value> = (first..count.min(first + 100)).map(project).collect();
    Reply::json(&json!({ "projects": rows, "pagination": { "count": count, "limit": 100, "offset": offset } }))
}

/// Two buckets a day from the 17th to the 25th; the day a week ago and today are not whole.
fn api_counts(restated: i32) -> Value {
    let bucket = |day: i32, hour: i32| {
        // Some times have no zone.
        let zone = if hour == 0 { "Z" } else { "" };
        json!({
            "timestamp": format!("2026-11-{day:02}T{hour:02}:00:00{zone}"), "total_auth_requests": 1,
            "total_realtime_requests": 0, "total_rest_requests": 100 + day + restated, "total_storage_requests": 7,
        })
    };
    let buckets: Vec<Value> = (17..=25).flat_map(|day| [bucket(day, 0), bucket(day, 12)]).collect();
    json!({ "result": buckets })
}

fn addons() -> Value {
    let addon = |kind: &str, id: &str, price: Value| json!({ "type": kind, "variant": { "id": id, "name": id, "price": price } });
    json!({
        "selected_addons": [
            addon("compute_instance", "ci_small", json!({ "description": "$0.0206/hour", "type": "usage", "interval": "hourly", "amount": 0.0206 })),
            addon("custom_domain", "cd_default", json!({ "description": "$10/month", "type": "fixed", "interval": "monthly", "amount": 10 })),
        ],
        "available_addons": [],
    })
}

#[tokio::test]
async fn s6_faults_of_supabase() {
    faults(&CONTRACT).await;
}

#[tokio::test]
async fn addons_are_rated_by_the_day_and_nothing_is_guessed_of_a_month_that_is_over() {
    let given = Given::new(&CONTRACT).await;
    let report = refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    let lines: Vec<(&str, &str, u64)> =
        report.periods.iter().map(|period| (period.period.as_str(), period.account.as_str(), period.lines)).collect();
    assert_eq!(lines, [("2026-11", "acme", 48), ("2026-10", "", 0)]);
    // 24 × (24 h × 0.0206 + 10 ÷ 30), each day rounded by itself.
    assert_eq!(report.periods[0].totals[0].billed, "19.865599999999992");
}

#[tokio::test]
async fn quantities_are_of_whole_days_and_levels_of_the_last_one() {
    let given = Given::new(&CONTRACT).await;
    refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    let usage = given.stored().await.usage;
    let rest: Vec<String> = usage
        .iter()
        .filter(|row| row.resource == "rest_requests")
        .map(|row| format!("{} {}", row.usage_date, row.quantity))
        .collect();
    let expected = ["19 238", "20 240", "21 242", "22 244", "23 246", "24 248"].map(|row| format!("2026-11-{row}"));
    assert_eq!(rest, expected);
    let levels: Vec<String> = usage
        .iter()
        .filter(|row| {
            row.usage_date == "2026-11-24" && !row.resource.ends_with("_requests") && row.resource != "addon_hours"
        })
        .map(|row| format!("{} {} {} {}", row.resource, row.labels_key, row.quantity, row.unit))
        .collect();
    let expected = [
        r#"database_bytes {"project":"p001"} 734003200 Bytes"#,
        r#"database_rows {"project":"p001"} 1840233 Rows"#,
        r#"disk_size_bytes {"project":"p001"} 8213000192 Bytes"#,
        r#"disk_used_bytes {"project":"p001"} 3092994048 Bytes"#,
        r#"function_invocations {"function":"fn-1","project":"p001"} 42 Requests"#,
        r#"project_hours {"project":"p001"} 24 Hours"#,
    ];
    assert_eq!(levels, expected);
}

#[tokio::test]
async fn what_was_read_stays_when_an_addon_is_changed() {
    let given = Given::new(&CONTRACT).await;
    refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    given.clock.set("2026-11-27T02:00:00Z".parse().expect("an instant"));
    given.server.then(|asked| {
        let reply = answer(asked, Variant::Usual);
        let body = String::from_utf8(reply.body.clone()).expect("text").replace("0.0206", "0.1");
        Wire::Whole(Reply { body: body.into_bytes(), ..reply })
    });
    let report = refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    let billed = &report.periods[0].totals[0].billed;
    // 24 days at the old price, two at the new one; 26 parts of the monthly price.
    assert_eq!((report.periods[0].lines, billed.as_str()), (52, "25.332266666666658"));
}

#[tokio::test]
async fn an_addon_that_is_selected_later_is_not_charged_for_days_before() {
    let given = Given::new(&CONTRACT).await;
    given.server.then(|asked| match asked.path.ends_with("billing/addons") {
        true => Wire::Whole(Reply::json(&json!({ "selected_addons": [], "available_addons": [] }))),
        false => Wire::Whole(answer(asked, Variant::Usual)),
    });
    let report = refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    assert_eq!(report.periods[0].lines, 0);
    given.clock.set("2026-11-26T02:00:00Z".parse().expect("an instant"));
    given.server.then(|asked| Wire::Whole(answer(asked, Variant::Usual)));
    let report = refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    assert_eq!(report.periods[0].lines, 2, "two add-ons on the 25th");
}

#[tokio::test]
async fn a_project_is_not_charged_for_days_before_it_was_made() {
    let given = Given::new(&CONTRACT).await;
    given.server.then(|asked| {
        let reply = answer(asked, Variant::Usual);
        let body = String::from_utf8(reply.body.clone()).expect("text");
        let body =
            body.replace(r#""is_branch":false"#, r#""inserted_at":"2026-11-20T10:00:00.123Z","is_branch":false"#);
        Wire::Whole(Reply { body: body.into_bytes(), ..reply })
    });
    let report = refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    assert_eq!(report.periods[0].lines, 2 * 5, "two add-ons from the 20th to the 24th");
}

#[tokio::test]
async fn an_error_within_a_success_is_an_error() {
    let given = Given::new(&CONTRACT).await;
    let before = given.stored().await;
    given.server.then(|asked| match asked.path.ends_with("usage.api-counts") {
        true => Wire::Whole(Reply::json(&json!({ "result": [], "error": { "code": 500, "message": "timeout" } }))),
        false => Wire::Whole(answer(asked, Variant::Usual)),
    });
    let result = refresh(&given.patient(&CONTRACT), "supabase").await;
    assert_eq!(cause_of(&result), Some(Cause::Refused), "{result:?}");
    assert_eq!(given.stored().await, before);
}

#[tokio::test]
async fn a_token_that_may_do_everything_is_warned_about_and_not_shown() {
    const TOKEN: &str = "sbp_0102030405060708";
    let given = Given::new(&CONTRACT).await;
    given.server.then(|asked| {
        let head = asked.head.replace(TOKEN, &canary("token"));
        Wire::Whole(answer(&Asked { head, ..asked.clone() }, Variant::Usual))
    });
    let classic = CredentialSet::new(BTreeMap::from([("token", Secret::Text(TOKEN.to_owned()))]));
    let usual = source(&CONTRACT, &given.server.url, Duration::from_secs(20));
    let providers = given.process(vec![ProviderSource { credentials: classic, ..usual }]);
    let report = refresh(&providers, "supabase").await.expect("a collection");
    assert!(matches!(&report.warnings[..], [one] if one.contains("classic") && !one.contains(TOKEN)), "{report:?}");
    let scoped = refresh(&given.patient(&CONTRACT), "supabase").await.expect("a collection");
    assert_eq!(scoped.warnings, Vec::<String>::new());
}
