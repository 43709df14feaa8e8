//! Who takes a line, whose it is, what was used and what that is worth: the oracle's own reading of the spec.

use super::case::{ALIAS, Case, Line, Origin, PoolSpec, REFUSED, Tests, Use, Values};
use super::ratio::{Ratio, small, split};
use num_bigint::BigInt;
use std::collections::{BTreeMap, BTreeSet};

/// Values of the dimensions of `by`, or one reserved word, which no tenant can be.
pub type Consumer = Vec<Option<String>>;

/// One cell of a pool.
#[derive(Clone, Debug)]
pub struct Cell {
    pub consumer: Consumer,
    pub meter: Option<String>,
    pub weight: Ratio,
    /// In atoms of 10⁻⁹.
    pub quantity: Option<i128>,
}

pub fn reserved(word: &str) -> Consumer {
    vec![Some(word.to_owned())]
}

/// What ties are broken by: a null is the empty string, the meter comes last.
pub fn sort_key(consumer: &Consumer, meter: Option<&String>) -> (Vec<String>, String) {
    (consumer.iter().map(|value| value.clone().unwrap_or_default()).collect(), meter.cloned().unwrap_or_default())
}

pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        Some((letter, rest)) => text.first() == Some(letter) && glob(rest, &text[1..]),
    }
}

pub fn holds(tests: &Tests, values: &Values) -> bool {
    tests.iter().all(|(key, patterns)| {
        let value = values.get(key);
        value.is_some_and(|value| patterns.iter().any(|pattern| glob(pattern.as_bytes(), value.as_bytes())))
    })
}

/// Position of the pool that takes the line.
pub fn taker(case: &Case, line: &Line) -> Option<usize> {
    let own =
        line.values.get("tags.apportion:pool").filter(|_| line.values.get("source").is_some_and(|it| it == "fixed"));
    for (at, pool) in case.pools.iter().enumerate() {
        if pool.origin == Origin::Fixed && own == Some(&pool.name) {
            return Some(at);
        }
    }
    case.pools.iter().position(|pool| match &pool.origin {
        Origin::Select(tests) | Origin::Recovers(tests) => holds(tests, &line.values),
        Origin::Fixed | Origin::Memo => false,
    })
}

/// First match wins; a null placeholder or invalid id does not match; refused is `no_mapping`.
pub fn tenant(case: &Case, line: &Line) -> Option<String> {
    for rule in case.rules.iter().filter(|rule| !rule.of_usage) {
        if !rule.when.as_ref().is_none_or(|when| holds(when, &line.values)) {
            continue;
        }
        let Some(filled) = fill(&rule.tenant, &line.values) else { continue };
        if filled.is_empty() || filled.len() > 200 || filled.starts_with("__") || filled.chars().any(char::is_control) {
            continue;
        }
        return match filled.as_str() {
            REFUSED => None,
            value if value == ALIAS.0 => Some(ALIAS.1.to_owned()),
            _ => Some(filled),
        };
    }
    None
}

fn fill(template: &str, values: &Values) -> Option<String> {
    let mut filled = String::new();
    let mut name: Option<String> = None;
    for letter in template.chars() {
        match (&mut name, letter) {
            (None, '{') => name = Some(String::new()),
            (Some(word), '}') => {
                filled.push_str(values.get(word)?);
                name = None;
            }
            (Some(word), letter) => word.push(letter),
            (None, letter) => filled.push(letter),
        }
    }
    Some(filled)
}

/// A pool of kind cluster without `where` gets `cluster` = its name.
fn where_of(pool: &PoolSpec) -> Tests {
    match &pool.drivers {
        Some(tests) => tests.clone(),
        None if pool.cluster => vec![("cluster".to_owned(), vec![pool.name.clone()])],
        None => Tests::new(),
    }
}

/// The usage that the pool may look at.
pub fn driving<'c>(case: &'c Case, pool: &PoolSpec) -> Vec<&'c Use> {
    let tests = where_of(pool);
    case.usage.iter().filter(|used| holds(&tests, &used.values)).collect()
}

fn seen(pool: &PoolSpec, used: &Use) -> Consumer {
    pool.by.iter().map(|dimension| used.values.get(dimension).cloned()).collect()
}

/// The daily quantity of some measurements of one meter, in units.
fn quantity(meter: &str, of: &[&Use]) -> Ratio {
    let sums: Vec<Ratio> = of.iter().map(|used| Ratio::decimal(&used.sum)).collect();
    let lasts: Vec<Ratio> = of.iter().map(|used| Ratio::decimal(&used.last)).collect();
    let both = || sums.iter().chain(&lasts).cloned();
    match meter {
        "load_avg" => {
            let count: i64 = of.iter().map(|used| used.count).sum();
            let atoms = Ratio::sum(&sums).times(&Ratio::whole(1_000_000_000)).over(&Ratio::whole(count.max(1)));
            Ratio::new(atoms.half_even(), 1_000_000_000)
        }
        "load_count" => Ratio::whole(of.iter().map(|used| used.count).sum::<i64>()),
        "load_max" => both().max().unwrap_or_else(Ratio::zero),
        "load_min" => both().min().unwrap_or_else(Ratio::zero),
        "member_count" | "storage_bytes" | "monitored_host_count" => Ratio::sum(&lasts),
        _ => Ratio::sum(&sums),
    }
}

fn at_least_zero(value: &Ratio) -> Ratio {
    if value.is_negative() { Ratio::zero() } else { value.clone() }
}

fn grouped<'c>(
    pool: &PoolSpec,
    used: &[&'c Use],
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<(Consumer, String), Vec<&'c Use>> {
    let mut groups: BTreeMap<(Consumer, String), Vec<&Use>> = BTreeMap::new();
    for used in used.iter().filter(|used| wanted(&used.meter)) {
        groups.entry((seen(pool, used), used.meter.clone())).or_default().push(used);
    }
    groups
}

/// Cells of methods `weighted` and `proportional`; empty when all of it is for `__unattributed__`.
pub fn by_quantity(case: &Case, pool: &PoolSpec) -> Vec<Cell> {
    let usage = driving(case, pool);
    let mut used: BTreeMap<String, Vec<(Consumer, Ratio)>> = BTreeMap::new();
    for ((consumer, meter), of) in grouped(pool, &usage, |meter| pool.weights.iter().any(|(known, _)| known == meter)) {
        let amount = quantity(&meter, &of);
        used.entry(meter).or_default().push((consumer, amount));
    }
    let mut idle: BTreeMap<String, Ratio> = BTreeMap::new();
    for (meter, capacity) in &pool.capacity {
        let capacity = match capacity.starts_with(|first: char| first.is_ascii_digit()) {
            true => Ratio::decimal(capacity).times(&Ratio::whole(case.day_hours)),
            false => {
                let measuring: Vec<&Use> = usage.iter().filter(|used| used.meter == *capacity).copied().collect();
                if measuring.is_empty() { Ratio::zero() } else { quantity(capacity, &measuring) }
            }
        };
        let taken = used.get(meter).into_iter().flatten().map(|(_, amount)| at_least_zero(amount)).collect::<Vec<_>>();
        let taken = Ratio::sum(&taken);
        idle.insert(meter.clone(), at_least_zero(&capacity.plus(&taken.times(&Ratio::whole(-1)))));
    }
    let without = cells_with(pool, &used, &BTreeMap::new());
    let weigh = |cells: &[Cell]| cells.iter().any(|cell| cell.weight.is_positive());
    let cells = if pool.idle == "spread" && weigh(&without) { without } else { cells_with(pool, &used, &idle) };
    match (weigh(&cells), pool.capacity.is_empty()) {
        (true, _) => cells,
        (false, true) => Vec::new(),
        (false, false) => {
            vec![Cell { consumer: reserved("__idle__"), meter: None, weight: Ratio::whole(1), quantity: None }]
        }
    }
}

fn cells_with(
    pool: &PoolSpec,
    used: &BTreeMap<String, Vec<(Consumer, Ratio)>>,
    idle: &BTreeMap<String, Ratio>,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (meter, weight) in &pool.weights {
        let mut row: Vec<(Consumer, Ratio)> = used.get(meter).cloned().unwrap_or_default();
        row.extend(idle.get(meter).map(|idle| (reserved("__idle__"), idle.clone())));
        let amounts: Vec<Ratio> = row.iter().map(|(_, amount)| at_least_zero(amount)).collect();
        let total = Ratio::sum(&amounts);
        for ((consumer, amount), counted) in row.into_iter().zip(amounts) {
            let share = match pool.resource_share {
                true if total.is_positive() => counted.over(&total),
                true => Ratio::zero(),
                false => counted,
            };
            cells.push(Cell {
                consumer,
                meter: Some(meter.clone()),
                weight: share.times(&Ratio::decimal(weight)),
                quantity: Some(amount.atoms(9)),
            });
        }
    }
    cells
}

pub fn even(case: &Case, pool: &PoolSpec) -> Vec<Cell> {
    let usage = driving(case, pool);
    if pool.of_users {
        let mut users: BTreeMap<Consumer, BTreeSet<&String>> = BTreeMap::new();
        for used in usage {
            if let Some(user) = used.values.get("user") {
                users.entry(seen(pool, used)).or_default().insert(user);
            }
        }
        return users.into_iter().map(|(consumer, users)| plain(consumer, Ratio::whole(users.len()))).collect();
    }
    let mut tenants: BTreeSet<String> = usage.iter().map(|used| used.values["tenant"].clone()).collect();
    // Tenants without usage have nothing that another condition could look at.
    let tests = where_of(pool);
    if tests.iter().all(|(key, _)| key == "tenant") {
        let mapped = case.lines.iter().filter_map(|line| tenant(case, line));
        let active = case.active.iter().cloned().chain(mapped);
        tenants.extend(active.filter(|id| holds(&tests, &Values::from([("tenant".to_owned(), id.clone())]))));
    }
    tenants.into_iter().map(|tenant| plain(vec![Some(tenant)], Ratio::whole(1))).collect()
}

pub fn fixed(pool: &PoolSpec) -> Vec<Cell> {
    let mut rest = Ratio::whole(100);
    let mut cells = Vec::new();
    for (tenant, percent) in &pool.percent {
        let percent = Ratio::decimal(percent);
        rest = rest.plus(&percent.times(&Ratio::whole(-1)));
        cells.push(plain(vec![Some(tenant.clone())], percent));
    }
    cells.push(plain(reserved("__unattributed__"), rest));
    cells
}

pub fn plain(consumer: Consumer, weight: Ratio) -> Cell {
    Cell { consumer, meter: None, weight, quantity: None }
}

/// Cells whose weight is their rated amount in atoms of the card's currency.
pub fn rated(case: &Case, pool: &PoolSpec) -> Result<Vec<Cell>, &'static str> {
    let wanted = |meter: &str| pool.meters.iter().any(|pattern| glob(pattern.as_bytes(), meter.as_bytes()));
    let usage = driving(case, pool);
    let mut cells = Vec::new();
    if case.card.is_none() {
        return Err("rate_missing");
    }
    for ((consumer, meter), of) in grouped(pool, &usage, wanted) {
        let mut by_price: BTreeMap<usize, Vec<&Use>> = BTreeMap::new();
        for used in &of {
            match price_row(case, used)? {
                Some(row) => by_price.entry(row).or_default().push(used),
                // Named as it is, not by a glob: somebody expects it to be priced.
                None if pool.meters.contains(&meter) => return Err("rate_missing"),
                None => {}
            }
        }
        let mut amount = Ratio::zero();
        for (row, of) in by_price {
            amount = amount.plus(&quantity(&meter, &of).times(&price(case, row)));
        }
        let total = quantity(&meter, &of);
        let atoms = amount.times(&Ratio::whole(10_i128.pow(15))).half_even();
        let counts = !total.is_negative() && atoms > BigInt::ZERO;
        let weight = Ratio::whole(if counts { atoms } else { BigInt::ZERO });
        if weight > Ratio::whole(10_i128.pow(27)) {
            return Err("out_of_bound");
        }
        cells.push(Cell { consumer, meter: Some(meter), weight, quantity: Some(total.atoms(9)) });
    }
    Ok(cells)
}

/// The meter that a card's word prices, and how many of its units the price is for.
fn priced(word: &str) -> (&str, i128) {
    match word {
        "storage_gb" => ("storage_bytes", 1_000_000_000),
        "storage_gib" => ("storage_bytes", 1_073_741_824),
        "api_call" => ("api_call_count_24h", 1),
        word => (word, 1),
    }
}

/// The most specific row; a tie is an error.
fn price_row(case: &Case, used: &Use) -> Result<Option<usize>, &'static str> {
    let prices = &case.card.as_ref().expect("a card").prices;
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, (word, _, _, labels)) in prices.iter().enumerate() {
        let fits = labels.iter().all(|(key, value)| used.values.get(&format!("label:{key}")) == Some(value));
        if fits && priced(word).0 == used.meter {
            found.push((labels.len(), at));
        }
    }
    found.sort();
    match found.as_slice() {
        [.., (second, _), (first, _)] if first == second => Err("rate_missing"),
        found => Ok(found.last().map(|(_, at)| *at)),
    }
}

/// What one unit costs on the day.
fn price(case: &Case, row: usize) -> Ratio {
    let (word, price, per, _) = &case.card.as_ref().expect("a card").prices[row];
    let price = Ratio::decimal(price);
    let price = match *per {
        "hour" => price.times(&Ratio::whole(case.day_hours)),
        "month" => {
            let days: Vec<(i32, Ratio)> = (1..=30).map(|day| (day, Ratio::whole(1))).collect();
            let shares = split(price.atoms(15), &days).expect("30 days");
            Ratio::new(shares[9], 10_i128.pow(15))
        }
        _ => price,
    };
    price.over(&Ratio::whole(priced(word).1))
}

/// Refuses what a row cannot hold.
pub fn bounded(atoms: i128) -> Result<i128, &'static str> {
    if atoms.abs() <= 10_i128.pow(27) { Ok(atoms) } else { Err("out_of_bound") }
}

/// The amount in the other currency by the latest rate of the last 7 days; nothing needs none.
pub fn convert(case: &Case, atoms: i128, from: &str, to: &str) -> Result<i128, &'static str> {
    bounded(if from == to || atoms == 0 { atoms } else { small(&converted(case, atoms, from, to)?) })
}

/// The same, however large.
pub fn converted(case: &Case, atoms: i128, from: &str, to: &str) -> Result<BigInt, &'static str> {
    let known = case.fx.iter().filter(|(a, b, age, _)| a == from && b == to && (0..=7).contains(age));
    let latest = known.min_by_key(|(_, _, age, _)| *age).ok_or("fx_missing")?;
    Ok(Ratio::whole(atoms).times(&Ratio::decimal(&latest.3)).half_even())
}
