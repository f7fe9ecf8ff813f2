//! The sockets that drivers' phones hold open to this node: whose each is, and a bounded queue.

use actors::runtime::world::Sockets;
use futures_util::future::BoxFuture;
use proto::record::ask::{Push, Session};
use proto::{DriverId, NodeId, OfferId, WallMs};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// How many messages may wait for one phone. A driver has one offer and one trip before him, each
/// with a handful of moves; a phone that is this far behind is gone, and will be told what is
/// before him when it comes back.
pub const QUEUE_MAX: usize = 32;
/// How many offers that have ended a socket remembers, so that none of them is shown late.
const ENDED_MAX: usize = 32;

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
    queue: mpsc::Sender<Waiting>,
}

/// A message that waits, and who wants to know when it has been written.
#[derive(Debug)]
struct Waiting {
    push: Push,
    written: Option<oneshot::Sender<()>>,
}

/// What waits for one phone. Whoever asks for the next has written the one before.
#[derive(Debug)]
pub struct Queue {
    waiting: mpsc::Receiver<Waiting>,
    /// Who wants to know when what was taken last has been written.
    writing: Option<oneshot::Sender<()>>,
    ended: VecDeque<OfferId>,
}

impl Queue {
    /// The next message, once there is one; nothing when there will be none. An offer whose end
    /// was told is left out. May be dropped at its await.
    pub async fn recv(&mut self) -> Option<Push> {
        if let Some(written) = self.writing.take() {
            let _nobody_waits = written.send(());
        }
        loop {
            let Waiting { push, written } = self.waiting.recv().await?;
            match &push {
                // Word of its end was quicker; dropping `written` answers as well.
                Push::Offer(offer) if self.ended.contains(&offer.id) => continue,
                Push::OfferEnded { offer, .. } => {
                    if self.ended.len() == ENDED_MAX {
                        self.ended.pop_front();
                    }
                    self.ended.push_back(*offer);
                }
                Push::Offer(_) | Push::Trip { .. } => {}
            }
            self.writing = written;
            return Some(push);
        }
    }
}

/// One open socket: its session and what waits for it. Dropping it closes it for pushes.
#[derive(Debug)]
pub struct Connection {
    /// How the driver's node finds it.
    pub session: Session,
    /// What waits to be sent.
    pub queue: Queue,
    registry: Arc<SocketRegistry>,
}

impl SocketRegistry {
    /// Adds a driver's socket, opened at `epoch` on the node `node`, which is this one.
    pub fn open(self: &Arc<Self>, driver: DriverId, node: NodeId, epoch: WallMs) -> Connection {
        let (sender, waiting) = mpsc::channel(QUEUE_MAX);
        let queue = Queue { waiting, writing: None, ended: VecDeque::new() };
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

impl SocketRegistry {
    fn queue(&self, session: Session, waiting: Waiting) -> bool {
        let table = self.table();
        // Whoever pushes may mean one that this node held before it was started again.
        let open = table.get(&session.connection).filter(|open| open.session == session);
        let sent = open.is_some_and(|open| open.queue.try_send(waiting).is_ok());
        drop(table);
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }
}

impl Sockets for SocketRegistry {
    fn push(&self, session: Session, push: Push) -> bool {
        self.queue(session, Waiting { push, written: None })
    }

    fn show(&self, session: Session, push: Push) -> BoxFuture<'static, bool> {
        let (written, shown) = oneshot::channel();
        let queued = self.queue(session, Waiting { push, written: Some(written) });
        // A socket that closes meanwhile answers as well: it shows nothing more.
        Box::pin(async move {
            let _closed = shown.await;
            queued
        })
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
    use futures_util::FutureExt;
    use proto::record::TripState;
    use proto::{Slot, TripId};

    fn push() -> Push {
        Push::Trip { trip: TripId::mint(Slot(1), WallMs(1), 1), state: TripState::Arrived }
    }

    #[test]
    fn a_push_to_a_closed_socket_or_a_full_queue_says_so() {
        let registry = Arc::new(SocketRegistry::default());
        let connection = registry.open(DriverId::from_raw(7), NodeId(1), WallMs(5));
        let session = connection.session;
        let before = Session { epoch: session.epoch - 1, ..session };
        assert!(
            !registry.push(before, push()),
            "it was another's before the node was started again"
        );
        assert_eq!(registry.sessions(), [(DriverId::from_raw(7), connection.session)]);
        for _ in 0..QUEUE_MAX {
            assert!(registry.push(session, push()));
        }
        assert!(!registry.push(session, push()));
        assert_eq!((registry.count(), registry.dropped()), (1, 2));
        drop(connection);
        assert_eq!(registry.count(), 0);
    }

    #[tokio::test]
    async fn a_message_is_shown_once_the_one_after_it_is_asked_for() {
        let registry = Arc::new(SocketRegistry::default());
        let mut connection = registry.open(DriverId::from_raw(7), NodeId(1), WallMs(5));
        let mut shown = registry.show(connection.session, push());
        assert_eq!((&mut shown).now_or_never(), None, "it waits");
        assert_eq!(connection.queue.recv().await, Some(push()));
        assert_eq!((&mut shown).now_or_never(), None, "it is being written");
        assert_eq!(connection.queue.recv().now_or_never(), None);
        assert_eq!(shown.now_or_never(), Some(true));

        let unwritten = registry.show(connection.session, push());
        let session = connection.session;
        drop(connection);
        assert_eq!(unwritten.now_or_never(), Some(true), "nobody shows it any more");
        assert_eq!(registry.show(session, push()).now_or_never(), Some(false));
    }
}
