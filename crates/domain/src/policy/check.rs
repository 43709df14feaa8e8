//! What contradicts itself, by pool and rule.

use super::{
    FIXED_COST_DAYS, Method, Normalize, OneOrMany, PolicyError, Pool, Split, TenantRule, Tier, UNATTRIBUTED_POOL,
};
use crate::Day;
use crate::condition::{ChargeAttribute, UsageAttribute};
use crate::dimension::Dimension;

/// Hundred percent in atoms of [`crate::Weight`].
const HUNDRED_PERCENT: i128 = 100_000_000;

/// Returns why no pool can have this name, if so.
#[must_use]
pub fn pool_name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        return Some("a pool's name has 1 to 200 printable bytes");
    }
    (name == UNATTRIBUTED_POOL || name.starts_with("__")).then_some("the name is reserved")
}

impl Pool {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if let Some(problem) = pool_name_problem(&self.name) {
            return Err(self.invalid(problem));
        }
        if self.name.contains("{each}") != self.for_each.is_some() {
            return Err(self.invalid("`{each}` in the name and `for_each` go together"));
        }
        let origins = [self.select.is_some(), self.recovers.is_some(), self.fixed.is_some()];
        if origins.iter().filter(|given| **given).count() > 1 {
            return Err(self.invalid("give one of `select`, `recovers` and `fixed`"));
        }
        self.check_fixed()?;
        self.check_source()?;
        let is_valued = matches!(self.method(), Method::Rated | Method::Window);
        if self.recovers.is_some() && !is_valued {
            return Err(self.invalid("`recovers` needs method `rated` or `window`"));
        }
        if self.is_memo() && !is_valued {
            return Err(self.invalid("nothing is selected: add `select`, `recovers` or `fixed`, or use method `rated` or `window` for an internal estimate"));
        }
        let Some(split) = &self.split else {
            return Err(self.invalid("`split` is missing; only a pool of tier overhead may leave it out"));
        };
        if split.by.first() != Some(&Dimension::Tenant) {
            return Err(self.invalid("`by` must start with `tenant`"));
        }
        self.check_method(split)
    }

    /// What could not become cost lines would fail every run.
    fn check_fixed(&self) -> Result<(), PolicyError> {
        let Some(fixed) = &self.fixed else { return Ok(()) };
        if fixed.to.is_some_and(|to| to < fixed.from) {
            return Err(self.invalid("`fixed` ends before it begins"));
        }
        let is_within = |day: Day| FIXED_COST_DAYS.contains(&day.epoch_days());
        if !is_within(fixed.from) || !fixed.to.is_none_or(is_within) {
            return Err(self.invalid("the days of `fixed` must lie between 1970-01-01 and 2199-12-31"));
        }
        Ok(())
    }

    fn check_source(&self) -> Result<(), PolicyError> {
        let is_window = self.method() == Method::Window;
        let Some(source) = &self.source else {
            return if is_window {
                Err(self.invalid("method `window` needs `source`: the events that carry the cost"))
            } else {
                Ok(())
            };
        };
        if !is_window {
            return Err(self.invalid("`source` goes with method `window`"));
        }
        if self.select.is_some() || self.fixed.is_some() {
            return Err(self.invalid("`source` goes with `recovers` or stands alone"));
        }
        let given =
            [source.cost.is_some(), source.currency.is_some(), source.meter.is_some(), source.quantity.is_some()];
        match given {
            [true, true, false, false] | [false, false, true, true] => Ok(()),
            _ => Err(self.invalid("`source` has `cost` and `currency`, or `meter` and `quantity`")),
        }
    }

    fn check_window(&self, split: &Split) -> Result<(), PolicyError> {
        if split.event_type.as_deref().unwrap_or_default().is_empty() {
            return Err(self.invalid("method `window` needs `event_type`: the events that use the cost"));
        }
        if split.window.is_none() {
            return Err(self.invalid("method `window` needs `window`: a length, or until:<event type>"));
        }
        let has_key = self.source.as_ref().is_some_and(|source| source.key.is_some());
        if has_key != split.key.is_some() {
            return Err(self.invalid("`source` and `split` both have a `key`, or neither has"));
        }
        Ok(())
    }

    fn check_method(&self, split: &Split) -> Result<(), PolicyError> {
        let given = [
            ("weights", !split.weights.is_empty(), split.method == Method::Weighted),
            ("normalize", split.normalize != Normalize::None, split.method == Method::Weighted),
            ("meter", split.meter.is_some(), split.method == Method::Proportional),
            ("meters", !split.meters.is_empty(), split.method == Method::Rated),
            ("of", split.of.is_some(), matches!(split.method, Method::Even | Method::ByCost)),
            ("percent", !split.percent.is_empty(), split.method == Method::Fixed),
            ("follow", split.follow.is_some(), split.method == Method::ByCost),
            ("where", split.given_drivers.is_some(), reads_usage(split.method)),
            ("event_type", split.event_type.is_some(), split.method == Method::Window),
            ("key", split.key.is_some(), split.method == Method::Window),
            ("window", split.window.is_some(), split.method == Method::Window),
            ("each", split.each.is_some(), split.method == Method::Window),
        ];
        if let Some((key, ..)) = given.iter().find(|(_, given, fits)| *given && !fits) {
            return Err(self.invalid(&format!("`{key}` does not go with method `{}`", split.method.as_str())));
        }
        match split.method {
            Method::Weighted if split.weights.is_empty() => Err(self.invalid("method `weighted` needs `weights`")),
            Method::Weighted if split.weights.values().all(|weight| weight.atoms() == 0) => {
                Err(self.invalid("all `weights` are zero"))
            }
            Method::Proportional if split.meter.is_none() => Err(self.invalid("method `proportional` needs `meter`")),
            Method::Fixed if split.percent.is_empty() => Err(self.invalid("method `fixed` needs `percent`")),
            Method::Fixed if split.percent.values().map(|percent| percent.atoms()).sum::<i128>() > HUNDRED_PERCENT => {
                Err(self.invalid("the percents add up to more than 100"))
            }
            Method::Fixed if !split.percent.keys().all(|consumer| takes_percent(consumer)) => {
                Err(self.invalid("`percent` names something that is neither a tenant id nor `__idle__`"))
            }
            Method::Fixed | Method::Even if split.by.len() > 1 && !self.is_even_of_users() => {
                Err(self.invalid(&format!("method `{}` splits by tenant only", split.method.as_str())))
            }
            Method::Even
                if !matches!(split.of.as_ref().map(OneOrMany::words), None | Some([_])) || !self.known_even() =>
            {
                Err(self.invalid("`of` of method `even` is `active` or `users`"))
            }
            Method::Window if self.capacity.is_empty() => self.check_window(split),
            Method::None if self.tier != Tier::Overhead => Err(self.invalid("method `none` is for tier overhead only")),
            _ if !self.capacity.is_empty()
                && split.method != Method::Weighted
                && split.method != Method::Proportional =>
            {
                Err(self.invalid("`capacity` goes with methods `weighted` and `proportional`"))
            }
            Method::Weighted => match self.capacity.keys().find(|meter| !split.weights.contains_key(*meter)) {
                Some(meter) => Err(self.invalid(&format!("`capacity` names `{meter}`, which has no weight"))),
                None => Ok(()),
            },
            Method::Proportional => match self.capacity.keys().find(|meter| Some(*meter) != split.meter.as_ref()) {
                Some(meter) => Err(self.invalid(&format!("`capacity` names `{meter}`, which is not the pool's meter"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn known_even(&self) -> bool {
        let of = self.split.as_ref().and_then(|split| split.of.as_ref());
        of.is_none_or(|of| of.words().iter().all(|word| word == "active" || word == "users"))
    }

    fn place(&self) -> String {
        format!("pool \"{}\"", self.name)
    }

    pub(super) fn invalid(&self, problem: &str) -> PolicyError {
        invalid(&self.place(), problem)
    }
}

fn reads_usage(method: Method) -> bool {
    matches!(method, Method::Weighted | Method::Proportional | Method::Even | Method::Rated | Method::Window)
}

/// Tenants, and `__idle__` for what was paid for and not used.
fn takes_percent(consumer: &str) -> bool {
    consumer == crate::tenant::IDLE || consumer.parse::<crate::TenantId>().is_ok()
}

pub(super) fn check_rule(rule: &TenantRule) -> Result<(), PolicyError> {
    let place = format!("tenant_rule \"{}\"", rule.tenant.as_str());
    let unknown = match (&rule.when, &rule.usage) {
        (Some(_), Some(_)) => return Err(invalid(&place, "give `when` or `usage`, not both")),
        (_, None) => rule.tenant.placeholders().find_map(|name| name.parse::<ChargeAttribute>().err()),
        (None, Some(_)) => rule.tenant.placeholders().find_map(|name| name.parse::<UsageAttribute>().err()),
    };
    unknown.map_or(Ok(()), |error| Err(invalid(&place, &error.to_string())))
}

pub(super) fn invalid(place: &str, problem: &str) -> PolicyError {
    PolicyError::Invalid { place: place.to_owned(), problem: problem.to_owned() }
}
