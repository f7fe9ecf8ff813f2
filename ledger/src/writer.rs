//! The one writer. It takes what has queued up, applies it, stores it in one write, syncs once,
//! and only then answers, in order. While it syncs the next batch queues up, so batches grow with
//! the load and with the disk's slowness, and nothing waits for company.

use crate::contract::{Committed, Cursor, LoggedEvent, Refused};
use crate::layout::{self, Progress};
use crate::local::{Retention, Serving};
use crate::pages::Pages;
use crate::store::{Batch, Store, StoreError};
use proto::machine::StateMachine;
use proto::units::Clock;
use proto::{GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests in one batch. Enough to hide a 4 ms sync at 100,000 commands a second; more would
/// only delay the first of them.
pub(crate) const BATCH_MAX: usize = 512;
/// Events in one answer, whatever was asked for: the writer serves nobody else meanwhile.
pub(crate) const EVENTS_ANSWER_MAX: usize = 1024;
/// Events that one batch prunes at least, if they are due. A batch that logs more than half of
/// this prunes twice what it logs, so pruning gains on logging whatever the load.
const PRUNE_STEP: usize = 64;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// A request to the writer.
pub(crate) enum Job {
    Propose { group: GroupId, command: Vec<u8>, reply: Reply<Committed> },
    Read { group: GroupId, key: Vec<u8>, reply: Reply<Option<Vec<u8>>> },
    OpenWork { group: GroupId, reply: Reply<Vec<Vec<u8>>> },
    Events { group: GroupId, after: Cursor, max: usize, reply: Reply<Vec<LoggedEvent>> },
    Stop { reply: oneshot::Sender<()> },
}

/// A group as the writer holds it.
pub(crate) struct Group {
    pub(crate) machine: Box<dyn StateMachine>,
    pub(crate) progress: Progress,
}

/// Someone whose answer waits for the batch to be durable.
enum Waiting {
    Committed(Reply<Committed>, Committed),
    Asks(Job),
}

impl Waiting {
    fn refuse(self, why: Refused) {
        // A caller that has gone away needs no answer, here and below.
        match self {
            Self::Committed(reply, _) | Self::Asks(Job::Propose { reply, .. }) => {
                let _ = reply.send(Err(why));
            }
            Self::Asks(Job::Read { reply, .. }) => {
                let _ = reply.send(Err(why));
            }
            Self::Asks(Job::OpenWork { reply, .. }) => {
                let _ = reply.send(Err(why));
            }
            Self::Asks(Job::Events { reply, .. }) => {
                let _ = reply.send(Err(why));
            }
            Self::Asks(Job::Stop { reply }) => {
                let _ = reply.send(());
            }
        }
    }
}

/// One batch on its way: what it changed, and who waits for it.
#[derive(Default)]
struct Round {
    touched: BTreeSet<GroupId>,
    changed: BTreeSet<(GroupId, Vec<u8>)>,
    events: Vec<(Vec<u8>, Vec<u8>)>,
    waiting: Vec<Waiting>,
    stops: Vec<oneshot::Sender<()>>,
}

pub(crate) struct Writer<S> {
    pub(crate) node: NodeId,
    pub(crate) pages: Pages<S>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retention: Retention,
    /// The group whose old events were looked at last.
    pub(crate) pruned: GroupId,
}

impl<S: Store> Writer<S> {
    /// Serves until everyone who could ask is gone, someone says stop, or the store fails.
    /// `sync_takes` is the simulated time of a sync; a real disk takes its own.
    pub(crate) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Job>,
        serving: Serving,
        sync_takes: Duration,
    ) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        let mut stops = Vec::new();
        while queue.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            let mut round = self.apply(jobs.drain(..));
            if !round.stops.is_empty() {
                queue.close(); // and serve what is in it
                stops.append(&mut round.stops);
            }
            let stored = self.store(&mut round, sync_takes).await;
            let waiting = std::mem::take(&mut round.waiting);
            let served = match stored {
                Ok(()) => self.answer(waiting),
                Err(error) => Err((error, waiting)),
            };
            if let Err((error, unanswered)) = served {
                let error: &dyn std::error::Error = &error;
                tracing::error!(member = %self.node, error, "the ledger cannot store and stops serving");
                drop(serving);
                queue.close();
                unanswered.into_iter().for_each(|waiting| waiting.refuse(Refused::Unknown));
                while let Ok(job) = queue.try_recv() {
                    Waiting::Asks(job).refuse(Refused::NotLeader { hint: None }); // never applied
                }
                break;
            }
        }
        drop(self); // closes the store, so that whoever waits for the stop may open it again
        for reply in stops {
            let _ = reply.send(());
        }
    }

    fn apply(&mut self, jobs: impl Iterator<Item = Job>) -> Round {
        let mut round = Round::default();
        for job in jobs {
            match job {
                Job::Propose { group, command, reply } => {
                    let waiting = match self.apply_one(group, &command, &mut round) {
                        Some(committed) => Waiting::Committed(reply, committed),
                        None => Waiting::Asks(Job::Propose { group, command, reply }),
                    };
                    round.waiting.push(waiting);
                }
                Job::Stop { reply } => round.stops.push(reply),
                job @ (Job::Read { .. } | Job::OpenWork { .. } | Job::Events { .. }) => {
                    round.waiting.push(Waiting::Asks(job));
                }
            }
        }
        round
    }

    fn apply_one(&mut self, id: GroupId, command: &[u8], round: &mut Round) -> Option<Committed> {
        let group = self.groups.get_mut(&id)?;
        let at = self.clock.wall().max(group.progress.at.plus_ms(1));
        let index = group.progress.index + 1;
        let applied = group.machine.apply(at, command);
        for (n, event) in (0u32..).zip(&applied.events) {
            let key = layout::event_key(id, Cursor { index, n });
            round.events.push((key, layout::event_value(at, event)));
            group.progress.events += 1;
        }
        group.progress = Progress { index, at, ..group.progress };
        round.touched.insert(id);
        round.changed.extend(applied.changed.into_iter().map(|key| (id, key)));
        Some(Committed { index, at, outcome: applied.outcome })
    }

    /// Makes what a round changed durable. A round of reads changed nothing and costs nothing.
    async fn store(&mut self, round: &mut Round, sync_takes: Duration) -> Result<(), StoreError> {
        if round.touched.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        let logged = round.events.len();
        for (key, value) in round.events.drain(..) {
            batch.put(key, value);
        }
        self.prune(round, logged, &mut batch)?;
        // A key that several commands changed is stored once, as the last of them left it.
        for (id, key) in &round.changed {
            let Some(group) = self.groups.get_mut(id) else { continue };
            let stored_key = layout::state_key(*id, key);
            let progress = &mut group.progress;
            if let Some(old) = self.pages.get(&stored_key)? {
                progress.digest = progress.digest.wrapping_sub(layout::digest(&stored_key, &old));
            }
            match group.machine.read(key) {
                Some(value) => {
                    let added = layout::digest(&stored_key, &value);
                    progress.digest = progress.digest.wrapping_add(added);
                    batch.put(stored_key, value);
                }
                None => batch.delete(stored_key),
            }
        }
        for id in &round.touched {
            if let Some(group) = self.groups.get(id) {
                let (key, value) = layout::progress_pair(*id, group.progress);
                batch.put(key, value);
            }
        }
        self.pages.write(batch)?;
        if !sync_takes.is_zero() {
            tokio::time::sleep(sync_takes).await;
        }
        self.pages.sync()
    }

    /// Removes a bounded number of one group's expired events, a group a batch, in turn.
    fn prune(
        &mut self,
        round: &mut Round,
        logged: usize,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let after_last = (Bound::Excluded(self.pruned), Bound::Unbounded);
        let next = self.groups.range(after_last).next().or_else(|| self.groups.first_key_value());
        let Some(id) = next.map(|(id, _)| *id) else { return Ok(()) };
        self.pruned = id;
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };

        let now = self.clock.wall();
        let excess = group.progress.events.saturating_sub(self.retention.events_max);
        let expired = |event: &LoggedEvent| now.since(event.at) > self.retention.ms;
        let oldest = self.pages.events(id, Cursor::default(), 1)?;
        if excess == 0 && !oldest.iter().any(expired) {
            return Ok(()); // nearly always, so it must be cheap
        }
        let step = PRUNE_STEP.max(logged.saturating_mul(2));
        let oldest = self.pages.events(id, Cursor::default(), step)?;
        for (n, event) in (0u64..).zip(&oldest) {
            if n >= excess && !expired(event) {
                break;
            }
            batch.delete(layout::event_key(id, event.cursor));
            group.progress.events -= 1;
        }
        round.touched.insert(id);
        Ok(())
    }

    /// Answers in order. If the store fails on the way, gives back who was not answered.
    fn answer(&self, waiting: Vec<Waiting>) -> Result<(), (StoreError, Vec<Waiting>)> {
        let mut waiting = waiting.into_iter();
        while let Some(next) = waiting.next() {
            match next {
                Waiting::Committed(reply, committed) => {
                    let _ = reply.send(Ok(committed));
                }
                Waiting::Asks(Job::Read { group, key, reply }) => {
                    let _ = reply.send(self.with(group, |machine| machine.read(&key)));
                }
                Waiting::Asks(Job::OpenWork { group, reply }) => {
                    let _ = reply.send(self.with(group, |machine| machine.open_work()));
                }
                Waiting::Asks(Job::Events { group, after, max, reply }) => {
                    match self.pages.events(group, after, max.min(EVENTS_ANSWER_MAX)) {
                        Ok(events) => {
                            let _ = reply.send(Ok(events));
                        }
                        Err(error) => {
                            let job = Job::Events { group, after, max, reply };
                            let rest = std::iter::once(Waiting::Asks(job)).chain(waiting);
                            return Err((error, rest.collect()));
                        }
                    }
                }
                not_held @ Waiting::Asks(Job::Propose { .. } | Job::Stop { .. }) => {
                    not_held.refuse(Refused::NotLeader { hint: None });
                }
            }
        }
        Ok(())
    }

    fn with<T>(&self, id: GroupId, ask: impl FnOnce(&dyn StateMachine) -> T) -> Result<T, Refused> {
        let group = self.groups.get(&id).ok_or(Refused::NotLeader { hint: None })?;
        Ok(ask(group.machine.as_ref()))
    }
}
