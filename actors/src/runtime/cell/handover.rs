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
use std::sync::Arc;

/// The most pings in one message.
const BATCH_MAX: usize = 4_096;

/// A cell that is somebody else's is kept for so long, in milliseconds: those who see an older ring
/// still send here, and the new owner may not have heard that he is.
const KEPT_MS: u64 = 2_000;

impl Shell {
    /// Sends positions on when this node has ceased to own the cell or finds that it never did, and
    /// leaves a while after it has ceased to keep it at all.
    pub(super) fn look_at_ring(&self, myself: &ActorRef<Message>) {
        let world = self.runtime.world();
        let (view, now) = (world.membership.view(), world.clock.mono());
        let keepers = view.cell_owners(self.cell.ring_key, world.cell_replicas);
        let valid = is_key(&view, self.cell.ring_key);
        let (owns, keeps) =
            (valid && keepers.first() == Some(&world.node), valid && keepers.contains(&world.node));
        let mut state = self.cell.state();
        let ceased = std::mem::replace(&mut state.owned, owns) && !owns;
        // Made by a ping from a node that saw an older ring, it was never this node's.
        let astray = !keeps && state.foreign_since.is_none();
        let since = (!keeps).then(|| *state.foreign_since.get_or_insert(now));
        state.foreign_since = since;
        drop(state);
        let leaves = since.is_some_and(|since| now.since(since) >= KEPT_MS);
        if ceased || astray || leaves {
            let (runtime, cell) = (self.runtime.clone(), Arc::clone(&self.cell));
            tokio::spawn(async move { hand_on(&runtime, &cell).await });
        }
        if leaves {
            self.runtime.0.cells.retire_if(&self.cell, myself, |_| true);
        }
    }
}

/// Whether a key is one that the split table gives.
fn is_key(view: &View, ring_key: u64) -> bool {
    CellIndex::try_from(ring_key)
        .ok()
        .and_then(|key| key.center_child(Resolution::Eight))
        .is_some_and(|child| view.ring_key(child) == ring_key)
}

/// Sends the fresh positions of a cell that was left to whoever owns them now. What gets lost is
/// made good by the drivers' next pings.
async fn hand_on(runtime: &Runtime, cell: &Cell) {
    let world = runtime.world();
    let fresh =
        cell.state().supply.positions(world.clock.mono(), world.policy.load().fresh_ms.into());
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
