//! Where other nodes are, as far as anyone here knows, and the task that follows who comes back.
//!
//! Gossip may think a node dead that can be reached, and a replica must be called all the same:
//! where it is live, else where it was last seen, else where the configuration says.

use super::pool::Pool;
use membership::View;
use proto::NodeId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most nodes that are remembered, some 50 bytes each: a node is replaced under a new id, and
/// this is a replacement a day for ten years. Whoever is not remembered is reached while he lives.
const KNOWN_MAX: usize = 4_096;

/// Where nodes are.
#[derive(Debug)]
pub struct Addresses {
    views: watch::Receiver<Arc<View>>,
    known: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

impl Addresses {
    /// Knows the configured addresses, and those that [`Self::follow`] sees.
    pub fn new(
        views: watch::Receiver<Arc<View>>,
        configured: BTreeMap<NodeId, SocketAddr>,
    ) -> Arc<Self> {
        Arc::new(Self { views, known: Mutex::new(configured) })
    }

    /// Where a node is, or was.
    pub fn of(&self, node: NodeId) -> Option<SocketAddr> {
        let live = self.views.borrow().member(node).map(|member| member.peer);
        live.or_else(|| self.known().get(&node).copied())
    }

    /// Remembers whoever is seen, and has the pool dial at once whoever has started again or is
    /// seen again. Until the membership ends.
    pub async fn follow(self: Arc<Self>, pool: Arc<Pool>) {
        let mut views = self.views.clone();
        let mut live: BTreeMap<NodeId, u64> = BTreeMap::new();
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            for member in view.members() {
                self.remember(member.id, member.peer);
                if live.get(&member.id) != Some(&member.generation) {
                    pool.wake(member.id);
                }
            }
            live = view.members().iter().map(|member| (member.id, member.generation)).collect();
            if views.changed().await.is_err() {
                return;
            }
        }
    }

    fn remember(&self, node: NodeId, at: SocketAddr) {
        let mut known = self.known();
        if known.len() < KNOWN_MAX || known.contains_key(&node) {
            known.insert(node, at);
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, SocketAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
