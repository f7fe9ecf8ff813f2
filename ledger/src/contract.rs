//! The trait that everything above the ledger is written against.

use crate::store::Pair;
use proto::{GroupId, NodeId, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::watch;

/// A future in a box, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Numbers one leadership of one group; a later leader has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);

/// The groups this node leads, and since which term.
pub type Leadership = BTreeMap<GroupId, Term>;

/// A command that is durable and applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Its place in the group's log, from 1.
    pub index: u64,
    /// The time stamped into it: the later of the leader's clock and the last command's time + 1.
    pub at: WallMs,
    /// What the state machine answered.
    pub outcome: Vec<u8>,
}

/// A place in a group's event log: events after it are newer. The default is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The log index of the command.
    pub index: u64,
    /// The number of the event within the command, from 0.
    pub n: u32,
}

/// One event as logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Where.
    pub cursor: Cursor,
    /// The time of its command.
    pub at: WallMs,
    /// What the state machine emitted.
    pub event: Vec<u8>,
}

/// Why the ledger did not serve. Only after [`Refused::Unknown`] may the command have happened, or
/// still happen; whoever asks again must make it harmless that both are carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This node does not lead the group.
    #[error("not the leader")]
    NotLeader {
        /// Who probably does.
        hint: Option<NodeId>,
    },
    /// The queue of proposals is full; nothing was done.
    #[error("the queue of proposals is full")]
    Overloaded,
    /// The command is larger than a log entry may be; nothing was done.
    #[error("the command is too large")]
    TooLarge,
    /// Nobody can say whether the command was committed.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Durable, ordered state, a group at a time.
pub trait Ledger: Send + Sync + 'static {
    /// Proposes a command; returns once it is durable and applied. Dropping the future does not
    /// take the command back.
    fn propose(
        &self,
        group: GroupId,
        command: Vec<u8>,
    ) -> BoxFuture<'_, Result<Committed, Refused>>;

    /// The value under a key, linearizable: at least as new as everything acknowledged before
    /// this call, and itself durable.
    fn read(&self, group: GroupId, key: Vec<u8>)
    -> BoxFuture<'_, Result<Option<Vec<u8>>, Refused>>;

    /// The value under a key as this node's replica has applied it: durable, but perhaps older than
    /// what was acknowledged. Asks nobody.
    fn read_stale(&self, group: GroupId, key: &[u8]) -> Result<Option<Vec<u8>>, Refused>;

    /// Which nodes should have a replica, as far as this one knows.
    fn replicas(&self, group: GroupId) -> Vec<NodeId>;

    /// At most `max` keys and values, greatest key first, of the keys that begin with `prefix` and
    /// are less than `before`; linearizable. What has left the state for the archive is among them.
    fn page(
        &self,
        group: GroupId,
        prefix: Vec<u8>,
        before: Option<Vec<u8>>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Pair>, Refused>>;

    /// Keys that someone must act for; whoever starts to lead the group asks this first.
    fn open_work(&self, group: GroupId) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Refused>>;

    /// At most `max` events after a cursor, oldest first, all of them durable. An answer may be
    /// shorter than `max`; only an empty one is the end. Events live for the retention time: a
    /// reader that stays away for longer goes on with what is left.
    fn events(
        &self,
        group: GroupId,
        after: Cursor,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<LoggedEvent>, Refused>>;

    /// The place that this node's event log of a group reaches to.
    fn newest(&self, group: GroupId) -> Result<Cursor, Refused>;

    /// The groups this node leads, now and as that changes. A ledger that has stopped leads none.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Who probably leads a group.
    fn leader(&self, group: GroupId) -> Option<NodeId>;

    /// Somebody answered for a group, or did not although he should. Only a hint, for groups that
    /// this node has no replica of.
    fn heard(&self, group: GroupId, leader: Option<NodeId>) {
        let (_, _) = (group, leader);
    }
}
