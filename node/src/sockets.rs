//! The sockets that drivers' phones hold open to this node: whose each is, and a bounded queue.

use actors::runtime::world::Sockets;
use proto::record::ask::{Push, Session};
use proto::{DriverId, NodeId, WallMs};
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
    open: Mutex<BTreeMap<u64, Open>>,
    last: AtomicU64,
    dropped: AtomicU64,
}

/// What this node's side of a socket needs.
#[derive(Debug)]
struct Open {
    driver: DriverId,
    session: Session,
    queue: mpsc::Sender<Push>,
}

/// One open socket: its session and what waits for it. Dropping it closes it for pushes.
#[derive(Debug)]
pub struct Connection {
    /// How the driver's node finds it.
    pub session: Session,
    /// What waits to be sent.
    pub queue: mpsc::Receiver<Push>,
    registry: Arc<SocketRegistry>,
}

impl SocketRegistry {
    /// Adds a driver's socket, opened at `epoch` on the node `node`, which is this one.
    pub fn open(self: &Arc<Self>, driver: DriverId, node: NodeId, epoch: WallMs) -> Connection {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let connection = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Session { epoch: epoch.0, node, connection };
        self.table().insert(connection, Open { driver, session, queue: sender });
        Connection { session, queue, registry: Arc::clone(self) }
    }
    /// Whose sockets are open, in the order of their numbers.
    pub fn sessions(&self) -> Vec<(DriverId, Session)> {
        self.table().values().map(|open| (open.driver, open.session)).collect()
    }
    /// How many are open.
    pub fn count(&self) -> usize {
        self.table().len()
    }
    /// How many messages found no socket or a full queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sockets for SocketRegistry {
    fn push(&self, connection: u64, push: Push) -> bool {
        let table = self.table();
        let sent = table.get(&connection).is_some_and(|open| open.queue.try_send(push).is_ok());
        drop(table);
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registry.table().remove(&self.session.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::TripState;
    use proto::{Slot, TripId};

    fn push() -> Push {
        Push::Trip { trip: TripId::mint(Slot(1), WallMs(1), 1), state: TripState::Arrived }
    }

    #[test]
    fn a_push_to_a_closed_socket_or_a_full_queue_says_so() {
        let registry = Arc::new(SocketRegistry::default());
        assert!(!registry.push(1, push()));
        let connection = registry.open(DriverId::from_raw(7), NodeId(1), WallMs(5));
        let number = connection.session.connection;
        assert_eq!(registry.sessions(), [(DriverId::from_raw(7), connection.session)]);
        for _ in 0..QUEUE_MAX {
            assert!(registry.push(number, push()));
        }
        assert!(!registry.push(number, push()));
        assert_eq!((registry.count(), registry.dropped()), (1, 2));
        drop(connection);
        assert_eq!(registry.count(), 0);
    }
}
