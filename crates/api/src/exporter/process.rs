//! What changes from scrape to scrape: sources, runs, events, the program itself.

use super::families::{
    BUILD_INFO, COLLECTOR_DURATION, COLLECTOR_ERRORS, COLLECTOR_INTERVAL, COLLECTOR_SUCCESS, EVENTS_ACCEPTED,
    EVENTS_DUPLICATES, EVENTS_REJECTED, EXPORTER_ERRORS, RUN_SUCCESS, SNAPSHOT_SUCCESS,
};
use super::text::{Exposition, Form, NO_LABELS};
use crate::app::App;
use crate::problem::ApiError;
use collectors::sources::SourceStatus;
use std::time::Duration;

/// How long a scrape waits for the catalog. With the wait for the month it stays below the ten seconds after which
/// Prometheus gives up.
const WAIT_MAX: Duration = Duration::from_millis(1_500);

/// How long somebody who sends snapshots without being declared is waited for, in microseconds: two weeks. Whoever sent
/// some once, or under another name, would be missed for ever.
const FORGOTTEN_MICROS: i64 = 14 * 24 * 3600 * domain::time::MICROS_PER_SECOND;

impl App {
    /// Returns the metrics that are made for each scrape. What cannot be read is left out and counted as an error.
    pub(super) async fn process_text(&self, form: Form) -> String {
        let mut out = Exposition::new(form);
        let failure = match tokio::time::timeout(WAIT_MAX, self.add_stored(&mut out)).await {
            Ok(done) => done.err().map(|error| error.to_string()),
            Err(_) => Some("the catalog does not answer in time".to_owned()),
        };
        if let Some(reason) = failure {
            self.exporter.count_error();
            tracing::warn!(reason, "metrics of sources and runs cannot be read; they are left out");
        }
        let counters = self.exporter.counters();
        out.add(&EVENTS_ACCEPTED, [(NO_LABELS, counters.accepted().to_string())]);
        out.add(&EVENTS_DUPLICATES, [(NO_LABELS, counters.duplicates().to_string())]);
        let rejected = counters.rejected();
        out.add(&EVENTS_REJECTED, rejected.iter().map(|(code, count)| ([code.as_str()], count.to_string())));
        out.add(&EXPORTER_ERRORS, [(NO_LABELS, self.exporter.errors().to_string())]);
        out.add(&BUILD_INFO, [([env!("CARGO_PKG_VERSION")], "1".to_owned())]);
        out.into_text()
    }

    /// Adds what the catalog knows of sources and runs.
    async fn add_stored(&self, out: &mut Exposition) -> Result<(), ApiError> {
        let mut read = self.sources.list().await?;
        read.extend(self.providers.statuses().await?);
        let success = |source: &SourceStatus| super::seconds_of(source.last_success_at.map_or(0, |at| at.micros()));
        out.add(&COLLECTOR_SUCCESS, read.iter().map(|source| ([source.name.as_str()], success(source))));
        out.add(
            &COLLECTOR_INTERVAL,
            read.iter().map(|source| ([source.name.as_str()], source.every_seconds.to_string())),
        );
        let mut figures = self.providers.figures().await?;
        figures.extend(self.sources.figures());
        let durations =
            figures.iter().filter_map(|(name, of)| Some(([name.as_str()], super::seconds_of(of.duration_micros?))));
        out.add(&COLLECTOR_DURATION, durations);
        let errors = figures.iter().flat_map(|(name, of)| {
            of.errors.iter().map(move |(cause, count)| ([name.as_str(), cause.as_str()], count.to_string()))
        });
        out.add(&COLLECTOR_ERRORS, errors);
        let mut measured = self.workspaces.statuses().await?;
        let is_expected = |sender: &SourceStatus| {
            let since = self.now().plus_micros(-FORGOTTEN_MICROS);
            self.snapshot_senders.contains(&sender.name) || sender.last_success_at.is_some_and(|at| since <= at)
        };
        measured.extend(self.senders().await?.into_iter().filter(is_expected));
        out.add(&SNAPSHOT_SUCCESS, measured.iter().map(|source| ([source.name.as_str()], success(source))));
        let last_run = self.catalog().last_succeeded_run_at().await?;
        out.add(&RUN_SUCCESS, [(NO_LABELS, super::seconds_of(last_run.unwrap_or(0)))]);
        Ok(())
    }
}
