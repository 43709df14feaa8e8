//! What was collected of a billing period replaces what is stored of it, or nothing changes.

use super::ProvidersContext;
use super::collector::{Collected, Spec};
use super::error::{Cause, CollectError, Stopped};
use super::period::BillingPeriod;
use crate::cancel::Cancel;
use crate::cost_lines::{ImportKey, other_sources, stored_keys};
use crate::error::ImportError;
use crate::import::{ImportContext, ImportReport, SpooledFile, import_focus_unless};
use domain::{Day, DayRange, Instant, Month, Zone};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::lake::Table;

/// Returns lines of a period as text of a file: one JSON object per line.
///
/// # Errors
/// [`Cause::Schema`] if a line lacks what every line must have.
pub(super) fn to_file(spec: &Spec, collected: &mut Collected, period: &BillingPeriod) -> Result<Vec<u8>, CollectError> {
    if collected.account.trim().is_empty() && !collected.lines.is_empty() {
        return Err(CollectError::schema("the provider does not say whose bill it is"));
    }
    let mut bytes = Vec::new();
    for line in std::mem::take(&mut collected.lines) {
        let row = line.finish(spec, &collected.account, period)?;
        serde_json::to_writer(&mut bytes, &row).expect("a map of JSON values is JSON");
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Replaces the lines of one billing period; returns nothing if there are none, neither before nor now.
///
/// # Errors
/// [`Stopped`]; then the lines are as they were.
pub(super) async fn publish(
    context: &ProvidersContext,
    source: &str,
    account: &str,
    period: &BillingPeriod,
    file: Option<SpooledFile>,
    (confirm, cancel): (bool, &Cancel),
) -> Result<Option<ImportReport>, Stopped> {
    let name = period.name();
    let stored = stored_periods(context, source).await?;
    let Some(file) = file else {
        if stored.iter().any(|(_, period)| *period == name) {
            let detail = format!("the provider has no lines of {name} any more; those that are stored stay");
            return Err(CollectError::new(Cause::WouldShrink, detail).into());
        }
        return Ok(None);
    };
    check_overlap(&stored, account, period)?;
    let import = ImportContext {
        lake: context.lake.clone(),
        imports: context.imports.clone(),
        catalog: context.catalog.clone(),
        zone: context.zone.clone(),
        limits: context.limits.clone(),
        now: context.clock.now(),
    };
    let files = vec![file.input()];
    match import_focus_unless(&import, source, files, confirm, Arc::new(|_| {}), cancel).await {
        Ok(report) => Ok(Some(report)),
        Err(ImportError::Cancelled) => Err(Stopped::Cancelled),
        Err(error) => Err(not_stored(error).into()),
    }
}

/// Accounts and billing periods of which lines of the source are stored.
async fn stored_periods(context: &ProvidersContext, source: &str) -> Result<BTreeSet<(String, String)>, CollectError> {
    let pinned = context.lake.pin_table(Table::CostLines).await.map_err(|error| not_stored(error.into()))?;
    let keys = stored_keys(&pinned, source).into_keys();
    Ok(keys.map(|key| (key.billing_account, key.billing_period)).collect())
}

/// Returns the other sources that have lines of an account and billing period.
///
/// # Errors
/// [`Cause::Store`] if the lake cannot be read.
pub(super) async fn sources_beside(
    context: &ProvidersContext,
    source: &str,
    account: &str,
    period: &str,
) -> Result<BTreeSet<String>, CollectError> {
    let pinned = context.lake.pin_table(Table::CostLines).await.map_err(|error| not_stored(error.into()))?;
    let (source, billing_account, billing_period) = (source.to_owned(), account.to_owned(), period.to_owned());
    Ok(other_sources(&pinned, &ImportKey { source, billing_account, billing_period }))
}

/// Returns the warning that two sources have the same bill.
pub(super) fn told_twice(source: &str, other: &str, account: &str, period: &str) -> String {
    format!(
        "sources \"{source}\" and \"{other}\" both have costs of account {account} in {period}; check that none is \
         counted twice"
    )
}

/// Two periods that overlap would count what lies in both twice; so would one period of a source under two accounts.
fn check_overlap(
    stored: &BTreeSet<(String, String)>,
    account: &str,
    period: &BillingPeriod,
) -> Result<(), CollectError> {
    let (name, days) = (period.name(), period.days());
    let is_same = |of: &str, other: &str| of == account && other == name;
    let is_within = |other: &str| days_of(other).is_some_and(|other| other.overlaps(&days));
    let overlaps = |(of, other): &&(String, String)| !is_same(of, other) && is_within(other);
    match stored.iter().find(overlaps) {
        None => Ok(()),
        Some((of, other)) => {
            let detail = format!(
                "the billing period {name} of account {account} would overlap {other} of account {of}, which is stored; \
                 set account and `billing_day` as they were, or give the source another name"
            );
            Err(CollectError::new(Cause::Overlap, detail))
        }
    }
}

/// The days of a stored period, by its name: a month, or the first day of a period that lasts until that day of the next.
fn days_of(period: &str) -> Option<DayRange> {
    let first = match period.parse::<Month>() {
        Ok(month) => month.first_day(),
        Err(_) => period.parse::<Day>().ok()?,
    };
    let billing_day = first.date().day().unsigned_abs();
    Some(BillingPeriod::containing(first, billing_day, &Zone::utc(), Instant::from_micros(0)).days())
}

/// Returns why an import did not happen, as the error of a collection.
pub(super) fn not_stored(error: ImportError) -> CollectError {
    let cause = match &error {
        ImportError::NotFocus { .. } | ImportError::Row(_) => Cause::Schema,
        ImportError::TooLarge { .. } => Cause::TooLarge,
        ImportError::WouldShrink(_) => Cause::WouldShrink,
        ImportError::Unreadable { .. }
        | ImportError::NoRows
        | ImportError::BadSource(_)
        | ImportError::BadFixedCost { .. }
        | ImportError::Busy
        | ImportError::Cancelled
        | ImportError::Lake(_)
        | ImportError::Arrow(_)
        | ImportError::Interrupted => Cause::Store,
    };
    if cause == Cause::Store {
        tracing::error!(?error, "what a provider said could not be stored");
    }
    CollectError::new(cause, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_of_a_source_never_overlap() {
        let check = |account: &str, stored: &[&str], day: &str, billing_day: u8, expected: bool| {
            let now = "2026-12-31T00:00:00Z".parse().expect("an instant");
            let period = BillingPeriod::containing(day.parse().expect("a day"), billing_day, &Zone::utc(), now);
            let stored: BTreeSet<(String, String)> =
                stored.iter().map(|name| ("acme".to_owned(), (*name).to_owned())).collect();
            assert_eq!(check_overlap(&stored, account, &period).is_ok(), expected, "{stored:?} {}", period.name());
        };
        check("acme", &["2026-10", "2026-11"], "2026-11-20", 1, true);
        check("acme", &["2026-02", "2026-01"], "2026-03-01", 1, true);
        check("acme", &["2026-10", "2026-11"], "2026-11-20", 5, false);
        check("acme", &["2026-10-05"], "2026-11-20", 5, true);
        check("acme", &["2026-10-05"], "2026-11-20", 4, false);
        check("acme", &["2026-10-05"], "2026-11-20", 1, false);
        check("acme", &["2026-01-31", "2026-02-28"], "2026-03-31", 31, true);
        check("acme", &[], "2026-11-20", 5, true);
        check("other", &["2026-10", "2026-11"], "2026-11-20", 1, false);
        check("other", &["2026-10"], "2026-11-20", 1, true);
    }
}
