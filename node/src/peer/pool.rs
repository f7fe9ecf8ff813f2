//! The dialling side: connections to each peer, dialled when first needed and dialled again for as
//! long as somebody asks for them.
//!
//! A peer has one connection a [`Lane`], so that what is large or many never stands before what is
//! urgent. Each is kept by a task of its own (`link`). While a first dial runs, callers wait for
//! it; once it has failed they are refused at once, until the keeper, who goes on trying with
//! growing pauses, has a connection again. Who knows better than the pauses says [`Pool::wake`].

mod lane;
mod link;

pub use lane::{IN_FLIGHT_MAX, Lane};

use super::hello::Identity;
use crate::mint::SeededMint;
use crate::net::Net;
use link::{Dialler, Link, keep, unreachable};
use proto::NodeId;
use proto::code::Refusal;
use proto::envelope::{Envelope, Reply};
use proto::units::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A link that is down and that nobody asked for during so long is forgotten.
const FORGET_AFTER_MS: u64 = 60_000;

/// Connections to all peers.
#[derive(Debug)]
pub struct Pool {
    dialler: Arc<Dialler>,
    links: Mutex<BTreeMap<Address, Arc<Link>>>,
}

/// Who, where, and what for. A node that comes back elsewhere is a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    node: NodeId,
    at: SocketAddr,
    lane: Lane,
}

impl Pool {
    /// A pool without connections.
    pub fn new(
        net: Arc<dyn Net>,
        me: Arc<Identity>,
        mint: Arc<SeededMint>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let dialler = Arc::new(Dialler { net, me, mint, clock });
        Arc::new(Self { dialler, links: Mutex::default() })
    }

    /// Sends an envelope to a peer and waits for its reply, at most the envelope's deadline. Only
    /// a RETRY may still take effect.
    pub async fn call(
        self: &Arc<Self>,
        to: NodeId,
        at: SocketAddr,
        envelope: Envelope,
    ) -> Result<Reply, Refusal> {
        self.call_on(Lane::Calls, to, at, envelope).await
    }

    /// The same on a lane.
    pub async fn call_on(
        self: &Arc<Self>,
        lane: Lane,
        to: NodeId,
        at: SocketAddr,
        envelope: Envelope,
    ) -> Result<Reply, Refusal> {
        let within = Duration::from_millis(envelope.deadline_ms.into());
        let link = self.link(Address { node: to, at, lane });
        let called = tokio::time::timeout(within, link.call(&self.dialler, to, envelope)).await;
        called.unwrap_or_else(|_| Err(unreachable(to, "did not answer in time")))
    }

    /// Whether it is known that calls to a peer reach nobody: its last dial has failed.
    pub fn is_down(&self, node: NodeId, at: SocketAddr) -> bool {
        let address = Address { node, at, lane: Lane::Calls };
        self.links().get(&address).is_some_and(|link| link.is_down())
    }

    /// Dials a node's broken links now: it has just started, or was heard of again. Callers wait
    /// for that dial.
    pub fn wake(&self, node: NodeId) {
        self.links().iter().filter(|(address, _)| address.node == node).for_each(|(_, link)| {
            link.wake();
        });
    }

    /// Forgets all peers and cuts all connections.
    pub fn close(&self) {
        self.links().clear();
    }

    /// How many links are up, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let links = self.links();
        (links.values().filter(|link| link.is_up()).count(), links.len())
    }

    /// To how many peers a link is up.
    pub fn peers_connected(&self) -> usize {
        let links = self.links();
        let up = links.iter().filter(|(_, link)| link.is_up()).map(|(address, _)| address.node);
        up.collect::<BTreeSet<NodeId>>().len()
    }

    fn link(self: &Arc<Self>, address: Address) -> Arc<Link> {
        let now = self.dialler.clock.mono();
        let mut links = self.links();
        let link = links.entry(address).or_insert_with(|| {
            let (dialler, pool) = (Arc::clone(&self.dialler), Arc::downgrade(self));
            Arc::new(Link::kept(address.lane, now, |end| keep(dialler, address, end, pool)))
        });
        link.asked(now);
        Arc::clone(link)
    }

    /// Drops a link that nobody asked for in a while; true if it is gone.
    fn forget_unasked(&self, address: Address) -> bool {
        let now = self.dialler.clock.mono();
        let mut links = self.links();
        let unasked =
            links.get(&address).is_none_or(|link| now.since(link.asked_at()) > FORGET_AFTER_MS);
        if unasked {
            links.remove(&address);
        }
        unasked
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<Address, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
