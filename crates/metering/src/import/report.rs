use crate::intake::Counts;
use crate::meters::MeterSet;
use crate::refusal::{Refusal, RefusalCode};
use domain::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Refused events named in a report; further ones are only counted.
pub const REJECTED_LISTED_MAX: usize = 1000;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventImportReport {
    /// Id of the import; `None` when nothing was stored.
    pub import_id: Option<String>,
    /// Events stored.
    pub accepted: u64,
    /// Events that came before with the same content.
    pub duplicates: u64,
    /// The first refused events.
    pub rejected: Vec<RejectedEvent>,
    /// All refused events.
    pub rejected_total: u64,
    /// Accepted events in which a meter found a value.
    pub metered: u64,
    /// Accepted events without the value of a meter of their type, by meter.
    pub skipped_by_meter: BTreeMap<String, u64>,
    /// Values that had more than nine fractional digits.
    pub rounded_values: u64,
    /// Accepted events without a time; they got the time of the import.
    pub server_times: u64,
    /// Tenants that did not exist before.
    pub tenants_created: Vec<String>,
    /// Days whose usage changed.
    pub days: Vec<Day>,
}

/// One refused event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedEvent {
    /// Its number in the file, from 0.
    pub index: u64,
    /// Its id, if it could be read.
    pub id: Option<String>,
    /// Which rule.
    pub code: RefusalCode,
    /// A sentence for people.
    pub detail: String,
}

impl EventImportReport {
    pub(super) fn reject(&mut self, index: u64, refusal: Refusal) {
        self.rejected_total += 1;
        if self.rejected.len() < REJECTED_LISTED_MAX {
            let Refusal { code, detail, id, not_json: _ } = refusal;
            self.rejected.push(RejectedEvent { index, id, code, detail });
        }
    }

    pub(super) fn count(&mut self, counts: &Counts, meters: &MeterSet) {
        self.accepted = counts.accepted;
        self.duplicates = counts.duplicates;
        self.metered = counts.metered;
        self.rounded_values = counts.rounded_values;
        self.server_times = counts.server_times;
        let named = |(meter, skipped): (&usize, &u64)| (meters.meter(*meter).name.clone(), *skipped);
        self.skipped_by_meter = counts.skipped.iter().map(named).collect();
    }
}
