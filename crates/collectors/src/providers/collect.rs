//! One collection: which billing periods, one after the other, and what becomes of each.

use super::collector::Task;
use super::error::{Cause, CollectError, Stopped};
use super::exports::{self, ExportWork};
use super::fetch::Fetch;
use super::period::BillingPeriod;
use super::publish::{publish, sources_beside, told_twice};
use super::report::{CollectAsked, CollectReport, PeriodReport};
use super::staged::{Staged, Staging};
use super::state::{self, Cursor};
use super::{Credentials, Entry, Progress, ProviderSource, Providers, ProvidersContext, usage};
use crate::cancel::Cancel;
use crate::sources::{SourceError, Taken, UsagePoint};
use crate::under_way::{ProgressUnit, Told};
use domain::{Day, DayRange, Instant, Zone};
use std::sync::Arc;
use storage::catalog::{ProviderUsageRow, SourcePeriodRow, SourceRow};

/// Billing periods of one collection.
const PERIODS_MAX: usize = 36;
/// How far back a collection may reach, in hours: somewhat more than those periods.
const HOURS_MAX: i64 = 1_130 * 24;
/// Points of usage that are handed over together.
const POINTS_AT_ONCE: usize = 5_000;

/// Letters of `2026-10` in the name of a period, which may name a day.
const MONTH_LETTERS: usize = 7;

/// Collects from a source; the caller holds its turn. The report also says what was stored before it failed.
pub(super) async fn collect(
    providers: &Providers,
    entry: &Entry,
    asked: &CollectAsked,
    (cancel, told): (&Cancel, &Told<'_>),
    report: &mut CollectReport,
) -> Result<(), SourceError> {
    let (context, source) = (&providers.0.context, &entry.source);
    let begun = context.clock.now();
    check_from(asked, begun)?;
    let found = context.catalog.source(&source.name).await?;
    let (cursor, last_success) = (Cursor::of(found.as_ref()), last_success(&found));
    let run = Run { context, entry, asked, cursor, last_success, cancel, told };
    let not_collected = |stopped: Stopped| match stopped {
        Stopped::Failed(error) => SourceError::Collect { source_name: source.name.clone(), error },
        Stopped::Cancelled => SourceError::cancelled(&source.name, cancel),
    };
    if asked.dry_run {
        return run.all(providers, report).await.map_err(not_collected);
    }
    let row = state::begun(source, found, begun);
    context.catalog.put_source(&row).await?;
    let outcome = run.all(providers, report).await;
    let now = context.clock.now();
    providers.0.figures.took(&source.name, now.micros() - begun.micros());
    // Another server may have read the same source meanwhile.
    let mut row = context.catalog.source(&source.name).await?.unwrap_or(row);
    state::stored(&mut row, report, now);
    // Before the cursor is stored: a period that it calls final is not collected again.
    context.catalog.put_source_periods(&said_of_periods(source, report, now)).await?;
    match outcome {
        Ok(()) => state::succeeded(&mut row, report, now),
        // It says nothing of the provider.
        Err(Stopped::Cancelled) => {
            if report.has_stored() {
                context.catalog.put_source(&row).await?;
            }
            return Err(not_collected(Stopped::Cancelled));
        }
        Err(Stopped::Failed(error)) => {
            let (name, cause) = (&source.name, error.cause.as_str());
            providers.0.figures.failed(name, error.cause);
            tracing::warn!(source = name, cause, error = error.detail, "source {name} was not collected to its end");
            state::failed(&mut row, &error.to_string(), now);
            context.catalog.put_source(&row).await?;
            return Err(not_collected(error.into()));
        }
    }
    context.catalog.put_source(&row).await?;
    providers.0.figures.succeeded(&source.name, now);
    for warning in &report.warnings {
        tracing::warn!(source = source.name, warning, "source {}: {warning}", source.name);
    }
    Ok(())
}

/// What the collector says of the bills that it stored. Files say nothing of the kind, and what has no bill needs no word;
/// a period whose quantities could not be stored after its lines keeps the word that it has.
fn said_of_periods(source: &ProviderSource, report: &CollectReport, now: Instant) -> Vec<SourcePeriodRow> {
    let is_bill = |period: &&PeriodReport| period.lines > 0 && !period.account.is_empty() && period.through.is_some();
    let bills = report.periods.iter().filter(is_bill);
    let said = bills.filter_map(|period| {
        Some(SourcePeriodRow {
            source: source.name.clone(),
            billing_account: period.account.clone(),
            billing_month: period.period.get(..MONTH_LETTERS)?.to_owned(),
            said_by: "collector".to_owned(),
            state: if period.is_final { "closed" } else { "open" }.to_owned(),
            actor: source.collector.spec().name.to_owned(),
            note: None,
            updated_at: now.micros(),
        })
    });
    said.collect()
}

fn check_from(asked: &CollectAsked, now: Instant) -> Result<(), SourceError> {
    let first = now.plus_micros(-HOURS_MAX * 3600 * domain::time::MICROS_PER_SECOND);
    match asked.from {
        Some(from) if from < first => Err(SourceError::TooFarBack { from, hours_max: HOURS_MAX }),
        _ => Ok(()),
    }
}

fn last_success(row: &Option<SourceRow>) -> Option<Instant> {
    row.as_ref().and_then(|row| row.last_success_at).map(Instant::from_micros)
}

/// What one collection works with.
struct Run<'a> {
    context: &'a ProvidersContext,
    entry: &'a Entry,
    asked: &'a CollectAsked,
    cursor: Cursor,
    last_success: Option<Instant>,
    cancel: &'a Cancel,
    told: &'a Told<'a>,
}

impl Run<'_> {
    /// Collects all that is wanted. What it says holds no credential.
    async fn all(&self, providers: &Providers, report: &mut CollectReport) -> Result<(), Stopped> {
        let source = &self.entry.source;
        let credentials = source.credentials.read(source.collector.spec().credentials).await?;
        let progress = self.entry.working();
        let done = self.all_with(&credentials, &progress, providers, report).await;
        for warning in &mut report.warnings {
            *warning = credentials.scrub(warning);
        }
        done.map_err(|stopped| match stopped {
            Stopped::Failed(error) => {
                Stopped::Failed(CollectError { detail: credentials.scrub(&error.detail), ..error })
            }
            Stopped::Cancelled => Stopped::Cancelled,
        })
    }

    /// Collects every billing period that is wanted, the newest first: it matters most, and an old one may be gone.
    async fn all_with(
        &self,
        credentials: &Credentials,
        progress: &Progress<'_>,
        providers: &Providers,
        report: &mut CollectReport,
    ) -> Result<(), Stopped> {
        let source = &self.entry.source;
        if let Some(export) = source.collector.export() {
            let say = |text: String| progress.say(text);
            let work = ExportWork {
                context: self.context,
                source: &source.name,
                export,
                credentials,
                options: &source.options,
                asked: self.asked,
                known: &self.cursor.versions,
                total: source.total,
                settle: source.settle,
                say: &say,
                cancel: self.cancel,
                told: self.told,
            };
            return exports::collect(&work, report).await;
        }
        let (spec, options) = (source.collector.spec(), source.options.clone());
        let fetch = Fetch::new(spec, options, credentials.clone(), Arc::clone(&self.context.clock))?;
        let now = self.context.clock.now();
        let periods = self.cancel.unless(self.periods(&fetch, now)).await.ok_or(Stopped::Cancelled)??;
        let mut days = Days { total: periods.iter().map(days_of).sum(), before: 0 };
        for period in &periods {
            progress.say(format!("collecting {}", period.name()));
            let done = self.one(&fetch, period, days, report).await;
            days.before += days_of(period);
            match done {
                Ok(()) => self.warn_of_others(providers, report).await?,
                // What the provider has forgotten stays as it was when it was known.
                Err(Stopped::Failed(CollectError { cause: Cause::NotFound, detail, .. }))
                    if period.is_over() && !self.asked.dry_run =>
                {
                    providers.0.figures.failed(&source.name, Cause::NotFound);
                    report.warnings.push(format!("{}: {detail}; what is stored stays", period.name()));
                    // Its last days settle after its end, and nobody else hands them over.
                    report.taken.add(self.offer(period, false, now).await?);
                }
                Err(stopped) => return Err(stopped),
            }
        }
        Ok(())
    }

    /// The billing periods to collect: the current one, and those before that are not final yet or were asked for.
    async fn periods(&self, fetch: &Fetch, now: Instant) -> Result<Vec<BillingPeriod>, CollectError> {
        let source = &self.entry.source;
        let spec = source.collector.spec();
        let told = match source.billing_day {
            Some(day) => Some(day),
            None => self.timed(source.collector.billing_day(fetch)).await?,
        };
        let billing_day = told.unwrap_or(1);
        let zone: Zone = spec.zone.parse().expect("a collector names a zone that exists");
        let current = BillingPeriod::containing(zone.day_of(now), billing_day, &zone, now);
        if self.asked.dry_run {
            let one = if current.closed().is_some() { current } else { current.previous(billing_day, now) };
            return Ok(vec![one.inferred(told.is_none())]);
        }
        let mut period = current.previous(billing_day, now);
        // Whoever starts to collect has the period before, too, and no other one, however long periods are corrected.
        let first = final_at(period.range().end, spec.final_after_days).plus_micros(-1);
        let since = self.last_success.unwrap_or(first);
        let mut periods: Vec<BillingPeriod> =
            Some(current).filter(|current| current.closed().is_some()).into_iter().collect();
        for _ in periods.len()..PERIODS_MAX {
            let end = period.range().end;
            let is_recent = match self.asked.from {
                Some(from) => from < end,
                None => since < final_at(end, spec.final_after_days),
            };
            if !is_recent {
                break;
            }
            let before = period.previous(billing_day, now);
            let period = std::mem::replace(&mut period, before);
            // A provider may call a period final while an older one is still open.
            if self.asked.from.is_some() || !self.cursor.is_final(&period.name()) {
                periods.push(period);
            }
        }
        Ok(periods.into_iter().map(|period| period.inferred(told.is_none())).collect())
    }

    /// Collects one billing period; what it says is complete and valid before any of it is stored, and what begins to be
    /// stored is stored as a whole.
    async fn one(
        &self,
        fetch: &Fetch,
        period: &BillingPeriod,
        days: Days,
        report: &mut CollectReport,
    ) -> Result<(), Stopped> {
        let source = &self.entry.source;
        let spec = source.collector.spec();
        let gathered = self.cancel.unless(self.timed(self.gather(fetch, period, days))).await;
        let mut staged = gathered.ok_or(Stopped::Cancelled)??;
        if !self.asked.confirm {
            self.check_not_gone(&staged).await?;
        }
        let now = self.context.clock.now();
        report.warnings.append(&mut staged.warnings);
        let is_final = staged.is_final.unwrap_or(final_at(period.range().end, spec.final_after_days) <= now);
        let outcome = PeriodReport {
            period: period.name(),
            account: staged.account.clone(),
            lines: staged.line_count,
            quantities: staged.quantity_count,
            is_final: is_final && period.is_over(),
            through: period.closed_range().map(|range| range.end),
            ..PeriodReport::default()
        };
        if self.asked.dry_run {
            report.periods.push(outcome);
            return Ok(());
        }
        let (account, how, lines) = (&staged.account, (self.asked.confirm, self.cancel), staged.lines.take());
        let imported = publish(self.context, &source.name, account, period, lines, how).await?;
        let unchanged = imported.as_ref().is_none_or(|import| import.unchanged);
        let (import_id, totals) = imported.map(|import| (import.import_id, import.totals)).unzip();
        let outcome = PeriodReport { unchanged, import_id, totals: totals.unwrap_or_default(), ..outcome };
        // The lines are stored. Until the quantities are, too, the period is read again, whatever it says of itself.
        report.periods.push(PeriodReport { is_final: false, through: None, ..outcome.clone() });
        self.replace_usage(&staged).await?;
        report.taken.add(self.offer(period, outcome.is_final, now).await?);
        report.periods.pop();
        report.periods.push(outcome);
        Ok(())
    }

    /// Reads a billing period to its end. What was read waits on disk, so that an account may be larger than memory.
    async fn gather(&self, fetch: &Fetch, period: &BillingPeriod, days: Days) -> Result<Staged, CollectError> {
        let source = &self.entry.source;
        let known_usage = match source.collector.looks_back() {
            true => usage::from_rows(&self.known(period.days()).await?),
            false => Vec::new(),
        };
        let mut task = Task { period: period.clone(), from: period.days().from(), known_usage };
        let mut staging = Staging::new(self.context, &source.name, source.collector.spec(), period)?;
        loop {
            let read = task.from.epoch_days() - period.days().from().epoch_days();
            self.told.reached(days.before + u64::from(read.unsigned_abs()), days.total, ProgressUnit::Day).await;
            let collected = source.collector.collect(fetch, &task).await?;
            match staging.add(collected, task.from, self.context.clock.now()).await? {
                Some(next) => task.from = next,
                None => return staging.finish().await,
            }
        }
    }

    /// Refuses an answer without any quantity where some are known.
    async fn check_not_gone(&self, staged: &Staged) -> Result<(), CollectError> {
        if staged.quantity_count > 0 {
            return Ok(());
        }
        for days in &staged.days {
            let (name, from, to) = (&self.entry.source.name, days.from().to_string(), days.to().to_string());
            if let Some(known) = self.context.catalog.any_provider_usage(name, &from, &to).await.map_err(not_kept)? {
                return Err(usage::is_gone(&known));
            }
        }
        Ok(())
    }

    /// Warns if another source has the bill of the period that was just collected, too. A collector of another provider may
    /// use the same name for an account of its own.
    async fn warn_of_others(&self, providers: &Providers, report: &mut CollectReport) -> Result<(), CollectError> {
        let of_period = report.periods.last().filter(|period| !report.dry_run && period.lines > 0);
        let Some(PeriodReport { account, period, .. }) = of_period else { return Ok(()) };
        let source = &self.entry.source;
        let provider = source.collector.spec().provider;
        let is_of_other_provider = |name: &str| {
            let found = providers.0.entries.iter().find(|entry| entry.source.name == name);
            found.is_some_and(|entry| {
                entry.source.collector.export().is_none() && entry.source.collector.spec().provider != provider
            })
        };
        let mut others = sources_beside(self.context, &source.name, account, period).await?;
        others.retain(|name| !is_of_other_provider(name));
        let warnings: Vec<String> =
            others.iter().map(|other| told_twice(&source.name, other, account, period)).collect();
        report.warnings.extend(warnings);
        Ok(())
    }

    async fn known(&self, days: DayRange) -> Result<Vec<ProviderUsageRow>, CollectError> {
        let (from, to) = (days.from().to_string(), days.to().to_string());
        self.context.catalog.provider_usage(Some(&self.entry.source.name), &from, &to).await.map_err(not_kept)
    }

    /// Replaces the quantities a day at a time: each day is whole, and others write in between.
    async fn replace_usage(&self, staged: &Staged) -> Result<(), CollectError> {
        if staged.days.is_empty() {
            return Ok(());
        }
        let (catalog, source) = (&self.context.catalog, &self.entry.source.name);
        let mut quantities = staged.quantities().await?;
        let days: Vec<String> = staged.days.iter().flat_map(DayRange::days).map(|day| day.to_string()).collect();
        for day in days {
            let (rows, rest) = quantities.of_day(day.clone()).await?;
            quantities = rest;
            catalog.replace_provider_usage(source, &day, &rows).await.map_err(not_kept)?;
        }
        Ok(())
    }

    /// Hands over the settled quantities of the period that have a meter; all of them once it is final, because it is not
    /// read any more.
    async fn offer(&self, period: &BillingPeriod, is_final: bool, now: Instant) -> Result<Taken, CollectError> {
        let source = &self.entry.source;
        let mut taken = Taken::default();
        if source.meters.is_empty() {
            return Ok(taken);
        }
        let settled: Day = match is_final {
            true => period.days().to(),
            false => period.zone().day_of(now).plus(-1 - source.collector.spec().final_after_days),
        };
        let mut waiting: Vec<UsagePoint> = Vec::new();
        for day in period.days().days() {
            if settled < day {
                break;
            }
            let rows = self.known(DayRange::single(day)).await?;
            waiting.extend(usage::to_points(&source.name, &rows, &source.meters, period, settled));
            if POINTS_AT_ONCE <= waiting.len() {
                taken.add(self.hand_over(&std::mem::take(&mut waiting)).await?);
            }
        }
        taken.add(self.hand_over(&waiting).await?);
        Ok(taken)
    }

    async fn hand_over(&self, points: &[UsagePoint]) -> Result<Taken, CollectError> {
        let mut taken = Taken::default();
        for points in points.chunks(POINTS_AT_ONCE) {
            let one = self.context.sink.take(points).await;
            taken.add(one.map_err(|error| CollectError::new(Cause::Store, error.to_string()))?);
        }
        Ok(taken)
    }

    /// Lets a collector work for as long as it may.
    async fn timed<T>(&self, work: impl Future<Output = Result<T, CollectError>>) -> Result<T, CollectError> {
        let total = self.entry.source.total;
        let late = |_| CollectError::new(Cause::Timeout, format!("the collection took longer than {total:?}"));
        tokio::time::timeout(total, work).await.map_err(late)?
    }
}

/// Days of all billing periods of a collection, and of those that were read.
#[derive(Clone, Copy)]
struct Days {
    total: u64,
    before: u64,
}

fn days_of(period: &BillingPeriod) -> u64 {
    u64::from(period.days().len().unsigned_abs())
}

fn final_at(end: Instant, final_after_days: i32) -> Instant {
    end.plus_micros(i64::from(final_after_days) * 86_400 * domain::time::MICROS_PER_SECOND)
}

fn not_kept(error: storage::catalog::CatalogError) -> CollectError {
    tracing::error!(?error, "the catalog failed during a collection");
    CollectError::new(Cause::Store, "the catalog failed")
}
