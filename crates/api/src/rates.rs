//! How many events each tenant may send: a bucket that fills by the second.
//!
//! A tenant that sends too much is told when to try again; nobody else waits for it.

use crate::problem::ApiError;
use ahash::RandomState;
use domain::Instant;
use domain::time::MICROS_PER_SECOND;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A bucket holds what a tenant may send in so many seconds, so that batches fit.
const BURST_SECONDS: i64 = 2;
/// Tenants remembered; the full buckets are forgotten first, which changes nothing.
const TENANTS_MAX: usize = 100_000;

/// The buckets of all tenants.
#[derive(Debug)]
pub struct EventRates {
    per_second: u32,
    /// By tenant, when its bucket would be empty if it never sent again: the later, the fuller it was drained.
    drained_until: Mutex<HashMap<Arc<str>, i64, RandomState>>,
}

impl EventRates {
    /// Returns full buckets.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), drained_until: Mutex::default() }
    }

    /// Takes an event of each tenant named, or nothing if one of the tenants sends too much.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`] with the seconds until the batch fits.
    pub(crate) fn take<'e>(&self, tenants: impl Iterator<Item = &'e Arc<str>>, now: Instant) -> Result<(), ApiError> {
        let room = tenants.size_hint().0;
        let mut wanted: HashMap<&Arc<str>, i64, RandomState> =
            HashMap::with_capacity_and_hasher(room, RandomState::default());
        for tenant in tenants {
            *wanted.entry(tenant).or_default() += 1;
        }
        let mut drained = self.drained_until.lock().unwrap_or_else(PoisonError::into_inner);
        if TENANTS_MAX < drained.len() {
            drained.retain(|_, until| now.micros() < *until);
        }
        let burst = BURST_SECONDS * MICROS_PER_SECOND;
        let after = |tenant: &Arc<str>, events: i64| {
            let cost = events * MICROS_PER_SECOND / i64::from(self.per_second);
            // More than a bucket holds passes when it is full, and is paid for afterwards.
            let before = drained.get(tenant).copied().unwrap_or(0).max(now.micros());
            (before, before + cost)
        };
        for (tenant, events) in &wanted {
            let (before, until) = after(tenant, *events);
            let over = (until - now.micros() - burst).min(before - now.micros());
            if over > 0 {
                let wait_seconds = u64::try_from(over / MICROS_PER_SECOND + 1).unwrap_or(1);
                return Err(ApiError::RateLimited {
                    tenant: tenant.to_string(),
                    per_second: self.per_second,
                    wait_seconds,
                });
            }
        }
        let paid: Vec<_> =
            wanted.iter().map(|(tenant, events)| (Arc::clone(tenant), after(tenant, *events).1)).collect();
        drained.extend(paid);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &[(i64, &str, usize, Option<u64>)]) {
        let rates = EventRates::new(10);
        for (second, tenant, events, expected) in steps {
            let tenant: Arc<str> = (*tenant).into();
            let now = Instant::from_micros(second * MICROS_PER_SECOND);
            let waits = match rates.take(std::iter::repeat_n(&tenant, *events), now) {
                Err(ApiError::RateLimited { wait_seconds, .. }) => Some(wait_seconds),
                Ok(()) => None,
                Err(other) => panic!("{other}"),
            };
            assert_eq!(waits, *expected, "{events} of {tenant} at {second}");
        }
    }

    #[test]
    fn a_tenant_waits_and_no_other_does() {
        check(&[
            (1, "a", 20, None),
            (1, "a", 1, Some(1)),
            (1, "b", 20, None),
            (2, "a", 10, None),
            (2, "a", 1, Some(1)),
        ]);
    }

    #[test]
    fn a_batch_larger_than_a_bucket_passes_when_the_bucket_is_full_and_is_paid_for() {
        check(&[(1, "a", 100, None), (2, "a", 1, Some(8)), (10, "a", 1, None)]);
    }
}
