//! Seeded sample data: the same plan gives the same bytes. Amounts are whole numbers of millionths; no floats.

/// Workflows of coding agents.
mod agents;
/// Two providers' bills in FOCUS.
mod bills;
/// Forty tenants with names and plans.
mod tenants;
/// Usage events of clusters, logs, models and workspaces.
mod usage;

pub use tenants::Tenant;

use anyhow::Result;
use domain::decimal::format_scaled;
use domain::{Day, DayRange};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use std::path::Path;

/// Policy with `@name@` where a value of the plan belongs.
const POLICY: &str = include_str!("policy.toml");
/// Meters: those of the preset for agents.
const METERS: &str = include_str!("../../../../examples/agent-workflows/meters.toml");
/// Rate card.
const RATES: &str = include_str!("rates.toml");
/// Real, anonymised bills of September 2024 (FOCUS sample data, CC-BY-4.0).
const SAMPLE: &str = include_str!("../../../../tests/fixtures/bills/focus-1.0-sample-cut.csv");
/// First and last day that a line of the sample touches, by charge or billing period.
const SAMPLE_DAYS: (&str, &str) = ("2024-09-01", "2024-10-01");
/// Decimals of generated amounts.
const MICRO_SCALE: u32 = 6;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many tenants, at least four.
    pub tenants: u32,
    /// How many days.
    pub days: u32,
    /// Same seed, same data.
    pub seed: u64,
    /// Last day of the data.
    pub last_day: Day,
}

impl Plan {
    /// Returns the days of the data.
    pub fn range(&self) -> DayRange {
        let days = i32::try_from(self.days).expect("the command line allows a few hundred days");
        DayRange::new(self.last_day.plus(1 - days), self.last_day).expect("there is at least one day")
    }

    /// Returns random numbers for one part of the data, independent of the other parts.
    fn random(&self, part: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(part))
    }
}

/// One origin of bills.
#[derive(Debug)]
pub struct Source {
    /// Name for `--source`.
    pub name: &'static str,
    /// Files of one set.
    pub files: Vec<File>,
}

/// A file by name.
#[derive(Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Everything that the demo imports.
#[derive(Debug)]
pub struct Demo {
    /// Who is charged.
    pub tenants: Vec<Tenant>,
    /// Rates of exchange as CSV.
    pub fx_csv: String,
    /// Subscriptions, as the API takes them.
    pub fixed_costs: Vec<Value>,
    /// Bills.
    pub sources: Vec<Source>,
    /// Usage events as NDJSON.
    pub events: String,
    /// What the application measured in the night of each day, as the API takes it.
    pub snapshots: Vec<(Day, Value)>,
    /// Pools and rules.
    pub policy: String,
    /// Days of the generated data.
    pub days: DayRange,
    /// Days of the real sample.
    pub sample_days: DayRange,
}

impl Demo {
    /// Returns the data of a plan.
    pub fn generate(plan: &Plan) -> Self {
        let tenants = tenants::generate(plan);
        let mut usage = usage::generate(plan, &tenants);
        agents::add(plan, &tenants, &mut usage);
        let [aws, google] = bills::generate(plan, &tenants, &usage.model_micros);
        let sample = File { name: "focus-sample.csv".to_owned(), text: SAMPLE.to_owned() };
        let day = |text: &str| text.parse::<Day>().expect("a constant day");
        Self {
            fx_csv: fx_rates(plan),
            fixed_costs: fixed_costs(plan),
            sources: vec![
                Source { name: "aws", files: aws },
                Source { name: "google", files: google },
                Source { name: "focus-sample", files: vec![sample] },
            ],
            events: usage.events,
            snapshots: usage.snapshots,
            policy: policy(plan, &tenants),
            days: plan.range(),
            sample_days: DayRange::new(day(SAMPLE_DAYS.0), day(SAMPLE_DAYS.1)).expect("in order"),
            tenants,
        }
    }

    /// Writes everything into a folder, so that it can be read and imported again by hand.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for file in self.sources.iter().flat_map(|source| &source.files) {
            std::fs::write(folder.join(&file.name), &file.text)?;
        }
        std::fs::write(folder.join("usage.ndjson"), &self.events)?;
        let snapshots = folder.join("snapshots");
        std::fs::create_dir_all(&snapshots)?;
        for (night, body) in &self.snapshots {
            std::fs::write(snapshots.join(format!("{night}.json")), body.to_string())?;
        }
        std::fs::write(folder.join("fx.csv"), &self.fx_csv)?;
        std::fs::write(folder.join("policy.toml"), &self.policy)?;
        std::fs::write(folder.join("rates.toml"), RATES)?;
        std::fs::write(folder.join("meters.toml"), METERS)?;
        // With it, every command works in the folder: `apportion costs --by pool`.
        std::fs::write(folder.join("apportion.toml"), "[org]\nname = \"Demo\"\n")?;
        Ok(())
    }
}

fn policy(plan: &Plan, tenants: &[Tenant]) -> String {
    let days = plan.range();
    POLICY
        .replace("@from@", &days.from().to_string())
        .replace("@to@", &days.to().to_string())
        .replace("@first@", &tenants[0].id)
        .replace("@second@", &tenants[1].id)
}

/// Subscriptions that nobody sends a bill file for.
fn fixed_costs(plan: &Plan) -> Vec<Value> {
    let days = plan.range();
    let cost = |provider: &str, service: &str, amount: &str, per: &str| {
        json!({
            "provider": provider, "service": service, "amount": amount, "currency": "USD", "per": per,
            "from": days.from().to_string(), "to": days.to().to_string(),
        })
    };
    vec![cost("Pagewatch", "Status pages", "290.00", "month"), cost("Auditors", "Annual audit", "1450.00", "once")]
}

/// Rates every fourth day, from before the first day on: a rate may be a week old.
fn fx_rates(plan: &Plan) -> String {
    let (mut random, days) = (plan.random(4), plan.range());
    let mut rate: u32 = 108_000;
    let mut text = "date,from,to,rate\n".to_owned();
    for day in (days.from().epoch_days() - 4..=days.to().epoch_days()).step_by(4).map(Day::from_epoch_days) {
        rate = (rate + random.random_range(0..800) - 400).clamp(100_000, 118_000);
        text.push_str(&format!("{day},EUR,USD,{}\n", format_scaled(i128::from(rate), 5, 4)));
    }
    text
}

/// Returns millionths as decimal text.
fn micros(amount: i64) -> String {
    format_scaled(i128::from(amount), MICRO_SCALE, 2)
}

/// Returns how busy a day is, in percent: weekends are quiet, and every week is a little busier.
fn busy_percent(plan: &Plan, day: Day) -> i64 {
    // Day 0 was a Thursday.
    let weekday = (day.epoch_days() + 3).rem_euclid(7);
    let week = i64::from(day.epoch_days() - plan.range().from().epoch_days()) / 7;
    (if weekday >= 5 { 55 } else { 100 }) + 2 * week
}

/// Returns an amount that varies by up to ten percent.
fn vary(random: &mut StdRng, amount: i64) -> i64 {
    amount * random.random_range(90..=110) / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::policy::{Method, Policy};
    use domain::rates::RateCard;
    use std::collections::BTreeSet;

    fn plan() -> Plan {
        Plan { tenants: 40, days: 90, seed: 7, last_day: "2026-11-19".parse().expect("a day") }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |plan: &Plan| format!("{:?}", Demo::generate(plan));
        assert_eq!(bytes(&plan()), bytes(&plan()));
        assert_ne!(bytes(&plan()), bytes(&Plan { seed: 8, ..plan() }));
    }

    #[test]
    fn the_policy_uses_every_method() {
        let demo = Demo::generate(&plan());
        let policy = Policy::read("policy.toml", &demo.policy).expect("a valid policy");
        let used: BTreeSet<Method> = policy.pools.iter().map(|pool| pool.method()).collect();
        let all = [
            Method::Direct,
            Method::Weighted,
            Method::Proportional,
            Method::Even,
            Method::Fixed,
            Method::Rated,
            Method::ByCost,
            Method::Window,
            Method::None,
        ];
        assert_eq!(used, BTreeSet::from(all));
        assert!(
            policy.pools.iter().any(|pool| pool.recovers.is_some()) && policy.pools.iter().any(|pool| pool.is_memo())
        );
        RateCard::read("rates.toml", RATES).expect("a valid rate card");
    }

    #[test]
    fn the_pools_of_the_agents_are_those_of_the_preset() {
        let demo = Demo::generate(&plan());
        let demo = Policy::read("policy.toml", &demo.policy).expect("a valid policy");
        let preset = include_str!("../../../../examples/policies/agent-workflows.toml");
        let preset = Policy::read("agent-workflows.toml", preset).expect("a valid policy");
        for name in ["sandbox", "mcp-reads", "review", "gather", "knowledge-graph", "probe", "sandbox-warm-up"] {
            let of = |policy: &Policy| policy.pools.iter().find(|pool| pool.name == name).cloned();
            assert!(of(&preset).is_some(), "{name}");
            assert_eq!(of(&demo), of(&preset));
        }
    }

    #[test]
    fn one_of_forty_tenants_is_in_two_of_three_clusters() {
        let demo = Demo::generate(&plan());
        let in_clusters = |count: usize| demo.tenants.iter().filter(|tenant| tenant.clusters.len() == count).count();
        assert_eq!((demo.tenants.len(), in_clusters(1), in_clusters(2)), (40, 39, 1));
        let clusters: BTreeSet<&str> = demo.tenants.iter().flat_map(|tenant| tenant.clusters.iter().copied()).collect();
        assert_eq!(clusters.len(), 3);
        let ids: BTreeSet<&str> = demo.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!(ids.len(), 40);
    }

    #[test]
    fn every_line_lies_inside_the_days_of_the_plan() {
        let demo = Demo::generate(&plan());
        let (first, last) = (demo.days.from().to_string(), demo.days.to().plus(1).to_string());
        for file in demo.sources[..2].iter().flat_map(|source| &source.files) {
            let columns: Vec<&str> = file.text.lines().next().expect("a header").split(',').collect();
            let at = |name: &str| columns.iter().position(|column| *column == name).expect("a column");
            for line in file.text.lines().skip(1) {
                let cells: Vec<&str> = line.split(',').collect();
                let (start, end) = (cells[at("ChargePeriodStart")], cells[at("ChargePeriodEnd")]);
                assert!(first.as_str() <= &start[..10] && &end[..10] <= last.as_str(), "{line}");
                assert!(cells[at("BillingPeriodStart")] <= start && end <= cells[at("BillingPeriodEnd")], "{line}");
            }
        }
        assert!(demo.events.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }

    #[test]
    fn small_plans_work_too() {
        let demo = Demo::generate(&Plan { tenants: 4, days: 1, ..plan() });
        assert_eq!((demo.tenants.len(), demo.days.len()), (4, 1));
    }
}
