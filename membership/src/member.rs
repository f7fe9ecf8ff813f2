//! A member, and the small facts about itself that it gossips.

use proto::NodeId;
use std::net::SocketAddr;

/// A live process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who, for as long as its disk lives.
    pub id: NodeId,
    /// Which start of it; rises with every one.
    pub generation: u64,
    /// Where peers reach it: TCP for calls, UDP at the same port for gossip.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub http: SocketAddr,
    /// What fails together with it; empty if nobody said.
    pub zone: String,
    /// How much of the ring it takes, in units; 0 to [`crate::ring::WEIGHT_MAX`].
    pub weight: u32,
    /// The build it runs.
    pub version: String,
    /// The version of its split table.
    pub split_version: u64,
}
