//! What the log's writer decides: which events are new, and when they can be seen.

use super::hot::Hot;
use super::prepare::{PreparedEvent, RetractedKeys};
use super::record::{Fate, Verdict};
use super::waiting::Waiting;
use crate::ids::{IdBatch, IdContent, IdIndex, IdKey, IdsError};
use crate::wal::{Frame, Position, RECORD_PREFIX_BYTES, Records, StateMachine, WalError};
use ahash::RandomState;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Ids that are brought near before they are decided about.
const IDS_WARMED: usize = 64;

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
#[derive(Debug, Default)]
pub(crate) struct Decided {
    events: Vec<PreparedEvent>,
    decisions: Vec<Decision>,
    /// Of the accepted events, in their order.
    verdicts: Vec<Verdict>,
    failure: Option<IdsError>,
}

impl Decided {
    /// Nothing may be decided, and nothing is stored.
    fn failed(failure: IdsError) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    fn accepted(&self) -> impl Iterator<Item = (&PreparedEvent, &Verdict)> {
        let decided = self.events.iter().zip(&self.decisions);
        let accepted = decided.filter(|(_, decision)| **decision == Decision::Accepted);
        accepted.map(|(event, _)| event).zip(&self.verdicts)
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
}

impl Machine {
    pub fn new(
        ids: Arc<IdIndex>,
        hot: Arc<Hot>,
        waiting: Arc<Waiting>,
        ended: watch::Sender<u64>,
        sealed_through: u64,
    ) -> Self {
        Self { ids, hot, waiting, ended, sealed_through, prepared: HashMap::default() }
    }

    /// Decides about the events of a batch one after the other, and claims what the accepted ones bring.
    fn decide_all(&mut self, ids: &IdBatch<'_>, batch: &mut Decided) -> Result<(), IdsError> {
        for events in batch.events.chunks(IDS_WARMED) {
            ids.warm(events.iter().map(|event| &event.key));
            for event in events {
                let decision = self.decide(ids, event, None)?;
                if decision == Decision::Accepted {
                    batch.verdicts.push(self.claim(ids, event)?);
                }
                batch.decisions.push(decision);
            }
        }
        Ok(())
    }

    /// Returns the decisions on a batch that one conflict refuses; `None` if there is no conflict.
    fn refuse_all(&self, ids: &IdBatch<'_>, events: &[PreparedEvent]) -> Result<Option<Vec<Decision>>, IdsError> {
        let mut own: HashMap<IdKey, IdContent, RandomState> = HashMap::default();
        let mut decisions = Vec::with_capacity(events.len());
        for event in events {
            let decision = self.decide(ids, event, own.get(&event.key))?;
            decisions.push(match decision {
                Decision::Accepted => {
                    own.insert(event.key, event.content);
                    Decision::NotStored
                }
                other => other,
            });
        }
        Ok(decisions.contains(&Decision::Conflict).then_some(decisions))
    }

    /// `own` is what the event's own batch says of its key, if it does not claim.
    fn decide(&self, ids: &IdBatch<'_>, event: &PreparedEvent, own: Option<&IdContent>) -> Result<Decision, IdsError> {
        let known = match own.or_else(|| self.prepared.get(&event.key)) {
            Some(content) => Some(*content),
            None => ids.get(&event.key)?.map(|found| found.content),
        };
        Ok(match known {
            None => Decision::Accepted,
            Some(content) if content == event.content => Decision::Duplicate,
            Some(_) => Decision::Conflict,
        })
    }

    /// Claims the id of an accepted event and whatever else it is the first to say.
    fn claim(&mut self, ids: &IdBatch<'_>, event: &PreparedEvent) -> Result<Verdict, IdsError> {
        let verdict = self.judge(ids, event)?;
        self.prepared.extend(claims(event, &verdict));
        if let (Fate::Waits, Some(retracted)) = (verdict.fate, &event.retracts) {
            self.waiting.insert(retracted.event);
        }
        Ok(verdict)
    }

    fn judge(&self, ids: &IdBatch<'_>, event: &PreparedEvent) -> Result<Verdict, IdsError> {
        let nothing = |fate| Verdict { fate, firsts: vec![false; event.uniques.len()] };
        if let Some(retracted) = &event.retracts {
            return Ok(nothing(self.fate_of(ids, retracted)?));
        }
        if self.waiting.contains(&event.key) {
            return Ok(nothing(Fate::TakenBack));
        }
        let is_first = |marker: &IdKey| Ok(!self.is_known(ids, marker)?);
        let firsts = event.uniques.iter().map(is_first).collect::<Result<_, IdsError>>()?;
        Ok(Verdict { fate: Fate::Counts, firsts })
    }

    fn fate_of(&self, ids: &IdBatch<'_>, retracted: &RetractedKeys) -> Result<Fate, IdsError> {
        Ok(if self.is_known(ids, &retracted.marker)? {
            Fate::Repeats
        } else if self.is_known(ids, &retracted.event)? {
            Fate::Retracts
        } else {
            Fate::Waits
        })
    }

    fn is_known(&self, ids: &IdBatch<'_>, key: &IdKey) -> Result<bool, IdsError> {
        Ok(self.prepared.contains_key(key) || ids.get(key)?.is_some())
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
        let index = Arc::clone(&self.ids);
        let ids = index.batch();
        let mut decided = Decided { events: batch.events, ..Decided::default() };
        let refused = if batch.atomic { self.refuse_all(&ids, &decided.events) } else { Ok(None) };
        let outcome = match refused {
            Ok(Some(decisions)) => {
                decided.decisions = decisions;
                Ok(())
            }
            Ok(None) => self.decide_all(&ids, &mut decided),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            // A damaged page of ids: nothing may be decided without it, and nothing is stored.
            decided.accepted().for_each(|(event, verdict)| self.disclaim(event, verdict));
            return Decided::failed(failure);
        }
        let accepted = decided.accepted();
        accepted.for_each(|(event, verdict)| records.push_with(&event.record, |end| verdict.append_to(end)));
        decided
    }

    fn commit(&mut self, mut decided: Decided, _position: Option<Position>) -> Self::Answer {
        if let Some(failure) = decided.failure.take() {
            return Err(failure);
        }
        let mut ids = self.ids.batch();
        for (event, verdict) in decided.accepted() {
            for (key, content) in claims(event, verdict) {
                ids.insert(&key, &content);
            }
            // A retraction may have been waited for as well: nobody takes it back, and it has come.
            self.waiting.remove(&event.key);
        }
        Ok(decided.decisions)
    }

    fn reject(&mut self, decided: Decided, _error: &WalError) {
        decided.accepted().for_each(|(event, verdict)| self.disclaim(event, verdict));
    }

    fn publish(&mut self, group: Option<Frame<'_>>) {
        // The index has them now.
        self.prepared.clear();
        if let Some(group) = group {
            let readable = "a record that was written just now can be read";
            self.hot.add(group.position.segment, group.records()).expect(readable);
        }
    }

    fn segment_ended(&mut self, segment: u64) {
        if self.sealed_through < segment {
            self.ids.seal(segment);
        }
        self.ended.send_replace(segment);
    }
}
