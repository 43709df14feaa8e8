use super::super::collector::{Collected, ProviderUsage};
use super::super::credentials::bearer;
use super::super::decimal::Decimal;
use super::super::error::CollectError;
use super::super::fetch::{Fetch, Request};
use super::super::keys::word_of;
use super::super::line::Line;
use super::super::period::BillingPeriod;
use super::CHARGES;
use domain::{Day, Instant, InstantRange, Quantity};
use reqwest::header::AUTHORIZATION;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The categories of services that FOCUS knows.
const CATEGORIES: [&str; 19] = [
    "AI and Machine Learning",
    "Analytics",
    "Business Applications",
    "Compute",
    "Databases",
    "Developer Tools",
    "Multicloud",
    "Identity",
    "Integration",
    "Internet of Things",
    "Management and Governance",
    "Media",
    "Migration",
    "Mobile",
    "Networking",
    "Security",
    "Storage",
    "Web",
    "Other",
];
/// Categories of Vercel's own, and what they are in FOCUS.
const OWN_CATEGORIES: [(&str, &str); 3] =
    [("Build & Deploy", "Developer Tools"), ("Vercel Functions", "Compute"), ("Subscription Licenses", "Other")];
/// Units of Vercel's own, and what they are in FOCUS.
const UNITS: [(&str, &str); 4] =
    [("gigabyte", "GB"), ("gigabyte-hour", "GB-Hours"), ("gigabyte-month", "GB-Months"), ("hour", "Hours")];

/// Reads the charges of the days of a billing period that are over.
pub(super) async fn collect(
    fetch: &Fetch,
    team: Option<&str>,
    period: &BillingPeriod,
    collected: &mut Collected,
) -> Result<(), CollectError> {
    let Some(range) = period.closed_range() else { return Ok(()) };
    let mut request = Request::get(CHARGES).query("from", range.start).query("to", range.end);
    if let Some(team) = team {
        request = request.query("teamId", team);
    }
    let answer = fetch.send(request.header(AUTHORIZATION, bearer(fetch.credentials(), "token")?)).await?;
    let rows: Vec<Map<String, Value>> = answer.json_lines()?;
    let mut sums = Sums::default();
    for row in rows {
        let (line, day) = line_of(row, range, period)?;
        sums.add(&line, day)?;
        collected.lines.push(line);
    }
    collected.usage.extend(sums.into_usage());
    collected.usage_days = period.closed();
    Ok(())
}

/// The row as a line, and the day that it is of.
fn line_of(row: Map<String, Value>, range: InstantRange, period: &BillingPeriod) -> Result<(Line, Day), CollectError> {
    let line = Line::of_focus(row);
    let text = line.text("ChargePeriodStart").unwrap_or_default();
    let start =
        Instant::parse_lenient(text).map_err(|error| CollectError::schema(format!("ChargePeriodStart: {error}")))?;
    if start < range.start || range.end <= start {
        return Err(CollectError::schema(format!("a charge of {start} was not asked for")));
    }
    let day = period.zone().day_of(start);
    let tag = |name: &str| line.get("Tags").and_then(|tags| tags.get(name)).and_then(Value::as_str).map(str::to_owned);
    let (project, project_name) = (tag("ProjectId"), tag("ProjectName"));
    let is_of_project = project.is_some();
    let category = line.text("ServiceCategory").map(str::to_owned);
    let effective = match line.get("EffectiveCost") {
        Some(cost) => Decimal::of(cost).map_err(|reason| CollectError::schema(format!("EffectiveCost: {reason}")))?,
        None => return Err(CollectError::schema("a cost line has no `EffectiveCost`")),
    };
    let line = line
        .maybe("SubAccountId", project)
        .maybe("SubAccountName", project_name)
        .maybe("SubAccountType", is_of_project.then_some("Project"))
        .cell("BillingAccountType", "Team")
        .cell("HostProviderName", "Vercel")
        .maybe("x_BillingPeriodBasis", period.is_inferred().then_some("inferred"))
        // Vercel sends neither; a null cost would be stored as 0.
        .cell("ListCost", effective.as_str())
        .cell("ContractedCost", effective.as_str())
        .cell("x_DerivedCosts", "ListCost, ContractedCost")
        .cell("ServiceCategory", focus_category(category.as_deref()))
        .maybe("x_ServiceCategory", category.filter(|own| !CATEGORIES.contains(&own.as_str())));
    Ok((line, day))
}

fn focus_category(own: Option<&str>) -> &'static str {
    let Some(own) = own else { return "Other" };
    let known = CATEGORIES.into_iter().find(|known| *known == own);
    let mapped = || OWN_CATEGORIES.into_iter().find(|(name, _)| *name == own).map(|(_, mapped)| mapped);
    known.or_else(mapped).unwrap_or("Other")
}

/// What lines say was consumed, by day, service, unit and project.
#[derive(Default)]
struct Sums(BTreeMap<(Day, String, String, String), i128>);

impl Sums {
    fn add(&mut self, line: &Line, day: Day) -> Result<(), CollectError> {
        let is_usage = line.text("ChargeCategory") == Some("Usage");
        let (Some(quantity), Some(unit), Some(service)) =
            (line.get("ConsumedQuantity"), line.text("ConsumedUnit"), line.text("ServiceName"))
        else {
            return Ok(());
        };
        let resource = word_of(service);
        if !is_usage || resource.is_empty() {
            return Ok(());
        }
        let refused = |reason: String| CollectError::schema(format!("ConsumedQuantity of {resource}: {reason}"));
        let quantity = Decimal::of(quantity).map_err(refused)?;
        let (quantity, _) = Quantity::parse_rounding(quantity.as_str()).map_err(|error| refused(error.to_string()))?;
        let unit = UNITS.into_iter().find(|(own, _)| *own == unit).map_or(unit, |(_, focus)| focus);
        let project = line.text("SubAccountId").unwrap_or_default().to_owned();
        let sum = self.0.entry((day, resource.clone(), unit.to_owned(), project)).or_default();
        *sum = sum.checked_add(quantity.atoms()).ok_or_else(|| refused("the sum is out of bound".to_owned()))?;
        Ok(())
    }

    fn into_usage(self) -> impl Iterator<Item = ProviderUsage> {
        self.0.into_iter().map(|((day, resource, unit, project), atoms)| {
            // One service may be counted in several units; the unit tells them apart.
            let mut labels = BTreeMap::from([("unit".to_owned(), unit.clone())]);
            if !project.is_empty() {
                labels.insert("project".to_owned(), project);
            }
            let quantity = domain::decimal::format_scaled(atoms, domain::quantity::QUANTITY_SCALE, 0);
            ProviderUsage { resource, unit, day, quantity, labels }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::focus_category;

    #[test]
    fn categories_are_those_of_focus() {
        let found = [Some("Compute"), Some("Vercel Functions"), Some("Something new"), None].map(focus_category);
        assert_eq!(found, ["Compute", "Compute", "Other", "Other"]);
    }
}
