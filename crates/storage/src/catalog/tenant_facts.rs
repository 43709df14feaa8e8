use std::collections::BTreeMap;

use domain::{
    Day, Instant,
    tenant::{TenantAlias, TenantBook, TenantFact},
};
use sqlx::FromRow;

use super::CatalogError;

/// The `valid_from` of a row that holds on every day.
pub const ALWAYS: &str = "0001-01-01";

/// A tenant's existence; what is known about it stands in its facts.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TenantRow {
    /// The id, byte for byte.
    pub id: String,
    /// `system`, `put` or `import`.
    pub created_by: String,
    /// When it was first named.
    pub created_at: i64,
}

/// Everything known about a tenant for a range of days, as somebody enters it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTenantFact {
    /// The tenant it is about.
    pub tenant: String,
    /// First day; [`ALWAYS`] for every day.
    pub valid_from: String,
    /// Last day, included; `None` is open.
    pub valid_to: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// Short name in URLs.
    pub slug: Option<String>,
    /// What the tenant pays for.
    pub plan: Option<String>,
    /// `active` or `archived`.
    pub status: String,
    /// Tenant above this one.
    pub parent: Option<String>,
    /// JSON list of text.
    pub owners: String,
    /// Cost centre for the journal.
    pub cost_center: Option<String>,
    /// Account for the journal.
    pub gl_account: Option<String>,
    /// `showback`, `chargeback` or `central`.
    pub billing_mode: String,
    /// The tenant that takes over from `valid_from` on.
    pub merged_into: Option<String>,
    /// `system`, `put` or `import`.
    pub entered_by: String,
}

impl NewTenantFact {
    /// The fact the system enters for a tenant that it meets for the first time.
    #[must_use]
    pub fn system(tenant: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            valid_from: ALWAYS.to_owned(),
            valid_to: None,
            name: None,
            slug: None,
            plan: None,
            status: "active".to_owned(),
            parent: None,
            owners: "[]".to_owned(),
            cost_center: None,
            gl_account: None,
            billing_mode: "showback".to_owned(),
            merged_into: None,
            entered_by: "system".to_owned(),
        }
    }
}

/// A stored fact: what was entered, and when we knew it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TenantFactRow {
    /// Order of writing.
    pub seq: i64,
    /// Rises strictly with every write to the catalog.
    pub recorded_at: i64,
    /// The tenant it is about.
    pub tenant: String,
    /// First day.
    pub valid_from: String,
    /// Last day, included; `None` is open.
    pub valid_to: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// Short name in URLs.
    pub slug: Option<String>,
    /// What the tenant pays for.
    pub plan: Option<String>,
    /// `active` or `archived`.
    pub status: String,
    /// Tenant above this one.
    pub parent: Option<String>,
    /// JSON list of text.
    pub owners: String,
    /// Cost centre for the journal.
    pub cost_center: Option<String>,
    /// Account for the journal.
    pub gl_account: Option<String>,
    /// `showback`, `chargeback` or `central`.
    pub billing_mode: String,
    /// The tenant that takes over from `valid_from` on.
    pub merged_into: Option<String>,
    /// `system`, `put` or `import`.
    pub entered_by: String,
}

impl TenantFactRow {
    /// The same content as something to enter again.
    #[must_use]
    pub fn to_new(&self) -> NewTenantFact {
        NewTenantFact {
            tenant: self.tenant.clone(),
            valid_from: self.valid_from.clone(),
            valid_to: self.valid_to.clone(),
            name: self.name.clone(),
            slug: self.slug.clone(),
            plan: self.plan.clone(),
            status: self.status.clone(),
            parent: self.parent.clone(),
            owners: self.owners.clone(),
            cost_center: self.cost_center.clone(),
            gl_account: self.gl_account.clone(),
            billing_mode: self.billing_mode.clone(),
            merged_into: self.merged_into.clone(),
            entered_by: self.entered_by.clone(),
        }
    }
}

/// An incoming value and the tenant it stands for, as somebody enters it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTenantAlias {
    /// The incoming value.
    pub alias: String,
    /// The tenant it stands for; `None` ends the alias.
    pub tenant: Option<String>,
    /// First day; [`ALWAYS`] for every day.
    pub valid_from: String,
    /// Last day, included; `None` is open.
    pub valid_to: Option<String>,
}

/// A stored alias.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TenantAliasRow {
    /// Order of writing.
    pub seq: i64,
    /// The incoming value.
    pub alias: String,
    /// The tenant it stands for; `None` ends the alias.
    pub tenant: Option<String>,
    /// First day.
    pub valid_from: String,
    /// Last day, included; `None` is open.
    pub valid_to: Option<String>,
    /// Rises strictly with every write to the catalog.
    pub recorded_at: i64,
}

/// What counts on `day` among the facts of one tenant: the row recorded last of those valid on it, whole.
#[must_use]
pub fn fact_on<'a>(facts: &'a [TenantFactRow], day: &str) -> Option<&'a TenantFactRow> {
    facts.iter().filter(|row| covers(&row.valid_from, row.valid_to.as_deref(), day)).max_by_key(|row| row.seq)
}

/// The aliases that stand for `tenant` on `day`, in order.
#[must_use]
pub fn aliases_on<'a>(aliases: &'a [TenantAliasRow], tenant: &str, day: &str) -> Vec<&'a str> {
    let mut last: BTreeMap<&str, &TenantAliasRow> = BTreeMap::new();
    for row in aliases.iter().filter(|row| covers(&row.valid_from, row.valid_to.as_deref(), day)) {
        let kept = last.entry(&row.alias).or_insert(row);
        if kept.seq < row.seq {
            *kept = row;
        }
    }
    last.into_iter().filter(|(_, row)| row.tenant.as_deref() == Some(tenant)).map(|(alias, _)| alias).collect()
}

/// Days are `YYYY-MM-DD`, whose order as text is their order in time.
pub(super) fn covers(valid_from: &str, valid_to: Option<&str>, day: &str) -> bool {
    valid_from <= day && valid_to.is_none_or(|last| day <= last)
}

/// The book from which attribution reads: these rows in the types of `domain`.
///
/// # Errors
/// [`CatalogError::Corrupt`] if a stored day is none.
pub(super) fn from_row_tenant_book(
    facts: Vec<TenantFactRow>,
    aliases: Vec<TenantAliasRow>,
) -> Result<TenantBook, CatalogError> {
    let facts = facts.into_iter().map(from_row_fact).collect::<Result<_, _>>()?;
    let aliases = aliases.into_iter().map(from_row_alias).collect::<Result<_, _>>()?;
    Ok(TenantBook::new(facts, aliases))
}

fn from_row_fact(row: TenantFactRow) -> Result<TenantFact, CatalogError> {
    Ok(TenantFact {
        tenant: row.tenant.into(),
        valid_from: first_day(&row.valid_from)?,
        valid_to: row.valid_to.as_deref().map(day).transpose()?,
        recorded_at: Instant::from_micros(row.recorded_at),
        entered: row.entered_by != "system",
        active: row.status == "active",
        name: row.name.map(Into::into),
        slug: row.slug.map(Into::into),
        plan: row.plan.map(Into::into),
        parent: row.parent.map(Into::into),
        merged_into: row.merged_into.map(Into::into),
    })
}

fn from_row_alias(row: TenantAliasRow) -> Result<TenantAlias, CatalogError> {
    Ok(TenantAlias {
        // An alias that ended means the value itself, as if there were none.
        tenant: row.tenant.unwrap_or_else(|| row.alias.clone()).into(),
        alias: row.alias.into(),
        valid_from: first_day(&row.valid_from)?,
        valid_to: row.valid_to.as_deref().map(day).transpose()?,
        recorded_at: Instant::from_micros(row.recorded_at),
    })
}

fn first_day(text: &str) -> Result<Option<Day>, CatalogError> {
    if text == ALWAYS { Ok(None) } else { day(text).map(Some) }
}

pub(super) fn day(text: &str) -> Result<Day, CatalogError> {
    text.parse().map_err(|_| CatalogError::Corrupt { what: "day of a tenant fact", value: text.to_owned() })
}
