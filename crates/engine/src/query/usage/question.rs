use crate::EngineError;
use crate::query::filter::Filter;
use crate::query::keys::{Column, GroupKey};
use crate::query::params::{Params, QueryLimits};
use domain::DayRange;
use domain::dimension::Dimension;
use domain::meter::{Aggregation, Meter};

/// Length of the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageGranularity {
    /// One bucket for the whole range.
    #[default]
    None,
    /// Clock hours of the organisation's zone.
    Hour,
    /// Days.
    Day,
    /// Weeks, from Monday.
    Week,
    /// Calendar months.
    Month,
}

/// A question about usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// The days asked for.
    pub range: DayRange,
    /// Only this meter.
    pub meter: Option<String>,
    /// What a row is.
    pub group_by: Vec<GroupKey>,
    /// Buckets.
    pub granularity: UsageGranularity,
    /// Which usage counts.
    pub filter: Filter,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

const GRANULARITIES: [(&str, UsageGranularity); 5] = [
    ("none", UsageGranularity::None),
    ("hour", UsageGranularity::Hour),
    ("day", UsageGranularity::Day),
    ("week", UsageGranularity::Week),
    ("month", UsageGranularity::Month),
];

impl UsageQuery {
    /// Returns the question that the parameters ask.
    ///
    /// # Errors
    /// For an unknown parameter, a value outside its grammar, or a key that usage does not have.
    pub fn from_params(mut params: Params, limits: &QueryLimits) -> Result<Self, EngineError> {
        let query = Self {
            range: params.range_or_default(limits)?,
            meter: params.text("meter"),
            group_by: group_by(&mut params)?,
            granularity: params.word("granularity", &GRANULARITIES)?,
            filter: filter(&mut params)?,
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        query.checked()
    }

    /// Returns the question about one meter's totals that the parameters ask; without a range it is about today.
    ///
    /// # Errors
    /// As [`UsageQuery::from_params`], and when no meter is named.
    pub fn live_from_params(mut params: Params, limits: &QueryLimits) -> Result<Self, EngineError> {
        let query = Self {
            range: params.range(limits)?.unwrap_or_else(|| DayRange::single(limits.today)),
            meter: params.text("meter"),
            group_by: group_by(&mut params)?,
            granularity: UsageGranularity::None,
            filter: filter(&mut params)?,
            limit: params.limit(limits)?,
            cursor: None,
        };
        params.finish()?;
        if query.meter.is_none() {
            return Err(EngineError::parameter("meter", "name the `meter` to follow"));
        }
        query.checked()
    }

    fn checked(self) -> Result<Self, EngineError> {
        let filtered = self.filter.terms.iter().map(|term| (&term.key, "filter"));
        for (key, parameter) in self.group_by.iter().map(|key| (key, "group_by")).chain(filtered) {
            if !is_of_usage(key) {
                return Err(EngineError::parameter(parameter, format!("usage has no `{key}`")));
            }
        }
        Ok(self)
    }

    /// Refuses to look at distinct values more finely than they are counted: by tenant, the meter's own labels and day.
    ///
    /// # Errors
    /// If the meter counts distinct values, and the question tells other things apart.
    pub fn check_finer(&self, meter: Option<&Meter>) -> Result<(), EngineError> {
        let Some(meter) = meter.filter(|meter| meter.aggregation == Aggregation::UniqueCount) else { return Ok(()) };
        let name = &meter.name;
        if self.granularity == UsageGranularity::Hour {
            let detail = format!(
                "`{name}` counts distinct values of a day and has no hours; leave it out with `filter=-meter:{name}`"
            );
            return Err(EngineError::parameter("granularity", detail));
        }
        let is_finer = |key: &GroupKey| match key {
            GroupKey::Dimension(Dimension::Tenant) => false,
            GroupKey::Dimension(Dimension::Label(label)) => !meter.group_by.contains_key(&**label),
            GroupKey::Dimension(_) => true,
            GroupKey::Column(_) | GroupKey::Plan | GroupKey::Parent => false,
        };
        let filtered = self.filter.terms.iter().map(|term| (&term.key, "filter"));
        let asked = self.group_by.iter().map(|key| (key, "group_by")).chain(filtered);
        match asked.into_iter().find(|(key, _)| is_finer(key)) {
            Some((key, parameter)) => {
                let detail = format!("`{name}` counts distinct values by tenant and its own labels, not by `{key}`");
                Err(EngineError::parameter(parameter, detail))
            }
            None => Ok(()),
        }
    }

    /// Returns whether rows name their meter although nobody groups by it: quantities of two meters never add up.
    #[must_use]
    pub fn names_meters(&self) -> bool {
        self.meter.is_none() && !self.group_by.contains(&GroupKey::Column(Column::Meter))
    }
}

fn group_by(params: &mut Params) -> Result<Vec<GroupKey>, EngineError> {
    params.text("group_by").map_or_else(|| Ok(vec![GroupKey::TENANT]), |text| GroupKey::parse_list(&text))
}

fn filter(params: &mut Params) -> Result<Filter, EngineError> {
    params.text("filter").map_or_else(|| Ok(Filter::default()), |text| Filter::parse(&text))
}

fn is_of_usage(key: &GroupKey) -> bool {
    match key {
        GroupKey::Dimension(_) | GroupKey::Plan | GroupKey::Parent => true,
        GroupKey::Column(column) => matches!(column, Column::Meter | Column::Origin | Column::Category),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<UsageQuery, String> {
        let limits = QueryLimits {
            today: "2026-11-20".parse().expect("a day"),
            range_days_max: 400,
            rows_default: 100,
            rows_max: 1000,
        };
        UsageQuery::from_params(Params::new(given).expect("no doubles"), &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn usage_is_by_tenant_unless_asked_otherwise() {
        let query = read(&[("range", "7d")]).expect("a question");
        assert_eq!((query.group_by.clone(), query.granularity), (vec![GroupKey::TENANT], UsageGranularity::None));
        assert!(query.names_meters());
        assert!(!read(&[("meter", "log_queries")]).expect("a question").names_meters());
        assert!(!read(&[("group_by", "meter")]).expect("a question").names_meters());
    }

    #[test]
    fn what_is_followed_is_one_meter_of_today() {
        let limits = QueryLimits {
            today: "2026-11-20".parse().expect("a day"),
            range_days_max: 400,
            rows_default: 100,
            rows_max: 1000,
        };
        let read = |given: &[(&str, &str)]| {
            UsageQuery::live_from_params(Params::new(given).expect("no doubles"), &limits).map(|query| query.range)
        };
        let today = DayRange::single(limits.today);
        assert_eq!(read(&[("meter", "log_queries")]).expect("a question"), today);
        assert!(read(&[]).is_err() && read(&[("meter", "x"), ("granularity", "day")]).is_err());
        assert!(read(&[("meter", "x"), ("group_by", "pool")]).is_err());
    }

    #[test]
    fn keys_of_the_ledger_alone_are_refused() {
        assert_eq!(read(&[("group_by", "tenant,pool")]), Err("usage has no `pool`".to_owned()));
        assert_eq!(read(&[("filter", "tier:direct")]), Err("usage has no `tier`".to_owned()));
        assert!(read(&[("granularity", "minute")]).is_err());
        assert!(read(&[("view", "posted")]).is_err());
    }
}
