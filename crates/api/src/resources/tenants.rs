//! Who is charged. What is known about a tenant is dated and never overwritten.

use super::tenant_facts::{ChangeDays, new_aliases, new_facts};
use crate::access::{AdminReader, PlatformAdmin};
use crate::app::App;
use crate::body::Json;
use crate::convert::instant;
use crate::list::{ListAsked, Page, json};
use crate::problem::ApiError;
use crate::query::{Id, PageAsked, QueryPairs};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{Day, TenantId, TenantScope};
use engine::EngineError;
use engine::query::{cursor, entries::LIST_ROWS_MAX};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use storage::catalog::{ALWAYS, NewTenantFact, TenantAliasRow, TenantFactRow, TenantRow, aliases_on, fact_on};
use utoipa::{IntoParams, ToSchema};

const TENANTS: &str = "tenants";
const TEXT_BYTES_MAX: usize = 200;
const LIST_MAX: usize = 1000;

/// What is known about a tenant, to be entered. What is left out stays as it is; null takes it away.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantChange {
    /// The id, if it is repeated here.
    #[serde(default)]
    pub id: Option<String>,
    /// Name for people.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Option<String>>,
    /// Short name in URLs.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub slug: Option<Option<String>>,
    /// What the tenant pays for.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub plan: Option<Option<String>>,
    /// `active` or `archived`.
    #[serde(default)]
    pub status: Option<String>,
    /// Tenant above this one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Option<String>>,
    /// Who answers for it.
    #[serde(default)]
    pub owners: Option<Vec<String>>,
    /// All incoming values that stand for the tenant; one that is left out ends the day before `valid_from`.
    #[serde(default)]
    pub aliases: Option<Vec<String>>,
    /// Cost centre for the journal.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub cost_center: Option<Option<String>>,
    /// Account for the journal.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub gl_account: Option<Option<String>>,
    /// `showback`, `chargeback` or `central`.
    #[serde(default)]
    pub billing_mode: Option<String>,
    /// The tenant that takes over from `valid_from` on.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub merged_into: Option<Option<String>>,
    /// First day on which this holds; default: always for a new tenant or alias, today for what changes or ends.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub valid_from: Option<Day>,
    /// Last day on which this holds; open if left out. A field that somebody changed for later days stays as it is then.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub valid_to: Option<Day>,
}

/// Tells a member that is null from one that is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// What is known about a tenant today.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TenantBody {
    /// The stable id.
    pub id: String,
    /// Name for people.
    pub name: Option<String>,
    /// Short name in URLs.
    pub slug: Option<String>,
    /// What the tenant pays for.
    pub plan: Option<String>,
    /// `active` or `archived`.
    pub status: String,
    /// Incoming values that stand for it today.
    pub aliases: Vec<String>,
    /// Who answers for it.
    pub owners: Vec<String>,
    /// Tenant above this one.
    pub parent: Option<String>,
    /// Cost centre for the journal.
    pub cost_center: Option<String>,
    /// Account for the journal.
    pub gl_account: Option<String>,
    /// `showback`, `chargeback` or `central`.
    pub billing_mode: String,
    /// The tenant that took over.
    pub merged_into: Option<String>,
    /// First day on which this holds; null means always.
    pub valid_from: Option<String>,
    /// Last day on which this holds; null means until further notice.
    pub valid_to: Option<String>,
    /// `put`: entered by somebody; `system`: met in an event, a bill or a rule.
    pub entered_by: String,
    /// When the tenant was first named.
    pub created_at: String,
}

/// A tenant and everything that was ever entered about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TenantWithHistory {
    /// What is known today.
    #[serde(flatten)]
    pub tenant: TenantBody,
    /// All facts in the order they were recorded.
    pub history: Vec<TenantFactBody>,
}

/// A fact as it was recorded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TenantFactBody {
    /// When it was recorded.
    pub recorded_at: String,
    /// First day; null means always.
    pub valid_from: Option<String>,
    /// Last day; null means until further notice.
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
    /// The tenant that takes over.
    pub merged_into: Option<String>,
    /// `put` or `system`.
    pub entered_by: String,
}

/// Which tenants.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TenantParams {
    /// Words that id, name, slug, plan, cost centre, aliases and owners together must contain, whatever their case.
    pub search: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Returns tenants by id, with what is known about them today.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", params(TenantParams), responses((status = 200, body = Page<TenantBody>)))]
pub async fn list_tenants(
    reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let page = PageAsked::take(&mut params, &app.list_limits())?;
    let words = params.text("search").unwrap_or_default().to_lowercase();
    params.finish()?;
    let after = page.cursor.as_ref().map(|text| cursor::decode(TENANTS, text)).transpose()?;
    let words: Vec<&str> = words.split_whitespace().collect();
    let found = app.find_tenants(&reader.scope, after, &words, page.limit + 1).await?;
    Page::cut(found, page.limit, |tenant| cursor::encode(TENANTS, &tenant.id), TenantBody::clone).answer(&asked)
}

impl App {
    /// Returns the first so many tenants after an id that contain the words.
    async fn find_tenants(
        &self,
        scope: &TenantScope,
        mut after: Option<String>,
        words: &[&str],
        rows_max: usize,
    ) -> Result<Vec<TenantBody>, ApiError> {
        let aliases = self.catalog().tenant_aliases_all_tenants(i64::MAX).await?;
        let today = self.today().to_string();
        // A search looks at as many at once as a page may have, whatever it finds.
        let at_once = if words.is_empty() { rows_max } else { LIST_ROWS_MAX };
        let mut found = Vec::new();
        while found.len() < rows_max {
            let tenants = self.catalog().list_tenants(scope, after.as_deref(), at_once).await?;
            let ids: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
            let facts = self.catalog().facts_of_tenants(scope, &ids).await?;
            let known = tenants.iter().map(|tenant| {
                let facts = facts.get(&tenant.id).map_or(&[][..], Vec::as_slice);
                to_api_tenant(tenant, facts, &aliases, &today)
            });
            found.extend(known.filter(|tenant| contains(tenant, words)));
            after = tenants.last().map(|tenant| tenant.id.clone());
            if tenants.len() < at_once {
                break;
            }
        }
        found.truncate(rows_max);
        Ok(found)
    }
}

/// Whether what is known of a tenant contains all of the words, which are in small letters.
fn contains(tenant: &TenantBody, words: &[&str]) -> bool {
    if words.is_empty() {
        return true;
    }
    let texts = [&tenant.name, &tenant.slug, &tenant.plan, &tenant.cost_center].into_iter().flatten();
    let texts = texts.chain([&tenant.id]).chain(&tenant.aliases).chain(&tenant.owners);
    let text = texts.map(|text| text.to_lowercase()).collect::<Vec<_>>().join("\n");
    words.iter().all(|word| text.contains(word))
}

/// Returns a tenant and its history.
#[utoipa::path(get, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "Id of the tenant")),
    responses((status = 200, body = TenantWithHistory)))]
pub async fn show_tenant(
    reader: AdminReader,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    let known = Known::load(&app, &reader.scope, &id).await?;
    let row = known.row.as_ref().ok_or_else(|| EngineError::TenantNotFound(id.chars().take(60).collect()))?;
    let tenant = to_api_tenant(row, &known.facts, &known.aliases, &app.today().to_string());
    json(&TenantWithHistory { tenant, history: known.facts.iter().map(to_api_fact).collect() })
}

/// Enters what is known about a tenant, creating it if need be. 201 for a new tenant, 200 otherwise.
#[utoipa::path(put, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "Id of the tenant")),
    request_body = TenantChange,
    responses((status = 200, body = TenantBody), (status = 201, body = TenantBody, description = "New")))]
pub async fn put_tenant(
    admin: PlatformAdmin,
    State(app): State<App>,
    Id(id): Id,
    query: QueryPairs,
    Json(change): Json<TenantChange>,
) -> Result<Response, ApiError> {
    query.none()?;
    let id: TenantId =
        id.parse().map_err(|error: domain::tenant::TenantIdError| ApiError::parameter("id", error.to_string()))?;
    let id = id.as_str();
    check(&change, id)?;
    let today = app.today().to_string();
    let known = Known::load(&app, &TenantScope::All, id).await?;
    let before = known.row.as_ref().map(|row| to_api_tenant(row, &known.facts, &known.aliases, &today));
    let changed = known.enter(&app, id, &change).await?;
    let after = Known::load(&app, &TenantScope::All, id).await?;
    let row = after.row.as_ref().ok_or_else(|| ApiError::Internal(format!("tenant {id} vanished")))?;
    let body = to_api_tenant(row, &after.facts, &after.aliases, &today);
    if changed {
        app.set_up_events().await?;
        app.record(&admin, "tenant.put", id, before.as_ref(), Some(&body)).await?;
    }
    let mut response = json(&body)?;
    if before.is_none() {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

fn check(change: &TenantChange, id: &str) -> Result<(), ApiError> {
    if change.id.as_ref().is_some_and(|given| given != id) {
        return Err(ApiError::body("/id", "`id` is not that of the path"));
    }
    let texts = [
        ("/name", change.name.clone().flatten()),
        ("/slug", change.slug.clone().flatten()),
        ("/plan", change.plan.clone().flatten()),
        ("/cost_center", change.cost_center.clone().flatten()),
        ("/gl_account", change.gl_account.clone().flatten()),
    ];
    for (pointer, text) in texts.iter().filter_map(|(pointer, text)| Some((pointer, text.as_ref()?))) {
        check_text(pointer, text)?;
    }
    let words = [
        ("/status", &change.status, &["active", "archived"][..]),
        ("/billing_mode", &change.billing_mode, &["showback", "chargeback", "central"][..]),
    ];
    for (pointer, word, known) in words {
        if word.as_ref().is_some_and(|word| !known.contains(&word.as_str())) {
            return Err(ApiError::body(pointer, format!("use one of {}", known.join(", "))));
        }
    }
    let ids = [("/parent", change.parent.clone().flatten()), ("/merged_into", change.merged_into.clone().flatten())];
    for (pointer, other) in ids.into_iter().filter_map(|(pointer, other)| Some((pointer, other?))) {
        other.parse::<TenantId>().map_err(|error| ApiError::body(pointer, error.to_string()))?;
        if other == id {
            return Err(ApiError::body(pointer, "a tenant cannot be its own"));
        }
    }
    for (pointer, list) in [("/owners", &change.owners), ("/aliases", &change.aliases)] {
        let list = list.as_deref().unwrap_or_default();
        if LIST_MAX < list.len() {
            return Err(ApiError::body(pointer, format!("use at most {LIST_MAX}")));
        }
        list.iter().try_for_each(|text| check_text(pointer, text))?;
    }
    if change.aliases.iter().flatten().any(|alias| alias == id) {
        return Err(ApiError::body("/aliases", "the id itself is not an alias"));
    }
    Ok(())
}

fn check_text(pointer: &str, text: &str) -> Result<(), ApiError> {
    let usable = (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    let refuse = || ApiError::body(pointer, format!("use 1 to {TEXT_BYTES_MAX} bytes of printable text"));
    usable.then_some(()).ok_or_else(refuse)
}

/// What the catalog knows of one tenant.
struct Known {
    row: Option<TenantRow>,
    facts: Vec<TenantFactRow>,
    aliases: Vec<TenantAliasRow>,
}

impl Known {
    async fn load(app: &App, scope: &TenantScope, id: &str) -> Result<Self, ApiError> {
        Ok(Self {
            row: app.catalog().tenant(scope, id).await?,
            facts: app.catalog().facts_of_tenant(scope, id, i64::MAX).await?,
            aliases: app.catalog().tenant_aliases_all_tenants(i64::MAX).await?,
        })
    }

    /// Enters what the change says and is not known yet; returns whether there was anything.
    async fn enter(&self, app: &App, id: &str, change: &TenantChange) -> Result<bool, ApiError> {
        let today = app.today().to_string();
        let days = ChangeDays::of(change, self.row.is_none(), &today)?;
        let wanted = change.aliases.as_deref();
        let aliases = wanted.map_or_else(Vec::new, |wanted| new_aliases(&self.aliases, id, wanted, &days));
        let mut facts = new_facts(&self.facts, id, change, &days);
        if facts.is_empty() && !aliases.is_empty() {
            facts.push(self.facts.last().map_or_else(|| NewTenantFact::system(id), TenantFactRow::to_new));
        }
        Ok(app.catalog().put_tenant_facts(&facts, &aliases, app.now().micros()).await?)
    }
}

fn first_day(text: &str) -> Option<String> {
    (text != ALWAYS).then(|| text.to_owned())
}

fn to_api_tenant(row: &TenantRow, facts: &[TenantFactRow], aliases: &[TenantAliasRow], today: &str) -> TenantBody {
    let fact =
        fact_on(facts, today).or(facts.last()).map_or_else(|| NewTenantFact::system(&row.id), TenantFactRow::to_new);
    TenantBody {
        id: row.id.clone(),
        name: fact.name,
        slug: fact.slug,
        plan: fact.plan,
        status: fact.status,
        aliases: aliases_on(aliases, &row.id, today).into_iter().map(str::to_owned).collect(),
        owners: serde_json::from_str(&fact.owners).unwrap_or_default(),
        parent: fact.parent,
        cost_center: fact.cost_center,
        gl_account: fact.gl_account,
        billing_mode: fact.billing_mode,
        merged_into: fact.merged_into,
        valid_from: first_day(&fact.valid_from),
        valid_to: fact.valid_to,
        entered_by: fact.entered_by,
        created_at: instant(row.created_at),
    }
}

fn to_api_fact(row: &TenantFactRow) -> TenantFactBody {
    TenantFactBody {
        recorded_at: instant(row.recorded_at),
        valid_from: first_day(&row.valid_from),
        valid_to: row.valid_to.clone(),
        name: row.name.clone(),
        slug: row.slug.clone(),
        plan: row.plan.clone(),
        status: row.status.clone(),
        parent: row.parent.clone(),
        merged_into: row.merged_into.clone(),
        entered_by: row.entered_by.clone(),
    }
}
