//! A ledger built by hand: postings are sealed and committed as a run would, without a run.

use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Day, DayRange, FixedClock, Instant, TenantId, TenantScope};
use engine::query::{CostQuery, CostTable};
use engine::{Engine, EngineError, Settings};
use ledger::{
    Cause, Desired, Difference, EntryKey, EntryKind, Head, Header, Line, PoolDay, PoolState, Posting, Status,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use storage::catalog::{Catalog, PostingRow};
use storage::lake::{Commit, Lake, Table, ledger_rows, pool_day_rows};

/// What one entry of a test says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Given {
    pub day: Day,
    pub pool: &'static str,
    /// A tenant, a tenant and a user, or a reserved word.
    pub consumer: (&'static str, Option<&'static str>),
    pub workflow: Option<&'static str>,
    pub repo: Option<&'static str>,
    pub task_class: Option<&'static str>,
    pub tier: Tier,
    pub status: Status,
    pub memo: bool,
    pub method: Method,
    pub meter: Option<&'static str>,
    pub category: &'static str,
    pub team: Option<&'static str>,
    pub currency: Currency,
    pub amount: i128,
    pub weight: Option<i128>,
    pub quantity: Option<i128>,
}

/// An entry of a tenant in a pool; tests change what matters to them.
pub fn given(day: &str, pool: &'static str, tenant: &'static str, amount: &str) -> Given {
    Given {
        day: day.parse().expect("a day"),
        pool,
        consumer: (tenant, None),
        workflow: None,
        repo: None,
        task_class: None,
        tier: Tier::Direct,
        status: Status::Final,
        memo: false,
        method: Method::Proportional,
        meter: None,
        category: "other",
        team: None,
        currency: Currency::USD,
        amount: domain::money::parse_atoms(amount).expect("an amount").atoms,
        weight: None,
        quantity: None,
    }
}

pub struct Store {
    pub engine: Engine,
    pub clock: Arc<FixedClock>,
    head: Head,
    settings: Settings,
    folder: tempfile::TempDir,
}

pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

impl Store {
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let start: Instant = "2026-11-20T12:00:00Z".parse().expect("an instant");
        let clock = Arc::new(FixedClock::at(start));
        let lake = Lake::open(&folder.path().join("lake"), start).await.expect("a lake");
        let catalog = Catalog::open(&folder.path().join("catalog.db")).await.expect("a catalog");
        catalog.ensure_tenants(&TENANTS.map(str::to_owned), start.micros()).await.expect("tenants");
        let engine = Engine::new(Arc::new(lake), Arc::new(catalog), clock.clone(), settings.clone());
        Self { engine, clock, head: Head::EMPTY, settings, folder }
    }

    /// Returns the folder of a table.
    pub fn table_folder(&self, table: Table) -> PathBuf {
        self.folder.path().join("lake").join(table.name())
    }

    /// Returns the engine of a process that has read nothing of the store yet.
    pub async fn reopened(&self) -> Engine {
        let lake = Lake::open(&self.folder.path().join("lake"), self.engine.clock().now()).await.expect("a lake");
        let catalog = Arc::new(self.engine.catalog().clone());
        Engine::new(Arc::new(lake), catalog, self.clock.clone(), self.settings.clone())
    }

    /// Posts these entries and what went into their pools: all that the days hold after this posting.
    pub async fn post(&mut self, entries: &[Given], pool_days_after: &[Given]) -> i64 {
        let run = format!("run-{}", self.head.posting + 1);
        let now = self.engine.clock().now();
        let mut by_key: BTreeMap<EntryKey, Given> = BTreeMap::new();
        for entry in entries {
            by_key.entry(key(entry)).and_modify(|known| known.amount += entry.amount).or_insert_with(|| entry.clone());
        }
        let lines = by_key.into_iter().map(|(key, entry)| line(key, &entry)).collect();
        let header = Header::after(&self.head, now, Some(run.as_str().into()));
        let posting = Posting::seal(header, EntryKind::Cost, lines);
        self.commit(Table::PoolDays, &[pool_day_rows::to_batch(&pool_days(&run, pool_days_after)).expect("rows")], now)
            .await;
        let version = self.commit(Table::Ledger, &[ledger_rows::to_batch(&posting.entries).expect("rows")], now).await;
        let days: BTreeSet<String> = entries.iter().map(|entry| entry.day.to_string()).collect();
        self.head = posting.head();
        let row = PostingRow {
            posting: posting.header.posting,
            run: Some(run),
            booked_at: posting.header.booked_at.micros(),
            version: i64::try_from(version).expect("few"),
            entries: i64::try_from(posting.entries.len()).expect("few"),
            hash: posting.hash.to_string(),
            prev_hash: posting.header.prev_hash.to_string(),
            log_sha256: String::new(),
            body: serde_json::json!({ "days": days }).to_string(),
        };
        self.engine.catalog().insert_posting(&row).await.expect("cached");
        posting.header.posting
    }

    async fn commit(&self, table: Table, batches: &[arrow::array::RecordBatch], now: Instant) -> u64 {
        let lake = self.engine.lake();
        let mut writer = lake.partitioned(table);
        for batch in batches {
            writer.write(batch).await.expect("written");
        }
        let mut commit = Commit::new(now, "test");
        commit.adds = writer.finish().await.expect("finished");
        let pinned = lake.pin_table(table).await.expect("pinned");
        lake.commit(&pinned, commit).await.expect("committed").version()
    }

    pub async fn costs(
        &self,
        scope: &TenantScope,
        range: DayRange,
        params: &[(&str, &str)],
    ) -> Result<CostTable, EngineError> {
        let (from, to) = (range.from().to_string(), range.to().to_string());
        let mut all = vec![("from", from.as_str()), ("to", to.as_str())];
        all.extend(params);
        let query = CostQuery::parse(&all, &self.engine.cost_limits())?;
        self.engine.costs(scope, &query).await
    }
}

pub fn only(tenant: &str) -> TenantScope {
    TenantScope::Only([tenant.parse::<TenantId>().expect("an id")].into())
}

pub fn days(from: &str, to: &str) -> DayRange {
    DayRange::new(from.parse().expect("a day"), to.parse().expect("a day")).expect("in order")
}

fn key(entry: &Given) -> EntryKey {
    let (first, user) = entry.consumer;
    let reserved = first.starts_with("__");
    let labels: BTreeMap<&str, &str> = entry.team.iter().map(|team| ("team", *team)).collect();
    EntryKey {
        charge_date: entry.day,
        tier: entry.tier,
        basis: if entry.memo { Basis::Rated } else { Basis::Billed },
        memo: entry.memo,
        status: entry.status,
        charge_category: Some("Usage".into()),
        pool: entry.pool.into(),
        method: Some(entry.method),
        consumer: if reserved { first.into() } else { ledger::consumer(&[Some(first.into()), user.map(Into::into)]) },
        tenant: (!reserved).then(|| first.into()),
        user: user.filter(|_| !reserved).map(Into::into),
        workflow: entry.workflow.map(Into::into),
        repo: entry.repo.map(Into::into),
        task_class: entry.task_class.map(Into::into),
        cluster: None,
        labels_key: domain::dimension::labels_key(&labels).into(),
        provider: None,
        service: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: Some(entry.category.into()),
        meter: entry.meter.map(Into::into),
        currency: entry.currency,
    }
}

fn line(key: EntryKey, entry: &Given) -> Line {
    let says = Desired {
        amount: entry.amount,
        billed_amount: entry.amount,
        amount_reporting: entry.amount,
        quantity: entry.quantity,
        unit: entry.quantity.map(|_| "Units".into()),
        weight: entry.weight,
        policy_version: Some("v1".into()),
        ..Desired::default()
    };
    let billing_month = key.charge_date.month();
    Line { difference: Difference { key, existed: false, says }, cause: Cause::First, billing_month }
}

fn pool_days(run: &str, entries: &[Given]) -> Vec<PoolDay> {
    let mut sums: BTreeMap<(Day, &str, bool, Currency), (i128, Given)> = BTreeMap::new();
    for entry in entries {
        let sum = sums.entry((entry.day, entry.pool, entry.memo, entry.currency)).or_insert((0, entry.clone()));
        sum.0 += entry.amount;
    }
    let row = |((day, pool, memo, currency), (amount, entry)): ((Day, &str, bool, Currency), (i128, Given))| PoolDay {
        run: run.into(),
        charge_date: day,
        pool: pool.into(),
        tier: entry.tier,
        basis: if memo { Basis::Rated } else { Basis::Billed },
        memo,
        method: entry.method,
        state: PoolState::Run,
        charge_category: Some("Usage".into()),
        service: None,
        provider: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: None,
        amount,
        billed_amount: amount,
        currency,
        amount_reporting: Some(amount),
        fx_rate: None,
        fx_date: None,
        lines: 0,
        inputs: "{}".into(),
    };
    sums.into_iter().map(row).collect()
}
