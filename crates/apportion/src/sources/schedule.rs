use crate::client::{Call, Client, is_cancelled, percent_encode};
use anyhow::Result;
use domain::{Clock as _, Instant};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the clock is looked at.
const POLL: Duration = Duration::from_secs(2);
/// How long after a failure a source is read again at the earliest.
const AGAIN_AFTER: i64 = 300 * domain::time::MICROS_PER_SECOND;
/// The same of a collector: providers limit how often they may be asked.
const COLLECTOR_AGAIN_AFTER: i64 = 3_600 * domain::time::MICROS_PER_SECOND;

/// Reads every source while `serve` runs: at once, and then whenever its next hours rest long enough. A collector is read at
/// once, and then after its interval if it has one; otherwise the night reads it.
///
/// It asks the API as a person would (`sources refresh`), so there is one way to read a source.
pub struct SourceSchedule {
    client: Client,
    /// When each source is read next, by name.
    due: BTreeMap<String, Instant>,
    /// The collectors, each with its interval.
    collectors: BTreeMap<String, Option<Duration>>,
}

impl SourceSchedule {
    /// Returns the schedule; every source is due.
    pub fn new(client: Client, collectors: BTreeMap<String, Option<Duration>>) -> Self {
        Self { client, due: BTreeMap::new(), collectors }
    }

    /// Reads sources until it is dropped; ends at once if there are none.
    pub async fn run(mut self) {
        loop {
            match self.client.all_rows("/sources", &[]).await {
                Ok(mut sources) => {
                    sources.retain(|source| source["kind"].as_str().is_some_and(super::is_collected));
                    if sources.is_empty() {
                        return;
                    }
                    self.read_due(&sources).await;
                }
                Err(error) => tracing::warn!(error = %error, "the schedule cannot list sources"),
            }
            self.sleep().await;
        }
    }

    /// Sleeps until the next source is due.
    async fn sleep(&self) {
        while self.due.values().all(|due| crate::wiring::WallClock.now() < *due) {
            tokio::time::sleep(POLL).await;
            if self.due.is_empty() {
                return;
            }
        }
    }

    /// Reads the sources that are due, all at once: one that does not answer holds no other up.
    async fn read_due(&mut self, sources: &[Value]) {
        let now = crate::wiring::WallClock.now();
        let is_due = |name: &&str| self.due.get(*name).is_none_or(|due| *due <= now);
        let due = sources.iter().filter(|source| is_due(&name_of(source)));
        let client = &self.client;
        let read = due.map(|source| async move { (source, refresh(client, source).await) });
        let read: Vec<_> = futures::future::join_all(read).await;
        let now = crate::wiring::WallClock.now();
        for (source, refreshed) in read {
            let (next, again_after) = match self.collectors.get(name_of(source)) {
                Some(interval) => (after_interval(now, *interval), COLLECTOR_AGAIN_AFTER),
                None => {
                    let next = next_after(now, seconds(source, "every_seconds"), seconds(source, "settle_seconds"));
                    (next, AGAIN_AFTER)
                }
            };
            let next = match refreshed {
                // What went wrong is in the log and in the status of the source already. What was cancelled went not wrong.
                Err(error) if !is_cancelled(&error) => next.min(now.plus_micros(again_after)),
                _ => next,
            };
            self.due.insert(name_of(source).to_owned(), next);
        }
    }
}

async fn refresh(client: &Client, source: &Value) -> Result<()> {
    let name = name_of(source);
    let report = client.json(Call::post(format!("/sources/{}/refresh", percent_encode(name)))).await?;
    let accepted = &report["accepted"];
    tracing::info!(source = name, accepted = %accepted, "read source {name}: {accepted} new values");
    Ok(())
}

fn name_of(source: &Value) -> &str {
    source["name"].as_str().unwrap_or_default()
}

fn seconds(source: &Value, key: &str) -> i64 {
    source[key].as_i64().unwrap_or(3600)
}

/// When a collector is read next: after its interval, or not by this schedule.
fn after_interval(now: Instant, interval: Option<Duration>) -> Instant {
    let micros = interval.map(|interval| i64::try_from(interval.as_micros()).unwrap_or(i64::MAX));
    now.plus_micros(micros.unwrap_or(i64::MAX))
}

/// The first moment after `now` that lies `settle` after a multiple of `every` since 1970.
fn next_after(now: Instant, every_seconds: i64, settle_seconds: i64) -> Instant {
    let micros = |seconds: i64| seconds.saturating_mul(domain::time::MICROS_PER_SECOND);
    let (every, settle) = (micros(every_seconds.max(1)), micros(settle_seconds));
    let turns = (now.micros() - settle).div_euclid(every) + 1;
    Instant::from_micros(turns.saturating_mul(every).saturating_add(settle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_read_again_after_its_interval_or_left_to_the_night() {
        let now: Instant = "2026-11-20T10:05:00Z".parse().expect("a time");
        let next = after_interval(now, Some(Duration::from_secs(3600)));
        assert_eq!(next.to_string(), "2026-11-20T11:05:00Z");
        assert_eq!(after_interval(now, None), Instant::from_micros(i64::MAX));
    }

    #[tokio::test]
    async fn a_source_whose_reading_was_cancelled_waits_for_its_turn() {
        let due_after = async |code: &str| {
            let collectors = BTreeMap::from([("bill".to_owned(), None)]);
            let mut schedule = SourceSchedule::new(Client::refusing_a_source(code), collectors);
            schedule.read_due(&[serde_json::json!({ "name": "bill", "kind": "vercel" })]).await;
            schedule.due["bill"]
        };
        let night = Instant::from_micros(i64::MAX);
        assert_eq!(due_after("run_cancelled").await, night);
        assert!(due_after("source_failed").await < night, "a failure is tried again");
    }

    #[test]
    fn a_source_is_read_when_its_next_hour_rests_long_enough() {
        let check = |now: &str, every: i64, settle: i64, expected: &str| {
            assert_eq!(next_after(now.parse().expect("a time"), every, settle).to_string(), expected, "{now}");
        };
        check("2026-11-20T10:05:00Z", 3600, 600, "2026-11-20T10:10:00Z");
        check("2026-11-20T10:10:00Z", 3600, 600, "2026-11-20T11:10:00Z");
        check("2026-11-20T10:09:59Z", 900, 0, "2026-11-20T10:15:00Z");
        check("2026-11-20T23:59:00Z", 86_400, 7_200, "2026-11-21T02:00:00Z");
    }
}
