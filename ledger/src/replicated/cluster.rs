//! Group 0: what the cluster agrees on about itself. Who its nodes are and with which disks, and
//! from that, by pure calculation, where the replicas of each partition should be. And which cells
//! are split, and the policy in force.

use super::policy::AgreedPolicy;
use super::splits::{SplitCell, Splits};
use membership::Ring;
use proto::codec::{self, CodecError};
use proto::machine::{Applied, Level, StateMachine};
use proto::slot::SlotMap;
use proto::{GroupId, NodeId, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The group that holds this.
pub const META: GroupId = GroupId(0);
/// Under which the machine keeps who belongs to the cluster.
pub(crate) const CLUSTER_KEY: &[u8] = b"cluster";
/// Under which it keeps the split cells, once they have been set.
pub(crate) const SPLITS_KEY: &[u8] = b"splits";
/// Under which it keeps the policy, once one has been set.
pub(crate) const POLICY_KEY: &[u8] = b"policy";

/// Names a disk for ever. A node that comes back without its disk has another, and is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskId(pub u128);

/// What a node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It should hold replicas.
    Active,
    /// It should hand its replicas over; it serves until it has.
    Draining,
    /// It was away for longer than the grace period, and was replaced.
    Dead,
}

/// A node as agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its disk.
    pub disk: DiskId,
    /// What fails together.
    pub zone: String,
    /// What it is to the cluster.
    pub standing: Standing,
    /// The highest feature level that its build knows, as it last said.
    pub level: Level,
}

/// What the cluster agrees on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Rises with every change.
    pub version: u64,
    /// Partitions, beside group 0.
    pub partitions: u16,
    /// How many replicas each should have.
    pub replicas: u8,
    /// Who belongs to it.
    pub nodes: BTreeMap<NodeId, Listed>,
    /// How often it went on although a majority of some partition's disks was lost.
    pub lossy: u32,
    /// The feature level that commands are carried out at: no higher than any node knows that is
    /// not dead.
    pub level: Level,
}

/// A node that wants in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) node: NodeId,
    pub(crate) disk: DiskId,
    pub(crate) zone: String,
    pub(crate) level: Level,
}

/// What group 0 is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// The cluster as founded; of several the first counts.
    Found(Cluster),
    /// Let a node in, or in again with the same disk.
    Join(Join),
    /// A known node's standing.
    Stand(NodeId, Standing),
    /// An operator made a minority go on; what it had not heard of is lost.
    WentOn(NodeId),
    /// The highest feature level that a node's build knows.
    Know(NodeId, Level),
    /// From here on, this feature level, if everybody knows it.
    Raise(Level),
    /// The cells that are split, if nobody has set others since that version.
    SetSplits(u64, Vec<SplitCell>),
    /// The policy in force, if nobody has set another since that version.
    SetPolicy(u64, Vec<u8>),
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Objection {
    /// Nothing is founded yet.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// The id belongs to another disk.
    #[error("this node id is known with another disk")]
    OtherDisk,
    /// No such node.
    #[error("no such node")]
    Unknown,
    /// Too few would be left to hold every replica.
    #[error("too few nodes would be left to hold every replica")]
    TooFew,
    /// The node's build is too old.
    #[error("the cluster runs at feature level {agreed}, which that node's build does not know")]
    TooOld {
        /// What the cluster runs at.
        agreed: Level,
    },
    /// Some node's build does not know the level.
    #[error("not every node's build knows that feature level")]
    NotEverybody,
    /// Somebody was faster.
    #[error("somebody has set it since: version {version} counts")]
    Stale {
        /// The version that counts.
        version: u64,
    },
    /// More cells than a table may split.
    #[error("too many split cells")]
    TooManySplits,
    /// More bytes than a policy may take.
    #[error("the policy takes more than {} bytes", super::policy::POLICY_BYTES_MAX)]
    PolicyTooLarge,
}

/// The preference list of each group, its preferred leader first. A pure function of the cluster.
pub type Plan = BTreeMap<GroupId, Vec<NodeId>>;

impl Cluster {
    /// Where replicas should be: the first distinct nodes on the ring of active ones, in distinct
    /// zones while there are any. Leaders are spread by count: the ring alone gives one of three
    /// nodes up to half of them.
    pub fn plan(&self) -> Plan {
        let active = || self.nodes.iter().filter(|(_, node)| node.standing == Standing::Active);
        // Who has not said where it runs shares no zone with anybody: were all of those one zone, the first
        // nodes to be given zones would each have a replica of everything. No name has a NUL.
        let alone = |id: &NodeId| format!("\0{id}");
        let zone = |(id, node): (&NodeId, &Listed)| match node.zone.as_str() {
            "" => alone(id),
            named => named.into(),
        };
        let ring = Ring::new(active().map(|listed| (*listed.0, 1, zone(listed))));
        let mut leads: BTreeMap<NodeId, usize> = BTreeMap::new();
        let groups = std::iter::once(META).chain(self.slots().groups());
        groups
            .map(|group| {
                let mut nodes = ring.lookup_n(u64::from(group.0), usize::from(self.replicas));
                let count = |node: &NodeId| leads.get(node).copied().unwrap_or(0);
                let first = (0..nodes.len()).min_by_key(|at| (count(&nodes[*at]), *at));
                if let Some(first) = first {
                    let leader = nodes.remove(first);
                    *leads.entry(leader).or_default() += 1;
                    nodes.insert(0, leader);
                }
                (group, nodes)
            })
            .collect()
    }

    /// Which partition holds which slot.
    pub fn slots(&self) -> SlotMap {
        SlotMap::even(self.partitions.max(1))
    }

    fn active(&self) -> usize {
        self.nodes.values().filter(|node| node.standing == Standing::Active).count()
    }

    /// Whether a build that knows `level` can carry out what others may already have stamped.
    fn carried_out_by(&self, level: Level) -> Result<(), Objection> {
        if level >= self.level { Ok(()) } else { Err(Objection::TooOld { agreed: self.level }) }
    }

    fn change(&mut self, change: Change) -> Result<(), Objection> {
        match change {
            Change::Found(cluster) => {
                if self.version == 0 {
                    *self = Self { lossy: self.lossy, ..cluster };
                }
                return Ok(());
            }
            Change::WentOn(survivor) => {
                self.lossy += 1;
                // The others are given up: nobody waits for them any more.
                for (_, node) in self.nodes.iter_mut().filter(|(id, _)| **id != survivor) {
                    node.standing = Standing::Dead;
                }
            }
            Change::Join(_)
            | Change::Stand(..)
            | Change::Know(..)
            | Change::Raise(_)
            | Change::SetSplits(..)
            | Change::SetPolicy(..)
                if self.version == 0 =>
            {
                return Err(Objection::NotFounded);
            }
            // No part of this value.
            Change::SetSplits(..) | Change::SetPolicy(..) => return Ok(()),
            Change::Join(Join { node, disk, zone, level }) => {
                let known = self.nodes.get(&node);
                if known.is_some_and(|known| known.disk != disk) {
                    return Err(Objection::OtherDisk);
                }
                self.carried_out_by(level)?;
                // Who drains and starts again has not been taken back by that.
                let standing = match known.map(|known| known.standing) {
                    Some(Standing::Draining) => Standing::Draining,
                    Some(Standing::Active | Standing::Dead) | None => Standing::Active,
                };
                let listed = Listed { disk, zone, standing, level };
                if known == Some(&listed) {
                    return Ok(());
                }
                self.nodes.insert(node, listed);
            }
            Change::Stand(node, standing) => {
                let (active, agreed) = (self.active(), self.level);
                let known = self.nodes.get_mut(&node).ok_or(Objection::Unknown)?;
                let leaves = known.standing == Standing::Active && standing != Standing::Active;
                if leaves && active <= usize::from(self.replicas) {
                    return Err(Objection::TooFew);
                }
                if known.standing == standing {
                    return Ok(());
                }
                if known.standing == Standing::Dead && known.level < agreed {
                    return Err(Objection::TooOld { agreed });
                }
                known.standing = standing;
            }
            Change::Know(node, level) => {
                let known = self.nodes.get(&node).ok_or(Objection::Unknown)?.level;
                self.carried_out_by(level)?;
                if known == level {
                    return Ok(());
                }
                self.nodes.entry(node).and_modify(|listed| listed.level = level);
            }
            Change::Raise(level) => {
                if level <= self.level {
                    return Ok(());
                }
                if self.raisable() < Some(level) {
                    return Err(Objection::NotEverybody);
                }
                self.level = level;
            }
        }
        // Version 0 is a cluster not yet founded.
        self.version += u64::from(self.version > 0);
        Ok(())
    }
}

/// The machine of group 0.
#[derive(Debug, Default)]
pub(crate) struct ClusterMachine {
    cluster: Cluster,
    splits: Splits,
    policy: AgreedPolicy,
}

impl ClusterMachine {
    /// Which of its values are there, and what they are.
    fn values(&self) -> impl Iterator<Item = (&'static [u8], Vec<u8>)> {
        let cluster = (self.cluster.version > 0).then(|| codec::encode(&self.cluster));
        let splits = (self.splits.version > 0).then(|| codec::encode(&self.splits));
        let policy = (self.policy.version > 0).then(|| codec::encode(&self.policy));
        [(CLUSTER_KEY, cluster), (POLICY_KEY, policy), (SPLITS_KEY, splits)]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
    }
}

impl StateMachine for ClusterMachine {
    fn apply(&mut self, _: WallMs, _: Level, command: &[u8]) -> Applied {
        let before = (self.cluster.version, self.splits.version, self.policy.version);
        let told = match codec::decode(command) {
            Ok(Change::SetSplits(expected, cells)) if self.cluster.version > 0 => {
                self.splits.set(expected, cells)
            }
            Ok(Change::SetPolicy(expected, bytes)) if self.cluster.version > 0 => {
                self.policy.set(expected, bytes)
            }
            Ok(change) => self.cluster.change(change),
            // Written by a build that knows more. A change added after a release must wait for its
            // feature level; `SetSplits` and `SetPolicy` do not, nothing having been released before them.
            Err(_) => Err(Objection::Unknown),
        };
        let outcome: Result<Cluster, Objection> = told.map(|()| self.cluster.clone());
        let mut changed = Vec::new();
        if self.cluster.version != before.0 {
            changed.push(CLUSTER_KEY.to_vec());
        }
        if self.splits.version != before.1 {
            changed.push(SPLITS_KEY.to_vec());
        }
        if self.policy.version != before.2 {
            changed.push(POLICY_KEY.to_vec());
        }
        Applied {
            outcome: codec::encode(&outcome),
            changed,
            events: Vec::new(),
            archived: Vec::new(),
        }
    }

    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        match key {
            SPLITS_KEY => self.splits = codec::decode(value)?,
            POLICY_KEY => self.policy = codec::decode(value)?,
            _ => self.cluster = codec::decode(value)?,
        }
        Ok(())
    }

    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.values()
            .filter(|(key, _)| after.is_none_or(|after| after < *key))
            .take(max)
            .map(|(key, value)| (key.to_vec(), value))
            .collect()
    }

    fn open_work(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
