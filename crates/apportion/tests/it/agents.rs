//! The preset `agent-workflows` as somebody starts with it: the decision rules of docs/agent-workflows.md, events in, costs out.

use crate::run;
use serde_json::{Value, json};
use std::path::Path;
use testkit::bill::{Bill, BillLine};

const DAY: &str = "2026-05-03";

/// An event of a workflow; `platform` makes what all use.
fn event(id: &str, kind: &str, time: &str, workflow: &str, data: Value) -> String {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "/agents", "type": kind, "time": format!("{DAY}T{time}Z"), "tenant": "acme",
        "data": data,
    });
    if workflow.is_empty() {
        event["tenant"] = json!("platform");
    } else {
        event["workflow"] = json!(workflow);
    }
    format!("{event}\n")
}

/// The seed's hard cases, and tokens of each class.
fn events() -> String {
    let mut text = [
        event("vm", "vm.warmed", "06:00:00", "", json!({ "vm_id": "vm-1", "cost_usd": "0.30" })),
        event("a-1", "sandbox_seconds", "07:00:00", "a", json!({ "vm_id": "vm-1", "value": 60 })),
        event("b-1", "sandbox_seconds", "08:00:00", "b", json!({ "vm_id": "vm-1", "value": 120 })),
        event("cool", "vm.cooled", "09:00:00", "", json!({ "vm_id": "vm-1" })),
        // After it cooled, so it pays nothing of that warm-up.
        event("c-1", "sandbox_seconds", "10:00:00", "c", json!({ "vm_id": "vm-1", "value": 600 })),
        event("probe", "probe.fired", "06:00:00", "", json!({ "probe_id": "p-1", "cost_usd": "0.50" })),
        event("gather", "gather.completed", "06:00:00", "", json!({ "gather_id": "g-1", "cost_usd": "0.42" })),
        event("a-2", "reviewer_minutes", "12:00:00", "a", json!({ "value": 10 })),
    ]
    .concat();
    for number in 0..50 {
        let (id, workflow) = (format!("read-{number}"), format!("w-{number:02}"));
        text += &event(&id, "probe.read", "11:00:00", &workflow, json!({ "probe_id": "p-1" }));
    }
    let classes = [("input", None, 1_000_000), ("input", Some("read"), 1_000_000), ("output", None, 100_000)];
    for (number, (direction, cache, tokens)) in classes.into_iter().enumerate() {
        let labels = cache.map_or_else(|| json!({}), |cache| json!({ "cache": cache }));
        let data = json!({ "model": "small-1", "direction": direction, "tokens": tokens, "labels": labels });
        text += &event(&format!("llm-{number}"), "llm.completion", "07:30:00", "a", data);
    }
    text
}

fn costs(folder: &Path, filter: &[&str]) -> Value {
    let mut line = vec!["costs", "--range", DAY, "--by", "pool,workflow", "-o", "json"];
    line.extend(filter);
    let (code, out, errors) = run(folder, &line);
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&out).expect("JSON")
}

fn cost(costs: &Value, pool: &str, workflow: &str) -> Option<String> {
    let is_it = |row: &&Value| row["key"]["pool"] == pool && row["key"]["workflow"] == workflow;
    let row = costs["rows"].as_array().expect("rows").iter().find(is_it)?;
    row["cost"].as_str().map(str::to_owned)
}

#[test]
fn the_preset_costs_workflows_by_the_decision_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let done = |line: &[&str]| {
        let (code, out, errors) = run(folder, line);
        assert_eq!(code, 0, "{line:?}: {out}\n{errors}");
    };
    done(&["init", "--preset", "agent-workflows"]);
    done(&["check"]);
    let bill = Bill::new().line(&BillLine { cost: "0.50", ..BillLine::default() });
    std::fs::write(folder.join("bill.csv"), bill.csv().replace(",AWS,", ",Anthropic,")).expect("written");
    std::fs::write(folder.join("events.ndjson"), events()).expect("written");
    done(&["import", "focus", "bill.csv", "--source", "anthropic"]);
    done(&["import", "events", "events.ndjson"]);
    done(&["attribute", "--date", DAY]);

    let real = costs(folder, &[]);
    assert_eq!(cost(&real, "llm", "a").as_deref(), Some("0.40"), "0.25 input, 0.025 cached, 0.125 output: {real}");
    assert_eq!((&real["totals"]["variance"], &real["totals"]["overhead"]), (&json!("0.10"), &json!("10.00")));

    let estimates = costs(folder, &["--filter", "memo:true"]);
    let estimate = |pool: &str, workflow: &str| cost(&estimates, pool, workflow);
    let warm_up = ["a", "b", "c"].map(|workflow| estimate("sandbox-warm-up", workflow));
    assert_eq!(warm_up, [Some("0.10".to_owned()), Some("0.20".to_owned()), None], "by seconds until it cooled");
    let sandbox = ["a", "b", "c"].map(|workflow| estimate("sandbox", workflow));
    assert_eq!(sandbox, ["0.0024", "0.0048", "0.024"].map(|amount| Some(amount.to_owned())));
    for number in 0..50 {
        assert_eq!(estimate("probe", &format!("w-{number:02}")).as_deref(), Some("0.01"), "w-{number:02}");
    }
    assert_eq!(estimate("review", "a").as_deref(), Some("12.00"));
    // Nobody read the gather: its cost is in sight and no workflow's.
    let unconsumed = costs(folder, &["--filter", "memo:true pool:gather"]);
    assert_eq!(unconsumed["rows"].as_array().map(Vec::len), Some(1), "{unconsumed}");
    assert_eq!(unconsumed["rows"][0]["cost"], "0.42");

    done(&["ledger", "proof", "--range", DAY]);
    let (code, again, _) = run(folder, &["attribute", "--date", DAY, "-o", "json"]);
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!((code, &again["posting"]), (0, &Value::Null), "nothing differs the second time");
}
