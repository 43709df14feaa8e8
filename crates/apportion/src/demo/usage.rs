//! Usage: events of the clusters, the log platform and the models, and nightly snapshots of the application.

use super::tenants::Tenant;
use super::{Plan, busy_percent, micros, vary};
use domain::Day;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Days before the end from which one tenant's usage is four times as much.
const RUNS_AWAY_DAYS: i32 = 12;
/// Models with their price of a million tokens in millionths of a dollar, by direction; as in `rates.toml`.
const MODELS: [(&str, &str, i64); 4] = [
    ("small-1", "input", 250_000),
    ("small-1", "output", 1_250_000),
    ("large-1", "input", 3_000_000),
    ("large-1", "output", 15_000_000),
];

/// What was measured.
pub struct Usage {
    /// CloudEvents, one per line.
    pub events: String,
    /// What the application measured in the night of each day, as the API takes it.
    pub snapshots: Vec<(Day, Value)>,
    /// What the models' tokens cost by day, at the rate card's prices; their bill is made from it.
    pub model_micros: BTreeMap<Day, i64>,
}

/// Writes events with running ids.
struct Writer {
    text: String,
    count: u64,
}

impl Writer {
    /// One event: `attributes` are further members, each with a comma in front.
    fn event(&mut self, kind: &str, tenant: &str, day: Day, attributes: &str, data: &str) {
        self.count += 1;
        let count = self.count;
        writeln!(
            self.text,
            "{{\"specversion\":\"1.0\",\"id\":\"demo-{count:07}\",\"source\":\"/demo\",\"type\":\"{kind}\",\
             \"time\":\"{day}T12:00:00Z\",\"tenant\":\"{tenant}\"{attributes},\"data\":{data}}}"
        )
        .expect("a string can be written");
    }

    fn value(&mut self, kind: &str, tenant: &str, day: Day, attributes: &str, value: i64) {
        self.event(kind, tenant, day, attributes, &format!("{{\"value\":{}}}", micros(value)));
    }
}

/// Returns the usage of every tenant and day.
pub fn generate(plan: &Plan, tenants: &[Tenant]) -> Usage {
    let mut random = plan.random(2);
    let mut writer = Writer { text: String::new(), count: 0 };
    let (mut model_micros, mut snapshots) = (BTreeMap::new(), Vec::new());
    for day in plan.range().days() {
        let busy = busy_percent(plan, day);
        // What a night counts is the day before.
        let (night, mut rows) = (day.plus(1), Vec::new());
        let near_end = plan.last_day.epoch_days() - day.epoch_days() < RUNS_AWAY_DAYS;
        for (number, tenant) in tenants.iter().enumerate() {
            let grown = if tenant.runs_away && near_end { 4 } else { 1 };
            let size = tenant.size_percent * busy * grown;
            cluster_events(&mut writer, &mut random, tenant, day, size);
            if number % 2 == 0 {
                log_events(&mut writer, &mut random, tenant, day, size);
            }
            if number % 3 == 0 {
                *model_micros.entry(day).or_insert(0) += model_events(&mut writer, &mut random, tenant, day, size);
            }
            rows.push(workspace(&mut random, tenant, night, size));
        }
        snapshots.push((night, json!({ "rows": rows })));
    }
    Usage { events: writer.text, snapshots, model_micros }
}

/// The four meters of a cluster. `size` is 10,000 for an average tenant on an average day.
fn cluster_events(writer: &mut Writer, random: &mut StdRng, tenant: &Tenant, day: Day, size: i64) {
    let per_size =
        [("cpu_core_hours", 6_400), ("memory_gib_hours", 25_600), ("storage_gib_hours", 96_000), ("network_gib", 900)];
    for cluster in &tenant.clusters {
        let attributes = format!(",\"cluster\":\"{cluster}\"");
        for (meter, micros_per_size) in per_size {
            writer.value(meter, &tenant.id, day, &attributes, vary(random, size * micros_per_size));
        }
    }
}

fn log_events(writer: &mut Writer, random: &mut StdRng, tenant: &Tenant, day: Day, size: i64) {
    writer.value("log_ingest_gb", &tenant.id, day, "", vary(random, size * 1_200));
    writer.value("log_stored_gb_days", &tenant.id, day, "", vary(random, size * 36_000));
    writer.value("log_queries", &tenant.id, day, "", vary(random, size / 50) * 1_000_000);
}

/// Token counts by model and direction; returns what they cost.
fn model_events(writer: &mut Writer, random: &mut StdRng, tenant: &Tenant, day: Day, size: i64) -> i64 {
    let mut cost = 0;
    let workflow = ["review", "triage", "support"][random.random_range(0..3)];
    for (model, direction, micros_per_million) in MODELS {
        let tokens = vary(random, size * if direction == "input" { 160 } else { 30 });
        cost += tokens * micros_per_million / 1_000_000;
        let data = format!("{{\"model\":\"{model}\",\"direction\":\"{direction}\",\"tokens\":{tokens}}}");
        writer.event("llm.completion", &tenant.id, day, &format!(",\"workflow\":\"{workflow}\""), &data);
    }
    cost
}

/// What the application measures of itself in a night; priced by the rate card as an internal estimate.
fn workspace(random: &mut StdRng, tenant: &Tenant, night: Day, size: i64) -> Value {
    let (calls, storage) = (vary(random, size * 40), tenant.size_percent * random.random_range(90..110) * 1_000_000);
    let metrics = json!({
        "member_count": (3 + tenant.size_percent / 4).to_string(),
        "api_call_count_24h": calls.to_string(),
        "storage_bytes": storage.to_string(),
        "monitored_host_count": (1 + tenant.size_percent / 10).to_string(),
        "webhook_delivery_count_24h": (calls / 60).to_string(),
        "celery_task_count_24h": (calls / 9).to_string(),
    });
    json!({ "tenant": tenant.id, "metrics": metrics, "taken_at": format!("{night}T00:10:00Z") })
}
