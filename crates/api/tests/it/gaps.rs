//! Driver gaps: who was measured nearly every day and is not on this one is named.

use crate::app::{POLICY, TestApp};
use serde_json::{Value, json};

/// Which tenants used how much of the cluster on a day of November.
async fn used(app: &TestApp, day: u32, tenants: &[(&str, &str)]) {
    let date = format!("2026-11-{day:02}");
    let rows: Vec<_> = tenants
        .iter()
        .map(|(tenant, quantity)| ("shared-west-us", *tenant, &*date, "cpu_core_hours", *quantity))
        .collect();
    app.given_usage(&rows).await;
}

fn gaps(rows: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let gaps = rows.as_array().unwrap().iter().filter(|row| row["code"].is_null() || row["code"] == "driver_gap");
    gaps.map(|gap| (text(&gap["day"]), text(&gap["pool"]), text(&gap["detail"]))).collect()
}

#[tokio::test]
async fn a_gap_is_told_by_the_run_and_by_coverage_until_the_usage_is_there() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    let dates: Vec<String> = (10..=19).map(|day| format!("2026-11-{day}")).collect();
    let lines: Vec<(&str, &str, &str)> = dates.iter().map(|date| ("shared-west-us", date.as_str(), "100.00")).collect();
    app.given_bill("aws", &lines).await;
    for day in 10..=16 {
        used(&app, day, &[("acme", "1"), ("globex", "2")]).await;
    }
    // Four days are not enough, and who is measured and used nothing has no gap.
    for day in 13..=16 {
        used(&app, day, &[("initech", "1")]).await;
    }
    for day in 10..=16 {
        used(&app, day, &[("umbrella", "1")]).await;
    }
    used(&app, 17, &[("acme", "1"), ("umbrella", "0")]).await;
    used(&app, 18, &[("acme", "1"), ("umbrella", "1")]).await;
    let gap = |day: &str, used: u32| {
        let detail = format!(
            "globex had usage on {used} of the 7 days before and has none on this day; the others pay its part"
        );
        (day.to_owned(), "shared-west-us".to_owned(), detail)
    };

    let run = app.given_run("2026-11-10", "2026-11-17").await;
    assert_eq!(gaps(&run["warnings"]), [gap("2026-11-17", 7)]);
    // What came before the run is told by the ledger.
    let run = app.given_run("2026-11-18", "2026-11-18").await;
    assert_eq!(gaps(&run["warnings"]), [gap("2026-11-18", 6)]);
    let coverage = app.get("/coverage?range=2026-11").await.expect(200).json();
    assert_eq!(gaps(&coverage["driver_gaps"]), [gap("2026-11-17", 7), gap("2026-11-18", 6)]);
    assert_eq!(coverage["driver_gaps_total"], 2);
    let other_days = app.get("/coverage?range=2026-11-01..2026-11-16").await.expect(200).json();
    assert_eq!(other_days["driver_gaps"], json!([]));

    used(&app, 17, &[("globex", "2")]).await;
    app.given_run("2026-11-17", "2026-11-17").await;
    let coverage = app.get("/coverage?range=2026-11").await.expect(200).json();
    assert_eq!(gaps(&coverage["driver_gaps"]), [gap("2026-11-18", 6)]);
}

#[tokio::test]
async fn when_nobody_is_measured_everybody_is_missing() {
    let app = TestApp::start().await;
    app.given_policy(POLICY).await;
    let dates: Vec<String> = (10..=15).map(|day| format!("2026-11-{day}")).collect();
    let lines: Vec<(&str, &str, &str)> = dates.iter().map(|date| ("shared-west-us", date.as_str(), "100.00")).collect();
    app.given_bill("aws", &lines).await;
    for day in 10..=14 {
        used(&app, day, &[("acme", "1"), ("globex", "2")]).await;
    }
    let run = app.given_run("2026-11-10", "2026-11-15").await;
    let named: Vec<String> =
        gaps(&run["warnings"]).into_iter().map(|(day, _, detail)| format!("{day} {}", &detail[..6])).collect();
    assert_eq!(named, ["2026-11-15 acme h", "2026-11-15 globex"]);
}
