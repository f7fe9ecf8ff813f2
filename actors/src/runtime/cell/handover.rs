//! When the ring or the split table gives a key to somebody else: the drivers' last positions go to
//! the new owners as pings, so that nobody has to wait for his next one to be found again.

use super::{Cell, Message, Shell};
use crate::runtime::Runtime;
use h3o::{CellIndex, Resolution};
use membership::View;
use proto::NodeId;
use proto::pings::PingBatch;
use proto::record::ask::Pings;
use proto::record::cell::Ping;
use ractor::ActorRef;
use std::collections::BTreeMap;

/// The most pings in one message.
const BATCH_MAX: usize = 4_096;

impl Shell {
    /// Whether the split table has this key, and the ring gives it, or a copy of it, to this node.
    pub(super) fn is_ours(&self) -> bool {
        let world = self.runtime.world();
        let view = world.membership.view();
        let keepers = view.cell_owners(self.cell.ring_key, world.cell_replicas);
        is_key(&view, self.cell.ring_key) && keepers.contains(&world.node)
    }

    /// Leaves, and hands on who is here.
    pub(super) fn hand_over(&self, myself: &ActorRef<Message>) {
        self.runtime.0.cells.retire_if(&self.cell, myself, |_| true);
        let (runtime, cell) = (self.runtime.clone(), std::sync::Arc::clone(&self.cell));
        tokio::spawn(async move { hand_on(&runtime, &cell).await });
    }
}

/// Whether a key is one that the split table gives.
fn is_key(view: &View, ring_key: u64) -> bool {
    let inside = CellIndex::try_from(ring_key)
        .ok()
        .and_then(|key| key.center_child(Resolution::Eight))
        .is_some_and(|child| view.ring_key(child) == ring_key);
    inside
}

/// Sends the fresh positions of a cell that was left to whoever owns them now. What gets lost is
/// made good by the drivers' next pings.
async fn hand_on(runtime: &Runtime, cell: &Cell) {
    let world = runtime.world();
    let fresh = cell.state().supply.positions(world.clock.mono(), world.policy.fresh_ms.into());
    let mut by_owner: BTreeMap<NodeId, Vec<Ping>> = BTreeMap::new();
    let view = world.membership.view();
    for ping in fresh {
        if let Some(owner) = view.cell_owner(runtime.ring_key(&view, ping.point)) {
            by_owner.entry(owner).or_default().push(ping);
        }
    }
    for (node, pings) in by_owner {
        for batch in pings.chunks(BATCH_MAX) {
            let ask = Pings { node, pings: PingBatch::from_pings(batch) };
            let _lost = world.router.ask(ask, runtime.background()).await;
        }
    }
}
