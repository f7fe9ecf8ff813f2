//! A ledger that keeps each group on one node.

use crate::contract::{
    BoxFuture, Committed, Cursor, Leadership, Ledger, LoggedEvent, Refused, Term,
};
use crate::pages::Pages;
use crate::store::{Store, StoreError};
use crate::writer::{Group, Job, Reply, Writer};
use proto::codec::CodecError;
use proto::machine::StateMachine;
use proto::units::Clock;
use proto::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that wait for the writer: eight batches, so that the last one in line waits for
/// eight syncs (some 30 ms on a slow disk) and a caller learns at once that it would be longer.
pub(crate) const QUEUE_MAX: usize = 8 * crate::writer::BATCH_MAX;

/// How long events are kept: until either bound is passed, and a little longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For how long, in milliseconds of wall time.
    pub ms: u64,
    /// How many in each group.
    pub events_max: u64,
}

impl Default for Retention {
    /// A day, which lets a phone or a feed be away overnight, and 100,000 events a group: a disk
    /// of 64 groups then holds about 1 GiB of them.
    fn default() -> Self {
        Self { ms: 24 * 60 * 60 * 1000, events_max: 100_000 }
    }
}

/// What a [`Local`] is told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub node: NodeId,
    /// The groups it holds.
    pub groups: Vec<GroupId>,
    /// How long it keeps their events.
    pub retention: Retention,
}

impl Settings {
    /// A node that holds `groups` and keeps events for the default time.
    pub fn new(node: NodeId, groups: Vec<GroupId>) -> Self {
        Self { node, groups, retention: Retention::default() }
    }
}

/// Why a ledger was not opened. Only the count of starts may have changed in the store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read or written, or holds what the layout does not know.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// A stored value is not one the state machine gave.
    #[error("the value at key {key:02x?} of group {group} does not decode")]
    Value {
        /// The group.
        group: GroupId,
        /// The entity's key.
        key: Vec<u8>,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The values, events and index of a group are not of one moment: the store has lost some.
    #[error("the store has lost a part of group {0}")]
    Torn(GroupId),
    /// The store holds a group that this node is not to hold, so nobody would serve it: the
    /// number of partitions or the list of initial nodes is not what it was.
    #[error("the store holds group {0}, which is not this node's")]
    Stray(GroupId),
    /// The writer's thread cannot be started.
    #[error("cannot start the writer")]
    Thread(#[source] std::io::Error),
}

/// Ends this node's leadership when dropped, however the writer ended.
pub(crate) struct Serving(Arc<watch::Sender<Leadership>>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.send_replace(Leadership::new());
    }
}

type Home = Box<dyn Fn(GroupId) -> Option<NodeId> + Send + Sync>;

/// A ledger that keeps each group on one node, here or elsewhere. It leads all groups it holds
/// from its opening until it stops or its store fails.
///
/// Dropping it lets the writer finish what is queued; [`stop`](Local::stop) also waits for that.
pub struct Local {
    node: NodeId,
    queue: mpsc::Sender<Job>,
    leadership: Arc<watch::Sender<Leadership>>,
    home: Home,
}

impl Local {
    /// Loads the node's groups from a store and serves them on a thread of its own.
    ///
    /// `home` says which node holds a group, for callers who ask the wrong one; `new_machine`
    /// makes a group's empty state.
    pub fn open<S: Store>(
        settings: Settings,
        store: S,
        clock: Arc<dyn Clock>,
        home: impl Fn(GroupId) -> Option<NodeId> + Send + Sync + 'static,
        new_machine: impl Fn(GroupId) -> Box<dyn StateMachine>,
    ) -> Result<Self, OpenError> {
        let (writer, term) = load(&settings, store, clock, new_machine)?;
        let (local, queue, serving) = Self::new(&settings, term, Box::new(home));
        // A runtime of its own, so that syncs stall nobody else's tasks.
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(OpenError::Thread)?;
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || runtime.block_on(writer.run(queue, serving, Duration::ZERO)))
            .map_err(OpenError::Thread)?;
        Ok(local)
    }

    /// Like [`open`](Local::open), on a task of the current runtime, for simulations: each sync
    /// takes `sync_takes` of simulated time, in which the machine may crash.
    pub fn open_on_task<S: Store>(
        settings: Settings,
        store: S,
        sync_takes: Duration,
        clock: Arc<dyn Clock>,
        home: impl Fn(GroupId) -> Option<NodeId> + Send + Sync + 'static,
        new_machine: impl Fn(GroupId) -> Box<dyn StateMachine>,
    ) -> Result<Self, OpenError> {
        let (writer, term) = load(&settings, store, clock, new_machine)?;
        let (local, queue, serving) = Self::new(&settings, term, Box::new(home));
        tokio::spawn(writer.run(queue, serving, sync_takes));
        Ok(local)
    }

    fn new(settings: &Settings, term: Term, home: Home) -> (Self, mpsc::Receiver<Job>, Serving) {
        let leads = settings.groups.iter().map(|group| (*group, term)).collect();
        let leadership = Arc::new(watch::Sender::new(leads));
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let serving = Serving(Arc::clone(&leadership));
        (Self { node: settings.node, queue, leadership, home }, jobs, serving)
    }

    /// Refuses new requests, serves those that are queued, closes the store, and returns.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.queue.send(Job::Stop { reply }).await.is_ok() {
            let _ = stopped.await; // an error: it stopped otherwise
        }
    }

    fn leads(&self, group: GroupId) -> bool {
        self.leadership.borrow().contains_key(&group)
    }

    async fn ask<T>(
        &self,
        group: GroupId,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T, Refused> {
        if !self.leads(group) {
            return Err(Refused::NotLeader { hint: self.leader(group) });
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(job(reply)).map_err(|refused| match refused {
            TrySendError::Full(_) => Refused::Overloaded,
            TrySendError::Closed(_) => Refused::NotLeader { hint: None },
        })?;
        answer.await.unwrap_or(Err(Refused::Unknown))
    }
}

/// Reads everything back. What is damaged is refused, not skipped: whoever serves the rest
/// would serve a state that never was.
fn load<S: Store>(
    settings: &Settings,
    store: S,
    clock: Arc<dyn Clock>,
    new_machine: impl Fn(GroupId) -> Box<dyn StateMachine>,
) -> Result<(Writer<S>, Term), OpenError> {
    let (pages, term) = Pages::open(store)?;
    let mut groups = BTreeMap::new();
    for id in &settings.groups {
        let group = Group { machine: new_machine(*id), progress: Default::default() };
        groups.insert(*id, group);
    }
    pages.each_progress(|id, progress| {
        groups.get_mut(&id).ok_or(OpenError::Stray(id))?.progress = progress;
        Ok::<_, OpenError>(())
    })?;
    let mut digests = BTreeMap::<GroupId, u64>::new();
    pages.each_value(|id, key, value, digest| {
        let group = groups.get_mut(&id).ok_or(OpenError::Stray(id))?;
        let sum = digests.entry(id).or_default();
        *sum = sum.wrapping_add(digest);
        let restored = group.machine.restore(key, value);
        restored.map_err(|source| OpenError::Value { group: id, key: key.to_vec(), source })
    })?;
    for (id, group) in &groups {
        let whole = digests.get(id).copied().unwrap_or(0) == group.progress.digest;
        let last = Cursor { index: group.progress.index, n: u32::MAX };
        if !whole || !pages.events(*id, last, 1)?.is_empty() {
            return Err(OpenError::Torn(*id));
        }
    }
    let (node, retention) = (settings.node, settings.retention);
    Ok((Writer { node, pages, groups, clock, retention, pruned: GroupId(0) }, term))
}

impl Ledger for Local {
    fn propose(
        &self,
        group: GroupId,
        command: Vec<u8>,
    ) -> BoxFuture<'_, Result<Committed, Refused>> {
        Box::pin(self.ask(group, move |reply| Job::Propose { group, command, reply }))
    }

    fn read(
        &self,
        group: GroupId,
        key: Vec<u8>,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Refused>> {
        Box::pin(self.ask(group, move |reply| Job::Read { group, key, reply }))
    }

    fn open_work(&self, group: GroupId) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Refused>> {
        Box::pin(self.ask(group, move |reply| Job::OpenWork { group, reply }))
    }

    fn events(
        &self,
        group: GroupId,
        after: Cursor,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<LoggedEvent>, Refused>> {
        Box::pin(self.ask(group, move |reply| Job::Events { group, after, max, reply }))
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn leader(&self, group: GroupId) -> Option<NodeId> {
        if self.leads(group) {
            return Some(self.node);
        }
        // A group of ours that we do not lead is one we have stopped serving.
        (self.home)(group).filter(|home| *home != self.node)
    }
}
