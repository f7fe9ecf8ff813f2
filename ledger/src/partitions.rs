//! Durable state as a whole: which partition holds what, and who leads it.

use crate::contract::Ledger;
use proto::slot::SlotMap;
use proto::{GroupId, NodeId, Slot};
use std::sync::Arc;

/// The partitions of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Partitions {
    slots: SlotMap,
    ledger: Arc<dyn Ledger>,
}

impl std::fmt::Debug for Partitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partitions").field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl Partitions {
    /// The partitions that `slots` names, kept by `ledger`.
    pub fn new(slots: SlotMap, ledger: Arc<dyn Ledger>) -> Self {
        Self { slots, ledger }
    }
    /// The ledger that keeps them.
    pub fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }
    /// Which partition holds a slot.
    pub fn group(&self, slot: Slot) -> GroupId {
        self.slots.group(slot)
    }
    /// All of them.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        self.slots.groups()
    }
    /// Notes who answered for the partition of a slot, or that nobody did.
    pub fn heard(&self, slot: Slot, leader: Option<NodeId>) {
        self.ledger.heard(self.group(slot), leader);
    }
    /// Who has replicas of the partition of a slot, as far as is known.
    pub fn replicas(&self, slot: Slot) -> Vec<NodeId> {
        self.ledger.replicas(self.group(slot))
    }
    /// Who probably leads the partition of a slot; nothing while it is being decided.
    pub fn leader(&self, slot: Slot) -> Option<NodeId> {
        self.ledger.leader(self.group(slot))
    }
}
