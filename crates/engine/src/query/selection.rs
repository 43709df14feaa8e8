//! What a policy would do to the imported lines of a range: which pool takes what, what none takes, what two want.

use crate::inputs::{lines, repeated};
use crate::{Engine, EngineError};
use attribution::line::{AttributeSet, LinePart};
use attribution::pool::pool_of;
use domain::condition::ChargeAttribute;
use domain::policy::{Policy, Pool};
use domain::{Currency, Day, DayRange};
use std::collections::BTreeMap;
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
    /// Their cost by the policy's metric, in atoms.
    pub amount: i128,
    /// Their BilledCost, in atoms.
    pub billed_amount: i128,
    /// First day of the range that they fall on.
    pub first_day: Day,
    /// Last day of the range that they fall on.
    pub last_day: Day,
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
        let policy = attribution::expand::expand(policy, &values.up_to(range.to()));
        let attributes = AttributeSet::needed_by([&policy]);
        let loaded = lines::load(&session, range, &self.settings.zone, &attributes).await?;
        let mut found: BTreeMap<Kind, Selected> = BTreeMap::new();
        for (day, parts) in loaded.days.iter().filter(|(day, _)| range.contains(**day)) {
            for line in parts {
                for fate in fates(&policy, line) {
                    add(&mut found, fate, *day, line, &policy);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// The pool that takes the line, and every later one that matches it as well.
fn fates(policy: &Policy, line: &LinePart) -> Vec<Fate> {
    let Some(taker) = pool_of(policy, line) else { return vec![Fate::NoPool] };
    let name = |at: usize| policy.pools[at].name.clone();
    let matches = |pool: &Pool| pool.select.iter().chain(&pool.recovers).any(|conditions| line.fits(conditions));
    let others = (0..policy.pools.len()).filter(|at| *at != taker && matches(&policy.pools[*at]));
    let overlaps = others.map(|other| Fate::Overlap(name(taker), name(other)));
    [Fate::Taken(name(taker))].into_iter().chain(overlaps).collect()
}

fn add(found: &mut BTreeMap<Kind, Selected>, fate: Fate, day: Day, line: &LinePart, policy: &Policy) {
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
    });
    selected.amount += line.cost.by(policy.cost_metric);
    selected.billed_amount += line.cost.billed;
    selected.last_day = day;
}
