use super::WalError;
use super::disk::Disk;
use super::log::Log;
use super::machine::StateMachine;
use super::segment::{list_segments, remove_segments};
use super::segment_reader::SegmentReader;
use super::writer::{Command, Reply, Waiting, Writer};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use tokio::sync::{Semaphore, oneshot, watch};

/// A log that takes appends from many tasks at once.
///
/// Dropping it closes it too, some time later; [`close`](Self::close) says when, and whether it worked.
pub struct Wal<M: StateMachine> {
    commands: Sender<Command<M>>,
    queue: Arc<Semaphore>,
    append_bytes_max: usize,
    current: Arc<AtomicU64>,
    failure: watch::Receiver<Option<WalError>>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl<M: StateMachine> Wal<M> {
    /// Tells the machine of the complete segments and starts its thread.
    pub(super) fn start(
        log: Log,
        mut machine: M,
        queue_bytes_max: usize,
        complete: Range<u64>,
    ) -> Result<Self, WalError> {
        complete.for_each(|number| machine.segment_ended(number));
        let (commands, received) = mpsc::channel();
        let (failed, failure) = watch::channel(None);
        let (disk, dir) = log.place();
        let append_bytes_max = queue_bytes_max.min(log.group_bytes_max());
        let current = Arc::new(AtomicU64::new(log.number()));
        let writer = Writer::new(log, machine, append_bytes_max, Arc::clone(&current), failed);
        thread::Builder::new()
            .name("wal-writer".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(WalError::io("start the writer of", &dir))?;
        let queue = Arc::new(Semaphore::new(append_bytes_max));
        Ok(Self { commands, queue, append_bytes_max, current, failure, disk, dir })
    }

    /// Returns the machine's answer, after everything it rests on is on stable storage.
    ///
    /// Waits while the queue is full. Dropping the future before it is queued appends nothing; later,
    /// it only drops the answer.
    ///
    /// # Errors
    /// [`WalError::DiskFull`] may go away, [`WalError::SyncFailed`] never does. After the latter and
    /// [`WalError::Closed`] the records may or may not be in the log.
    pub async fn append(&self, request: M::Request) -> Result<M::Answer, WalError> {
        let (bytes, bytes_max) = (M::bytes_max(&request), self.append_bytes_max);
        let share = u32::try_from(bytes.max(1)).ok().filter(|_| bytes <= bytes_max);
        let share = share.ok_or(WalError::AppendTooLarge { bytes, bytes_max })?;
        let permit = Arc::clone(&self.queue).acquire_many_owned(share).await.map_err(|_| WalError::Closed)?;
        self.ask(|reply| Command::Append(Waiting { request, permit, reply })).await
    }

    /// Ends the current segment behind all appends before; returns its number, `None` if it is empty.
    ///
    /// # Errors
    /// As [`append`](Self::append); after [`WalError::DiskFull`] the segment goes on.
    pub async fn rotate(&self) -> Result<Option<u64>, WalError> {
        self.ask(Command::Rotate).await
    }

    /// Returns when all appends before are answered and the writer thread is done with the files.
    ///
    /// # Errors
    /// [`WalError::SyncFailed`] if not everything is on stable storage, [`WalError::Closed`] if it is
    /// closed already.
    pub async fn close(&self) -> Result<(), WalError> {
        self.ask(Command::Close).await
    }

    /// Returns the error when the log has stopped for good: the process should end with it.
    pub async fn failed(&self) -> WalError {
        let mut failure = self.failure.clone();
        let failure = failure.wait_for(Option::is_some).await;
        failure.ok().and_then(|error| error.clone()).unwrap_or(WalError::Closed)
    }

    /// Returns the content of a complete segment. Blocks on files, as does the reader.
    ///
    /// # Errors
    /// [`WalError::NotComplete`], [`WalError::Damaged`], or the file system's error.
    pub fn read_segment(&self, number: u64) -> Result<SegmentReader, WalError> {
        self.check_complete(number)?;
        SegmentReader::of_complete(&*self.disk, &self.dir, number)
    }

    /// Removes the complete segments up to this one, oldest first and durably. Blocks on files.
    ///
    /// # Errors
    /// [`WalError::NotComplete`], or the file system's error; it may be called again.
    pub fn remove_through(&self, number: u64) -> Result<(), WalError> {
        self.check_complete(number)?;
        let mut numbers = list_segments(&*self.disk, &self.dir)?;
        numbers.retain(|found| *found <= number);
        remove_segments(&*self.disk, &self.dir, &numbers)
    }

    fn check_complete(&self, segment: u64) -> Result<(), WalError> {
        if segment < self.current.load(Ordering::Acquire) { Ok(()) } else { Err(WalError::NotComplete { segment }) }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command<M>) -> Result<T, WalError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| WalError::Closed)?;
        answer.await.unwrap_or(Err(WalError::Closed))
    }
}

impl<M: StateMachine> fmt::Debug for Wal<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Wal").field("dir", &self.dir).field("current", &self.current).finish_non_exhaustive()
    }
}
