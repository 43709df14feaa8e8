//! Builders of a day's inputs.

use attribution::day::{DayInputs, DayOutcome, attribute_day};
use attribution::fx::FxTable;
use attribution::graduated::MonthSoFar;
use attribution::line::{AttributeSet, Cost, LinePart};
use attribution::usage::{Measure, MeterBook, UsageCell};
use attribution::window::WindowPool;
use domain::condition::ChargeAttribute;
use domain::dimension::{Dimension, Dimensions};
use domain::meter::{MeterKind, builtin};
use domain::policy::Policy;
use domain::rates::RateCard;
use domain::{Currency, Day};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A day that tests fill in before they attribute it.
pub struct Given {
    pub policy: Policy,
    pub lines: Vec<LinePart>,
    pub usage: Vec<UsageCell>,
    pub windows: BTreeMap<String, WindowPool>,
    pub active: BTreeSet<Arc<str>>,
    pub card: Option<RateCard>,
    pub month_so_far: MonthSoFar,
    pub fx: FxTable,
    pub reporting: Currency,
}

pub fn money(text: &str) -> i128 {
    domain::money::parse_atoms(text).expect("money").atoms
}

pub fn quantity(text: &str) -> i128 {
    text.parse::<domain::Quantity>().expect("a quantity").atoms()
}

pub fn day() -> Day {
    "2026-11-10".parse().expect("a day")
}

impl Given {
    pub fn policy(pools: &str) -> Self {
        let policy = Policy::read("policy.toml", &format!("version = 'v'\nvalid_from = 2026-01-01\n{pools}"))
            .expect("a valid policy");
        Self {
            policy,
            lines: Vec::new(),
            usage: Vec::new(),
            windows: BTreeMap::new(),
            active: BTreeSet::new(),
            card: None,
            month_so_far: MonthSoFar::default(),
            fx: FxTable::default(),
            reporting: Currency::USD,
        }
    }

    pub fn line(mut self, effective: &str, billed: &str, values: &[(&str, &str)]) -> Self {
        let currency = values.iter().find(|(name, _)| *name == "currency").map_or("USD", |(_, code)| code);
        let attributes = AttributeSet::needed_by([&self.policy]);
        let defaults = [("charge_category", "Usage"), ("service_category", "Compute"), ("source", "aws")];
        let all: BTreeMap<ChargeAttribute, &str> = defaults
            .iter()
            .chain(values)
            .filter(|(name, _)| *name != "currency")
            .map(|(name, value)| (name.parse().expect("an attribute"), *value))
            .collect();
        let values =
            attributes.attributes().iter().map(|attribute| all.get(attribute).map(|value| Arc::from(*value))).collect();
        let cost = Cost {
            billed: money(billed),
            effective: money(effective),
            contracted: money(effective),
            list: money(effective),
        };
        self.lines.push(LinePart {
            attributes,
            values,
            currency: currency.parse().expect("a currency"),
            cost,
            lines: 1,
        });
        self
    }

    pub fn usage(mut self, meter: &str, amount: &str, values: &[(&str, &str)]) -> Self {
        let mut dimensions = Dimensions::default();
        for (name, value) in values.iter().filter(|(name, _)| *name != "origin") {
            dimensions.set(&name.parse::<Dimension>().expect("a dimension"), Some(Arc::from(*value)));
        }
        let origin = values.iter().find(|(name, _)| *name == "origin").map_or("events", |(_, origin)| origin);
        let known = builtin().into_iter().find(|known| known.name == meter);
        let amount = quantity(amount);
        self.usage.push(UsageCell {
            dimensions,
            origin: origin.into(),
            meter: meter.into(),
            unit: known.as_ref().map_or("Units", |meter| &meter.unit).into(),
            kind: known.map_or(MeterKind::Counter, |meter| meter.kind),
            measure: Measure { sum: amount, count: 1, min: Some(amount), max: Some(amount), last: amount },
        });
        self
    }

    pub fn active(mut self, tenants: &[&str]) -> Self {
        self.active.extend(tenants.iter().map(|tenant| Arc::from(*tenant)));
        self
    }

    pub fn rates(mut self, rows: &str) -> Self {
        let text = format!("version='r'\ncurrency='USD'\nvalid_from=2026-01-01\n{rows}");
        self.card = Some(RateCard::read("rates.toml", &text).expect("a valid card"));
        self
    }

    pub fn rate(mut self, from: &str, to: &str, rate: &str) -> Self {
        let currency = |code: &str| code.parse::<Currency>().expect("a currency");
        self.fx.insert(day(), currency(from), currency(to), rate.parse().expect("a rate"));
        self
    }

    pub fn attribute(&self) -> DayOutcome {
        attribute_day(&DayInputs {
            day: day(),
            day_seconds: 86_400,
            policy: &self.policy,
            lines: &self.lines,
            usage: &self.usage,
            windows: &self.windows,
            active_tenants: &self.active,
            rate_card: self.card.as_ref(),
            month_so_far: &self.month_so_far,
            meters: &MeterBook::new(builtin()),
            reporting_currency: self.reporting,
            fx: &self.fx,
            resolve: &|tenant| (tenant != "refused").then(|| Arc::from(tenant)),
        })
    }

    /// Shares as `pool consumer meter? category amount`, for amounts other than zero.
    pub fn shares(&self) -> Vec<String> {
        let outcome = self.attribute();
        let mut rows = Vec::new();
        for pool in &outcome.pools {
            for share in pool.shares.iter().filter(|share| share.amount != 0) {
                let consumer = match &share.consumer {
                    attribution::cells::Consumer::Reserved(word) => (*word).to_owned(),
                    attribution::cells::Consumer::Values(values) => {
                        values.iter().map(|value| value.as_deref().unwrap_or_default()).collect::<Vec<_>>().join("/")
                    }
                };
                let meter = share.meter.as_ref().map_or_else(String::new, |meter| format!(" {meter}"));
                rows.push(format!("{} {consumer}{meter} {}", pool.name, domain::money::format_atoms(share.amount)));
            }
        }
        rows
    }
}
