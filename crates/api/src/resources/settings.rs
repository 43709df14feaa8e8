//! What pages show of the configuration, and to whom they show it.

use crate::access::CostReader;
use crate::app::App;
use crate::convert::day;
use crate::list::json;
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::TenantScope;
use serde::Serialize;
use utoipa::ToSchema;

/// What pages show of the configuration.
#[derive(Clone, Debug)]
pub struct PageSettings {
    /// `org.name`.
    pub name: String,
    /// `org.tenant_word`.
    pub tenant_word: String,
    /// `schedule.snapshot`, such as `00:10`.
    pub snapshot: String,
    /// `[[ui.tenant_link]]`.
    pub tenant_links: Vec<TenantLinkBody>,
}

impl Default for PageSettings {
    fn default() -> Self {
        Self {
            name: "Example".to_owned(),
            tenant_word: "workspace".to_owned(),
            snapshot: "00:10".to_owned(),
            tenant_links: Vec::new(),
        }
    }
}

/// A link shown beside each tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TenantLinkBody {
    /// Its text.
    pub label: String,
    /// Its address, in which `{slug}` stands for the tenant.
    pub url: String,
}

/// Whose costs these are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrganisationBody {
    /// Its name.
    pub name: String,
    /// IANA zone of a day.
    pub timezone: String,
    /// Currency of reports.
    pub reporting_currency: String,
    /// What pages call a tenant.
    pub tenant_word: String,
}

/// Who asks, and what pages show of the configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingsBody {
    /// What the caller may do.
    pub role: String,
    /// The tenants that the caller may see; null for all.
    pub tenants: Option<Vec<String>>,
    /// Whose costs these are.
    pub organisation: OrganisationBody,
    /// The current day of the organisation.
    pub today: String,
    /// Time of the nightly snapshot, in the organisation's zone.
    pub snapshot: String,
    /// Links shown beside each tenant.
    pub tenant_links: Vec<TenantLinkBody>,
    /// Version of the program.
    pub version: String,
}

/// Returns who asks, and what pages show of the configuration.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = SettingsBody)))]
pub async fn show_settings(
    reader: CostReader,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    query.none()?;
    let (pages, settings) = (&app.pages, app.engine.settings());
    let tenants = match reader.scope() {
        TenantScope::All => None,
        TenantScope::Only(tenants) => Some(tenants.iter().map(ToString::to_string).collect()),
    };
    json(&SettingsBody {
        role: reader.role.as_str().to_owned(),
        tenants,
        organisation: OrganisationBody {
            name: pages.name.clone(),
            timezone: settings.zone.name().to_owned(),
            reporting_currency: settings.reporting_currency.to_string(),
            tenant_word: pages.tenant_word.clone(),
        },
        today: day(app.today()),
        snapshot: pages.snapshot.clone(),
        tenant_links: pages.tenant_links.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
