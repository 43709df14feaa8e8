//! Who used what in the windows of a month when it was closed: raw events leave their table, the statement stays.
//!
//! One file per day with windows, kept under the hash of its bytes before the close is posted; the commit of the close
//! names the files. What a refused or lost attempt leaves behind is named by no commit and harmless.

use crate::inputs::repeated;
use crate::inputs::windows::{Around, WindowEvents, has_windows};
use crate::{Engine, EngineError};
use attribution::cells::Consumer;
use attribution::expand::expand;
use attribution::window::{Amortized, WindowPool};
use domain::decimal::format_scaled;
use domain::policy::{Each, Policy};
use domain::quantity::QUANTITY_SCALE;
use domain::{Day, DayRange};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::lake::PinnedLake;

/// Atoms of the weight one.
const ONE: i128 = 1_000_000_000;

/// The file with the windows of one day, as the commit of a close names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceFile {
    /// The day.
    pub day: Day,
    /// Hash of its bytes, and its name.
    pub sha256: String,
    /// Cost events in it.
    pub cost_events: usize,
}

impl Engine {
    /// Stores what every window of the days looks like now and returns the files, none for days without windows.
    ///
    /// # Source
    /// Spec 3-attribution, section 5: key, consumers and weights.
    ///
    /// # Errors
    /// When a store fails.
    pub(super) async fn keep_window_evidence(
        &self,
        pinned: &PinnedLake,
        days: DayRange,
    ) -> Result<Vec<EvidenceFile>, EngineError> {
        let books = self.books_now().await?;
        let policies = books.policies_in(days);
        if !policies.iter().any(|policy| has_windows(policy)) {
            return Ok(Vec::new());
        }
        let session = self.session(pinned)?;
        let touched = self.touched_days(pinned).await?;
        let repeated = repeated::first_days(&session, &policies, days.to()).await?;
        let mut files = Vec::new();
        // A day at a time, so that memory holds the events of one day and of what its windows reach.
        for day in days.days() {
            let version = books.policy_on(day);
            let policy = expand(&version.content, &repeated.up_to(day, &books.tenants));
            if !has_windows(&policy) {
                continue;
            }
            let events = WindowEvents::load(self, &session, DayRange::single(day), &books, &[&policy]).await?;
            let now = self.clock.now();
            let around = Around { books: &books, settings: &self.settings, now, expired: touched.expired() };
            let pools = events.of_day(day, &policy, &around);
            let lines: Vec<Value> =
                pools.iter().flat_map(|(name, window)| lines_of(day, &policy, name, window)).collect();
            if lines.is_empty() {
                continue;
            }
            let cost_events = pools.values().map(|window| window.costs.len()).sum();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let sha256 = self.lake.keep_evidence(text.into_bytes()).await?;
            files.push(EvidenceFile { day, sha256, cost_events });
        }
        Ok(files)
    }

    /// Returns the windows of a file that a close named, one JSON object each.
    ///
    /// # Errors
    /// When the file is not what was stored.
    pub async fn window_evidence_all_tenants(&self, file: &EvidenceFile) -> Result<Vec<Value>, EngineError> {
        let bytes = self.lake.evidence(&file.sha256).await?;
        let wrong = |error: &dyn std::fmt::Display| crate::books::corrupt("the evidence of a closed month", error);
        let text = String::from_utf8(bytes).map_err(|error| wrong(&error))?;
        text.lines().map(|line| serde_json::from_str(line).map_err(|error| wrong(&error))).collect()
    }
}

/// A line per cost event, or one that says why the pool was not run.
fn lines_of(day: Day, policy: &Policy, name: &str, window: &WindowPool) -> Vec<Value> {
    if let Some(not_run) = &window.not_run {
        return vec![json!({ "day": day.to_string(), "pool": name, "not_run": not_run.code })];
    }
    let pool = policy.pools.iter().find(|pool| pool.name == name);
    let each = pool.and_then(|pool| pool.split.as_ref()).and_then(|split| split.each.as_ref());
    let unit = if matches!(each, Some(Each::Read | Each::Meter(_))) { 1 } else { ONE };
    window.costs.iter().map(|cost| line_of(day, name, window, cost, unit)).collect()
}

fn line_of(day: Day, name: &str, window: &WindowPool, cost: &Amortized, unit: i128) -> Value {
    let consumers = cost.weights.iter().map(|(consumer, weight)| {
        let who = match consumer {
            Consumer::Values(values) => ledger::consumer(values).to_string(),
            Consumer::Reserved(word) => (*word).to_owned(),
        };
        json!({ "consumer": who, "weight": format_scaled(weight * unit, QUANTITY_SCALE, 0) })
    });
    json!({
        "day": day.to_string(),
        "pool": name,
        "time": cost.cost.time.to_string(),
        "ends_at": cost.end.to_string(),
        "status": if cost.pending { "pending" } else { "final" },
        "key": cost.cost.key.as_deref(),
        "amount": domain::money::format_atoms(cost.cost.amount),
        "currency": window.currency.code(),
        "reads": cost.reads,
        "consumers": consumers.collect::<Vec<_>>(),
    })
}
