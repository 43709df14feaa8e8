use super::EventImportContext;
use super::reader::{EventReader, Item};
use super::report::EventImportReport;
use crate::error::MeteringError;
use crate::live::{Decision, Offered, PreparedEvent, Preparer, Setup};
use crate::refusal::{Refusal, RefusalCode};
use crate::rules::KnownTenants;
use domain::TenantScope;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events appended at a time.
const EVENTS_AT_ONCE: usize = 1000;

/// Appends the events of these numbers to the log; returns the report with what became of them.
///
/// If the process dies between two of them, importing the file again appends the rest: the others are duplicates by then.
pub(super) async fn append(
    ctx: &EventImportContext,
    sha256: &str,
    tenants: &KnownTenants,
    numbers: Vec<u64>,
    mut report: EventImportReport,
) -> Result<EventImportReport, MeteringError> {
    if numbers.is_empty() {
        return Ok(report);
    }
    let setup =
        Setup { rules: Arc::clone(&ctx.rules), meters: Arc::clone(&ctx.meters), tenants: Arc::new(tenants.clone()) };
    let mut preparer = ctx.log.preparer_with(setup, TenantScope::All, ctx.now);
    let input = ctx.imports.open_import(sha256).await?;
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || {
        let mut reader = EventReader::open(input)?;
        let (mut numbers, mut offers) = (numbers.into_iter().peekable(), Vec::new());
        while let (Some(wanted), Some((index, item))) = (numbers.peek().copied(), reader.next_item()?) {
            if index == wanted {
                numbers.next();
                offers.push((index, offer(&mut preparer, &item)?));
            }
            if EVENTS_AT_ONCE <= offers.len() && sender.blocking_send(std::mem::take(&mut offers)).is_err() {
                break; // the other side has failed and says so itself
            }
        }
        drop(sender.blocking_send(offers));
        Ok::<(), MeteringError>(())
    });
    while let Some(offers) = receiver.recv().await {
        take(ctx, offers, &mut report).await?;
    }
    reading.await??;
    Ok(report)
}

fn offer(preparer: &mut Preparer, item: &Item<'_>) -> Result<Result<Offered, Refusal>, MeteringError> {
    match item {
        Item::Text(text) => Ok(preparer.prepare(text)?),
        Item::TooLong | Item::NotUtf8 => Ok(Err(Refusal::invalid("not an event"))),
    }
}

async fn take(
    ctx: &EventImportContext,
    offers: Vec<(u64, Result<Offered, Refusal>)>,
    report: &mut EventImportReport,
) -> Result<(), MeteringError> {
    let (mut numbers, mut events): (Vec<u64>, Vec<PreparedEvent>) = (Vec::new(), Vec::new());
    for (number, offered) in offers {
        match offered {
            Ok(Offered::Prepared(event)) => {
                numbers.push(number);
                events.push(event);
            }
            Ok(Offered::Known(decision)) => count(report, number, decision),
            Err(refusal) => report.reject(number, refusal),
        }
    }
    let mut days: BTreeSet<_> = report.days.drain(..).collect();
    let mut created: BTreeSet<_> = report.tenants_created.drain(..).collect();
    let named: Vec<_> = events
        .iter()
        .map(|event| (event.day, event.is_new_tenant, Arc::clone(event.tenant()), !event.meters.is_empty()))
        .collect();
    let decisions = if events.is_empty() { Vec::new() } else { ctx.log.append(events, false).await? };
    for ((number, decision), (day, is_new_tenant, tenant, is_metered)) in numbers.into_iter().zip(decisions).zip(named)
    {
        count(report, number, decision);
        if decision == Decision::Accepted {
            report.metered += u64::from(is_metered);
            days.extend(is_metered.then_some(day));
            created.extend(is_new_tenant.then(|| tenant.to_string()));
        }
    }
    report.days = days.into_iter().collect();
    report.tenants_created = created.into_iter().collect();
    Ok(())
}

fn count(report: &mut EventImportReport, number: u64, decision: Decision) {
    match decision {
        Decision::Accepted => report.accepted += 1,
        Decision::Duplicate => report.duplicates += 1,
        Decision::Conflict | Decision::NotStored => {
            let detail = "this tenant and source sent this id before with other content";
            report.reject(number, Refusal::new(RefusalCode::IdConflict, detail));
        }
    }
}
