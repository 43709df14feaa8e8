//! Caps: what the work of a task class should not cost more than.

use super::PolicyError;
use super::check::invalid;
use crate::Price;
use serde::Deserialize;
use std::collections::BTreeSet;

/// What the work of a task class should not cost more than.
///
/// A cap refuses nothing and moves no cost; unit costs show how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// The task class.
    pub task_class: String,
    /// How much, in the reporting currency.
    pub amount: Price,
    /// What may cost so much.
    pub per: CapPer,
}

/// What a cap is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapPer {
    /// The life-time cost of one workflow of the class.
    Workflow,
    /// The cost of all of them in a calendar month.
    Month,
}

impl CapPer {
    /// Returns the word of the policy file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Month => "month",
        }
    }
}

/// Refuses caps that cannot be compared with anything, or that say two things about the same.
pub(super) fn check_caps(caps: &[Cap]) -> Result<(), PolicyError> {
    let mut named = BTreeSet::new();
    for cap in caps {
        let refuse = |problem: &str| Err(invalid(&format!("cap \"{}\"", cap.task_class), problem));
        if cap.task_class.is_empty() {
            return refuse("`task_class` is empty");
        }
        if cap.amount.atoms() <= 0 {
            return refuse("`amount` must be more than 0");
        }
        if !named.insert((&cap.task_class, cap.per)) {
            return refuse(&format!("there are two caps per {}", cap.per.as_str()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    fn check(caps: &str, expected: &str) {
        let text = format!("version = 'v'\nvalid_from = 2026-01-01\n{caps}");
        let result = Policy::read("policy.toml", &text).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(result, expected, "{caps}");
    }

    #[test]
    fn a_task_class_has_a_cap_per_workflow_and_one_per_month() {
        let cap = |amount: &str, per: &str| format!("[[cap]]\ntask_class='fix'\namount='{amount}'\nper='{per}'\n");
        check(&(cap("5.00", "workflow") + &cap("800", "month")), "ok");
        check(&(cap("5.00", "month") + &cap("6.00", "month")), "cap \"fix\": there are two caps per month");
        check(&cap("0", "month"), "cap \"fix\": `amount` must be more than 0");
        check("[[cap]]\ntask_class=''\namount='1'\nper='month'", "cap \"\": `task_class` is empty");
    }
}
