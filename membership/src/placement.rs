//! Where each partition lives. Static: the ring of the *initial* nodes, dead or alive, so that a
//! death moves no durable state. While a partition's home is down, the partition is down.

use crate::ring::Ring;
use proto::slot::SlotMap;
use proto::{GroupId, NodeId};
use std::collections::BTreeMap;

/// Which node holds which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    slots: SlotMap,
    homes: BTreeMap<GroupId, NodeId>,
    fallback: NodeId,
}

impl Placement {
    /// Places `groups` groups over the initial nodes.
    ///
    /// # Panics
    /// If there is no initial node or no group: a cluster without them can hold nothing.
    pub fn over(initial: &[NodeId], groups: u16) -> Self {
        let fallback = *initial.iter().min().expect("a cluster needs at least one initial node");
        let ring = Ring::new(initial.iter().map(|id| (*id, 1, "")));
        let slots = SlotMap::even(groups);
        let homes = slots
            .groups()
            .filter_map(|group| Some((group, ring.lookup(u64::from(group.0))?)))
            .collect();
        Self { slots, homes, fallback }
    }

    /// Which group holds which slot.
    pub const fn slots(&self) -> &SlotMap {
        &self.slots
    }

    /// The node that holds a group. A group that holds no slot, such as group 0, is at home on
    /// the initial node with the lowest id.
    pub fn home(&self, group: GroupId) -> NodeId {
        self.homes.get(&group).copied().unwrap_or(self.fallback)
    }

    /// The groups a node holds, in order; none for a node that is not initial.
    pub fn groups_of(&self, node: NodeId) -> Vec<GroupId> {
        self.homes.iter().filter(|(_, home)| **home == node).map(|(group, _)| *group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    #[test]
    fn every_group_has_one_home_among_the_initial_nodes_whatever_their_order() {
        let placement = Placement::over(&NODES, 64);
        let reversed: Vec<NodeId> = NODES.into_iter().rev().collect();
        assert_eq!(placement, Placement::over(&reversed, 64));
        let homes: usize = NODES.iter().map(|node| placement.groups_of(*node).len()).sum();
        assert_eq!(homes, 64);
        for group in placement.slots().groups() {
            assert!(placement.groups_of(placement.home(group)).contains(&group));
        }
        assert_eq!(placement.groups_of(NodeId(4)), []);
        assert_eq!(placement.home(GroupId(0)), NodeId(1));
    }

    #[test]
    fn the_placement_is_frozen() {
        // Durable state lies where this says: a change here loses sight of it.
        let placement = Placement::over(&NODES, 8);
        let homes: Vec<u64> = (1..=8).map(|group| placement.home(GroupId(group)).0).collect();
        assert_eq!(homes, [3, 1, 1, 1, 3, 1, 1, 1]);
    }

    #[test]
    fn every_node_gets_a_fair_part() {
        let placement = Placement::over(&NODES, 64);
        for node in NODES {
            let held = placement.groups_of(node).len();
            assert!((12..=32).contains(&held), "{node} holds {held}");
        }
    }
}
