//! A provider whose cost comes twice: by hand and by a collector.

use collectors::fixed::FixedEntry;
use collectors::providers::ProviderSource;
use domain::policy::FixedPer;
use domain::{Day, Month};
use serde_json::Value;

/// What people call providers, and what collectors call them.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("amazon", "aws"),
    ("amazon web services", "aws"),
    ("azure", "microsoft"),
    ("gcp", "google cloud"),
    ("google", "google cloud"),
    ("ionos cloud", "ionos"),
    ("ovh", "ovhcloud"),
];

/// A fixed or manual cost, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnteredCost {
    id: String,
    provider: String,
    from: Day,
    to: Option<Day>,
}

impl EnteredCost {
    /// Returns what a pool with `fixed` stands for.
    pub fn of_entry(entry: &FixedEntry) -> Self {
        let is_once = entry.per == FixedPer::Once;
        let to = entry.to.or_else(|| is_once.then_some(entry.from));
        Self { id: entry.id.clone(), provider: entry.provider.clone(), from: entry.from, to }
    }

    /// Returns what a row of `GET /fixed-costs` stands for; nothing if it is none.
    pub fn of_row(row: &Value) -> Option<Self> {
        let text = |key: &str| row[key].as_str();
        let from: Day = text("from")?.parse().ok()?;
        let to = text("to").and_then(|to| to.parse().ok());
        let is_once = text("per") == Some("once");
        let (id, provider) = (text("id")?.to_owned(), text("provider")?.to_owned());
        Some(Self { id, provider, from, to: to.or_else(|| is_once.then_some(from)) })
    }

    fn is_in(&self, month: Month) -> bool {
        self.from <= month.last_day() && self.to.is_none_or(|to| month.first_day() <= to)
    }
}

/// Returns a warning for each cost whose provider a collector reads as well in that month.
pub fn covered_twice(sources: &[ProviderSource], costs: &[EnteredCost], month: Month) -> Vec<String> {
    let mut warnings = Vec::new();
    for cost in costs.iter().filter(|cost| cost.is_in(month)) {
        let name = cost.provider.trim().to_lowercase();
        let provider = OTHER_NAMES.into_iter().find(|(other, _)| *other == name).map_or(name.as_str(), |(_, own)| own);
        let is_same = |source: &&ProviderSource| {
            let spec = source.collector.spec();
            [spec.name, spec.provider].iter().any(|name| name.eq_ignore_ascii_case(provider))
        };
        if let Some(source) = sources.iter().find(is_same) {
            warnings.push(format!(
                "fixed cost {} and source \"{}\" both bring costs of {} in {month}; check that none is counted twice",
                cost.id, source.name, cost.provider
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, provider_sources};
    use serde_json::json;

    #[test]
    fn a_cost_of_a_provider_that_is_collected_is_warned_about_in_its_months() {
        let text = "[[source]]\nname='bill'\nkind='vercel'\ntoken='t'";
        let config: Config = toml::from_str(text).expect("TOML");
        let sources = provider_sources(&config).expect("valid");
        let check = |provider: &str, per: &str, from: &str, to: Value, expected: usize| {
            let row = json!({ "id": "fc-1", "provider": provider, "per": per, "from": from, "to": to });
            let cost = EnteredCost::of_row(&row).expect("a cost");
            let found = covered_twice(&sources, &[cost], "2026-11".parse().expect("a month"));
            assert_eq!(found.len(), expected, "{row}: {found:?}");
            assert!(found.iter().all(|warning| warning.contains("source \"bill\"") && warning.contains("2026-11")));
        };
        check("Vercel", "month", "2026-01-01", Value::Null, 1);
        check("vercel ", "month", "2026-11-30", Value::Null, 1);
        check("Vercel", "month", "2026-12-01", Value::Null, 0);
        check("Vercel", "month", "2026-01-01", json!("2026-10-31"), 0);
        check("Vercel", "once", "2026-10-31", Value::Null, 0);
        check("Vercel", "once", "2026-11-02", Value::Null, 1);
        check("Hostinger", "month", "2026-01-01", Value::Null, 0);
    }

    #[test]
    fn a_provider_is_known_by_the_names_that_people_use() {
        let text = "[[source]]\nname='ovh'\nkind='ovhcloud'\napplication_key='a'\napplication_secret='b'\nconsumer_key='c'\n\
                    [[source]]\nname='cur'\nkind='aws_export'\npath='/srv/exports'\n\
                    [[source]]\nname='dcd'\nkind='ionos'\ntoken='t'\ncontract='12345678'";
        let config: Config = toml::from_str(text).expect("TOML");
        let sources = provider_sources(&config).expect("valid");
        let warned = |provider: &str| {
            let row = json!({ "id": "fc-1", "provider": provider, "per": "month", "from": "2026-01-01" });
            let cost = EnteredCost::of_row(&row).expect("a cost");
            covered_twice(&sources, &[cost], "2026-11".parse().expect("a month")).len()
        };
        let names = ["OVH", "OVHcloud", "Amazon Web Services", "AWS", "IONOS", "IONOS Cloud"];
        assert_eq!(names.map(warned), [1; 6]);
        assert_eq!(["Google", "OVH Telecom"].map(warned), [0; 2]);
    }
}
