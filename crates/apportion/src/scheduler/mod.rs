//! What `serve` does by itself: snapshots, attribution and collection once a day; attribution a while after the last
//! import or collection; merging of small files a while after the last flush or import.
//!
//! It asks the API as a person would (`attribute --due`), so there is one way to do each of these. Several processes on
//! one catalog share the work by leases; what is done twice all the same has one effect, because the ledger and the
//! tables decide.

/// What is done.
mod job;
/// Once a day, by one of several processes.
mod nightly;
/// When it was quiet long enough.
mod quiet;

pub use nightly::Post;

use crate::client::Client;
use crate::config::{Config, Schedule};
use crate::sources::is_collected;
use anyhow::Result;
use api::ScheduledJob;
use domain::{Clock as _, Daily};
use job::{Attribution, Collection, Job, Snapshots};
use nightly::Nightly;
use quiet::{AfterArrival, Quiet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// How often imports and clock are looked at.
const POLL: Duration = Duration::from_secs(2);
/// Kind of the sources whose workspaces are measured here.
const MEASURED: &str = collectors::workspaces::KIND;

/// A schedule that knows what was imported before it started.
pub struct Scheduler {
    client: Arc<Client>,
    nightlies: Vec<Nightly>,
    arrivals: AfterArrival,
    quiet: Quiet,
    flushes: Receiver<u64>,
    post: Post,
}

impl Scheduler {
    /// Returns the schedule. What was imported before now waits for the night, as after any restart.
    ///
    /// # Errors
    /// The imports cannot be listed.
    pub async fn new(client: Client, config: &Config, flushes: Receiver<u64>, post: Post) -> Result<Self> {
        let client = Arc::new(client);
        let (import, taken) = job::arrivals(&client).await?;
        let arrivals = AfterArrival::new(&config.schedule.after_import, Some(state_of(import.as_deref(), &taken)));
        let nightly = |scheduled: ScheduledJob| Nightly {
            job: job_of(scheduled.name, &client, &post),
            daily: scheduled.daily,
            post: post.clone(),
        };
        let nightlies = scheduled(config).into_iter().map(nightly).collect();
        let quiet = Quiet::new(&config.compaction.after_flush);
        Ok(Self { client, nightlies, arrivals, quiet, flushes, post })
    }

    /// Looks at imports and clock until it is dropped.
    pub async fn run(mut self) {
        let nightlies = std::mem::take(&mut self.nightlies);
        // Each by itself: a snapshot that takes hours holds no attribution up.
        let mut nights = Vec::with_capacity(nightlies.len());
        for nightly in &nightlies {
            nights.push(nightly.keep_doing(POLL));
        }
        tokio::join!(futures::future::join_all(nights), self.watch());
    }

    /// Does what arrivals and quiet ask for.
    async fn watch(&mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            let (import, taken) = match job::arrivals(&self.client).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(error = %error, "the scheduler cannot list imports");
                    continue;
                }
            };
            let now = crate::wiring::WallClock.now();
            let flushes = *self.flushes.borrow_and_update();
            let state = state_of(import.as_deref(), &taken);
            if self.quiet.is_due(now, (flushes, import)) {
                self.note("compact", self.post.alone("compact", job::compact(&self.client)).await.map(drop));
            }
            if self.arrivals.is_due(now, Some(state)) {
                let done = self.post.alone("attribute", job::attribute(&self.client)).await;
                // If somebody else attributes just now, what arrived may be too new for it: asked again.
                if let Ok(Some(done)) = &done {
                    self.arrivals.done();
                    if let Err(error) = done {
                        tracing::warn!(error = %error, "the due days were not attributed; the night tries again");
                    }
                }
                self.note("attribute", done.map(drop));
            }
        }
    }

    fn note(&self, what: &str, done: Result<(), storage::catalog::CatalogError>) {
        if let Err(error) = done {
            tracing::warn!(job = what, ?error, "the schedule cannot ask the catalog");
        }
    }
}

fn state_of(import: Option<&str>, taken: &str) -> String {
    format!("{} {taken}", import.unwrap_or_default())
}

/// Returns what a server with this configuration does once a day.
pub fn scheduled(config: &Config) -> Vec<ScheduledJob> {
    let Schedule { snapshot, attribute, collect, .. } = &config.schedule;
    let kinds = || config.sources.iter().map(|source| source.kind.as_str());
    let jobs = [
        (kinds().any(|kind| kind == MEASURED), "snapshot", snapshot),
        (true, "attribute", attribute),
        (kinds().any(is_collected), "collect", collect),
    ];
    let wanted = jobs.into_iter().filter(|(is_wanted, ..)| *is_wanted);
    wanted.map(|(_, name, at)| ScheduledJob { name, daily: Daily::at_minutes(at.minutes()) }).collect()
}

fn job_of(name: &str, client: &Arc<Client>, post: &Post) -> Arc<dyn Job> {
    let client = Arc::clone(client);
    match name {
        "snapshot" => Arc::new(Snapshots { client }),
        "collect" => Arc::new(Collection { client }),
        _ => Arc::new(Attribution { client, expires_events: !post.catalog.is_shared() }),
    }
}
