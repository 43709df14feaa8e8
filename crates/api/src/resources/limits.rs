//! How much of providers' limits is used.

use super::costs::RangeBody;
use super::ledger::PageParams;
use crate::access::AdminReader;
use crate::app::App;
use crate::convert::{day, instant, quantity};
use crate::list::{ListAsked, Page};
use crate::problem::ApiError;
use crate::query::QueryPairs;
use axum::extract::State;
use axum::response::Response;
use domain::decimal::format_scaled;
use domain::provider_limit::RATIO_SCALE;
use engine::query::LimitStatus;
use serde::Serialize;
use utoipa::ToSchema;

/// A limit of a provider, and how much of it is used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LimitBody {
    /// Whose resource, in lower case.
    pub provider: String,
    /// What is limited.
    pub resource: String,
    /// What cap and quantities count in.
    pub unit: String,
    /// How much may be used between two resets.
    pub cap: String,
    /// calendar_month, billing_cycle or a day of the month.
    pub resets: String,
    /// sum, last or max: how the quantities of days become one.
    pub reading: String,
    /// The days of the count.
    pub cycle: RangeBody,
    /// false if no bill names the billing cycle, so that the calendar month stands for it.
    pub cycle_known: bool,
    /// When the count starts anew.
    pub resets_at: String,
    /// What was used since the last reset; null if nothing is known of it.
    pub used: Option<String>,
    /// Part of the whole cap; alerts compare this.
    pub used_ratio: Option<String>,
    /// The last day of which something is known.
    pub through: Option<String>,
    /// The part of the cap that falls on the time since the reset; to look at.
    pub cap_to_date: Option<String>,
    /// What the whole cycle comes to if it goes on like that; to look at. Null for what is not summed.
    pub forecast: Option<String>,
    /// What was measured in units that do not convert to the limit's, and is not counted.
    pub warnings: Vec<String>,
}

/// Returns the limits of the configuration, in its order, and how much of each is used.
#[utoipa::path(get, path = "/api/v1/limits", tag = "sources", params(PageParams), responses((status = 200, body = Page<LimitBody>)))]
pub async fn list_limits(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let limits = app.engine.limits_all_tenants(app.exporter.limits()).await?;
    let timezone = app.zone().name();
    Page::of_all(limits, &page, "limits", |status| to_api_limit(status, timezone))?.answer(&asked)
}

fn to_api_limit(status: &LimitStatus, timezone: &str) -> LimitBody {
    let limit = &status.limit;
    let unknown = |unit: &String| {
        format!("what was measured in `{unit}` does not convert to `{}` and is not counted", limit.unit)
    };
    LimitBody {
        provider: status.provider.clone(),
        resource: status.resource.clone(),
        unit: limit.unit.clone(),
        cap: quantity(limit.cap.atoms()),
        resets: limit.resets.text(),
        reading: limit.reading.as_str().to_owned(),
        cycle: RangeBody { from: day(status.cycle.from()), to: day(status.cycle.to()), timezone: timezone.to_owned() },
        cycle_known: status.is_cycle_known,
        resets_at: instant(status.resets_at.micros()),
        used: status.used.map(quantity),
        used_ratio: status.used_ratio.map(|ratio| format_scaled(ratio, RATIO_SCALE, 0)),
        through: status.through.map(day),
        cap_to_date: status.cap_to_date.map(quantity),
        forecast: status.forecast.map(quantity),
        warnings: status.other_units.iter().map(unknown).collect(),
    }
}
