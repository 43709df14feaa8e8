//! What the log's writer decides: which events are new, and when they can be seen.

use super::hot::{Addition, Hot};
use super::prepare::{PreparedEvent, RetractedKeys};
use super::record::{Fate, Verdict};
use super::waiting::Waiting;
use crate::ids::{IdContent, IdIndex, IdKey, IdsError};
use crate::wal::{Position, RECORD_PREFIX_BYTES, Records, StateMachine, WalError};
use ahash::RandomState;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Events that are decided together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub events: Vec<PreparedEvent>,
    /// Whether one conflict refuses all of them.
    pub atomic: bool,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It counts.
    Accepted,
    /// It came before with the same content.
    Duplicate,
    /// It came before with other content.
    Conflict,
    /// Another event of the batch refused it.
    NotStored,
}

/// A batch that is decided and not yet durable.
#[derive(Debug)]
pub(crate) struct Decided {
    decisions: Vec<Decision>,
    accepted: Vec<(PreparedEvent, Verdict)>,
    failure: Option<IdsError>,
}

impl Decided {
    /// Nothing may be decided, and nothing is stored.
    fn failed(failure: IdsError) -> Self {
        Self { decisions: Vec::new(), accepted: Vec::new(), failure: Some(failure) }
    }
}

/// What ids say that are no events'.
pub(super) const MARKER: IdContent = [0; 16];

/// Decides about ids and keeps the hot usage.
pub(crate) struct Machine {
    pub ids: Arc<IdIndex>,
    pub hot: Arc<Hot>,
    /// Events that were taken back and have not come.
    pub waiting: Arc<Waiting>,
    /// Told of segments that can go to the lake.
    pub ended: watch::Sender<u64>,
    /// Segments whose ids are sealed already, from reading the log.
    pub sealed_through: u64,
    /// Ids of the group that is being prepared.
    prepared: HashMap<IdKey, IdContent, RandomState>,
    /// What the group adds, not visible yet.
    committed: Vec<Addition>,
    segment: Option<u64>,
}

impl Machine {
    pub fn new(
        ids: Arc<IdIndex>,
        hot: Arc<Hot>,
        waiting: Arc<Waiting>,
        ended: watch::Sender<u64>,
        sealed_through: u64,
    ) -> Self {
        let (prepared, committed) = (HashMap::default(), Vec::new());
        Self { ids, hot, waiting, ended, sealed_through, prepared, committed, segment: None }
    }

    fn decide(
        &self,
        event: &PreparedEvent,
        own: &HashMap<IdKey, IdContent, RandomState>,
    ) -> Result<Decision, IdsError> {
        let in_group = own.get(&event.key).or_else(|| self.prepared.get(&event.key)).copied();
        let known = match in_group {
            Some(content) => Some(content),
            None => self.ids.get(&event.key)?.map(|found| found.content),
        };
        Ok(match known {
            None => Decision::Accepted,
            Some(content) if content == event.content => Decision::Duplicate,
            Some(_) => Decision::Conflict,
        })
    }

    fn decide_all(&self, batch: &Batch) -> Result<Vec<Decision>, IdsError> {
        let mut own = HashMap::default();
        let mut decisions = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let decision = self.decide(event, &own)?;
            if decision == Decision::Accepted {
                own.insert(event.key, event.content);
            }
            decisions.push(decision);
        }
        if batch.atomic && decisions.contains(&Decision::Conflict) {
            let spared = |decision: &mut Decision| {
                if *decision == Decision::Accepted {
                    *decision = Decision::NotStored;
                }
            };
            decisions.iter_mut().for_each(spared);
        }
        Ok(decisions)
    }
}

impl Machine {
    /// Claims the id of an accepted event and whatever else it is the first to say.
    fn claim(&mut self, event: &PreparedEvent) -> Result<Verdict, IdsError> {
        let verdict = self.judge(event)?;
        self.prepared.extend(claims(event, &verdict));
        if let (Fate::Waits, Some(retracted)) = (verdict.fate, &event.retracts) {
            self.waiting.insert(retracted.event);
        }
        Ok(verdict)
    }

    fn judge(&self, event: &PreparedEvent) -> Result<Verdict, IdsError> {
        let nothing = |fate| Verdict { fate, firsts: vec![false; event.uniques.len()] };
        if let Some(retracted) = &event.retracts {
            return Ok(nothing(self.fate_of(retracted)?));
        }
        if self.waiting.contains(&event.key) {
            return Ok(nothing(Fate::TakenBack));
        }
        let is_first = |marker: &IdKey| Ok(!self.is_known(marker)?);
        let firsts = event.uniques.iter().map(is_first).collect::<Result<_, IdsError>>()?;
        Ok(Verdict { fate: Fate::Counts, firsts })
    }

    fn fate_of(&self, retracted: &RetractedKeys) -> Result<Fate, IdsError> {
        Ok(if self.is_known(&retracted.marker)? {
            Fate::Repeats
        } else if self.is_known(&retracted.event)? {
            Fate::Retracts
        } else {
            Fate::Waits
        })
    }

    fn is_known(&self, key: &IdKey) -> Result<bool, IdsError> {
        Ok(self.prepared.contains_key(key) || self.ids.get(key)?.is_some())
    }

    /// Takes back what [`Self::claim`] claimed.
    fn disclaim(&mut self, event: &PreparedEvent, verdict: &Verdict) {
        for (key, _) in claims(event, verdict) {
            self.prepared.remove(&key);
        }
        if let (Fate::Waits, Some(retracted)) = (verdict.fate, &event.retracts) {
            self.waiting.remove(&retracted.event);
        }
    }
}

/// The ids that an accepted event brings.
fn claims(event: &PreparedEvent, verdict: &Verdict) -> impl Iterator<Item = (IdKey, IdContent)> {
    let firsts = event.uniques.iter().zip(&verdict.firsts).filter(|(_, first)| **first).map(|(marker, _)| *marker);
    let marks = matches!(verdict.fate, Fate::Retracts | Fate::Waits);
    let retraction = event.retracts.filter(|_| marks).map(|retracted| retracted.marker);
    std::iter::once((event.key, event.content)).chain(firsts.chain(retraction).map(|marker| (marker, MARKER)))
}

impl StateMachine for Machine {
    type Request = Batch;
    type Prepared = Decided;
    type Answer = Result<Vec<Decision>, IdsError>;

    fn bytes_max(batch: &Batch) -> usize {
        let bytes = |event: &PreparedEvent| event.record.len() + Verdict::bytes(event.uniques.len());
        batch.events.iter().map(|event| RECORD_PREFIX_BYTES + bytes(event)).sum()
    }

    fn prepare(&mut self, batch: Batch, records: &mut Records<'_>) -> Decided {
        let decisions = match self.decide_all(&batch) {
            Ok(decisions) => decisions,
            // A damaged page of ids: nothing may be decided without it, and nothing is stored.
            Err(failure) => return Decided::failed(failure),
        };
        let mut accepted: Vec<(PreparedEvent, Verdict)> = Vec::with_capacity(decisions.len());
        let is_accepted =
            |(event, decision): (PreparedEvent, &Decision)| (*decision == Decision::Accepted).then_some(event);
        for mut event in batch.events.into_iter().zip(&decisions).filter_map(is_accepted) {
            match self.claim(&event) {
                Ok(verdict) => {
                    verdict.append_to(&mut event.record);
                    accepted.push((event, verdict));
                }
                Err(failure) => {
                    accepted.iter().for_each(|(event, verdict)| self.disclaim(event, verdict));
                    return Decided::failed(failure);
                }
            }
        }
        for (event, _) in &accepted {
            records.push(&event.record);
        }
        Decided { decisions, accepted, failure: None }
    }

    fn commit(&mut self, decided: Decided, position: Option<Position>) -> Self::Answer {
        if let Some(failure) = decided.failure {
            return Err(failure);
        }
        for (mut event, verdict) in decided.accepted {
            let position = position.expect("an accepted event has a record, and its group a position");
            for (key, content) in claims(&event, &verdict) {
                self.prepared.remove(&key);
                self.ids.insert(&key, &content);
            }
            if verdict.fate == Fate::TakenBack {
                self.waiting.remove(&event.key);
            }
            verdict.retain_counted(&mut event.values);
            self.segment = Some(position.segment);
            self.committed.push(Addition { placed: event.placed, values: event.values });
        }
        Ok(decided.decisions)
    }

    fn reject(&mut self, decided: Decided, _error: &WalError) {
        decided.accepted.iter().for_each(|(event, verdict)| self.disclaim(event, verdict));
    }

    fn publish(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.hot.add(segment, self.committed.drain(..));
        }
    }

    fn segment_ended(&mut self, segment: u64) {
        if self.sealed_through < segment {
            self.ids.seal(segment);
        }
        self.ended.send_replace(segment);
    }
}
