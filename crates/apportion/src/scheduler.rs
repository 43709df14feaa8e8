//! Attributes by itself while `serve` runs: a while after the last import, and every night. Merges small files a while
//! after the last flush or import; every night it also expires raw events and deletes files that nothing needs.
//!
//! It asks the API as a person would (`attribute --due`), so there is one way to run. Two servers at once post once,
//! whatever their schedules say: the ledger decides.

use crate::client::{Call, Client};
use crate::config::{AfterImport, Config, Schedule};
use anyhow::Result;
use domain::{Clock as _, Instant, Zone};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// How often the list of imports is looked at.
const POLL: Duration = Duration::from_secs(2);
/// Microseconds in a minute.
const MINUTE: i64 = 60 * domain::time::MICROS_PER_SECOND;

/// A schedule that knows what was imported before it started.
pub struct Scheduler {
    client: Client,
    watch: Watch,
    quiet: Quiet,
    flushes: Receiver<u64>,
}

impl Scheduler {
    /// Returns the schedule. What was imported before now waits for the night, as after any restart.
    ///
    /// # Errors
    /// The imports cannot be listed.
    pub async fn new(client: Client, config: &Config, flushes: Receiver<u64>) -> Result<Self> {
        let seen = newest_import(&client).await?;
        let quiet = Quiet::new(&config.compaction.after_flush);
        let watch = Watch::new(&config.schedule, config.zone(), crate::wiring::WallClock.now(), seen);
        Ok(Self { client, watch, quiet, flushes })
    }

    /// Looks at imports and clock until it is dropped.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            let newest = match newest_import(&self.client).await {
                Ok(newest) => newest,
                Err(error) => {
                    tracing::warn!(error = %error, "the scheduler cannot list imports");
                    continue;
                }
            };
            let now = crate::wiring::WallClock.now();
            let flushes = *self.flushes.borrow_and_update();
            if self.quiet.is_due(now, (flushes, newest.clone())) {
                compact(&self.client).await;
            }
            let is_night = self.watch.is_night(now);
            if self.watch.is_due(now, newest) {
                attribute(&self.client).await;
            }
            if is_night {
                keep_small(&self.client).await;
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

async fn compact(client: &Client) {
    match client.json(Call::post("/lake/compact")).await {
        Ok(done) => {
            for table in crate::output::rows_of(&done).unwrap_or_default().iter().filter(|row| row["commits"] != 0) {
                let (name, before, after) = (&table["table"], &table["files_before"], &table["files_after"]);
                tracing::info!(table = %name, %before, %after, "merged {before} files of {name} into {after}");
            }
        }
        Err(error) => tracing::warn!(error = %error, "small files were not merged; the next flush tries again"),
    }
}

/// What is done once a day, after the day's attribution.
async fn keep_small(client: &Client) {
    match client.json(Call::post("/lake/expire-events")).await {
        Ok(done) => tracing::info!(events = %done["events"], "{} raw events were kept long enough", done["events"]),
        Err(error) => tracing::warn!(error = %error, "raw events were not expired; the next night tries again"),
    }
    match client.json(Call::post("/lake/vacuum")).await {
        Ok(done) => tracing::info!(files = %done["files"], "deleted {} files that nothing needed", done["files"]),
        Err(error) => tracing::warn!(error = %error, "no files were deleted; the next night tries again"),
    }
}

/// Decides when small files are merged: it was quiet for a while, or never is. Knows times and states only.
struct Quiet {
    pause_micros: Option<i64>,
    seen: Option<(u64, Option<String>)>,
    /// When the first and the last change were noticed since files were merged.
    changed: Option<(Instant, Instant)>,
}

impl Quiet {
    /// So many pauses after the first change it is due, however busy it is.
    const PAUSES_MAX: i64 = 10;

    fn new(after_flush: &AfterImport) -> Self {
        let pause = after_flush.duration();
        let pause_micros = pause.map(|pause| i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
        Self { pause_micros, seen: None, changed: None }
    }

    /// Returns whether files should be merged now. What was left by an earlier process counts as a change.
    fn is_due(&mut self, now: Instant, state: (u64, Option<String>)) -> bool {
        let Some(pause) = self.pause_micros else { return false };
        if self.seen.as_ref() != Some(&state) {
            self.seen = Some(state);
            self.changed = Some((self.changed.map_or(now, |(first, _)| first), now));
        }
        let waited = |since: Instant, micros: i64| since.plus_micros(micros) <= now;
        let is_due = self
            .changed
            .is_some_and(|(first, last)| waited(last, pause) || waited(first, pause.saturating_mul(Self::PAUSES_MAX)));
        if is_due {
            self.changed = None;
        }
        is_due
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

    /// Returns whether the scheduled time has come; ask before [`Self::is_due`], which waits for the next.
    fn is_night(&self, now: Instant) -> bool {
        self.next_night <= now
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
    fn files_are_merged_when_it_is_quiet_or_never_is() {
        let after: Schedule = toml::from_str("after_import = '60s'").expect("a schedule");
        let mut quiet = Quiet::new(&after.after_import);
        let start = Instant::parse_lenient("2026-11-20T12:00:00Z").expect("a time");
        let mut ask =
            |seconds: i64, flushes: u64| quiet.is_due(start.plus_micros(seconds * 1_000_000), (flushes, None));
        assert_eq!([ask(0, 0), ask(59, 0), ask(60, 0), ask(62, 0)], [false, false, true, false]);
        assert_eq!([ask(100, 1), ask(150, 2), ask(200, 2), ask(210, 2)], [false, false, false, true]);
        let busy: Vec<i64> = (0..25).map(|turn| 1_000 + turn * 50).filter(|at| ask(*at, at.unsigned_abs())).collect();
        assert_eq!(busy, [1_600], "at most ten pauses, and then ten more");
        assert!(!Quiet::new(&AfterImport::Off).is_due(start, (1, None)));
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
