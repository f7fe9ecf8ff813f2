//! How the replicas of a group reach each other: frames of bytes there and back. The ledger names
//! nodes; whoever implements this knows their addresses and opens the connections.

use crate::contract::BoxFuture;
use proto::NodeId;

/// The largest frame, in bytes; an envelope carries more.
pub const FRAME_MAX: usize = 768 << 10;

/// Which connection a frame takes. A snapshot must not stand before a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, heartbeats, log entries: small and urgent.
    Consensus,
    /// Chunks of snapshots: large and patient.
    Snapshots,
}

/// The peer did not answer. Whether it got the frame nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{to} cannot be reached: {why}")]
pub struct Unreachable {
    /// Who was called.
    pub to: NodeId,
    /// What went wrong.
    pub why: String,
}

/// The way to the ledgers of other nodes. A call waits at most a second or two; the ledger has
/// shorter deadlines of its own and drops the future when they pass.
pub trait Peers: Send + Sync + 'static {
    /// One frame of at most [`FRAME_MAX`] bytes there, and its answer back.
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        frame: Vec<u8>,
    ) -> BoxFuture<'_, Result<Vec<u8>, Unreachable>>;
}

/// The other end: a ledger that takes frames from its peers.
pub trait Receive: Send + Sync + 'static {
    /// Answers a frame. Garbage and strangers get an answer that says so.
    fn receive(&self, frame: Vec<u8>) -> BoxFuture<'_, Vec<u8>>;
}
