//! Asks the drivers' partitions how drivers stand, for all cells of this node together: what the
//! cells ask within a moment goes to each partition's node in one message.

use super::{Runtime, World, cell};
use futures_util::future::join_all;
use proto::record::ask::{Stand, Standings};
use proto::record::driver::Standing;
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

/// Who was seen in which ring key, and when by his phone.
type Seen = BTreeMap<DriverId, (u64, WallMs)>;

impl Runtime {
    /// Gathers questions and asks them, for as long as there are cells.
    pub(super) async fn verify(self, mut questions: mpsc::Receiver<Question>) {
        let mut gathered = Vec::new();
        while questions.recv_many(&mut gathered, QUEUE_MAX).await > 0 {
            let mut by_node: BTreeMap<NodeId, Seen> = BTreeMap::new();
            for (driver, ring_key, at) in gathered.drain(..) {
                // Where nobody is to be asked he stays unknown, and is asked about again.
                let Some(node) = self.who_knows(driver, None) else { continue };
                let asked = by_node.entry(node).or_default().entry(driver);
                let asked = asked.or_insert((ring_key, at));
                // Of two cells that ask, the one that saw him last.
                if asked.1 < at {
                    *asked = (ring_key, at);
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

    /// Who is to be asked about a driver: the leader of his partition; while there is none, or he
    /// has just not answered, somebody alive with a replica, this node before others.
    fn who_knows(&self, driver: DriverId, silent: Option<NodeId>) -> Option<NodeId> {
        let World { node: me, partitions, membership, .. } = self.world();
        let view = membership.view();
        let may = |node: &NodeId| Some(*node) != silent && view.member(*node).is_some();
        let replica = || {
            let alive: Vec<NodeId> =
                partitions.replicas(driver.slot()).into_iter().filter(may).collect();
            if alive.contains(me) { Some(*me) } else { alive.first().copied() }
        };
        partitions.leader(driver.slot()).filter(may).or_else(replica)
    }

    /// Asks a node about drivers; where it does not answer, others who may know.
    async fn stand(self, node: NodeId, seen: Vec<Question>) {
        let Some(unanswered) = self.stand_by(node, seen).await else { return };
        let mut by_node: BTreeMap<NodeId, Vec<Question>> = BTreeMap::new();
        for question in unanswered {
            if let Some(other) = self.who_knows(question.0, Some(node)) {
                by_node.entry(other).or_default().push(question);
            }
        }
        // Without an answer they stay unknown, can't be found, and are asked about again.
        let _unknown =
            join_all(by_node.into_iter().map(|(node, seen)| self.stand_by(node, seen))).await;
    }

    /// Asks one node, and hands the answers to the cells. Gives the question back if there is none.
    async fn stand_by(&self, node: NodeId, seen: Vec<Question>) -> Option<Vec<Question>> {
        let ask = Standings { node, seen: seen.clone() };
        let answered = self.world().router.ask(ask, self.background()).await;
        let Ok(Stand { standings, unregistered, heard }) = answered else { return Some(seen) };
        let ring_keys: BTreeMap<DriverId, u64> =
            seen.into_iter().map(|(driver, ring_key, _)| (driver, ring_key)).collect();
        let tell = |standings: Vec<Standing>, message: fn(Vec<Standing>) -> cell::Message| {
            let mut by_key: BTreeMap<u64, Vec<_>> = BTreeMap::new();
            for standing in standings {
                if let Some(ring_key) = ring_keys.get(&standing.driver) {
                    by_key.entry(*ring_key).or_default().push(standing);
                }
            }
            for (ring_key, standings) in by_key {
                self.0.cells.tell_living(ring_key, message(standings));
            }
        };
        tell(standings, cell::Message::Restand);
        tell(heard, cell::Message::Hearsay);
        for driver in unregistered {
            if let Some(ring_key) = ring_keys.get(&driver) {
                self.0.cells.tell_living(*ring_key, cell::Message::Forget(driver, None));
            }
        }
        None
    }
}
