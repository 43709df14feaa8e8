use super::super::collector::ProviderUsage;
use super::super::decimal::{Decimal, rated};
use super::super::error::CollectError;
use super::super::fetch::{Fetch, Request};
use super::super::line::Line;
use super::super::period::BillingPeriod;
use super::{ADDONS, Project, Usage, put, send};
use domain::{Day, DayRange, Quantity, money};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Resource of the hours during which an add-on was selected.
const HOURS: &str = "addon_hours";
/// Resource of the hours during which a project ran; there is one for each day on which somebody looked.
const PROJECT_HOURS: &str = "project_hours";
/// Hours of a day in UTC.
const HOURS_OF_DAY: i128 = 24;
/// Kind of add-on, service, and category of FOCUS.
const SERVICES: [(&str, &str, &str); 8] = [
    ("compute_instance", "Compute", "Databases"),
    ("pitr", "Point in Time Recovery", "Databases"),
    ("custom_domain", "Custom Domain", "Networking"),
    ("ipv4", "IPv4 Address", "Networking"),
    ("auth_mfa_phone", "Auth MFA Phone", "Identity"),
    ("auth_mfa_web_authn", "Auth MFA WebAuthn", "Identity"),
    ("log_drain", "Log Drain", "Management and Governance"),
    ("", "Add-on", "Other"),
];

#[derive(Deserialize)]
struct Found {
    selected_addons: Vec<Addon>,
}

/// An add-on of a project.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Addon {
    #[serde(rename = "type")]
    kind: String,
    variant: Variant,
}

#[derive(Clone, Debug, Deserialize)]
struct Variant {
    id: String,
    price: Price,
}

#[derive(Clone, Debug, Deserialize)]
struct Price {
    #[serde(rename = "type")]
    kind: String,
    interval: String,
    amount: Decimal,
}

/// Returns the add-ons that are selected just now.
pub(super) async fn selected(fetch: &Fetch, project: &Project) -> Result<Vec<Addon>, CollectError> {
    let found: Found = send(fetch, Request::get(ADDONS).argument(&project.id)).await?.json()?;
    for addon in &found.selected_addons {
        if !matches!(addon.variant.price.interval.as_str(), "hourly" | "monthly") {
            let interval = crate::error::shorten(&addon.variant.price.interval);
            return Err(CollectError::schema(format!("an add-on is priced by `{interval}`, which is not documented")));
        }
    }
    Ok(found.selected_addons)
}

/// Adds the hours of the days on which nobody looked yet, as if project and add-ons had been all day what they are now, but
/// none of days before the project was made. The price is kept beside them: it may be another one when they are rated.
pub(super) fn add_hours(project: &Project, selected: &[Addon], closed: DayRange, usage: &mut Usage) {
    let is_ours =
        |one: &&ProviderUsage| one.resource == PROJECT_HOURS && one.labels.get("project") == Some(&project.id);
    let known: BTreeSet<Day> = usage.values().filter(is_ours).map(|one| one.day).collect();
    let running = if project.is_active { HOURS_OF_DAY } else { 0 };
    let is_wanted = |day: &Day| project.made.is_none_or(|made| made <= *day) && !known.contains(day);
    for day in closed.days().filter(is_wanted) {
        put(usage, hours(PROJECT_HOURS, day, running, &[("project", project.id.as_str())]));
        for addon in selected {
            let Price { kind, interval, amount } = &addon.variant.price;
            let selected = if addon.kind == "compute_instance" { running } else { HOURS_OF_DAY };
            let labels = [
                ("project", project.id.as_str()),
                ("addon", addon.kind.as_str()),
                ("variant", addon.variant.id.as_str()),
                ("price", amount.as_str()),
                ("interval", interval.as_str()),
                ("price_type", kind.as_str()),
            ];
            put(usage, hours(HOURS, day, selected, &labels));
        }
    }
}

fn hours(resource: &str, day: Day, hours: i128, labels: &[(&str, &str)]) -> ProviderUsage {
    ProviderUsage {
        resource: resource.to_owned(),
        unit: "Hours".to_owned(),
        day,
        quantity: hours.to_string(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

/// Returns the hours of add-ons as lines, one for each add-on and day.
pub(super) fn lines(
    usage: &Usage,
    projects: &[Project],
    period: &BillingPeriod,
    currency: &str,
) -> Result<Vec<Line>, CollectError> {
    let hours = usage.values().filter(|one| one.resource == HOURS && one.quantity != "0");
    hours.map(|one| line(one, projects, period, currency)).collect()
}

fn line(
    hours: &ProviderUsage,
    projects: &[Project],
    period: &BillingPeriod,
    currency: &str,
) -> Result<Line, CollectError> {
    let label = |key: &str| hours.labels.get(key).map(String::as_str).unwrap_or_default();
    let (id, addon, variant, price) = (label("project"), label("addon"), label("variant"), label("price"));
    let project = projects.iter().find(|project| project.id == id);
    let cost = cost(hours, price, label("interval"), period)
        .ok_or_else(|| CollectError::schema(format!("add-on {variant} of {id} cannot be rated at `{price}`")))?;
    let (_, service, category) =
        SERVICES.into_iter().find(|(kind, ..)| *kind == addon).unwrap_or(SERVICES[SERVICES.len() - 1]);
    let of_project = |part: fn(&Project) -> Option<String>| project.and_then(part);
    let charge = if label("price_type") == "fixed" { "Purchase" } else { "Usage" };
    Ok(Line::new(charge, period.zone().day_range(hours.day))
        .cost(cost.clone(), currency)
        .cell("ListCost", cost.clone())
        .cell("ContractedCost", cost)
        .cell("ServiceName", service)
        .cell("ServiceCategory", category)
        .cell("ChargeDescription", format!("{addon} {variant}"))
        .cell("ResourceId", format!("{id}/{addon}/{variant}"))
        .cell("ResourceType", "Add-on")
        .cell("SubAccountId", id)
        .cell("SubAccountType", "Project")
        .maybe("SubAccountName", of_project(|project| project.name.clone()))
        .maybe("RegionId", of_project(|project| project.region.clone()))
        .maybe("HostProviderName", of_project(|project| project.cloud.clone()))
        .cell("ConsumedQuantity", hours.quantity.as_str())
        .cell("ConsumedUnit", "Hours")
        .cell("ListUnitPrice", price)
        .cell("x_PriceInterval", label("interval"))
        .cell("x_CostBasis", "rated"))
}

/// Hours × price, of a monthly price the day's part; `None` if it cannot be told.
fn cost(hours: &ProviderUsage, price: &str, interval: &str, period: &BillingPeriod) -> Option<String> {
    let (quantity, _) = Quantity::parse_rounding(&hours.quantity).ok()?;
    let price = money::parse_atoms(price).ok()?.atoms;
    let hour = 10_i128.pow(domain::quantity::QUANTITY_SCALE);
    let divisor = match interval {
        "hourly" => hour,
        "monthly" => hour * HOURS_OF_DAY * i128::from(period.days().len()),
        _ => return None,
    };
    Some(money::format_atoms(rated(quantity.atoms(), price, divisor)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Zone;
    use std::collections::BTreeMap;

    #[test]
    fn an_hourly_price_is_one_of_hours_and_a_monthly_one_of_the_days_of_the_period() {
        let now = "2026-11-20T00:00:00Z".parse().expect("an instant");
        let day: Day = "2026-11-19".parse().expect("a day");
        let period = BillingPeriod::containing(day, 1, &Zone::utc(), now);
        let hours = |quantity: &str| ProviderUsage {
            resource: HOURS.to_owned(),
            unit: "Hours".to_owned(),
            day,
            quantity: quantity.to_owned(),
            labels: BTreeMap::new(),
        };
        let rated = |quantity: &str, price: &str, interval: &str| cost(&hours(quantity), price, interval, &period);
        assert_eq!(rated("24", "0.0206", "hourly").as_deref(), Some("0.4944"));
        assert_eq!(rated("24", "100", "monthly").as_deref(), Some("3.333333333333333"));
        assert_eq!((rated("24", "1", "yearly"), rated("24", "x", "hourly")), (None, None));
    }
}
