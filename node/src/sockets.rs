//! The sockets that drivers' phones hold open to this node: a bounded queue each.

use actors::runtime::world::Sockets;
use proto::record::ask::Push;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// How many messages may wait for one phone. A driver has one offer and one trip before him, each
/// with a handful of moves; a phone that is this far behind is gone, and will be told what is
/// before him when it comes back.
pub const QUEUE_MAX: usize = 32;

/// All sockets of this node.
#[derive(Debug, Default)]
pub struct SocketRegistry {
    queues: Mutex<BTreeMap<u64, mpsc::Sender<Push>>>,
    last: AtomicU64,
    dropped: AtomicU64,
}

/// One open socket: its number and what waits for it. Dropping it closes it for pushes.
#[derive(Debug)]
pub struct Connection {
    /// The number that a [`Session`](proto::record::ask::Session) names.
    pub number: u64,
    /// What waits to be sent.
    pub queue: mpsc::Receiver<Push>,
    registry: Arc<SocketRegistry>,
}

impl SocketRegistry {
    /// Adds a socket.
    pub fn open(self: &Arc<Self>) -> Connection {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.queues().insert(number, sender);
        Connection { number, queue, registry: Arc::clone(self) }
    }
    /// How many are open.
    pub fn count(&self) -> usize {
        self.queues().len()
    }
    /// How many messages found no socket or a full queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
    fn queues(&self) -> MutexGuard<'_, BTreeMap<u64, mpsc::Sender<Push>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sockets for SocketRegistry {
    fn push(&self, connection: u64, push: Push) -> bool {
        let sent = self.queues().get(&connection).is_some_and(|q| q.try_send(push).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registry.queues().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::TripState;
    use proto::{Slot, TripId, WallMs};

    fn push() -> Push {
        Push::Trip { trip: TripId::mint(Slot(1), WallMs(1), 1), state: TripState::Arrived }
    }

    #[test]
    fn a_push_to_a_closed_socket_or_a_full_queue_says_so() {
        let registry = Arc::new(SocketRegistry::default());
        assert!(!registry.push(1, push()));
        let connection = registry.open();
        for _ in 0..QUEUE_MAX {
            assert!(registry.push(connection.number, push()));
        }
        assert!(!registry.push(connection.number, push()));
        assert_eq!((registry.count(), registry.dropped()), (1, 2));
        drop(connection);
        assert_eq!(registry.count(), 0);
    }
}
