//! What can be asked about unit costs.

use crate::EngineError;
use crate::query::as_of::AsOf;
use crate::query::params::{Params, QueryLimits, shorten};
use domain::DayRange;

/// What a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitKey {
    /// A workflow.
    #[default]
    Workflow,
    /// A repo.
    Repo,
    /// A task class.
    TaskClass,
}

/// Which cost and which outcomes are set against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cohort {
    /// The cost of the range against what was merged and completed in it.
    #[default]
    Period,
    /// The life-time cost of the workflows whose pull request was merged in the range against those.
    Merged,
}

/// Which tiers the cost is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitCostMode {
    /// Direct and amortized.
    #[default]
    Tiered,
    /// Direct only.
    WorkflowLocal,
    /// Direct and amortized, and the overhead divided by them. Never posted.
    Marginal,
}

/// What rows are sorted by; equal rows by key, rows without the value last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitCostSort {
    /// The column.
    pub key: UnitCostSortKey,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// A column that rows can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitCostSortKey {
    /// The cost.
    Cost,
    /// The key.
    Key,
    /// Merged pull requests.
    N,
    /// Cost per merged pull request.
    PerMergedPr,
    /// Cost per completed workflow.
    PerCompletedWorkflow,
    /// Cost of failed workflows.
    FailedCost,
    /// Pending cost.
    Pending,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal,)* }) => {
        impl $name {
            const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant),)*];

            /// Returns the word of the question.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! { UnitKey { Workflow = "workflow", Repo = "repo", TaskClass = "task_class", } }
words! { Cohort { Period = "period", Merged = "merged", } }
words! { UnitCostMode { Tiered = "tiered", WorkflowLocal = "workflow_local", Marginal = "marginal", } }
words! { UnitCostSortKey {
    Cost = "cost",
    Key = "key",
    N = "n",
    PerMergedPr = "cost_per_merged_pr",
    PerCompletedWorkflow = "cost_per_completed_workflow",
    FailedCost = "failed_cost",
    Pending = "pending",
} }

/// A question about unit costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitCostQuery {
    /// The days.
    pub range: DayRange,
    /// What a row is.
    pub by: UnitKey,
    /// Which cost and which outcomes.
    pub cohort: Cohort,
    /// Which tiers.
    pub mode: UnitCostMode,
    /// Which state of the ledger; the newest when none is named.
    pub as_of: Option<AsOf>,
    /// Order of rows.
    pub sort: UnitCostSort,
    /// Rows of a page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl UnitCostQuery {
    /// Returns the question that the query parameters of a request ask.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for an unknown parameter or word.
    pub fn parse<K: AsRef<str>, V: AsRef<str>>(given: &[(K, V)], limits: &QueryLimits) -> Result<Self, EngineError> {
        let mut params = Params::new(given)?;
        let query = Self {
            range: params.range_or_default(limits)?,
            by: params.word("by", UnitKey::WORDS)?,
            cohort: params.word("cohort", Cohort::WORDS)?,
            mode: params.word("mode", UnitCostMode::WORDS)?,
            as_of: params.parsed("as_of")?,
            sort: sort(params.text("sort"))?,
            limit: params.limit(limits)?,
            cursor: params.text("cursor"),
        };
        params.finish()?;
        Ok(query)
    }
}

fn sort(text: Option<String>) -> Result<UnitCostSort, EngineError> {
    let Some(text) = text else { return Ok(UnitCostSort { key: UnitCostSortKey::Cost, descending: true }) };
    let (descending, word) = text.strip_prefix('-').map_or((false, text.as_str()), |word| (true, word));
    let found = UnitCostSortKey::WORDS.iter().find(|(known, _)| *known == word).map(|(_, key)| *key);
    found.map(|key| UnitCostSort { key, descending }).ok_or_else(|| {
        let known: Vec<&str> = UnitCostSortKey::WORDS.iter().map(|(known, _)| *known).collect();
        let word = shorten(word);
        EngineError::parameter(
            "sort",
            format!("cannot sort by `{word}`; use one of {}, `-` before it for descending", known.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<UnitCostQuery, String> {
        let today = "2026-11-20".parse().expect("a day");
        let limits = QueryLimits { today, range_days_max: 400, rows_default: 100, rows_max: 1000 };
        UnitCostQuery::parse(given, &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn without_parameters_it_is_the_last_thirty_days_by_workflow() {
        let query = parse(&[]).expect("defaults");
        assert_eq!((query.by, query.cohort, query.mode), (UnitKey::Workflow, Cohort::Period, UnitCostMode::Tiered));
        assert_eq!(format!("{}..{}", query.range.from(), query.range.to()), "2026-10-21..2026-11-19");
        assert!(query.sort.descending && query.sort.key == UnitCostSortKey::Cost);
    }

    #[test]
    fn unknown_words_and_parameters_are_refused() {
        assert!(parse(&[("by", "tenant")]).is_err());
        assert!(parse(&[("cohort", "all")]).is_err());
        assert!(parse(&[("mode", "full")]).is_err());
        assert!(parse(&[("sort", "-share")]).is_err());
        assert_eq!(parse(&[("rnage", "7d")]).expect_err("a typo"), "unknown parameter `rnage`; did you mean `range`?");
        assert_eq!(parse(&[("by", "repo"), ("mode", "marginal")]).expect("known").mode.as_str(), "marginal");
    }
}
