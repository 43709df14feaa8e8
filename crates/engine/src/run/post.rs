//! Writing one posting, all or nothing.

use super::RunRequest;
use super::compute::Computed;
use super::view::{RunBody, RunStatus, RunWarning};
use crate::{Engine, EngineError};
use domain::{Day, Instant, TenantScope};
use ledger::{EntryKind, Header, Line, Posting, Unsealed};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use storage::catalog::{MetaKey, RuleKind, RunDayRow, RunPoolStateRow, RunRow};
use storage::lake::{Commit, LakeError, Table, ledger_rows, pool_day_rows};

/// Rows written to a data file at once.
const BATCH_ROWS: usize = 8192;
/// Such batches of a posting that are held in memory while its hash is computed.
const BATCHES_HELD: usize = 16;
/// How often a commit to `pool_days` is tried again because another run committed meanwhile.
const POOL_DAYS_ATTEMPTS_MAX: u32 = 20;

/// What a run did.
pub(super) struct Posted {
    posting: Option<i64>,
    entries: i64,
    warnings: Vec<RunWarning>,
    not_run: i64,
}

impl Posted {
    /// What a run that posts nothing tells: how many entries it would have posted.
    pub(super) fn nothing(computed: &Computed) -> Self {
        Self::new(computed, None, computed.lines.len())
    }

    fn new(computed: &Computed, posting: Option<i64>, entries: usize) -> Self {
        Self {
            posting,
            entries: i64::try_from(entries).expect("entries are counted in 32 bits"),
            warnings: computed.warnings.iter().cloned().collect(),
            not_run: i64::try_from(computed.not_run.len()).expect("pools are few"),
        }
    }

    pub(super) fn write_to(&self, row: &mut RunRow) {
        row.status = RunStatus::Succeeded.as_str().to_owned();
        row.posting = self.posting;
        row.entries = self.entries;
        row.warnings = serde_json::to_string(&self.warnings).expect("warnings are JSON");
        row.body = serde_json::to_string(&RunBody { not_run: self.not_run }).expect("a body is JSON");
    }
}

impl Engine {
    /// Posts what differs, and notes what the run saw.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] when somebody else posted since the inputs were pinned: nothing was posted.
    pub(super) async fn post(&self, run: &str, mut computed: Computed) -> Result<Posted, EngineError> {
        let known = self.create_tenants(&computed).await?;
        let posted = match computed.lines.is_empty() {
            true => Posted::nothing(&computed),
            false => {
                self.fix_what_postings_rest_on(&computed).await?;
                let files = self.write_pool_days(run, &computed).await?;
                let lines = std::mem::take(&mut computed.lines);
                match self.write_posting(run, &computed, lines).await {
                    Ok(posting) => Posted::new(&computed, Some(posting.header.posting), posting.entries.len()),
                    Err(EngineError::Lake(conflict @ LakeError::Conflict { .. })) => {
                        self.take_back_pool_days(files).await?;
                        return Err(conflict.into());
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        self.note_days(run, &computed, known).await?;
        Ok(posted)
    }

    /// Creates the tenants that rules yielded; returns when they were recorded, if nothing else was recorded between
    /// what the run saw of tenants and that: what somebody else entered meanwhile was not seen.
    async fn create_tenants(&self, computed: &Computed) -> Result<Option<Instant>, EngineError> {
        if computed.new_tenants.is_empty() {
            return Ok(None);
        }
        let ids: Vec<String> = computed.new_tenants.iter().map(ToString::to_string).collect();
        let created = self.catalog.ensure_tenants(&ids, self.clock.now().micros()).await?;
        let Some(first) = created.first() else { return Ok(None) };
        // They are all recorded at one moment, and nothing else is.
        let facts = self.catalog.facts_of_tenant(&TenantScope::All, first, i64::MAX).await?;
        let Some(recorded_at) = facts.first().map(|fact| fact.recorded_at) else { return Ok(None) };
        let until_then = self.catalog.tenant_book_all_tenants(recorded_at - 1).await?.recorded_up_to();
        let is_all = until_then == computed.books.tenants.recorded_up_to();
        Ok(is_all.then(|| Instant::from_micros(recorded_at)))
    }

    async fn fix_what_postings_rest_on(&self, computed: &Computed) -> Result<(), EngineError> {
        let now = self.clock.now().micros();
        self.catalog.set_meta_once(MetaKey::ReportingCurrency, self.settings.reporting_currency.code()).await?;
        // The built-in versions have no row and never change.
        let published = |versions: &BTreeSet<_>| {
            versions.iter().filter(|(_, sha256): &&(_, Arc<str>)| !sha256.is_empty()).cloned().collect::<Vec<_>>()
        };
        for (kind, versions) in [(RuleKind::Policy, &computed.policies), (RuleKind::RateCard, &computed.cards)] {
            for (version, sha256) in published(versions) {
                self.catalog.mark_rule_used(kind, &version, &sha256, now).await?;
            }
        }
        Ok(())
    }

    /// Commits what went into the pools; it counts only once a posting names the run.
    async fn write_pool_days(&self, run: &str, computed: &Computed) -> Result<Vec<String>, EngineError> {
        let mut writer = self.lake.partitioned(Table::PoolDays);
        for rows in computed.pool_days.chunks(BATCH_ROWS) {
            writer.write(&pool_day_rows::to_batch(rows)?).await?;
        }
        let adds = writer.finish().await?;
        let paths = adds.iter().map(|file| file.path.clone()).collect();
        let metadata = serde_json::json!({ "run": run });
        for _ in 1..POOL_DAYS_ATTEMPTS_MAX {
            let pinned = self.lake.pin_table(Table::PoolDays).await?;
            let mut commit = Commit::new(self.clock.now(), "pool_days");
            commit.adds.clone_from(&adds);
            commit.metadata.clone_from(&metadata);
            match self.lake.commit(&pinned, commit).await {
                Err(LakeError::Conflict { .. }) => {}
                done => return done.map(|_| paths).map_err(Into::into),
            }
        }
        Err(EngineError::RunInProgress { run: run.to_owned(), range: "the same tables".to_owned() })
    }

    /// Removes the pool days of an attempt that did not post: the next attempt has the same run.
    async fn take_back_pool_days(&self, paths: Vec<String>) -> Result<(), EngineError> {
        for _ in 1..POOL_DAYS_ATTEMPTS_MAX {
            let pinned = self.lake.pin_table(Table::PoolDays).await?;
            let mut commit = Commit::new(self.clock.now(), "pool_days");
            commit.removes.clone_from(&paths);
            match self.lake.commit(&pinned, commit).await {
                Err(LakeError::Conflict { .. }) => {}
                done => return done.map(drop).map_err(Into::into),
            }
        }
        Ok(())
    }

    /// Commits the entries as the version after the pinned one, or not at all.
    async fn write_posting(&self, run: &str, computed: &Computed, lines: Vec<Line>) -> Result<Posting, EngineError> {
        let pinned = computed.pinned.table(Table::Ledger);
        let end = self.ledger_end(pinned).await?;
        let header = Header::after(&end.head, self.clock.now(), Some(run.into()));
        let unsealed = Arc::new(Unsealed::new(header, EntryKind::Cost, lines));
        let hashing = tokio::task::spawn_blocking({
            let unsealed = Arc::clone(&unsealed);
            move || unsealed.hash()
        });
        // Rows are made while the entries are hashed, as many as may be held beside them.
        let mut chunks = unsealed.entries().chunks(BATCH_ROWS);
        let ready = chunks.by_ref().take(BATCHES_HELD).map(ledger_rows::to_batch).collect::<Result<Vec<_>, _>>()?;
        let hash = hashing.await.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        let mut writer = self.lake.partitioned(Table::Ledger);
        for batch in ready.into_iter().map(Ok).chain(chunks.map(ledger_rows::to_batch)) {
            writer.write(&ledger_rows::with_hash(batch?, hash)?).await?;
        }
        let posting = Arc::into_inner(unsealed).expect("the hashing is over").sealed(hash);
        let files = writer.finish().await?;
        self.commit_posting(pinned, &posting, end.periods, files, versions_of(computed)).await?;
        Ok(posting)
    }

    async fn note_days(&self, run: &str, computed: &Computed, known: Option<Instant>) -> Result<(), EngineError> {
        let updated_at = self.clock.now().micros();
        let mut days = Vec::with_capacity(computed.seen.len());
        for (day, seen) in &computed.seen {
            let mut seen = seen.clone();
            seen.tenants = known.map_or(seen.tenants, |known| known.micros().max(seen.tenants));
            let inputs = serde_json::to_string(&seen).expect("versions are JSON");
            days.push(RunDayRow { day: day.to_string(), run: run.to_owned(), inputs, updated_at });
        }
        let state = |((day, pool), reason): (&(Day, String), &String)| RunPoolStateRow {
            day: day.to_string(),
            pool: pool.clone(),
            run: run.to_owned(),
            state: "not_run".to_owned(),
            reason: Some(reason.clone()),
        };
        let states: Vec<RunPoolStateRow> = computed.not_run.iter().map(state).collect();
        // What is held back is noted first: a day that counts as run is not looked at again.
        self.note_pending(run, computed, updated_at).await?;
        storage::failpoint::hit("run-noted");
        Ok(self.catalog.record_run_days(&days, &states).await?)
    }
}

/// Settles what will be posted and what is told of it; a dry run tells the same.
pub(super) fn settle(computed: &mut Computed, request: &RunRequest) {
    widen(computed, request);
    drop_out_of_bound(computed);
}

/// A run that was asked for some pools posts everything when something else changed too, and says so.
fn widen(computed: &mut Computed, request: &RunRequest) {
    let Some(pools) = &request.pools else { return };
    let asked = |pool: &str| pools.iter().any(|asked| asked == pool);
    let mut others: BTreeMap<Day, BTreeSet<String>> = BTreeMap::new();
    for line in &computed.lines {
        let key = &line.difference.key;
        if !asked(&key.pool) {
            others.entry(key.charge_date).or_default().insert(key.pool.to_string());
        }
    }
    for (day, pools) in others {
        let names: Vec<String> = pools.into_iter().collect();
        let detail = format!("{} changed too and was posted with it", names.join(", "));
        computed.warnings.insert(RunWarning { code: "widened".to_owned(), day: Some(day), pool: None, detail });
    }
}

/// A difference that no row can hold leaves its pool's day as it was.
fn drop_out_of_bound(computed: &mut Computed) {
    let out = |line: &Line| line.is_out_of_bound();
    let pools: BTreeSet<(Day, String)> = computed
        .lines
        .iter()
        .filter(|line| out(line))
        .map(|line| (line.difference.key.charge_date, line.difference.key.pool.to_string()))
        .collect();
    if pools.is_empty() {
        return;
    }
    computed
        .lines
        .retain(|line| !pools.contains(&(line.difference.key.charge_date, line.difference.key.pool.to_string())));
    for row in &mut computed.pool_days {
        if pools.contains(&(row.charge_date, row.pool.to_string())) {
            row.state = ledger::PoolState::NotRun("out_of_bound".into());
        }
    }
    for (day, pool) in pools {
        let detail = "a difference is larger than a row can hold".to_owned();
        computed.warnings.insert(RunWarning {
            code: "out_of_bound".to_owned(),
            day: Some(day),
            pool: Some(pool.clone()),
            detail,
        });
        computed.not_run.insert((day, pool), "out_of_bound".to_owned());
    }
}

/// The versions that a run's posting rests on.
fn versions_of(computed: &Computed) -> Map<String, Value> {
    let names = |versions: &BTreeSet<(Arc<str>, Arc<str>)>| {
        versions.iter().map(|(name, _)| Value::from(name.to_string())).collect::<Vec<_>>()
    };
    let policies = ("policy_versions".to_owned(), names(&computed.policies).into());
    let cards = ("rate_card_versions".to_owned(), names(&computed.cards).into());
    Map::from_iter([policies, cards])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Periods;
    use storage::catalog::NewTenantFact;

    async fn sees(engine: &Engine) -> Computed {
        let watermark = engine.catalog.pin_recorded_at(engine.clock.now().micros()).await.expect("pinned");
        let books = engine.books(watermark).await.expect("books");
        Computed::new(
            engine.lake.pin().await.expect("pinned"),
            books,
            BTreeMap::new(),
            Arc::default(),
            engine.clock.now(),
            Periods::default(),
        )
    }

    #[tokio::test]
    async fn what_somebody_entered_while_a_run_created_tenants_was_not_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let newest = async || engine.catalog.tenant_book_all_tenants(i64::MAX).await.expect("a book").recorded_up_to();

        let mut alone = sees(&engine).await;
        alone.new_tenants.insert("first".into());
        assert_eq!(engine.create_tenants(&alone).await.expect("created"), newest().await);

        let mut raced = sees(&engine).await;
        raced.new_tenants.insert("second".into());
        let put = NewTenantFact { plan: Some("pro".to_owned()), ..NewTenantFact::system("acme") };
        engine.catalog.put_tenant(&put, &[], engine.clock.now().micros()).await.expect("entered");
        assert_eq!(engine.create_tenants(&raced).await.expect("created"), None);
        assert!(newest().await > raced.books.tenants.recorded_up_to());
        assert_eq!(engine.create_tenants(&raced).await.expect("they are there"), None);
    }
}
