//! Why a difference arose: what changed since the day's last run, and what of it can explain the entry.

use crate::due::{SeenInputs, TouchedDays};
use domain::Day;
use domain::policy::{Basis, CostMetric, Method, Policy, Pool, UNATTRIBUTED_POOL};
use domain::rates::RateCard;
use domain::tenant::VARIANCE;
use ledger::{ByKey, Cause, Desired, Difference, EntryKey, Existing, PoolOfDay, Status, Totals, totals_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which inputs of a day are others than at its last run.
#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    policy: bool,
    lines: bool,
    usage: bool,
    rates: bool,
    fx: bool,
    tenants: bool,
    /// Events that windows look at.
    events: bool,
    /// Some window is closed that was open.
    ripened: bool,
}

/// What became of a day's windows since its last run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowChange {
    /// Events came that they may look at.
    pub(super) events: bool,
    /// One that was open is closed.
    pub(super) ripened: bool,
}

/// What is known of a day when its differences are told their causes.
#[derive(Debug)]
pub(super) struct Causes {
    /// `None` on the day's first run.
    changed: Option<Changed>,
    /// Pools that the policy defines otherwise than the one before.
    redefined: Redefined,
    /// Pools that have entries.
    known: BTreeSet<Arc<str>>,
    /// Pools whose own amounts are others than their entries add up to.
    restated: BTreeSet<Arc<str>>,
    /// Pools with other pending cost than before.
    closing: BTreeSet<Arc<str>>,
}

impl Causes {
    /// Returns what may have caused differences on a day.
    pub(super) fn of_day(
        day: Day,
        before: Option<&SeenInputs>,
        now: &SeenInputs,
        touched: &TouchedDays,
        card: &RateCard,
        redefined: Redefined,
        windows: WindowChange,
    ) -> Self {
        let changed = before.map(|before| Changed {
            policy: before.policy != now.policy,
            lines: touched.lines_since(day, before),
            usage: touched.priced_usage_since(day, card, before),
            rates: before.rate_card != now.rate_card,
            fx: before.fx != now.fx,
            tenants: before.tenants != now.tenants,
            events: windows.events,
            ripened: windows.ripened,
        });
        Self { changed, redefined, known: BTreeSet::new(), restated: BTreeSet::new(), closing: BTreeSet::new() }
    }

    /// Adds which pools have other pending cost than they had.
    pub(super) fn compare_pending(&mut self, wanted: &ByKey<Desired>, existing: &ByKey<Existing>) {
        let wanted = pending_by_pool(wanted.iter().map(|(key, desired)| (key, desired.amount)));
        let stands = pending_by_pool(existing.iter().map(|(key, existing)| (key, existing.sums.amount)));
        let moved = stands.into_iter().filter(|(pool, amount)| wanted.get(pool).copied().unwrap_or(0) != *amount);
        self.closing = moved.map(|(pool, _)| pool).collect();
    }

    /// Adds which pools have entries, and which of them went in with other amounts.
    pub(super) fn compare(&mut self, wanted: &Totals, existing: &ByKey<Existing>) {
        let stands = totals_of(existing.iter().map(|(key, existing)| (key, existing.sums)));
        let own = |totals: &Totals, what: &PoolOfDay| {
            totals.get(what).map(|total| (total.amount, total.billed_amount)).unwrap_or_default()
        };
        let differs = |what: &&PoolOfDay| own(wanted, what) != own(&stands, what);
        self.known = stands.keys().map(|what| Arc::clone(&what.pool)).collect();
        self.restated = wanted.keys().chain(stands.keys()).filter(differs).map(|what| Arc::clone(&what.pool)).collect();
    }

    /// Returns the cause of one difference: of everything that changed, the first that can explain it.
    ///
    /// A pool without entries is posted for the first time, unless another policy defined it. A difference in the
    /// reporting currency alone comes from exchange rates; one of a priced entry whose quantity stands still, from
    /// prices; one of a pool whose own amounts changed, from its bills, or from another policy that leaves it other
    /// lines. Usage explains only what is shared out by it.
    pub(super) fn of(&self, difference: &Difference) -> Cause {
        let key = &difference.key;
        let Some(changed) = self.changed else { return Cause::First };
        if changed.policy && self.redefined.has(&key.pool) {
            return Cause::NewPolicy;
        }
        if !self.known.contains(&key.pool) {
            return Cause::First;
        }
        let says = difference.says.sums();
        let is_reporting_only = (says.amount, says.billed_amount, says.quantity) == (0, 0, 0);
        let is_restated = !key.memo && self.restated.contains(&key.pool);
        let is_priced = key.method == Some(Method::Rated) && key.tenant.is_some() && says.quantity == 0;
        let rests_on_bill = key.basis == Basis::Billed && is_restated;
        let is_windowed = key.method == Some(Method::Window) && *key.consumer != *VARIANCE;
        match changed {
            Changed { fx: true, .. } if is_reporting_only => Cause::Fx,
            Changed { ripened: true, .. } if is_windowed && self.closing.contains(&key.pool) => Cause::WindowClosed,
            Changed { events: true, .. } if is_windowed || key.method == Some(Method::ByCost) => Cause::LateUsage,
            Changed { rates: true, .. } if is_priced && !rests_on_bill => Cause::NewRates,
            Changed { lines: true, .. } if is_restated && (rests_on_bill || key.tenant.is_none()) => {
                Cause::BillRestated
            }
            Changed { policy: true, lines: false, .. } if rests_on_bill => Cause::NewPolicy,
            Changed { usage: true, .. } if reads_usage(key.method) => Cause::LateUsage,
            Changed { lines: true, .. } => Cause::BillRestated,
            Changed { rates: true, .. } if reads_usage(key.method) => Cause::NewRates,
            Changed { fx: true, .. } => Cause::Fx,
            Changed { tenants: true, .. } => Cause::TenantFacts,
            Changed { policy: true, .. } => Cause::NewPolicy,
            // What is left are meters: another definition reads other usage.
            Changed { .. } if reads_usage(key.method) => Cause::LateUsage,
            Changed { .. } => Cause::BillRestated,
        }
    }
}

/// What is pending of each pool.
fn pending_by_pool<'k>(entries: impl Iterator<Item = (&'k EntryKey, i128)>) -> BTreeMap<Arc<str>, i128> {
    let mut pending: BTreeMap<Arc<str>, i128> = BTreeMap::new();
    for (key, amount) in entries.filter(|(key, _)| key.status == Status::Pending) {
        *pending.entry(Arc::clone(&key.pool)).or_default() += amount;
    }
    pending
}

/// Pools by cost follow others, which may.
fn reads_usage(method: Option<Method>) -> bool {
    !matches!(method, None | Some(Method::Direct | Method::Fixed | Method::None))
}

/// Which pools a policy defines otherwise than another one, such as that which the last run used.
#[derive(Debug)]
pub(crate) enum Redefined {
    /// Any of them: rules for tenants changed, or the earlier policy is not known any more.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Redefined {
    /// Returns the pools that differ, `for_each` repeated in both policies.
    pub(crate) fn between(before: Option<&Policy>, now: &Policy) -> Self {
        let Some(before) = before.filter(|before| before.tenant_rules == now.tenant_rules) else { return Self::All };
        let (earlier, later) = (definitions(before), definitions(now));
        let names = earlier.keys().chain(later.keys()).copied();
        let mut differ: BTreeSet<String> =
            names.filter(|name| earlier.get(name) != later.get(name)).map(str::to_owned).collect();
        for at in now.by_cost_order().expect("a checked policy has no circle") {
            let pool = &now.pools[at].name;
            if later[pool.as_str()].bases.iter().any(|base| differ.contains(*base)) {
                differ.insert(pool.clone());
            }
        }
        if !differ.is_empty() {
            differ.insert(UNATTRIBUTED_POOL.to_owned());
        }
        Self::Only(differ)
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, pool: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(pools) => pools.contains(pool),
        }
    }
}

/// What decides what a pool takes and how it is shared out.
#[derive(PartialEq)]
struct Definition<'p> {
    pool: &'p Pool,
    cost_metric: CostMetric,
    bases: Vec<&'p str>,
}

fn definitions<'p>(policy: &'p Policy) -> BTreeMap<&'p str, Definition<'p>> {
    let definition = |(at, pool): (usize, &'p Pool)| {
        let followed = if pool.method() == Method::ByCost { policy.bases(at) } else { Vec::new() };
        let bases = followed.into_iter().map(|base| policy.pools[base].name.as_str()).collect();
        let cost_metric = pool.cost_metric.unwrap_or(policy.cost_metric);
        (pool.name.as_str(), Definition { pool, cost_metric, bases })
    };
    policy.pools.iter().enumerate().map(definition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::entry_key;
    use domain::Currency;
    use ledger::{Measures, Sums};

    const ALL: Changed = Changed {
        policy: false,
        lines: true,
        usage: true,
        rates: true,
        fx: true,
        tenants: true,
        events: false,
        ripened: false,
    };

    fn key(pool: &str, tenant: Option<&str>, basis: Basis, method: Method) -> EntryKey {
        let consumer = tenant.unwrap_or("__variance__").into();
        let (method, tenant) = (Some(method), tenant.map(Into::into));
        EntryKey { basis, method, consumer, tenant, ..entry_key("2026-10-01", pool, "") }
    }

    /// Causes of a day on which the pools `restated` went in with 2 instead of 1, and the pool `same` with 1 as before.
    fn causes(changed: Changed, restated: &[&str]) -> Causes {
        let day = "2026-10-01".parse().unwrap();
        let redefined = Redefined::Only(["bill".to_owned()].into());
        let mut causes = Causes {
            changed: Some(changed),
            redefined,
            known: BTreeSet::new(),
            restated: BTreeSet::new(),
            closing: BTreeSet::new(),
        };
        let (mut wanted, mut existing) = (Totals::new(), Vec::new());
        for (pool, now) in restated.iter().map(|pool| (*pool, 2)).chain([("same", 1)]) {
            let what = PoolOfDay { charge_date: day, pool: pool.into(), currency: Currency::USD };
            wanted.insert(what, Measures { amount: now, billed_amount: now, amount_reporting: now });
            let sums = Sums { amount: 1, billed_amount: 1, amount_reporting: 1, quantity: 5 };
            existing.push((key(pool, Some("acme"), Basis::Billed, Method::Weighted), Existing::from(sums)));
        }
        causes.compare(&wanted, &ByKey::existing(existing));
        causes
    }

    fn check(causes: &Causes, key: EntryKey, amounts: (i128, i128, i128), expected: Cause) {
        let (amount, amount_reporting, quantity) = amounts;
        let says = Desired { amount, amount_reporting, quantity: Some(quantity), ..Desired::default() };
        let difference = Difference { key, existed: true, says };
        assert_eq!(causes.of(&difference), expected, "{difference:?}");
    }

    #[test]
    fn each_difference_names_the_change_that_explains_it() {
        let acme = |pool, basis, method| key(pool, Some("acme"), basis, method);
        let shared = |pool| acme(pool, Basis::Billed, Method::Weighted);
        let day = causes(ALL, &["bill", "llm"]);
        check(&day, shared("bill"), (1, 1, 0), Cause::BillRestated);
        check(&day, shared("same"), (1, 1, 1), Cause::LateUsage);
        check(&day, shared("same"), (0, 1, 0), Cause::Fx);
        check(&day, acme("llm", Basis::Rated, Method::Rated), (1, 1, 0), Cause::NewRates);
        check(&day, acme("llm", Basis::Rated, Method::Rated), (1, 1, 3), Cause::LateUsage);
        check(&day, key("llm", None, Basis::Rated, Method::Rated), (1, 1, 0), Cause::BillRestated);
        check(&day, acme("bill", Basis::Billed, Method::Rated), (1, 1, 0), Cause::BillRestated);
        check(&day, acme("same", Basis::Billed, Method::Rated), (1, 1, 0), Cause::NewRates);
        check(&day, shared("new"), (1, 1, 0), Cause::First);
    }

    #[test]
    fn what_did_not_change_is_no_cause() {
        let only = |changed| causes(changed, &["bill"]);
        let entry = || key("bill", Some("acme"), Basis::Billed, Method::Weighted);
        check(&only(Changed { tenants: true, ..Changed::default() }), entry(), (1, 1, 0), Cause::TenantFacts);
        check(&only(Changed { usage: true, ..Changed::default() }), entry(), (1, 1, 0), Cause::LateUsage);
        check(&only(Changed { policy: true, ..ALL }), entry(), (1, 1, 0), Cause::NewPolicy);
        let direct = || key("bill", Some("acme"), Basis::Billed, Method::Direct);
        check(
            &only(Changed { usage: true, tenants: true, ..Changed::default() }),
            direct(),
            (1, 1, 0),
            Cause::TenantFacts,
        );
        check(&only(Changed { usage: true, ..Changed::default() }), direct(), (1, 1, 0), Cause::BillRestated);
        let never_run = Causes { changed: None, ..only(ALL) };
        check(&never_run, entry(), (1, 1, 0), Cause::First);
    }

    #[test]
    fn a_window_closes_or_is_read_late() {
        let windowed = |status| EntryKey { status, ..key("same", Some("acme"), Basis::Event, Method::Window) };
        let causes_of = |ripened, stands: i128, wanted: i128| {
            let mut found = causes(Changed { events: true, ripened, ..Changed::default() }, &[]);
            let amount = |amount| Desired { amount, ..Desired::default() };
            let sums = Sums { amount: stands, ..Sums::default() };
            let existing = ByKey::existing(vec![(windowed(Status::Pending), Existing::from(sums))]);
            found.compare_pending(&ByKey::desired(vec![(windowed(Status::Pending), amount(wanted))]), &existing);
            found
        };
        check(&causes_of(true, 5, 0), windowed(Status::Pending), (-5, -5, 0), Cause::WindowClosed);
        check(&causes_of(true, 5, 0), windowed(Status::Final), (5, 5, 0), Cause::WindowClosed);
        check(&causes_of(true, 0, 0), windowed(Status::Final), (1, 1, 0), Cause::LateUsage);
        check(&causes_of(false, 5, 5), windowed(Status::Pending), (1, 1, 0), Cause::LateUsage);
        let follower = key("same", Some("acme"), Basis::Billed, Method::ByCost);
        check(&causes_of(false, 5, 5), follower, (1, 1, 0), Cause::LateUsage);
    }

    #[test]
    fn another_policy_is_the_cause_only_where_it_can_be() {
        let policy = |usage| Changed { policy: true, usage, ..Changed::default() };
        let same = || key("same", Some("acme"), Basis::Billed, Method::Weighted);
        let shared = || key("rest", Some("acme"), Basis::Billed, Method::Weighted);
        check(&causes(policy(true), &["rest"]), same(), (1, 1, 1), Cause::LateUsage);
        check(&causes(policy(false), &["rest"]), same(), (1, 1, 1), Cause::NewPolicy);
        // Another pool took its lines.
        check(&causes(policy(true), &["rest"]), shared(), (1, 1, 0), Cause::NewPolicy);
    }

    #[test]
    fn pools_are_redefined_by_their_own_rule_their_metric_and_what_they_follow() {
        let read = |head: &str, pools: &str| {
            Policy::read("p", &format!("version='v'\nvalid_from=2026-01-01\n{head}{pools}")).unwrap()
        };
        let pools = |method: &str| {
            format!(
                "[[pool]]\nname='a'\nselect={{provider='A'}}\nsplit={{method='{method}'}}\n\
                 [[pool]]\nname='b'\nselect={{provider='B'}}\ncost_metric='billed'\nsplit={{method='direct'}}\n\
                 [[pool]]\nname='tax'\nselect={{}}\nsplit={{method='by_cost',of=['a']}}\n\
                 [[pool]]\nname='rest'\nselect={{}}\nsplit={{method='by_cost',of=['b']}}"
            )
        };
        let before = read("", &pools("even"));
        let names = |now: &Policy| match Redefined::between(Some(&before), now) {
            Redefined::All => vec!["all".to_owned()],
            Redefined::Only(pools) => pools.into_iter().collect::<Vec<_>>(),
        };
        assert_eq!(names(&before), [] as [&str; 0]);
        assert_eq!(names(&read("", &pools("direct"))), ["a", "tax", UNATTRIBUTED_POOL]);
        assert_eq!(names(&read("cost_metric='list'\n", &pools("even"))), ["a", "rest", "tax", UNATTRIBUTED_POOL]);
        assert_eq!(names(&read("[[tenant_rule]]\ntenant='{sub_account}'\n", &pools("even"))), ["all"]);
        assert!(matches!(Redefined::between(None, &before), Redefined::All));
    }
}
