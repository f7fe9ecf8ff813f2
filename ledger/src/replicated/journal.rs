//! The node's one write-ahead log: every group's votes and entries go through one queue to one
//! writer, who takes what has queued up, writes it in one batch, syncs once, and only then says
//! so, in order. Nothing is reordered, so a vote is never durable before the entry that was
//! queued ahead of it.

use super::faults::{Fault, Faults};
use crate::store::{Batch, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Writes that wait. Each is one append of one group, so this is 16 for each of 64 groups; whoever
/// finds it full waits, and with him his group alone.
const QUEUE_MAX: usize = 1_024;
/// Writes in one round.
const ROUND_MAX: usize = 1_024;

/// Told once a write is durable, or never will be.
pub(crate) type Done = Box<dyn FnOnce(Result<(), JournalFailed>) + Send>;

/// The log could not be written. It is not tried again: what the disk holds is no longer known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the write-ahead log has failed and takes nothing any more")]
pub(crate) struct JournalFailed;

enum Job {
    /// Without `done` the write is lazy: it causes no sync, and reaches the disk with the next.
    Write {
        batch: Batch,
        done: Option<Done>,
    },
    /// Answered after everything queued before it is written.
    Read {
        key: Vec<u8>,
        found: oneshot::Sender<Option<Vec<u8>>>,
    },
    Stop(oneshot::Sender<()>),
}

/// How the log is used; for metrics and benches.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

/// The queue to the writer. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Journal {
    queue: mpsc::Sender<Job>,
    failed: watch::Receiver<bool>,
    counts: Arc<Counts>,
}

struct Writer<S> {
    store: S,
    failed: watch::Sender<bool>,
    counts: Arc<Counts>,
    /// Added to each sync: the simulated disk's own time, or a slow disk played by a bench.
    sync_takes: Duration,
    faults: Faults,
}

impl Journal {
    /// Writes on a thread of its own, so that syncs stall nobody else's tasks.
    pub(crate) fn on_thread<S: Store>(
        name: &str,
        store: S,
        sync_takes: Duration,
    ) -> std::io::Result<Self> {
        let (journal, writer, jobs) = Self::new(store, sync_takes, Faults::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || runtime.block_on(writer.run(jobs)))?;
        Ok(journal)
    }

    /// Writes on a task of the current runtime, for simulations.
    pub(crate) fn on_task<S: Store>(store: S, sync_takes: Duration, faults: Faults) -> Self {
        let (journal, writer, jobs) = Self::new(store, sync_takes, faults);
        tokio::spawn(writer.run(jobs));
        journal
    }

    fn new<S: Store>(
        store: S,
        sync_takes: Duration,
        faults: Faults,
    ) -> (Self, Writer<S>, mpsc::Receiver<Job>) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (sender, failed) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let writer =
            Writer { store, failed: sender, counts: Arc::clone(&counts), sync_takes, faults };
        (Self { queue, failed, counts }, writer, jobs)
    }

    /// Queues a write and returns; `done` is told when it is durable.
    pub(crate) async fn write(&self, batch: Batch, done: Done) {
        let job = Job::Write { batch, done: Some(done) };
        if let Err(mpsc::error::SendError(Job::Write { done: Some(done), .. })) =
            self.queue.send(job).await
        {
            done(Err(JournalFailed));
        }
    }

    /// Queues a write that nobody waits for.
    pub(crate) async fn write_lazily(&self, batch: Batch) -> Result<(), JournalFailed> {
        self.queue.send(Job::Write { batch, done: None }).await.map_err(|_| JournalFailed)
    }

    /// Writes and returns once it is durable.
    pub(crate) async fn write_through(&self, batch: Batch) -> Result<(), JournalFailed> {
        let (told, written) = oneshot::channel();
        let done = move |result| {
            let _ = told.send(result); // a caller that has gone away needs no answer
        };
        self.write(batch, Box::new(done)).await;
        written.await.unwrap_or(Err(JournalFailed))
    }

    /// Reads a value, in turn with the writes.
    pub(crate) async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, JournalFailed> {
        let (found, read) = oneshot::channel();
        self.queue.send(Job::Read { key, found }).await.map_err(|_| JournalFailed)?;
        read.await.map_err(|_| JournalFailed)
    }

    /// Returns once the log has failed; never if it is stopped in good health.
    pub(crate) async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes no more writes, finishes those queued, closes the store, and returns.
    pub(crate) async fn stop(&self) {
        let (told, stopped) = oneshot::channel();
        if self.queue.send(Job::Stop(told)).await.is_ok() {
            let _ = stopped.await; // an error: it has stopped otherwise
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl<S: Store> Writer<S> {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut round = Vec::with_capacity(ROUND_MAX);
        let mut stops = Vec::new();
        while jobs.recv_many(&mut round, ROUND_MAX).await > 0 {
            let (mut batch, mut waiting) = (Batch::default(), Vec::new());
            let mut reads = Vec::new();
            for job in round.drain(..) {
                match job {
                    Job::Write { batch: one, done } => {
                        batch.append(one);
                        waiting.extend(done);
                    }
                    Job::Read { key, found } => reads.push((key, found)),
                    Job::Stop(told) => {
                        jobs.close(); // and write what is in it
                        stops.push(told);
                    }
                }
            }
            if self.faults.make(Fault::VoteOvertakes) {
                let (votes, others) = overtaken(batch);
                batch = others;
                if !votes.is_empty() && self.commit(votes, waiting.len()).await.is_ok() {
                    waiting.drain(..).for_each(|done| done(Ok(())));
                }
            }
            if self.faults.make(Fault::AckBeforeSync) {
                waiting.drain(..).for_each(|done| done(Ok(())));
            }
            let mut written = self.commit(batch, waiting.len()).await;
            for (key, found) in reads {
                match written.is_ok().then(|| self.store.get(&key)) {
                    Some(Ok(value)) => drop(found.send(value)), // nobody waits any more: fine
                    Some(Err(error)) => written = Err(error),
                    None => {}
                }
            }
            if let Err(error) = &written {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "the write-ahead log cannot be written, this node stops");
                self.failed.send_replace(true);
                jobs.close();
            }
            for done in waiting {
                done(written.as_ref().copied().map_err(|_| JournalFailed));
            }
            if written.is_err() {
                while let Ok(job) = jobs.try_recv() {
                    match job {
                        Job::Write { done: Some(done), .. } => done(Err(JournalFailed)),
                        Job::Write { done: None, .. } | Job::Read { .. } => {}
                        Job::Stop(told) => stops.push(told),
                    }
                }
                break;
            }
        }
        drop(self.store); // so that whoever waits for the stop may open it again
        for told in stops {
            let _ = told.send(());
        }
    }

    async fn commit(&mut self, batch: Batch, waiting: usize) -> Result<(), StoreError> {
        if !batch.is_empty() {
            self.store.write(batch)?;
        }
        if waiting == 0 {
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        loop {
            let longer = self.sync_takes.saturating_sub(waited).max(self.store.makes_wait(waited));
            if longer.is_zero() {
                break;
            }
            tokio::time::sleep(longer).await;
            waited += longer;
        }
        self.store.sync()?;
        self.counts.writes.fetch_add(waiting as u64, Ordering::Relaxed);
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The mistake of [`Fault::VoteOvertakes`]: a batch's votes, and what was queued beside them.
fn overtaken(batch: Batch) -> (Batch, Batch) {
    let (mut votes, mut others) = (Batch::default(), Batch::default());
    for (key, value) in batch.into_changes() {
        let into = if key.starts_with(b"v") { &mut votes } else { &mut others };
        match value {
            Some(value) => into.put(key, value),
            None => into.delete(key),
        }
    }
    (votes, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryDisk;
    use std::sync::Mutex;

    fn put(key: &str) -> Batch {
        let mut batch = Batch::default();
        batch.put(key.into(), key.into());
        batch
    }

    #[tokio::test]
    async fn what_is_said_to_be_durable_is_and_in_order() {
        let disk = MemoryDisk::default();
        let journal = Journal::on_task(disk.open(), Duration::ZERO, Faults::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..100 {
            let (order, disk) = (Arc::clone(&order), disk.clone());
            let done = move |result: Result<(), JournalFailed>| {
                assert_eq!(result, Ok(()));
                order.lock().unwrap().push(n);
                if n == 99 {
                    disk.crash(0); // whatever was not synced is gone
                }
            };
            journal.write(put(&n.to_string()), Box::new(done)).await;
        }
        journal.stop().await;
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
        assert_eq!(disk.open().scan(b"", b"", 200).unwrap().len(), 100);
        assert!(disk.syncs() < 100, "one sync for many writes");
    }

    #[tokio::test]
    async fn a_disk_that_fails_fails_everyone_after_it() {
        let disk = MemoryDisk::default();
        let journal = Journal::on_task(disk.open(), Duration::ZERO, Faults::default());
        journal.write_through(put("a")).await.unwrap();
        disk.crash(0);
        assert_eq!(journal.write_through(put("b")).await, Err(JournalFailed));
        assert_eq!(journal.write_through(put("c")).await, Err(JournalFailed));
        journal.failed().await;
    }

    #[tokio::test]
    async fn a_lazy_write_costs_no_sync() {
        let disk = MemoryDisk::default();
        let journal = Journal::on_task(disk.open(), Duration::ZERO, Faults::default());
        journal.write_lazily(put("a")).await.unwrap();
        journal.write_lazily(put("b")).await.unwrap();
        journal.stop().await;
        assert_eq!(disk.syncs(), 0);
    }
}
