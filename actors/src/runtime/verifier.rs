//! Asks the drivers' partitions how drivers stand, for all cells of this node together: what the
//! cells ask within a moment goes to each partition's node in one message.

use super::{Runtime, cell};
use proto::record::ask::{Stand, Standings};
use proto::{DriverId, NodeId, WallMs};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long questions are gathered, in milliseconds: nothing to a rider, and twenty batches a
/// second to each node whatever the number of cells.
const GATHER_MS: u64 = 50;
/// Questions that may wait: a node's share of 100,000 drivers who all appear within one period.
const QUEUE_MAX: usize = 32_768;
/// Drivers in one message. Whoever answers reads their records in one go, some 2 us each, and a
/// search that waits for the same core should not notice.
const BATCH_MAX: usize = 256;

/// The way to the task.
pub(super) struct Verifier(mpsc::Sender<Question>);

/// Who, the ring key of the cell he is in, and the phone time of his last ping there.
pub(super) type Question = (DriverId, u64, WallMs);

impl Verifier {
    /// The way in, and what the task reads.
    pub(super) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, questions) = mpsc::channel(QUEUE_MAX);
        (Self(sender), questions)
    }

    /// Asks about a driver who was seen in a ring key. Dropped if too many wait; cells ask again.
    pub(super) fn ask(&self, driver: DriverId, ring_key: u64, at: WallMs) {
        let _full = self.0.try_send((driver, ring_key, at));
    }
}

impl Runtime {
    /// Gathers questions and asks them, for as long as there are cells.
    pub(super) async fn verify(self, mut questions: mpsc::Receiver<Question>) {
        let mut gathered = Vec::new();
        while questions.recv_many(&mut gathered, QUEUE_MAX).await > 0 {
            let mut by_node: BTreeMap<NodeId, BTreeMap<DriverId, (u64, WallMs)>> = BTreeMap::new();
            for (driver, ring_key, at) in gathered.drain(..) {
                // While nobody leads his partition he stays unknown, and is asked about again.
                if let Some(node) = self.world().partitions.leader(driver.slot()) {
                    let asked = by_node.entry(node).or_default().entry(driver);
                    let asked = asked.or_insert((ring_key, at));
                    // Of two cells that ask, the one that saw him last.
                    if asked.1 < at {
                        *asked = (ring_key, at);
                    }
                }
            }
            for (node, seen) in by_node {
                let seen: Vec<Question> = seen
                    .into_iter()
                    .map(|(driver, (ring_key, at))| (driver, ring_key, at))
                    .collect();
                for batch in seen.chunks(BATCH_MAX) {
                    tokio::spawn(self.clone().stand(node, batch.to_vec()));
                }
            }
            tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
        }
    }

    /// Asks one node, and hands the answers to the cells.
    async fn stand(self, node: NodeId, seen: Vec<Question>) {
        let ask = Standings { node, seen: seen.clone() };
        let answered = self.world().router.ask(ask, self.background()).await;
        // Without an answer they stay unknown, can't be found, and are asked about again.
        let Ok(Stand { standings, unregistered }) = answered else { return };
        let ring_keys: BTreeMap<DriverId, u64> =
            seen.into_iter().map(|(driver, ring_key, _)| (driver, ring_key)).collect();
        let mut by_key: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for standing in standings {
            if let Some(ring_key) = ring_keys.get(&standing.driver) {
                by_key.entry(*ring_key).or_default().push(standing);
            }
        }
        for (ring_key, standings) in by_key {
            self.0.cells.tell_living(ring_key, cell::Message::Restand(standings));
        }
        for driver in unregistered {
            if let Some(ring_key) = ring_keys.get(&driver) {
                self.0.cells.tell_living(*ring_key, cell::Message::Forget(driver, None));
            }
        }
    }
}
