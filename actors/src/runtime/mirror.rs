//! Copies of cells: what an owner applies, it sends on to the next members of the ring, as many as
//! `--cell-replicas` says, so that a search whose owner is slow can be answered by another. A copy
//! is as good as the last flush; what gets lost is made good by the next ping.

use super::Runtime;
use super::inlet::Groups;
use proto::NodeId;
use proto::pings::PingBatch;
use proto::record::ask::Mirror;
use proto::record::cell::{Ping, PingFate};
use proto::record::driver::Standing;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often copies are sent. A copy is behind by this much, and by half a round trip.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// The most pings in one message: 112 KiB.
const BATCH_MAX: usize = 4_096;
/// How long a message may take, in milliseconds. All wait for the slowest.
const WITHIN_MS: u32 = 300;
/// What may wait for one node, pings and standings each, and a batch more; then what waits is
/// dropped.
const WAITING_MAX: usize = 65_536;

/// What waits to be sent, by node.
#[derive(Default)]
pub(super) struct Mirrors(Mutex<BTreeMap<NodeId, Waiting>>);

#[derive(Default)]
struct Waiting {
    pings: Vec<Ping>,
    /// With the ring keys they are for.
    standings: Vec<(u64, Standing)>,
}

impl Mirrors {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<NodeId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was applied, for these nodes.
    pub(super) fn add(&self, nodes: &[NodeId], pings: impl Iterator<Item = Ping> + Clone) {
        let mut waiting = self.waiting();
        for node in nodes {
            let queue = &mut waiting.entry(*node).or_default().pings;
            if queue.len() >= WAITING_MAX {
                queue.clear(); // the newest are worth more
            }
            queue.extend(pings.clone());
        }
    }
}

impl Runtime {
    /// Who has copies of a ring key of which this node is the owner; nobody if it is not.
    pub(super) fn mirrors_of(&self, ring_key: u64) -> Vec<NodeId> {
        let world = self.world();
        if world.cell_replicas <= 1 {
            return Vec::new();
        }
        let owners = world.membership.view().cell_owners(ring_key, world.cell_replicas);
        match owners.split_first() {
            Some((owner, others)) if *owner == world.node => others.to_vec(),
            Some(_) | None => Vec::new(),
        }
    }

    /// Has the copies of a ring key hear of standings.
    pub(super) fn mirror_standings(&self, ring_key: u64, standings: &[Standing]) {
        let nodes = self.mirrors_of(ring_key);
        if nodes.is_empty() {
            return;
        }
        let mut waiting = self.0.mirrors.waiting();
        for node in nodes {
            let queue = &mut waiting.entry(node).or_default().standings;
            let room = WAITING_MAX.saturating_sub(queue.len());
            queue.extend(standings.iter().take(room).map(|standing| (ring_key, *standing)));
        }
    }

    /// Sends what waits, again and again.
    pub(super) async fn mirror(self) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            let waiting = std::mem::take(&mut *self.0.mirrors.waiting());
            let sends = waiting.into_iter().map(|(node, waiting)| self.send_copies(node, waiting));
            futures_util::future::join_all(sends).await;
        }
    }

    async fn send_copies(&self, node: NodeId, waiting: Waiting) {
        let Waiting { pings, mut standings } = waiting;
        let mut batches = pings.chunks(BATCH_MAX);
        loop {
            let (batch, more) = (batches.next(), standings.len().saturating_sub(BATCH_MAX));
            let standings = standings.split_off(more);
            if batch.is_none() && standings.is_empty() {
                return;
            }
            let pings = PingBatch::from_pings(batch.unwrap_or_default());
            let ask = Mirror { node, pings, standings };
            if self.world().router.ask(ask, self.background().within_ms(WITHIN_MS)).await.is_err() {
                return; // the others are not kept waiting for one who does not answer
            }
        }
    }

    /// Takes copies of what another node's cells were told.
    pub(super) fn take_copies(&self, ask: Mirror) {
        let pings: Vec<Ping> = ask.pings.iter().filter_map(Result::ok).collect();
        let mut fates = vec![PingFate::Refused; pings.len()];
        let mut groups = Groups::default();
        groups.sort(self, &pings);
        groups.touched().for_each(|group| group.apply_copies(self, &pings, &mut fates));
        for (ring_key, standing) in ask.standings {
            self.0.cells.tell_living(ring_key, super::cell::Message::CopyStanding(standing));
        }
    }
}
