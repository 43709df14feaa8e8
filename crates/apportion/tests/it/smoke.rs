//! From a bill and usage to a proved ledger.

use std::path::Path;
use std::process::{Command, Output};
use testkit::bill::{Bill, BillLine};
use testkit::events::Events;

const POLICY: &str = r#"
version = "smoke"
valid_from = 2020-01-01

[[pool]]
name = "west"
kind = "cluster"
select = { tags.cluster = "west" }
split = { method = "weighted", weights = { cpu_core_hours = "0.5", network_gib = "0.5" } }
"#;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_apportion"))
        .current_dir(folder)
        .env_remove("APPORTION_FAILPOINT")
        .env("NO_COLOR", "1")
        .args(arguments)
        .output()
        .expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} ended with {:?}\n{errors}", output.status.code());
    output
}

fn json(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    serde_json::from_slice(&run(folder, &all).stdout).expect("JSON on stdout")
}

#[test]
fn a_bill_and_usage_become_a_proved_ledger_and_a_second_run_posts_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let line = BillLine { cost: "100.00", tags: r#"{"cluster":"west"}"#, ..BillLine::default() };
    let events = Events::new().measured("2026-05-03", "acme", "west", "cpu_core_hours", "1").measured(
        "2026-05-03",
        "globex",
        "west",
        "cpu_core_hours",
        "2",
    );
    std::fs::write(folder.join("policy.toml"), POLICY).expect("written");
    std::fs::write(folder.join("bill.csv"), Bill::new().line(&line).csv()).expect("written");
    std::fs::write(folder.join("events.ndjson"), events.ndjson()).expect("written");

    run(folder, &["import", "focus", "bill.csv", "--source", "aws"]);
    run(folder, &["import", "events", "events.ndjson"]);
    assert_eq!(json(folder, &["attribute", "--date", "2026-05-03"])["posting"], 1);
    assert_eq!(json(folder, &["attribute", "--due"])["entries"], 0);

    let costs = json(folder, &["costs", "--range", "2026-05-03"]);
    let rows: Vec<(&str, &str)> = costs["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["key"]["tenant"].as_str().expect("a tenant"), row["cost"].as_str().expect("a cost")))
        .collect();
    assert_eq!(rows, [("globex", "66.666666666666667"), ("acme", "33.333333333333333")]);
    assert_eq!(costs["meta"]["conservation"]["difference"], "0.00");
    assert_eq!(json(folder, &["ledger", "verify"])["ok"], true);
}
