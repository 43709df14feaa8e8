//! What ties between tenants must not say: an alias of two tenants on one day, merges in a circle.

use std::collections::BTreeSet;

use domain::tenant::TenantBook;
use sqlx::{Any, Transaction};

use super::tenant_facts::{covers, from_row_tenant_book};
use super::{CatalogError, NewTenantAlias, NewTenantFact, TenantAliasRow, TenantFactRow};

/// Refuses an alias that stands for another tenant on one of its days.
///
/// To move an alias, end it at the tenant that has it first.
pub(super) async fn refuse_taken_alias(
    tx: &mut Transaction<'static, Any>,
    alias: &NewTenantAlias,
) -> Result<(), CatalogError> {
    let Some(tenant) = &alias.tenant else { return Ok(()) };
    let rows: Vec<TenantAliasRow> = sqlx::query_as("SELECT * FROM tenant_aliases WHERE alias = $1 ORDER BY seq")
        .bind(&alias.alias)
        .fetch_all(&mut **tx)
        .await?;
    for day in days_between(&alias.valid_from, alias.valid_to.as_deref(), rows.iter().map(stretch)) {
        let holds = rows.iter().rev().find(|row| covers(&row.valid_from, row.valid_to.as_deref(), &day));
        let holder = holds.and_then(|row| row.tenant.as_ref()).filter(|holder| *holder != tenant);
        if let Some(holder) = holder {
            return Err(CatalogError::AliasTaken { alias: alias.alias.clone(), tenant: holder.clone(), day });
        }
    }
    Ok(())
}

/// Refuses a merge that leads back to the tenant on one of its days. Call it once all facts of the change are written.
pub(super) async fn refuse_circle(
    tx: &mut Transaction<'static, Any>,
    fact: &NewTenantFact,
) -> Result<(), CatalogError> {
    let Some(into) = &fact.merged_into else { return Ok(()) };
    let rows: Vec<TenantFactRow> =
        sqlx::query_as("SELECT * FROM tenant_facts ORDER BY seq").fetch_all(&mut **tx).await?;
    let stretches: Vec<_> = rows.iter().map(|row| (row.valid_from.clone(), row.valid_to.clone())).collect();
    let days = days_between(&fact.valid_from, fact.valid_to.as_deref(), stretches.into_iter());
    let book: TenantBook = from_row_tenant_book(rows, Vec::new())?;
    for day in days {
        let on = super::tenant_facts::day(&day)?;
        if book.merges_in_a_circle(&fact.tenant, on) {
            return Err(CatalogError::MergeCircle { tenant: fact.tenant.clone(), into: into.clone(), day });
        }
    }
    Ok(())
}

fn stretch(row: &TenantAliasRow) -> (String, Option<String>) {
    (row.valid_from.clone(), row.valid_to.clone())
}

/// The days of a stretch on which something may begin to hold: its first, and those on which others begin or have
/// just ended. What holds on them holds until the next of them.
fn days_between(
    first: &str,
    last: Option<&str>,
    others: impl Iterator<Item = (String, Option<String>)>,
) -> BTreeSet<String> {
    let mut days = BTreeSet::from([first.to_owned()]);
    for (from, to) in others {
        days.insert(from);
        let after = to.and_then(|to| to.parse::<domain::Day>().ok()).map(|to| to.plus(1).to_string());
        days.extend(after);
    }
    days.retain(|day| covers(first, last, day));
    days
}
