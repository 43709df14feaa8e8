//! A day's attribution once more: slowly, in fractions, from the text of the spec.

use super::case::{Case, Line, Origin, PoolSpec};
use super::drivers::{
    Cell, Consumer, bounded, by_quantity, convert, converted, even, fixed, plain, rated, reserved, sort_key, taker,
    tenant,
};
use super::ratio::{Ratio, small, split};
use std::collections::BTreeMap;

/// Currency, charge category, then service, provider, source, commitment status and invoice on request.
pub type Component = Vec<Option<String>>;
/// Component, consumer, meter, label `service`.
pub type Key = (Component, Consumer, Option<String>, Option<String>);
/// Source, sub-account, service.
type Trail = [Option<String>; 3];
/// Amount, billed amount, amount in the reporting currency.
pub type Sums = [i128; 3];

/// What became of one pool.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub name: String,
    pub not_run: Option<&'static str>,
    /// What went in, by component (and service, for lines that no pool takes).
    pub into: BTreeMap<(Component, Option<String>), Sums>,
    pub rows: BTreeMap<Key, Sums>,
    pub quantities: BTreeMap<(Consumer, Option<String>), i128>,
    /// The same shares from components that also keep the trail.
    fine: Vec<(Component, Trail, Consumer, Sums)>,
}

const REPORTING: &str = "USD";
const TRAIL: [&str; 3] = ["source", "sub_account", "service"];
const DETAIL: [&str; 5] = ["service", "provider", "source", "commitment_status", "invoice_id"];

type Lines<'c> = BTreeMap<Component, Vec<&'c Line>>;

/// Returns every pool of the policy, then the lines that no pool takes.
pub fn reference(case: &Case) -> Vec<Done> {
    let mut done: BTreeMap<usize, Done> = BTreeMap::new();
    while done.len() < case.pools.len() {
        for at in 0..case.pools.len() {
            let bases = bases(case, at);
            if !done.contains_key(&at) && bases.iter().all(|base| done.contains_key(base)) {
                let outcome = run(case, at, &bases.iter().map(|base| (*base, &done[base])).collect::<Vec<_>>());
                done.insert(at, outcome);
            }
        }
    }
    let mut all: Vec<Done> = done.into_values().collect();
    all.extend(nobodys(case));
    all
}

fn bases(case: &Case, at: usize) -> Vec<usize> {
    let pool = &case.pools[at];
    let earlier = (0..at).filter(|base| case.pools[*base].tier != "overhead");
    match (pool.method, pool.of.is_empty()) {
        ("by_cost", true) => earlier.collect(),
        ("by_cost", false) => (0..case.pools.len()).filter(|base| pool.of.contains(&case.pools[*base].name)).collect(),
        _ => Vec::new(),
    }
}

fn component(line: &Line, detail: &[&str]) -> Component {
    let mut key = vec![Some(line.currency.clone()), line.values.get("charge_category").cloned()];
    key.extend(DETAIL.map(|word| line.values.get(word).filter(|_| detail.contains(&word)).cloned()));
    key
}

fn sums<'l>(lines: impl IntoIterator<Item = &'l &'l Line>, metric: &str) -> (i128, i128) {
    let (mut amount, mut billed) = (Ratio::zero(), Ratio::zero());
    for line in lines {
        amount = amount.plus(&Ratio::decimal(&line.costs[metric]));
        billed = billed.plus(&Ratio::decimal(&line.costs["billed"]));
    }
    (amount.atoms(15), billed.atoms(15))
}

/// Σ of a component is converted once.
fn into(case: &Case, key: &Component, lines: &[&Line], metric: &str) -> Result<Sums, &'static str> {
    let (amount, billed) = sums(lines, metric);
    let whole =
        [bounded(amount)?, bounded(billed)?, convert(case, amount, key[0].as_deref().expect("a currency"), REPORTING)?];
    // Parts that cancel out are money all the same: without a rate they cannot be told apart.
    by_trail(case, lines, metric, whole[2])?;
    Ok(whole)
}

fn run(case: &Case, at: usize, bases: &[(usize, &Done)]) -> Done {
    let pool = &case.pools[at];
    let mut components = Lines::new();
    for line in case.lines.iter().filter(|line| taker(case, line) == Some(at)) {
        components.entry(component(line, &pool.detail)).or_default().push(line);
    }
    let mut done = Done { name: pool.name.clone(), ..Done::default() };
    if components.is_empty() && matches!(pool.origin, Origin::Select(_) | Origin::Fixed) {
        return done;
    }
    let result = match pool.origin {
        Origin::Memo => memo(case, pool, &mut done),
        Origin::Recovers(_) => recovers(case, pool, &components, &mut done),
        _ => billed(case, pool, &components, bases, &mut done),
    };
    let fits = |done: &Done| done.rows.values().flatten().try_for_each(|atoms| bounded(*atoms).map(drop));
    match result.and_then(|()| fits(&done)) {
        Ok(()) => done,
        Err(code) => Done { name: pool.name.clone(), not_run: Some(code), ..Done::default() },
    }
}

impl Done {
    fn add(&mut self, component: &Component, trail: Trail, cell: (&Consumer, Option<&String>), sums: Sums) {
        let key = (component.clone(), cell.0.clone(), cell.1.cloned(), None);
        let row = self.rows.entry(key).or_default();
        (0..3).for_each(|measure| row[measure] += sums[measure]);
        self.fine.push((component.clone(), trail, cell.0.clone(), sums));
    }

    fn note(&mut self, cells: &[Cell]) {
        for cell in cells {
            self.quantities.extend(cell.quantity.map(|atoms| ((cell.consumer.clone(), cell.meter.clone()), atoms)));
        }
    }
}

/// Each measure by the same weights; nobody's when they weigh nothing.
fn shares(sums: Sums, cells: &[Cell]) -> Vec<(Consumer, Option<String>, Sums)> {
    let keyed: Vec<_> =
        cells.iter().map(|cell| (sort_key(&cell.consumer, cell.meter.as_ref()), cell.weight.clone())).collect();
    let [Some(amount), Some(billed), Some(reporting)] = sums.map(|measure| split(measure, &keyed)) else {
        return vec![(reserved("__unattributed__"), None, sums)];
    };
    let share = |(at, cell): (usize, &Cell)| {
        (cell.consumer.clone(), cell.meter.clone(), [amount[at], billed[at], reporting[at]])
    };
    cells.iter().enumerate().map(share).collect()
}

/// A converted amount over the parts that it is the sum of.
///
/// The spec says nothing of parts of both signs: each is converted, what rounding leaves goes to the first that are not zero.
fn convert_parts(case: &Case, total: i128, parts: &[i128], currency: &str) -> Result<Vec<i128>, &'static str> {
    if currency == REPORTING {
        return Ok(parts.to_vec());
    }
    let (above, below) = (parts.iter().any(|part| *part > 0), parts.iter().any(|part| *part < 0));
    if above != below {
        let keyed: Vec<_> =
            parts.iter().enumerate().map(|(at, part)| (at, Ratio::whole(part.unsigned_abs()))).collect();
        return Ok(split(total, &keyed).expect("some part is not zero"));
    }
    let one = |part: &i128| match part {
        0 => Ok(0),
        part => converted(case, *part, currency, REPORTING).map(|converted| small(&converted)),
    };
    let mut out = parts.iter().map(one).collect::<Result<Vec<i128>, _>>()?;
    let mut at = 0;
    while out.iter().sum::<i128>() != total {
        if parts[at % parts.len()] != 0 || !above {
            out[at % parts.len()] += (total - out.iter().sum::<i128>()).signum();
        }
        at += 1;
    }
    Ok(out)
}

fn billed(
    case: &Case,
    pool: &PoolSpec,
    components: &Lines<'_>,
    bases: &[(usize, &Done)],
    done: &mut Done,
) -> Result<(), &'static str> {
    let metric = pool.metric.unwrap_or(case.metric);
    for (key, lines) in components {
        done.into.insert((key.clone(), None), into(case, key, lines, metric)?);
    }
    if let Some(code) = bases.iter().find_map(|(_, base)| base.not_run) {
        return Err(code);
    }
    let cells = match pool.method {
        "weighted" | "proportional" => by_quantity(case, pool),
        "even" => even(case, pool),
        "fixed" => fixed(pool),
        "rated" => rated(case, pool)?,
        "none" => vec![plain(reserved("__overhead__"), Ratio::whole(1))],
        "by_cost" => by_cost(case, pool, bases, None),
        _ => Vec::new(),
    };
    if cells.iter().any(|cell| cell.weight.is_positive()) {
        done.note(&cells);
    }
    for (key, lines) in components {
        let whole = done.into[&(key.clone(), None)];
        match (pool.method, pool.follow) {
            ("direct", _) => direct(case, pool, key, lines, whole[2], done)?,
            (_, true) => {
                for (trail, sums) in by_trail(case, lines, metric, whole[2])? {
                    let cells = (0..=3).rev().map(|kept| by_cost(case, pool, bases, Some((&trail, kept))));
                    let cells = cells.into_iter().find(|cells| cells.iter().any(|cell| cell.weight.is_positive()));
                    for (consumer, meter, sums) in shares(sums, &cells.unwrap_or_default()) {
                        done.add(key, trail.clone(), (&consumer, meter.as_ref()), sums);
                    }
                }
            }
            _ => {
                for (consumer, meter, sums) in shares(whole, &cells) {
                    done.rows.insert((key.clone(), consumer, meter, None), sums);
                }
                for (trail, sums) in by_trail(case, lines, metric, whole[2])? {
                    let fine = shares(sums, &cells).into_iter();
                    done.fine.extend(fine.map(|(consumer, _, sums)| (key.clone(), trail.clone(), consumer, sums)));
                }
            }
        }
    }
    Ok(())
}

fn trail_of(line: &Line) -> Trail {
    TRAIL.map(|word| line.values.get(word).cloned())
}

/// Lines that have something in common, with their sums and their part of the converted whole.
type Group<'l, K> = (K, Vec<&'l Line>, Sums);

fn grouped<'l, K: Ord>(
    case: &Case,
    lines: &[&'l Line],
    metric: &str,
    reporting: i128,
    by: impl Fn(&Line) -> K,
) -> Result<Vec<Group<'l, K>>, &'static str> {
    let mut groups: BTreeMap<K, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        groups.entry(by(line)).or_default().push(line);
    }
    let parts: Vec<(i128, i128)> = groups.values().map(|lines| sums(lines, metric)).collect();
    let amounts: Vec<i128> = parts.iter().map(|(amount, _)| *amount).collect();
    let currency = lines.first().map_or(REPORTING, |line| line.currency.as_str());
    let converted = convert_parts(case, reporting, &amounts, currency)?;
    let rows = groups.into_iter().zip(parts).zip(converted);
    Ok(rows.map(|(((key, lines), (amount, billed)), reporting)| (key, lines, [amount, billed, reporting])).collect())
}

fn by_trail(case: &Case, lines: &[&Line], metric: &str, reporting: i128) -> Result<Vec<(Trail, Sums)>, &'static str> {
    let groups = grouped(case, lines, metric, reporting, trail_of)?;
    Ok(groups.into_iter().map(|(trail, _, sums)| (trail, sums)).collect())
}

/// Lines go whole to their own consumer.
fn direct(
    case: &Case,
    pool: &PoolSpec,
    key: &Component,
    lines: &[&Line],
    reporting: i128,
    done: &mut Done,
) -> Result<(), &'static str> {
    let metric = pool.metric.unwrap_or(case.metric);
    let consumer = |tenant: Option<String>| {
        tenant.map_or_else(
            || reserved("__unattributed__"),
            |tenant| std::iter::once(Some(tenant)).chain(pool.by[1..].iter().map(|_| None)).collect(),
        )
    };
    let owner = |line: &Line| {
        let consumer = consumer(tenant(case, line));
        (sort_key(&consumer, None), consumer)
    };
    for ((_, consumer), lines, of_owner) in grouped(case, lines, metric, reporting, owner)? {
        for (trail, lines, of_trail) in grouped(case, &lines, metric, of_owner[2], trail_of)? {
            let category = |line: &Line| line.values.get("service_category").cloned();
            for (_, _, sums) in grouped(case, &lines, metric, of_trail[2], category)? {
                done.add(key, trail.clone(), (&consumer, None), sums);
            }
        }
    }
    Ok(())
}

/// Consumers of the bases by what they cost, of the trail's first `kept` words only.
fn by_cost(case: &Case, pool: &PoolSpec, bases: &[(usize, &Done)], follow: Option<(&Trail, usize)>) -> Vec<Cell> {
    let mut counted: Vec<(usize, String, Trail, Consumer, Sums)> = Vec::new();
    for (at, base) in bases.iter().filter(|(at, _)| case.pools[*at].origin != Origin::Memo) {
        let whole = base.rows.iter().map(|((key, consumer, ..), sums)| (key, Trail::default(), consumer, *sums));
        let fine = base.fine.iter().map(|(key, trail, consumer, sums)| (key, trail.clone(), consumer, *sums));
        let rows: Vec<_> = if pool.follow { fine.collect() } else { whole.collect() };
        for (key, trail, consumer, sums) in rows {
            let is_usage = matches!(key[1].as_deref(), Some("Usage" | "Purchase"));
            let word = consumer[0].as_deref();
            if is_usage && word != Some("__overhead__") && word != Some("__variance__") {
                counted.push((*at, key[0].clone().expect("a currency"), trail, consumer.clone(), sums));
            }
        }
    }
    // Different currencies are never added.
    let one_currency = counted.iter().all(|row| row.1 == counted[0].1);
    let mut costs: BTreeMap<Consumer, i128> = BTreeMap::new();
    for (at, _, trail, consumer, sums) in counted {
        if follow.is_none_or(|(wanted, kept)| wanted[..kept] == trail[..kept]) {
            let cost = if one_currency { sums[0] } else { sums[2] };
            *costs.entry(seen(case, pool, at, consumer)).or_default() += cost;
        }
    }
    costs.into_iter().map(|(consumer, cost)| plain(consumer, Ratio::whole(cost.max(0)))).collect()
}

fn seen(case: &Case, pool: &PoolSpec, base: usize, consumer: Consumer) -> Consumer {
    if consumer[0].as_deref().is_some_and(|word| word.starts_with("__")) {
        return consumer;
    }
    let at = |dimension: &String| case.pools[base].by.iter().position(|known| known == dimension);
    pool.by.iter().map(|dimension| at(dimension).and_then(|at| consumer[at].clone())).collect()
}

fn usage_of(currency: &str) -> Component {
    let mut key = vec![Some(currency.to_owned()), Some("Usage".to_owned())];
    key.resize(7, None);
    key
}

fn total(cells: &[Cell]) -> Result<i128, &'static str> {
    bounded(Ratio::sum(cells.iter().map(|cell| &cell.weight)).atoms(0))
}

fn memo(case: &Case, pool: &PoolSpec, done: &mut Done) -> Result<(), &'static str> {
    let cells = rated(case, pool)?;
    let currency = case.card.as_ref().expect("a card").currency.as_str();
    let amount = total(&cells)?;
    let sums = [amount, 0, convert(case, amount, currency, REPORTING)?];
    let key = usage_of(currency);
    done.into.insert((key.clone(), None), sums);
    done.note(&cells);
    if amount > 0 {
        for (consumer, meter, sums) in shares(sums, &cells) {
            done.rows.insert((key.clone(), consumer, meter, None), sums);
        }
    }
    Ok(())
}

fn recovers(case: &Case, pool: &PoolSpec, components: &Lines<'_>, done: &mut Done) -> Result<(), &'static str> {
    let cells = rated(case, pool)?;
    let card = case.card.as_ref().expect("a card");
    let mut currencies: Vec<&String> = components.keys().filter_map(|key| key[0].as_ref()).collect();
    currencies.dedup();
    if currencies.len() > 1 {
        return Err("currency_mixed");
    }
    let currency = currencies.first().map_or(card.currency.as_str(), |currency| currency.as_str());
    for (key, lines) in components {
        done.into.insert((key.clone(), None), into(case, key, lines, pool.metric.unwrap_or(case.metric))?);
    }
    let recovered = convert(case, total(&cells)?, &card.currency, currency)?;
    let reporting = convert(case, recovered, currency, REPORTING)?;
    done.note(&cells);
    let usage = usage_of(currency);
    let mut left = done.into.clone();
    if recovered > 0 {
        let trails = recovered_trails(components, pool.metric.unwrap_or(case.metric));
        for (consumer, meter, mut sums) in shares([recovered, 0, reporting], &cells) {
            sums[1] = sums[0];
            for (trail, sums) in over_trails(sums, &trails) {
                done.add(&usage, trail, (&consumer, meter.as_ref()), sums);
            }
        }
        let rest = left.entry((usage, None)).or_default();
        *rest = [rest[0] - recovered, rest[1] - recovered, rest[2] - reporting];
    }
    for ((key, _), sums) in left {
        done.add(&key, Trail::default(), (&reserved("__variance__"), None), sums);
    }
    Ok(())
}

/// What is recovered follows the lines of usage, or all lines where there is no usage, by their cost.
fn recovered_trails(components: &Lines<'_>, metric: &str) -> Vec<(Trail, Ratio)> {
    let of_usage = |usage_only: bool| {
        let counted = components.iter().filter(|(key, _)| !usage_only || key[1].as_deref() == Some("Usage"));
        counted.flat_map(|(_, lines)| lines.iter().copied()).collect::<Vec<&Line>>()
    };
    let lines = if of_usage(true).is_empty() { of_usage(false) } else { of_usage(true) };
    let mut trails: BTreeMap<Trail, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        trails.entry(trail_of(line)).or_default().push(line);
    }
    let cost = |lines: Vec<&Line>| Ratio::whole(sums(&lines, metric).0.max(0));
    trails.into_iter().map(|(trail, lines)| (trail, cost(lines))).collect()
}

fn over_trails(sums: Sums, trails: &[(Trail, Ratio)]) -> Vec<(Trail, Sums)> {
    let [Some(amount), Some(billed), Some(reporting)] = sums.map(|measure| split(measure, trails)) else {
        return vec![(Trail::default(), sums)];
    };
    let part = |(at, (trail, _)): (usize, &(Trail, Ratio))| (trail.clone(), [amount[at], billed[at], reporting[at]]);
    trails.iter().enumerate().map(part).collect()
}

/// Lines that no pool takes: a component is converted once, then kept apart by service.
fn nobodys(case: &Case) -> Option<Done> {
    let mut components = Lines::new();
    for line in case.lines.iter().filter(|line| taker(case, line).is_none()) {
        components.entry(component(line, &[])).or_default().push(line);
    }
    if components.is_empty() {
        return None;
    }
    let name = "unattributed".to_owned();
    let mut done = Done { name: name.clone(), ..Done::default() };
    match by_service(case, &components, &mut done) {
        Ok(()) => Some(done),
        Err(code) => Some(Done { name, not_run: Some(code), ..Done::default() }),
    }
}

fn by_service(case: &Case, components: &Lines<'_>, done: &mut Done) -> Result<(), &'static str> {
    let service = |line: &Line| line.values.get("service").cloned();
    for (key, lines) in components {
        done.into.insert((key.clone(), None), into(case, key, lines, case.metric)?);
    }
    for (key, lines) in components {
        let whole = done.into[&(key.clone(), None)];
        for (service, _, sums) in grouped(case, lines, case.metric, whole[2], service)? {
            done.rows.insert((key.clone(), reserved("__unattributed__"), None, service), sums);
        }
    }
    done.rows.values().flatten().try_for_each(|atoms| bounded(*atoms).map(drop))
}
