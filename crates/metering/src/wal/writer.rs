use super::WalError;
use super::log::Log;
use super::machine::{Position, StateMachine};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

/// Where an answer goes; a task that no longer waits for it does not matter.
pub(super) type Reply<T> = oneshot::Sender<Result<T, WalError>>;

/// What the handle asks of the writer thread.
pub(super) enum Command<M: StateMachine> {
    Append(Waiting<M>),
    Rotate(Reply<Option<u64>>),
    Close(Reply<()>),
}

/// One append in the queue, with its share of the queue's bytes.
pub(super) struct Waiting<M: StateMachine> {
    pub request: M::Request,
    pub permit: OwnedSemaphorePermit,
    pub reply: Reply<M::Answer>,
}

/// Owns the log and the machine, in a thread of its own.
pub(super) struct Writer<M: StateMachine> {
    log: Log,
    machine: M,
    /// Most bytes of records that a group may have.
    group_bytes_max: usize,
    current: Arc<AtomicU64>,
    /// The failure after which nothing is taken any more.
    failure: watch::Sender<Option<WalError>>,
    // The three stages of a group, kept for their memory.
    waiting: Vec<Waiting<M>>,
    prepared: Vec<(M::Prepared, Reply<M::Answer>)>,
    answers: Vec<(M::Answer, Reply<M::Answer>)>,
}

impl<M: StateMachine> Writer<M> {
    pub fn new(
        log: Log,
        machine: M,
        group_bytes_max: usize,
        current: Arc<AtomicU64>,
        failure: watch::Sender<Option<WalError>>,
    ) -> Self {
        let (waiting, prepared, answers) = (Vec::new(), Vec::new(), Vec::new());
        Self { log, machine, group_bytes_max, current, failure, waiting, prepared, answers }
    }

    /// Works until it is told to close or all handles are gone.
    pub fn run(mut self, commands: &Receiver<Command<M>>) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| commands.recv().ok()) {
            match command {
                Command::Append(first) => {
                    next = self.collect(first, commands);
                    self.commit_group();
                }
                Command::Rotate(reply) => drop(reply.send(self.rotate_unless_empty())),
                Command::Close(reply) => {
                    drop(reply.send(self.close()));
                    return;
                }
            }
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "the log was not closed cleanly");
        }
    }

    /// Takes all appends that wait now; returns the command behind them.
    ///
    /// A permit is kept until all are taken, so that the queue's limit is the group's limit too.
    fn collect(&mut self, first: Waiting<M>, commands: &Receiver<Command<M>>) -> Option<Command<M>> {
        self.waiting.push(first);
        loop {
            match commands.try_recv() {
                Ok(Command::Append(waiting)) => self.waiting.push(waiting),
                Ok(command) => return Some(command),
                Err(_) => return None,
            }
        }
    }

    fn commit_group(&mut self) {
        if let Err(error) = self.check() {
            self.waiting.drain(..).for_each(|waiting| drop(waiting.reply.send(Err(error.clone()))));
            return;
        }
        let mut records = self.log.begin_group();
        for Waiting { request, permit, reply } in self.waiting.drain(..) {
            // The next group may queue up while this one is written.
            drop(permit);
            self.prepared.push((self.machine.prepare(request, &mut records), reply));
        }
        match self.write_group() {
            Ok(position) => self.answer(position),
            Err(error) => self.reject(&error),
        }
    }

    fn write_group(&mut self) -> Result<Option<Position>, WalError> {
        let bytes = self.log.group_bytes();
        if bytes == 0 {
            return Ok(None);
        }
        if self.group_bytes_max < bytes {
            return Err(WalError::AppendTooLarge { bytes, bytes_max: self.group_bytes_max });
        }
        if !self.log.has_room() {
            self.rotate()?;
        }
        self.log.write_group().map(Some)
    }

    fn answer(&mut self, position: Option<Position>) {
        for (prepared, reply) in self.prepared.drain(..) {
            self.answers.push((self.machine.commit(prepared, position), reply));
        }
        self.machine.publish(position.map(|position| self.log.group(position)));
        self.answers.drain(..).for_each(|(answer, reply)| drop(reply.send(Ok(answer))));
    }

    fn reject(&mut self, error: &WalError) {
        // Before anybody is answered: who sees the error must see the log closed to appends.
        self.note(error);
        for (prepared, reply) in self.prepared.drain(..).rev() {
            self.machine.reject(prepared, error);
            drop(reply.send(Err(error.clone())));
        }
    }

    fn rotate_unless_empty(&mut self) -> Result<Option<u64>, WalError> {
        self.check()?;
        if self.log.is_empty() {
            return Ok(None);
        }
        self.rotate().map(Some).inspect_err(|error| self.note(error))
    }

    fn rotate(&mut self) -> Result<u64, WalError> {
        let complete = self.log.rotate()?;
        self.current.store(self.log.number(), Ordering::Release);
        self.machine.segment_ended(complete);
        Ok(complete)
    }

    fn close(&mut self) -> Result<(), WalError> {
        self.log.join_spare();
        self.check()?;
        self.log.close().inspect_err(|error| self.note(error))
    }

    /// Returns the failure that the log stopped at, if it did.
    fn check(&self) -> Result<(), WalError> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    /// A failed sync is the end: what a second one says proves nothing about the first.
    fn note(&self, error: &WalError) {
        if matches!(error, WalError::SyncFailed { .. }) {
            self.failure.send_replace(Some(error.clone()));
        }
    }
}
