use std::collections::{BTreeMap, BTreeSet};

use domain::{TenantScope, tenant::TenantBook};
use sqlx::{Any, AssertSqlSafe, Transaction};

use super::{
    Catalog, CatalogError, NewTenantAlias, NewTenantFact, TenantAliasRow, TenantFactRow, TenantRow,
    meta::next_recorded_at,
    tenant_facts::from_row_tenant_book,
    tenant_ties::{refuse_circle, refuse_taken_alias},
};

/// Tenants that one query names at most.
const TENANTS_AT_ONCE: usize = 500;

impl Catalog {
    /// Creates the tenants not known yet, as active and entered by the system; returns those it created.
    ///
    /// # Errors
    /// When the database fails; then none was created.
    pub async fn ensure_tenants(&self, ids: &[String], at: i64) -> Result<Vec<String>, CatalogError> {
        let mut unknown = BTreeSet::new();
        for id in ids {
            if !unknown.contains(id) && self.tenant(&TenantScope::All, id).await?.is_none() {
                unknown.insert(id.clone());
            }
        }
        if unknown.is_empty() {
            return Ok(Vec::new()); // the usual case: no write at all
        }
        let mut tx = self.begin().await?;
        let recorded_at = next_recorded_at(&mut tx, at).await?;
        let mut created = Vec::new();
        for id in unknown {
            if insert_tenant(&mut tx, &id, "system", at).await? {
                insert_fact(&mut tx, &NewTenantFact::system(&id), recorded_at).await?;
                created.push(id);
            }
        }
        tx.commit().await?;
        Ok(created)
    }

    /// Enters one fact; see [`Self::put_tenant_facts`].
    ///
    /// # Errors
    /// Those of [`Self::put_tenant_facts`].
    pub async fn put_tenant(
        &self,
        fact: &NewTenantFact,
        aliases: &[NewTenantAlias],
        at: i64,
    ) -> Result<bool, CatalogError> {
        self.put_tenant_facts(std::slice::from_ref(fact), aliases, at).await
    }

    /// Enters facts and aliases, all or none of them, creating tenants if need be; returns whether anything was new.
    ///
    /// Entering what was entered last, word for word, changes nothing, so a repeated write is harmless.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if `merged_into` or an alias names no tenant, [`CatalogError::AliasTaken`] if an
    /// alias stands for another tenant on one of its days, [`CatalogError::MergeCircle`] if a merge leads back.
    pub async fn put_tenant_facts(
        &self,
        facts: &[NewTenantFact],
        aliases: &[NewTenantAlias],
        at: i64,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let mut new_facts = Vec::new();
        for fact in facts {
            insert_tenant(&mut tx, &fact.tenant, &fact.entered_by, at).await?;
            if let Some(into) = &fact.merged_into {
                require_tenant(&mut tx, into).await?;
            }
            if last_fact(&mut tx, &fact.tenant).await?.is_none_or(|last| last.to_new() != *fact) {
                new_facts.push(fact);
            }
        }
        for id in aliases.iter().filter_map(|alias| alias.tenant.as_ref()) {
            require_tenant(&mut tx, id).await?;
        }
        let mut new_aliases = Vec::new();
        for alias in aliases {
            if alias_is_new(&mut tx, alias).await? {
                refuse_taken_alias(&mut tx, alias).await?;
                new_aliases.push(alias);
            }
        }
        if new_facts.is_empty() && new_aliases.is_empty() {
            return Ok(false);
        }
        let recorded_at = next_recorded_at(&mut tx, at).await?;
        for fact in &new_facts {
            insert_fact(&mut tx, fact, recorded_at).await?;
        }
        for fact in &new_facts {
            refuse_circle(&mut tx, fact).await?;
        }
        for alias in new_aliases {
            insert_alias(&mut tx, alias, recorded_at).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Enters facts, all or none, creating their tenants if need be. Whether they are news is the caller's business;
    /// none of them merges a tenant into another.
    ///
    /// # Errors
    /// When the database fails; then none was entered.
    pub async fn enter_tenant_facts(&self, facts: &[NewTenantFact], at: i64) -> Result<(), CatalogError> {
        if facts.is_empty() {
            return Ok(()); // the usual case: no write at all
        }
        let mut tx = self.begin().await?;
        let recorded_at = next_recorded_at(&mut tx, at).await?;
        for fact in facts {
            insert_tenant(&mut tx, &fact.tenant, &fact.entered_by, at).await?;
            insert_fact(&mut tx, fact, recorded_at).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The tenant of that id; one outside the scope is as if it did not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant(&self, scope: &TenantScope, id: &str) -> Result<Option<TenantRow>, CatalogError> {
        if !scope.allows(id) {
            return Ok(None);
        }
        let sql = "SELECT id, created_by, created_at FROM tenants WHERE id = $1";
        Ok(sqlx::query_as(sql).bind(id).fetch_optional(&self.read).await?)
    }

    /// Up to `limit` tenants of the scope by id, after the id `after` (`None` for the first page).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tenants(
        &self,
        scope: &TenantScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TenantRow>, CatalogError> {
        let after = after.unwrap_or(""); // no id is empty, so the empty text comes before all of them
        let TenantScope::Only(tenants) = scope else {
            let sql = "SELECT id, created_by, created_at FROM tenants WHERE id > $1 ORDER BY id LIMIT $2";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            return Ok(sqlx::query_as(sql).bind(after).bind(limit).fetch_all(&self.read).await?);
        };
        let mut page = Vec::new();
        for id in tenants.iter().filter(|id| after < id.as_str()) {
            if page.len() == limit {
                break;
            }
            page.extend(self.tenant(scope, id.as_str()).await?);
        }
        Ok(page)
    }

    /// All facts recorded up to that instant, in the order they were recorded.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant_facts_all_tenants(&self, recorded_up_to: i64) -> Result<Vec<TenantFactRow>, CatalogError> {
        let sql = "SELECT * FROM tenant_facts WHERE recorded_at <= $1 ORDER BY seq";
        Ok(sqlx::query_as(sql).bind(recorded_up_to).fetch_all(&self.read).await?)
    }

    /// Everything known about tenants up to that instant, ready to be asked about any day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant_book_all_tenants(&self, recorded_up_to: i64) -> Result<TenantBook, CatalogError> {
        let facts = self.tenant_facts_all_tenants(recorded_up_to).await?;
        let aliases = self.tenant_aliases_all_tenants(recorded_up_to).await?;
        from_row_tenant_book(facts, aliases)
    }

    /// All facts of one tenant recorded up to that instant, in the order they were recorded; none outside the scope.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn facts_of_tenant(
        &self,
        scope: &TenantScope,
        tenant: &str,
        recorded_up_to: i64,
    ) -> Result<Vec<TenantFactRow>, CatalogError> {
        if !scope.allows(tenant) {
            return Ok(Vec::new());
        }
        let sql = "SELECT * FROM tenant_facts WHERE tenant = $1 AND recorded_at <= $2 ORDER BY seq";
        Ok(sqlx::query_as(sql).bind(tenant).bind(recorded_up_to).fetch_all(&self.read).await?)
    }

    /// All facts of several tenants, by tenant, in the order they were recorded; none outside the scope.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn facts_of_tenants(
        &self,
        scope: &TenantScope,
        tenants: &[&str],
    ) -> Result<BTreeMap<String, Vec<TenantFactRow>>, CatalogError> {
        let wanted: Vec<&str> = tenants.iter().copied().filter(|tenant| scope.allows(tenant)).collect();
        let mut found: BTreeMap<String, Vec<TenantFactRow>> = BTreeMap::new();
        for some in wanted.chunks(TENANTS_AT_ONCE) {
            let places: Vec<String> = (1..=some.len()).map(|at| format!("${at}")).collect();
            let sql = format!("SELECT * FROM tenant_facts WHERE tenant IN ({}) ORDER BY seq", places.join(", "));
            let query = some.iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, tenant| query.bind(*tenant));
            let rows: Vec<TenantFactRow> = query.fetch_all(&self.read).await?;
            for row in rows {
                found.entry(row.tenant.clone()).or_default().push(row);
            }
        }
        Ok(found)
    }

    /// All aliases recorded up to that instant, in the order they were recorded.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant_aliases_all_tenants(&self, recorded_up_to: i64) -> Result<Vec<TenantAliasRow>, CatalogError> {
        let sql = "SELECT * FROM tenant_aliases WHERE recorded_at <= $1 ORDER BY seq";
        Ok(sqlx::query_as(sql).bind(recorded_up_to).fetch_all(&self.read).await?)
    }
}

async fn insert_tenant(tx: &mut Transaction<'static, Any>, id: &str, by: &str, at: i64) -> Result<bool, CatalogError> {
    let sql = "INSERT INTO tenants (id, created_by, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    Ok(sqlx::query(sql).bind(id).bind(by).bind(at).execute(&mut **tx).await?.rows_affected() == 1)
}

async fn require_tenant(tx: &mut Transaction<'static, Any>, id: &str) -> Result<(), CatalogError> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT id FROM tenants WHERE id = $1").bind(id).fetch_optional(&mut **tx).await?;
    found.map(|_| ()).ok_or_else(|| CatalogError::NotFound { what: "tenant", id: id.to_owned() })
}

async fn last_fact(tx: &mut Transaction<'static, Any>, tenant: &str) -> Result<Option<TenantFactRow>, CatalogError> {
    let sql = "SELECT * FROM tenant_facts WHERE tenant = $1 ORDER BY seq DESC LIMIT 1";
    Ok(sqlx::query_as(sql).bind(tenant).fetch_optional(&mut **tx).await?)
}

async fn insert_fact(
    tx: &mut Transaction<'static, Any>,
    fact: &NewTenantFact,
    recorded_at: i64,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO tenant_facts (seq, recorded_at, tenant, valid_from, valid_to, name, slug, plan, status, parent, \
         owners, cost_center, gl_account, billing_mode, merged_into, entered_by) \
         VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM tenant_facts), \
         $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(recorded_at)
    .bind(&fact.tenant)
    .bind(&fact.valid_from)
    .bind(&fact.valid_to)
    .bind(&fact.name)
    .bind(&fact.slug)
    .bind(&fact.plan)
    .bind(&fact.status)
    .bind(&fact.parent)
    .bind(&fact.owners)
    .bind(&fact.cost_center)
    .bind(&fact.gl_account)
    .bind(&fact.billing_mode)
    .bind(&fact.merged_into)
    .bind(&fact.entered_by)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn alias_is_new(tx: &mut Transaction<'static, Any>, alias: &NewTenantAlias) -> Result<bool, CatalogError> {
    let last: Option<TenantAliasRow> =
        sqlx::query_as("SELECT * FROM tenant_aliases WHERE alias = $1 ORDER BY seq DESC LIMIT 1")
            .bind(&alias.alias)
            .fetch_optional(&mut **tx)
            .await?;
    Ok(last.is_none_or(|last| {
        (last.tenant, last.valid_from, last.valid_to)
            != (alias.tenant.clone(), alias.valid_from.clone(), alias.valid_to.clone())
    }))
}

async fn insert_alias(
    tx: &mut Transaction<'static, Any>,
    alias: &NewTenantAlias,
    recorded_at: i64,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO tenant_aliases (seq, alias, tenant, valid_from, valid_to, recorded_at) \
         VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM tenant_aliases), $1, $2, $3, $4, $5)",
    )
    .bind(&alias.alias)
    .bind(&alias.tenant)
    .bind(&alias.valid_from)
    .bind(&alias.valid_to)
    .bind(recorded_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
