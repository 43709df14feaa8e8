use crate::error::MeteringError;
use crate::event::{Event, ParsedEvent, checked};
use crate::json::Json;
use crate::refusal::{Refusal, RefusalCode};
use domain::condition::UsageAttribute;
use domain::dimension::Dimension;
use domain::policy::{Policy, TenantRule};
use domain::tenant::{TenantBook, TenantId};
use domain::{Day, Instant, Zone};
use serde_json::Value;
use serde_json_path::JsonPath;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far ahead of the clock an event's time may be.
pub const FUTURE_SECONDS_MAX: i64 = 3600;
/// How the sources of events begin that are made of the points of metrics servers, pushed or pulled.
const METRICS_SERVERS: [&str; 2] = ["otlp:", "prometheus:"];
/// How the sources of events begin that are made of quantities that a provider tells.
const COLLECTOR: &str = "collector:";

/// Where usage was measured, as conditions see it and the table holds it.
///
/// It follows from the event's source, so that the log, the stored events and the usage made anew from them agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A workload sent an event.
    Events,
    /// OTLP, Prometheus remote write, or a pull from a Prometheus server.
    MetricsServer,
    /// A collector asked a provider.
    Collector,
}

impl Origin {
    /// Every origin of usage that is made of events.
    pub const ALL: [Self; 3] = [Self::Events, Self::MetricsServer, Self::Collector];

    /// Returns the origin of an event's usage.
    #[must_use]
    pub fn of_source(source: &str) -> Self {
        Self::of_source_bytes(source.as_bytes())
    }

    pub(crate) fn of_source_bytes(source: &[u8]) -> Self {
        let is_server = METRICS_SERVERS.iter().any(|server| source.starts_with(server.as_bytes()));
        match is_server {
            true => Self::MetricsServer,
            false if source.starts_with(COLLECTOR.as_bytes()) => Self::Collector,
            false => Self::Events,
        }
    }

    /// Returns the word of the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::MetricsServer => "metrics_server",
            Self::Collector => "collector",
        }
    }
}

/// What happens with a tenant that nobody entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTenants {
    /// It is created, active.
    #[default]
    Create,
    /// Its events are refused.
    Reject,
}

/// What the organisation decides about events.
#[derive(Clone, Debug)]
pub struct EventRules {
    /// Where days and hours begin.
    pub zone: Zone,
    /// `[ingest.map]`.
    pub map: DimensionMap,
    /// Tenant rules of the policies, for events that name no tenant.
    pub tenant_rules: TenantRules,
    /// `[tenants] unknown`.
    pub unknown_tenants: UnknownTenants,
    /// `[ingest] past_days`; `None` accepts any age, as imports do.
    pub past_days_max: Option<i32>,
}

impl EventRules {
    /// Returns the rules that hold without any configuration.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self {
            zone,
            map: DimensionMap::default(),
            tenant_rules: TenantRules::default(),
            unknown_tenants: UnknownTenants::default(),
            past_days_max: None,
        }
    }

    /// Returns where and when the event belongs, with mapped dimensions and the tenant filled in, and its data.
    ///
    /// # Errors
    /// `tenant_missing`, or `invalid_event` for a text that cannot be a tenant id or a dimension.
    pub fn place<'a>(&self, parsed: ParsedEvent<'a>, now: Instant) -> Result<(PlacedEvent<'a>, Json<'a>), Refusal> {
        let ParsedEvent { mut event, data } = parsed;
        self.map.apply(&mut event, &data)?;
        let time = event.time.unwrap_or(now);
        let day = self.zone.day_of(time);
        let named = event.dimensions.plain[0].take();
        let named = named.or_else(|| self.tenant_rules.tenant_of(&event, day).map(Cow::Owned));
        let tenant = named.ok_or_else(|| {
            Refusal::new(
                RefusalCode::TenantMissing,
                "name the tenant in the attribute `tenant` or `subject`, or give a tenant rule with `usage`",
            )
        })?;
        TenantId::check(&tenant).map_err(|error| Refusal::invalid(format!("{error}")))?;
        Ok((PlacedEvent { tenant, time, day, hour: self.zone.hour_of(time), event }, data))
    }

    /// Checks the event's time against the clock.
    ///
    /// # Errors
    /// `time_in_future` or `time_too_old`.
    pub fn check_time(&self, placed: &PlacedEvent<'_>, now: Instant) -> Result<(), Refusal> {
        if now.plus_micros(FUTURE_SECONDS_MAX * domain::time::MICROS_PER_SECOND) < placed.time {
            let detail = format!("{} is more than an hour ahead of {now}", placed.time);
            return Err(Refusal::new(RefusalCode::TimeInFuture, detail));
        }
        let oldest = self.past_days_max.map(|days| self.zone.day_of(now).plus(-days));
        match oldest {
            Some(oldest) if placed.day < oldest => {
                Err(Refusal::new(RefusalCode::TimeTooOld, format!("{} is before {oldest}", placed.day)))
            }
            _ => Ok(()),
        }
    }
}

/// An event that knows its tenant, time and day.
#[derive(Clone, Debug)]
pub struct PlacedEvent<'a> {
    /// The event, without its tenant.
    pub event: Event<'a>,
    /// The incoming tenant value. Aliases and merges are applied per day at attribution, not here.
    pub tenant: Cow<'a, str>,
    /// The event's time, or the receiver's where it has none.
    pub time: Instant,
    /// Day of the organisation's zone.
    pub day: Day,
    /// When the clock hour of that zone begins.
    pub hour: Instant,
}

/// Dimensions that are read from `data` by JSONPath instead of by name.
#[derive(Clone, Debug, Default)]
pub struct DimensionMap(Vec<(Dimension, JsonPath)>);

impl DimensionMap {
    /// Returns the map of these paths by dimension name.
    ///
    /// # Errors
    /// [`MeteringError::InvalidMap`] for an unknown dimension or a text that is not a JSONPath.
    pub fn new(paths: &BTreeMap<String, String>) -> Result<Self, MeteringError> {
        let read = |(name, path): (&String, &String)| {
            let invalid = |problem: String| MeteringError::InvalidMap { dimension: name.clone(), problem };
            let dimension: Dimension = name.parse().map_err(|error| invalid(format!("{error}")))?;
            let parsed =
                JsonPath::parse(path).map_err(|error| invalid(format!("`{path}` is not a JSONPath: {error}")))?;
            Ok((dimension, parsed))
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// A path that finds nothing leaves what the event says.
    fn apply(&self, event: &mut Event<'_>, data: &Json<'_>) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        let data = data.to_value();
        for (dimension, path) in &self.0 {
            let found = path.query(&data).first().and_then(scalar_text);
            let Some(text) = found else { continue };
            if let Some(value) = checked(&dimension.to_string(), Cow::Owned(text))? {
                event.dimensions.set(dimension, value);
            }
        }
        Ok(())
    }
}

/// The text of a string, number or boolean.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The tenant rules with `usage = …` of every policy, by the day from which they hold.
#[derive(Clone, Debug, Default)]
pub struct TenantRules(Vec<(Day, Vec<TenantRule>)>);

impl TenantRules {
    /// Returns the rules of these policies, given in the order of their publication.
    #[must_use]
    pub fn of_policies<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        let usage_rules = |policy: &Policy| {
            let rules = policy.tenant_rules.iter().filter(|rule| rule.usage.is_some()).cloned().collect();
            (policy.valid_from, rules)
        };
        Self(policies.into_iter().map(usage_rules).collect())
    }

    /// Returns the tenant that the policy valid on the day gives the event: the first rule that fits it and yields
    /// a valid id.
    ///
    /// The policy with the greatest `valid_from` up to the day counts; of equal ones the one published last.
    #[must_use]
    pub fn tenant_of(&self, event: &Event<'_>, day: Day) -> Option<String> {
        let value_of = |attribute: &UsageAttribute| match attribute {
            UsageAttribute::Dimension(dimension) => event.dimensions.get(dimension),
            UsageAttribute::Origin => Some(Origin::of_source(&event.source).as_str()),
        };
        let valid = self.0.iter().filter(|(from, _)| *from <= day).max_by_key(|(from, _)| *from);
        let (_, rules) = valid?;
        rules.iter().find_map(|rule| {
            let fits = rule.usage.as_ref().is_some_and(|conditions| conditions.hold(value_of));
            let value = |name: &str| name.parse().ok().and_then(|attribute| value_of(&attribute));
            let filled = fits.then(|| rule.tenant.fill(value)).flatten()?;
            filled.parse::<TenantId>().is_ok().then_some(filled)
        })
    }
}

/// Which tenants exist, and which ones an import is about to create.
#[derive(Clone, Debug, Default)]
pub struct KnownTenants {
    book: Arc<TenantBook>,
    created: std::collections::BTreeSet<Arc<str>>,
}

impl KnownTenants {
    /// Returns the tenants of the book.
    #[must_use]
    pub fn new(book: Arc<TenantBook>) -> Self {
        Self { book, created: std::collections::BTreeSet::new() }
    }

    /// Returns whether the value is a tenant, or an alias of one on that day.
    #[must_use]
    pub fn knows(&self, tenant: &str, day: Day) -> bool {
        self.book.knows(tenant) || self.created.contains(tenant) || self.book.knows(&self.book.resolve(tenant, day))
    }

    /// Notes a tenant that is to be created.
    pub fn create(&mut self, tenant: &str) {
        self.created.insert(tenant.into());
    }

    /// Returns the tenants to create, in byte order.
    #[must_use]
    pub fn created(&self) -> Vec<String> {
        self.created.iter().map(|tenant| tenant.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse_event;

    fn place(rules: &EventRules, extra: &str, now: &str) -> Result<PlacedEvent<'static>, Refusal> {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{extra}}}"#);
        rules.place(parse_event(text.leak()).unwrap(), instant(now)).map(|(placed, _)| placed)
    }

    fn instant(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn tenant(rules: &EventRules, extra: &str) -> Result<String, RefusalCode> {
        let placed = place(rules, extra, "2026-11-20T00:00:00Z");
        placed.map(|placed| placed.tenant.to_string()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_policy_of_the_day_finds_a_missing_tenant() {
        let policy = |from: &str, rules: &str| {
            Policy::read("policy.toml", &format!("version = '{from}'\nvalid_from = {from}\n{rules}")).unwrap()
        };
        let rule = |usage: &str, tenant: &str| format!("[[tenant_rule]]\nusage = {usage}\ntenant = '{tenant}'\n");
        let old = policy("2026-01-01", &rule("{ cluster = 'c*' }", "old-{cluster}"));
        let new =
            policy("2026-11-01", &(rule("{ repo = '*' }", "{user}-team") + &rule("{ origin = 'events' }", "rest")));
        let strict = policy("2026-11-18", &rule("{ user = '*' }", "{user}"));
        let mut rules = EventRules::new(Zone::utc());
        rules.tenant_rules = TenantRules::of_policies([&old, &new, &strict]);
        assert_eq!(tenant(&rules, r#","time":"2026-10-31T23:59:59Z","cluster":"c1""#), Ok("old-c1".into()));
        assert_eq!(tenant(&rules, r#","time":"2026-10-31T23:59:59Z","cluster":"x""#), Err(RefusalCode::TenantMissing));
        let then = |extra: &str| tenant(&rules, &format!(r#","time":"2026-11-10T00:00:00Z"{extra}"#));
        assert_eq!(then(r#","cluster":"c1""#), Ok("rest".into()));
        assert_eq!(then(r#","repo":"r","user":"u""#), Ok("u-team".into()));
        assert_eq!(then(r#","repo":"r""#), Ok("rest".into()), "a rule without its placeholder does not fit");
        assert_eq!(then(r#","repo":"r","user":"__u""#), Ok("rest".into()), "nor does one that yields no tenant id");
        assert_eq!(then(r#","repo":"r","tenant":"a""#), Ok("a".into()));
        assert_eq!(tenant(&rules, r#","user":"u""#), Ok("u".into()));
        assert_eq!(tenant(&rules, r#","user":"__u""#), Err(RefusalCode::TenantMissing));
        assert_eq!(tenant(&rules, r#","time":"2025-01-01T00:00:00Z""#), Err(RefusalCode::TenantMissing));
    }

    #[test]
    fn reserved_and_unprintable_tenants_are_refused() {
        let rules = EventRules::new(Zone::utc());
        assert_eq!(tenant(&rules, r#","tenant":"__idle__""#), Err(RefusalCode::InvalidEvent));
        assert_eq!(tenant(&rules, &format!(r#","tenant":"{}""#, "x".repeat(201))), Err(RefusalCode::InvalidEvent));
        assert_eq!(tenant(&rules, r#","tenant":"a\nb""#), Err(RefusalCode::InvalidEvent));
    }

    #[test]
    fn mapped_dimensions_come_from_data() {
        let mut rules = EventRules::new(Zone::utc());
        let paths = [("user", "$.actor.id"), ("tenant", "$.org"), ("label:env", "$.env")];
        let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned()));
        rules.map = DimensionMap::new(&BTreeMap::from(paths)).unwrap();
        let extra = r#","user":"x","data":{"actor":{"id":7},"org":"o","env":"e"}"#;
        let placed = place(&rules, extra, "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(placed.event.dimensions.get(&Dimension::User), Some("7"));
        assert_eq!((&*placed.tenant, placed.event.dimensions.labels.key()), ("o", r#"{"env":"e"}"#));
        assert!(DimensionMap::new(&BTreeMap::from([("usr".to_owned(), "$.a".to_owned())])).is_err());
    }

    #[test]
    fn times_are_checked_against_the_clock() {
        let now = "2026-11-20T12:00:00Z";
        let check = |time: &str, past_days_max: Option<i32>, expected: Option<RefusalCode>| {
            let rules = EventRules { past_days_max, ..EventRules::new(Zone::utc()) };
            let placed = place(&rules, &format!(r#","tenant":"a","time":"{time}""#), now).unwrap();
            assert_eq!(rules.check_time(&placed, instant(now)).err().map(|refusal| refusal.code), expected, "{time}");
        };
        check("2026-11-20T13:00:00Z", None, None);
        check("2026-11-20T13:00:00.000001Z", None, Some(RefusalCode::TimeInFuture));
        check("1999-01-01T00:00:00Z", None, None);
        check("2026-11-10T00:00:00Z", Some(10), None);
        check("2026-11-09T23:59:59Z", Some(10), Some(RefusalCode::TimeTooOld));
    }

    #[test]
    fn aliases_are_known_on_their_days() {
        let alias = domain::tenant::TenantAlias {
            alias: "acme-inc".into(),
            tenant: "acme".into(),
            valid_from: None,
            valid_to: Some("2026-11-10".parse().unwrap()),
            recorded_at: Instant::from_micros(1),
        };
        let fact = domain::tenant::TenantFact {
            tenant: "acme".into(),
            valid_from: None,
            valid_to: None,
            recorded_at: Instant::from_micros(1),
            entered: true,
            active: true,
            name: None,
            slug: None,
            plan: None,
            parent: None,
            merged_into: None,
        };
        let mut known = KnownTenants::new(Arc::new(TenantBook::new(vec![fact], vec![alias])));
        let day = |text: &str| text.parse::<Day>().unwrap();
        assert!(known.knows("acme", day("2026-11-11")) && known.knows("acme-inc", day("2026-11-10")));
        assert!(!known.knows("acme-inc", day("2026-11-11")));
        known.create("new");
        assert!(known.knows("new", day("2026-11-11")));
        assert_eq!(known.created(), ["new"]);
    }
}
