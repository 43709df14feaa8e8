use crate::config::AfterImport;
use domain::Instant;

/// Decides when small files are merged: it was quiet for a while, or never is. Knows times and states only.
pub struct Quiet {
    pause_micros: Option<i64>,
    seen: Option<(u64, Option<String>)>,
    /// When the first and the last change were noticed since files were merged.
    changed: Option<(Instant, Instant)>,
}

impl Quiet {
    /// So many pauses after the first change it is due, however busy it is.
    const PAUSES_MAX: i64 = 10;

    /// Returns what waits for so long a pause.
    pub fn new(after_flush: &AfterImport) -> Self {
        let pause = after_flush.duration();
        let pause_micros = pause.map(|pause| i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
        Self { pause_micros, seen: None, changed: None }
    }

    /// Returns whether files should be merged now. What was left by an earlier process counts as a change.
    pub fn is_due(&mut self, now: Instant, state: (u64, Option<String>)) -> bool {
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

/// Decides when due days are attributed after an import or a reading of a source. Knows times and states only.
pub struct AfterArrival {
    pause_micros: Option<i64>,
    seen: Option<String>,
    changed_at: Option<Instant>,
}

impl AfterArrival {
    /// Returns what waits for a pause after the last arrival; what was there before waits for the night.
    pub fn new(after_import: &AfterImport, seen: Option<String>) -> Self {
        let pause = after_import.duration();
        let pause_micros = pause.map(|pause| i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
        Self { pause_micros, seen, changed_at: None }
    }

    /// Returns whether the pause after the last arrival is over; it stays so until [`Self::done`].
    pub fn is_due(&mut self, now: Instant, newest: Option<String>) -> bool {
        if self.seen != newest {
            self.seen = newest;
            self.changed_at = Some(now);
        }
        let waited = |since: Instant| self.pause_micros.is_some_and(|pause| since.plus_micros(pause) <= now);
        self.changed_at.is_some_and(waited)
    }

    /// Notes that what arrived up to the last question was attributed.
    pub fn done(&mut self) {
        self.changed_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Schedule;

    fn after(text: &str) -> AfterImport {
        let schedule: Schedule = toml::from_str(&format!("after_import = '{text}'")).expect("a schedule");
        schedule.after_import
    }

    /// Plays (time, newest import) and returns the times at which days are due.
    fn check(pause: &str, steps: &[(&str, &str)], expected: &[&str]) {
        let mut arrivals = AfterArrival::new(&after(pause), Some("before".to_owned()));
        let mut due = Vec::new();
        for (time, newest) in steps {
            let now = Instant::parse_lenient(time).expect("a time");
            if arrivals.is_due(now, Some((*newest).to_owned())) {
                due.push(*time);
                arrivals.done();
            }
        }
        assert_eq!(due, expected);
    }

    #[test]
    fn imports_are_attributed_once_the_pause_is_over() {
        let steps = [
            ("2026-11-20T12:05:00Z", "before"),
            ("2026-11-20T12:06:00Z", "first"),
            ("2026-11-20T12:06:50Z", "second"),
            ("2026-11-20T12:07:40Z", "second"),
            ("2026-11-20T12:07:50Z", "second"),
            ("2026-11-20T12:09:00Z", "second"),
        ];
        check("60s", &steps, &["2026-11-20T12:07:50Z"]);
        check("off", &steps, &[]);
    }

    #[test]
    fn what_somebody_else_attributes_stays_due_until_it_is_done() {
        let mut arrivals = AfterArrival::new(&after("60s"), None);
        let at = |minute: u32| Instant::parse_lenient(&format!("2026-11-20T12:0{minute}:00Z")).expect("a time");
        let new = || Some("new".to_owned());
        assert_eq!([arrivals.is_due(at(1), new()), arrivals.is_due(at(2), new())], [false, true]);
        assert!(arrivals.is_due(at(3), new()));
        arrivals.done();
        assert!(!arrivals.is_due(at(4), new()));
    }

    #[test]
    fn files_are_merged_when_it_is_quiet_or_never_is() {
        let mut quiet = Quiet::new(&after("60s"));
        let start = Instant::parse_lenient("2026-11-20T12:00:00Z").expect("a time");
        let mut ask =
            |seconds: i64, flushes: u64| quiet.is_due(start.plus_micros(seconds * 1_000_000), (flushes, None));
        assert_eq!([ask(0, 0), ask(59, 0), ask(60, 0), ask(62, 0)], [false, false, true, false]);
        assert_eq!([ask(100, 1), ask(150, 2), ask(200, 2), ask(210, 2)], [false, false, false, true]);
        let busy: Vec<i64> = (0..25).map(|turn| 1_000 + turn * 50).filter(|at| ask(*at, at.unsigned_abs())).collect();
        assert_eq!(busy, [1_600], "at most ten pauses, and then ten more");
        assert!(!Quiet::new(&AfterImport::Off).is_due(start, (1, None)));
    }
}
