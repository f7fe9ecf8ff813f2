//! What operators, and this client itself, ask of the cluster.

use crate::client::text;
use crate::ids::NodeId;
use serde::Deserialize;

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub cluster: String,
    /// Who answers.
    #[serde(with = "text")]
    pub node: NodeId,
    /// Whether he serves.
    pub ready: bool,
    /// The live members.
    pub members: Vec<Member>,
    /// How many partitions there are; nothing if that is not known yet.
    #[serde(default)]
    pub partitions: Option<u16>,
}

/// A live node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Member {
    /// Its id.
    #[serde(with = "text")]
    pub node: NodeId,
    /// Which start of it.
    pub generation: u64,
    /// Where other nodes reach it.
    pub peer: String,
    /// Where clients reach it.
    pub http: String,
    /// What fails with it.
    pub zone: String,
    /// Its part of the ring, 0 to 1.
    pub share_of_ring: f64,
    /// The partitions it leads.
    pub groups: Vec<u16>,
}

/// Where a key lives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lookup {
    /// What was asked for.
    pub key: String,
    /// `booking`, `trip`, `offer`, `driver`, `rider` or `cell`.
    pub kind: String,
    /// The hash slot.
    #[serde(default)]
    pub slot: Option<u16>,
    /// The partition.
    #[serde(default)]
    pub group: Option<u16>,
    /// The H3 cell whose owner it is.
    #[serde(default)]
    pub ring_key: Option<String>,
    /// Who owns it.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub owner: Option<NodeId>,
    /// Where other nodes reach the owner.
    #[serde(default)]
    pub address: Option<String>,
    /// Whether the owner is alive.
    pub alive: bool,
}
