//! What the log's writer decides: which events are new, and when they can be seen.

use super::hot::{Addition, Hot};
use super::prepare::PreparedEvent;
use crate::ids::{IdContent, IdIndex, IdKey, IdsError};
use crate::wal::{Position, RECORD_PREFIX_BYTES, Records, StateMachine, WalError};
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
    accepted: Vec<PreparedEvent>,
    failure: Option<IdsError>,
}

/// Decides about ids and keeps the hot usage.
pub(crate) struct Machine {
    pub ids: Arc<IdIndex>,
    pub hot: Arc<Hot>,
    /// Told of segments that can go to the lake.
    pub ended: watch::Sender<u64>,
    /// Segments whose ids are sealed already, from reading the log.
    pub sealed_through: u64,
    /// Ids of the group that is being prepared.
    prepared: HashMap<IdKey, IdContent>,
    /// What the group adds, not visible yet.
    committed: Vec<Addition>,
    segment: Option<u64>,
}

impl Machine {
    pub fn new(ids: Arc<IdIndex>, hot: Arc<Hot>, ended: watch::Sender<u64>, sealed_through: u64) -> Self {
        Self { ids, hot, ended, sealed_through, prepared: HashMap::new(), committed: Vec::new(), segment: None }
    }

    fn decide(&self, event: &PreparedEvent, own: &HashMap<IdKey, IdContent>) -> Result<Decision, IdsError> {
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
        let mut own = HashMap::new();
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

impl StateMachine for Machine {
    type Request = Batch;
    type Prepared = Decided;
    type Answer = Result<Vec<Decision>, IdsError>;

    fn bytes_max(batch: &Batch) -> usize {
        batch.events.iter().map(|event| RECORD_PREFIX_BYTES + event.record.len()).sum()
    }

    fn prepare(&mut self, batch: Batch, records: &mut Records<'_>) -> Decided {
        let decisions = match self.decide_all(&batch) {
            Ok(decisions) => decisions,
            // A damaged page of ids: nothing may be decided without it, and nothing is stored.
            Err(failure) => {
                let (decisions, accepted) = (Vec::new(), Vec::new());
                return Decided { decisions, accepted, failure: Some(failure) };
            }
        };
        let is_accepted =
            |(event, decision): (PreparedEvent, &Decision)| (*decision == Decision::Accepted).then_some(event);
        let accepted: Vec<_> = batch.events.into_iter().zip(&decisions).filter_map(is_accepted).collect();
        for event in &accepted {
            self.prepared.insert(event.key, event.content);
            records.push(&event.record);
        }
        Decided { decisions, accepted, failure: None }
    }

    fn commit(&mut self, decided: Decided, position: Option<Position>) -> Self::Answer {
        if let Some(failure) = decided.failure {
            return Err(failure);
        }
        for event in decided.accepted {
            let position = position.expect("an accepted event has a record, and its group a position");
            self.prepared.remove(&event.key);
            self.ids.insert(&event.key, &event.content);
            self.segment = Some(position.segment);
            self.committed.push(Addition { placed: event.placed, values: event.values });
        }
        Ok(decided.decisions)
    }

    fn reject(&mut self, decided: Decided, _error: &WalError) {
        for event in decided.accepted {
            self.prepared.remove(&event.key);
        }
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
