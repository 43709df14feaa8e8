//! What a policy would do to the imported lines of a range: which pool takes what, what none takes, what two want.

use crate::inputs::{lines, repeated};
use crate::{Engine, EngineError};
use attribution::line::{AttributeSet, LinePart};
use attribution::pool::pool_of;
use domain::condition::{ChargeAttribute, Conditions, Pattern, UsageAttribute};
use domain::meter::Meter;
use domain::policy::{CostMetric, Policy, Pool, Split};
use domain::{Currency, Day, DayRange};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What becomes of some lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// This pool takes them.
    Taken(String),
    /// No pool takes them.
    NoPool,
    /// The first pool takes them; the second, later in the file, matches them too.
    Overlap(String, String),
}

/// Lines of the same kind and fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// What becomes of them.
    pub fate: Fate,
    /// Who is paid.
    pub provider: Option<String>,
    /// For which service.
    pub service: Option<String>,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<String>,
    /// Currency of the amounts.
    pub currency: Currency,
    /// Their cost by the metric of the pool that takes them, or else the policy's, in atoms.
    pub amount: i128,
    /// Their BilledCost, in atoms.
    pub billed_amount: i128,
    /// First day of the range that they fall on.
    pub first_day: Day,
    /// Last day of the range that they fall on.
    pub last_day: Day,
    /// Why a run would leave the pool as it is: `currency_mixed` when usage is to recover lines of two currencies.
    pub refused: Option<&'static str>,
}

/// What is told apart.
type Kind = (Fate, Option<Arc<str>>, Option<Arc<str>>, Option<Arc<str>>, Currency);

impl Engine {
    /// Returns what the policy would do to the imported lines of the range: lines by the pool that takes them,
    /// lines that no pool takes, and lines that a later pool matches as well.
    ///
    /// # Errors
    /// When a store fails.
    pub async fn selection_all_tenants(&self, policy: &Policy, range: DayRange) -> Result<Vec<Selected>, EngineError> {
        let session = self.session_now().await?;
        let values = repeated::first_days(&session, &[policy], range.to()).await?;
        let tenants = self.books_now().await?.tenants;
        let policy = attribution::expand::expand(policy, &values.up_to(range.to(), &tenants));
        let attributes = AttributeSet::needed_by([&policy]);
        let loaded = lines::load(&session, range, &self.settings.zone, &attributes).await?;
        let mut found: BTreeMap<Kind, Selected> = BTreeMap::new();
        let mut currencies: BTreeMap<(usize, Day), BTreeSet<Currency>> = BTreeMap::new();
        for (day, parts) in loaded.days.iter().filter(|(day, _)| range.contains(**day)) {
            for line in parts {
                let taker = pool_of(&policy, line);
                for fate in fates(&policy, line, taker) {
                    add(&mut found, fate, *day, line, metric_of(&policy, taker));
                }
                if let Some(taker) = taker.filter(|at| policy.pools[*at].recovers.is_some()) {
                    currencies.entry((taker, *day)).or_default().insert(line.currency);
                }
            }
        }
        let mixed = currencies.into_iter().filter(|(_, currencies)| currencies.len() > 1);
        let refused: BTreeSet<String> = mixed.map(|((at, _), _)| policy.pools[at].name.clone()).collect();
        for selected in found.values_mut() {
            let is_refused = matches!(&selected.fate, Fate::Taken(pool) if refused.contains(pool));
            selected.refused = is_refused.then_some(CURRENCY_MIXED);
        }
        Ok(found.into_values().collect())
    }

    /// Returns the drivers that two pools of the policy share, of the meters there are.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn shared_drivers(&self, policy: &Policy) -> Result<Vec<SharedDriver>, EngineError> {
        let meters: Vec<Meter> = self.books_now().await?.meters.iter().cloned().collect();
        Ok(shared_drivers(policy, &meters))
    }
}

/// Why a run refuses a pool that recovers lines of two currencies.
const CURRENCY_MIXED: &str = "currency_mixed";

fn metric_of(policy: &Policy, pool: Option<usize>) -> CostMetric {
    pool.and_then(|at| policy.pools[at].cost_metric).unwrap_or(policy.cost_metric)
}

/// The pool that takes the line, and every later one that matches it as well.
fn fates(policy: &Policy, line: &LinePart, taker: Option<usize>) -> Vec<Fate> {
    let Some(taker) = taker else { return vec![Fate::NoPool] };
    let name = |at: usize| policy.pools[at].name.clone();
    let matches = |pool: &Pool| pool.select.iter().chain(&pool.recovers).any(|conditions| line.fits(conditions));
    let others = (0..policy.pools.len()).filter(|at| *at != taker && matches(&policy.pools[*at]));
    let overlaps = others.map(|other| Fate::Overlap(name(taker), name(other)));
    [Fate::Taken(name(taker))].into_iter().chain(overlaps).collect()
}

fn add(found: &mut BTreeMap<Kind, Selected>, fate: Fate, day: Day, line: &LinePart, metric: CostMetric) {
    let value = |attribute: ChargeAttribute| line.get(&attribute).cloned();
    let (provider, service) = (value(ChargeAttribute::Provider), value(ChargeAttribute::Service));
    let category = value(ChargeAttribute::ChargeCategory);
    let text = |value: &Option<Arc<str>>| value.as_ref().map(ToString::to_string);
    let kind = (fate.clone(), provider.clone(), service.clone(), category.clone(), line.currency);
    let selected = found.entry(kind).or_insert_with(|| Selected {
        fate,
        provider: text(&provider),
        service: text(&service),
        charge_category: text(&category),
        currency: line.currency,
        amount: 0,
        billed_amount: 0,
        first_day: day,
        last_day: day,
        refused: None,
    });
    selected.amount += line.cost.by(metric);
    selected.billed_amount += line.cost.billed;
    selected.last_day = day;
}

/// A meter whose usage decides what two pools charge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedDriver {
    /// The meter.
    pub meter: String,
    /// The pools, in the order of the policy.
    pub pools: [String; 2],
}

/// Returns the drivers that two pools share: usage of one meter that the conditions of both may let through.
///
/// Estimates beside the money share with nobody: nothing is charged by them.
#[must_use]
pub fn shared_drivers(policy: &Policy, meters: &[Meter]) -> Vec<SharedDriver> {
    let drivers: Vec<(&Pool, &Split, BTreeSet<&str>)> = policy
        .pools
        .iter()
        .filter(|pool| !pool.is_memo())
        .filter_map(|pool| Some((pool, pool.split.as_ref()?)))
        .map(|(pool, split)| (pool, split, driving_meters(split, meters)))
        .collect();
    let mut shared = Vec::new();
    for (at, (pool, split, own)) in drivers.iter().enumerate() {
        for (other, other_split, others) in &drivers[at + 1..] {
            let meets = may_both_hold(&split.drivers, &other_split.drivers);
            let meters = own.intersection(others).filter(|_| meets);
            shared.extend(meters.map(|meter| SharedDriver {
                meter: (*meter).to_owned(),
                pools: [pool.name.clone(), other.name.clone()],
            }));
        }
    }
    shared.sort();
    shared
}

/// The meters that a rule reads, its globs filled in from the meters there are.
fn driving_meters<'m>(split: &'m Split, meters: &'m [Meter]) -> BTreeSet<&'m str> {
    let globs: Vec<Pattern> = split.meters.iter().map(|glob| Pattern::new(glob)).collect();
    let named = split.weights.keys().chain(&split.meter).map(String::as_str);
    let known = meters.iter().map(|meter| meter.name.as_str());
    let fitting = known.filter(|meter| globs.iter().any(|glob| glob.matches(meter)));
    let written = split.meters.iter().map(String::as_str).filter(|meter| !meter.contains('*'));
    named.chain(fitting).chain(written).collect()
}

/// Whether some usage may fit both: no attribute that both test rules it out.
fn may_both_hold(one: &Conditions<UsageAttribute>, other: &Conditions<UsageAttribute>) -> bool {
    one.tests().all(|(attribute, patterns)| {
        let mut same = other.tests().filter(|(tested, _)| tested == attribute);
        same.all(|(_, others)| {
            patterns.iter().any(|pattern| others.iter().any(|other| may_both_match(pattern.as_str(), other.as_str())))
        })
    })
}

/// Whether some text matches both globs.
fn may_both_match(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // `meets[a][b]`: whether some text matches what is left of both from there on; filled from the ends.
    let mut meets = vec![vec![false; other.len() + 1]; one.len() + 1];
    for a in (0..=one.len()).rev() {
        for b in (0..=other.len()).rev() {
            meets[a][b] = match (one.get(a), other.get(b)) {
                (None, None) => true,
                (Some(b'*'), next) => meets[a + 1][b] || (next.is_some() && meets[a][b + 1]),
                (next, Some(b'*')) => meets[a][b + 1] || (next.is_some() && meets[a + 1][b]),
                (Some(left), Some(right)) => left == right && meets[a + 1][b + 1],
                (Some(_), None) | (None, Some(_)) => false,
            };
        }
    }
    meets[0][0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_meet_where_some_text_fits_both() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(may_both_match(one, other), expected, "{one} and {other}");
            assert_eq!(may_both_match(other, one), expected, "{other} and {one}");
        };
        check("a", "a", true);
        check("a", "b", false);
        check("a*", "*b", true);
        check("a*", "b*", false);
        check("*", "", true);
        check("a", "", false);
        check("a*c", "ab", false);
        check("*x*", "a*b", true);
    }

    #[test]
    fn pools_share_a_driver_when_both_charge_by_the_same_usage() {
        let check = |pools: &str, expected: &[(&str, &str, &str)]| {
            let policy = Policy::read("p", &format!("version='v'\nvalid_from=2026-01-01\n{pools}")).expect("valid");
            let shared = shared_drivers(&policy, &domain::meter::builtin());
            let shared: Vec<(&str, &str, &str)> = shared
                .iter()
                .map(|shared| (shared.meter.as_str(), shared.pools[0].as_str(), shared.pools[1].as_str()))
                .collect();
            assert_eq!(shared, expected, "{pools}");
        };
        let rated = |name: &str, meters: &str, drivers: &str| {
            format!(
                "[[pool]]\nname='{name}'\nrecovers={{provider='{name}'}}\nsplit={{method='rated',meters=['{meters}'],where={{{drivers}}}}}\n"
            )
        };
        check(&(rated("a", "llm_*", "") + &rated("b", "llm_tokens", "")), &[("llm_tokens", "a", "b")]);
        check(&(rated("a", "llm_*", "") + &rated("b", "log_*", "")), &[]);
        let overlapping = rated("a", "mcp_reads", "tenant='team-*'") + &rated("b", "mcp_reads", "tenant=['x','*-1']");
        check(&overlapping, &[("mcp_reads", "a", "b")]);
        check(&(rated("a", "mcp_reads", "cluster='east'") + &rated("b", "mcp_reads", "cluster='west'")), &[]);
        check(
            &(rated("a", "mcp_reads", "cluster='east'") + &rated("b", "mcp_reads", "repo='x'")),
            &[("mcp_reads", "a", "b")],
        );
        let memo = "[[pool]]\nname='memo'\nsplit={method='rated',meters=['*']}\n";
        check(&(rated("a", "mcp_reads", "") + memo), &[]);
    }
}
