//! Group 0: what the cluster agrees on about itself. Who its nodes are and with which disks, and
//! from that, by pure calculation, where the replicas of each partition should be.

use membership::Ring;
use proto::codec::{self, CodecError};
use proto::machine::{Applied, Level, StateMachine};
use proto::slot::SlotMap;
use proto::{GroupId, NodeId, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The group that holds this.
pub const META: GroupId = GroupId(0);
/// Under which the machine keeps its one value.
pub(crate) const CLUSTER_KEY: &[u8] = b"cluster";

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
}

/// The preference list of each group, its preferred leader first. A pure function of the cluster.
pub type Plan = BTreeMap<GroupId, Vec<NodeId>>;

impl Cluster {
    /// Where replicas should be: the first distinct nodes on the ring of active ones, in distinct
    /// zones while there are any. Leaders are spread by count: the ring alone gives one of three
    /// nodes up to half of them.
    pub fn plan(&self) -> Plan {
        let active = || self.nodes.iter().filter(|(_, node)| node.standing == Standing::Active);
        let ring = Ring::new(active().map(|(id, node)| (*id, 1, node.zone.as_str())));
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
            Change::Join(_) | Change::Stand(..) | Change::Know(..) | Change::Raise(_)
                if self.version == 0 =>
            {
                return Err(Objection::NotFounded);
            }
            Change::Join(Join { node, disk, zone, level }) => {
                if self.nodes.get(&node).is_some_and(|known| known.disk != disk) {
                    return Err(Objection::OtherDisk);
                }
                self.carried_out_by(level)?;
                let listed = Listed { disk, zone, standing: Standing::Active, level };
                if self.nodes.get(&node) == Some(&listed) {
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
pub(crate) struct ClusterMachine(Cluster);

impl StateMachine for ClusterMachine {
    fn apply(&mut self, _: WallMs, _: Level, command: &[u8]) -> Applied {
        let before = self.0.version;
        let outcome: Result<Cluster, Objection> = match codec::decode(command) {
            Ok(change) => self.0.change(change).map(|()| self.0.clone()),
            // Written by a build that knows more; the feature level keeps it from getting here.
            Err(_) => Err(Objection::Unknown),
        };
        let changed = match self.0.version == before {
            true => Vec::new(),
            false => vec![CLUSTER_KEY.to_vec()],
        };
        Applied {
            outcome: codec::encode(&outcome),
            changed,
            events: Vec::new(),
            archived: Vec::new(),
        }
    }

    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        (key == CLUSTER_KEY && self.0.version > 0).then(|| codec::encode(&self.0))
    }

    fn restore(&mut self, _: &[u8], value: &[u8]) -> Result<(), CodecError> {
        self.0 = codec::decode(value)?;
        Ok(())
    }

    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let first = after.is_none_or(|after| after < CLUSTER_KEY) && max > 0;
        self.read(CLUSTER_KEY)
            .filter(|_| first)
            .map(|value| (CLUSTER_KEY.to_vec(), value))
            .into_iter()
            .collect()
    }

    fn open_work(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cluster(nodes: u64) -> Cluster {
        let listed = |id: u64| {
            let zone = String::new();
            let (disk, standing, level) = (DiskId(id.into()), Standing::Active, Level::FIRST);
            (NodeId(id), Listed { disk, zone, standing, level })
        };
        Cluster {
            version: 1,
            partitions: 64,
            replicas: 3,
            nodes: (1..=nodes).map(listed).collect(),
            lossy: 0,
            level: Level::FIRST,
        }
    }

    #[test]
    fn every_group_has_three_replicas_and_leaders_are_spread() {
        for nodes in [3, 5, 9] {
            let plan = cluster(nodes).plan();
            assert_eq!(plan.len(), 65);
            let mut leads = BTreeMap::<NodeId, usize>::new();
            for members in plan.values() {
                assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), 3);
                *leads.entry(members[0]).or_default() += 1;
            }
            let (least, most) = (leads.values().min().unwrap(), leads.values().max().unwrap());
            assert!(most - least <= 4, "{nodes} nodes: {leads:?}");
        }
    }

    #[test]
    fn a_join_and_a_leave_move_only_what_they_must() {
        let replicas = |plan: &Plan| -> BTreeSet<(GroupId, NodeId)> {
            plan.iter().flat_map(|(group, nodes)| nodes.iter().map(|n| (*group, *n))).collect()
        };
        let (four, five) = (replicas(&cluster(4).plan()), replicas(&cluster(5).plan()));
        let moved = four.difference(&five).count();
        let gained = five.iter().filter(|(_, node)| *node == NodeId(5)).count();
        assert_eq!(moved, gained, "only the newcomer's replicas moved");
    }

    fn tell(machine: &mut ClusterMachine, change: Change) -> Result<Cluster, Objection> {
        let applied = machine.apply(WallMs(0), Level::FIRST, &codec::encode(&change));
        codec::decode(&applied.outcome).unwrap()
    }

    fn join(node: u64, disk: u128, level: u16) -> Change {
        let (node, disk, level) = (NodeId(node), DiskId(disk), Level(level));
        Change::Join(Join { node, disk, zone: String::new(), level })
    }

    #[test]
    fn the_level_rises_once_everybody_who_is_not_dead_knows_it_and_nobody_older_comes_in() {
        let mut machine = ClusterMachine(cluster(4));
        let mut tell = |change| tell(&mut machine, change);
        let know = |node, level| Change::Know(NodeId(node), Level(level));
        let stand = |node, standing| Change::Stand(NodeId(node), standing);
        for (node, level) in [(1, 3), (2, 2), (3, 2)] {
            let cluster = tell(know(node, level)).unwrap();
            assert_eq!((cluster.level, cluster.raisable()), (Level::FIRST, None));
            assert_eq!(tell(Change::Raise(Level(2))), Err(Objection::NotEverybody));
        }
        // Who drains still carries out commands; the dead do not.
        assert_eq!(tell(stand(4, Standing::Draining)).unwrap().raisable(), None);
        assert_eq!(tell(stand(4, Standing::Dead)).unwrap().raisable(), Some(Level(2)));
        assert_eq!(tell(Change::Raise(Level(3))), Err(Objection::NotEverybody));
        let raised = tell(Change::Raise(Level(2))).unwrap();
        assert_eq!(raised.level, Level(2));
        assert_eq!(tell(Change::Raise(Level(2))).unwrap(), raised, "once");

        let too_old = Err(Objection::TooOld { agreed: Level(2) });
        assert_eq!(tell(know(3, 1)), too_old);
        assert_eq!(tell(join(5, 5, 1)), too_old);
        assert_eq!(tell(join(4, 4, 1)), too_old);
        assert_eq!(tell(stand(4, Standing::Active)), too_old);
        tell(know(4, 2)).unwrap();
        tell(stand(4, Standing::Active)).unwrap();
        assert_eq!(tell(join(5, 5, 2)).unwrap().nodes.len(), 5);
        assert_eq!(tell(know(9, 2)), Err(Objection::Unknown));
    }

    #[test]
    fn a_change_that_this_build_does_not_know_changes_nothing() {
        let mut machine = ClusterMachine(cluster(3));
        let mut newer = codec::encode(&Change::WentOn(NodeId(1)));
        newer[0] = codec::VERSION + 1;
        for unknown in [newer, vec![codec::VERSION, 250], Vec::new()] {
            let applied = machine.apply(WallMs(0), Level::FIRST, &unknown);
            let outcome = codec::decode::<Result<Cluster, Objection>>(&applied.outcome);
            assert_eq!(outcome, Ok(Err(Objection::Unknown)));
            assert_eq!((applied.changed.len(), &machine.0), (0, &cluster(3)));
        }
    }

    #[test]
    fn a_disk_is_who_a_node_is_and_nobody_leaves_who_is_needed() {
        let mut machine = ClusterMachine(cluster(3));
        let mut tell = |change| tell(&mut machine, change);
        let join = |node, disk| join(node, disk, 1);
        assert_eq!(tell(join(2, 99)), Err(Objection::OtherDisk));
        assert_eq!(tell(Change::Stand(NodeId(2), Standing::Dead)), Err(Objection::TooFew));
        assert_eq!(tell(join(4, 4)).unwrap().version, 2);
        assert_eq!(tell(join(4, 4)).unwrap().version, 2, "the same again changes nothing");
        let after = tell(Change::Stand(NodeId(2), Standing::Dead)).unwrap();
        assert!(after.plan().values().all(|nodes| !nodes.contains(&NodeId(2))));
        assert_eq!(tell(Change::Stand(NodeId(9), Standing::Dead)), Err(Objection::Unknown));
        assert_eq!(tell(Change::Found(cluster(1))).unwrap().nodes.len(), 4, "founded once");
    }
}
