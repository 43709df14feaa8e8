//! Workflows of coding agents: what each of them did, what was gathered for all of them, and which of them merged.

use super::tenants::Tenant;
use super::usage::Usage;
use super::{Plan, micros, vary};
use domain::Day;
use rand::Rng as _;
use rand::rngs::StdRng;
use std::fmt::Write as _;

/// Tenants that run agents: the first of the plan.
const TEAMS: usize = 4;
const REPOS: [&str; 6] = ["shop", "billing", "search", "mobile", "infra", "docs"];
/// Task classes with the size of their work in percent.
const TASK_CLASSES: [(&str, i64); 4] = [("migration", 260), ("bugfix", 60), ("dependency-update", 30), ("test", 90)];
/// Who gathers, warms and indexes: whoever uses it pays for it.
const PLATFORM: &str = "platform";
/// Hours at which every repo is gathered.
const GATHER_HOURS: [u32; 2] = [6, 18];
/// The hour from which workflows start, after the first gather.
const FIRST_HOUR: u32 = 7;
/// Of so many workflows one fails.
const FAILS_EVERY: u64 = 9;
/// The model that agents use, with the prices of a million tokens in millionths of a dollar, as in `rates.toml`.
const MODEL: &str = "large-1";
const INPUT_MICROS: i64 = 3_000_000;
const CACHED_MICROS: i64 = 300_000;
const OUTPUT_MICROS: i64 = 15_000_000;

/// Writes events with running ids.
struct Writer<'w> {
    text: &'w mut String,
    count: u64,
}

/// Whose event it is, and when.
#[derive(Clone, Copy)]
struct At<'a> {
    day: Day,
    hour: u32,
    minute: u32,
    tenant: &'a str,
    /// Further members, each with a comma in front.
    attributes: &'a str,
}

impl Writer<'_> {
    fn event(&mut self, kind: &str, at: At<'_>, data: &str) {
        self.count += 1;
        let (count, At { day, hour, minute, tenant, attributes }) = (self.count, at);
        writeln!(
            self.text,
            "{{\"specversion\":\"1.0\",\"id\":\"agent-{count:07}\",\"source\":\"/demo/agents\",\"type\":\"{kind}\",\
             \"time\":\"{day}T{hour:02}:{minute:02}:00Z\",\"tenant\":\"{tenant}\"{attributes},\"data\":{data}}}"
        )
        .expect("a string can be written");
    }

    /// An event that carries a cost of so many millionths.
    fn cost(&mut self, kind: &str, at: At<'_>, key: &str, amount: i64) {
        self.event(kind, at, &format!("{{{key}\"cost_usd\":\"{}\"}}", micros(amount)));
    }
}

/// Adds the agents' events to the usage, and the cost of their tokens to the models' bill.
pub fn add(plan: &Plan, tenants: &[Tenant], usage: &mut Usage) {
    let mut random = plan.random(5);
    let mut writer = Writer { text: &mut usage.events, count: 0 };
    let mut number = 0;
    for day in plan.range().days() {
        shared_events(&mut writer, &mut random, day);
        let week = i64::from(day.epoch_days() - plan.range().from().epoch_days()) / 7;
        let starts: u64 = random.random_range(1..=3);
        for start in 0..starts {
            let workflow = Workflow::new(number, start, week, day, tenants, &mut random);
            let cost = workflow.events(&mut writer, &mut random);
            *usage.model_micros.entry(day).or_insert(0) += cost;
            number += 1;
        }
        let at = At { day, hour: 20, minute: 0, tenant: PLATFORM, attributes: "" };
        writer.event("vm.cooled", at, &format!("{{\"vm_id\":\"vm-{day}\"}}"));
    }
}

/// What is made once and used by many: gathers, the index, a probe, a warm microVM.
fn shared_events(writer: &mut Writer<'_>, random: &mut StdRng, day: Day) {
    let at = |hour, minute| At { day, hour, minute, tenant: PLATFORM, attributes: "" };
    writer.cost("kg.indexed", at(5, 30), "", vary(random, 1_900_000));
    for hour in GATHER_HOURS {
        for repo in REPOS {
            let key = format!("\"gather_id\":\"{repo}-{day}-{hour}\",");
            writer.cost("gather.completed", at(hour, 0), &key, vary(random, 420_000));
        }
    }
    writer.cost("probe.fired", at(6, 30), &format!("\"probe_id\":\"probe-{day}\","), vary(random, 650_000));
    writer.cost("vm.warmed", at(6, 50), &format!("\"vm_id\":\"vm-{day}\","), vary(random, 310_000));
}

/// One workflow, all of it on one day.
struct Workflow<'t> {
    number: u64,
    week: i64,
    day: Day,
    hour: u32,
    tenant: &'t str,
    repo: &'static str,
    /// Members of all its events, each with a comma in front.
    attributes: String,
    /// How much work it is, in percent.
    size: i64,
}

impl<'t> Workflow<'t> {
    fn new(number: u64, start: u64, week: i64, day: Day, tenants: &'t [Tenant], random: &mut StdRng) -> Self {
        let at = usize::try_from(number).expect("a few thousand workflows");
        let (repo, tenant) = (REPOS[at % REPOS.len()], &tenants[at % TEAMS.min(tenants.len())]);
        let (task_class, size) = TASK_CLASSES[random.random_range(0..TASK_CLASSES.len())];
        let attributes = format!(",\"workflow\":\"wf-{number:04}\",\"repo\":\"{repo}\",\"taskclass\":\"{task_class}\"");
        let hour = FIRST_HOUR + 3 * u32::try_from(start).expect("three a day");
        Self { number, week, day, hour, tenant: &tenant.id, repo, attributes, size }
    }

    fn at(&self, minute: u32) -> At<'_> {
        At { day: self.day, hour: self.hour, minute, tenant: self.tenant, attributes: &self.attributes }
    }

    /// Writes its events and returns what its tokens cost.
    fn events(&self, writer: &mut Writer<'_>, random: &mut StdRng) -> i64 {
        let cost = self.model_events(writer, random);
        let Self { repo, day, size, .. } = self;
        let gather = format!("{{\"gather_id\":\"{repo}-{day}-{}\"}}", GATHER_HOURS[0]);
        for minute in [1, 9] {
            writer.event("repo_context.read", self.at(minute), &gather);
        }
        for minute in 0..1 + u32::try_from(self.week.min(6)).unwrap_or(0) {
            // Each week the graph knows more that can be read from it.
            writer.event("kg.read", self.at(10 + minute), "{}");
        }
        writer.event("probe.read", self.at(3), &format!("{{\"probe_id\":\"probe-{day}\"}}"));
        let seconds = vary(random, 600 * size / 100);
        let sandbox = format!("{{\"value\":{seconds},\"vm_id\":\"vm-{day}\"}}");
        writer.event("sandbox_seconds", self.at(20), &sandbox);
        let reads = format!("{{\"value\":{}}}", vary(random, 40 * size / 100));
        writer.event("mcp_reads", self.at(21), &reads);
        self.outcome(writer, random);
        cost
    }

    /// Tokens by direction and cache class: each week more of the input is read from a cache.
    fn model_events(&self, writer: &mut Writer<'_>, random: &mut StdRng) -> i64 {
        let input = vary(random, 4_000 * self.size);
        let cached = input * (20 + 4 * self.week).min(70) / 100;
        let output = vary(random, 300 * self.size);
        let classes = [
            ("input", "", input - cached, INPUT_MICROS),
            ("input", ",\"labels\":{\"cache\":\"read\"}", cached, CACHED_MICROS),
            ("output", "", output, OUTPUT_MICROS),
        ];
        let mut cost = 0;
        for (direction, labels, tokens, micros_per_million) in classes {
            cost += tokens * micros_per_million / 1_000_000;
            let data = format!("{{\"model\":\"{MODEL}\",\"direction\":\"{direction}\",\"tokens\":{tokens}{labels}}}");
            writer.event("llm.completion", self.at(15), &data);
        }
        cost
    }

    /// A failed workflow was not reviewed and merged nothing.
    fn outcome(&self, writer: &mut Writer<'_>, random: &mut StdRng) {
        if self.number % FAILS_EVERY == FAILS_EVERY - 1 {
            writer.event("workflow.failed", self.at(40), "{}");
            return;
        }
        let minutes = format!("{{\"value\":{}}}", vary(random, 10 + 8 * self.size / 100));
        writer.event("reviewer_minutes", self.at(50), &minutes);
        writer.event("pr.merged", self.at(55), &format!("{{\"number\":{}}}", 100 + self.number));
        writer.event("workflow.completed", self.at(56), "{}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::usage;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn events() -> Vec<Value> {
        let plan = Plan { tenants: 5, days: 60, seed: 7, last_day: "2026-11-19".parse().expect("a day") };
        let tenants = crate::demo::tenants::generate(&plan);
        let mut usage = usage::generate(&plan, &tenants);
        usage.events.clear();
        let before: i64 = usage.model_micros.values().sum();
        add(&plan, &tenants, &mut usage);
        assert!(before < usage.model_micros.values().sum::<i64>(), "the models' bill holds the agents' tokens");
        usage.events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
        events.iter().filter(|event| event["type"] == kind).collect()
    }

    #[test]
    fn many_workflows_of_every_repo_and_task_class_merge_or_fail() {
        let events = events();
        let values = |kind: &str, name: &str| {
            let values = of(&events, kind).into_iter().map(|event| event[name].as_str().expect("text").to_owned());
            values.collect::<BTreeSet<String>>()
        };
        assert!(50 <= values("llm.completion", "workflow").len());
        assert_eq!(values("pr.merged", "repo").len(), REPOS.len());
        assert_eq!(values("pr.merged", "taskclass").len(), TASK_CLASSES.len());
        let (merged, failed) = (values("pr.merged", "workflow"), values("workflow.failed", "workflow"));
        assert!(!failed.is_empty() && merged.is_disjoint(&failed));
        let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().expect("text")).collect();
        assert_eq!(ids.len(), events.len());
    }

    #[test]
    fn what_is_used_was_made_before_and_some_of_it_is_never_used() {
        let events = events();
        let pairs = [
            ("gather.completed", "repo_context.read", "gather_id"),
            ("probe.fired", "probe.read", "probe_id"),
            ("vm.warmed", "sandbox_seconds", "vm_id"),
        ];
        for (made, used, key) in pairs {
            let keys = |kind: &str| -> BTreeSet<String> {
                of(&events, kind).into_iter().map(|event| event["data"][key].to_string()).collect()
            };
            assert!(keys(used).is_subset(&keys(made)), "{used}");
        }
        let gathers = of(&events, "gather.completed").len();
        assert!(of(&events, "repo_context.read").len() / 2 < gathers, "a gather that nobody read is unconsumed");
    }
}
