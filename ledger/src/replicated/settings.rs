//! What a replicated ledger is told, what it is handed, and what it says of itself.

use super::cluster::DiskId;
use super::faults::Faults;
use super::level::TooOld;
use super::types::Timers;
use crate::contract::Term;
use crate::peers::Peers;
use crate::store::{Pages, StoreError};
use proto::machine::{Level, StateMachine};
use proto::units::Clock;
use proto::{GroupId, NodeId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What a [`Replicated`](super::Replicated) is told about itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub node: NodeId,
    /// What fails together with it.
    pub zone: String,
    /// The nodes that found the cluster, equal on all of them; empty for one that joins.
    pub initial: BTreeSet<NodeId>,
    /// Partitions, beside group 0. Only founders are asked; 0 for one that joins and has not been let in yet.
    pub partitions: u16,
    /// Replicas of each. Only founders are asked; fewer nodes hold fewer.
    pub replicas: u8,
    /// How patient groups are.
    pub timers: Timers,
    /// A node that was away for so long is replaced, if there is another to replace it, in
    /// milliseconds.
    pub grace_ms: u64,
    /// What is kept where, and for how long.
    pub retention: Retention,
    /// Seeds the chance in elections.
    pub seed: u64,
    /// Mistakes made on purpose; none outside of tests.
    pub faults: Faults,
    /// Added to each sync of the log: a slow disk, for benches.
    pub sync_delay: Duration,
    /// The highest feature level that this build's machines know.
    pub level: Level,
}

/// How much is kept at hand, and how long events are kept at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long events can be read, in milliseconds.
    pub ms: u64,
    /// Events of each group in memory, on every replica; older ones are put away on disk.
    pub events_max: usize,
    /// What leaves the memory leaves it in segments of about so many bytes.
    pub segment_bytes: usize,
    /// Entries since the last snapshot before the next one, at least; more for a large state.
    pub snapshot_entries: u64,
}

impl Default for Retention {
    /// A day of events, which lets a phone or a feed be away overnight. Of 64 groups, events take
    /// some 25 MiB of memory at most, and records that wait for their segment to fill 16 MiB.
    fn default() -> Self {
        Self {
            ms: 24 * 60 * 60 * 1000,
            events_max: 1_000,
            segment_bytes: 256 << 10,
            snapshot_entries: 1_024,
        }
    }
}

impl Settings {
    /// The usual settings of a founder.
    pub fn founder(node: NodeId, initial: BTreeSet<NodeId>, partitions: u16) -> Self {
        Self {
            node,
            zone: String::new(),
            initial,
            partitions,
            replicas: 3,
            timers: Timers::default(),
            grace_ms: 60_000,
            retention: Retention::default(),
            seed: 0,
            faults: Faults::default(),
            sync_delay: Duration::ZERO,
            level: Level::KNOWN,
        }
    }
}

/// Where a [`Replicated`](super::Replicated) keeps things, and how it reaches others.
pub struct Parts<S> {
    /// The write-ahead log's store.
    pub log: S,
    /// The store of snapshots and of history.
    pub snapshots: S,
    /// The index of history.
    pub pages: Arc<dyn Pages>,
    /// On a task of the current runtime instead of threads of its own, each sync taking so long:
    /// for simulations.
    pub simulated: Option<Duration>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// A new name, should the disk have none.
    pub disk: DiskId,
    /// The way to other ledgers.
    pub peers: Arc<dyn Peers>,
    /// The nodes that seem alive, this one among them.
    pub living: Arc<dyn Fn() -> BTreeSet<NodeId> + Send + Sync>,
    /// Makes a group's empty machine.
    pub new_machine: Arc<dyn Fn(GroupId) -> Box<dyn StateMachine> + Send + Sync>,
}

/// Why a ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenReplicatedError {
    /// The store cannot be read, or holds what the layout does not know.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// No snapshot of a group can be read.
    #[error("no snapshot can be read: {0}")]
    Snapshot(String),
    /// History that a snapshot names is damaged or gone.
    #[error("history cannot be read: {0}")]
    History(String),
    /// A writer's thread cannot be started.
    #[error("cannot start a writer")]
    Thread(#[source] std::io::Error),
    /// The write-ahead log cannot be written.
    #[error("the write-ahead log cannot be written")]
    Journal,
    /// A replica cannot start.
    #[error("group {0} cannot start: {1}")]
    Group(GroupId, String),
    /// The disk holds what a newer build wrote.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

/// Why a ledger stopped serving.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The cluster knows this node id with another disk.
    #[error(
        "{says} knows {node} with another disk: this one is blank or not its own, so its votes \
         and entries are gone; start it with a node id that was never used, and --seeds"
    )]
    OtherDisk {
        /// This node.
        node: NodeId,
        /// Who says so.
        says: NodeId,
    },
    /// The write-ahead log failed.
    #[error(
        "the write-ahead log cannot be written; see the log for why, mend the disk and restart"
    )]
    Journal,
    /// The cluster went on to a level that this build does not know.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Of which group.
    pub group: GroupId,
    /// Whether it believes to lead.
    pub leads: bool,
    /// In which term.
    pub term: Term,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// The sets of voters of each of which a majority must agree: two, amid a change of members.
    pub quorums: Vec<BTreeSet<NodeId>>,
    /// Whether it may ask to be elected.
    pub may_stand: bool,
    /// Term and index of the last entry of its log: no vote goes to who has a lesser one.
    pub last: (Term, u64),
    /// Who only listens.
    pub learners: BTreeSet<NodeId>,
    /// The index of the last entry applied.
    pub applied: u64,
    /// Values in its state.
    pub values: usize,
    /// Entries in its log.
    pub entries: usize,
    /// Segments of its history.
    pub segments: usize,
    /// What its newest snapshot covers.
    pub snapshot: Option<u64>,
    /// Last command and digest: equal on replicas that are equal.
    pub fingerprint: (u64, u64),
    /// The feature level that its last command was carried out at.
    pub level: Level,
}

/// See [`Replicated::counts`](super::Replicated::counts).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplicatedCounts {
    /// Appends and votes made durable.
    pub writes: u64,
    /// Syncs that it took.
    pub syncs: u64,
    /// Frames sent to peers.
    pub frames: u64,
}
