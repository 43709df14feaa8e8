//! What the ledger should say, and how that differs from what it says.

use super::causes::{Causes, Redefined, WindowChange};
use super::degraded::DegradedDays;
use super::existing;
use super::gaps::{self, DriverDays};
use super::materiality::PendingCorrection;
use super::month::MonthUsage;
use super::view::RunWarning;
use crate::books::Books;
use crate::due::{SeenInputs, TouchedDays, ranges_of};
use crate::inputs::windows::{Around, WindowEvents, has_windows, reach};
use crate::inputs::{lines, repeated, usage};
use crate::{Engine, EngineError};
use attribution::cells::Consumer;
use attribution::day::{DayInputs, DayOutcome, Finding, PoolOutcome, attribute_day};
use attribution::expand::{expand, expand_with_findings};
use attribution::graduated::MonthSoFar;
use attribution::line::AttributeSet;
use attribution::share::Share;
use attribution::window::{WindowPool, WindowSummary};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use domain::condition::UsageAttribute;
use domain::dimension::{Dimension, Dimensions, labels_key};
use domain::meter::Category;
use domain::policy::{Method, Policy, Pool, Tier};
use domain::{Day, DayRange, Instant};
use ledger::{
    ByKey, Desired, EntryKey, Existing, Line, Measures, Periods, PoolDay, PoolOfDay, PoolState, Status, Totals,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::catalog::PendingCorrectionRow;
use storage::lake::{PinnedLake, Table};

/// Everything that a run found out about its days.
pub(super) struct Computed {
    /// The inputs.
    pub(super) pinned: PinnedLake,
    pub(super) books: Books,
    /// What the last run of each day saw.
    before: BTreeMap<Day, SeenInputs>,
    /// Which days commits touched.
    touched: Arc<TouchedDays>,
    /// When the run began.
    begun: Instant,
    /// Which months are closed in the pinned ledger.
    pub(super) periods: Periods,
    /// What must be posted.
    pub(super) lines: Vec<Line>,
    /// What went into the pools of days that differ.
    pub(super) pool_days: Vec<PoolDay>,
    /// What each day saw.
    pub(super) seen: BTreeMap<Day, SeenInputs>,
    /// Pools that were not run, and why.
    pub(super) not_run: BTreeMap<(Day, String), String>,
    /// What a person should know.
    pub(super) warnings: BTreeSet<RunWarning>,
    /// Pools that any of the days has or had.
    pub(super) pools: BTreeSet<String>,
    /// Tenants that rules yielded and nobody knew.
    pub(super) new_tenants: BTreeSet<Arc<str>>,
    /// What of closed months is too small to be corrected, by day and pool.
    pub(super) pending: Vec<PendingCorrection>,
    /// What was noted of other days when that was decided.
    pub(super) noted_elsewhere: Vec<PendingCorrectionRow>,
    /// Versions that the differences rest on, with the hashes of their texts.
    pub(super) policies: BTreeSet<(Arc<str>, Arc<str>)>,
    pub(super) cards: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Whose usage drove which pool on the days before, once a pool of the run is divided by usage.
    drivers: Option<DriverDays>,
}

impl Computed {
    /// Returns nothing found out yet about these inputs.
    pub(super) fn new(
        pinned: PinnedLake,
        books: Books,
        before: BTreeMap<Day, SeenInputs>,
        touched: Arc<TouchedDays>,
        begun: Instant,
        periods: Periods,
    ) -> Self {
        Self {
            pinned,
            books,
            before,
            touched,
            begun,
            periods,
            lines: Vec::new(),
            pool_days: Vec::new(),
            seen: BTreeMap::new(),
            not_run: BTreeMap::new(),
            warnings: BTreeSet::new(),
            pools: BTreeSet::new(),
            new_tenants: BTreeSet::new(),
            pending: Vec::new(),
            noted_elsewhere: Vec::new(),
            policies: BTreeSet::new(),
            cards: BTreeSet::new(),
            drivers: None,
        }
    }
}

impl Computed {
    /// Lists the days after the run that late usage of it prices anew: graduated prices go by the month's quantity.
    pub(super) fn note_days_left(&mut self, range: DayRange, today: Day) {
        let last = range.to().month().last_day().min(today.plus(-1));
        let Some(left) = DayRange::new(range.to().plus(1), last) else { return };
        let first = range.from().max(range.to().month().first_day());
        let late = DayRange::new(first, range.to()).into_iter().flat_map(|days| days.days()).filter(|day| {
            let before = self.before.get(day);
            self.books.card_on(*day).content.has_tiers()
                && before.is_some_and(|before| self.touched.usage_since(*day, before))
        });
        let Some(late) = late.max() else { return };
        let moved = left.days().filter(|day| self.touched.has_usage(*day));
        for days in ranges_of(moved, i32::MAX) {
            self.warnings.insert(RunWarning {
                code: "tiers_moved".to_owned(),
                day: Some(late),
                pool: None,
                detail: format!(
                    "usage came late, and graduated prices go by the month's quantity: {} to {} are due too",
                    days.from(),
                    days.to()
                ),
            });
        }
    }
}

/// What a day is computed from, beside the books.
struct Inputs<'i> {
    lines: &'i [attribution::line::LinePart],
    usage: &'i [attribution::usage::UsageCell],
    windows: &'i BTreeMap<String, WindowPool>,
    month_so_far: &'i MonthSoFar,
}

/// A day's outcome in the ledger's terms.
struct DayDesired {
    desired: Vec<(EntryKey, Desired)>,
    totals: Totals,
    pool_days: Vec<PoolDay>,
    not_run: BTreeMap<String, String>,
}

impl Engine {
    /// Computes some days and adds what differs.
    pub(super) async fn compute_piece(
        &self,
        computed: &mut Computed,
        run: &str,
        piece: DayRange,
        progress: impl Fn(Day),
    ) -> Result<(), EngineError> {
        let session = self.session(&computed.pinned)?;
        let books = computed.books.clone();
        let policies = books.policies_in(piece);
        let attributes = AttributeSet::needed_by(policies.iter().copied());
        let existing = in_ledger(&session, piece);
        let mut lines = lines::load(&session, piece, &self.settings.zone, &attributes).await?;
        let mut cells = usage::load(&session, piece, &books, &policies).await?;
        let used_before = |day: Day| computed.before.get(&day)?.policy_in(&books);
        let earlier = piece.days().filter_map(used_before).map(|version| &*version.content);
        let compared: Vec<&Policy> = policies.iter().copied().chain(earlier).collect();
        let repeated = repeated::first_days(&session, &compared, piece.to()).await?;
        let mut month = MonthUsage::before(&session, piece, &books, &policies).await?;
        if computed.drivers.is_none() && policies.iter().any(|policy| gaps::watches(policy)) {
            computed.drivers = Some(DriverDays::before(&session, piece.from()).await?);
        }
        let degraded = DegradedDays::of_range(&session, piece, &policies).await?;
        let events = WindowEvents::load(self, &session, piece, &books, &policies).await?;
        let mut existing =
            existing.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        for day in piece.days() {
            let version = books.policy_on(day);
            let values = repeated.up_to(day, &books.tenants);
            let (policy, not_made) = expand_with_findings(&version.content, &values);
            note_findings(computed, day, &not_made);
            let (parts, usage) = (lines.days.remove(&day).unwrap_or_default(), cells.remove(&day).unwrap_or_default());
            let around = self.around(computed, &books);
            let windows = events.of_day(day, &policy, &around);
            let month_so_far = month.up_to(day, &policy, &books);
            let inputs = Inputs { lines: &parts, usage: &usage, windows: &windows, month_so_far };
            let outcome = self.attribute(day, &books, &policy, &inputs, &mut computed.new_tenants);
            month.keep(day, &usage);
            let seen = inputs_json(computed, lines.imports.get(&day), day);
            let wanted = self.in_ledger_terms(run, day, &policy, &books, &outcome, &seen);
            note_findings(computed, day, &outcome.findings);
            let gaps = computed.drivers.as_mut().map(|drivers| drivers.gaps(day, &outcome.pools));
            computed.warnings.extend(gaps.into_iter().flatten());
            computed.warnings.extend(degraded.gaps(day, &policy, &outcome.pools, &books.tenants));
            computed.pools.extend(policy.pools.iter().map(|pool| pool.name.clone()));
            computed.pools.extend(outcome.pools.iter().map(|pool| pool.name.clone()));
            let now = SeenInputs::of_day(day, &books, &computed.pinned).with_windows(&outcome.pools);
            let before = computed.before.get(&day);
            let earlier = before.and_then(|before| before.policy_in(&books));
            let earlier = earlier.map(|version| expand(&version.content, &values));
            let redefined = Redefined::between(earlier.as_ref(), &policy);
            let card = &books.card_on(day).content;
            let change = before.map(|before| self.window_change(computed, day, &policy, before)).unwrap_or_default();
            let causes = Causes::of_day(day, before, &now, &computed.touched, card, redefined, change);
            computed.seen.insert(day, now);
            add_differences(computed, day, wanted, existing.remove(&day).unwrap_or_default(), causes);
            progress(day);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn around<'a>(&'a self, computed: &'a Computed, books: &'a Books) -> Around<'a> {
        Around { books, settings: &self.settings, now: computed.begun, expired: computed.touched.expired() }
    }

    fn window_change(&self, computed: &Computed, day: Day, policy: &Policy, before: &SeenInputs) -> WindowChange {
        let reach = reach(policy, day, &self.settings);
        let events = reach.is_some_and(|days| computed.touched.events_since(days, before));
        WindowChange { events, ripened: before.has_ripened(computed.begun) }
    }

    fn attribute(
        &self,
        day: Day,
        books: &Books,
        policy: &Policy,
        inputs: &Inputs<'_>,
        new_tenants: &mut BTreeSet<Arc<str>>,
    ) -> DayOutcome {
        let found = RefCell::new(BTreeSet::new());
        let resolve = |value: &str| {
            let tenant = books.tenants.resolve(value, day);
            if !books.tenants.knows(&tenant) {
                if self.settings.reject_unknown_tenants {
                    return None;
                }
                found.borrow_mut().insert(Arc::clone(&tenant));
            }
            Some(tenant)
        };
        let active: BTreeSet<Arc<str>> = books.tenants.entered_and_active(day).cloned().collect();
        let outcome = attribute_day(&DayInputs {
            day,
            day_seconds: self.settings.zone.day_range(day).seconds(),
            policy,
            lines: inputs.lines,
            usage: inputs.usage,
            windows: inputs.windows,
            active_tenants: &active,
            rate_card: Some(&*books.card_on(day).content),
            month_so_far: inputs.month_so_far,
            meters: &books.meters,
            reporting_currency: self.settings.reporting_currency,
            fx: &books.fx,
            resolve: &resolve,
        });
        new_tenants.extend(found.into_inner());
        outcome
    }

    fn in_ledger_terms(
        &self,
        run: &str,
        day: Day,
        policy: &Policy,
        books: &Books,
        outcome: &DayOutcome,
        inputs: &Arc<str>,
    ) -> DayDesired {
        let mut wanted =
            DayDesired { desired: Vec::new(), totals: Totals::new(), pool_days: Vec::new(), not_run: BTreeMap::new() };
        let policy_version = &books.policy_on(day).name;
        let card_version = &books.card_on(day).name;
        for pool in &outcome.pools {
            let rule = policy.pools.iter().find(|rule| rule.name == pool.name);
            let name: Arc<str> = pool.name.as_str().into();
            let rows = pool_days_of(run, day, pool, &name, inputs, self.settings.reporting_currency);
            wanted.pool_days.extend(rows);
            if let Some(not_run) = &pool.not_run {
                wanted.not_run.insert(pool.name.clone(), format!("{}: {}", not_run.code, not_run.detail));
                continue;
            }
            for entry in &pool.components {
                let what = PoolOfDay { charge_date: day, pool: Arc::clone(&name), currency: entry.key.currency };
                let measures = Measures {
                    amount: entry.amounts.amount,
                    billed_amount: entry.amounts.billed,
                    amount_reporting: entry.reporting,
                };
                let total = wanted.totals.entry(what).or_default();
                *total = total.plus(measures);
            }
            let mut keys = KeyMaker::new(day, pool, rule, &name);
            for share in pool.shares.iter().filter(|share| says_something(share)) {
                let component = pool.components.iter().find(|entry| entry.key == share.component);
                let fx = component.and_then(|entry| entry.fx);
                let desired = Desired {
                    amount: share.amount,
                    billed_amount: share.billed,
                    amount_reporting: share.reporting,
                    quantity: share.quantity,
                    unit: share.unit.clone(),
                    unit_price: share.unit_price,
                    weight: share.weight,
                    pool_amount: Some(share.pool_amount),
                    reason: share.reason.map(Into::into),
                    policy_version: Some(Arc::clone(policy_version)),
                    rate_card_version: is_priced(pool, rule).then(|| Arc::clone(card_version)),
                    fx_rate: fx.map(|fx| fx.rate.atoms()),
                    fx_date: fx.map(|fx| fx.date),
                };
                wanted.desired.push((keys.key_of(share), desired));
            }
        }
        wanted
    }
}

/// What the ledger says of the days, read while their inputs are.
fn in_ledger(
    session: &SessionContext,
    piece: DayRange,
) -> SpawnedTask<Result<BTreeMap<Day, ByKey<Existing>>, EngineError>> {
    let session = session.clone();
    SpawnedTask::spawn(async move { Ok(existing::load(&session, piece).await?.by_day().collect()) })
}

/// Whether the pool's amounts come from the rate card.
fn is_priced(pool: &PoolOutcome, rule: Option<&Pool>) -> bool {
    let source = rule.and_then(|rule| rule.source.as_ref());
    pool.method == Method::Rated || source.is_some_and(|source| source.meter.is_some())
}

fn says_something(share: &Share) -> bool {
    share.amount != 0
        || share.billed != 0
        || share.reporting != 0
        || share.quantity.is_some_and(|quantity| quantity != 0)
}

/// What the keys of a pool's shares have in common.
struct KeyMaker<'p> {
    day: Day,
    pool: &'p PoolOutcome,
    name: &'p Arc<str>,
    by: &'p [Dimension],
    cluster: Option<Arc<str>>,
    no_labels: Arc<str>,
    categories: BTreeMap<Category, Arc<str>>,
}

impl<'p> KeyMaker<'p> {
    fn new(day: Day, pool: &'p PoolOutcome, rule: Option<&'p Pool>, name: &'p Arc<str>) -> Self {
        let none = BTreeMap::<Arc<str>, Arc<str>>::new();
        Self {
            day,
            pool,
            name,
            by: rule.map_or(&[][..], Pool::by),
            cluster: rule.and_then(own_cluster),
            no_labels: labels_key(&none).into(),
            categories: BTreeMap::new(),
        }
    }

    fn key_of(&mut self, share: &Share) -> EntryKey {
        let mut placed = Dimensions { labels: share.labels.clone(), ..Dimensions::default() };
        let consumer = match &share.consumer {
            Consumer::Reserved(word) => (*word).into(),
            Consumer::Values(values) => {
                for (dimension, value) in self.by.iter().zip(values).filter(|(_, value)| value.is_some()) {
                    placed.set(dimension, value.clone());
                }
                if placed.get(&Dimension::Cluster).is_none() {
                    placed.set(&Dimension::Cluster, self.cluster.clone());
                }
                ledger::consumer(values)
            }
        };
        let labels_key = match placed.labels.is_empty() {
            true => Arc::clone(&self.no_labels),
            false => labels_key(&placed.labels).into(),
        };
        let category = self.categories.entry(share.category).or_insert_with(|| share.category.as_str().into());
        let [tenant, user, workflow, repo, task_class, cluster] = placed.plain;
        EntryKey {
            charge_date: self.day,
            tier: if share.overhead { Tier::Overhead } else { self.pool.tier },
            basis: self.pool.basis,
            memo: self.pool.memo,
            status: if share.pending { Status::Pending } else { Status::Final },
            charge_category: share.component.charge_category.clone(),
            pool: Arc::clone(self.name),
            method: Some(self.pool.method),
            consumer,
            tenant,
            user,
            workflow,
            repo,
            task_class,
            cluster,
            labels_key,
            provider: share.component.provider.clone(),
            service: share.component.service.clone(),
            source: share.component.source.clone(),
            commitment_status: share.component.commitment_status.clone(),
            invoice_id: share.component.invoice_id.clone(),
            category: Some(Arc::clone(category)),
            meter: share.meter.clone(),
            currency: share.component.currency,
        }
    }
}

/// The one cluster that a pool reads usage of, if its conditions name exactly one.
fn own_cluster(pool: &Pool) -> Option<Arc<str>> {
    let drivers = &pool.split.as_ref()?.drivers;
    let cluster = UsageAttribute::Dimension(Dimension::Cluster);
    drivers.tests().find(|(attribute, _)| *attribute == cluster).and_then(|(_, patterns)| match patterns.as_slice() {
        [only] if !only.as_str().contains('*') => Some(only.as_str().into()),
        _ => None,
    })
}

fn pool_days_of(
    run: &str,
    day: Day,
    pool: &PoolOutcome,
    name: &Arc<str>,
    inputs: &Arc<str>,
    reporting: domain::Currency,
) -> Vec<PoolDay> {
    let state = pool.not_run.as_ref().map_or(PoolState::Run, |not_run| PoolState::NotRun(not_run.code.into()));
    let blank = PoolDay {
        run: run.into(),
        charge_date: day,
        pool: Arc::clone(name),
        tier: pool.tier,
        basis: pool.basis,
        memo: pool.memo,
        method: pool.method,
        state: state.clone(),
        charge_category: None,
        service: None,
        provider: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        amount: 0,
        billed_amount: 0,
        currency: reporting,
        amount_reporting: pool.not_run.is_none().then_some(0),
        fx_rate: None,
        fx_date: None,
        lines: 0,
        inputs: pool.window.map_or_else(|| Arc::clone(inputs), |window| with_window(inputs, window)),
    };
    if pool.components.is_empty() {
        return vec![blank];
    }
    let row = |entry: &attribution::day::PoolComponent| PoolDay {
        charge_category: entry.key.charge_category.clone(),
        service: entry.key.service.clone(),
        provider: entry.key.provider.clone(),
        source: entry.key.source.clone(),
        commitment_status: entry.key.commitment_status.clone(),
        invoice_id: entry.key.invoice_id.clone(),
        amount: entry.amounts.amount,
        billed_amount: entry.amounts.billed,
        currency: entry.key.currency,
        amount_reporting: pool.not_run.is_none().then_some(entry.reporting),
        fx_rate: entry.fx.map(|fx| fx.rate.atoms()),
        fx_date: entry.fx.map(|fx| fx.date),
        lines: i64::try_from(entry.lines).unwrap_or(i64::MAX),
        ..blank.clone()
    };
    pool.components.iter().map(row).collect()
}

/// What a day was computed from: versions and content hashes, for proof and explain.
fn inputs_json(computed: &Computed, imports: Option<&BTreeSet<Arc<str>>>, day: Day) -> Arc<str> {
    let Computed { pinned, books, touched, .. } = computed;
    let import = |id: &Arc<str>| serde_json::json!({ "id": &**id, "sha256": touched.content(id) });
    let (policy, card) = (books.policy_on(day), books.card_on(day));
    let events = has_windows(&policy.content).then(|| pinned.table(Table::UsageEvents));
    let mut read = serde_json::json!({
        "imports": imports.into_iter().flatten().map(import).collect::<Vec<_>>(),
        "cost_lines": pinned.table(Table::CostLines).version(),
        "usage": pinned.table(Table::Usage).version(),
        // Each log entry holds the hash of the one before: this one stands for all of them.
        "usage_sha256": pinned.table(Table::Usage).log_head().sha256,
        "snapshots": pinned.table(Table::Snapshots).version(),
        "snapshots_sha256": pinned.table(Table::Snapshots).log_head().sha256,
        "policy_version": &*policy.name,
        "policy_sha256": &*policy.sha256,
        "rate_card_version": &*card.name,
        "rate_card_sha256": &*card.sha256,
    });
    if let Some(events) = events {
        read["usage_events"] = events.version().into();
        read["usage_events_sha256"] = events.log_head().sha256.into();
    }
    read.to_string().into()
}

/// The same with what the windows of the pool looked like.
fn with_window(inputs: &str, window: WindowSummary) -> Arc<str> {
    let mut read: serde_json::Value = serde_json::from_str(inputs).expect("a run notes its inputs as JSON");
    read["window"] = serde_json::json!({
        "cost_events": window.cost_events,
        "pending": window.pending,
        "unconsumed": window.unconsumed,
        "reads": window.reads,
    });
    read.to_string().into()
}

fn note_findings(computed: &mut Computed, day: Day, findings: &[Finding]) {
    for finding in findings {
        computed.warnings.insert(RunWarning {
            code: finding.code.to_owned(),
            day: Some(day),
            pool: Some(finding.pool.clone()),
            detail: finding.detail.clone(),
        });
    }
}

/// Adds what differs on a day. Pools that were not run are left out on all sides, so they keep their entries.
fn add_differences(
    computed: &mut Computed,
    day: Day,
    wanted: DayDesired,
    mut existing: ByKey<Existing>,
    mut causes: Causes,
) {
    existing.retain(|key| !wanted.not_run.contains_key(&*key.pool));
    let desired = ByKey::desired(wanted.desired);
    let says = ledger::totals_of(desired.iter().map(|(key, desired)| (key, desired.sums())));
    let balance = ledger::check_totals(&wanted.totals, &says);
    assert!(balance.is_ok(), "a day must conserve cost: {}", balance.expect_err("not ok"));
    let policy = computed.books.policy_on(day);
    for (pool, detail) in &wanted.not_run {
        let (code, detail) = detail.split_once(": ").unwrap_or((detail, ""));
        computed.warnings.insert(RunWarning {
            code: code.to_owned(),
            day: Some(day),
            pool: Some(pool.clone()),
            detail: detail.to_owned(),
        });
        computed.not_run.insert((day, pool.clone()), code.to_owned());
    }
    causes.compare(&wanted.totals, &existing);
    causes.compare_pending(&desired, &existing);
    let posted = computed.lines.len();
    let billing_month = computed.periods.billing_month(day.month());
    computed.lines.extend(ledger::differences(desired, &existing).map(|mut difference| {
        // What is taken back because nothing stands for it any more is taken back by this policy.
        difference.says.policy_version.get_or_insert_with(|| Arc::clone(&policy.name));
        let cause = causes.of(&difference);
        Line { difference, cause, billing_month }
    }));
    let lines = &computed.lines[posted..];
    if lines.is_empty() {
        return;
    }
    computed.pool_days.extend(wanted.pool_days);
    computed.policies.insert((Arc::clone(&policy.name), Arc::clone(&policy.sha256)));
    let rests_on_card = lines.iter().any(|line| line.difference.says.rate_card_version.is_some());
    if rests_on_card {
        let card = computed.books.card_on(day);
        computed.cards.insert((Arc::clone(&card.name), Arc::clone(&card.sha256)));
    }
}
