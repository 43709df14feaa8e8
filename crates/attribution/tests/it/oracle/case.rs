//! A random day, in the oracle's own words and as inputs of the implementation.

use crate::given::{day, money, quantity};
use attribution::day::{DayInputs, DayOutcome, attribute_day};
use attribution::fx::FxTable;
use attribution::graduated::MonthSoFar;
use attribution::line::{AttributeSet, Cost, LinePart};
use attribution::usage::{Measure, MeterBook, UsageCell};
use domain::Currency;
use domain::condition::ChargeAttribute;
use domain::dimension::{Dimension, Dimensions};
use domain::meter::{Aggregation, Category, Meter, MeterKind, builtin};
use domain::policy::Policy;
use domain::rates::RateCard;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Condition key and alternatives; all must hold.
pub type Tests = Vec<(String, Vec<String>)>;
pub type Values = BTreeMap<String, String>;

#[derive(Clone, Debug, Default)]
pub struct Case {
    pub metric: &'static str,
    pub rules: Vec<RuleSpec>,
    pub pools: Vec<PoolSpec>,
    pub lines: Vec<Line>,
    pub usage: Vec<Use>,
    pub active: Vec<String>,
    pub card: Option<Card>,
    /// From, to, age in days (negative: in the future), rate.
    pub fx: Vec<(String, String, i32, String)>,
    pub day_hours: i64,
}

#[derive(Clone, Debug)]
pub struct RuleSpec {
    pub of_usage: bool,
    pub when: Option<Tests>,
    pub tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Select(Tests),
    Recovers(Tests),
    Fixed,
    Memo,
}

#[derive(Clone, Debug)]
pub struct PoolSpec {
    pub name: String,
    pub cluster: bool,
    pub tier: &'static str,
    pub metric: Option<&'static str>,
    pub origin: Origin,
    pub method: &'static str,
    pub by: Vec<String>,
    /// `where`; an empty one lets all usage through.
    pub drivers: Option<Tests>,
    /// `weighted`; one meter of weight 1 for `proportional`.
    pub weights: Vec<(String, String)>,
    pub resource_share: bool,
    pub meters: Vec<String>,
    pub of: Vec<String>,
    pub of_users: bool,
    pub percent: Vec<(String, String)>,
    pub follow: bool,
    /// Meter, and quantity per hour or the measuring meter.
    pub capacity: Vec<(String, String)>,
    pub idle: &'static str,
    pub detail: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub values: Values,
    pub currency: String,
    /// By cost metric.
    pub costs: BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug)]
pub struct Use {
    /// Dimensions, labels and `origin`.
    pub values: Values,
    pub meter: String,
    pub sum: String,
    pub last: String,
    pub count: i64,
}

/// Meter, price, per, labels.
pub type PriceSpec = (String, String, &'static str, Vec<(String, String)>);

#[derive(Clone, Debug)]
pub struct Card {
    pub currency: String,
    pub prices: Vec<PriceSpec>,
}

/// Incoming tenant names that have an alias or are refused.
pub const ALIAS: (&str, &str) = ("team-old", "globex");
pub const REFUSED: &str = "refused";

fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    if let [one] = quoted.as_slice() { one.clone() } else { format!("[{}]", quoted.join(",")) }
}

fn table(tests: &Tests) -> String {
    let pairs = tests.iter().map(|(key, values)| {
        let key = if key.contains(':') { format!("'{key}'") } else { key.clone() };
        format!("{key}={}", list(values))
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn pairs(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}='{value}'")).collect();
    format!("{{{}}}", pairs.join(","))
}

impl PoolSpec {
    fn toml(&self) -> String {
        let mut text = format!("[[pool]]\nname='{}'\ntier='{}'\n", self.name, self.tier);
        let mut row = |row: String| writeln!(text, "{row}").expect("text grows");
        match &self.origin {
            Origin::Select(tests) => row(format!("select={}", table(tests))),
            Origin::Recovers(tests) => row(format!("recovers={}", table(tests))),
            Origin::Fixed => {
                row("fixed={provider='own',amount='310',currency='USD',per='month',from=2026-01-01}".to_owned())
            }
            Origin::Memo => {}
        }
        if self.cluster {
            row("kind='cluster'".to_owned());
        }
        if let Some(metric) = self.metric {
            row(format!("cost_metric='{metric}'"));
        }
        if !self.capacity.is_empty() {
            row(format!("capacity={}\nidle='{}'", pairs(&self.capacity), self.idle));
        }
        if !self.detail.is_empty() {
            let detail: Vec<String> = self.detail.iter().map(|&word| format!("'{word}'")).collect();
            row(format!("detail=[{}]", detail.join(",")));
        }
        row(format!("split={{{}}}", self.split_toml()));
        text
    }

    fn split_toml(&self) -> String {
        let mut parts = vec![format!("method='{}'", self.method)];
        let by: Vec<String> = self.by.iter().map(|word| format!("'{word}'")).collect();
        parts.push(format!("by=[{}]", by.join(",")));
        match self.method {
            "weighted" => parts.push(format!("weights={}", pairs(&self.weights))),
            "proportional" => parts.push(format!("meter='{}'", self.weights[0].0)),
            "rated" => parts.push(format!("meters=[{}]", list(&self.meters).trim_matches(['[', ']']))),
            "fixed" => parts.push(format!("percent={}", pairs(&self.percent))),
            "even" if self.of_users => parts.push("of='users'".to_owned()),
            "by_cost" if !self.of.is_empty() => {
                parts.push(format!("of=[{}]", list(&self.of).trim_matches(['[', ']'])));
            }
            _ => {}
        }
        if self.resource_share {
            parts.push("normalize='resource_share'".to_owned());
        }
        if self.follow {
            parts.push("follow='invoice'".to_owned());
        }
        if let Some(drivers) = &self.drivers {
            parts.push(format!("where={}", table(drivers)));
        }
        parts.join(",")
    }
}

impl Case {
    pub fn policy_toml(&self) -> String {
        let mut text = format!("version='v'\nvalid_from=2026-01-01\ncost_metric='{}'\n", self.metric);
        for rule in &self.rules {
            let key = if rule.of_usage { "usage" } else { "when" };
            let when = rule.when.as_ref().map_or_else(String::new, |tests| format!("{key}={}\n", table(tests)));
            text.push_str(&format!("[[tenant_rule]]\n{when}tenant='{}'\n", rule.tenant));
        }
        self.pools.iter().for_each(|pool| text.push_str(&pool.toml()));
        text
    }

    fn rate_card(&self) -> Option<RateCard> {
        let card = self.card.as_ref()?;
        let mut text = format!("version='r'\ncurrency='{}'\nvalid_from=2026-01-01\n", card.currency);
        for (meter, price, per, labels) in &card.prices {
            let labels = if labels.is_empty() { String::new() } else { format!("labels={}\n", pairs(labels)) };
            text.push_str(&format!("[[price]]\nmeter='{meter}'\nprice='{price}'\nper='{per}'\n{labels}"));
        }
        Some(RateCard::read("rates.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}")))
    }

    fn parts(&self, policy: &Policy) -> Vec<LinePart> {
        let attributes = AttributeSet::needed_by([policy]);
        let part = |line: &Line| {
            let named: BTreeMap<ChargeAttribute, &str> =
                line.values.iter().map(|(key, value)| (key.parse().expect("an attribute"), value.as_str())).collect();
            let value = |attribute| named.get(attribute).map(|value| Arc::from(*value));
            LinePart {
                attributes: attributes.clone(),
                values: attributes.attributes().iter().map(value).collect(),
                currency: line.currency.parse().expect("a currency"),
                cost: Cost {
                    billed: money(&line.costs["billed"]),
                    effective: money(&line.costs["effective"]),
                    contracted: money(&line.costs["contracted"]),
                    list: money(&line.costs["list"]),
                },
                lines: 1,
            }
        };
        self.lines.iter().map(part).collect()
    }

    fn cells(&self, meters: &MeterBook) -> Vec<UsageCell> {
        let cell = |used: &Use| {
            let mut dimensions = Dimensions::default();
            for (name, value) in used.values.iter().filter(|(name, _)| *name != "origin") {
                dimensions.set(&name.parse::<Dimension>().expect("a dimension"), Some(Arc::from(value.as_str())));
            }
            let meter = meters.get(&used.meter).expect("a known meter");
            let (sum, last) = (quantity(&used.sum), quantity(&used.last));
            let measure =
                Measure { sum, count: used.count.into(), min: Some(sum.min(last)), max: Some(sum.max(last)), last };
            UsageCell {
                dimensions,
                origin: used.values["origin"].as_str().into(),
                meter: used.meter.as_str().into(),
                unit: meter.unit.as_str().into(),
                kind: meter.kind,
                measure,
            }
        };
        self.usage.iter().map(cell).collect()
    }

    /// What the implementation makes of the day.
    pub fn attribute(&self) -> DayOutcome {
        let text = self.policy_toml();
        let policy = Policy::read("policy.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let meters = MeterBook::new(meters());
        let mut fx = FxTable::default();
        for (from, to, age, rate) in &self.fx {
            let currency = |code: &str| code.parse::<Currency>().expect("a currency");
            fx.insert(day().plus(-age), currency(from), currency(to), rate.parse().expect("a rate"));
        }
        let active: BTreeSet<Arc<str>> = self.active.iter().map(|tenant| Arc::from(tenant.as_str())).collect();
        let resolve = |value: &str| match value {
            REFUSED => None,
            value if value == ALIAS.0 => Some(Arc::from(ALIAS.1)),
            value => Some(Arc::from(value)),
        };
        attribute_day(&DayInputs {
            day: day(),
            day_seconds: self.day_hours * 3600,
            policy: &policy,
            lines: &self.parts(&policy),
            usage: &self.cells(&meters),
            windows: &BTreeMap::new(),
            active_tenants: &active,
            rate_card: self.rate_card().as_ref(),
            month_so_far: &MonthSoFar::default(),
            meters: &meters,
            reporting_currency: Currency::USD,
            fx: &fx,
            resolve: &resolve,
        })
    }
}

/// The built-in meters and one for each way to fold that none of them has, or not with a value.
fn meters() -> Vec<Meter> {
    let folded = [
        ("load_avg", Aggregation::Avg),
        ("load_max", Aggregation::Max),
        ("load_min", Aggregation::Min),
        ("load_count", Aggregation::Count),
    ];
    let meter = |(name, aggregation): (&str, Aggregation)| Meter {
        name: name.to_owned(),
        unit: "Load".to_owned(),
        category: Category::Compute,
        kind: MeterKind::Gauge,
        event_type: name.to_owned(),
        value: Some("$.value".to_owned()),
        aggregation,
        group_by: BTreeMap::new(),
    };
    builtin().into_iter().chain(folded.map(meter)).collect()
}
