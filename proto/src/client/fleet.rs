//! Which node to ask: the nodes that are known, those that are better left alone for a moment, and
//! who served what.

use super::views::Cluster;
use super::watch::NoAnswer;
use crate::ids::NodeId;
use crate::slot::Slot;
use crate::units::MonoMs;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Requests under way to one node: an eighth of what a node takes at once by default. Enough that
/// nothing waits here while the nodes keep up; a bound on connections when they do not.
const IN_FLIGHT_PER_NODE: usize = 512;
/// How long a node that refused a connection is left alone, if there are others.
const SHUN_MS: u64 = 1_000;
/// How often the cluster is asked for its members: after a failure, and if nothing happens.
const LEARN_AFTER_MS: u64 = 1_000;
const LEARN_EVERY_MS: u64 = 30_000;

/// Where some nodes answer, as the program knows it: a list, or what follows a directory.
pub trait Seeds: Send + Sync + fmt::Debug {
    /// Each as `host:port`. Asked before every try, so it should be at hand.
    fn addresses(&self) -> Vec<String>;
}

impl Seeds for Vec<String> {
    fn addresses(&self) -> Vec<String> {
        self.clone()
    }
}

/// How a node is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The node that served the same rider or driver last; another if that fails, or if none has
    /// yet. The seeds are where it begins; the cluster says who else is there, and each node where
    /// clients reach it (`--http-advertised`).
    Straight,
    /// Any seed each time, but not the last one: for showing that every node answers.
    AnySeed,
}

/// A node, by its address.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: String,
    /// One for each request under way.
    pub(super) room: Semaphore,
    shunned_until: AtomicU64,
}

impl Node {
    fn new(address: &str) -> Self {
        let room = Semaphore::new(IN_FLIGHT_PER_NODE);
        Self { address: address.to_owned(), room, shunned_until: AtomicU64::new(0) }
    }

    fn is_shunned(&self, now: MonoMs) -> bool {
        self.shunned_until.load(Ordering::Relaxed) > now.0
    }
}

/// What is known of the cluster.
#[derive(Debug)]
pub(super) struct Fleet {
    seeds: Box<dyn Seeds>,
    way: Way,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// As a node that serves said last.
    members: BTreeMap<NodeId, String>,
    /// Every address that was asked, of those that are still known.
    nodes: BTreeMap<String, Arc<Node>>,
    /// Who served a slot last: at most 65,536 of them, a megabyte.
    served: BTreeMap<Slot, NodeId>,
    learning: bool,
    /// When the members were asked for last.
    asked: Option<MonoMs>,
}

impl Fleet {
    pub(super) fn new(seeds: Box<dyn Seeds>, way: Way) -> Self {
        Self { seeds, way, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node for a request of this slot, or none if nobody is known: who served it last, else
    /// one by chance that is not the last one and did not just refuse a connection, if there is one.
    pub(super) fn choose(
        &self,
        slot: Option<Slot>,
        last: Option<&str>,
        chance: u64,
        now: MonoMs,
    ) -> Option<Arc<Node>> {
        let mut known = self.known();
        if let Some(straight) = slot.and_then(|slot| known.straight(slot))
            && Some(straight) != last
            && let Some(node) = known.nodes.get(straight)
            && !node.is_shunned(now)
        {
            return Some(Arc::clone(node));
        }
        let mut all = self.seeds.addresses();
        for member in known.members.values() {
            if !all.contains(member) {
                all.push(member.clone());
            }
        }
        known.know(&all);
        let nodes: Vec<&Arc<Node>> = all.iter().filter_map(|a| known.nodes.get(a)).collect();
        let others = nodes.iter().copied().filter(|node| Some(node.address.as_str()) != last);
        let others: Vec<&Arc<Node>> = others.collect();
        let of = if others.is_empty() { nodes } else { others };
        let first = usize::try_from(chance % of.len().max(1) as u64).unwrap_or(0);
        let mut in_turn = of[first..].iter().chain(&of[..first]).copied();
        let welcome = in_turn.clone().find(|node| !node.is_shunned(now));
        welcome.or_else(|| in_turn.next()).cloned()
    }

    /// A request of this slot was settled by this node.
    pub(super) fn settled(&self, slot: Option<Slot>, by: Option<NodeId>) {
        if self.way == Way::Straight
            && let (Some(slot), Some(by)) = (slot, by)
        {
            self.known().served.insert(slot, by);
        }
    }

    /// A node did not settle a request of this slot: the next one asks elsewhere.
    pub(super) fn failed(
        &self,
        slot: Option<Slot>,
        node: &Node,
        why: Option<NoAnswer>,
        now: MonoMs,
    ) {
        let mut known = self.known();
        if let Some(slot) = slot
            && known.straight(slot) == Some(&node.address)
        {
            known.served.remove(&slot);
        }
        if why == Some(NoAnswer::NoConnection) {
            node.shunned_until.store(now.plus_ms(SHUN_MS).0, Ordering::Relaxed);
            let Known { members, served, .. } = &mut *known;
            served.retain(|_, by| members.get(by) != Some(&node.address));
        }
    }

    /// Whether somebody should ask for the members now. Whoever is told yes must say [`Self::learnt`].
    pub(super) fn learn(&self, failed: bool, now: MonoMs) -> bool {
        let mut known = self.known();
        let pause_ms = if failed { LEARN_AFTER_MS } else { LEARN_EVERY_MS };
        let due = known.asked.is_none_or(|asked| now.since(asked) >= pause_ms);
        let learns = self.way == Way::Straight && due && !known.learning;
        if learns {
            (known.learning, known.asked) = (true, Some(now));
        }
        learns
    }

    /// What came of asking for the members. A node that does not serve has a poor view.
    pub(super) fn learnt(&self, cluster: Option<Cluster>) {
        let mut known = self.known();
        known.learning = false;
        if let Some(cluster) = cluster.filter(|cluster| cluster.ready) {
            let members = cluster.members.into_iter();
            known.members = members.map(|member| (member.node, member.http)).collect();
        }
    }
}

impl Known {
    /// Where the node is that served a slot last.
    fn straight(&self, slot: Slot) -> Option<&str> {
        self.members.get(self.served.get(&slot)?).map(String::as_str)
    }

    /// Knows these addresses and no others.
    fn know(&mut self, all: &[String]) {
        if all.iter().any(|address| !self.nodes.contains_key(address)) {
            self.nodes.retain(|address, _| all.contains(address));
            for address in all {
                let node = || Arc::new(Node::new(address));
                self.nodes.entry(address.clone()).or_insert_with(node);
            }
        }
    }
}
