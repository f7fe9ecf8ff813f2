//! What a member is started with.

use crate::foundation::{Foundation, INITIAL_NODES_MAX};
use crate::member::Member;
use crate::ready::Expect;
use crate::ring::WEIGHT_MAX;
use crate::seal::ClusterKey;
use crate::split::SplitTable;
use proto::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// The most seeds; a member gossips with one of them at a time.
pub const SEEDS_MAX: usize = 64;
/// The longest cluster name, zone and version, in bytes: they travel in gossip.
pub const NAME_LEN_MAX: usize = 64;

/// How a member finds the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// One of the first nodes: the list is literal and equal on all of them.
    Initial {
        /// All initial nodes with their peer addresses, this one among them.
        nodes: BTreeMap<NodeId, SocketAddr>,
        /// How many partitions the cluster has, for ever.
        partitions: u16,
    },
    /// A later node, which learns the rest from whoever answers.
    Seeds(Vec<SocketAddr>),
    /// A cluster of one.
    Single {
        /// How many partitions the cluster has, for ever.
        partitions: u16,
    },
}

/// What a member is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name. Members of others are not heard.
    pub cluster: String,
    /// The key that seals gossip, derived for [`crate::seal::Purpose::Gossip`].
    pub key: ClusterKey,
    /// This member as others shall see it; its `split_version` is filled in from `splits`.
    pub me: Member,
    /// How it finds the others.
    pub bootstrap: Bootstrap,
    /// What a later node learned before and kept on its disk. Once the initial nodes have all been
    /// replaced, nobody is told it any more, and when all nodes start at once nobody would know.
    pub remembered: Option<Foundation>,
    /// Which cells are split.
    pub splits: SplitTable,
}

/// Why a configuration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// This node is not in its own list of initial nodes.
    #[error("the initial nodes do not name this node, {0}")]
    NotInitial(NodeId),
    /// The list names this node at another address than its own.
    #[error("the initial nodes name this node at {listed}, but its peer address is {own}")]
    PeerDiffers {
        /// The address in the list.
        listed: SocketAddr,
        /// The address it has.
        own: SocketAddr,
    },
    /// Two initial nodes have one address.
    #[error("two initial nodes have the address {0}")]
    AddressTwice(SocketAddr),
    /// More initial nodes than [`INITIAL_NODES_MAX`].
    #[error("more than {INITIAL_NODES_MAX} initial nodes")]
    TooManyInitial,
    /// A cluster without partitions can hold nothing.
    #[error("a cluster needs at least one partition")]
    NoPartitions,
    /// No seed, or more than [`SEEDS_MAX`].
    #[error("must name 1 to {SEEDS_MAX} seeds")]
    Seeds,
    /// The weight is above [`WEIGHT_MAX`].
    #[error("weight must be at most {WEIGHT_MAX}")]
    Weight,
    /// A name is too long or the cluster's is empty.
    #[error(
        "the cluster's name must have 1 to {NAME_LEN_MAX} bytes, zone and version at most that"
    )]
    Name,
}

impl Bootstrap {
    /// What it means to be ready.
    pub(crate) const fn expect(&self) -> Expect {
        match self {
            Self::Initial { .. } => Expect::MajorityOfInitial,
            Self::Seeds(_) => Expect::Another,
            Self::Single { .. } => Expect::Itself,
        }
    }

    /// The foundation, if it is known from the start.
    pub(crate) fn foundation(&self, me: NodeId) -> Option<Foundation> {
        match self {
            Self::Initial { nodes, partitions } => Some(Foundation {
                initial: nodes.keys().copied().collect(),
                partitions: *partitions,
            }),
            Self::Single { partitions } => {
                Some(Foundation { initial: BTreeSet::from([me]), partitions: *partitions })
            }
            Self::Seeds(_) => None,
        }
    }

    /// Whom to gossip with before anyone is known.
    pub(crate) fn seeds(&self) -> Vec<SocketAddr> {
        match self {
            Self::Initial { nodes, .. } => nodes.values().copied().collect(),
            Self::Seeds(seeds) => seeds.clone(),
            Self::Single { .. } => Vec::new(),
        }
    }
}

impl Config {
    /// Checks what needs no socket; `start` does it too.
    pub fn check(&self) -> Result<(), ConfigError> {
        match &self.bootstrap {
            Bootstrap::Initial { nodes, partitions } => {
                check_initial(nodes, &self.me)?;
                if *partitions == 0 {
                    return Err(ConfigError::NoPartitions);
                }
            }
            Bootstrap::Single { partitions: 0 } => return Err(ConfigError::NoPartitions),
            Bootstrap::Single { .. } => {}
            Bootstrap::Seeds(seeds) => {
                if seeds.is_empty() || seeds.len() > SEEDS_MAX {
                    return Err(ConfigError::Seeds);
                }
            }
        }
        if self.me.weight > WEIGHT_MAX {
            return Err(ConfigError::Weight);
        }
        let longest = self.cluster.len().max(self.me.zone.len()).max(self.me.version.len());
        if self.cluster.is_empty() || longest > NAME_LEN_MAX {
            return Err(ConfigError::Name);
        }
        Ok(())
    }
}

/// The list must name this node where it is, and everyone at an address of his own.
fn check_initial(nodes: &BTreeMap<NodeId, SocketAddr>, me: &Member) -> Result<(), ConfigError> {
    let listed = *nodes.get(&me.id).ok_or(ConfigError::NotInitial(me.id))?;
    if listed != me.peer {
        return Err(ConfigError::PeerDiffers { listed, own: me.peer });
    }
    if nodes.len() > INITIAL_NODES_MAX {
        return Err(ConfigError::TooManyInitial);
    }
    let mut addresses = BTreeSet::new();
    for address in nodes.values() {
        if !addresses.insert(*address) {
            return Err(ConfigError::AddressTwice(*address));
        }
    }
    Ok(())
}
