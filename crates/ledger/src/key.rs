//! What identifies a cost: all columns by which existing and desired entries are compared.

use domain::policy::{Basis, Method, Tier};
use domain::{Currency, Day};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::words::Status;

/// The key of an entry. Two entries of one key state the same thing and may be summed.
///
/// Never part of it: charge_class, billing_month, reason and cause, because they say when and why
/// something was booked, not what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// Day on which the cost arose.
    pub charge_date: Day,
    /// How close the cost is to its cause.
    pub tier: Tier,
    /// Where the pool's amount comes from.
    pub basis: Basis,
    /// Whether this is an estimate beside the money.
    pub memo: bool,
    /// Whether later usage can still change it by rule.
    pub status: Status,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<Arc<str>>,
    /// Name of the pool.
    pub pool: Arc<str>,
    /// How the pool is shared out; none for adjustments.
    pub method: Option<Method>,
    /// The `by` values joined by [`consumer`], or a reserved word.
    pub consumer: Arc<str>,
    /// Tenant; none with a reserved word, like all dimensions.
    pub tenant: Option<Arc<str>>,
    /// User of the tenant.
    pub user: Option<Arc<str>>,
    /// Workflow of the tenant.
    pub workflow: Option<Arc<str>>,
    /// Repository.
    pub repo: Option<Arc<str>>,
    /// Class of tasks.
    pub task_class: Option<Arc<str>>,
    /// Shared cluster.
    pub cluster: Option<Arc<str>>,
    /// Canonical JSON of the labels ([`domain::dimension::labels_key`]), `{}` when there are none.
    pub labels_key: Arc<str>,
    /// Provider, when the pool keeps it.
    pub provider: Option<Arc<str>>,
    /// Service, when the pool keeps it.
    pub service: Option<Arc<str>>,
    /// Source of the cost lines, when the pool keeps it.
    pub source: Option<Arc<str>>,
    /// CommitmentDiscountStatus, when the pool keeps it.
    pub commitment_status: Option<Arc<str>>,
    /// InvoiceId, when the pool keeps it.
    pub invoice_id: Option<Arc<str>>,
    /// Category of the meter, or the category that ServiceCategory stands for.
    pub category: Option<Arc<str>>,
    /// Meter of the cell.
    pub meter: Option<Arc<str>>,
    /// Currency of amount and billed_amount.
    pub currency: Currency,
}

/// Returns the consumer of these `by` values: joined with `/`, a null part empty, `/` and `%` inside
/// a part percent-encoded.
///
/// A reserved word is not made of parts; it is used as it is.
///
/// ```
/// let parts = [Some("acme".into()), None, Some("ci/nightly".into())];
/// assert_eq!(&*ledger::consumer(&parts), "acme//ci%2Fnightly");
/// ```
#[must_use]
pub fn consumer(parts: &[Option<Arc<str>>]) -> Arc<str> {
    match parts {
        [Some(only)] if !only.contains(['%', '/']) => Arc::clone(only),
        _ => {
            let encoded = parts.iter().map(|part| match part {
                Some(part) => part.replace('%', "%25").replace('/', "%2F"),
                None => String::new(),
            });
            encoded.collect::<Vec<_>>().join("/").into()
        }
    }
}

/// Returns the labels that a `labels_key` spells, or `None` if it is not a JSON object of strings.
#[must_use]
pub fn labels_of_key(labels_key: &str) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    if labels_key == "{}" {
        return Some(BTreeMap::new());
    }
    let labels: BTreeMap<String, String> = serde_json::from_str(labels_key).ok()?;
    Some(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_parts_never_give_the_same_consumer() {
        let check = |parts: &[Option<&str>], expected: &str| {
            let parts: Vec<_> = parts.iter().map(|part| part.map(Arc::from)).collect();
            assert_eq!(&*consumer(&parts), expected);
        };
        check(&[Some("acme")], "acme");
        check(&[Some("a/b"), Some("c")], "a%2Fb/c");
        check(&[Some("a"), Some("b/c")], "a/b%2Fc");
        check(&[Some("a%2Fb")], "a%252Fb");
        check(&[Some("acme"), None], "acme/");
        check(&[Some("Müller"), Some("x y")], "Müller/x y");
    }

    #[test]
    fn labels_come_back_from_their_key() {
        let labels = BTreeMap::from([("b", "2\""), ("a", "ü")]);
        let found = labels_of_key(&domain::dimension::labels_key(&labels)).expect("a canonical text");
        assert!(found.iter().map(|(key, value)| (&**key, &**value)).eq(labels.iter().map(|(k, v)| (*k, *v))));
        assert_eq!(labels_of_key("{}"), Some(BTreeMap::new()));
        assert_eq!(labels_of_key("[1]"), None);
    }
}
