use crate::client::{Call, Client, is_cancelled, percent_encode};
use crate::sources::is_collected;
use anyhow::{Result, bail};
use domain::Day;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;

/// Something that is done once a day.
///
/// Doing it twice for one day must have one effect: a process may die, or be stopped until another one takes its turn.
pub trait Job: Send + Sync {
    /// Its name in the catalog and in `GET /schedule`.
    fn name(&self) -> &'static str;

    /// Whether days that were missed are made up for.
    fn catch_up(&self) -> CatchUp;

    /// Does it for a day.
    fn run(&self, day: Day) -> BoxFuture<'_, Result<()>>;
}

/// What becomes of days that were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Each is done, oldest first.
    EachDay,
    /// The last one does for all: it looks at everything that is due.
    LastDay,
}

/// Snapshots of the workspaces of every application.
pub struct Snapshots {
    /// Who takes them.
    pub client: Arc<Client>,
}

impl Job for Snapshots {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::EachDay
    }

    fn run(&self, day: Day) -> BoxFuture<'_, Result<()>> {
        take_snapshots(&self.client, day).boxed()
    }
}

/// Attribution of every due day; after it the tables are kept small.
pub struct Attribution {
    /// Who attributes.
    pub client: Arc<Client>,
    /// Whether raw events may leave their table: only while one process alone knows all ids.
    pub expires_events: bool,
}

impl Job for Attribution {
    fn name(&self) -> &'static str {
        "attribute"
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::LastDay
    }

    fn run(&self, _day: Day) -> BoxFuture<'_, Result<()>> {
        attribute_and_tidy(&self.client, self.expires_events).boxed()
    }
}

/// A reading of every source that this process has.
pub struct Collection {
    /// Who reads them.
    pub client: Arc<Client>,
}

impl Job for Collection {
    fn name(&self) -> &'static str {
        "collect"
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::LastDay
    }

    fn run(&self, _day: Day) -> BoxFuture<'_, Result<()>> {
        collect(&self.client).boxed()
    }
}

async fn take_snapshots(client: &Client, day: Day) -> Result<()> {
    let done = client.json(Call::post("/snapshots/run").query("date", day).query("wait", "true")).await?;
    let (tenants, failed) = (&done["tenants"], &done["failed_total"]);
    if done["status"] != "succeeded" {
        bail!("{}", done["error"].as_str().unwrap_or("no workspace was measured"));
    }
    tracing::info!(%day, %tenants, %failed, "took the snapshots of {day}");
    Ok(())
}

async fn attribute_and_tidy(client: &Client, expires_events: bool) -> Result<()> {
    attribute(client).await?;
    keep_small(client, expires_events).await;
    Ok(())
}

async fn collect(client: &Client) -> Result<()> {
    let mut failed = Vec::new();
    for source in client.all_rows("/sources", &[]).await? {
        if !source["kind"].as_str().is_some_and(is_collected) {
            continue;
        }
        let name = source["name"].as_str().unwrap_or_default();
        match client.json(Call::post(format!("/sources/{}/refresh", percent_encode(name)))).await {
            Ok(_) => {}
            // Whoever cancelled it does not want it to begin again at once.
            Err(error) if is_cancelled(&error) => {
                tracing::info!(source = name, "source {name} was not read to its end: {error}");
            }
            // What went wrong is in the log and in the status of the source already.
            Err(_) => failed.push(name.to_owned()),
        }
    }
    if !failed.is_empty() {
        bail!("sources that could not be read: {}", failed.join(", "));
    }
    Ok(())
}

/// Attributes every due day, oldest first.
///
/// # Errors
/// A run failed, or one of somebody else covers the same days for too long.
pub async fn attribute(client: &Client) -> Result<()> {
    let call = Call::post("/runs").query("wait", "true").json(&json!({ "due": true }));
    let runs = client.json(call).await?;
    let (entries, posting) = (&runs["entries"], &runs["posting"]);
    tracing::info!(entries = %entries, posting = %posting, "attributed the due days: {entries} entries");
    Ok(())
}

/// Merges small files.
pub async fn compact(client: &Client) {
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
async fn keep_small(client: &Client, expires_events: bool) {
    if expires_events {
        match client.json(Call::post("/lake/expire-events")).await {
            Ok(done) => tracing::info!(events = %done["events"], "{} raw events were kept long enough", done["events"]),
            Err(error) => tracing::warn!(error = %error, "raw events were not expired; the next night tries again"),
        }
    }
    match client.json(Call::post("/lake/vacuum")).await {
        Ok(done) => tracing::info!(files = %done["files"], "deleted {} files that nothing needed", done["files"]),
        Err(error) => tracing::warn!(error = %error, "no files were deleted; the next night tries again"),
    }
}

/// Returns what says that something arrived: the newest import, and how much came from each source.
///
/// # Errors
/// Imports or sources cannot be listed.
pub async fn arrivals(client: &Client) -> Result<(Option<String>, String)> {
    let page = client.json(Call::get("/imports").query("limit", 1)).await?;
    let newest = crate::output::rows_of(&page).and_then(<[Value]>::first);
    let import = newest.and_then(|row| row["import_id"].as_str()).map(str::to_owned);
    let sources = client.all_rows("/sources", &[]).await?;
    let taken: Vec<String> = sources.iter().map(|source| format!("{}={}", source["name"], source["rows"])).collect();
    Ok((import, taken.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_whose_reading_was_cancelled_waits_for_its_turn() {
        assert!(
            collect(&Client::refusing_a_source("run_cancelled")).await.is_ok(),
            "the night does not begin it again"
        );
        let failed = collect(&Client::refusing_a_source("source_failed")).await.expect_err("it was not read");
        assert_eq!(failed.to_string(), "sources that could not be read: bill");
    }
}
