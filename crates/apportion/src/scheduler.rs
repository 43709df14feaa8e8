//! Attributes by itself while `serve` runs: a while after the last import, and every night.
//!
//! It asks the API as a person would (`attribute --due`), so there is one way to run. Two servers at once post once,
//! whatever their schedules say: the ledger decides.

use crate::client::{Call, Client};
use crate::config::Schedule;
use anyhow::Result;
use domain::{Clock as _, Instant, Zone};
use serde_json::{Value, json};
use std::time::Duration;

/// How often the list of imports is looked at.
const POLL: Duration = Duration::from_secs(2);
/// Microseconds in a minute.
const MINUTE: i64 = 60 * domain::time::MICROS_PER_SECOND;

/// A schedule that knows what was imported before it started.
pub struct Scheduler {
    client: Client,
    watch: Watch,
}

impl Scheduler {
    /// Returns the schedule. What was imported before now waits for the night, as after any restart.
    ///
    /// # Errors
    /// The imports cannot be listed.
    pub async fn new(client: Client, schedule: &Schedule, zone: Zone) -> Result<Self> {
        let seen = newest_import(&client).await?;
        Ok(Self { client, watch: Watch::new(schedule, zone, crate::wiring::WallClock.now(), seen) })
    }

    /// Looks at imports and clock until it is dropped.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            match newest_import(&self.client).await {
                Ok(newest) if self.watch.is_due(crate::wiring::WallClock.now(), newest.clone()) => {
                    attribute(&self.client).await
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %error, "the scheduler cannot list imports"),
            }
        }
    }
}

async fn newest_import(client: &Client) -> Result<Option<String>> {
    let page = client.json(Call::get("/imports").query("limit", 1)).await?;
    let newest = crate::output::rows_of(&page).and_then(<[Value]>::first);
    Ok(newest.and_then(|row| row["import_id"].as_str()).map(str::to_owned))
}

async fn attribute(client: &Client) {
    match client.json(Call::post("/runs").query("wait", "true").json(&json!({ "due": true }))).await {
        Ok(runs) => {
            let (entries, posting) = (&runs["entries"], &runs["posting"]);
            tracing::info!(entries = %entries, posting = %posting, "attributed the due days: {entries} entries");
        }
        Err(error) => tracing::warn!(error = %error, "the due days were not attributed; the next night tries again"),
    }
}

/// Decides when days are attributed. Knows times and ids only, so that a test can play them.
struct Watch {
    pause_micros: Option<i64>,
    minutes: i64,
    zone: Zone,
    seen: Option<String>,
    changed_at: Option<Instant>,
    next_night: Instant,
}

impl Watch {
    fn new(schedule: &Schedule, zone: Zone, now: Instant, seen: Option<String>) -> Self {
        let pause = schedule.after_import.duration();
        let mut watch = Self {
            pause_micros: pause.map(|pause| i64::try_from(pause.as_micros()).unwrap_or(i64::MAX)),
            minutes: i64::from(schedule.attribute.minutes()),
            zone,
            seen,
            changed_at: None,
            next_night: now,
        };
        watch.next_night = watch.night_after(now);
        watch
    }

    /// The first moment after `now` at which the clock shows the scheduled time. On a day that the zone makes longer
    /// or shorter before that time, an hour off.
    fn night_after(&self, now: Instant) -> Instant {
        let today = self.zone.day_of(now);
        let nights = [today, today.plus(1)].map(|day| self.zone.start_of(day).plus_micros(self.minutes * MINUTE));
        nights.into_iter().find(|night| *night > now).unwrap_or_else(|| now.plus_micros(24 * 60 * MINUTE))
    }

    /// Returns whether the due days should be attributed now: the pause after the last import is over, or it is night.
    fn is_due(&mut self, now: Instant, newest_import: Option<String>) -> bool {
        if self.seen != newest_import {
            self.seen = newest_import;
            self.changed_at = Some(now);
        }
        let waited = |since: Instant| self.pause_micros.is_some_and(|pause| since.plus_micros(pause) <= now);
        let after_import = self.changed_at.is_some_and(waited);
        let night = self.next_night <= now;
        if after_import {
            self.changed_at = None;
        }
        if night {
            self.next_night = self.night_after(now);
        }
        after_import || night
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays (time, newest import) and returns the times at which days are due.
    fn check(schedule: &str, steps: &[(&str, Option<&str>)], expected: &[&str]) {
        let schedule: Schedule = toml::from_str(schedule).expect("a schedule");
        let at = |text: &str| Instant::parse_lenient(text).expect("a time");
        let (start, seen) = steps[0];
        let mut watch = Watch::new(&schedule, Zone::utc(), at(start), seen.map(str::to_owned));
        let is_due = |(time, newest): &&(&str, Option<&str>)| watch.is_due(at(time), newest.map(str::to_owned));
        let due = steps.iter().filter(is_due).map(|(time, _)| *time);
        assert_eq!(due.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn imports_are_attributed_once_the_pause_is_over() {
        let steps = [
            ("2026-11-20T12:00:00Z", Some("before")),
            ("2026-11-20T12:05:00Z", Some("before")),
            ("2026-11-20T12:06:00Z", Some("first")),
            ("2026-11-20T12:06:50Z", Some("second")),
            ("2026-11-20T12:07:40Z", Some("second")),
            ("2026-11-20T12:07:50Z", Some("second")),
            ("2026-11-20T12:09:00Z", Some("second")),
        ];
        check("after_import = '60s'", &steps, &["2026-11-20T12:07:50Z"]);
        check("after_import = 'off'", &steps, &[]);
    }

    #[test]
    fn each_night_is_attributed_once() {
        let steps = [
            ("2026-11-20T12:00:00Z", None),
            ("2026-11-21T00:29:59Z", None),
            ("2026-11-21T00:30:00Z", None),
            ("2026-11-21T00:30:02Z", None),
            ("2026-11-22T09:00:00Z", None),
        ];
        check("attribute = '00:30'", &steps, &["2026-11-21T00:30:00Z", "2026-11-22T09:00:00Z"]);
    }
}
