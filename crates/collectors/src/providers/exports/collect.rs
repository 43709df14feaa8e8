use super::super::error::{Cause, CollectError, Stopped};
use super::super::fetch::FetchOptions;
use super::super::publish::{not_stored, sources_beside, told_twice};
use super::super::report::{CollectAsked, CollectReport, PeriodReport};
use super::super::{Credentials, ProvidersContext};
use super::ExportSource;
use super::place::Place;
use super::plan::ExportSet;
use crate::cancel::Cancel;
use crate::error::ImportError;
use crate::focus::InputFile;
use crate::import::{self, ImportContext, SpoolRoom, SpooledFile, import_focus_unless};
use crate::under_way::{ProgressUnit, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are listed anew because they changed while they were read.
const ATTEMPTS_MAX: usize = 3;

/// Accounts and billing periods of one set that are looked for in other sources.
const PERIODS_COMPARED_MAX: usize = 20;

/// What reading an export works with.
pub(in crate::providers) struct ExportWork<'a> {
    pub context: &'a ProvidersContext,
    /// Name of the source: that of its cost lines.
    pub source: &'a str,
    pub export: &'a ExportSource,
    pub credentials: &'a Credentials,
    pub options: &'a FetchOptions,
    pub asked: &'a CollectAsked,
    /// What was imported before, by period.
    pub known: &'a BTreeMap<String, String>,
    /// How long one period may take.
    pub total: Duration,
    /// How long files must not have changed that nothing seals.
    pub settle: Duration,
    /// Told how far it is.
    pub say: &'a (dyn Fn(String) + Send + Sync),
    /// Whether it shall end early.
    pub cancel: &'a Cancel,
    /// Told how many periods are read.
    pub told: &'a Told<'a>,
}

/// Imports every period whose files changed. One that fails holds no other up.
///
/// # Errors
/// [`Stopped`] with the error of the first period that failed; the others are in the report.
pub(in crate::providers) async fn collect(work: &ExportWork<'_>, report: &mut CollectReport) -> Result<(), Stopped> {
    let place = work.export.open(work.credentials, work.options)?;
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS_MAX {
        outcome = work.pass(&place, report).await;
        match &outcome {
            Err(Stopped::Failed(error)) if error.cause == Cause::Truncated => {}
            _ => return outcome,
        }
    }
    outcome
}

impl ExportWork<'_> {
    async fn pass(&self, place: &Place, report: &mut CollectReport) -> Result<(), Stopped> {
        let (mut sets, mut failed) = self.plan(place, report).await?;
        if !self.asked.dry_run && !sets.iter().all(|set| self.is_at_rest(set)) {
            (self.say)(format!("waiting {:?} until new files rest", self.settle));
            self.unless_cancelled(tokio::time::sleep(self.settle)).await?;
            let before = sets;
            (sets, failed) = self.plan(place, report).await?;
            let (rested, moving): (Vec<_>, Vec<_>) =
                sets.into_iter().partition(|set| self.is_at_rest(set) || before.contains(set));
            failed = failed.or(moving.first().map(under_way));
            sets = rested;
        }
        // The newest first: it matters most.
        sets.sort_by(|one, other| other.label.cmp(&one.label));
        for (done, set) in sets.iter().enumerate() {
            if self.asked.dry_run {
                report.periods.push(PeriodReport { period: set.label.clone(), ..PeriodReport::default() });
                continue;
            }
            (self.say)(format!("reading {}", set.label));
            self.told.reached(done as u64, sets.len() as u64, ProgressUnit::BillingPeriod).await;
            match self.import(place, set).await {
                Ok((period, mut warnings)) => {
                    report.warnings.append(&mut warnings);
                    report.versions.insert(set.label.clone(), set.version.clone());
                    report.periods.push(period);
                }
                Err(Stopped::Cancelled) => return Err(Stopped::Cancelled),
                Err(Stopped::Failed(error)) => {
                    let detail = format!("{}: {}", set.label, error.detail);
                    failed = failed.or(Some(CollectError { detail, ..error }));
                }
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The sets that were not imported yet, and why there is none of some period.
    async fn plan(
        &self,
        place: &Place,
        report: &CollectReport,
    ) -> Result<(Vec<ExportSet>, Option<CollectError>), Stopped> {
        (self.say)("listing files".to_owned());
        let (mut sets, mut failed) = (Vec::new(), None);
        for set in self.unless_cancelled(self.timed(self.export.plan(place))).await?? {
            match set {
                Ok(set) if self.is_known(&set, report) => {}
                Ok(set) => sets.push(set),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Ok((sets, failed))
    }

    fn is_at_rest(&self, set: &ExportSet) -> bool {
        set.is_at_rest(self.context.clock.now(), self.settle)
    }

    /// Whether these files were imported before, in this collection or in an earlier one that need not be repeated.
    fn is_known(&self, set: &ExportSet, report: &CollectReport) -> bool {
        let same = |versions: &BTreeMap<String, String>| versions.get(&set.label) == Some(&set.version);
        let is_repeated = self.asked.from.is_some_and(|from| from < set.end());
        same(&report.versions) || (!is_repeated && same(self.known))
    }

    /// Imports a set; returns with it what somebody should look at.
    async fn import(&self, place: &Place, set: &ExportSet) -> Result<(PeriodReport, Vec<String>), Stopped> {
        let mut late = std::pin::pin!(tokio::time::sleep(self.total));
        let fetched = tokio::select! {
            fetched = self.unless_cancelled(self.fetch(place, set)) => fetched??,
            () = &mut late => return Err(self.late().into()),
        };
        let files: Vec<InputFile> = fetched.iter().map(SpooledFile::input).collect();
        let import = ImportContext {
            lake: self.context.lake.clone(),
            imports: self.context.imports.clone(),
            catalog: self.context.catalog.clone(),
            zone: self.context.zone.clone(),
            limits: self.context.limits.clone(),
            now: self.context.clock.now(),
        };
        let (confirm, stop) = (self.asked.confirm, self.cancel.part());
        let importing = import_focus_unless(&import, self.source, files, confirm, Arc::new(|_| {}), &stop);
        let mut importing = std::pin::pin!(importing);
        let imported = tokio::select! {
            imported = &mut importing => imported,
            // It ends where it leaves no trace; what is committed by then is committed as a whole, and not late.
            () = &mut late => {
                stop.ask("");
                importing.await
            }
        };
        let imported = match imported {
            Err(ImportError::Cancelled) if !self.cancel.is_asked() => return Err(self.late().into()),
            imported => imported.map_err(not_imported)?,
        };
        let mut warnings = Vec::new();
        for import::PeriodReport { billing_account, billing_period, .. } in
            imported.billing_periods.iter().take(PERIODS_COMPARED_MAX)
        {
            let others = sources_beside(self.context, self.source, billing_account, billing_period).await?;
            let warning = |other: &String| told_twice(self.source, other, billing_account, billing_period);
            warnings.extend(others.iter().map(warning));
        }
        let period = PeriodReport {
            period: set.label.clone(),
            lines: imported.rows,
            totals: imported.totals,
            import_id: Some(imported.import_id),
            unchanged: imported.unchanged,
            through: set.newest(),
            ..PeriodReport::default()
        };
        Ok((period, warnings))
    }

    /// Returns copies of all files of a set, as long as there is room for them together.
    async fn fetch(&self, place: &Place, set: &ExportSet) -> Result<Vec<SpooledFile>, CollectError> {
        let (files_max, bytes_max) = (self.context.limits.files_max, self.context.limits.set_bytes_max);
        let listed = set.objects.iter().fold(0_u64, |bytes, object| bytes.saturating_add(object.size));
        let count = set.objects.len();
        // Nothing is copied that cannot be whole.
        if files_max < count {
            let detail =
                format!("it has {count} files, and a billing period may have {files_max}; raise limits.upload_files");
            return Err(CollectError::new(Cause::TooLarge, detail));
        }
        if bytes_max < listed {
            let detail = format!(
                "its {count} files have {listed} bytes together, and the files of a billing period may have {bytes_max}; \
                 raise limits.upload_body"
            );
            return Err(CollectError::new(Cause::TooLarge, detail));
        }
        let mut room = SpoolRoom::new(bytes_max);
        let mut fetched = Vec::with_capacity(count);
        for object in &set.objects {
            fetched.push(place.fetch(object, &self.context.spool, &mut room).await?);
        }
        self.export.check_unchanged(place, set).await?;
        Ok(fetched)
    }

    /// Does what leaves no trace, unless somebody asks for the end before it is done.
    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        self.cancel.unless(work).await.ok_or(Stopped::Cancelled)
    }

    async fn timed<T>(&self, work: impl Future<Output = Result<T, CollectError>>) -> Result<T, CollectError> {
        tokio::time::timeout(self.total, work).await.map_err(|_| self.late())?
    }

    fn late(&self) -> CollectError {
        CollectError::new(Cause::Timeout, format!("it took longer than {:?}", self.total))
    }
}

/// Returns why files were not imported: what cannot be read of them is no fault of the store.
fn not_imported(error: ImportError) -> Stopped {
    let cause = match &error {
        ImportError::Unreadable { reason, .. } if reason.contains("cut off") => Cause::Truncated,
        ImportError::Unreadable { .. } | ImportError::NoRows => Cause::Schema,
        ImportError::Cancelled => return Stopped::Cancelled,
        _ => return not_stored(error).into(),
    };
    CollectError::new(cause, error.to_string()).into()
}

/// The error of files that change while nobody has said that they are all.
fn under_way(set: &ExportSet) -> CollectError {
    let detail = format!(
        "{}: its files are being written; what is stored stays, and they are read once they rest or a manifest or \
         `_SUCCESS` newer than they are says that they are all",
        set.label
    );
    CollectError::new(Cause::Truncated, detail)
}
