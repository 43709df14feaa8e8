//! Random days: small, and full of what is rare in real ones.

use super::case::{Card, Case, Line, Origin, PoolSpec, RuleSpec, Tests, Use, Values};
use std::collections::BTreeMap;

/// SplitMix64: the same seed gives the same days everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).expect("small")).expect("small")
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }

    fn word(&mut self, from: &[&'static str]) -> String {
        self.pick(from).to_owned()
    }

    /// Each word with the chance, in order.
    fn some(&mut self, from: &[&'static str], percent: usize) -> Vec<String> {
        from.iter().filter(|_| self.chance(percent)).map(|&word| word.to_owned()).collect()
    }

    /// A decimal of at most so many fractional digits, now and then zero, tiny or negative.
    fn decimal(&mut self, digits: usize, negative_percent: usize) -> String {
        let size = match self.below(10) {
            0 => return "0".to_owned(),
            1 => format!("0.{:0>digits$}", 1 + self.below(9)),
            2 | 3 => (1 + self.below(12)).to_string(),
            4 => {
                let fraction: String =
                    (0..digits).map(|_| char::from(b'0' + u8::try_from(self.below(10)).expect("digit"))).collect();
                format!("{}.{fraction}", self.below(100_000))
            }
            _ => format!("{}.{:02}", self.below(1_000), self.below(100)),
        };
        if self.chance(negative_percent) { format!("-{size}") } else { size }
    }
}

/// One sorts before the reserved words, byte by byte.
const TENANTS: [&str; 4] = ["Initech", "acme", "globex", "zed"];
const COUNTERS: [&str; 4] = ["cpu_core_hours", "memory_gib_hours", "llm_tokens", "mcp_reads"];
const GAUGES: [&str; 6] = ["storage_bytes", "member_count", "load_avg", "load_max", "load_min", "load_count"];
const METERS: [&str; 10] = [
    "cpu_core_hours",
    "memory_gib_hours",
    "llm_tokens",
    "mcp_reads",
    "storage_bytes",
    "member_count",
    "load_avg",
    "load_max",
    "load_min",
    "load_count",
];

pub fn case(random: &mut Random) -> Case {
    let mut case = Case {
        metric: random.pick(&["effective", "effective", "billed", "contracted", "list"]),
        day_hours: random.pick(&[24, 24, 23, 25]),
        active: random.some(&TENANTS, 40),
        card: random.chance(90).then(|| card(random)),
        ..Case::default()
    };
    for _ in 0..random.below(4) {
        case.rules.push(rule(random));
    }
    for at in 0..1 + random.below(4) {
        let pool = pool(random, at, &case.pools);
        case.pools.push(pool);
    }
    let names: Vec<String> = case.pools.iter().map(|pool| pool.name.clone()).collect();
    let foreign = random.chance(40);
    case.lines = (0..random.below(9)).map(|_| line(random, &names, foreign)).collect();
    case.usage = (0..random.below(13)).map(|_| used(random, &names)).collect();
    for (from, to) in [("EUR", "USD"), ("USD", "EUR"), ("JPY", "USD"), ("JPY", "EUR"), ("EUR", "JPY")] {
        for _ in 0..random.below(3) {
            let age = random.pick(&[0, 0, 1, 6, 7, 8, -1]);
            if case.fx.iter().all(|known| (known.0.as_str(), known.1.as_str(), known.2) != (from, to, age)) {
                let rate = random.pick(&["1.1", "0.9", "0.006666666666667", "153.25", "1", "0.333333333333333"]);
                case.fx.push((from.to_owned(), to.to_owned(), age, rate.to_owned()));
            }
        }
    }
    case
}

fn rule(random: &mut Random) -> RuleSpec {
    if random.chance(10) {
        let when = vec![("label:model".to_owned(), vec!["*".to_owned()])];
        return RuleSpec { of_usage: true, when: Some(when), tenant: "{user}".to_owned() };
    }
    let when = match random.below(4) {
        0 => None,
        1 => Some(Tests::new()),
        2 => Some(vec![("tags.team".to_owned(), random.some(&["a*", "team-*", "*", "*e*d", "globex"], 50))]),
        _ => Some(select(random)),
    };
    let when = when.map(|tests| tests.into_iter().filter(|(_, words)| !words.is_empty()).collect());
    let templates =
        ["{tags.team}", "{tags.team}", "acct-{sub_account}", "{sub_account}{tags.team}", "zed", "__{region}"];
    RuleSpec { of_usage: false, when, tenant: random.word(&templates) }
}

fn select(random: &mut Random) -> Tests {
    let mut tests = Tests::new();
    let words: [(&str, &[&'static str]); 5] = [
        ("provider", &["AWS", "GCP", "A*", "*P", "*"]),
        ("service", &["EC2", "S3", "E*", "*3", "R*S"]),
        ("charge_category", &["Usage", "Tax", "Purchase", "C*", "U*e"]),
        ("sub_account", &["1", "2", "*"]),
        ("tags.team", &["*c*", "team-*", "refused"]),
    ];
    for (key, values) in words {
        if random.chance(22) {
            let mut chosen = random.some(values, 40);
            if chosen.is_empty() {
                chosen.push(random.word(values));
            }
            tests.push((key.to_owned(), chosen));
        }
    }
    tests
}

fn pool(random: &mut Random, at: usize, earlier: &[PoolSpec]) -> PoolSpec {
    let methods = [
        "direct",
        "direct",
        "weighted",
        "weighted",
        "proportional",
        "even",
        "fixed",
        "rated",
        "rated",
        "rated",
        "by_cost",
        "by_cost",
        "none",
    ];
    let method = random.pick(&methods);
    let narrow = random.chance(if at == 3 { 20 } else { 70 });
    let tests = if narrow { select(random) } else { Tests::new() };
    let origin = match (method, random.below(6)) {
        ("rated", 0 | 1) => Origin::Memo,
        ("rated", 2 | 3) => Origin::Recovers(tests),
        (_, 5) => Origin::Fixed,
        _ => Origin::Select(tests),
    };
    let tier = match method {
        "none" => "overhead",
        _ => random.pick(&["direct", "direct", "direct", "amortized", "overhead"]),
    };
    let mut by = vec!["tenant".to_owned()];
    let of_users = method == "even" && random.chance(40);
    if !matches!(method, "fixed" | "even") || of_users {
        by.extend(random.some(&["user", "workflow", "label:model"], 20));
    }
    let details = ["service", "provider", "source", "commitment_status", "invoice_id"];
    let mut pool = PoolSpec {
        name: format!("pool{at}"),
        cluster: random.chance(12),
        tier,
        metric: random.chance(20).then(|| random.pick(&["billed", "effective", "list"])),
        origin,
        method,
        by,
        drivers: None,
        weights: Vec::new(),
        resource_share: method == "weighted" && random.chance(40),
        meters: Vec::new(),
        of: Vec::new(),
        of_users,
        percent: Vec::new(),
        follow: method == "by_cost" && random.chance(50),
        capacity: Vec::new(),
        idle: random.pick(&["separate", "spread", "overhead"]),
        detail: details.into_iter().filter(|_| random.chance(8)).collect(),
    };
    let reads_usage = matches!(method, "weighted" | "proportional" | "even" | "rated");
    if reads_usage && random.chance(30) {
        pool.drivers = Some(if random.chance(15) { Tests::new() } else { drivers(random) });
    }
    method_keys(random, &mut pool, earlier);
    pool
}

fn drivers(random: &mut Random) -> Tests {
    let one: (&str, &[&'static str]) = random.pick(&[
        ("origin", &["snapshot", "ev*"] as &[&'static str]),
        ("tenant", &["acme", "*e*"]),
        ("cluster", &["pool*", "pool1"]),
        ("label:model", &["big", "s*"]),
    ]);
    vec![(one.0.to_owned(), one.1.iter().map(|&word| word.to_owned()).collect())]
}

fn method_keys(random: &mut Random, pool: &mut PoolSpec, earlier: &[PoolSpec]) {
    match pool.method {
        "weighted" => {
            let meters = ["cpu_core_hours", "memory_gib_hours", "storage_bytes", "load_avg"];
            let mut chosen = random.some(&meters, 60);
            if chosen.is_empty() {
                chosen.push(random.word(&meters));
            }
            for (at, meter) in chosen.into_iter().enumerate() {
                let weight = if at > 0 {
                    random.pick(&["0", "0.3", "1", "2.5"])
                } else {
                    random.pick(&["0.5", "0.000001", "3"])
                };
                pool.weights.push((meter, weight.to_owned()));
            }
        }
        "proportional" => pool.weights.push((random.word(&METERS), "1".to_owned())),
        "rated" => {
            pool.meters = random.some(&["*", "llm_*", "*_reads", "load_*", "storage_bytes"], 40);
            if pool.meters.is_empty() {
                pool.meters.push("*".to_owned());
            }
        }
        "fixed" => {
            for (tenant, percent) in [("acme", "60"), ("zed", "15.5"), ("Initech", "0"), ("globex", "24.5")] {
                if random.chance(60) || pool.percent.is_empty() {
                    pool.percent.push((tenant.to_owned(), percent.to_owned()));
                }
            }
        }
        "by_cost" if random.chance(50) => {
            pool.of = earlier.iter().filter(|_| random.chance(60)).map(|pool| pool.name.clone()).collect();
        }
        _ => {}
    }
    for (meter, _) in pool.weights.clone() {
        if random.chance(35) {
            let capacity = random.pick(&["0", "1", "12.5", "2", "mcp_reads", "member_count"]);
            pool.capacity.push((meter, capacity.to_owned()));
        }
    }
}

fn line(random: &mut Random, pools: &[String], foreign: bool) -> Line {
    let mut values = Values::new();
    let words: [(&str, &[&'static str], usize); 9] = [
        ("source", &["aws", "aws", "gcp"], 100),
        ("provider", &["AWS", "GCP", "Anthropic"], 90),
        ("service", &["EC2", "S3", "RDS"], 85),
        ("service_category", &["Compute", "Storage", "Networking"], 70),
        ("sub_account", &["1", "2"], 80),
        ("charge_category", &["Usage", "Usage", "Usage", "Purchase", "Tax", "Credit", "Adjustment"], 95),
        ("commitment_status", &["Used", "Unused"], 20),
        ("invoice_id", &["i1", "i2"], 50),
        ("tags.team", &["acme", "globex", "team-a", "team-old", "refused", "__bad", "Initech"], 75),
    ];
    for (key, from, percent) in words {
        if random.chance(percent) {
            values.insert(key.to_owned(), random.word(from));
        }
    }
    if random.chance(30) {
        values.insert("tags.apportion:pool".to_owned(), random.pick(pools));
        if random.chance(80) {
            values.insert("source".to_owned(), "fixed".to_owned());
        }
    }
    let is_credit = values.get("charge_category").is_some_and(|word| word == "Credit");
    let negative = if is_credit { 90 } else { 12 };
    let mut costs: BTreeMap<&'static str, String> = BTreeMap::new();
    for metric in ["billed", "effective", "contracted", "list"] {
        costs.insert(metric, random.decimal(15, negative));
    }
    if random.chance(40) {
        costs.insert("billed", costs["effective"].clone());
    }
    let currency = if foreign { random.word(&["USD", "EUR", "EUR", "JPY"]) } else { "USD".to_owned() };
    Line { values, currency, costs }
}

fn used(random: &mut Random, pools: &[String]) -> Use {
    let mut values = Values::from([("tenant".to_owned(), random.word(&TENANTS))]);
    let words: [(&str, &[&'static str], usize); 5] = [
        ("user", &["x", "y"], 60),
        ("workflow", &["w1", "w2"], 40),
        ("label:model", &["big", "small"], 50),
        ("label:direction", &["in", "out"], 40),
        ("origin", &["events", "snapshot"], 100),
    ];
    for (key, from, percent) in words {
        if random.chance(percent) {
            values.insert(key.to_owned(), random.word(from));
        }
    }
    if random.chance(60) {
        values.insert("cluster".to_owned(), random.pick(pools));
    }
    let negative = if random.chance(20) { 50 } else { 0 };
    Use {
        values,
        meter: random.word(&METERS),
        sum: random.decimal(9, negative),
        last: random.decimal(9, negative),
        count: i64::try_from(1 + random.below(4)).expect("small"),
    }
}

fn card(random: &mut Random) -> Card {
    let mut prices = Vec::new();
    for meter in COUNTERS {
        if random.chance(80) {
            prices.push((meter.to_owned(), random.decimal(15, 0), "unit", Vec::new()));
        }
    }
    for meter in GAUGES {
        if random.chance(80) {
            let word = match meter {
                "storage_bytes" => random.pick(&["storage_bytes", "storage_gib", "storage_gb"]),
                meter => meter,
            };
            let per = random.pick(&["unit", "hour", "day", "month"]);
            prices.push((word.to_owned(), random.decimal(15, 0), per, Vec::new()));
        }
    }
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let big = label("model", "big");
    for (percent, labels) in [(60, vec![big.clone()]), (40, vec![big, label("direction", "in")])] {
        if random.chance(percent) {
            prices.push(("llm_tokens".to_owned(), random.decimal(15, 0), "unit", labels));
        }
    }
    if random.chance(5) {
        prices.push(("llm_tokens".to_owned(), "0.5".to_owned(), "unit", vec![label("direction", "in")]));
    }
    random.shuffle(&mut prices);
    Card { currency: random.word(&["USD", "USD", "USD", "EUR"]), prices }
}
