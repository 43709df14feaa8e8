//! Conditions that every question about the ledger shares.

use super::cost_query::Clock;
use super::filter::{Filter, Glob, Term};
use super::keys::{Column, GroupKey};
use crate::EngineError;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Cast, when};
use datafusion::prelude::{Expr, ident, lit};
use domain::dimension::Dimension;
use domain::tenant::RESERVED;
use domain::{Day, DayRange, TenantScope};

/// The day as a literal of a date column.
pub(crate) fn day(day: Day) -> Expr {
    lit(ScalarValue::Date32(Some(day.epoch_days())))
}

/// Entries up to a posting.
pub(crate) fn up_to_posting(posting: i64) -> Expr {
    ident("posting").lt_eq(lit(posting))
}

/// Entries of cost: not those that close or reopen a month.
pub(crate) fn of_cost() -> Expr {
    ident("kind").in_list(vec![lit("cost"), lit("adjustment")], false)
}

/// Rows whose `charge_date` lies in the range; the month bounds let whole partitions be skipped.
pub(crate) fn charged_in(range: DayRange) -> Expr {
    let (first, last) = (range.from().month().to_string(), range.to().month().to_string());
    ident("charge_month")
        .gt_eq(lit(first))
        .and(ident("charge_month").lt_eq(lit(last)))
        .and(ident("charge_date").gt_eq(day(range.from())))
        .and(ident("charge_date").lt_eq(day(range.to())))
}

/// Entries that the clock selects for these days.
pub(crate) fn selected_by(clock: Clock, days: DayRange) -> Expr {
    match clock {
        Clock::Charged => charged_in(days),
        Clock::Billed => {
            let (first, last) = (days.from().month().to_string(), days.to().month().to_string());
            // Nothing is billed before the month in which it arose.
            ident("charge_month")
                .lt_eq(lit(last.clone()))
                .and(ident("billing_month").gt_eq(lit(first)))
                .and(ident("billing_month").lt_eq(lit(last)))
        }
    }
}

/// Entries of the tenants in the scope; reserved consumers are nobody's.
pub(crate) fn in_scope(scope: &TenantScope) -> Option<Expr> {
    match scope {
        TenantScope::All => None,
        TenantScope::Only(tenants) => {
            let tenants = tenants.iter().map(|tenant| lit(tenant.as_str())).collect();
            Some(ident("tenant").in_list(tenants, false))
        }
    }
}

/// Entries of a tenant, or of the reserved consumer that the word names.
pub(crate) fn of_tenant(tenant: &str) -> Expr {
    let column = if RESERVED.contains(&tenant) { "consumer" } else { "tenant" };
    ident(column).eq(lit(tenant))
}

/// The reserved word of an entry's consumer, empty for any other consumer.
pub(crate) fn reserved_word() -> Expr {
    when(is_reserved(), ident("consumer")).otherwise(lit("")).expect("a case with one condition is complete")
}

fn is_reserved() -> Expr {
    ident("consumer").in_list(RESERVED.iter().map(|word| lit(*word)).collect(), false)
}

/// The value that an entry shows for a key, if one column holds it.
pub(crate) fn value(key: &GroupKey) -> Option<Expr> {
    let column = match key {
        GroupKey::Plan | GroupKey::Parent | GroupKey::Dimension(Dimension::Label(_)) => return None,
        GroupKey::Dimension(dimension) => {
            let plain = coalesce(vec![ident(dimension.to_string()), lit("")]);
            let shown = when(is_reserved(), ident("consumer")).otherwise(plain);
            return Some(shown.expect("a case with one condition is complete"));
        }
        GroupKey::Column(Column::Origin) => return Some(lit("")),
        GroupKey::Column(Column::Memo) => Expr::Cast(Cast::new(Box::new(ident("memo")), DataType::Utf8)),
        GroupKey::Column(_) => ident(key.to_string()),
    };
    Some(coalesce(vec![column, lit("")]))
}

/// The condition of a filter's term, if one column holds its value.
pub(crate) fn condition(term: &Term) -> Option<Expr> {
    let value = value(&term.key)?;
    let literals: Vec<Expr> = term.values.iter().filter_map(Glob::literal).map(lit).collect();
    let globs = term.values.iter().filter(|glob| glob.literal().is_none());
    let fits = globs
        .map(|glob| value.clone().like(lit(like_pattern(glob))))
        .chain((!literals.is_empty()).then(|| value.clone().in_list(literals, false)))
        .reduce(Expr::or)
        .expect("a term has at least one value");
    Some(if term.negated { Expr::Not(Box::new(fits)) } else { fits })
}

/// Refuses a filter with a term that no column of an entry answers.
pub(crate) fn check_columns(filter: &Filter) -> Result<(), EngineError> {
    let looked_up = filter.terms.iter().find(|term| value(&term.key).is_none());
    looked_up.map_or(Ok(()), |term| {
        let detail = format!("`{}` is no column of an entry; filter /costs by it", term.key);
        Err(EngineError::parameter("filter", detail))
    })
}

fn like_pattern(glob: &Glob) -> String {
    let escape = |part: &String| part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    glob.parts().iter().map(escape).collect::<Vec<_>>().join("%")
}

/// All of these conditions.
pub(crate) fn all_of(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    conditions.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true))
}

/// Refuses a filter that names a tenant outside the scope, foreign or missing alike.
pub(crate) fn check_named_tenants(scope: &TenantScope, filter: &Filter) -> Result<(), EngineError> {
    let terms = filter.terms.iter().filter(|term| !term.negated && term.key == GroupKey::TENANT);
    let foreign = terms.flat_map(|term| &term.values).filter_map(Glob::literal).find(|tenant| !scope.allows(tenant));
    foreign.map_or(Ok(()), |tenant| Err(EngineError::TenantNotFound(super::params::shorten(tenant))))
}
