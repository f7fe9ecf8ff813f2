//! When the ring or the split table gives a key to somebody else: the drivers' last positions go to
//! the new owners as pings, so that nobody has to wait for his next one to be found again.

use super::{Cell, Message, Shell};
use crate::runtime::Runtime;
use h3o::{CellIndex, Resolution};
use membership::View;
use proto::pings::PingBatch;
use proto::record::ask::Pings;
use proto::record::cell::Ping;
use proto::{MonoMs, NodeId};
use ractor::ActorRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most pings in one message.
const BATCH_MAX: usize = 4_096;

/// A cell that is somebody else's is kept for so long, in milliseconds: those who see an older ring
/// still send here, and the new owner may not have heard that he is.
const KEPT_MS: u64 = 2_000;

/// Whose a cell is, as this node has seen it.
#[derive(Default)]
pub(super) struct Whose {
    /// Whether this node was its owner when last looked at, or has been taken for it since.
    owned: bool,
    /// Since when this node does not keep it at all.
    foreign_since: Option<MonoMs>,
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    hands_on: bool,
    leaves: bool,
}

impl Whose {
    /// Somebody who takes this node for the owner has told it something.
    pub(super) const fn taken_for_owner(&mut self) {
        self.owned = true;
    }

    /// Whether this node kept it, or a copy, when last looked at.
    pub(super) const fn is_kept(&self) -> bool {
        self.foreign_since.is_none()
    }

    /// Looks who it is now: the owner, one who keeps it or a copy of it, or neither.
    fn look(&mut self, owns: bool, keeps: bool, now: MonoMs) -> Look {
        let ceased = std::mem::replace(&mut self.owned, owns) && !owns;
        self.foreign_since = (!keeps).then(|| self.foreign_since.unwrap_or(now));
        let leaves = self.foreign_since.is_some_and(|since| now.since(since) >= KEPT_MS);
        Look { hands_on: ceased || leaves, leaves }
    }
}

impl Shell {
    /// Sends positions on when this node has ceased to own the cell, or was taken for its owner by somebody
    /// who saw an older ring; leaves a while after it has ceased to keep it at all.
    pub(super) fn look_at_ring(&self, myself: &ActorRef<Message>) {
        let world = self.runtime.world();
        let (view, now) = (world.membership.view(), world.clock.mono());
        let keepers = view.cell_owners(self.cell.ring_key, world.cell_replicas);
        let valid = is_key(&view, self.cell.ring_key);
        let (owns, keeps) =
            (valid && keepers.first() == Some(&world.node), valid && keepers.contains(&world.node));
        let Look { hands_on, leaves } = self.cell.state().whose.look(owns, keeps, now);
        if hands_on {
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

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: Look = Look { hands_on: false, leaves: false };
    const HANDS_ON: Look = Look { hands_on: true, leaves: false };

    #[test]
    fn a_cell_that_is_anothers_now_is_handed_on_at_once_and_again_when_it_is_left() {
        let mut whose = Whose::default();
        assert_eq!(whose.look(true, true, MonoMs(0)), STAYS);
        assert_eq!(whose.look(false, false, MonoMs(1_000)), HANDS_ON);
        assert_eq!(whose.look(false, false, MonoMs(2_000)), STAYS);
        let left = Look { hands_on: true, leaves: true };
        assert_eq!(whose.look(false, false, MonoMs(1_000 + KEPT_MS)), left);
    }

    /// A node with an older ring sent a driver's only position to who keeps a copy: nobody else found him.
    #[test]
    fn what_was_told_to_who_is_not_the_owner_is_handed_on_at_the_next_look() {
        for keeps in [false, true] {
            let mut whose = Whose::default();
            for second in 0..2 {
                assert_eq!(whose.look(false, keeps, MonoMs(second)), STAYS, "copies are no matter");
                whose.taken_for_owner();
                assert_eq!(whose.look(false, keeps, MonoMs(second)), HANDS_ON);
            }
        }
    }
}
