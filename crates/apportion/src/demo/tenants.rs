//! Tenants with names, plans and clusters.

use super::Plan;
use rand::Rng as _;
use serde_json::{Value, json};

/// The three shared clusters.
pub const CLUSTERS: [&str; 3] = ["shared-west-us", "shared-east-us", "shared-eu"];

/// Forty invented companies; more tenants get a number behind the name.
const NAMES: [&str; 40] = [
    "Acme",
    "Globex",
    "Initech",
    "Umbra",
    "Hooli",
    "Stark",
    "Wayne",
    "Wonka",
    "Tyrell",
    "Cyberdyne",
    "Aperture",
    "Soylent",
    "Vandelay",
    "Dunder",
    "Prestige",
    "Gringotts",
    "Oceanic",
    "Massive",
    "Sirius",
    "Virtucon",
    "Nakatomi",
    "Weyland",
    "Oscorp",
    "Lexcorp",
    "Duff",
    "Krusty",
    "Bluth",
    "Sterling",
    "Pied",
    "Raviga",
    "Entertain",
    "Octan",
    "Roxxon",
    "Zorin",
    "Monsters",
    "Buynlarge",
    "Spectre",
    "Kwik",
    "Momcorp",
    "Planet",
];
/// Plans from small to large.
const PLANS: [&str; 4] = ["free", "team", "business", "enterprise"];

/// One tenant of the demo.
#[derive(Debug)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its plan.
    pub plan: &'static str,
    /// How much it uses, in percent of the average.
    pub size_percent: i64,
    /// Where it runs.
    pub clusters: Vec<&'static str>,
    /// Whether its usage quadruples near the end, which somebody should find.
    pub runs_away: bool,
}

impl Tenant {
    /// Returns the tenant as the API takes it.
    pub fn body(&self) -> Value {
        json!({ "name": self.name, "slug": self.id, "plan": self.plan, "status": "active" })
    }
}

/// Returns the tenants of a plan. The first one runs in two clusters.
pub fn generate(plan: &Plan) -> Vec<Tenant> {
    let mut random = plan.random(1);
    let one = |number: usize| {
        let (round, name) = (number / NAMES.len(), NAMES[number % NAMES.len()]);
        let name = if round == 0 { name.to_owned() } else { format!("{name} {}", round + 1) };
        let runs_away = number == 2;
        let rank: usize = if runs_away { 2 } else { random.random_range(0..PLANS.len()) };
        let mut clusters = vec![CLUSTERS[number % CLUSTERS.len()]];
        if number == 0 {
            clusters.push(CLUSTERS[1]);
        }
        Tenant {
            id: name.to_lowercase().replace(' ', "-"),
            name,
            plan: PLANS[rank],
            size_percent: [15, 50, 120, 260][rank] * random.random_range(70..=130) / 100,
            clusters,
            runs_away,
        }
    };
    (0..plan.tenants as usize).map(one).collect()
}
